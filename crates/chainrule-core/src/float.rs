//! The element types that kernels compute in, f32 and f64.

use crate::dtype::{DType, Element};
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

/// Runs a kernel over numbers of type T: f32 has one for every level; the other types make do with the portable one.
#[inline(always)]
pub(crate) fn run_for<T: Element, K: Kernel>(kernel: K) -> K::Output {
    if const { matches!(T::DTYPE, DType::F32) } { simd::run(kernel) } else { kernel.run::<simd::Scalar>() }
}

/// Runs the body with `$t` standing for the Rust type of a run-time element type, f32 or f64; any other is an error that names the operation.
macro_rules! with_float {
    ($op:expr, $dtype:expr, $t:ident => $body:expr) => {
        match $dtype {
            $crate::dtype::DType::F32 => {
                type $t = f32;
                $body
            }
            $crate::dtype::DType::F64 => {
                type $t = f64;
                $body
            }
            got => Err($crate::error::Error::DType { op: $op, got, expected: "f32 or f64" }),
        }
    };
}
pub(crate) use with_float;
