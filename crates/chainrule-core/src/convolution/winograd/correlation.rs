//! The forward pass and the input gradient in transformed tiles.
//!
//! A block of tiles is transformed to `[value][tile][channel]`; for two vectors of outputs at a time its 36 matrix products make sums `[value][tile][output]`, which are transformed back while they are in the second-level cache.

use super::super::layout::Planes;
use super::super::plan::Sizes;
use super::super::scratch::Scratch;
use super::super::{Geometry, Number, lanes};
use super::gather::{Source, gather, room};
use super::scatter::{Results, scatter};
use super::tiles::{Tiles, Values};
use super::transform::{Filter, Three, Two};
use super::weights::{self, Weights};
use crate::gemm::{Activation, Matrix, MatrixMut, gemm_tile};
use crate::parallel::{self, Target};
use crate::simd::{Kernel, Simd, Vector};
use std::marker::PhantomData;
use std::ops::Range;

/// Numbers of a block of transformed tiles that leave the second-level cache room for the rest.
const BLOCK: usize = 192 * 1024;
/// Channels of a block of transformed weights.
const DEPTH: usize = 64;
/// Up to so many tiles make one block, which all threads share; its weights are transformed where they are used.
const FEW: usize = 96;

/// A forward pass, or an input gradient (`turned`), whose source is the gradient of the output.
pub(in super::super) struct Correlation<'a, T> {
    pub g: &'a Geometry,
    /// The sizes as the sums see them.
    pub sizes: Sizes,
    pub turned: bool,
    pub source: &'a [T],
    pub weights: &'a [T],
    pub bias: Option<&'a [T]>,
    pub activation: Activation,
}

/// How the work is cut.
///
/// At stride 2 rows and columns have two phases each, which make four kernels of two by two taps. In the forward pass every phase of the input has channels of its own;
/// in the input gradient every phase of the rows has outputs of its own, and the phases of the columns are the two vectors of a panel.
#[derive(Clone, Copy)]
struct Plan {
    lanes: usize,
    tiles: Tiles,
    /// Units and tiles of a block.
    units: usize,
    blocks: usize,
    /// Phases whose channels are summed, vectors of channels in one, and blocks of channels in the weights of one.
    phases: usize,
    channels: usize,
    depth: usize,
    depths: usize,
    /// Pairs of vectors of outputs.
    panels: usize,
    /// The distances of transformed tiles, sums and weights.
    input: Values,
    sums: Values,
    weights: Values,
}

impl Plan {
    fn new<F: Filter>(sizes: &Sizes, outputs: [usize; 2], turned: bool, lanes: usize) -> Plan {
        let tiles = Tiles::new(sizes.batch, outputs);
        let phases = if turned { 1 } else { F::STRIDE * F::STRIDE };
        let channels = sizes.channels.div_ceil(lanes);
        let few = tiles.count() <= FEW;
        let wanted = (BLOCK / (F::SIZE * F::SIZE * phases * channels * lanes)).clamp(24, 48);
        let units = if few { tiles.units() } else { (wanted / tiles.run).max(1) };
        let block = units * tiles.run;
        let depths = sizes.channels.div_ceil(DEPTH);
        let depth = sizes.channels.div_ceil(depths);
        let width = 2 * lanes;
        let panels = if turned && F::STRIDE == 2 { 2 * sizes.outputs.div_ceil(lanes) } else { sizes.outputs.div_ceil(width) };
        Plan {
            lanes,
            tiles,
            units,
            blocks: tiles.units().div_ceil(units),
            phases,
            channels,
            depth,
            depths,
            panels,
            input: Values::new::<F>(block, phases * channels * lanes),
            sums: Values::new::<F>(block, width),
            weights: Values::new::<F>(depth, width),
        }
    }

    fn block(&self, block: usize) -> Range<usize> {
        block * self.units..self.tiles.units().min((block + 1) * self.units)
    }

    /// Blocks of the weights of a panel.
    fn pieces(&self) -> usize {
        self.phases * self.depths
    }
}

impl<T: Number> Correlation<'_, T> {
    pub fn run(&self, out: &mut [T]) {
        match self.g.stride {
            [1, 1] => self.filtered::<Three>(out),
            _ => self.filtered::<Two>(out),
        }
    }

    fn filtered<F: Filter>(&self, out: &mut [T]) {
        let plan = Plan::new::<F>(&self.sizes, super::tiled(self.g, self.turned), self.turned, lanes::<T>());
        let out = Target::new(out);
        let count = if plan.blocks == 1 { plan.input.count() } else { plan.panels * plan.pieces() * plan.weights.count() };
        let mut shared = Scratch::new::<T>(count);
        // SAFETY: the buffer was made for so many numbers, which are written before they are read.
        let shared = Target::new(unsafe { std::slice::from_raw_parts_mut(shared.start::<T>(), count) });
        let task = |what, items| T::run(Task { correlation: self, plan: &plan, what, items, shared, out, filter: PhantomData::<F> });
        if plan.blocks == 1 {
            parallel::run(plan.channels, |vector| task(What::Inputs, vector..vector + 1));
            parallel::run(plan.panels, |panel| task(What::Panels, panel..panel + 1));
        } else {
            let pieces = plan.panels * plan.pieces();
            let tasks = pieces.min(8);
            parallel::run(tasks, |i| task(What::Weights, i * pieces / tasks..(i + 1) * pieces / tasks));
            let tasks = plan.blocks.min(64);
            parallel::run(tasks, |i| task(What::Blocks, i * plan.blocks / tasks..(i + 1) * plan.blocks / tasks));
        }
    }
}

/// A stage of the work, and so what items are.
#[derive(Clone, Copy)]
enum What {
    /// Vectors of channels of the only block, which are shared.
    Inputs,
    /// Panels of the outputs, over the shared inputs.
    Panels,
    /// Blocks of the weights, which are shared.
    Weights,
    /// Blocks of tiles, over the shared weights.
    Blocks,
}

/// Where a task finds room for a block of weights of its own, a panel's sums, and rows of images.
#[derive(Clone, Copy)]
struct Room<T> {
    weights: *mut T,
    sums: *mut T,
    rows: *mut T,
}

struct Task<'a, T, F> {
    correlation: &'a Correlation<'a, T>,
    plan: &'a Plan,
    what: What,
    items: Range<usize>,
    shared: Target<T>,
    out: Target<T>,
    filter: PhantomData<F>,
}

impl<T: Number, F: Filter> Kernel for Task<'_, T, F> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let plan = self.plan;
        let (input, weights, sums) = match self.what {
            What::Inputs | What::Weights => (0, 0, 0),
            What::Panels => (0, plan.weights.count(), plan.sums.count()),
            What::Blocks => (plan.input.count(), 0, plan.sums.count()),
        };
        let mut scratch = Scratch::new::<T>(input + weights + sums + room(plan.lanes));
        let own: *mut T = scratch.start();
        let room = Room { weights: own.wrapping_add(input), sums: own.wrapping_add(input + weights), rows: own.wrapping_add(input + weights + sums) };
        let shared = self.shared.pointer();
        for item in self.items.clone() {
            // SAFETY: `simd::run` has checked the level; the scratch memory has room for the plan's values, and items write parts of their own.
            unsafe {
                match self.what {
                    What::Inputs => self.gather::<T::Vector<S>>(0, item, shared, room.rows),
                    What::Weights => self.transform_weights::<T::Vector<S>>(item, shared.add(item * plan.weights.count())),
                    What::Panels => self.panel::<T::Vector<S>>(0, item, shared, None, room),
                    What::Blocks => {
                        for vector in 0..plan.channels {
                            self.gather::<T::Vector<S>>(item, vector, own, room.rows);
                        }
                        for panel in 0..plan.panels {
                            self.panel::<T::Vector<S>>(item, panel, own, Some(shared), room);
                        }
                    }
                }
            }
        }
    }
}

impl<T: Number, F: Filter> Task<'_, T, F> {
    /// A vector of the channels of a block, in all phases.
    #[inline(always)]
    unsafe fn gather<V: Vector<Element = T>>(&self, block: usize, vector: usize, to: *mut T, rows: *mut T) {
        let (plan, &Correlation { g, sizes, turned, source, .. }) = (self.plan, self.correlation);
        let (size, lead, stride) = if turned {
            let lead = g.padding.map(|padding| if F::STRIDE == 1 { 2 - padding as isize } else { 1 });
            ([g.out_height, g.out_width], lead, 1)
        } else {
            ([g.height, g.width], g.padding.map(|padding| padding as isize), F::STRIDE)
        };
        let (plane, first) = (size[0] * size[1], vector * V::LANES);
        // SAFETY: the channels exist, and the caller has room for the block.
        unsafe {
            let from = Planes { start: source.as_ptr().add(first * plane), image: sizes.channels * plane, channel: plane };
            let source =
                Source { from, size, lead, stride, channels: V::LANES.min(sizes.channels - first), ahead: if plan.blocks > 1 { plan.units } else { 1 } };
            gather::<T, V, F, false>(&plan.tiles, plan.block(block), source, to.add(first), plan.input, plan.channels * V::LANES, rows);
        }
    }

    /// The outputs of a vector of a panel, and the phase of the rows and columns that they stand for.
    fn outputs(&self, panel: usize, vector: usize) -> (Range<usize>, [usize; 2]) {
        let lanes = self.plan.lanes;
        let (first, phase) =
            if self.correlation.turned && F::STRIDE == 2 { (panel / 2 * lanes, [panel % 2, vector]) } else { ((2 * panel + vector) * lanes, [0, 0]) };
        let end = self.correlation.sizes.outputs;
        (first.min(end)..end.min(first + lanes), phase)
    }

    /// A block of the weights, numbered phase by phase and depth by depth within a panel.
    #[inline(always)]
    unsafe fn transform_weights<V: Vector<Element = T>>(&self, piece: usize, to: *mut T) {
        let (plan, &Correlation { g, sizes, turned, weights, .. }) = (self.plan, self.correlation);
        let (panel, piece) = (piece / plan.pieces(), piece % plan.pieces());
        let weights = Weights { start: weights.as_ptr(), sizes, kernel: g.kernel[0], turned };
        let (phase, channel) = (piece / plan.depths, piece % plan.depths * plan.depth);
        let channels = channel..sizes.channels.min(channel + plan.depth);
        for vector in 0..2 {
            let (outputs, shown) = self.outputs(panel, vector);
            let phase = if turned { shown } else { [phase / F::STRIDE, phase % F::STRIDE] };
            if !outputs.is_empty() {
                // SAFETY: the outputs and channels exist, and the caller has room for the block.
                unsafe { weights::block::<T, V, F>(weights, outputs, channels.clone(), phase, to.add(vector * V::LANES), plan.weights) };
            }
        }
    }

    /// Two vectors of outputs of a block of tiles.
    #[inline(always)]
    unsafe fn panel<V: Vector<Element = T>>(&self, block: usize, panel: usize, input: *const T, weights: Option<*mut T>, room: Room<T>) {
        let Room { weights: own, sums, rows } = room;
        let (plan, &Correlation { g, sizes, turned, bias, activation, .. }) = (self.plan, self.correlation);
        let units = plan.block(block);
        let count = units.clone().map(|unit| plan.tiles.unit(unit).tiles).sum::<usize>();
        let width = if self.outputs(panel, 1).0.is_empty() { V::LANES } else { 2 * V::LANES };
        let size = if turned { [g.height, g.width] } else { [g.out_height, g.out_width] };
        let plane = size[0] * size[1];
        let stride = if turned { F::STRIDE } else { 1 };
        // SAFETY: the caller's promise.
        unsafe {
            for piece in 0..plan.pieces() {
                let weights = match weights {
                    Some(shared) => shared.add((panel * plan.pieces() + piece) * plan.weights.count()),
                    None => {
                        self.transform_weights::<V>(panel * plan.pieces() + piece, own);
                        own
                    }
                };
                let channel = piece % plan.depths * plan.depth;
                let depth = plan.depth.min(sizes.channels - channel);
                let channel = piece / plan.depths * plan.channels * V::LANES + channel;
                let beta = if piece > 0 { T::one() } else { T::zero() };
                for value in 0..plan.input.values {
                    let a = Matrix { start: input.add(value * plan.input.value + channel), row: plan.input.tile as isize, column: 1 };
                    let b = Matrix { start: weights.add(value * plan.weights.value).cast_const(), row: plan.weights.tile as isize, column: 1 };
                    let c = MatrixMut { start: sums.add(value * plan.sums.value), row: plan.sums.tile as isize, column: 1 };
                    gemm_tile([count, width, depth], a, b, beta, c);
                }
            }
            for vector in (0..width / V::LANES).step_by(stride) {
                let (outputs, phase) = self.outputs(panel, vector);
                let first = if stride == 1 { [0, 0] } else { [phase[0] as isize - g.padding[0] as isize, -(g.padding[1] as isize)] };
                let bias = bias.map_or(V::splat(T::default()), |bias| V::load_first(bias.as_ptr().add(outputs.start), outputs.len()));
                let start = self.out.pointer().add(outputs.start * plane);
                let to = Results { start, size, first, stride, image: sizes.outputs * plane, channels: outputs.len(), bias, activation };
                scatter::<T, V, F>(&plan.tiles, units.clone(), sums.add(vector * V::LANES), plan.sums, to, rows);
            }
        }
    }
}
