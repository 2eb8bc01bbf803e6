//! Layers: plain structs whose public fields have the names of checkpoints. Shapes in letters: N batch, C channels, H height, W width, T time, D features, V vocabulary.

mod activation;
mod batch_norm;
mod bilinear;
mod checkpointed;
mod conv;
mod embedding;
mod group_norm;
mod instance_norm;
mod layer_norm;
mod linear;
mod pair;
mod pool;
mod recurrent;
mod recurrent_cell;
mod rms_norm;
mod sequential;
mod shape;
mod weight_norm;

pub use activation::*;
pub use batch_norm::{BatchNorm1d, BatchNorm2d, BatchNorm3d};
pub use bilinear::Bilinear;
pub use checkpointed::Checkpointed;
pub use conv::Conv2d;
pub use embedding::Embedding;
pub use group_norm::GroupNorm;
pub use instance_norm::{InstanceNorm1d, InstanceNorm2d, InstanceNorm3d};
pub use layer_norm::LayerNorm;
pub use linear::Linear;
pub use pair::Pair;
pub use pool::{AdaptiveAvgPool2d, AdaptiveMaxPool2d, AvgPool2d, MaxPool2d};
pub use recurrent::{Gru, Lstm, Rnn};
pub use recurrent_cell::{GruCell, LstmCell, RnnCell};
pub use rms_norm::RmsNorm;
pub use sequential::Sequential;
pub use shape::{Dropout, Flatten, Identity, Unflatten};
pub use weight_norm::{SpectralNorm, WeightNorm};
