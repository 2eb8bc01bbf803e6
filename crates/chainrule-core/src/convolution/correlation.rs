//! The forward pass and the input gradient: sums of shifted images, in register tiles of outputs × vectors.
//!
//! `out[m][p] = Σ_k w[m][k] · x[p + offset_k]`: a tile holds M outputs of N vectors; a step loads N vectors straight from the padded images and broadcasts M weights, which stay where they are.

use super::Number;
use super::layout::Planes;
use super::plan::{Plan, Position, Step};
use super::scratch::Scratch;
use crate::parallel::{self, Target};
use crate::simd::{Kernel, Simd, Vector};

pub(super) struct Correlation<'a, T> {
    pub plan: &'a Plan,
    pub source: &'a [T],
    pub weights: &'a [T],
    pub bias: Option<&'a [T]>,
    pub relu: bool,
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
        let out = Target::new(out);
        parallel::run(tasks, |task| {
            let items = task * items / tasks..(task + 1) * items / tasks;
            T::run(Task { correlation: self, items, parts, part, out });
        });
    }
}

/// Some of the items (block, group, part of the outputs).
struct Task<'a, T> {
    correlation: &'a Correlation<'a, T>,
    items: std::ops::Range<usize>,
    parts: usize,
    part: usize,
    out: Target<T>,
}

impl<T: Number> Kernel for Task<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let plan = self.correlation.plan;
        let results = if plan.direct { 0 } else { plan.tables.passes.len() * self.part * plan.vectors * T::Vector::<S>::LANES };
        let (mut buffer, mut results) = (Scratch::new::<T>(plan.channels * plan.layout.plane), Scratch::new::<T>(results));
        for item in self.items.clone() {
            // SAFETY: `simd::run` has checked the level; the buffers have room for a block of channels and for the results of a part.
            unsafe { self.item::<T::Vector<S>>(item, buffer.start(), results.start()) };
        }
    }
}

impl<T: Number> Task<'_, T> {
    #[inline(always)]
    unsafe fn item<V: Vector<Element = T>>(&self, item: usize, buffer: *mut T, results: *mut T) {
        let Correlation { plan, source, weights, bias, relu } = *self.correlation;
        let (sizes, tables) = (&plan.sizes, &plan.tables);
        let (unit, part) = (item / self.parts, item % self.parts);
        let (block, group) = (unit / sizes.groups, unit % sizes.groups);
        let (image, images, first_row) = plan.block(block);
        let (low, high) = (part * self.part, sizes.outputs.min((part + 1) * self.part));
        let plane = plan.axes[0].source * plan.axes[1].source;
        let results_plane = plan.vectors * V::LANES;
        let pixels = plan.pixels();
        let mut channel = 0;
        // SAFETY: places below follow the plan's layout; this task alone writes these outputs.
        unsafe {
            let out = self.out.pointer().add((image * sizes.groups + group) * sizes.outputs * pixels);
            let weights = weights.as_ptr().add(group * plan.group_weights());
            while channel < sizes.channels || channel == 0 {
                let count = plan.channels.min(sizes.channels - channel);
                let planes = Planes {
                    start: source.as_ptr().add(((image * sizes.groups + group) * sizes.channels + channel) * plane),
                    image: sizes.groups * sizes.channels * plane,
                    channel: plane,
                };
                plan.layout.fill::<T, V>(planes, buffer, count, images, first_row * plan.row_step(), |a, b| plan.uses(a, b));
                for (i, pass) in tables.passes.iter().enumerate() {
                    let (positions, _) = plan.positions(pass, images, first_row);
                    let (to, to_stride) = if plan.direct {
                        (out.add(low * pixels + first_row * pass.columns), pixels)
                    } else {
                        (results.add(i * self.part * results_plane), results_plane)
                    };
                    let panel = Panel {
                        steps: &tables.steps[pass.steps..][..count * pass.taps],
                        positions,
                        x: buffer,
                        weights: weights.add(low * sizes.output_weights + channel * sizes.channel_weights),
                        stride: sizes.output_weights,
                        out: to,
                        out_stride: to_stride,
                        bias: bias.map_or(std::ptr::null(), |bias| bias[group * sizes.outputs + low..].as_ptr()),
                        resume: channel > 0,
                        relu: relu && channel + count == sizes.channels,
                    };
                    panel.all::<V>(high - low);
                }
                channel += count.max(1);
            }
            if !plan.direct {
                for (i, pass) in tables.passes.iter().enumerate() {
                    let (_, rows) = plan.positions(pass, images, first_row);
                    let window = plan.window(pass, first_row, rows);
                    for m in low..high {
                        window.write::<T, V>(results.add((i * self.part + m - low) * results_plane), pass.places, out.add(m * pixels), images);
                    }
                }
            }
        }
    }
}

/// Some outputs at all positions of a block, over a block of channels.
struct Panel<'a, T> {
    steps: &'a [Step],
    positions: &'a [Position],
    x: *const T,
    weights: *const T,
    stride: usize,
    out: *mut T,
    out_stride: usize,
    /// The bias of the first output, or null.
    bias: *const T,
    /// Adds to earlier results.
    resume: bool,
    relu: bool,
}

impl<T: Number> Panel<'_, T> {
    /// Cuts the outputs into tiles: 24 accumulators of 32 registers, or 12 of 16.
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
                    4.. => self.strip::<V, 4, 3>(m),
                    2.. => self.strip::<V, 2, 5>(m),
                    _ => self.strip::<V, 1, 8>(m),
                }
            };
        }
    }

    #[inline(always)]
    unsafe fn strip<V: Vector<Element = T>, const M: usize, const N: usize>(&self, m: usize) -> usize {
        let (mut at, end) = (0, self.positions.len());
        // SAFETY: the caller's promise; N positions are left from `at` on where a tile takes N.
        unsafe {
            // A last tile of one vector is slow: two of two take its place.
            while end - at >= N && !(N == 3 && end - at == 4) {
                self.tile::<V, M, N>(m, at);
                at += N;
            }
            while end - at >= 2 {
                self.tile::<V, M, 2>(m, at);
                at += 2;
            }
            if at < end {
                self.tile::<V, M, 1>(m, at);
            }
        }
        M
    }

    #[inline(always)]
    unsafe fn tile<V: Vector<Element = T>, const M: usize, const N: usize>(&self, m: usize, at: usize) {
        // SAFETY: the positions and outputs exist by the caller's promise, and every step stays inside the buffer and the weights by the plan.
        unsafe {
            let positions: &[Position; N] = &*self.positions.as_ptr().add(at).cast();
            let x: [*const T; N] = std::array::from_fn(|n| self.x.add(positions[n].x as usize));
            let w: [*const T; M] = std::array::from_fn(|i| self.weights.add((m + i) * self.stride));
            let mut sums = [[V::splat(T::default()); N]; M];
            for i in 0..M {
                for n in 0..N {
                    if self.resume {
                        let from = self.out.add((m + i) * self.out_stride + positions[n].out as usize);
                        sums[i][n] = V::load_first(from, positions[n].count as usize);
                    } else if !self.bias.is_null() {
                        sums[i][n] = V::splat(*self.bias.add(m + i));
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
            for i in 0..M {
                for n in 0..N {
                    let sum = if self.relu { V::splat(T::default()).max(sums[i][n]) } else { sums[i][n] };
                    sum.store_first(self.out.add((m + i) * self.out_stride + positions[n].out as usize), positions[n].count as usize);
                }
            }
        }
    }
}
