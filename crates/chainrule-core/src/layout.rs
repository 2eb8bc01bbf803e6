//! Walking several strided arrays of one shape side by side.

use crate::parallel;
use crate::shape::{MAX_RANK, Shape, Strides};

/// A shape with the strides of `N` operands, reduced to as few dimensions as possible: extents of 1 are dropped, and neighbours that every operand steps through evenly become one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout<const N: usize> {
    dims: [usize; MAX_RANK],
    strides: [Strides; N],
    rank: usize,
}

impl<const N: usize> Layout<N> {
    pub(crate) fn new(shape: &Shape, operands: [&Strides; N]) -> Layout<N> {
        let mut out = Layout { dims: [1; MAX_RANK], strides: [[0; MAX_RANK]; N], rank: 0 };
        for (i, &extent) in shape.dims().iter().enumerate() {
            if extent == 1 {
                continue;
            }
            let last = out.rank.wrapping_sub(1);
            let even = out.rank > 0 && (0..N).all(|n| out.strides[n][last] == operands[n][i] * extent as isize);
            let at = if even {
                out.dims[last] *= extent;
                last
            } else {
                out.dims[out.rank] = extent;
                out.rank += 1;
                out.rank - 1
            };
            for (strides, operand) in out.strides.iter_mut().zip(&operands) {
                strides[at] = operand[i];
            }
        }
        out
    }

    /// The extent of the innermost dimension, 1 for a scalar.
    pub(crate) fn inner(&self) -> usize {
        if self.rank == 0 { 1 } else { self.dims[self.rank - 1] }
    }

    /// The innermost stride of operand `n`.
    pub(crate) fn inner_stride(&self, n: usize) -> isize {
        if self.rank == 0 { 1 } else { self.strides[n][self.rank - 1] }
    }

    /// The extents after reduction.
    pub(crate) fn dims(&self) -> &[usize] {
        &self.dims[..self.rank]
    }

    pub(crate) fn strides(&self, n: usize) -> &[isize] {
        &self.strides[n][..self.rank]
    }

    /// Moves dimension `axis` to the innermost place.
    pub(crate) fn innermost(mut self, axis: usize) -> Self {
        self.dims[axis..self.rank].rotate_left(1);
        for strides in &mut self.strides {
            strides[axis..self.rank].rotate_left(1);
        }
        self
    }

    /// Calls `body` with the operands' offsets at the start of every innermost row. Rows are spread over threads in groups of about [`parallel::GRAIN`] elements.
    pub(crate) fn rows(&self, body: impl Fn([isize; N]) + Sync) {
        self.walk(&|mut offsets, count, steps| {
            for _ in 0..count {
                body(offsets);
                (0..N).for_each(|n| offsets[n] += steps[n]);
            }
        })
    }

    /// The same, but several rows at a time that are evenly spaced: `body(offsets of the first, rows, steps from one to the next)`.
    pub(crate) fn runs(&self, body: impl Fn([isize; N], usize, [isize; N]) + Sync) {
        self.walk(&body)
    }

    /// Calls `body(offsets, k)` for each of `parts` parts of each block of the `inner` innermost dimensions.
    pub(crate) fn parts(&self, inner: usize, parts: usize, body: impl Fn([isize; N], usize) + Sync) {
        let outer = self.rank.saturating_sub(inner);
        let size = self.dims[outer..self.rank].iter().product::<usize>().div_ceil(parts.max(1));
        parallel::items(self.dims[..outer].iter().product::<usize>() * parts, size, |start, end| {
            (start..end).for_each(|item| body(self.offsets(outer, item / parts), item % parts));
        });
    }

    /// Where the block `block` of all dimensions from `outer` on begins.
    fn offsets(&self, outer: usize, mut block: usize) -> [isize; N] {
        let mut offsets = [0; N];
        for i in (0..outer).rev() {
            let index = (block % self.dims[i]) as isize;
            block /= self.dims[i];
            (0..N).for_each(|n| offsets[n] += index * self.strides[n][i]);
        }
        offsets
    }

    fn walk(&self, body: &(dyn Fn([isize; N], usize, [isize; N]) + Sync)) {
        let (outer, size) = (self.rank.saturating_sub(1), self.inner());
        let count = if size == 0 { 0 } else { self.dims[..outer].iter().product() };
        let (length, steps) = if outer == 0 { (1, [0; N]) } else { (self.dims[outer - 1], std::array::from_fn(|n| self.strides[n][outer - 1])) };
        parallel::items(count, size, |start, end| {
            let mut at = start;
            while at < end {
                let run = (length - at % length).min(end - at);
                body(self.offsets(outer, at), run, steps);
                at += run;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn dense_dimensions_merge() {
        let shape = Shape::trusted(&[4, 1, 3, 5]);
        let dense = shape.dense_strides();
        let layout = Layout::new(&shape, [&dense]);
        assert_eq!((layout.dims(), layout.inner_stride(0)), (&[60][..], 1));
        let mut row = dense;
        row[0] = 0;
        let layout = Layout::new(&shape, [&dense, &row]);
        assert_eq!(layout.dims(), &[4, 15]);
    }

    #[test]
    fn every_row_is_visited_once() {
        let shape = Shape::trusted(&[3, 4, 5]);
        let mut strides = [0; MAX_RANK];
        strides[..3].copy_from_slice(&[1, 3, 12]);
        let seen = Mutex::new(vec![]);
        Layout::new(&shape, [&strides]).rows(|[offset]| seen.lock().unwrap().push(offset));
        let mut seen = seen.into_inner().unwrap();
        seen.sort();
        assert_eq!(seen, (0..12).collect::<Vec<isize>>());
    }
}
