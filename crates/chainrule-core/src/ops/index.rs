//! Picking, writing and adding rows by index. Indices are i64; a negative or too large one is an error that names it.
//!
//! Additions run in the order of the indices, a column of the trailing dimensions each on one thread, so sums have the same bits for any number of threads.
//!
//! On a GPU nothing waits for the indices, so one that is outside is no error: what it picks has all bits set (NaN, or -1 for integers), what it would put is left out. Negative ones are outside but for [`flat_positions`], as on the CPU.

#[cfg(feature = "cuda")]
pub(crate) mod cuda;

use crate::array::Array;
use crate::dtype::{DType, Element, with_element};
use crate::error::{Error, Result};
use crate::float::with_float;
use crate::ops::{on_device, same_dtype};
use crate::parallel::{self, Target};
use crate::shape::Shape;
use std::sync::atomic::{AtomicBool, Ordering};

/// The indices as positions below `extent`.
pub(crate) fn positions(op: &'static str, indices: &Array, extent: usize) -> Result<Array> {
    if indices.dtype() != DType::I64 {
        return Err(Error::DType { op, got: indices.dtype(), expected: "i64 indices" });
    }
    let indices = indices.contiguous()?;
    let (numbers, n) = (indices.slice::<i64>(), extent as u64);
    let good = AtomicBool::new(true);
    parallel::ranges(numbers.len(), parallel::GRAIN, |start, end| {
        // Without a way out, so that it is done in registers; negative numbers are large ones here.
        if !numbers[start..end].iter().fold(true, |good, &i| good & ((i as u64) < n)) {
            good.store(false, Ordering::Relaxed);
        }
    });
    if good.into_inner() {
        return Ok(indices);
    }
    let (at, bad) = numbers.iter().enumerate().find(|(_, i)| (**i as u64) >= n).unwrap_or((0, &0));
    Err(Error::value(op, format!("index {bad} (position {at}) is outside 0..{extent}")))
}

/// The product of the extents before and after `axis`.
fn sides(shape: &Shape, axis: usize) -> (usize, usize) {
    (shape.dims()[..axis].iter().product(), shape.dims()[axis + 1..].iter().product())
}

/// `out[.., k, ..] = x[.., indices[k], ..]` along `axis` (PyTorch's `index_select`); the indices' shape replaces the dimension, so that an embedding is `index_select(weight, 0, tokens)`.
///
/// # Errors
/// An index outside the dimension, on the CPU; indices that are not i64; more than 8 dimensions.
pub fn index_select(x: &Array, axis: isize, indices: &Array) -> Result<Array> {
    const OP: &str = "index_select";
    let at = x.shape().axis(OP, axis)?;
    on_device!(OP, [x, indices], |gpu| cuda::index_select(gpu, OP, x, at, indices));
    let indices = positions(OP, indices, x.dims()[at])?;
    let shape = Shape::joined([&x.dims()[..at], indices.dims(), &x.dims()[at + 1..]])?;
    let x = x.contiguous()?;
    let mut out = Array::stale(shape, x.dtype())?;
    let (outer, inner) = sides(x.shape(), at);
    let out_is_empty = out.count() == 0;
    with_element!(x.dtype(), T => {
        let (from, rows, extent, count) = (x.slice::<T>(), indices.slice::<i64>(), x.dims()[at], indices.count());
        let target = Target::new(out.slice_mut::<T>());
        if !out_is_empty {
            parallel::items(outer * count, inner, |start, end| {
                for row in start..end {
                    let source = (row / count * extent + rows[row % count] as usize) * inner;
                    // SAFETY: rows of the output do not overlap.
                    unsafe { target.slice(row * inner, (row + 1) * inner) }.copy_from_slice(&from[source..source + inner]);
                }
            });
        }
    });
    Ok(out)
}

/// `out = base; out[.., indices[k], ..] += source[.., k, ..]`: undoes [`index_select`]. In place when nothing else holds `base`.
///
/// # Errors
/// An index outside the dimension, on the CPU; a source whose shape is not that of `index_select`; element types other than f32, f64 (on the CPU) and i64, or different ones.
pub fn index_add(base: Array, axis: isize, indices: &Array, source: &Array) -> Result<Array> {
    const OP: &str = "index_add";
    let at = expect_rows(OP, &base, axis, indices, source)?;
    on_device!(OP, [base, indices, source], |gpu| cuda::join(gpu, OP, base, at, indices, source, super::gather::Join::Sum));
    if base.dtype() == DType::I64 {
        return into_rows(OP, base, at, indices, source, |old: &mut i64, new| *old = old.wrapping_add(new));
    }
    with_float!(OP, base.dtype(), T => into_rows(OP, base, at, indices, source, |old: &mut T, new| *old += new))
}

/// `out = base; out[.., indices[k], ..] = source[.., k, ..]`, the last of equal indices staying (PyTorch's `index_copy`). In place when nothing else holds `base`.
///
/// # Errors
/// An index outside the dimension, on the CPU; a source whose shape is not that of `index_select`; different element types.
pub fn index_copy(base: Array, axis: isize, indices: &Array, source: &Array) -> Result<Array> {
    const OP: &str = "index_copy";
    let at = expect_rows(OP, &base, axis, indices, source)?;
    on_device!(OP, [base, indices, source], |gpu| cuda::join(gpu, OP, base, at, indices, source, super::gather::Join::Write));
    with_element!(base.dtype(), T => into_rows(OP, base, at, indices, source, |old: &mut T, new| *old = new))
}

/// The dimension, of which the source holds a row for each index.
fn expect_rows(op: &'static str, base: &Array, axis: isize, indices: &Array, source: &Array) -> Result<usize> {
    let at = base.shape().axis(op, axis)?;
    let expected = Shape::joined([&base.dims()[..at], indices.dims(), &base.dims()[at + 1..]])?;
    crate::ops::expect_shape(op, "the source", source, &expected)?;
    same_dtype(op, base, source)?;
    Ok(at)
}

fn into_rows<T: Element>(op: &'static str, mut base: Array, at: usize, indices: &Array, source: &Array, join: impl Fn(&mut T, T) + Sync) -> Result<Array> {
    let indices = positions(op, indices, base.dims()[at])?;
    let source = source.contiguous()?;
    let (outer, inner) = sides(base.shape(), at);
    let (extent, count) = (base.dims()[at], indices.count());
    base.own()?;
    let (from, rows) = (source.slice::<T>(), indices.slice::<i64>());
    let target = Target::new(base.slice_mut::<T>());
    // A task owns a strip of columns of one outer index: no two tasks write to the same element.
    const STRIP: usize = 64;
    let strips = inner.div_ceil(STRIP);
    let task = |task: usize| {
        let (o, left) = (task / strips, task % strips * STRIP);
        let right = (left + STRIP).min(inner);
        for (k, row) in rows.iter().enumerate() {
            let (to, source) = ((o * extent + *row as usize) * inner, (o * count + k) * inner);
            // SAFETY: the strip belongs to this task alone.
            let to = unsafe { target.slice(to + left, to + right) };
            for (old, new) in to.iter_mut().zip(&from[source + left..source + right]) {
                join(old, *new);
            }
        }
    };
    let tasks = outer * strips;
    if source.count() < 2 * parallel::GRAIN {
        (0..tasks).for_each(task)
    } else {
        parallel::run(tasks, task)
    }
    Ok(base)
}

/// For index arrays into the first dimensions of an array of these extents, the row-major position of each element they name: the arrays broadcast; a negative index counts from the end.
///
/// # Errors
/// No index array, or more than dimensions; arrays that are not i64 or do not broadcast; an index outside its dimension, on the CPU: on a GPU the position is then -1.
pub fn flat_positions(op: &'static str, dims: &[usize], indices: &[&Array]) -> Result<Array> {
    if indices.is_empty() || indices.len() > dims.len() {
        return Err(Error::shape(op, format!("{} index arrays for the {} dimensions of {dims:?}", indices.len(), dims.len())));
    }
    let mut shape = Shape::scalar();
    for i in indices {
        shape = Shape::broadcast(op, &shape, i.shape())?;
        if i.dtype() != DType::I64 {
            return Err(Error::DType { op, got: i.dtype(), expected: "i64 indices" });
        }
    }
    #[cfg(feature = "cuda")]
    if let crate::Device::Cuda(ordinal) = crate::ops::common_device(op, &indices.iter().map(|i| Some(("indices", *i))).collect::<Vec<_>>())? {
        let broadcast = indices.iter().map(|i| i.broadcast_to(&shape)).collect::<Result<Vec<_>>>()?;
        return cuda::flat_positions(crate::cuda::Gpu::get(ordinal)?, op, dims, &broadcast);
    }
    let mut flat = Array::filled(shape, 0.0, DType::I64)?;
    for (axis, (&extent, index)) in dims.iter().zip(indices).enumerate() {
        let index = index.broadcast_to(&shape)?.contiguous()?;
        let n = extent as i64;
        for (flat, &i) in flat.slice_mut::<i64>().iter_mut().zip(index.slice::<i64>()) {
            if i < -n || i >= n {
                return Err(Error::value(op, format!("index {i} is outside -{n}..{n}, the extent of dimension {axis} of {dims:?}")));
            }
            *flat = *flat * n + if i < 0 { i + n } else { i };
        }
    }
    Ok(flat)
}

/// `out[.., c] = 1` where `indices[..] = c`, else 0 (PyTorch's `one_hot`, in any element type): `[..] -> [.., classes]`.
///
/// # Errors
/// An index outside `0..classes`, on the CPU: on a GPU the row is then NaN; more than 8 dimensions.
pub fn one_hot(indices: &Array, classes: usize, dtype: DType) -> Result<Array> {
    const OP: &str = "one_hot";
    on_device!(OP, [indices], |gpu| cuda::one_hot(gpu, OP, indices, classes, dtype));
    let rows = positions(OP, indices, classes)?;
    let mut out = Array::zeros(&Shape::joined([indices.dims(), &[classes], &[]])?, dtype)?;
    with_element!(dtype, T => {
        let to = out.slice_mut::<T>();
        for (k, row) in rows.slice::<i64>().iter().enumerate() {
            to[k * classes + *row as usize] = T::from_f64(1.0);
        }
    });
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floats(x: &Array) -> Vec<f32> {
        x.to_vec().unwrap()
    }
    fn counted(dims: &[usize]) -> Array {
        Array::from_index(dims, DType::F32, |i| i as f64).unwrap()
    }
    fn index(data: &[i64], dims: &[usize]) -> Array {
        Array::from_slice(data, dims).unwrap()
    }

    #[test]
    fn select_and_add_are_adjoint() {
        let x = counted(&[2, 3, 2]);
        let i = index(&[2, 0, 2, 1], &[2, 2]);
        let y = index_select(&x, 1, &i).unwrap();
        assert_eq!(y.dims(), [2, 2, 2, 2]);
        assert_eq!(floats(&y)[..8], [4., 5., 0., 1., 4., 5., 2., 3.]);
        let back = index_add(Array::zeros(&[2, 3, 2], DType::F32).unwrap(), 1, &i, &Array::ones(y.dims(), DType::F32).unwrap()).unwrap();
        assert_eq!(floats(&back)[..6], [1., 1., 1., 1., 2., 2.]);
    }

    #[test]
    fn rows_are_overwritten_in_order() {
        let (x, i) = (counted(&[3, 2]), index(&[2, 0, 2], &[3]));
        let y = index_copy(x.clone(), 0, &i, &counted(&[3, 2]).cast(DType::F32).unwrap()).unwrap();
        assert_eq!(floats(&y), [2., 3., 2., 3., 4., 5.]);
        assert_eq!(floats(&x), [0., 1., 2., 3., 4., 5.]);
        let sum = index_add(Array::zeros(&[3], DType::I64).unwrap(), 0, &i, &index(&[1, 10, 100], &[3])).unwrap();
        assert_eq!(sum.to_vec::<i64>().unwrap(), [10, 0, 101]);
    }

    #[test]
    fn several_index_arrays_are_one_position() {
        let rows = index(&[0, -1], &[2, 1]);
        let flat = flat_positions("index", &[3, 4, 5], &[&rows, &index(&[1, -4, 3], &[3])]).unwrap();
        assert_eq!((flat.dims(), flat.to_vec::<i64>().unwrap()), (&[2, 3][..], vec![1, 0, 3, 9, 8, 11]));
        let error = flat_positions("index", &[3, 4], &[&rows, &index(&[4], &[1])]).unwrap_err().to_string();
        assert!(error.contains("index 4") && error.contains("dimension 1"), "{error}");
        assert!(flat_positions("index", &[3], &[&rows, &rows]).is_err() && flat_positions("index", &[3], &[]).is_err());
    }

    #[test]
    fn wrong_indices_are_named() {
        let x = counted(&[2, 3]);
        for bad in [-1, 3] {
            let error = index_select(&x, 1, &index(&[0, bad], &[2])).unwrap_err().to_string();
            assert!(error.contains(&format!("index {bad}")) && error.contains("0..3"), "{error}");
        }
        assert!(one_hot(&index(&[4], &[1]), 4, DType::F32).is_err());
        assert_eq!(floats(&one_hot(&index(&[1, 0], &[2]), 2, DType::F32).unwrap()), [0., 1., 1., 0.]);
    }

    #[test]
    fn sums_have_the_same_bits_on_any_number_of_threads() {
        let _alone = crate::simd::alone();
        let rows = Array::from_slice(&(0..5000).map(|i| (i * i % 7) as i64).collect::<Vec<_>>(), &[5000]).unwrap();
        let source = Array::from_index(&[5000, 130], DType::F32, |i| ((i * 37 % 101) as f64).sin()).unwrap();
        let mut seen: Option<Vec<f32>> = None;
        for threads in [1, 2, 3, 4] {
            parallel::set_threads(threads);
            let sum = floats(&index_add(Array::zeros(&[7, 130], DType::F32).unwrap(), 0, &rows, &source).unwrap());
            assert!(seen.get_or_insert_with(|| sum.clone()) == &sum);
        }
    }
}
