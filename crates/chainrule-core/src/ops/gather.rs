//! Elements picked and put by an index each: `x[i, indices[i, j, k], k]` for `axis` 1. Indices are i64; a negative or too large one is an error that names it.
//!
//! Putting runs in the order of the indices, so what lands where is defined, and sums have the same bits for any number of threads.
//!
//! On a GPU nothing waits for the indices, so one that is outside is no error: what it picks has all bits set (NaN, or -1 for integers), what it would put is left out.

#[cfg(feature = "cuda")]
mod cuda;

use crate::array::Array;
use crate::dtype::{DType, Element, with_element};
use crate::error::{Error, Result};
use crate::float::with_float;
use crate::ops::index::positions;
use crate::ops::{on_device, same_dtype};
use crate::parallel::{self, Target};
use crate::shape::{MAX_RANK, Shape, Strides};
use std::sync::atomic::{AtomicBool, Ordering};

/// Indices that fit an array in all dimensions but one.
struct Places {
    indices: Array,
    axis: usize,
    /// The extent of that dimension.
    extent: usize,
    strides: Strides,
    /// The indices' innermost extent.
    row: usize,
}

impl Places {
    /// The dimension, for indices that fit.
    fn axis(op: &'static str, x: &Shape, axis: isize, indices: &Array) -> Result<usize> {
        let at = x.axis(op, axis)?;
        let fits = indices.rank() == x.rank() && (0..x.rank()).all(|i| i == at || indices.dims()[i] <= x.dims()[i]);
        if !fits {
            return Err(Error::shape(
                op,
                format!("indices {:?} do not fit {x:?}: equal rank and no larger extents outside dimension {axis} are expected", indices.shape()),
            ));
        }
        if indices.dtype() != DType::I64 {
            return Err(Error::DType { op, got: indices.dtype(), expected: "i64 indices" });
        }
        Ok(at)
    }

    fn new(x: &Shape, at: usize, indices: &Array) -> Result<Places> {
        let row = indices.dims()[x.rank() - 1];
        Ok(Places { indices: indices.contiguous()?, axis: at, extent: x.dims()[at], strides: x.dense_strides(), row })
    }

    /// An error that names the first index outside the dimension.
    fn check(&self, op: &'static str) -> Result<()> {
        positions(op, &self.indices, self.extent).map(drop)
    }

    fn rows(&self) -> usize {
        self.indices.count().checked_div(self.row).unwrap_or(0)
    }

    /// Calls `body(position in the array, place among the indices)` for the indices of rows `start..end`, in order; 0 stands for an index that is outside. Returns whether none was.
    #[inline(always)]
    fn for_rows(&self, start: usize, end: usize, mut body: impl FnMut(usize, usize)) -> bool {
        let (dims, last) = (self.indices.dims(), self.indices.rank() - 1);
        let stride = |i: usize| if i == self.axis { 0 } else { self.strides[i] as usize };
        let (mut index, mut rest, mut base) = ([0; MAX_RANK], start, 0);
        for i in (0..last).rev() {
            (index[i], rest) = (rest % dims[i], rest / dims[i]);
            base += index[i] * stride(i);
        }
        let (step, mut good) = (self.strides[self.axis] as usize, true);
        for row in start..end {
            let places = row * self.row..(row + 1) * self.row;
            let checked = places.clone().zip(&self.indices.slice::<i64>()[places]).map(|(place, &i)| {
                let inside = (i as u64) < self.extent as u64;
                good &= inside;
                (place, if inside { i as usize } else { 0 })
            });
            if self.axis == last {
                checked.for_each(|(place, i)| body(base + i, place));
            } else {
                checked.enumerate().for_each(|(k, (place, i))| body(base + k + i * step, place));
            }
            for i in (0..last).rev() {
                (index[i], base) = (index[i] + 1, base + stride(i));
                if index[i] < dims[i] {
                    break;
                }
                (index[i], base) = (0, base - dims[i] * stride(i));
            }
        }
        good
    }
}

/// `out[i, j, k] = x[i, indices[i, j, k], k]` for `axis` 1 (PyTorch's `gather`).
///
/// # Errors
/// Indices that do not fit; an index outside the dimension, on the CPU.
pub fn gather(x: &Array, axis: isize, indices: &Array) -> Result<Array> {
    const OP: &str = "gather";
    let at = Places::axis(OP, x.shape(), axis, indices)?;
    on_device!(OP, [x, indices], |gpu| cuda::gather(gpu, OP, x, at, indices));
    let x = x.contiguous()?;
    let places = Places::new(x.shape(), at, indices)?;
    if places.extent == 0 {
        places.check(OP)?;
    }
    let mut out = Array::stale(*indices.shape(), x.dtype())?;
    let good = AtomicBool::new(true);
    with_element!(x.dtype(), T => {
        let from = x.slice::<T>();
        let target = Target::new(out.slice_mut::<T>());
        parallel::items(places.rows(), places.row, |start, end| {
            // SAFETY: rows of the output do not overlap.
            let to = unsafe { target.slice(start * places.row, end * places.row) };
            let first = start * places.row;
            // SAFETY: positions lie in the array, whose shape the indices fit, and places in these rows.
            if !places.for_rows(start, end, |position, place| unsafe { *to.get_unchecked_mut(place - first) = *from.get_unchecked(position) }) {
                good.store(false, Ordering::Relaxed);
            }
        });
    });
    // Looked for only now, so that the indices are read once.
    if !good.into_inner() {
        places.check(OP)?;
    }
    Ok(out)
}

/// How [`scatter`] joins what it puts with what is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Join {
    /// The last one put stays.
    Write,
    /// The sum.
    Sum,
    /// The product.
    Product,
    /// The largest; NaN if one is.
    Max,
    /// The smallest; NaN if one is.
    Min,
}

/// `out = base; out[i, indices[i, j, k], k] joins source[i, j, k]` for `axis` 1 (PyTorch's `scatter`, `scatter_add`, `scatter_reduce`). In place when nothing else holds `base`.
///
/// # Errors
/// Indices that do not fit `base` or `source`; an index outside the dimension, on the CPU; different element types; element types other than f32, f64 (on the CPU) and i64, but for [`Join::Write`].
pub fn scatter(mut base: Array, axis: isize, indices: &Array, source: &Array, join: Join) -> Result<Array> {
    const OP: &str = "scatter";
    same_dtype(OP, &base, source)?;
    let fits = source.rank() == indices.rank() && source.dims().iter().zip(indices.dims()).all(|(s, i)| i <= s);
    if !fits {
        return Err(Error::shape(OP, format!("indices {:?} do not fit the source {:?}: no larger extents are expected", indices.shape(), source.shape())));
    }
    let mut part = source.clone();
    for (i, &extent) in indices.dims().iter().enumerate() {
        part = part.narrow(i as isize, 0, extent)?;
    }
    let at = Places::axis(OP, base.shape(), axis, indices)?;
    on_device!(OP, [base, indices, source], |gpu| {
        base.own()?;
        cuda::scatter(gpu, OP, base, at, indices, &part, join)
    });
    let part = part.contiguous()?;
    // Everything is checked before anything is written.
    let places = Places::new(base.shape(), at, indices)?;
    places.check(OP)?;
    if join != Join::Write && !matches!(base.dtype(), DType::F32 | DType::F64 | DType::I64) {
        return Err(Error::DType { op: OP, got: base.dtype(), expected: "f32, f64 or i64" });
    }
    base.own()?;
    match (join, base.dtype()) {
        (Join::Write, dtype) => with_element!(dtype, T => put(&mut base, &places, &part, |_: T, new| new)),
        (Join::Sum, DType::I64) => put(&mut base, &places, &part, i64::wrapping_add),
        (Join::Product, DType::I64) => put(&mut base, &places, &part, i64::wrapping_mul),
        (Join::Max, DType::I64) => put(&mut base, &places, &part, i64::max),
        (Join::Min, DType::I64) => put(&mut base, &places, &part, i64::min),
        (_, dtype) => with_float!(OP, dtype, T => {
            let nan_or = |old: T, new: T, better: bool| if old.is_nan() || (!better && !new.is_nan()) { old } else { new };
            match join {
                Join::Product => put(&mut base, &places, &part, |old: T, new| old * new),
                Join::Max => put(&mut base, &places, &part, |old: T, new| nan_or(old, new, new > old)),
                Join::Min => put(&mut base, &places, &part, |old: T, new| nan_or(old, new, new < old)),
                _ => put(&mut base, &places, &part, |old: T, new| old + new),
            }
            Ok(())
        })?,
    }
    Ok(base)
}

fn put<T: Element>(base: &mut Array, places: &Places, source: &Array, join: impl Fn(T, T) -> T + Sync) {
    let (from, row) = (source.slice::<T>(), places.row);
    let target = Target::new(base.slice_mut::<T>());
    // Rows of indices that differ before the axis have parts of the base for themselves; those that differ from it on may meet, and stay in one task.
    let meeting: usize = places.indices.dims()[places.axis..].split_last().map_or(1, |(_, others)| others.iter().product());
    let blocks = places.rows().checked_div(meeting).unwrap_or(0);
    parallel::items(blocks, meeting * row, |start, end| {
        places.for_rows(start * meeting, end * meeting, |position, place| {
            // SAFETY: the position was checked to lie in the base, and no other task has this part; the source has a number at each place.
            let (to, new) = unsafe { (&mut target.slice(position, position + 1)[0], *from.get_unchecked(place)) };
            *to = join(*to, new);
        });
    });
}

/// `out = base; out[i, indices[i, j, k], k] += source[i, j, k]` for `axis` 1 (PyTorch's `scatter_add`); undoes [`gather`]. In place when nothing else holds `base`.
///
/// # Errors
/// As for [`scatter`].
pub fn scatter_add(base: Array, axis: isize, indices: &Array, source: &Array) -> Result<Array> {
    scatter(base, axis, indices, source, Join::Sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{assert_same_bits, doubles, noise};

    fn indices(dims: &[usize], extent: usize) -> Array {
        let picks: Vec<i64> = (0..dims.iter().product::<usize>()).map(|i| (i * 7 % 11 % extent) as i64).collect();
        Array::from_slice(&picks, dims).unwrap()
    }

    /// Calls `body(position in x, place among the indices)` index by index.
    fn naive(x: &[usize], axis: usize, indices: &Array, mut body: impl FnMut(usize, usize)) {
        for (k, row) in indices.to_vec::<i64>().unwrap().iter().enumerate() {
            let (mut rest, mut at) = (k, vec![0; x.len()]);
            for i in (0..x.len()).rev() {
                at[i] = rest % indices.dims()[i];
                rest /= indices.dims()[i];
            }
            at[axis] = *row as usize;
            body((0..x.len()).fold(0, |position, i| position * x[i] + at[i]), k);
        }
    }

    #[test]
    fn elements_go_where_their_index_says() {
        for (dims, axis, picks) in
            [(&[4usize, 5][..], 1usize, &[4usize, 3][..]), (&[4, 5], 0, &[6, 2]), (&[2, 3, 4], 1, &[2, 5, 3]), (&[7], 0, &[2]), (&[3, 1], 0, &[0, 1])]
        {
            let i = indices(picks, dims[axis]);
            for dtype in [DType::F32, DType::F64, DType::I64] {
                let x = Array::from_index(dims, dtype, |i| (i as f64 * 0.7 - 3.0).round()).unwrap();
                let (from, source) = (doubles(&x), Array::from_index(picks, dtype, |i| (5 - i as i64) as f64).unwrap());
                let mut expected = vec![0.0; i.count()];
                naive(dims, axis, &i, |position, k| expected[k] = from[position]);
                assert_eq!(doubles(&gather(&x, axis as isize, &i).unwrap()), expected);
                let new = doubles(&source);
                type Rule = fn(f64, f64) -> f64;
                let joins: [(Join, Rule); 5] =
                    [(Join::Write, |_, b| b), (Join::Sum, |a, b| a + b), (Join::Product, |a, b| a * b), (Join::Max, f64::max), (Join::Min, f64::min)];
                for (join, rule) in joins {
                    let mut expected = from.clone();
                    naive(dims, axis, &i, |position, k| expected[position] = rule(expected[position], new[k]));
                    assert_eq!(doubles(&scatter(x.clone(), axis as isize, &i, &source, join).unwrap()), expected, "{dims:?} {join:?}");
                }
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_named_and_changes_nothing() {
        let x = noise(&[2, 3], 1, DType::F32);
        let bad = Array::from_slice(&[0i64, 3], &[1, 2]).unwrap();
        let error = scatter(x.clone(), 1, &bad, &x, Join::Sum).unwrap_err().to_string();
        assert!(error.contains("index 3") && error.contains("0..3"), "{error}");
        assert!(gather(&x, 0, &indices(&[1, 4], 2)).is_err() && gather(&x, 0, &x).is_err());
        assert!(scatter(x.clone(), 1, &indices(&[2, 3], 3), &x.narrow(1, 0, 2).unwrap(), Join::Sum).is_err());
        let bytes = x.cast(DType::U8).unwrap();
        assert!(scatter(bytes.clone(), 1, &indices(&[2, 3], 3), &bytes, Join::Sum).is_err());
        let nan = Array::from_slice(&[f32::NAN, 1.0], &[2]).unwrap();
        let put = scatter(nan.clone(), 0, &indices(&[2], 1), &Array::ones(&[2], DType::F32).unwrap(), Join::Max).unwrap();
        assert!(put.to_vec::<f32>().unwrap()[0].is_nan());
    }

    #[test]
    fn threads_change_nothing() {
        let (x, i) = (noise(&[500, 130], 2, DType::F32), indices(&[500, 99], 130));
        let source = x.narrow(1, 0, 99).unwrap();
        assert_same_bits("gather", || vec![gather(&x, 1, &i).unwrap()]);
        assert_same_bits("scatter", || vec![scatter_add(x.clone(), 1, &i, &source).unwrap(), scatter_add(x.clone(), 0, &i, &source).unwrap()]);
    }
}
