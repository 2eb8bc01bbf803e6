//! What is asked of gradients and parameters: how long, and whether finite.

use super::matching;
use crate::array::Array;
use crate::error::Result;
use crate::float::Float;
use crate::float::with_float;
use crate::ops::{on_cpu, on_device};
use crate::parallel::{self, Target};
use crate::simd::{Kernel, Real, Simd};
use std::sync::atomic::{AtomicBool, Ordering};

/// What is squared and summed: one number, computed from one of each array.
pub trait Term<const N: usize>: Copy + Send + Sync {
    /// The number. `#[inline(always)]`, as [`Formula::next`](super::Formula::next).
    fn of<R: Real>(self, x: [R; N]) -> R;
}

/// sum x², each square and sum in f64. The same bits for any number of threads.
///
/// # Errors
/// An element type other than f32 and f64.
pub fn sum_of_squares(x: &Array) -> Result<f64> {
    on_device!("sum_of_squares", [x], |gpu| super::fused::sum_of_squares(gpu, x));
    #[derive(Clone, Copy)]
    struct Itself;
    impl Term<1> for Itself {
        #[inline(always)]
        fn of<R: Real>(self, [x]: [R; 1]) -> R {
            x
        }
    }
    sum_of_squares_of("sum_of_squares", [x], Itself)
}

/// The sum of the squares of a term over arrays of one shape, each square and sum in f64. The same bits for any number of threads.
/// ```
/// use chainrule_core::{Array, DType};
/// use chainrule_core::ops::update::{Real, Term, sum_of_squares_of};
///
/// #[derive(Clone, Copy)]
/// struct Difference;
/// impl Term<2> for Difference {
///     #[inline(always)]
///     fn of<R: Real>(self, [x, y]: [R; 2]) -> R {
///         x - y
///     }
/// }
/// let (x, y) = (Array::full(&[3], 5.0, DType::F32)?, Array::ones(&[3], DType::F32)?);
/// assert_eq!(sum_of_squares_of("distance", [&x, &y], Difference)?, 48.0);
/// # Ok::<(), chainrule_core::Error>(())
/// ```
///
/// # Errors
/// Arrays of different shapes or element types, or of one other than f32 and f64.
pub fn sum_of_squares_of<const N: usize, F: Term<N>>(op: &'static str, arrays: [&Array; N], term: F) -> Result<f64> {
    let Some(first) = arrays.first() else { return Ok(0.0) };
    on_cpu!(op, [first; arrays.get(1).copied()]);
    let mut dense = Vec::with_capacity(N);
    for array in arrays {
        dense.push(matching(op, "an array", first, array)?);
    }
    with_float!(op, first.dtype(), T => {
        let x: [&[T]; N] = std::array::from_fn(|k| dense[k].slice::<T>());
        let count = first.count();
        let mut sums = vec![0f64; count.div_ceil(BLOCK)];
        let target = Target::new(&mut sums);
        parallel::ranges(count.div_ceil(BLOCK), parallel::GRAIN / BLOCK, |start, end| {
            // SAFETY: ranges do not overlap.
            let sums = unsafe { target.slice(start, end) };
            for (block, sum) in (start..end).zip(sums) {
                let range = block * BLOCK..((block + 1) * BLOCK).min(count);
                *sum = T::run(Squares { term, x: x.map(|x| &x[range.clone()]) });
            }
        });
        Ok(sums.iter().sum())
    })
}

/// Whether no element is infinite or NaN.
///
/// # Errors
/// An element type other than f32 and f64.
pub fn all_finite(x: &Array) -> Result<bool> {
    const OP: &str = "all_finite";
    // Squares of f32 cannot overflow in double.
    on_device!(OP, [x], |gpu| super::fused::sum_of_squares(gpu, x).map(f64::is_finite));
    let x = x.contiguous()?;
    with_float!(OP, x.dtype(), T => {
        let (x, finite) = (x.slice::<T>(), AtomicBool::new(true));
        parallel::ranges(x.len(), parallel::GRAIN, |start, end| {
            let pieces = || x[start..end].chunks(BLOCK);
            if finite.load(Ordering::Relaxed) && !pieces().all(|x| T::run(Finite(x))) {
                finite.store(false, Ordering::Relaxed);
            }
        });
        Ok(finite.into_inner())
    })
}

/// Numbers that are summed before the sum joins others.
const BLOCK: usize = 4096;
/// Sums that are formed side by side in a block.
const LANES: usize = 32;

pub(super) struct Squares<'a, F, T, const N: usize> {
    pub(super) term: F,
    pub(super) x: [&'a [T]; N],
}
impl<T: Float, F: Term<N>, const N: usize> Kernel for Squares<'_, F, T, N> {
    type Output = f64;
    #[inline(always)]
    #[allow(clippy::needless_range_loop, reason = "plain loops over all arrays at once are what the compiler unrolls")]
    fn run<S: Simd>(self) -> f64 {
        let Squares { term, x } = self;
        let (count, mut sums) = (x[0].len(), [0f64; LANES]);
        let whole = count - count % LANES;
        for start in (0..whole).step_by(LANES) {
            let mut block = [[T::zero(); LANES]; N];
            for k in 0..N {
                block[k].copy_from_slice(&x[k][start..start + LANES]);
            }
            for i in 0..LANES {
                let mut at = [T::Real::<S>::zero(); N];
                for k in 0..N {
                    at[k] = T::Real::<S>::wrap(block[k][i]);
                }
                let y = term.of(at).number().to_f64();
                sums[i] += y * y;
            }
        }
        let mut sum = sums.iter().sum::<f64>();
        for i in whole..count {
            let mut at = [T::Real::<S>::zero(); N];
            for k in 0..N {
                at[k] = T::Real::<S>::wrap(x[k][i]);
            }
            let y = term.of(at).number().to_f64();
            sum += y * y;
        }
        sum
    }
}

struct Finite<'a, T>(&'a [T]);
impl<T: Float> Kernel for Finite<'_, T> {
    type Output = bool;
    #[inline(always)]
    fn run<S: Simd>(self) -> bool {
        // No early end, so that the loop is vectorised.
        self.0.iter().fold(true, |finite, x| finite & x.is_finite())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::DType;
    use crate::ops::testing::*;

    #[derive(Clone, Copy)]
    struct Sum;

    impl Term<2> for Sum {
        #[inline(always)]
        fn of<R: Real>(self, [x, y]: [R; 2]) -> R {
            x + y
        }
    }

    #[test]
    fn squares_and_finiteness() {
        at_every_level(|dtype, _| {
            for count in [0, 1, 31, 4097, 100_003] {
                let x = noise(&[count], 3, dtype);
                // The numbers are multiples of 2^-22, so their squares have an exact sum.
                let exact = doubles(&x).iter().map(|x| (x * 4_194_304.0) as i64).map(|k| (k * k) as u128).sum::<u128>() as f64 / 2f64.powi(44);
                assert!((sum_of_squares(&x).unwrap() - exact).abs() <= 1e-15 * exact);
                assert!((sum_of_squares_of("twice", [&x, &x], Sum).unwrap() - 4.0 * exact).abs() <= 1e-14 * exact);
                assert!(all_finite(&x).unwrap());
                for (at, bad) in [(0, f64::NAN), (count / 2, f64::INFINITY), (count.saturating_sub(1), f64::NEG_INFINITY)] {
                    let spoilt = Array::from_index(&[count], dtype, |i| if i == at { bad } else { 1.0 }).unwrap();
                    assert_eq!(all_finite(&spoilt).unwrap(), count == 0);
                }
            }
        });
        assert!(sum_of_squares_of("twice", [&noise(&[3], 1, DType::F32), &noise(&[4], 1, DType::F32)], Sum).unwrap_err().to_string().contains("[4]"));
        assert!(sum_of_squares(&noise(&[3], 1, DType::I64)).is_err() && all_finite(&noise(&[3], 1, DType::U8)).is_err());
        assert_eq!(sum_of_squares(&Array::full(&[3], 1e30, DType::F32).unwrap().transpose(0, 0).unwrap()).unwrap(), 3.0 * (1e30f32 as f64).powi(2));
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bits() {
        let x = noise(&[300_007], 4, DType::F32);
        assert_same_bits("sum_of_squares", || vec![Array::scalar(sum_of_squares(&x).unwrap(), DType::F64).unwrap()]);
    }
}
