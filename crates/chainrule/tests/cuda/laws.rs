//! Layers on the GPU: the CPU's outputs and gradients; adapters too.
