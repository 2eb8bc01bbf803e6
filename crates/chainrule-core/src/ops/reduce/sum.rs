//! Sums over dimensions, and what undoes broadcasting.
//!
//! Dimensions are reduced a block of neighbours at a time, so that every case is `[outer, reduced, inner] -> [outer, inner]`.
//! Sums are fixed trees over blocks of fixed size: the same bits for any number of threads, and errors that grow with the logarithm of the count.

use crate::array::Array;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::float::Float;
use crate::float::with_float;
use crate::ops::on_device;
use crate::parallel::{self, Target};
use crate::shape::{MAX_RANK, Shape};
use crate::simd::{Kernel, Simd, Vector};

/// The sum over `axes` (all when empty); with `keep` they stay as extents of 1. Integers, and truth values, sum to i64.
///
/// # Errors
/// A dimension named twice or out of range; bf16 and f16.
pub fn sum(x: &Array, axes: &[usize], keep: bool) -> Result<Array> {
    const OP: &str = "sum";
    let mut reduced = [axes.is_empty(); MAX_RANK];
    for &axis in axes {
        x.shape().axis(OP, axis as isize)?;
        if std::mem::replace(&mut reduced[axis], true) {
            return Err(Error::shape(OP, format!("dimension {axis} is named twice in {axes:?}")));
        }
    }
    let kept = (0..x.rank()).filter(|&i| keep || !reduced[i]).fold(Shape::scalar(), |kept, i| kept.pushed(if reduced[i] { 1 } else { x.dims()[i] }));
    on_device!(OP, [x], |gpu| super::cuda::sum(gpu, OP, x, &reduced, kept));
    let mut out = if x.dtype() == DType::U8 { x.cast(DType::I64)? } else { x.contiguous()? };
    let mut last = x.rank();
    while last > 0 {
        let end = last;
        while last > 0 && reduced[last - 1] {
            last -= 1;
        }
        if last < end {
            out = sum_block(&out, last, end)?;
        }
        last = last.saturating_sub(1);
    }
    out.reshape(&kept)
}

/// The sum over dimensions `from..to` of a dense array; they stay as extents of 1.
fn sum_block(x: &Array, from: usize, to: usize) -> Result<Array> {
    let dims = x.dims();
    let [outer, reduced, inner] = [&dims[..from], &dims[from..to], &dims[to..]].map(|d| d.iter().product::<usize>());
    let shape = (from..to).fold(*x.shape(), |shape, i| shape.with(i, 1));
    let mut out = Array::stale(shape, x.dtype())?;
    if x.dtype() == DType::I64 {
        let x = x.slice::<i64>();
        for (i, sum) in out.slice_mut::<i64>().iter_mut().enumerate() {
            let (o, i) = (i / inner, i % inner);
            *sum = (0..reduced).fold(0i64, |sum, r| sum.wrapping_add(x[(o * reduced + r) * inner + i]));
        }
        return Ok(out);
    }
    with_float!("sum", x.dtype(), T => {
        if reduced == 1 {
            out.slice_mut::<T>().copy_from_slice(x.slice());
        } else if inner == 1 {
            sum_rows::<T>(x.slice(), reduced, out.slice_mut())?;
        } else {
            sum_columns::<T>(x.slice(), reduced, inner, out.slice_mut())?;
        }
        debug_assert_eq!(out.count(), outer * inner);
        Ok(out)
    })
}

/// Elements that one leaf of a sum's tree adds lane by lane.
const LEAF: usize = 2048;
/// Elements of a row that one task sums.
const ROW_TASK: usize = 64 * 1024;

/// The sum of a slice: leaves in eight registers, halves above.
struct Tree<'a, T>(&'a [T]);

impl<T: Float> Kernel for Tree<'_, T> {
    type Output = T;
    #[inline(always)]
    fn run<S: Simd>(self) -> T {
        #[inline(always)]
        fn leaf<T: Float, V: Vector<Element = T>>(x: &[T]) -> T {
            // SAFETY: compiled for the level of V by `simd::run`; loads stay inside the slice.
            unsafe {
                let mut sums = [V::splat(T::zero()); 8];
                let mut blocks = x.chunks_exact(8 * V::LANES);
                for block in &mut blocks {
                    for (i, sum) in sums.iter_mut().enumerate() {
                        *sum = sum.add(V::load(block.as_ptr().add(i * V::LANES)));
                    }
                }
                for (part, sum) in blocks.remainder().chunks(V::LANES).zip(sums.iter_mut()) {
                    *sum = sum.add(V::load_first(part.as_ptr(), part.len()));
                }
                let [a, b, c, d, e, f, g, h] = sums;
                a.add(b).add(c.add(d)).add(e.add(f).add(g.add(h))).sum()
            }
        }
        // The tree without recursion, which could not be inlined: a stack of sums of 2^k leaves, merged as a binary counter carries.
        let mut stack = [T::zero(); 48];
        let mut depth = 0;
        for (n, part) in self.0.chunks(LEAF).enumerate() {
            let mut sum = leaf::<T, T::Vector<S>>(part);
            for _ in 0..(n + 1).trailing_zeros() {
                depth -= 1;
                sum = stack[depth] + sum;
            }
            stack[depth] = sum;
            depth += 1;
        }
        stack[..depth].iter().rev().fold(T::zero(), |sum, &s| sum + s)
    }
}

fn sum_rows<T: Float>(x: &[T], length: usize, out: &mut [T]) -> Result<()> {
    if length == 0 {
        out.fill(T::zero());
        return Ok(());
    }
    if length <= ROW_TASK {
        let (rows, target) = (out.len(), Target::new(out));
        parallel::items(rows, length, |start, end| {
            // SAFETY: ranges do not overlap.
            for (sum, row) in unsafe { target.slice(start, end) }.iter_mut().zip(x[start * length..end * length].chunks(length)) {
                *sum = T::run(Tree(row));
            }
        });
        return Ok(());
    }
    let parts = length.div_ceil(ROW_TASK);
    let mut partial = Array::stale(Shape::trusted(&[out.len() * parts]), T::DTYPE)?;
    let target = Target::new(partial.slice_mut::<T>());
    parallel::run(out.len() * parts, |task| {
        let (row, part) = (task / parts, task % parts);
        let row = &x[row * length..(row + 1) * length];
        let sum = T::run(Tree(&row[part * ROW_TASK..((part + 1) * ROW_TASK).min(length)]));
        // SAFETY: a place a task.
        unsafe { target.slice(task, task + 1)[0] = sum };
    });
    for (sum, parts) in out.iter_mut().zip(partial.slice::<T>().chunks(parts)) {
        *sum = T::run(Tree(parts));
    }
    Ok(())
}

/// `to += from`
struct AddInto<'a, T>(&'a [T], &'a mut [T]);
impl<T: Float> Kernel for AddInto<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        for (t, f) in self.1.iter_mut().zip(self.0) {
            *t = *t + *f;
        }
    }
}

/// The sum of `count` rows of `inner` numbers, four rows at a time.
struct SumRows<'a, T>(&'a [T], &'a mut [T]);
impl<T: Float> Kernel for SumRows<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let SumRows(x, out) = self;
        let inner = out.len();
        out.fill(T::zero());
        let mut blocks = x.chunks_exact(4 * inner);
        for block in &mut blocks {
            let (ab, cd) = block.split_at(2 * inner);
            let ((a, b), (c, d)) = (ab.split_at(inner), cd.split_at(inner));
            for ((((o, a), b), c), d) in out.iter_mut().zip(a).zip(b).zip(c).zip(d) {
                *o = *o + ((*a + *b) + (*c + *d));
            }
        }
        for row in blocks.remainder().chunks(inner) {
            for (o, a) in out.iter_mut().zip(row) {
                *o = *o + *a;
            }
        }
    }
}

fn sum_columns<T: Float>(x: &[T], reduced: usize, inner: usize, out: &mut [T]) -> Result<()> {
    if out.is_empty() {
        return Ok(());
    }
    // Rows that one task adds up before the partial sums are added in order.
    let rows = (ROW_TASK / inner).clamp(1, 512);
    let parts = reduced.div_ceil(rows);
    let outer = out.len() / inner;
    if parts <= 1 {
        let target = Target::new(out);
        parallel::items(outer, reduced * inner, |start, end| {
            for o in start..end {
                // SAFETY: an outer index a part of the output.
                T::run(SumRows(&x[o * reduced * inner..(o + 1) * reduced * inner], unsafe { target.slice(o * inner, (o + 1) * inner) }));
            }
        });
        return Ok(());
    }
    let mut partial = Array::stale(Shape::trusted(&[outer * parts * inner]), T::DTYPE)?;
    let target = Target::new(partial.slice_mut::<T>());
    parallel::run(outer * parts, |task| {
        let (o, part) = (task / parts, task % parts);
        let (first, last) = (o * reduced + part * rows, o * reduced + ((part + 1) * rows).min(reduced));
        // SAFETY: a row of partial sums a task.
        T::run(SumRows(&x[first * inner..last * inner], unsafe { target.slice(task * inner, (task + 1) * inner) }));
    });
    for (out, parts) in out.chunks_mut(inner).zip(partial.slice::<T>().chunks(parts * inner)) {
        let (first, rest) = parts.split_at(inner);
        out.copy_from_slice(first);
        rest.chunks(inner).for_each(|row| T::run(AddInto(row, out)));
    }
    Ok(())
}

/// The sum over the dimensions along which `dims` was stretched to the shape of `x`: undoes broadcasting.
///
/// # Errors
/// A shape that does not broadcast to that of `x`.
pub fn sum_to(x: &Array, dims: &[usize]) -> Result<Array> {
    if x.dims() == dims {
        return Ok(x.clone());
    }
    let added = x.rank().wrapping_sub(dims.len());
    let fits = x.rank() >= dims.len() && dims.iter().zip(&x.dims()[added..]).all(|(&d, &e)| d == e || d == 1);
    if !fits {
        return Err(Error::shape("sum_to", format!("shape {dims:?} does not broadcast to {:?}", x.shape())));
    }
    let (mut axes, mut count) = ([0; MAX_RANK], 0);
    for i in (0..x.rank()).filter(|&i| i < added || (dims[i - added] == 1 && x.dims()[i] != 1)) {
        axes[count] = i;
        count += 1;
    }
    let out = if count == 0 { x.clone() } else { sum(x, &axes[..count], true)? };
    out.reshape(dims)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd;

    fn waves(dims: &[usize], dtype: DType) -> Array {
        Array::from_index(dims, dtype, |i| ((i * 7919 % 1013) as f64 * 0.37).sin()).unwrap()
    }

    /// Sums index by index in double.
    fn naive(x: &Array, axes: &[usize]) -> Vec<f64> {
        let data = x.cast(DType::F64).unwrap().to_vec::<f64>().unwrap();
        let kept: Vec<usize> = (0..x.rank()).filter(|i| !axes.contains(i)).collect();
        let mut out = vec![0.0; kept.iter().map(|&i| x.dims()[i]).product()];
        for (flat, value) in data.iter().enumerate() {
            let mut index = vec![0; x.rank()];
            let mut rest = flat;
            for i in (0..x.rank()).rev() {
                index[i] = rest % x.dims()[i];
                rest /= x.dims()[i];
            }
            out[kept.iter().fold(0, |at, &i| at * x.dims()[i] + index[i])] += value;
        }
        out
    }

    #[test]
    fn sums_meet_naive_loops_on_every_level_and_thread_count() {
        let _alone = simd::alone();
        for level in simd::Level::available() {
            simd::set_level(level);
            for (dims, axes) in [
                (&[7][..], &[0][..]),
                (&[3, 5], &[1]),
                (&[3, 5], &[0]),
                (&[2, 3, 4, 5], &[0, 2, 3]),
                (&[2, 3, 4, 5], &[1, 3]),
                (&[200_001], &[0]),
                (&[3, 70_000], &[1]),
                (&[1500, 70], &[0]),
                (&[40, 9, 33], &[1]),
                (&[0, 3], &[0]),
                (&[3, 0], &[1]),
                (&[1, 1], &[0, 1]),
                (&[2, 3000, 17], &[1]),
            ] {
                for dtype in [DType::F32, DType::F64] {
                    let x = waves(dims, dtype);
                    let expected = naive(&x, axes);
                    let mut bits: Option<Vec<f64>> = None;
                    for threads in [1, 2, 3, 4] {
                        parallel::set_threads(threads);
                        let got = sum(&x, axes, false).unwrap().cast(DType::F64).unwrap().to_vec::<f64>().unwrap();
                        let most = if dtype == DType::F32 { 2e-5 } else { 1e-10 };
                        assert!(got.iter().zip(&expected).all(|(g, e)| (g - e).abs() <= most * (1.0 + e.abs())), "{dims:?} {axes:?} {level:?}");
                        assert_eq!(got.len(), expected.len());
                        assert!(bits.get_or_insert_with(|| got.clone()) == &got);
                    }
                }
            }
        }
    }

    #[test]
    fn shapes_of_sums() {
        let x = waves(&[2, 3, 4], DType::F32);
        assert_eq!(sum(&x, &[1], true).unwrap().dims(), [2, 1, 4]);
        assert_eq!(sum(&x, &[], false).unwrap().rank(), 0);
        assert_eq!(sum_to(&x, &[3, 1]).unwrap().dims(), [3, 1]);
        assert_eq!(sum_to(&x, &[1, 1, 4]).unwrap().dims(), [1, 1, 4]);
        assert!(sum_to(&x, &[2, 2]).is_err());
        assert!(sum(&x, &[1, 1], false).is_err() && sum(&x, &[3], false).is_err());
        let yes = Array::from_slice(&[1u8, 0, 1], &[3]).unwrap();
        assert_eq!(sum(&yes, &[], false).unwrap().to_vec::<i64>().unwrap(), [2]);
    }
}
