//! Files of weights: safetensors, PyTorch, NumPy.

mod checkpoint;
mod format;
mod pickle;
mod stars;
mod strided;
mod torch;
mod zip;

pub use checkpoint::Checkpoint;
