//! Kernels of one pixel: matrix products over the channels, `y[o][q] = Σ_c w[o][c] · x[c][q]` with q counting the pixels of all images.
//!
//! Panels of neighbouring pixels, two vectors wide, are copied channel by channel, with strides taken out, so that vectors are full whatever the size of an image.

use super::layout::{copy, copy_alternate};
use super::scratch::Scratch;
use super::{Geometry, Number, lanes};
use crate::gemm::{Activation, Matrix, MatrixMut, gemm_tile};
use crate::parallel::{self, Target};
use crate::simd::{Kernel, Simd, Vector};
use std::ops::Range;

/// Multiplications that are worth a task.
const GRAIN: usize = 1 << 18;
/// The fewest pixels of an image over which products for weight gradients run, and rows of them.
const PIXELS: usize = 48;
const ROWS: usize = 48;

/// Whether the kernels here are for such a geometry.
pub(super) fn is_one_pixel(g: &Geometry) -> bool {
    (g.kernel, g.padding, g.groups) == ([1, 1], [0, 0], 1) && g.in_channels.min(g.out_channels) >= 16
}

/// The pixels of one side that meet pixels of the other: rows and columns, their distances, and the size of a plane.
#[derive(Clone, Copy)]
struct Grid {
    rows: usize,
    columns: usize,
    row: usize,
    column: usize,
    plane: usize,
}

impl Grid {
    /// Of the input, every `stride`-th; and of the output.
    fn of(g: &Geometry) -> [Grid; 2] {
        let output = Grid { rows: 1, columns: g.out_pixels(), row: 0, column: 1, plane: g.out_pixels() };
        if g.stride == [1, 1] {
            return [output; 2];
        }
        let (row, plane) = (g.stride[0] * g.width, g.height * g.width);
        [Grid { rows: g.out_height, columns: g.out_width, row, column: g.stride[1], plane }, output]
    }

    /// The runs of neighbouring pixels among some pixels of all images: image, place in the plane, place among the pixels, count.
    #[inline(always)]
    fn runs(self, pixels: Range<usize>) -> impl Iterator<Item = (usize, usize, usize, usize)> {
        let mut at = pixels.start;
        std::iter::from_fn(move || {
            if at >= pixels.end {
                return None;
            }
            let (line, column) = (at / self.columns, at % self.columns);
            let count = (self.columns - column).min(pixels.end - at);
            let place = line % self.rows * self.row + column * self.column;
            let run = (line / self.rows, place, at - pixels.start, count);
            at += count;
            Some(run)
        })
    }
}

/// A product of weights `[outputs, channels]` with the pixels of images.
pub(super) struct Products<'a, T> {
    source: &'a [T],
    from: Grid,
    channels: usize,
    weights: Matrix<T>,
    to: Grid,
    outputs: usize,
    bias: Option<&'a [T]>,
    activation: Activation,
    pixels: usize,
}

// SAFETY: the weights are only read, and outlive the call.
unsafe impl<T: Sync> Sync for Products<'_, T> {}

impl<'a, T: Number> Products<'a, T> {
    pub fn forward(g: &Geometry, x: &'a [T], w: &'a [T], bias: Option<&'a [T]>, activation: Activation) -> Self {
        let ([from, to], weights) = (Grid::of(g), Matrix { start: w.as_ptr(), row: g.in_channels as isize, column: 1 });
        Products { source: x, from, channels: g.in_channels, weights, to, outputs: g.out_channels, bias, activation, pixels: g.batch * g.out_pixels() }
    }

    pub fn input_gradient(g: &Geometry, dy: &'a [T], w: &'a [T], bias: Option<&'a [T]>) -> Self {
        let ([to, from], weights) = (Grid::of(g), Matrix { start: w.as_ptr(), row: 1, column: g.in_channels as isize });
        Products {
            source: dy,
            from,
            channels: g.out_channels,
            weights,
            to,
            outputs: g.in_channels,
            bias,
            activation: Activation::None,
            pixels: g.batch * g.out_pixels(),
        }
    }

    pub fn run(&self, out: &mut [T]) {
        if self.to.column > 1 || self.to.row > self.to.columns {
            // What the grid leaves out is no sum of anything.
            let plane = self.to.plane;
            let out = Target::new(out);
            parallel::ranges(self.pixels / (self.to.rows * self.to.columns) * self.outputs, (parallel::GRAIN / plane).max(1), |start, end| {
                for i in start..end {
                    // SAFETY: planes do not overlap.
                    let plane = unsafe { out.slice(i * plane, (i + 1) * plane) };
                    plane.fill(self.bias.map_or(T::default(), |bias| bias[i % self.outputs]));
                }
            });
        }
        let panels = self.pixels.div_ceil(2 * lanes::<T>());
        let tasks = (self.pixels * self.channels * self.outputs / GRAIN).clamp(1, 64).min(panels);
        let out = Target::new(out);
        parallel::run(tasks, |task| T::run(Panels { products: self, panels: task * panels / tasks..(task + 1) * panels / tasks, out }));
    }
}

/// Some panels of pixels.
struct Panels<'a, T> {
    products: &'a Products<'a, T>,
    panels: Range<usize>,
    out: Target<T>,
}

impl<T: Number> Kernel for Panels<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let p = self.products;
        let width = 2 * T::Vector::<S>::LANES;
        let mut scratch = Scratch::new::<T>((p.channels + p.outputs) * width);
        let panel: *mut T = scratch.start();
        let sums = panel.wrapping_add(p.channels * width);
        for i in self.panels.clone() {
            let pixels = i * width..p.pixels.min((i + 1) * width);
            // SAFETY: `simd::run` has checked the level; the scratch memory holds `width` numbers for every channel and output; panels write pixels of their own.
            unsafe {
                gather::<T, T::Vector<S>>(p.source.as_ptr(), p.from, p.channels, 0..p.channels, pixels.clone(), panel, width);
                let b = Matrix { start: panel.cast_const(), row: width as isize, column: 1 };
                gemm_tile([p.outputs, pixels.len(), p.channels], p.weights, b, T::zero(), MatrixMut { start: sums, row: width as isize, column: 1 });
                self.scatter::<T::Vector<S>>(sums, pixels, width);
            }
        }
    }
}

/// Some channels of some pixels, a row of `pitch` numbers each.
#[inline(always)]
unsafe fn gather<T: Number, V: Vector<Element = T>>(
    from: *const T,
    grid: Grid,
    all: usize,
    channels: Range<usize>,
    pixels: Range<usize>,
    to: *mut T,
    pitch: usize,
) {
    for (image, place, at, count) in grid.runs(pixels) {
        for (i, channel) in channels.clone().enumerate() {
            // SAFETY: the caller vouches for the images' pixels and for the rows.
            unsafe {
                let (from, to) = (from.add((image * all + channel) * grid.plane + place), to.add(i * pitch + at));
                match grid.column {
                    1 => copy::<V>(from, to, count),
                    2 => copy_alternate::<V>(from, to, count),
                    step => {
                        for j in 0..count {
                            *to.add(j) = *from.add(j * step);
                        }
                    }
                }
            }
        }
    }
}

impl<T: Number> Panels<'_, T> {
    #[inline(always)]
    unsafe fn scatter<V: Vector<Element = T>>(&self, sums: *const T, pixels: Range<usize>, pitch: usize) {
        let Products { to: grid, outputs, bias, activation, .. } = *self.products;
        for (image, place, at, count) in grid.runs(pixels) {
            for output in 0..outputs {
                // SAFETY: the caller vouches for the sums; the pixels exist, and this panel alone writes them.
                unsafe {
                    let from = sums.add(output * pitch + at);
                    let to = self.out.pointer().add((image * outputs + output) * grid.plane + place);
                    let shift = V::splat(bias.map_or(T::default(), |bias| bias[output]));
                    let mut done = 0;
                    while done < count {
                        let part = V::LANES.min(count - done);
                        let mut numbers = [V::load_first(from.add(done), part).add(shift)];
                        activation.of_all(&mut numbers);
                        let [numbers] = numbers;
                        if grid.column == 1 {
                            numbers.store_first(to.add(done), part);
                        } else {
                            let mut block = [T::default(); 16];
                            numbers.store_first(block.as_mut_ptr(), part);
                            for (j, number) in block.iter().enumerate().take(part) {
                                *to.add((done + j) * grid.column) = *number;
                            }
                        }
                        done += part;
                    }
                }
            }
        }
    }
}

/// The weight gradient `dw[o][c] = Σ_q dy[o][q] · x[c][q]`, image after image.
pub(super) struct WeightGradient<'a, T> {
    g: &'a Geometry,
    x: &'a [T],
    dy: &'a [T],
    width: usize,
    /// Rows of a part of the outputs, and parts.
    part: usize,
    parts: usize,
}

impl<'a, T: Number> WeightGradient<'a, T> {
    /// Unless images are too small for products of their own, or there are too few weights to share among threads.
    pub fn new(g: &'a Geometry, x: &'a [T], dy: &'a [T]) -> Option<Self> {
        let width = 2 * lanes::<T>();
        let panels = g.in_channels.div_ceil(width);
        let part = g.out_channels.div_ceil(8usize.div_ceil(panels).min(g.out_channels / ROWS).max(1));
        let parts = g.out_channels.div_ceil(part);
        (g.out_pixels() >= PIXELS && panels * parts >= 4).then_some(WeightGradient { g, x, dy, width, part, parts })
    }

    pub fn run(&self, dw: &mut [T]) {
        let items = self.g.in_channels.div_ceil(self.width) * self.parts;
        let dw = Target::new(dw);
        parallel::run(items, |item| T::run(Part { gradient: self, item, dw }));
    }
}

/// A panel of the channels and a part of the outputs.
struct Part<'a, T> {
    gradient: &'a WeightGradient<'a, T>,
    item: usize,
    dw: Target<T>,
}

impl<T: Number> Kernel for Part<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let &WeightGradient { g, x, dy, width, part, parts } = self.gradient;
        let (panel, output) = (self.item / parts, self.item % parts * part);
        let channels = panel * width..g.in_channels.min((panel + 1) * width);
        let rows = part.min(g.out_channels - output);
        let (grid, pixels) = (Grid::of(g)[0], g.out_pixels());
        let dense = g.stride == [1, 1];
        let mut copy = Scratch::new::<T>(if dense { 0 } else { width * pixels });
        for image in 0..g.batch {
            // SAFETY: `simd::run` has checked the level; images, channels and outputs exist; this item alone writes these weights.
            unsafe {
                let start = if dense {
                    x.as_ptr().add((image * g.in_channels + channels.start) * pixels)
                } else {
                    gather::<T, T::Vector<S>>(x.as_ptr(), grid, g.in_channels, channels.clone(), image * pixels..(image + 1) * pixels, copy.start(), pixels);
                    copy.start::<T>().cast_const()
                };
                let a = Matrix { start: dy.as_ptr().add((image * g.out_channels + output) * pixels), row: pixels as isize, column: 1 };
                let b = Matrix { start, row: 1, column: pixels as isize };
                let c = MatrixMut { start: self.dw.pointer().add(output * g.in_channels + channels.start), row: g.in_channels as isize, column: 1 };
                gemm_tile([rows, channels.len(), pixels], a, b, if image > 0 { T::one() } else { T::zero() }, c);
            }
        }
    }
}
