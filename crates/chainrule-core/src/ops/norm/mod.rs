//! Normalisation by mean and variance: over the batch a channel (batch norm), over the last dimensions a row (layer norm), over groups of channels a sample (group and instance norm); forward and backward.
//!
//! `y = (x - mean) · rstd · weight + bias` with `rstd = 1 / sqrt(variance + eps)` and the biased variance.
//! Variances come from two passes over pieces that fit the nearest cache, merged after Chan, Golub and LeVeque (1979), "Updating formulae and a pairwise algorithm for computing sample variances".

mod batch;
mod channels;
#[cfg(feature = "cuda")]
mod cuda;
mod group;
mod layer;
#[cfg(test)]
mod tests;

pub use batch::{BatchNorm, batch_norm, batch_norm_backward, batch_norm_inference, batch_norm_inference_backward};
pub use group::{GroupNorm, group_norm, group_norm_backward};
pub use layer::{LayerNorm, RmsNorm, layer_norm, layer_norm_backward, rms_norm, rms_norm_backward};

use crate::array::Array;
use crate::error::{Error, Result};
use crate::float::Float;
use crate::ops::{expect_shape, row, same_dtype};
use crate::simd::{Simd, Vector};

/// Count, mean and the sum of squared distances from the mean.
#[derive(Clone, Copy, Default)]
struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
}

impl From<[f64; 3]> for Moments {
    #[inline(always)]
    fn from([count, mean, squares]: [f64; 3]) -> Moments {
        Moments { count, mean, squares }
    }
}
impl From<Moments> for [f64; 3] {
    #[inline(always)]
    fn from(moments: Moments) -> [f64; 3] {
        [moments.count, moments.mean, moments.squares]
    }
}

impl Moments {
    /// Of `count` numbers, from their sums of distances and squared distances from a point near the mean.
    #[inline(always)]
    fn about(centre: f64, count: usize, [distances, squares]: [f64; 2]) -> Moments {
        let count = count as f64;
        let squares = squares - distances * distances / count;
        // Not `max`, which would make 0 of NaN.
        Moments { count, mean: centre + distances / count, squares: if squares < 0.0 { 0.0 } else { squares } }
    }

    /// Of a dense row.
    ///
    /// # Safety
    /// Runs inside [`crate::simd::run`].
    #[inline(always)]
    unsafe fn of<S: Simd, T: Float>(x: &[T]) -> Moments {
        /// Numbers that the second pass finds in the nearest cache.
        const PIECE: usize = 4096;
        let mut all = Moments::default();
        for x in x.chunks(PIECE) {
            // SAFETY: the caller's promise.
            let sum = unsafe { row::sum::<S, T>(x) };
            let centre = T::from_f64(sum / x.len() as f64);
            // SAFETY: as above.
            let sums = unsafe { row::distances::<S, T>(x, centre) };
            all = all.merge(Moments::about(centre.to_f64(), x.len(), sums));
        }
        all
    }

    #[inline(always)]
    fn merge(self, other: Moments) -> Moments {
        if self.count == 0.0 {
            return other;
        }
        let count = self.count + other.count;
        let (apart, share) = (other.mean - self.mean, other.count / count);
        Moments { count, mean: self.mean + apart * share, squares: self.squares + other.squares + apart * apart * self.count * share }
    }

    /// The biased variance; 0 of no numbers.
    fn variance(self) -> f64 {
        if self.count == 0.0 { 0.0 } else { self.squares / self.count }
    }
}

/// The terms dy and dy (x - mean) of a row.
struct Products<'a, T>(&'a [T], &'a [T], T);
impl<T: Float> row::Terms<T, 2> for Products<'_, T> {
    #[inline(always)]
    unsafe fn add<S: Simd>(&self, [sum, along]: [T::Vector<S>; 2], at: usize, count: usize) -> [T::Vector<S>; 2] {
        // SAFETY: the caller's promise. Lanes beyond `count` are zero in dy, and so in the product.
        unsafe {
            let dy = row::load::<S, T>(self.0, at, count);
            let distance = row::load::<S, T>(self.1, at, count).add(T::Vector::<S>::splat(-self.2));
            [sum.add(dy), dy.mul_add(distance, along)]
        }
    }
}

/// A weight or bias of this shape, dense; `fill` everywhere if there is none.
fn parameter(op: &'static str, what: &str, value: Option<&Array>, fill: f64, x: &Array, dims: &[usize]) -> Result<Array> {
    let Some(value) = value else { return Array::full(dims, fill, x.dtype()) };
    same_dtype(op, x, value)?;
    expect_shape(op, what, value, dims)?;
    value.contiguous()
}

fn expect_eps(op: &'static str, eps: f64) -> Result<()> {
    if eps >= 0.0 { Ok(()) } else { Err(Error::value(op, format!("eps is {eps}, expected a number of at least 0"))) }
}
