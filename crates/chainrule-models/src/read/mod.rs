//! Files of weights: safetensors, PyTorch, NumPy.
