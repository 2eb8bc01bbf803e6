//! The largest and smallest numbers of lines, and where they stand.

use crate::array::Array;
use crate::dtype::{DType, Element, with_element};
use crate::error::{Error, Result};
use crate::float::run_for;
use crate::ops::on_device;
use crate::parallel::{self, Target};
use crate::simd::{Kernel, Simd};

/// The largest number along `axis` and where it stands (i64): the first of equals; NaN counts as largest, as in PyTorch.
///
/// # Errors
/// A dimension out of range, or of extent 0.
pub fn max(x: &Array, axis: isize, keep: bool) -> Result<(Array, Array)> {
    with_element!(x.dtype(), T => extreme("max", x, axis, keep, |a: T, b: T| a > b))
}

/// The smallest number along `axis` and where it stands; as [`max`].
///
/// # Errors
/// A dimension out of range, or of extent 0.
pub fn min(x: &Array, axis: isize, keep: bool) -> Result<(Array, Array)> {
    with_element!(x.dtype(), T => extreme("min", x, axis, keep, |a: T, b: T| a < b))
}

fn extreme<T: Element>(op: &'static str, x: &Array, axis: isize, keep: bool, better: impl Fn(T, T) -> bool + Copy + Sync) -> Result<(Array, Array)> {
    let at = x.shape().axis(op, axis)?;
    let extent = x.dims()[at];
    if extent == 0 {
        return Err(Error::shape(op, format!("dimension {axis} of {:?} is empty, expected at least one number", x.shape())));
    }
    let shape = if keep { x.shape().with(at, 1) } else { x.shape().without(at) };
    on_device!(op, [x], |gpu| super::cuda::extreme(gpu, op, x, at, shape));
    let (mut values, mut places) = (Array::stale(shape, x.dtype())?, Array::stale(shape, DType::I64)?);
    let x = x.contiguous()?;
    let inner: usize = x.dims()[at + 1..].iter().product();
    let (numbers, to_value, to_place) = (x.slice::<T>(), Target::new(values.slice_mut::<T>()), Target::new(places.slice_mut::<i64>()));
    let width = LANES.min(inner);
    let strips = inner.div_ceil(LANES);
    parallel::items(shape.count() / inner.max(1) * strips, extent * width, |start, end| {
        for task in start..end {
            let (outer, left) = (task / strips, task % strips * LANES);
            let count = LANES.min(inner - left);
            let first = outer * extent * inner + left;
            let found = outer * inner + left;
            // SAFETY: strips do not overlap.
            let (values, places) = unsafe { (to_value.slice(found, found + count), to_place.slice(found, found + count)) };
            run_for::<T, _>(Strip { x: &numbers[first..], extent, inner, better, values, places });
        }
    });
    Ok((values, places))
}

/// Lines that are searched side by side, or numbers of a dense line.
const LANES: usize = 32;

/// Whether `number` takes the place of `best`: if it is better, or the first NaN.
#[inline(always)]
#[allow(clippy::eq_op)]
fn replaces<T: Element>(number: T, best: T, better: impl Fn(T, T) -> bool) -> bool {
    better(number, best) | ((number != number) & (best == best))
}

/// The lines that begin at the first numbers of `x`, as many as there are results; their numbers are `inner` apart.
struct Strip<'a, T, F> {
    x: &'a [T],
    extent: usize,
    inner: usize,
    better: F,
    values: &'a mut [T],
    places: &'a mut [i64],
}

impl<T: Element, F: Fn(T, T) -> bool + Copy> Kernel for Strip<'_, T, F> {
    type Output = ();
    #[inline(always)]
    #[allow(clippy::eq_op)]
    fn run<S: Simd>(self) {
        let Strip { x, extent, inner, better, values, places } = self;
        if inner == 1 && extent >= LANES {
            // First the number, then where it stands: the first that equals it, or the first NaN.
            let (whole, rest) = x[..extent].as_chunks::<LANES>();
            let mut best = whole[0];
            for x in whole {
                for i in 0..LANES {
                    best[i] = if replaces(x[i], best[i], better) { x[i] } else { best[i] };
                }
            }
            let all = best.into_iter().chain(rest.iter().copied());
            let found = all.reduce(|a, b| if replaces(b, a, better) { b } else { a }).unwrap_or(x[0]);
            let meets = |x: &T| (*x == found) | ((*x != *x) & (found != found));
            let block = whole.iter().position(|x| x.iter().fold(false, |any, x| any | meets(x))).unwrap_or(whole.len());
            let place = block * LANES + x[block * LANES..extent].iter().position(meets).unwrap_or(0);
            (values[0], places[0]) = (x[place], place as i64);
        } else if values.len() == LANES {
            let (mut best, mut place) = ([T::zero(); LANES], [0u32; LANES]);
            best.copy_from_slice(&x[..LANES]);
            for k in 1..extent {
                let x = &x[k * inner..][..LANES];
                for i in 0..LANES {
                    let new = replaces(x[i], best[i], better);
                    best[i] = if new { x[i] } else { best[i] };
                    place[i] = if new { k as u32 } else { place[i] };
                }
            }
            values.copy_from_slice(&best);
            places.iter_mut().zip(place).for_each(|(to, place)| *to = place as i64);
        } else {
            for (i, (value, place)) in values.iter_mut().zip(places).enumerate() {
                (*value, *place) = (x[i], 0);
                for k in 1..extent {
                    let number = x[k * inner + i];
                    if replaces(number, *value, better) {
                        (*value, *place) = (number, k as i64);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extremes_name_the_first_and_nan() {
        let x = Array::from_slice(&[1f32, 5.0, 5.0, 2.0, f32::NAN, 3.0], &[2, 3]).unwrap();
        let (values, places) = max(&x, 1, false).unwrap();
        assert_eq!(places.to_vec::<i64>().unwrap(), [1, 1]);
        assert!(values.to_vec::<f32>().unwrap()[1].is_nan());
        let (values, places) = min(&x, 0, true).unwrap();
        assert_eq!((values.dims(), places.to_vec::<i64>().unwrap()), (&[1, 3][..], vec![0, 1, 1]));
        // Lines of every kind against the definition: dense, interleaved, in whole and broken strips, with equals and NaN.
        for dims in [[3usize, 100, 1], [2, 33, 1], [2, 7, 64], [1, 5, 45], [4, 31, 1], [1, 1, 3], [0, 3, 2], [3, 2, 0], [2, 300, 33]] {
            for nan in [false, true] {
                let x = Array::from_index(&dims, DType::F32, |i| if nan && i % 57 == 40 { f64::NAN } else { (i * 7919 % 23) as f64 }).unwrap();
                let numbers = x.to_vec::<f32>().unwrap();
                let (values, places) = max(&x, 1, false).unwrap();
                let (values, places) = (values.to_vec::<f32>().unwrap(), places.to_vec::<i64>().unwrap());
                for (i, (value, place)) in values.iter().zip(places).enumerate() {
                    let line: Vec<f32> = (0..dims[1]).map(|k| numbers[(i / dims[2] * dims[1] + k) * dims[2] + i % dims[2]]).collect();
                    let most = line.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                    let first = line.iter().position(|x| x.is_nan()).or_else(|| line.iter().position(|x| *x == most)).unwrap();
                    assert!(place == first as i64 && (*value == line[first] || value.is_nan()), "{dims:?} {nan} line {i}: {place}, expected {first}");
                }
            }
        }
        assert!(max(&Array::zeros(&[2, 0], DType::F32).unwrap(), 1, false).is_err());
    }
}
