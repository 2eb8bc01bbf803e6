//! What is asked of gradients: how long, and whether finite.

use crate::array::Array;
use crate::error::Result;
use crate::float::Float;
use crate::float::with_float;
use crate::parallel::{self, Target};
use crate::simd::{Kernel, Simd};
use std::sync::atomic::{AtomicBool, Ordering};

/// sum x², each square and sum in f64. The same bits for any number of threads.
///
/// # Errors
/// An element type other than f32 and f64.
pub fn sum_of_squares(x: &Array) -> Result<f64> {
    const OP: &str = "sum_of_squares";
    let x = x.contiguous()?;
    with_float!(OP, x.dtype(), T => {
        let x = x.slice::<T>();
        let mut sums = vec![0f64; x.len().div_ceil(BLOCK)];
        let target = Target::new(&mut sums);
        parallel::ranges(x.len().div_ceil(BLOCK), parallel::GRAIN / BLOCK, |start, end| {
            // SAFETY: ranges do not overlap.
            let sums = unsafe { target.slice(start, end) };
            sums.iter_mut().zip(x[start * BLOCK..].chunks(BLOCK)).for_each(|(sum, x)| *sum = T::run(Squares(x)));
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

struct Squares<'a, T>(&'a [T]);
impl<T: Float> Kernel for Squares<'_, T> {
    type Output = f64;
    #[inline(always)]
    fn run<S: Simd>(self) -> f64 {
        let mut sums = [0f64; LANES];
        let (whole, rest) = self.0.as_chunks::<LANES>();
        for x in whole {
            for (sum, x) in sums.iter_mut().zip(x) {
                *sum += (*x).to_f64() * (*x).to_f64();
            }
        }
        sums.iter().sum::<f64>() + rest.iter().map(|x| (*x).to_f64() * (*x).to_f64()).sum::<f64>()
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

    #[test]
    fn squares_and_finiteness() {
        at_every_level(|dtype, _| {
            for count in [0, 1, 31, 4097, 100_003] {
                let x = noise(&[count], 3, dtype);
                // The numbers are multiples of 2^-22, so their squares have an exact sum.
                let exact = doubles(&x).iter().map(|x| (x * 4_194_304.0) as i64).map(|k| (k * k) as u128).sum::<u128>() as f64 / 2f64.powi(44);
                assert!((sum_of_squares(&x).unwrap() - exact).abs() <= 1e-15 * exact);
                assert!(all_finite(&x).unwrap());
                for (at, bad) in [(0, f64::NAN), (count / 2, f64::INFINITY), (count.saturating_sub(1), f64::NEG_INFINITY)] {
                    let spoilt = Array::from_index(&[count], dtype, |i| if i == at { bad } else { 1.0 }).unwrap();
                    assert_eq!(all_finite(&spoilt).unwrap(), count == 0);
                }
            }
        });
        assert!(sum_of_squares(&noise(&[3], 1, DType::I64)).is_err() && all_finite(&noise(&[3], 1, DType::U8)).is_err());
        assert_eq!(sum_of_squares(&Array::full(&[3], 1e30, DType::F32).unwrap().transpose(0, 0).unwrap()).unwrap(), 3.0 * (1e30f32 as f64).powi(2));
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bits() {
        let x = noise(&[300_007], 4, DType::F32);
        assert_same_bits("sum_of_squares", || vec![Array::scalar(sum_of_squares(&x).unwrap(), DType::F64).unwrap()]);
    }
}
