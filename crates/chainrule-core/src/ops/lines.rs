//! Lines: the numbers of an array along one dimension, a line for each index of the others. Sorting and running products work on them one by one.

use crate::array::Array;
use crate::dtype::{DType, Element};
use crate::error::Result;
use crate::parallel::{self, Target};
use crate::shape::Shape;

/// Where the lines of an array lie.
pub(crate) struct Lines {
    extent: usize,
    inner: usize,
    count: usize,
}

impl Lines {
    pub(crate) fn new(shape: &Shape, axis: usize) -> Lines {
        let [outer, inner] = [&shape.dims()[..axis], &shape.dims()[axis + 1..]].map(|dims| dims.iter().product::<usize>());
        Lines { extent: shape.dims()[axis], inner, count: outer * inner }
    }

    fn first(&self, line: usize) -> usize {
        line / self.inner * self.extent * self.inner + line % self.inner
    }

    /// Copies a line out of a dense array.
    pub(crate) fn read<T: Copy>(&self, line: usize, from: &[T], to: &mut Vec<T>) {
        to.clear();
        if self.extent == 0 {
            return;
        }
        let from = &from[self.first(line)..];
        if self.inner == 1 {
            to.extend_from_slice(&from[..self.extent]);
        } else {
            to.extend(from.iter().step_by(self.inner).take(self.extent));
        }
    }

    /// Copies a line into a dense array.
    ///
    /// # Safety
    /// `to` is an array of these lines that is alive, `from` has their extent, and no other task touches this line meanwhile.
    pub(crate) unsafe fn write<T: Copy>(&self, line: usize, from: &[T], to: Target<T>) {
        let first = self.first(line);
        if self.inner == 1 {
            // SAFETY: the caller's promise.
            return unsafe { to.slice(first, first + from.len()) }.copy_from_slice(from);
        }
        for (k, &number) in from.iter().enumerate() {
            let at = first + k * self.inner;
            // SAFETY: the caller's promise.
            unsafe { to.slice(at, at + 1)[0] = number };
        }
    }

    /// Calls `body(start, end)` for ranges of lines, of `work` operations a line.
    pub(crate) fn ranges(&self, work: usize, body: impl Fn(usize, usize) + Sync) {
        parallel::items(self.count, work, body);
    }
}

/// `body(line of x, line of the result)` for every line along `axis`; lines of the result have `extent` elements.
pub(crate) fn map<T: Element>(x: &Array, axis: usize, extent: usize, body: impl Fn(&[T], &mut [T]) + Sync) -> Result<Array> {
    let x = x.contiguous()?;
    let mut out = Array::stale(Shape::new(x.shape().with(axis, extent).dims())?, x.dtype())?;
    let (lines, out_lines) = (Lines::new(x.shape(), axis), Lines::new(out.shape(), axis));
    let (numbers, target) = (x.slice::<T>(), Target::new(out.slice_mut::<T>()));
    lines.ranges(lines.extent, |start, end| {
        let (mut line, mut result) = (Vec::new(), vec![T::zero(); extent]);
        for i in start..end {
            lines.read(i, numbers, &mut line);
            body(&line, &mut result);
            // SAFETY: ranges of lines do not overlap.
            unsafe { out_lines.write(i, &result, target) };
        }
    });
    Ok(out)
}

/// `body(line of x, numbers of the result, their places in the line)` for every line along `axis`; lines of both results have `extent` elements.
pub(crate) fn map_with_places<T: Element>(x: &Array, axis: usize, extent: usize, body: impl Fn(&[T], &mut [T], &mut [i64]) + Sync) -> Result<(Array, Array)> {
    let x = x.contiguous()?;
    let shape = Shape::new(x.shape().with(axis, extent).dims())?;
    let (mut values, mut places) = (Array::stale(shape, x.dtype())?, Array::stale(shape, DType::I64)?);
    let (lines, out_lines) = (Lines::new(x.shape(), axis), Lines::new(&shape, axis));
    let (numbers, to_value, to_place) = (x.slice::<T>(), Target::new(values.slice_mut::<T>()), Target::new(places.slice_mut::<i64>()));
    lines.ranges(lines.extent, |start, end| {
        let (mut line, mut found, mut place) = (Vec::new(), vec![T::zero(); extent], vec![0; extent]);
        for i in start..end {
            lines.read(i, numbers, &mut line);
            body(&line, &mut found, &mut place);
            // SAFETY: ranges of lines do not overlap.
            unsafe {
                out_lines.write(i, &found, to_value);
                out_lines.write(i, &place, to_place);
            }
        }
    });
    Ok((values, places))
}
