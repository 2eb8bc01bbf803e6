//! The weight gradient with many channels: `dw[o][c][tap] = Σ_p dy[o][p] · x[c][p + tap]`, a sum of outer products over pixels.
//!
//! Images and gradients are transposed to `[channels / lanes][pixel][lanes]`. A tile of M channels × N vectors of outputs runs over all pixels whose tap lies inside the image:
//! no padding is stored or multiplied, and strides are steps. The sums come out as `[outputs / lanes][channel][tap][lanes]` and are transposed at the end.

use super::scratch::Scratch;
use super::{Geometry, Number};
use crate::parallel::{self, Target};
use crate::simd::{Kernel, Simd, Vector};

/// Output pixels of a block: those of a strip of outputs stay in the first-level cache.
const PIXELS: usize = 144;
/// Sums of one item stay in the second-level cache.
const SUMS: usize = 64 * 1024;

pub(super) struct OuterProducts<'a, T> {
    g: &'a Geometry,
    x: &'a [T],
    dy: &'a [T],
    lanes: usize,
    /// Channels and outputs of a group, in vectors; and how many of them an item takes.
    channels: usize,
    outputs: usize,
    channel_part: usize,
    output_part: usize,
    /// Images and output rows of a block.
    images: usize,
    band: usize,
    spans: usize,
}

impl<'a, T: Number> OuterProducts<'a, T> {
    pub fn new(g: &'a Geometry, x: &'a [T], dy: &'a [T], lanes: usize) -> Self {
        let taps = g.kernel[0] * g.kernel[1];
        let (channels, outputs) = ((g.in_channels / g.groups).div_ceil(lanes), (g.out_channels / g.groups).div_ceil(lanes));
        let (mut channel_part, mut output_part) = (channels, outputs);
        while channel_part * output_part * lanes * lanes * taps > SUMS && channel_part * output_part > 1 {
            if channel_part > output_part {
                channel_part = channel_part.div_ceil(2);
            } else {
                output_part = output_part.div_ceil(2);
            }
        }
        let band = PIXELS.div_ceil(g.out_width).min(g.out_height);
        let band = g.out_height.div_ceil(g.out_height.div_ceil(band));
        let images = (PIXELS / g.out_pixels()).clamp(1, g.batch);
        let blocks = g.batch.div_ceil(images) * g.out_height.div_ceil(band);
        let wanted = ((g.weights() * g.batch * g.out_pixels()) >> 18).clamp(1, 8);
        let parts = g.groups * channels.div_ceil(channel_part) * outputs.div_ceil(output_part);
        let spans = wanted.div_ceil(parts).min(blocks);
        OuterProducts { g, x, dy, lanes, channels, outputs, channel_part, output_part, images, band, spans }
    }

    /// Sums of one vector of outputs.
    fn row(&self) -> usize {
        self.channels * self.lanes * self.g.kernel[0] * self.g.kernel[1] * self.lanes
    }

    pub fn run(&self, dw: &mut [T]) {
        let g = self.g;
        let span = g.groups * self.outputs * self.row();
        let mut sums = Scratch::new::<T>(self.spans * span);
        // SAFETY: the buffer was made for so many numbers, which tasks overwrite before they are read.
        let sums = Target::new(unsafe { std::slice::from_raw_parts_mut(sums.start::<T>(), self.spans * span) });
        let items = self.spans * g.groups * self.channels.div_ceil(self.channel_part) * self.outputs.div_ceil(self.output_part);
        let tasks = ((g.weights() * g.batch * g.out_pixels()) >> 17).clamp(1, 64).min(items);
        parallel::run(tasks, |task| T::run(Add { products: self, items: task * items / tasks..(task + 1) * items / tasks, sums }));
        let rows = g.groups * self.outputs;
        let tasks = ((self.spans * span) >> 15).clamp(1, 64).min(rows);
        let dw = Target::new(dw);
        parallel::run(tasks, |task| T::run(Finish { products: self, rows: task * rows / tasks..(task + 1) * rows / tasks, sums, dw }));
    }
}

/// Some of the items (span of blocks, group, part of the outputs, part of the channels).
struct Add<'a, T> {
    products: &'a OuterProducts<'a, T>,
    items: std::ops::Range<usize>,
    sums: Target<T>,
}

impl<T: Number> Kernel for Add<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let p = self.products;
        let (lanes, g) = (T::Vector::<S>::LANES, p.g);
        let rows = ((p.band - 1) * g.stride[0] + (g.kernel[0] - 1) * g.dilation[0] + 1).min(g.height);
        let x_plane = p.images * rows * g.width * lanes;
        let dy_plane = p.images * p.band * g.out_width * lanes;
        // The transpose of a last, partial block may write a whole one.
        let mut x = Scratch::new::<T>(p.channel_part * x_plane + lanes * lanes);
        let mut dy = Scratch::new::<T>(p.output_part * dy_plane + lanes * lanes);
        for item in self.items.clone() {
            // SAFETY: `simd::run` has checked the level; the buffers have room for a block of the item's channels and outputs.
            unsafe { self.item::<T::Vector<S>>(item, x.start(), x_plane, dy.start(), dy_plane) };
        }
    }
}

/// Consecutive rows of a block's images.
#[derive(Clone, Copy)]
struct Rows {
    first: usize,
    end: usize,
    /// Pixels of an image in the buffer.
    image: usize,
}

impl<T: Number> Add<'_, T> {
    #[inline(always)]
    unsafe fn item<V: Vector<Element = T>>(&self, item: usize, x: *mut T, x_plane: usize, dy: *mut T, dy_plane: usize) {
        let p = self.products;
        let g = p.g;
        let (channel_parts, output_parts) = (p.channels.div_ceil(p.channel_part), p.outputs.div_ceil(p.output_part));
        let (channel_part, item) = (item % channel_parts, item / channel_parts);
        let (output_part, item) = (item % output_parts, item / output_parts);
        let (group, span) = (item % g.groups, item / g.groups);
        let channels = channel_part * p.channel_part..p.channels.min((channel_part + 1) * p.channel_part);
        let outputs = output_part * p.output_part..p.outputs.min((output_part + 1) * p.output_part);
        let bands = g.out_height.div_ceil(p.band);
        let blocks = g.batch.div_ceil(p.images) * bands;
        let first_block = span * blocks / p.spans;
        for block in first_block..(span + 1) * blocks / p.spans {
            let image = block / bands * p.images;
            let images = p.images.min(g.batch - image);
            let (first, end) = (block % bands * p.band, g.out_height.min((block % bands + 1) * p.band));
            let dy_rows = Rows { first, end, image: (end - first) * g.out_width };
            let low = (first * g.stride[0]).saturating_sub(g.padding[0]).min(g.height);
            let high = ((end - 1) * g.stride[0] + (g.kernel[0] - 1) * g.dilation[0] + 1).saturating_sub(g.padding[0]).clamp(low, g.height);
            let x_rows = Rows { first: low, end: high, image: (high - low) * g.width };
            let (x_channels, dy_channels) = (g.in_channels / g.groups, g.out_channels / g.groups);
            // SAFETY: the parts and rows exist; the buffers have room for them; this item alone writes its sums.
            unsafe {
                for (i, vector) in channels.clone().enumerate() {
                    let start =
                        self.products.x.as_ptr().add((image * g.in_channels + group * x_channels + vector * V::LANES) * g.height * g.width + low * g.width);
                    let channels = V::LANES.min(x_channels - vector * V::LANES);
                    transpose::<V>(start, g.in_channels * g.height * g.width, g.height * g.width, channels, images, x_rows.image, x.add(i * x_plane));
                }
                for (i, vector) in outputs.clone().enumerate() {
                    let start = self
                        .products
                        .dy
                        .as_ptr()
                        .add((image * g.out_channels + group * dy_channels + vector * V::LANES) * g.out_pixels() + first * g.out_width);
                    let channels = V::LANES.min(dy_channels - vector * V::LANES);
                    transpose::<V>(start, g.out_channels * g.out_pixels(), g.out_pixels(), channels, images, dy_rows.image, dy.add(i * dy_plane));
                }
                let sums = self.sums.pointer().add(((span * g.groups + group) * p.outputs + outputs.start) * p.row());
                let sums = sums.add(channels.start * V::LANES * g.kernel[0] * g.kernel[1] * V::LANES);
                let panel = Panel { g, x, x_plane, x_rows, dy, dy_plane, dy_rows, images, sums, row: p.row(), resume: block > first_block };
                panel.all::<V>(channels.len() * V::LANES, outputs.len());
            }
        }
    }
}

/// `to[image][pixel][lane]` from up to LANES channels of `pixels` pixels.
#[inline(always)]
unsafe fn transpose<V: Vector>(from: *const V::Element, image: usize, channel: usize, channels: usize, images: usize, pixels: usize, to: *mut V::Element) {
    for i in 0..images {
        for pixel in (0..pixels).step_by(V::LANES) {
            // SAFETY: the caller's promise; what a partial block writes past its pixels is overwritten by the next or lies in the buffer's slack.
            unsafe { V::transpose(from.add(i * image + pixel), channel, channels, V::LANES.min(pixels - pixel), to.add((i * pixels + pixel) * V::LANES)) };
        }
    }
}

/// All taps of some channels and outputs over one block of images.
struct Panel<'a, T> {
    g: &'a Geometry,
    x: *const T,
    x_plane: usize,
    x_rows: Rows,
    dy: *const T,
    dy_plane: usize,
    dy_rows: Rows,
    images: usize,
    sums: *mut T,
    row: usize,
    /// Adds to earlier sums.
    resume: bool,
}

impl<T: Number> Panel<'_, T> {
    #[inline(always)]
    unsafe fn all<V: Vector<Element = T>>(&self, channels: usize, outputs: usize) {
        let wide = V::TILE_ROWS * V::TILE_VECTORS > 16;
        // SAFETY: the caller's promise; M divides the lanes.
        unsafe {
            match V::LANES {
                8.. if wide => self.strips::<V, 8>(channels, outputs),
                4.. => self.strips::<V, 4>(channels, outputs),
                _ => self.strips::<V, 2>(channels, outputs),
            }
        }
    }

    #[inline(always)]
    unsafe fn strips<V: Vector<Element = T>, const M: usize>(&self, channels: usize, outputs: usize) {
        let mut output = 0;
        // SAFETY: N vectors of outputs are left where a strip takes N.
        unsafe {
            while outputs - output >= 3 && outputs - output != 4 {
                self.strip::<V, M, 3>(channels, output);
                output += 3;
            }
            while outputs - output >= 2 {
                self.strip::<V, M, 2>(channels, output);
                output += 2;
            }
            if output < outputs {
                self.strip::<V, M, 1>(channels, output);
            }
        }
    }

    #[inline(always)]
    unsafe fn strip<V: Vector<Element = T>, const M: usize, const N: usize>(&self, channels: usize, output: usize) {
        for channel in (0..channels).step_by(M) {
            for row in 0..self.g.kernel[0] {
                for column in 0..self.g.kernel[1] {
                    // SAFETY: the caller's promise.
                    unsafe { self.tile::<V, M, N>(channel, output, row, column) };
                }
            }
        }
    }

    /// The outputs along an axis whose tap lies inside the image.
    #[inline(always)]
    fn inside(&self, axis: usize, tap: usize, size: usize, low: usize, high: usize) -> (usize, usize) {
        let (stride, padding, offset) = (self.g.stride[axis], self.g.padding[axis], tap * self.g.dilation[axis]);
        let first = padding.saturating_sub(offset).div_ceil(stride);
        let end = (size + padding).saturating_sub(offset).div_ceil(stride);
        (first.max(low), end.min(high))
    }

    #[inline(always)]
    unsafe fn tile<V: Vector<Element = T>, const M: usize, const N: usize>(&self, channel: usize, output: usize, tap_row: usize, tap_column: usize) {
        let g = self.g;
        let (top, bottom) = self.inside(0, tap_row, g.height, self.dy_rows.first, self.dy_rows.end);
        let (left, right) = self.inside(1, tap_column, g.width, 0, g.out_width);
        // SAFETY: all places lie inside the block's rows because outputs are those whose tap lies inside the image.
        unsafe {
            let mut sums = [[V::splat(T::default()); N]; M];
            if left < right {
                let x = self.x.add(channel / V::LANES * self.x_plane + channel % V::LANES);
                let step = g.stride[1] * V::LANES;
                for image in 0..self.images {
                    for row in top..bottom {
                        let x_row = row * g.stride[0] + tap_row * g.dilation[0] - g.padding[0] - self.x_rows.first;
                        let x_pixel = image * self.x_rows.image + x_row * g.width + left * g.stride[1] + tap_column * g.dilation[1] - g.padding[1];
                        let dy_pixel = image * self.dy_rows.image + (row - self.dy_rows.first) * g.out_width + left;
                        let mut x = x.add(x_pixel * V::LANES);
                        let mut dy: [*const T; N] = std::array::from_fn(|n| self.dy.add((output + n) * self.dy_plane + dy_pixel * V::LANES));
                        for _ in left..right {
                            let mut gradients = [V::splat(T::default()); N];
                            for n in 0..N {
                                gradients[n] = V::load(dy[n]);
                                dy[n] = dy[n].add(V::LANES);
                            }
                            for (m, sums) in sums.iter_mut().enumerate() {
                                let pixel = V::splat(*x.add(m));
                                for (sum, gradient) in sums.iter_mut().zip(gradients) {
                                    *sum = pixel.mul_add(gradient, *sum);
                                }
                            }
                            x = x.wrapping_add(step);
                        }
                    }
                }
            }
            let taps = g.kernel[0] * g.kernel[1];
            for (m, sums) in sums.into_iter().enumerate() {
                for (n, sum) in sums.into_iter().enumerate() {
                    let to = self.sums.add((output + n) * self.row + ((channel + m) * taps + tap_row * g.kernel[1] + tap_column) * V::LANES);
                    if self.resume { V::load(to).add(sum).store(to) } else { sum.store(to) }
                }
            }
        }
    }
}

/// Adds the spans in order and transposes some rows (group, vector of outputs).
struct Finish<'a, T> {
    products: &'a OuterProducts<'a, T>,
    rows: std::ops::Range<usize>,
    sums: Target<T>,
    dw: Target<T>,
}

impl<T: Number> Kernel for Finish<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        for row in self.rows.clone() {
            // SAFETY: `simd::run` has checked the level; rows are written by one task.
            unsafe { self.row::<T::Vector<S>>(row) };
        }
    }
}

impl<T: Number> Finish<'_, T> {
    #[inline(always)]
    unsafe fn row<V: Vector<Element = T>>(&self, row: usize) {
        let p = self.products;
        let g = p.g;
        let (group, vector) = (row / p.outputs, row % p.outputs);
        let outputs = g.out_channels / g.groups;
        let count = g.in_channels / g.groups * g.kernel[0] * g.kernel[1];
        let first = vector * V::LANES;
        let mut block = [T::default(); 256];
        let mut rows = [T::default(); 256];
        for k in (0..count).step_by(V::LANES) {
            let length = V::LANES.min(count - k);
            // SAFETY: all spans hold this row; it ends in `dw` with the group's outputs.
            unsafe {
                for i in 0..length {
                    let from = self.sums.pointer().add(row * p.row() + (k + i) * V::LANES);
                    let mut sum = V::load(from);
                    for span in 1..p.spans {
                        sum = sum.add(V::load(from.add(span * g.groups * p.outputs * p.row())));
                    }
                    sum.store(block.as_mut_ptr().add(i * V::LANES));
                }
                V::transpose(block.as_ptr(), V::LANES, length, V::LANES, rows.as_mut_ptr());
                for o in 0..V::LANES.min(outputs - first) {
                    V::load(rows.as_ptr().add(o * V::LANES)).store_first(self.dw.pointer().add((group * outputs + first + o) * count + k), length);
                }
            }
        }
    }
}
