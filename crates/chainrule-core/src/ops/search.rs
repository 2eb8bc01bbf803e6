//! Where elements are, and how many: nonzero elements, places in a sorted line, counts.

use crate::array::Array;
use crate::dtype::{DType, Element, with_element};
use crate::error::{Error, Result};
use crate::ops::on_cpu;
use crate::ops::same_dtype;
use crate::parallel::{self, Target};

/// The row-major positions of the elements that are not 0, as i64: `[..] -> [count]`.
///
/// # Errors
/// No memory.
pub fn nonzero_positions(x: &Array) -> Result<Array> {
    on_cpu!("nonzero", [x]);
    let x = x.contiguous()?;
    let found: Vec<i64> = with_element!(x.dtype(), T => x.slice::<T>().iter().enumerate().filter(|(_, x)| **x != <T as num_traits::Zero>::zero()).map(|(i, _)| i as i64).collect());
    Array::from_slice(&found, &[found.len()])
}

/// The indices of the elements that are not 0, a row each, as i64: `[..] -> [count, rank]` (PyTorch's `nonzero`).
///
/// # Errors
/// No memory.
pub fn nonzero(x: &Array) -> Result<Array> {
    let (positions, rank) = (nonzero_positions(x)?, x.rank());
    let mut out = Array::stale(crate::shape::Shape::new(&[positions.count(), rank])?, DType::I64)?;
    if rank > 0 {
        for (row, &position) in out.slice_mut::<i64>().chunks_mut(rank).zip(positions.slice::<i64>()) {
            let mut rest = position;
            for (index, &extent) in row.iter_mut().zip(x.dims()).rev() {
                (*index, rest) = (rest % extent as i64, rest / extent as i64);
            }
        }
    }
    Ok(out)
}

/// Where each value would be put into a sorted line, as i64: before equal numbers, or behind them when `right` (PyTorch's `searchsorted`).
/// The last dimension of `sorted` holds the lines: one for all values, or one for each line of `values`.
///
/// # Errors
/// Leading dimensions that differ; different element types.
pub fn searchsorted(sorted: &Array, values: &Array, right: bool) -> Result<Array> {
    const OP: &str = "searchsorted";
    on_cpu!(OP, [sorted, values]);
    same_dtype(OP, sorted, values)?;
    let (Some((&length, front)), one_for_all) = (sorted.dims().split_last(), sorted.rank() == 1) else {
        return Err(Error::shape(OP, "the sorted numbers are a scalar, expected at least one dimension"));
    };
    let fits = one_for_all || values.dims().split_last().is_some_and(|(_, values)| values == front);
    if !fits {
        return Err(Error::shape(OP, format!("sorted {:?} and values {:?} differ before the last dimension", sorted.shape(), values.shape())));
    }
    let (sorted, values) = (sorted.contiguous()?, values.contiguous()?);
    let mut out = Array::stale(*values.shape(), DType::I64)?;
    let row = if one_for_all { values.count() } else { values.dims()[values.rank() - 1] };
    with_element!(sorted.dtype(), T => {
        let (lines, numbers, target) = (sorted.slice::<T>(), values.slice::<T>(), Target::new(out.slice_mut::<i64>()));
        parallel::ranges(values.count(), parallel::GRAIN / 16, |start, end| {
            // SAFETY: ranges do not overlap.
            for (i, place) in (start..end).zip(unsafe { target.slice(start, end) }) {
                let line = &lines[i / row * length..][..length];
                let number = numbers[i];
                // NaN is larger than every number, as in sorting.
                #[allow(clippy::eq_op)]
                let before = |other: &T| if right { *other <= number || number != number } else { *other < number || (number != number && other == other) };
                *place = line.partition_point(before) as i64;
            }
        });
    });
    Ok(out)
}

/// How often each of `0, 1, …` occurs, as i64; at least `minimum` counts (PyTorch's `bincount`).
///
/// # Errors
/// Numbers that are not i64, or negative.
pub fn bincount(x: &Array, minimum: usize) -> Result<Array> {
    const OP: &str = "bincount";
    on_cpu!(OP, [x]);
    if x.dtype() != DType::I64 {
        return Err(Error::DType { op: OP, got: x.dtype(), expected: "i64" });
    }
    let x = x.contiguous()?;
    if let Some(bad) = x.slice::<i64>().iter().find(|n| **n < 0) {
        return Err(Error::value(OP, format!("got {bad}, expected no negative number")));
    }
    let largest = x.slice::<i64>().iter().max().map_or(0, |&n| n as usize + 1);
    let mut out = Array::zeros(&[largest.max(minimum)], DType::I64)?;
    let counts = out.slice_mut::<i64>();
    x.slice::<i64>().iter().for_each(|&n| counts[n as usize] += 1);
    Ok(out)
}

/// How many elements lie in each of `bins` equal parts of `low..=high`, as i64; others and NaN are not counted (PyTorch's `histc`).
///
/// # Errors
/// No bins; bounds that are not finite or not in order.
pub fn histogram(x: &Array, bins: usize, low: f64, high: f64) -> Result<Array> {
    const OP: &str = "histogram";
    on_cpu!(OP, [x]);
    if bins == 0 || !(low < high && (high - low).is_finite()) {
        return Err(Error::value(OP, format!("{bins} bins from {low} to {high}, expected at least one bin and finite bounds in order")));
    }
    let x = x.contiguous()?;
    let mut out = Array::zeros(&[bins], DType::I64)?;
    let counts = out.slice_mut::<i64>();
    with_element!(x.dtype(), T => for x in x.slice::<T>() {
        let x = Element::to_f64(*x);
        if (low..=high).contains(&x) {
            // The upper bound belongs to the last part.
            counts[(((x - low) * bins as f64 / (high - low)) as usize).min(bins - 1)] += 1;
        }
    });
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{assert_same_bits, noise};

    fn integers(x: &Array) -> Vec<i64> {
        x.to_vec().unwrap()
    }

    #[test]
    fn nonzero_elements_have_their_indices() {
        let x = Array::from_slice(&[0f32, 1.0, f32::NAN, 0.0, -0.0, 2.0], &[2, 3]).unwrap();
        assert_eq!(integers(&nonzero_positions(&x).unwrap()), [1, 2, 5]);
        let rows = nonzero(&x.transpose(0, 1).unwrap()).unwrap();
        assert_eq!((rows.dims(), integers(&rows)), (&[3, 2][..], vec![1, 0, 2, 0, 2, 1]));
        assert_eq!(nonzero(&Array::scalar(3.0, DType::F32).unwrap()).unwrap().dims(), [1, 0]);
        assert_eq!(nonzero(&Array::zeros(&[0, 2], DType::U8).unwrap()).unwrap().dims(), [0, 2]);
    }

    #[test]
    fn values_find_their_place() {
        let sorted = Array::from_slice(&[1f64, 2.0, 2.0, 5.0], &[4]).unwrap();
        let values = Array::from_slice(&[0f64, 2.0, 3.0, 9.0, f64::NAN, 5.0], &[2, 3]).unwrap();
        assert_eq!(integers(&searchsorted(&sorted, &values, false).unwrap()), [0, 1, 3, 4, 4, 3]);
        assert_eq!(integers(&searchsorted(&sorted, &values, true).unwrap()), [0, 3, 3, 4, 4, 4]);
        let with_nan = Array::from_slice(&[1f64, f64::NAN], &[2]).unwrap();
        assert_eq!(integers(&searchsorted(&with_nan, &values, false).unwrap()), [0, 1, 1, 1, 1, 1]);
        assert_eq!(integers(&searchsorted(&with_nan, &values, true).unwrap()), [0, 1, 1, 1, 2, 1]);
        let lines = Array::from_slice(&[1i64, 3, 10, 30], &[2, 2]).unwrap();
        assert_eq!(integers(&searchsorted(&lines, &Array::from_slice(&[2i64, 2], &[2, 1]).unwrap(), false).unwrap()), [1, 0]);
        assert!(searchsorted(&lines, &Array::from_slice(&[2i64], &[1]).unwrap(), false).is_err());
        assert!(searchsorted(&sorted, &lines, false).is_err() && searchsorted(&Array::scalar(1.0, DType::F64).unwrap(), &values, true).is_err());
        assert_eq!(integers(&searchsorted(&sorted.narrow(0, 0, 0).unwrap(), &values, true).unwrap()), [0; 6]);
        let (many, of) = (noise(&[100_000], 1, DType::F32), crate::ops::sort::sort(&noise(&[999], 2, DType::F32), 0, false).unwrap().0);
        assert_same_bits("searchsorted", || vec![searchsorted(&of, &many, false).unwrap()]);
    }

    #[test]
    fn counts() {
        let x = Array::from_slice(&[1i64, 0, 3, 1], &[4]).unwrap();
        assert_eq!(integers(&bincount(&x, 0).unwrap()), [1, 2, 0, 1]);
        assert_eq!(integers(&bincount(&x, 6).unwrap()), [1, 2, 0, 1, 0, 0]);
        assert_eq!(integers(&bincount(&x.narrow(0, 0, 0).unwrap(), 0).unwrap()), [0i64; 0]);
        assert!(bincount(&Array::from_slice(&[-1i64], &[1]).unwrap(), 0).is_err());
        let x = Array::from_slice(&[0f32, 0.4, 0.5, 1.0, 1.1, f32::NAN], &[6]).unwrap();
        assert_eq!(integers(&histogram(&x, 2, 0.0, 1.0).unwrap()), [2, 2]);
        assert!(histogram(&x, 0, 0.0, 1.0).is_err() && histogram(&x, 2, 1.0, 1.0).is_err());
    }
}
