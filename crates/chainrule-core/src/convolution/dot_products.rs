//! The weight gradient with few channels: `dw[o][k] = Σ_n Σ_p dy[o][p] · x[p + offset_k]`.
//!
//! The gradient of the output is laid out as results are in the plan, with zeros in idle lanes; a tile of R outputs × C steps adds products lane by lane over all positions of a block, and its lanes once at the end.

use super::Number;
use super::layout::{Arrangement, Layout, Planes};
use super::plan::{Plan, Position, Step};
use super::scratch::Scratch;
use crate::parallel::{self, Target};
use crate::simd::{Kernel, Simd, Vector};

pub(super) struct DotProducts<'a, T> {
    pub plan: &'a Plan,
    pub x: &'a [T],
    pub dy: &'a [T],
}

impl<T: Number> DotProducts<'_, T> {
    pub fn run(&self, dw: &mut [T]) {
        let (plan, sizes) = (self.plan, &self.plan.sizes);
        let blocks = plan.blocks();
        let work = dw.len() * sizes.batch * plan.pixels();
        let wanted = (work >> 18).clamp(1, 16);
        let row = plan.group_weights() / sizes.outputs;
        let part = ((64 * 1024) / row).clamp(1, sizes.outputs);
        let part = sizes.outputs.div_ceil(sizes.outputs.div_ceil(part)).next_multiple_of(4).min(sizes.outputs);
        let parts = sizes.outputs.div_ceil(part);
        // Where there are few weights, fixed spans of blocks are added up apart, and their sums in order.
        let spans = wanted.div_ceil(sizes.groups * parts).min(blocks);
        let items = sizes.groups * parts * spans;
        let tasks = (work >> 17).clamp(1, 64).min(items);
        let count = dw.len();
        let mut others = Scratch::new::<T>((spans - 1) * count);
        // SAFETY: the buffer was made for so many numbers, which the tasks overwrite before anything reads them.
        let others = unsafe { std::slice::from_raw_parts_mut(others.start::<T>(), (spans - 1) * count) };
        let (first, rest) = (Target::new(dw), Target::new(others));
        parallel::run(tasks, |task| {
            let items = task * items / tasks..(task + 1) * items / tasks;
            T::run(Task { gradient: self, items, parts, part, spans, first, rest, count });
        });
        if spans > 1 {
            let others = &*others;
            parallel::ranges(count, parallel::GRAIN, |start, end| {
                // SAFETY: ranges do not overlap and end at `count`.
                let dw = unsafe { first.slice(start, end) };
                for span in 0..spans - 1 {
                    for (sum, part) in dw.iter_mut().zip(&others[span * count + start..span * count + end]) {
                        *sum += *part;
                    }
                }
            });
        }
    }
}

/// Some of the items (group, part of the outputs, span of blocks).
struct Task<'a, T> {
    gradient: &'a DotProducts<'a, T>,
    items: std::ops::Range<usize>,
    parts: usize,
    part: usize,
    spans: usize,
    first: Target<T>,
    rest: Target<T>,
    count: usize,
}

impl<T: Number> Kernel for Task<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let plan = self.gradient.plan;
        let layout = results_layout(plan, T::Vector::<S>::LANES);
        let (mut x, mut dy) = (Scratch::new::<T>(plan.channels * plan.layout.plane), Scratch::new::<T>(self.part * layout.plane));
        for item in self.items.clone() {
            // SAFETY: `simd::run` has checked the level; the buffers have room for a block of channels and for a part of the outputs.
            unsafe { self.item::<T::Vector<S>>(item, x.start(), &layout, dy.start()) };
        }
    }
}

/// The layout in which the gradient of the output meets the plan's positions.
fn results_layout(plan: &Plan, lanes: usize) -> Layout {
    let columns = plan.axes[1].outputs;
    let (rows, pitch) = match plan.layout.arrangement {
        Arrangement::Rows => (plan.band, columns.next_multiple_of(lanes)),
        Arrangement::Flat => (plan.layout.rows, plan.layout.pitch),
        Arrangement::Images => (plan.band, columns),
    };
    let phase = plan.images * rows * pitch;
    Layout {
        arrangement: plan.layout.arrangement,
        source: plan.axes.map(|axis| axis.outputs),
        lead: [0, 0],
        split: [1, 1],
        rows,
        pitch,
        image: rows * pitch,
        phase,
        plane: ((plan.vectors * lanes).max(phase).div_ceil(16) | 1) * 16,
    }
}

impl<T: Number> Task<'_, T> {
    #[inline(always)]
    unsafe fn item<V: Vector<Element = T>>(&self, item: usize, x_buffer: *mut T, layout: &Layout, dy_buffer: *mut T) {
        let DotProducts { plan, x, dy } = *self.gradient;
        let sizes = &plan.sizes;
        let (span, item) = (item % self.spans, item / self.spans);
        let (part, group) = (item % self.parts, item / self.parts);
        let (low, high) = (part * self.part, sizes.outputs.min((part + 1) * self.part));
        let blocks = plan.blocks();
        let (x_plane, dy_plane) = (plan.axes[0].source * plan.axes[1].source, plan.pixels());
        let section = &plan.tables.sections[0];
        // SAFETY: this item alone writes these rows of its span's sums; places below follow the layouts.
        unsafe {
            let sums = if span == 0 { self.first.pointer() } else { self.rest.pointer().add((span - 1) * self.count) };
            let sums = sums.add((group * sizes.outputs + low) * sizes.output_weights);
            std::slice::from_raw_parts_mut(sums, (high - low) * sizes.output_weights).fill(T::default());
            for block in span * blocks / self.spans..(span + 1) * blocks / self.spans {
                let (image, images, first_row) = plan.block(block);
                let positions = plan.positions(section, images, first_row);
                let planes = Planes {
                    start: dy.as_ptr().add(((image * sizes.groups + group) * sizes.outputs + low) * dy_plane),
                    image: sizes.groups * sizes.outputs * dy_plane,
                    channel: dy_plane,
                };
                layout.fill::<T, V>(planes, dy_buffer, high - low, images, first_row, &[[0, 0]]);
                for channel in (0..sizes.channels).step_by(plan.channels) {
                    let count = plan.channels.min(sizes.channels - channel);
                    let planes = Planes {
                        start: x.as_ptr().add(((image * sizes.groups + group) * sizes.channels + channel) * x_plane),
                        image: sizes.groups * sizes.channels * x_plane,
                        channel: x_plane,
                    };
                    plan.layout.fill::<T, V>(planes, x_buffer, count, images, first_row * plan.row_step(), &plan.tables.phases);
                    let panel = Panel {
                        steps: &plan.tables.steps[..count * section.taps],
                        positions,
                        x: x_buffer,
                        dy: dy_buffer,
                        dy_stride: layout.plane,
                        sums: sums.add(channel * sizes.channel_weights),
                        sums_stride: sizes.output_weights,
                    };
                    panel.all::<V>(high - low);
                }
            }
        }
    }
}

/// Some outputs and a block of channels, summed over the positions of a block of images.
struct Panel<'a, T> {
    steps: &'a [Step],
    positions: &'a [Position],
    x: *const T,
    dy: *const T,
    dy_stride: usize,
    sums: *mut T,
    sums_stride: usize,
}

impl<T: Number> Panel<'_, T> {
    #[inline(always)]
    unsafe fn all<V: Vector<Element = T>>(&self, outputs: usize) {
        let wide = V::TILE_ROWS * V::TILE_VECTORS > 16;
        let mut m = 0;
        while m < outputs {
            // SAFETY: the caller's promise, for outputs `m..`.
            m += unsafe {
                match outputs - m {
                    4.. if wide => self.strip::<V, 4, 6>(m),
                    2.. if wide => self.strip::<V, 2, 9>(m),
                    1 if wide => self.strip::<V, 1, 9>(m),
                    3.. => self.strip::<V, 3, 3>(m),
                    2.. => self.strip::<V, 2, 5>(m),
                    _ => self.strip::<V, 1, 9>(m),
                }
            };
        }
    }

    #[inline(always)]
    unsafe fn strip<V: Vector<Element = T>, const R: usize, const C: usize>(&self, m: usize) -> usize {
        let (mut at, end) = (0, self.steps.len());
        // SAFETY: the caller's promise; a tile takes at most the steps that are left.
        unsafe {
            while end - at >= C {
                self.tile::<V, R, C>(m, at);
                at += C;
            }
            while end - at >= 3 {
                self.tile::<V, R, 3>(m, at);
                at += 3;
            }
            while at < end {
                self.tile::<V, R, 1>(m, at);
                at += 1;
            }
        }
        R
    }

    #[inline(always)]
    unsafe fn tile<V: Vector<Element = T>, const R: usize, const C: usize>(&self, m: usize, at: usize) {
        // SAFETY: the outputs and steps exist by the caller's promise, and all vectors lie inside the buffers by the plan.
        unsafe {
            let steps: &[Step; C] = &*self.steps.as_ptr().add(at).cast();
            let x: [*const T; C] = std::array::from_fn(|c| self.x.add(steps[c].x as usize));
            let dy: [*const T; R] = std::array::from_fn(|r| self.dy.add((m + r) * self.dy_stride));
            let mut sums = [[V::splat(T::default()); C]; R];
            for (i, position) in self.positions.iter().enumerate() {
                let mut gradients = [V::splat(T::default()); R];
                for r in 0..R {
                    gradients[r] = V::load(dy[r].add(i * V::LANES));
                }
                for c in 0..C {
                    let vector = V::load(x[c].add(position.x as usize));
                    for r in 0..R {
                        sums[r][c] = vector.mul_add(gradients[r], sums[r][c]);
                    }
                }
            }
            for (r, sums) in sums.into_iter().enumerate() {
                for (c, sum) in sums.into_iter().enumerate() {
                    *self.sums.add((m + r) * self.sums_stride + at + c) += sum.sum();
                }
            }
        }
    }
}
