//! The largest and smallest numbers of lines, and where they stand.

use crate::array::Array;
use crate::dtype::{DType, Element, with_element};
use crate::error::{Error, Result};
use crate::parallel::{self, Target};

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

fn extreme<T: Element>(op: &'static str, x: &Array, axis: isize, keep: bool, better: impl Fn(T, T) -> bool + Sync) -> Result<(Array, Array)> {
    let at = x.shape().axis(op, axis)?;
    let extent = x.dims()[at];
    if extent == 0 {
        return Err(Error::shape(op, format!("dimension {axis} of {:?} is empty, expected at least one number", x.shape())));
    }
    let shape = if keep { x.shape().with(at, 1) } else { x.shape().without(at) };
    let (mut values, mut places) = (Array::stale(shape, x.dtype())?, Array::stale(shape, DType::I64)?);
    let x = x.contiguous()?;
    let inner: usize = x.dims()[at + 1..].iter().product();
    let (numbers, to_value, to_place) = (x.slice::<T>(), Target::new(values.slice_mut::<T>()), Target::new(places.slice_mut::<i64>()));
    parallel::items(shape.count(), extent, |start, end| {
        for i in start..end {
            let first = i / inner * extent * inner + i % inner;
            let (mut best, mut place) = (numbers[first], 0);
            for k in 1..extent {
                let number = numbers[first + k * inner];
                #[allow(clippy::eq_op)]
                if better(number, best) || (number != number && best == best) {
                    (best, place) = (number, k as i64);
                }
            }
            // SAFETY: ranges do not overlap.
            unsafe { (to_value.slice(i, i + 1)[0], to_place.slice(i, i + 1)[0]) = (best, place) };
        }
    });
    Ok((values, places))
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
        assert!(max(&Array::zeros(&[2, 0], DType::F32).unwrap(), 1, false).is_err());
    }
}
