//! The operations, a file for each family: shape check, forward through the core, the rule beside it.
//!
//! Rules are written in operations on tensors, so that a backward pass can be recorded; where the core has a fused backward kernel, it is used when [`Pass::recorded`](crate::Pass::recorded) is false, or is an operation with a rule itself.

mod advanced_index;
mod affine;
mod bilinear;
mod binary;
mod compare;
mod contrast;
mod convolution;
mod cross_entropy;
mod ctc;
mod diagonal;
mod distance;
mod dropout;
mod einsum;
mod extreme;
mod gather;
mod grid;
mod index;
mod join;
mod likelihood;
mod logic;
mod losses;
mod margin;
mod mask;
mod matmul;
mod norm;
mod pad;
mod pool;
mod precision;
mod product;
mod recurrent;
mod recurrent_steps;
mod reduce;
mod repeat;
mod sample;
mod scan;
mod search;
mod shape;
mod slice;
mod softmax;
mod sort;
mod split;
mod statistics;
mod unary;

pub use contrast::Triplet;
pub use cross_entropy::CrossEntropy;
pub use ctc::Ctc;
pub use gather::ScatterReduce;
pub use losses::Reduction;
pub use margin::MultiMargin;
pub use recurrent::{Recurrence, RecurrentWeights};
pub use shape::INFER;
pub use sort::Unique;
