//! The weight gradient in transformed tiles: 36 products of `[channels, tiles]` and `[tiles, outputs]`, summed over blocks of tiles and then transformed back once.

use super::super::layout::Planes;
use super::super::scratch::Scratch;
use super::super::{Geometry, Number, lanes};
use super::gather::{Source, gather, room};
use super::tiles::{Tiles, Values};
use super::transform::{Filter, Three, Two};
use super::weights;
use crate::gemm::{Matrix, MatrixMut, gemm_tile};
use crate::parallel::{self, Target};
use crate::simd::{Kernel, Simd, Vector};
use std::marker::PhantomData;

/// Channels and outputs whose sums, 36 for each pair, stay in the second-level cache.
const PART: usize = 64;
/// Tiles of a block.
const BLOCK: usize = 32;
/// Tiles of a span at least: each span's sums are transformed back for themselves.
const SPAN: usize = 256;
/// The most spans.
const SPANS: usize = 4;

pub(in super::super) struct WeightGradient<'a, T> {
    pub g: &'a Geometry,
    pub x: &'a [T],
    pub dy: &'a [T],
}

/// How the work is cut: into parts of the channels and outputs, and spans of the tiles.
#[derive(Clone, Copy)]
struct Plan {
    /// Every combination of rows and columns that taps of a filter share.
    phases: usize,
    tiles: Tiles,
    units: usize,
    spans: usize,
    channel_parts: usize,
    channel_part: usize,
    output_parts: usize,
    output_part: usize,
    input: Values,
    gradient: Values,
    sums: Values,
}

impl Plan {
    fn new<F: Filter>(g: &Geometry, lanes: usize) -> Plan {
        let phases = F::STRIDE * F::STRIDE;
        let tiles = Tiles::new(g.batch, [g.out_height, g.out_width]);
        let part = |count: usize| count.div_ceil(count.div_ceil(PART)).next_multiple_of(lanes);
        let (channel_part, output_part) = (if phases > 1 { lanes } else { part(g.in_channels) }, part(g.out_channels));
        let (channel_parts, output_parts) = (g.in_channels.div_ceil(channel_part), g.out_channels.div_ceil(output_part));
        let units = (BLOCK / tiles.run).max(1);
        let block = units * tiles.run;
        let spans = (tiles.count() / SPAN).min(SPANS.div_ceil(channel_parts * output_parts)).clamp(1, tiles.units().div_ceil(units));
        Plan {
            phases,
            tiles,
            units,
            spans,
            channel_parts,
            channel_part,
            output_parts,
            output_part,
            input: Values::new::<F>(block, phases * channel_part),
            gradient: Values::new::<F>(block, output_part),
            sums: Values::new::<F>(phases * channel_part, output_part),
        }
    }
}

impl<T: Number> WeightGradient<'_, T> {
    pub fn run(&self, dw: &mut [T]) {
        match self.g.stride {
            [1, 1] => self.filtered::<Three>(dw),
            _ => self.filtered::<Two>(dw),
        }
    }

    fn filtered<F: Filter>(&self, dw: &mut [T]) {
        let plan = Plan::new::<F>(self.g, lanes::<T>());
        let count = dw.len();
        let mut others = Scratch::new::<T>((plan.spans - 1) * count);
        // SAFETY: the buffer was made for so many numbers, which the tasks write before anything reads them.
        let others = unsafe { std::slice::from_raw_parts_mut(others.start::<T>(), (plan.spans - 1) * count) };
        let (first, rest) = (Target::new(dw), Target::new(others));
        let items = plan.spans * plan.channel_parts * plan.output_parts;
        parallel::run(items, |item| T::run(Task { gradient: self, plan: &plan, item, first, rest, filter: PhantomData::<F> }));
        if plan.spans > 1 {
            let others = &*others;
            parallel::ranges(count, parallel::GRAIN, |start, end| {
                // SAFETY: ranges do not overlap and end at `count`.
                let dw = unsafe { first.slice(start, end) };
                for span in others.chunks_exact(count) {
                    dw.iter_mut().zip(&span[start..end]).for_each(|(sum, part)| *sum += *part);
                }
            });
        }
    }
}

/// The weights of a part of the channels and outputs, over a span of the tiles.
struct Task<'a, T, F> {
    gradient: &'a WeightGradient<'a, T>,
    plan: &'a Plan,
    item: usize,
    first: Target<T>,
    rest: Target<T>,
    filter: PhantomData<F>,
}

impl<T: Number, F: Filter> Kernel for Task<'_, T, F> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let plan = self.plan;
        let lanes = T::Vector::<S>::LANES;
        let rows = room(lanes).max((plan.channel_part * self.gradient.g.taps() + lanes) * lanes);
        let mut scratch = Scratch::new::<T>(plan.input.count() + plan.gradient.count() + plan.sums.count() + rows);
        // SAFETY: `simd::run` has checked the level; the scratch memory has room for what the plan says.
        unsafe { self.item::<T::Vector<S>>(scratch.start()) };
    }
}

impl<T: Number, F: Filter> Task<'_, T, F> {
    #[inline(always)]
    unsafe fn item<V: Vector<Element = T>>(&self, input: *mut T) {
        let (plan, &WeightGradient { g, x, dy }) = (self.plan, self.gradient);
        let (span, item) = (self.item % plan.spans, self.item / plan.spans);
        let (channel, output) = (item % plan.channel_parts * plan.channel_part, item / plan.channel_parts * plan.output_part);
        let (channels, outputs) = (plan.channel_part.min(g.in_channels - channel), plan.output_part.min(g.out_channels - output));
        let (x_plane, dy_plane) = (g.height * g.width, g.out_pixels());
        let units = span * plan.tiles.units() / plan.spans..(span + 1) * plan.tiles.units() / plan.spans;
        // SAFETY: the caller has room for the plan's values; channels and outputs exist, and this item alone writes their weights in its span.
        unsafe {
            let gradient = input.add(plan.input.count());
            let sums = gradient.add(plan.gradient.count());
            let rows = sums.add(plan.sums.count());
            for start in units.clone().step_by(plan.units) {
                let block = start..units.end.min(start + plan.units);
                let count = block.clone().map(|unit| plan.tiles.unit(unit).tiles).sum::<usize>();
                for vector in (0..channels).step_by(V::LANES) {
                    let from = Planes { start: x.as_ptr().add((channel + vector) * x_plane), image: g.in_channels * x_plane, channel: x_plane };
                    let lead = g.padding.map(|padding| padding as isize);
                    let source =
                        Source { from, size: [g.height, g.width], lead, stride: F::STRIDE, channels: V::LANES.min(channels - vector), ahead: plan.units };
                    gather::<T, V, F, false>(&plan.tiles, block.clone(), source, input.add(vector), plan.input, V::LANES, rows);
                }
                for vector in (0..outputs).step_by(V::LANES) {
                    let from = Planes { start: dy.as_ptr().add((output + vector) * dy_plane), image: g.out_channels * dy_plane, channel: dy_plane };
                    let source = Source {
                        from,
                        size: [g.out_height, g.out_width],
                        lead: [0, 0],
                        stride: 1,
                        channels: V::LANES.min(outputs - vector),
                        ahead: plan.units,
                    };
                    gather::<T, V, F, true>(&plan.tiles, block.clone(), source, gradient.add(vector), plan.gradient, 0, rows);
                }
                let (rows_of_sums, width) = (if plan.phases > 1 { plan.phases * V::LANES } else { channels }, outputs.next_multiple_of(V::LANES));
                for value in 0..plan.input.values {
                    let a = Matrix { start: input.add(value * plan.input.value).cast_const(), row: 1, column: plan.input.tile as isize };
                    let b = Matrix { start: gradient.add(value * plan.gradient.value).cast_const(), row: plan.gradient.tile as isize, column: 1 };
                    let c = MatrixMut { start: sums.add(value * plan.sums.value), row: plan.sums.tile as isize, column: 1 };
                    gemm_tile([rows_of_sums, width, count], a, b, if start > units.start { T::one() } else { T::zero() }, c);
                }
            }
            let row = g.in_channels * g.taps();
            let to = if span == 0 { self.first.pointer() } else { self.rest.pointer().add((span - 1) * g.weights()) };
            let to = to.add(output * row + channel * g.taps());
            weights::gradient::<T, V, F>(sums, plan.sums, [channels, outputs], g.kernel[0], to, row, rows);
        }
    }
}
