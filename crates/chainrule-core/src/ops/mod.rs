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
#[cfg(feature = "cuda")]
pub(crate) use crate::array::expect_f32_on_device;
use crate::dtype::DType;
use crate::error::{Error, Result};
pub(crate) use crate::float::Float;

/// `on_device!(OP, [x, y; bias], |gpu| computed)`: returns what is computed when the arrays stand on a GPU, goes on when they stand on the CPU, and returns an error when they stand on several devices. Behind the semicolon are arrays that may be absent.
macro_rules! on_device {
    ($op:expr, [$($array:expr),+ $(; $($option:expr),+)?], |$gpu:ident| $computed:expr) => {
        #[cfg(feature = "cuda")]
        if let crate::Device::Cuda(ordinal) = crate::ops::common_device($op, &[$(Some((stringify!($array), &$array)),)+ $($($option.as_ref().map(|a| (stringify!($option), crate::ops::plain(a))),)+)?])? {
            let $gpu = crate::cuda::Gpu::get(ordinal)?;
            return $computed;
        }
    };
}
/// `on_cpu!(OP, [x, y; bias])`: goes on when the arrays stand on the CPU, returns an error when an array stands on a GPU, for which the operation has no kernel.
macro_rules! on_cpu {
    ($op:expr, [$($array:expr),+ $(; $($option:expr),+)?]) => {
        #[cfg(feature = "cuda")]
        if let device @ crate::Device::Cuda(_) = crate::ops::common_device($op, &[$(Some((stringify!($array), &$array)),)+ $($($option.as_ref().map(|a| (stringify!($option), crate::ops::plain(a))),)+)?])? {
            return Err(crate::array::no_kernel($op, device));
        }
    };
}
pub(crate) use {on_cpu, on_device};

/// The device that the arrays stand on.
#[cfg(feature = "cuda")]
pub(crate) fn common_device(op: &'static str, arrays: &[Option<(&str, &Array)>]) -> Result<crate::Device> {
    crate::array::common(op, arrays)
}

/// A reference, whether the option holds one or the array itself.
#[cfg(feature = "cuda")]
pub(crate) fn plain<A: std::borrow::Borrow<Array>>(array: &A) -> &Array {
    array.borrow()
}

/// An error unless a kernel, which counts with 32 bits, can number so many elements.
#[cfg(feature = "cuda")]
pub(crate) fn expect_countable(op: &'static str, count: usize) -> Result<u32> {
    u32::try_from(count).map_err(|_| Error::shape(op, format!("{count} elements are more than a kernel counts (2^32 - 1); cut the array in parts")))
}

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
