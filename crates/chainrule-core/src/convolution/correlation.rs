//! The forward pass and the input gradient: sums of shifted images, in register tiles of outputs × vectors.
//!
//! `out[m][p] = Σ_k w[m][k] · x[p + offset_k]`: a tile holds M outputs of N vectors; a step loads N vectors straight from the padded images and broadcasts M weights, which stay where they are.

use super::Number;
use super::layout::Planes;
use super::plan::{Plan, Position, Step};
use super::scratch::Scratch;
use crate::gemm::Activation;
use crate::parallel::{self, Target};
use crate::simd::{Kernel, Simd, Vector};

pub(super) struct Correlation<'a, T> {
    pub plan: &'a Plan,
    pub source: &'a [T],
    pub weights: &'a [T],
    pub bias: Option<&'a [T]>,
    pub activation: Activation,
}

impl<T: Number> Correlation<'_, T> {
    pub fn run(&self, out: &mut [T]) {
        let (plan, sizes) = (self.plan, &self.plan.sizes);
        let units = plan.blocks() * sizes.groups;
        let work = out.len() * sizes.channels * plan.axes[0].kernel * plan.axes[1].kernel;
        // Too few blocks are cut along the outputs; tiny work stays on one thread.
        let wanted = (work >> 18).clamp(1, 16);
        let parts = if units >= wanted { 1 } else { wanted.div_ceil(units).min(sizes.outputs.div_ceil(16)) };
        let part = sizes.outputs.div_ceil(parts).next_multiple_of(8);
        let parts = sizes.outputs.div_ceil(part);
        let items = units * parts;
        let tasks = (work >> 17).clamp(1, 64).min(items);
        // Parts of the outputs read the same copies of the images.
        let pieces = units * sizes.channels.div_ceil(plan.channels);
        let piece = plan.channels * plan.layout.plane;
        let mut copies = (parts > 1).then(|| Scratch::new::<T>(pieces * piece));
        // SAFETY: the buffer was made for so many numbers, which are written before they are read.
        let copies = copies.as_mut().map(|copies| Target::new(unsafe { std::slice::from_raw_parts_mut(copies.start::<T>(), pieces * piece) }));
        if let Some(copies) = copies {
            let tasks = ((pieces * piece) >> 14).clamp(1, 16).min(pieces);
            parallel::run(tasks, |task| T::run(Copying { correlation: self, pieces: task * pieces / tasks..(task + 1) * pieces / tasks, copies }));
        }
        let out = Target::new(out);
        parallel::run(tasks, |task| T::run(Task { correlation: self, items: task * items / tasks..(task + 1) * items / tasks, parts, part, copies, out }));
    }

    /// Copies a block of channels of a block of images into the plan's layout.
    #[inline(always)]
    unsafe fn copy<V: Vector<Element = T>>(&self, unit: usize, channel: usize, to: *mut T) {
        let (plan, sizes) = (self.plan, &self.plan.sizes);
        let (block, group) = (unit / sizes.groups, unit % sizes.groups);
        let (image, images, first_row) = plan.block(block);
        let plane = plan.axes[0].source * plan.axes[1].source;
        let count = plan.channels.min(sizes.channels - channel);
        // SAFETY: these channels of these images exist; the caller has room for a block of channels.
        unsafe {
            let start = self.source.as_ptr().add(((image * sizes.groups + group) * sizes.channels + channel) * plane);
            let from = Planes { start, image: sizes.groups * sizes.channels * plane, channel: plane };
            plan.layout.fill::<T, V>(from, to, count, images, first_row * plan.row_step(), &plan.tables.phases);
        }
    }
}

/// Some of the pieces (unit, block of channels) that all parts of the outputs read.
struct Copying<'a, T> {
    correlation: &'a Correlation<'a, T>,
    pieces: std::ops::Range<usize>,
    copies: Target<T>,
}

impl<T: Number> Kernel for Copying<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let plan = self.correlation.plan;
        let blocks = plan.sizes.channels.div_ceil(plan.channels);
        for piece in self.pieces.clone() {
            // SAFETY: `simd::run` has checked the level; each piece has its place in the buffer.
            unsafe {
                let to = self.copies.pointer().add(piece * plan.channels * plan.layout.plane);
                self.correlation.copy::<T::Vector<S>>(piece / blocks, piece % blocks * plan.channels, to);
            }
        }
    }
}

/// Some of the items (unit: block of images and group; part of the outputs).
struct Task<'a, T> {
    correlation: &'a Correlation<'a, T>,
    items: std::ops::Range<usize>,
    parts: usize,
    part: usize,
    /// Copies made before, if several parts share them.
    copies: Option<Target<T>>,
    out: Target<T>,
}

impl<T: Number> Kernel for Task<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let plan = self.correlation.plan;
        let results = if plan.direct { 0 } else { plan.tables.passes.len() * self.part * plan.vectors * T::Vector::<S>::LANES };
        let copy = if self.copies.is_some() { 0 } else { plan.channels * plan.layout.plane };
        let (mut copy, mut results) = (Scratch::new::<T>(copy), Scratch::new::<T>(results));
        for item in self.items.clone() {
            // SAFETY: `simd::run` has checked the level; the buffers have room for a block of channels and for the results of a part.
            unsafe { self.item::<T::Vector<S>>(item, copy.start(), results.start()) };
        }
    }
}

impl<T: Number> Task<'_, T> {
    #[inline(always)]
    unsafe fn item<V: Vector<Element = T>>(&self, item: usize, copy: *mut T, results: *mut T) {
        let Correlation { plan, weights, bias, activation, .. } = *self.correlation;
        let (sizes, tables) = (&plan.sizes, &plan.tables);
        let (unit, part) = (item / self.parts, item % self.parts);
        let (block, group) = (unit / sizes.groups, unit % sizes.groups);
        let (image, images, first_row) = plan.block(block);
        let (low, high) = (part * self.part, sizes.outputs.min((part + 1) * self.part));
        let pixels = plan.pixels();
        let blocks = sizes.channels.div_ceil(plan.channels);
        // SAFETY: places below follow the plan's layout; this item alone writes these outputs.
        unsafe {
            let out = self.out.pointer().add(((image * sizes.groups + group) * sizes.outputs + low) * pixels);
            for block in 0..blocks {
                let channel = block * plan.channels;
                let x = match self.copies {
                    Some(copies) => copies.pointer().add((unit * blocks + block) * plan.channels * plan.layout.plane),
                    None => {
                        self.correlation.copy::<V>(unit, channel, copy);
                        copy
                    }
                };
                let weight = group * plan.group_weights() + low * sizes.output_weights + channel * sizes.channel_weights;
                let panel = Panel {
                    plan,
                    images,
                    first_row,
                    channels: plan.channels.min(sizes.channels - channel),
                    x,
                    weights: weights.as_ptr().add(weight),
                    out: if plan.direct { out.add(first_row * plan.axes[1].outputs) } else { results },
                    out_stride: if plan.direct { pixels } else { tables.passes.len() * plan.vectors * V::LANES },
                    bias: bias.map_or(std::ptr::null(), |bias| bias[group * sizes.outputs + low..].as_ptr()),
                    resume: block > 0,
                    activation: if block + 1 == blocks { activation } else { Activation::None },
                };
                panel.all::<V>(high - low);
            }
            if !plan.direct {
                for (i, pass) in tables.passes.iter().enumerate() {
                    let window = plan.window(pass, first_row, plan.rows(pass, first_row));
                    for m in 0..high - low {
                        window.write::<T, V>(results.add((m * tables.passes.len() + i) * plan.vectors * V::LANES), pass.places, out.add(m * pixels), images);
                    }
                }
            }
        }
    }
}

/// Some outputs of a block, over a block of channels.
struct Panel<'a, T> {
    plan: &'a Plan,
    images: usize,
    first_row: usize,
    channels: usize,
    x: *const T,
    weights: *const T,
    out: *mut T,
    out_stride: usize,
    /// The bias of the first output, or null.
    bias: *const T,
    /// Adds to earlier results.
    resume: bool,
    activation: Activation,
}

impl<T: Number> Panel<'_, T> {
    /// Cuts the outputs into tiles: 24 accumulators of 32 registers, or at most 12 of 16.
    #[inline(always)]
    unsafe fn all<V: Vector<Element = T>>(&self, outputs: usize) {
        let wide = V::TILE_ROWS * V::TILE_VECTORS > 16;
        let mut m = 0;
        while m < outputs {
            // SAFETY: the caller's promise, for outputs `m..`.
            m += unsafe {
                match outputs - m {
                    8.. if wide => self.strip::<V, 8, 3>(m),
                    6.. if wide => self.strip::<V, 6, 4>(m),
                    4.. if wide => self.strip::<V, 4, 6>(m),
                    2.. if wide => self.strip::<V, 2, 8>(m),
                    1 if wide => self.strip::<V, 1, 8>(m),
                    6.. if V::TILE_ROWS >= 6 => self.strip::<V, 6, 2>(m),
                    4.. => self.strip::<V, 4, 2>(m),
                    2.. => self.strip::<V, 2, 4>(m),
                    _ => self.strip::<V, 1, 8>(m),
                }
            };
        }
    }

    /// M outputs, whose weights stay in the first-level cache, at all positions.
    #[inline(always)]
    unsafe fn strip<V: Vector<Element = T>, const M: usize, const N: usize>(&self, m: usize) -> usize {
        for section in &self.plan.tables.sections {
            let steps = &self.plan.tables.steps[section.steps..][..self.channels * section.taps];
            let positions = self.plan.positions(section, self.images, self.first_row);
            // SAFETY: the caller's promise; N positions are left where a tile takes N.
            unsafe {
                let strip = Strip {
                    steps,
                    x: self.x,
                    weights: self.weights.add(m * self.plan.sizes.output_weights),
                    stride: self.plan.sizes.output_weights,
                    out: self.out.add(m * self.out_stride + section.pass * self.plan.vectors * V::LANES),
                    out_stride: self.out_stride,
                    bias: if self.bias.is_null() { self.bias } else { self.bias.add(m) },
                    resume: self.resume,
                    activation: self.activation,
                };
                let (mut at, end) = (0, positions.len());
                // A last tile of one vector is slow: two of two take its place.
                while end - at >= N && !(N == 3 && end - at == 4) {
                    strip.tile::<V, M, N>(positions, at);
                    at += N;
                }
                while end - at >= 2 {
                    strip.tile::<V, M, 2>(positions, at);
                    at += 2;
                }
                if at < end {
                    strip.tile::<V, M, 1>(positions, at);
                }
            }
        }
        M
    }
}

/// The weights and results of a few outputs.
struct Strip<'a, T> {
    steps: &'a [Step],
    x: *const T,
    weights: *const T,
    stride: usize,
    out: *mut T,
    out_stride: usize,
    bias: *const T,
    resume: bool,
    activation: Activation,
}

impl<T: Number> Strip<'_, T> {
    #[inline(always)]
    unsafe fn tile<V: Vector<Element = T>, const M: usize, const N: usize>(&self, positions: &[Position], at: usize) {
        // SAFETY: the positions and outputs exist by the caller's promise, and every step stays inside the buffer and the weights by the plan.
        unsafe {
            let positions: &[Position; N] = &*positions.as_ptr().add(at).cast();
            let x: [*const T; N] = std::array::from_fn(|n| self.x.add(positions[n].x as usize));
            let w: [*const T; M] = std::array::from_fn(|i| self.weights.add(i * self.stride));
            let mut sums = [[V::splat(T::default()); N]; M];
            for (i, sums) in sums.iter_mut().enumerate() {
                for (sum, position) in sums.iter_mut().zip(positions) {
                    if self.resume {
                        *sum = V::load_first(self.out.add(i * self.out_stride + position.out as usize), position.count as usize);
                    } else if !self.bias.is_null() {
                        *sum = V::splat(*self.bias.add(i));
                    }
                }
            }
            for step in self.steps {
                let mut vectors = [V::splat(T::default()); N];
                for n in 0..N {
                    vectors[n] = V::load(x[n].add(step.x as usize));
                }
                for i in 0..M {
                    let weight = V::splat(*w[i].add(step.w as usize));
                    for n in 0..N {
                        sums[i][n] = weight.mul_add(vectors[n], sums[i][n]);
                    }
                }
            }
            self.activation.of_all(sums.as_flattened_mut());
            for (i, sums) in sums.into_iter().enumerate() {
                for (sum, position) in sums.into_iter().zip(positions) {
                    sum.store_first(self.out.add(i * self.out_stride + position.out as usize), position.count as usize);
                }
            }
        }
    }
}
