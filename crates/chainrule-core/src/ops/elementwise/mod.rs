//! Functions of one, two and three numbers, element by element; operands of two and three broadcast.

mod binary;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg(test)]
mod source;
#[cfg(test)]
mod symbol;
mod table;

pub use binary::{Binary, Comparison, binary, compare, select};
pub use table::{Kept, Unary};

use crate::array::Array;
use crate::error::Result;
use crate::float::with_float;
use crate::ops::{Float, expect_shape, on_device, same_dtype};
use crate::parallel::{self, Target};
use crate::simd::{Kernel, Real, Simd};

/// A row of the table: f, its slope, and the derivative of the slope by the kept number.
pub(crate) trait Formula: Copy + Send + Sync {
    fn value<R: Real>(self, x: R) -> R;
    fn slope<R: Real>(self, kept: R) -> R;
    fn bend<R: Real>(self, kept: R) -> R;
}

/// `f(x)`
///
/// # Errors
/// An element type other than f32 and f64.
pub fn unary(op: Unary, x: &Array) -> Result<Array> {
    on_device!(op.name(), [x], |gpu| cuda::unary(gpu, op, x));
    let x = x.contiguous()?;
    let mut out = Array::stale(*x.shape(), x.dtype())?;
    with_float!(op.name(), x.dtype(), T => {
        op.visit(Value { x: x.slice::<T>(), out: out.slice_mut() });
        Ok(out)
    })
}

/// `gradient · f'`, where `kept` is what [`Unary::keeps`] names.
///
/// # Errors
/// Different shapes or element types; an element type other than f32 and f64.
pub fn unary_backward(op: Unary, gradient: &Array, kept: &Array) -> Result<Array> {
    slopes(op, gradient, None, kept)
}

/// `other · gradient · df'/dv`: the derivative of [`unary_backward`] by `kept`, times `other`.
///
/// # Errors
/// As for [`unary_backward`].
pub fn unary_backward_by_kept(op: Unary, other: &Array, gradient: &Array, kept: &Array) -> Result<Array> {
    slopes(op, gradient, Some(other), kept)
}

fn slopes(op: Unary, gradient: &Array, other: Option<&Array>, kept: &Array) -> Result<Array> {
    same_dtype(op.name(), gradient, kept)?;
    expect_shape(op.name(), "the gradient", gradient, kept.dims())?;
    if let Some(other) = other {
        same_dtype(op.name(), other, kept)?;
        expect_shape(op.name(), "the second gradient", other, kept.dims())?;
    }
    on_device!(op.name(), [gradient, kept; other], |gpu| cuda::slopes(gpu, op, gradient, other, kept));
    let (gradient, kept, other) = (gradient.contiguous()?, kept.contiguous()?, other.map(|o| o.contiguous()).transpose()?);
    let mut out = Array::stale(*kept.shape(), kept.dtype())?;
    with_float!(op.name(), kept.dtype(), T => {
        op.visit(Slope { gradient: gradient.slice::<T>(), other: other.as_ref().map(|o| o.slice()), kept: kept.slice(), out: out.slice_mut() });
        Ok(out)
    })
}

struct Value<'a, T> {
    x: &'a [T],
    out: &'a mut [T],
}

impl<T: Float> table::Visitor for Value<'_, T> {
    fn visit<F: Formula>(self, formula: F) {
        struct Map<'a, F, T>(F, &'a [T], &'a mut [T]);
        impl<F: Formula, T: Float> Kernel for Map<'_, F, T> {
            type Output = ();
            #[inline(always)]
            fn run<S: Simd>(self) {
                for (y, x) in self.2.iter_mut().zip(self.1) {
                    *y = self.0.value(T::Real::<S>::wrap(*x)).number();
                }
            }
        }
        let out = Target::new(self.out);
        parallel::ranges(self.x.len(), parallel::GRAIN, |start, end| {
            // SAFETY: ranges do not overlap.
            T::run(Map(formula, &self.x[start..end], unsafe { out.slice(start, end) }))
        });
    }
}

struct Slope<'a, T> {
    gradient: &'a [T],
    other: Option<&'a [T]>,
    kept: &'a [T],
    out: &'a mut [T],
}

impl<T: Float> table::Visitor for Slope<'_, T> {
    fn visit<F: Formula>(self, formula: F) {
        struct First<'a, F, T>(F, &'a [T], &'a [T], &'a mut [T]);
        impl<F: Formula, T: Float> Kernel for First<'_, F, T> {
            type Output = ();
            #[inline(always)]
            fn run<S: Simd>(self) {
                for ((y, g), v) in self.3.iter_mut().zip(self.1).zip(self.2) {
                    *y = (T::Real::<S>::wrap(*g) * self.0.slope(T::Real::<S>::wrap(*v))).number();
                }
            }
        }
        struct Second<'a, F, T>(F, &'a [T], &'a [T], &'a [T], &'a mut [T]);
        impl<F: Formula, T: Float> Kernel for Second<'_, F, T> {
            type Output = ();
            #[inline(always)]
            fn run<S: Simd>(self) {
                for (((y, h), g), v) in self.4.iter_mut().zip(self.1).zip(self.2).zip(self.3) {
                    *y = (T::Real::<S>::wrap(*h) * T::Real::<S>::wrap(*g) * self.0.bend(T::Real::<S>::wrap(*v))).number();
                }
            }
        }
        let out = Target::new(self.out);
        parallel::ranges(self.kept.len(), parallel::GRAIN, |start, end| {
            // SAFETY: ranges do not overlap.
            let out = unsafe { out.slice(start, end) };
            let (gradient, kept) = (&self.gradient[start..end], &self.kept[start..end]);
            match self.other {
                None => T::run(First(formula, gradient, kept, out)),
                Some(other) => T::run(Second(formula, &other[start..end], gradient, kept, out)),
            }
        });
    }
}
