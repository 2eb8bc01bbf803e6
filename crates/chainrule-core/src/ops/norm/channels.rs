//! The walk over `[N, C, L]` that batch normalisation takes: reduce every channel, then pass over it again with the coefficients that follow.
//!
//! Sums of pieces are merged in one order, whoever computes them. Large planes are pieces; small ones are walked as rows of the matrix `[N, C · L]`, so that registers are filled across channels.

use crate::array::Array;
use crate::dtype::{DType, Element};
use crate::error::{Error, Result};
use crate::float::Float;
use crate::parallel::{self, Target};
use crate::shape::Shape;
use crate::simd::{Kernel, Simd};
use num_traits::Zero;
use std::ops::Range;

/// `[N, C, L]`
#[derive(Clone, Copy)]
pub(super) struct Extents {
    pub batch: usize,
    pub channels: usize,
    pub inner: usize,
}

/// Planes from this size on are walked one by one.
const PLANE: usize = 64;
/// From so many channels on each is a task, whose second pass finds the channel in cache.
const MANY: usize = 8;
/// Rows and columns of the blocks in which the matrix `[N, C · L]` is reduced: its second pass finds the block in cache.
const ROWS: usize = 128;
pub(super) const COLUMNS: usize = 64;

/// What a channel is reduced to.
pub(super) type Sums = [f64; 3];

/// What is done with a channel.
pub(super) trait Passes: Sync {
    type Number: Float;
    fn merge(a: Sums, b: Sums) -> Sums;
    /// Reduces the dense numbers `at` of channel `c`.
    fn reduce<S: Simd>(&self, at: Range<usize>, c: usize) -> Sums;
    /// Reduces the channels from `first` on, which have at most `COLUMNS` columns together, over some rows of the matrix `[N, C · L]`.
    fn reduce_columns<S: Simd>(&self, extents: Extents, rows: Range<usize>, first: usize, sums: &mut [Sums]);
    /// Turns the sums of channel `c` into the coefficients of the second pass. Called once a channel.
    fn finish(&self, c: usize, sums: Sums) -> [Self::Number; 4];
    /// The second pass over the dense numbers `at` of one channel.
    fn write<S: Simd>(&self, at: Range<usize>, coefficients: [Self::Number; 4]);
    /// The same over a row of the matrix, whose coefficients stand column by column.
    fn write_row<S: Simd>(&self, at: Range<usize>, coefficients: [&[Self::Number]; 4]);
}

impl Extents {
    pub(super) fn of(op: &'static str, x: &Array) -> Result<Extents> {
        match x.dims() {
            [batch, channels, inner @ ..] => Ok(Extents { batch: *batch, channels: *channels, inner: inner.iter().product() }),
            _ => Err(Error::shape(op, format!("input has shape {:?}, expected [N, C, ...]", x.shape()))),
        }
    }

    /// The columns of the matrix `[N, C · L]`.
    pub(super) fn columns(&self) -> usize {
        self.channels * self.inner
    }

    fn plane(&self, n: usize, c: usize) -> Range<usize> {
        let start = (n * self.channels + c) * self.inner;
        start..start + self.inner
    }

    /// Takes the walk.
    pub(super) fn walk<P: Passes>(self, passes: &P) -> Result<()> {
        if self.batch * self.channels * self.inner == 0 {
            for c in 0..self.channels {
                passes.finish(c, Sums::default());
            }
            return Ok(());
        }
        if self.inner < PLANE {
            return self.walk_rows(passes);
        }
        if self.channels < MANY {
            return self.walk_planes(passes);
        }
        parallel::items(self.channels, self.batch * self.inner, |start, end| P::Number::run(Channels { extents: self, passes, channels: start..end }));
        Ok(())
    }

    /// Few channels: their planes are spread over threads, in both passes.
    fn walk_planes<P: Passes>(self, passes: &P) -> Result<()> {
        let mut pieces = Array::stale(Shape::new(&[self.batch, self.channels, 3])?, DType::F64)?;
        let target = Target::new(pieces.slice_mut::<f64>().as_chunks_mut::<3>().0);
        parallel::items(self.batch * self.channels, self.inner, |start, end| {
            // SAFETY: ranges do not overlap.
            let pieces = unsafe { target.slice(start, end) };
            P::Number::run(Planes { extents: self, passes, start, pieces })
        });
        let mut coefficients = [[P::Number::zero(); 4]; MANY];
        for (c, coefficients) in coefficients.iter_mut().enumerate().take(self.channels) {
            *coefficients = passes.finish(c, self.total::<P>(&pieces, c));
        }
        parallel::items(self.batch * self.channels, self.inner, |start, end| {
            P::Number::run(WritePlanes { extents: self, passes, planes: start..end, coefficients: &coefficients })
        });
        Ok(())
    }

    /// The pieces of a channel merged in order.
    fn total<P: Passes>(&self, pieces: &Array, c: usize) -> Sums {
        pieces.slice::<f64>().as_chunks::<3>().0[c..].iter().step_by(self.channels).copied().reduce(P::merge).unwrap_or_default()
    }

    /// Small planes: blocks of the matrix `[N, C · L]` are reduced column by column.
    fn walk_rows<P: Passes>(self, passes: &P) -> Result<()> {
        let (columns, blocks, width) = (self.columns(), self.batch.div_ceil(ROWS), COLUMNS / self.inner);
        let strips = self.channels.div_ceil(width);
        let mut pieces = Array::stale(Shape::new(&[blocks, self.channels, 3])?, DType::F64)?;
        let target = Target::new(pieces.slice_mut::<f64>().as_chunks_mut::<3>().0);
        parallel::items(blocks * strips, ROWS.min(self.batch) * COLUMNS, |start, end| {
            for task in start..end {
                let (block, first) = (task / strips, task % strips * width);
                let last = (first + width).min(self.channels);
                // SAFETY: blocks do not overlap.
                let pieces = unsafe { target.slice(block * self.channels + first, block * self.channels + last) };
                P::Number::run(Block { extents: self, passes, rows: block * ROWS..((block + 1) * ROWS).min(self.batch), first, pieces });
            }
        });
        let mut kept = Array::stale(Shape::new(&[4, columns])?, P::Number::DTYPE)?;
        let coefficients = kept.slice_mut::<P::Number>();
        for c in 0..self.channels {
            for (k, value) in passes.finish(c, self.total::<P>(&pieces, c)).into_iter().enumerate() {
                coefficients[k * columns + c * self.inner..][..self.inner].fill(value);
            }
        }
        let coefficients = [0, 1, 2, 3].map(|k| &kept.slice::<P::Number>()[k * columns..(k + 1) * columns]);
        parallel::items(self.batch, columns, |start, end| P::Number::run(WriteRows { columns, passes, rows: start..end, coefficients }));
        Ok(())
    }
}

struct Channels<'a, P> {
    extents: Extents,
    passes: &'a P,
    channels: Range<usize>,
}

impl<P: Passes> Kernel for Channels<'_, P> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        for c in self.channels {
            let mut sums = self.passes.reduce::<S>(self.extents.plane(0, c), c);
            for n in 1..self.extents.batch {
                sums = P::merge(sums, self.passes.reduce::<S>(self.extents.plane(n, c), c));
            }
            let coefficients = self.passes.finish(c, sums);
            for n in 0..self.extents.batch {
                self.passes.write::<S>(self.extents.plane(n, c), coefficients);
            }
        }
    }
}

/// Reduces planes, counted over all channels, from `start` on.
struct Planes<'a, P: Passes> {
    extents: Extents,
    passes: &'a P,
    start: usize,
    pieces: &'a mut [Sums],
}

impl<P: Passes> Kernel for Planes<'_, P> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        for (i, piece) in (self.start..).zip(self.pieces) {
            let c = i % self.extents.channels;
            *piece = self.passes.reduce::<S>(self.extents.plane(i / self.extents.channels, c), c);
        }
    }
}

struct WritePlanes<'a, P: Passes> {
    extents: Extents,
    passes: &'a P,
    planes: Range<usize>,
    coefficients: &'a [[P::Number; 4]],
}

impl<P: Passes> Kernel for WritePlanes<'_, P> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        for i in self.planes {
            let c = i % self.extents.channels;
            self.passes.write::<S>(self.extents.plane(i / self.extents.channels, c), self.coefficients[c]);
        }
    }
}

struct Block<'a, P: Passes> {
    extents: Extents,
    passes: &'a P,
    rows: Range<usize>,
    first: usize,
    pieces: &'a mut [Sums],
}

impl<P: Passes> Kernel for Block<'_, P> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        self.passes.reduce_columns::<S>(self.extents, self.rows, self.first, self.pieces);
    }
}

struct WriteRows<'a, P: Passes> {
    columns: usize,
    passes: &'a P,
    rows: Range<usize>,
    coefficients: [&'a [P::Number]; 4],
}

impl<P: Passes> Kernel for WriteRows<'_, P> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        for n in self.rows {
            self.passes.write_row::<S>(n * self.columns..(n + 1) * self.columns, self.coefficients);
        }
    }
}
