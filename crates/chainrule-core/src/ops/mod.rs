//! Operations on arrays. A family that is computed and undone has both sides in one place: `softmax` and `softmax_backward`.
//!
//! Inputs may be any views; outputs are dense and new, unless a function says that it returns a view.

pub mod attention;
pub mod convolution;
pub mod ctc;
pub mod elementwise;
pub mod gather;
pub mod index;
pub mod join;
pub(crate) mod lines;
pub mod loss;
pub mod matmul;
pub mod norm;
pub mod pool;
pub mod positions;
pub mod quantise;
pub mod recurrent;
pub mod reduce;
pub mod resample;
pub(crate) mod row;
pub mod scan;
pub mod search;
pub mod softmax;
pub mod sort;
#[cfg(test)]
pub(crate) mod testing;
pub mod unfold;
pub mod unique;
pub mod update;

pub use crate::random::dropout;

use crate::array::Array;
use crate::dtype::DType;
use crate::error::{Error, Result};
pub(crate) use crate::float::Float;

/// An error unless both arrays have one element type.
pub(crate) fn same_dtype(op: &'static str, a: &Array, b: &Array) -> Result<DType> {
    if a.dtype() == b.dtype() {
        return Ok(a.dtype());
    }
    Err(Error::value(
        op,
        format!("the operands are {} {:?} and {} {:?}, expected one element type; convert with cast", a.dtype(), a.shape(), b.dtype(), b.shape()),
    ))
}

/// An error unless the array has this shape.
pub(crate) fn expect_shape(op: &'static str, what: &str, got: &Array, expected: &[usize]) -> Result<()> {
    if got.dims() == expected {
        return Ok(());
    }
    Err(Error::shape(op, format!("{what} has shape {:?}, expected {expected:?}", got.shape())))
}
