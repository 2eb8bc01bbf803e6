//! Files of weights: safetensors, PyTorch, NumPy.

mod checkpoint;
mod format;
mod numpy;
mod pickle;
mod shards;
mod stars;
mod strided;
mod torch;
mod zip;

pub use checkpoint::Checkpoint;
