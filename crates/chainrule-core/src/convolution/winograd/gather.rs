//! From images to the transformed values of their tiles.

use super::super::Number;
use super::super::layout::Planes;
use super::tiles::{RUN, SIDE, Tiles, Unit, Values};
use super::transform::Filter;
use crate::simd::Vector;
use std::ops::Range;

/// Where a vector of channels of images is read.
#[derive(Clone, Copy)]
pub(super) struct Source<T> {
    pub from: Planes<T>,
    pub size: [usize; 2],
    /// How many rows and columns of zeros come before the first.
    pub lead: [isize; 2],
    /// Every so many rows and columns make a tile, the others tiles of their own: the phases.
    pub stride: usize,
    /// Channels of the vector.
    pub channels: usize,
    /// Numbers are asked for so many units before their turn: they lie in as many places as there are channels, which the CPU does not foresee.
    pub ahead: usize,
}

/// Scratch numbers that [`gather`] and [`scatter`](super::scatter::scatter) need.
pub(super) fn room(lanes: usize) -> usize {
    // The rows of a unit with room for a whole vector of columns after the last, in two phases of five; and their vertical transforms.
    let columns = SIDE * RUN + 2;
    (10 * (2 * columns + lanes) + 6 * columns) * lanes
}

/// The transformed tiles of some units: inputs by `Bᵀ`, or gradients by `A`. The values of a phase stand `phase` numbers after those of the one before.
///
/// # Safety
/// The level of V must be checked; the units' images must be readable, `to` must have room for their tiles as `values` says, and `rows` for [`room`] numbers.
#[inline(always)]
pub(super) unsafe fn gather<T: Number, V: Vector<Element = T>, F: Filter, const GRADIENT: bool>(
    tiles: &Tiles,
    units: Range<usize>,
    source: Source<T>,
    mut to: *mut T,
    values: Values,
    phase: usize,
    rows: *mut T,
) {
    let (take, stride) = (if GRADIENT { SIDE } else { F::SIZE }, source.stride);
    let count = stride * take;
    let pitch = (stride * (SIDE * tiles.run + take - SIDE) + V::LANES) * V::LANES;
    let turned = rows.wrapping_add(count * pitch);
    let mut before: Option<Unit> = None;
    for number in units {
        let unit = tiles.unit(number);
        if number + source.ahead < tiles.units() {
            ask::<T, V>(&source, &tiles.unit(number + source.ahead));
        }
        // The last rows of the unit above are the first of this one.
        let known = before.is_some_and(|above| Unit { row: above.row + SIDE, ..above } == unit);
        let columns = SIDE * unit.tiles + take - SIDE;
        let ring = Ring { rows, pitch, count, first: stride * unit.row };
        // SAFETY: the caller's promise; a row of the ring holds the columns and a vector of them.
        unsafe {
            fill::<T, V>(&source, &unit, if known { count - stride * SIDE } else { 0 }, stride * columns, &ring);
            for (a, b) in (0..stride).flat_map(|a| (0..stride).map(move |b| (a, b))) {
                let mut starts = [rows.cast_const(); 6];
                for (r, start) in starts.iter_mut().enumerate().take(take) {
                    *start = ring.row(stride * r + a).add(b * V::LANES);
                }
                for column in 0..columns {
                    let mut numbers = [V::splat(T::default()); 6];
                    for (number, start) in numbers.iter_mut().zip(starts).take(take) {
                        *number = V::load(start.add(column * stride * V::LANES));
                    }
                    for (i, value) in values_of::<T, V, F, GRADIENT>(numbers).into_iter().enumerate().take(F::SIZE) {
                        value.store(turned.add((i * columns + column) * V::LANES));
                    }
                }
                let mut to = to.add((a * stride + b) * phase);
                for tile in 0..unit.tiles {
                    for i in 0..F::SIZE {
                        let from = turned.add((i * columns + tile * SIDE) * V::LANES);
                        let mut numbers = [V::splat(T::default()); 6];
                        for (c, number) in numbers.iter_mut().enumerate().take(take) {
                            *number = V::load(from.add(c * V::LANES));
                        }
                        for (j, value) in values_of::<T, V, F, GRADIENT>(numbers).into_iter().enumerate().take(F::SIZE) {
                            value.store(to.add((i * F::SIZE + j) * values.value));
                        }
                    }
                    to = to.add(values.tile);
                }
            }
            to = to.add(unit.tiles * values.tile);
        }
        before = Some(unit);
    }
}

/// Asks for the rows of a unit that the one above does not have.
#[inline(always)]
fn ask<T: Number, V: Vector<Element = T>>(source: &Source<T>, unit: &Unit) {
    let Source { from, size: [height, width], lead, stride, channels, .. } = *source;
    let line = 64 / size_of::<T>();
    let place = |tile: usize, lead: isize, end: usize| ((stride * tile) as isize - lead).clamp(0, end as isize) as usize;
    let (top, bottom) = (place(unit.row, lead[0], height), place(unit.row + SIDE, lead[0], height));
    let (left, right) = (place(unit.column, lead[1], width), place(unit.column + SIDE * unit.tiles, lead[1], width));
    // Whole rows follow each other.
    let (rows, columns) = if (left, right) == (0, width) { (1, (bottom - top) * width) } else { (bottom - top, right - left) };
    let start = from.start.wrapping_add(unit.image * from.image + top * width + left);
    for channel in 0..channels {
        for row in 0..rows {
            for column in (0..columns).step_by(line) {
                V::prefetch(start.wrapping_add(channel * from.channel + row * width + column));
            }
        }
    }
}

#[inline(always)]
unsafe fn values_of<T: Number, V: Vector<Element = T>, F: Filter, const GRADIENT: bool>(numbers: [V; 6]) -> [V; 6] {
    // SAFETY: the caller's promise.
    unsafe { if GRADIENT { F::of_gradient(numbers) } else { F::of_input(numbers) } }
}

/// Rows `[column][channel]` of a unit in a circle, so that those that the next unit needs too stay where they are.
struct Ring<T> {
    rows: *mut T,
    pitch: usize,
    count: usize,
    first: usize,
}

impl<T> Ring<T> {
    #[inline(always)]
    fn row(&self, r: usize) -> *mut T {
        self.rows.wrapping_add((self.first + r) % self.count * self.pitch)
    }
}

/// The rows of a unit from `first` on, with zeros outside the image.
#[inline(always)]
unsafe fn fill<T: Number, V: Vector<Element = T>>(source: &Source<T>, unit: &Unit, first: usize, columns: usize, ring: &Ring<T>) {
    let Source { from, size: [height, width], lead, stride, channels, .. } = *source;
    // What lies before the unit's first row and column.
    let (above, before) = (lead[0] - (stride * unit.row) as isize, lead[1] - (stride * unit.column) as isize);
    let clip = |place: isize, end: usize| place.clamp(0, end as isize) as usize;
    let (left, right) = (clip(before, columns), clip(before + width as isize, columns));
    let (top, bottom) = (clip(above, ring.count).max(first), clip(above + height as isize, ring.count));
    let (top, bottom) = if left < right { (top, bottom.max(top)) } else { (first, first) };
    // SAFETY: `top..bottom` and `left..right` are the places whose source exists; a vector of columns written past them is overwritten or lies in a row's slack.
    unsafe {
        let zero = V::splat(T::default());
        let image = from.start.add(unit.image * from.image);
        if right - left == width && width % V::LANES != 0 {
            // Whole rows are turned as one line of pixels, or every row would have a vector that is not full.
            let mut block = [T::default(); 256];
            let (mut row, mut column) = (top, left);
            let start = image.wrapping_offset((top as isize - above) * width as isize);
            let pixels = (bottom - top) * width;
            for pixel in (0..pixels).step_by(V::LANES) {
                let count = V::LANES.min(pixels - pixel);
                V::transpose(start.add(pixel), from.channel, channels, count, block.as_mut_ptr());
                for i in 0..count {
                    V::load(block.as_ptr().add(i * V::LANES)).store(ring.row(row).add(column * V::LANES));
                    column += 1;
                    if column == right {
                        (row, column) = (row + 1, left);
                    }
                }
            }
        } else {
            for row in top..bottom {
                let start = image.wrapping_offset((row as isize - above) * width as isize + left as isize - before);
                for column in (left..right).step_by(V::LANES) {
                    V::transpose(start.add(column - left), from.channel, channels, V::LANES.min(right - column), ring.row(row).add(column * V::LANES));
                }
            }
        }
        for row in first..ring.count {
            let (left, right) = if (top..bottom).contains(&row) { (left, right) } else { (0, 0) };
            for column in (0..left).chain(right..columns) {
                zero.store(ring.row(row).add(column * V::LANES));
            }
        }
    }
}
