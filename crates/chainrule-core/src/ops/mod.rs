//! Operations on arrays. A family that is computed and undone has both sides in one place: `softmax` and `softmax_backward`.
//!
//! Inputs may be any views; outputs are dense and new, unless a function says that it returns a view.

pub mod convolution;
pub mod copy;
pub mod elementwise;
pub mod index;
pub mod loss;
pub mod matmul;
pub mod norm;
pub mod pool;
pub mod reduce;
pub(crate) mod row;
pub mod softmax;
#[cfg(test)]
pub(crate) mod testing;
pub mod update;

pub use crate::random::dropout;

use crate::array::Array;
use crate::dtype::{DType, Element};
use crate::error::{Error, Result};
use crate::simd::{self, Kernel, Real, Simd, Vector};

/// The element types that kernels compute in: how each level of [`crate::simd`] sees them.
pub(crate) trait Float: Element + num_traits::Float + std::iter::Sum {
    type Real<S: Simd>: Real<Element = Self>;
    type Vector<S: Simd>: Vector<Element = Self>;
    /// Runs a kernel over this type. f32 has one for every level; f64, which serves proofs and not speed, makes do with the portable one, which halves what is to be compiled.
    fn run<K: Kernel>(kernel: K) -> K::Output;
}
impl Float for f32 {
    type Real<S: Simd> = S::R32;
    type Vector<S: Simd> = S::V32;
    #[inline]
    fn run<K: Kernel>(kernel: K) -> K::Output {
        simd::run(kernel)
    }
}
impl Float for f64 {
    type Real<S: Simd> = f64;
    type Vector<S: Simd> = S::V64;
    #[inline]
    fn run<K: Kernel>(kernel: K) -> K::Output {
        kernel.run::<simd::Scalar>()
    }
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
