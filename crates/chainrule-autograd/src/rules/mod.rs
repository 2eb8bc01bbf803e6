//! The operations, a file for each family: shape check, forward through the core, the rule beside it.
//!
//! Rules are written in operations on tensors, so that a backward pass can be recorded; where the core has a fused backward kernel, it is used when [`Pass::recorded`](crate::Pass::recorded) is false, or is an operation with a rule itself.

mod affine;
mod bilinear;
mod binary;
mod compare;
mod contrast;
mod convolution;
mod cross_entropy;
mod ctc;
mod dropout;
mod einsum;
mod extreme;
mod index;
mod join;
mod likelihood;
mod logic;
mod losses;
mod margin;
mod matmul;
mod norm;
mod pad;
mod pool;
mod precision;
mod reduce;
mod scan;
mod shape;
mod slice;
mod softmax;
mod sort;
mod unary;

pub use contrast::Triplet;
pub use cross_entropy::CrossEntropy;
pub use ctc::Ctc;
pub use losses::Reduction;
pub use margin::MultiMargin;
pub use shape::INFER;
pub use sort::Unique;
