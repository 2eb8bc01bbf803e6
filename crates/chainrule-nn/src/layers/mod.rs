//! Layers: plain structs whose public fields have the names of checkpoints. Shapes in letters: N batch, C channels, H height, W width, T time, D features, V vocabulary.

mod activation;
mod batch_norm;
mod checkpointed;
mod conv;
mod embedding;
mod layer_norm;
mod linear;
mod pair;
mod pool;
mod sequential;
mod shape;

pub use activation::*;
pub use batch_norm::{BatchNorm1d, BatchNorm2d};
pub use checkpointed::Checkpointed;
pub use conv::Conv2d;
pub use embedding::Embedding;
pub use layer_norm::LayerNorm;
pub use linear::Linear;
pub use pair::Pair;
pub use pool::{AdaptiveAvgPool2d, AdaptiveMaxPool2d, AvgPool2d, MaxPool2d};
pub use sequential::Sequential;
pub use shape::{Dropout, Flatten, Identity, Unflatten};
