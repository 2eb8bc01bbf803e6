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

    /// Neighbouring lines are taken together, so that no cache line is fetched once for each.
    pub(crate) fn bundles(&self) -> usize {
        self.count / self.inner.max(1) * self.inner.div_ceil(BUNDLE)
    }

    /// Where the lines of a bundle begin, and how many they are.
    fn bundle(&self, bundle: usize) -> (usize, usize) {
        let (outer, left) = (bundle / self.inner.div_ceil(BUNDLE), bundle % self.inner.div_ceil(BUNDLE) * BUNDLE);
        (outer * self.extent * self.inner + left, BUNDLE.min(self.inner - left))
    }

    /// Copies the lines of a bundle out of a dense array, one after the other.
    pub(crate) fn read<T: Element>(&self, bundle: usize, from: &[T], to: &mut Vec<T>) {
        let (first, width) = self.bundle(bundle);
        to.resize(width * self.extent, T::zero());
        for k in 0..self.extent {
            for (j, number) in from[first + k * self.inner..][..width].iter().enumerate() {
                to[j * self.extent + k] = *number;
            }
        }
    }

    /// Copies the lines of a bundle into a dense array.
    ///
    /// # Safety
    /// `to` is an array of these lines that is alive, `from` has their extent, and no other task touches this bundle meanwhile.
    pub(crate) unsafe fn write<T: Copy>(&self, bundle: usize, from: &[T], to: Target<T>) {
        let (first, width) = self.bundle(bundle);
        for k in 0..self.extent {
            let at = first + k * self.inner;
            // SAFETY: the caller's promise.
            let row = unsafe { to.slice(at, at + width) };
            for (j, number) in row.iter_mut().enumerate() {
                *number = from[j * self.extent + k];
            }
        }
    }

    /// Calls `body(start, end)` for ranges of bundles.
    pub(crate) fn ranges(&self, body: impl Fn(usize, usize) + Sync) {
        parallel::items(self.bundles(), self.extent * self.inner.min(BUNDLE), body);
    }
}

/// Lines that are taken together.
const BUNDLE: usize = 16;

/// `body(line of x, line of the result)` for every line along `axis`; lines of the result have `extent` elements.
pub(crate) fn map<T: Element>(x: &Array, axis: usize, extent: usize, body: impl Fn(&[T], &mut [T]) + Sync) -> Result<Array> {
    Ok(map_with_places(x, axis, extent, 0, |line, result, _| body(line, result))?.0)
}

/// `body(line of x, numbers of the result, their places in the line)` for every line along `axis`; lines of the results have `extent` numbers and `places` places.
pub(crate) fn map_with_places<T: Element>(
    x: &Array,
    axis: usize,
    extent: usize,
    places: usize,
    body: impl Fn(&[T], &mut [T], &mut [i64]) + Sync,
) -> Result<(Array, Array)> {
    let x = x.contiguous()?;
    let [shape, place_shape] = [extent, places].map(|extent| Shape::new(x.shape().with(axis, extent).dims()));
    let (mut values, mut positions) = (Array::stale(shape?, x.dtype())?, Array::stale(place_shape?, DType::I64)?);
    let [lines, out_lines, place_lines] = [x.shape(), values.shape(), positions.shape()].map(|shape| Lines::new(shape, axis));
    let (numbers, to_value, to_place) = (x.slice::<T>(), Target::new(values.slice_mut::<T>()), Target::new(positions.slice_mut::<i64>()));
    lines.ranges(|start, end| {
        if lines.inner == 1 {
            for i in start..end {
                // SAFETY: lines do not overlap, and with no dimension behind theirs each is dense.
                let (found, place) = unsafe { (to_value.slice(i * extent, (i + 1) * extent), to_place.slice(i * places, (i + 1) * places)) };
                body(&numbers[i * lines.extent..(i + 1) * lines.extent], found, place);
            }
            return;
        }
        let (mut read, mut found, mut place) = (Vec::new(), vec![T::zero(); BUNDLE * extent], vec![0; BUNDLE * places]);
        for i in start..end {
            lines.read(i, numbers, &mut read);
            for j in 0..lines.bundle(i).1 {
                let line = &read[j * lines.extent..(j + 1) * lines.extent];
                body(line, &mut found[j * extent..(j + 1) * extent], &mut place[j * places..(j + 1) * places]);
            }
            // SAFETY: ranges of bundles do not overlap.
            unsafe {
                out_lines.write(i, &found, to_value);
                place_lines.write(i, &place, to_place);
            }
        }
    });
    Ok((values, positions))
}
