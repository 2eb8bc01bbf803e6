//! Images as tiles: where they lie, their transformed values, and the way back.

use super::super::Number;
use super::super::layout::Planes;
use super::transform::Filter;
use crate::gemm::Activation;
use crate::simd::Vector;
use std::ops::Range;

/// Results of a tile along each side.
pub(super) const SIDE: usize = 4;
/// Tiles side by side that are transformed together, at most: their rows stay in the first-level cache.
const RUN: usize = 8;

/// The tiles of a batch of images, in units: some neighbours of a row of tiles. Units that follow each other lie below each other, as long as the image lasts.
#[derive(Clone, Copy)]
pub(super) struct Tiles {
    pub batch: usize,
    /// Height and width of what is cut into tiles.
    pub outputs: [usize; 2],
    /// Rows of tiles, units side by side, tiles of a unit (but for the last).
    down: usize,
    across: usize,
    pub run: usize,
}

/// The neighbouring tiles of a unit.
#[derive(Clone, Copy, PartialEq)]
pub(super) struct Unit {
    pub image: usize,
    /// The first row and column of results.
    pub row: usize,
    pub column: usize,
    pub tiles: usize,
}

impl Tiles {
    pub fn new(batch: usize, outputs: [usize; 2]) -> Tiles {
        let [down, columns] = outputs.map(|size| size.div_ceil(SIDE));
        let across = columns.div_ceil(RUN);
        let run = columns.div_ceil(across.max(1)).max(1);
        Tiles { batch, outputs, down, across: columns.div_ceil(run), run }
    }

    pub fn units(&self) -> usize {
        self.batch * self.down * self.across
    }

    /// All tiles.
    pub fn count(&self) -> usize {
        self.batch * self.down * self.outputs[1].div_ceil(SIDE)
    }

    pub fn unit(&self, unit: usize) -> Unit {
        let (row, unit) = (unit % self.down, unit / self.down);
        let (segment, image) = (unit % self.across, unit / self.across);
        let first = segment * self.run;
        Unit { image, row: row * SIDE, column: first * SIDE, tiles: self.run.min(self.outputs[1].div_ceil(SIDE) - first) }
    }
}

/// The distances of an array `[value][tile][channel]` of transformed tiles.
#[derive(Clone, Copy)]
pub(super) struct Values {
    pub values: usize,
    pub value: usize,
    pub tile: usize,
}

impl Values {
    /// Of `tiles` tiles and `channels` channels. Values lie an odd number of lines apart, or they would share few lines of the first-level cache.
    pub fn new<F: Filter>(tiles: usize, channels: usize) -> Values {
        Values { values: F::SIZE * F::SIZE, value: ((tiles * channels).div_ceil(16) | 1) * 16, tile: channels }
    }

    pub fn count(&self) -> usize {
        self.values * self.value
    }
}

/// Where a vector of channels of images is read.
#[derive(Clone, Copy)]
pub(super) struct Source<T> {
    pub from: Planes<T>,
    pub size: [usize; 2],
    /// How many rows and columns of zeros come before the first.
    pub lead: [isize; 2],
    /// Only every so many rows and columns are taken.
    pub stride: usize,
    /// Channels of the vector.
    pub channels: usize,
}

/// Scratch numbers that [`gather`] and [`scatter`] need.
pub(super) fn room(lanes: usize) -> usize {
    // Rows of a unit, all columns of which are there if every second is taken, with room for a whole vector of columns after the last; and their vertical transforms.
    6 * (3 * (SIDE * RUN + 2) + lanes) * lanes
}

/// The transformed tiles of some units: inputs by `Bᵀ`, or gradients by `A`.
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
    rows: *mut T,
) {
    let take = if GRADIENT { SIDE } else { F::SIZE };
    let pitch = (source.stride * (SIDE * tiles.run + take - SIDE) + V::LANES) * V::LANES;
    let turned = rows.wrapping_add(take * pitch);
    let mut before: Option<Unit> = None;
    for unit in units {
        let unit = tiles.unit(unit);
        // The last rows of the unit above are the first of this one.
        let known = before.is_some_and(|above| Unit { row: above.row + SIDE, ..above } == unit);
        let columns = SIDE * unit.tiles + take - SIDE;
        // SAFETY: the caller's promise; a row of the ring holds the columns and a vector of them.
        unsafe {
            for r in if known { take - SIDE } else { 0 }..take {
                row::<T, V>(&source, &unit, r, columns, rows.add((unit.row + r) % take * pitch));
            }
            let mut ring = [rows.cast_const(); 6];
            for (r, start) in ring.iter_mut().enumerate().take(take) {
                *start = rows.add((unit.row + r) % take * pitch);
            }
            for column in 0..columns {
                let mut numbers = [V::splat(T::default()); 6];
                for (number, start) in numbers.iter_mut().zip(ring).take(take) {
                    *number = V::load(start.add(column * source.stride * V::LANES));
                }
                for (i, value) in values_of::<T, V, F, GRADIENT>(numbers).into_iter().enumerate().take(F::SIZE) {
                    value.store(turned.add((i * columns + column) * V::LANES));
                }
            }
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
        before = Some(unit);
    }
}

#[inline(always)]
unsafe fn values_of<T: Number, V: Vector<Element = T>, F: Filter, const GRADIENT: bool>(numbers: [V; 6]) -> [V; 6] {
    // SAFETY: the caller's promise.
    unsafe { if GRADIENT { F::of_gradient(numbers) } else { F::of_input(numbers) } }
}

/// Row `r` of a unit, `[column][channel]`, with zeros outside the image.
#[inline(always)]
unsafe fn row<T: Number, V: Vector<Element = T>>(source: &Source<T>, unit: &Unit, r: usize, columns: usize, to: *mut T) {
    let Source { from, size: [height, width], lead, stride, channels } = *source;
    let columns = stride * (columns - 1) + 1;
    let at = (stride * (unit.row + r)) as isize - lead[0];
    let before = lead[1] - (stride * unit.column) as isize;
    let clip = |column: isize| column.clamp(0, columns as isize) as usize;
    let (left, right) = (clip(before), clip(before + width as isize));
    // SAFETY: `left..right` are the columns whose source exists; a vector of columns written past them is overwritten or lies in the row's slack.
    unsafe {
        let zero = V::splat(T::default());
        if at < 0 || at >= height as isize || left >= right {
            for column in 0..columns {
                zero.store(to.add(column * V::LANES));
            }
            return;
        }
        let start = from.start.add(unit.image * from.image + at as usize * width).offset(left as isize - before);
        for column in (left..right).step_by(V::LANES) {
            V::transpose(start.add(column - left), from.channel, channels, V::LANES.min(right - column), to.add(column * V::LANES));
        }
        for column in (0..left).chain(right..columns) {
            zero.store(to.add(column * V::LANES));
        }
    }
}

/// Where a vector of channels of results goes.
#[derive(Clone, Copy)]
pub(super) struct Target<T, V> {
    pub start: *mut T,
    pub size: [usize; 2],
    /// Where the first row and column of results lie, and the distance between them. At a distance of 2 there are two vectors, for the columns between.
    pub first: [isize; 2],
    pub stride: usize,
    /// Distance between images.
    pub image: usize,
    pub channels: usize,
    pub bias: V,
    pub activation: Activation,
}

/// The results of some units' tiles, by `Aᵀ`, with bias and activation. Those outside the image are dropped.
///
/// # Safety
/// As for [`gather`], with `from` for reading and the images of `to` for writing.
#[inline(always)]
pub(super) unsafe fn scatter<T: Number, V: Vector<Element = T>, F: Filter>(
    tiles: &Tiles,
    units: Range<usize>,
    mut from: *const T,
    values: Values,
    to: Target<T, V>,
    rows: *mut T,
) {
    let ([height, width], stride) = (to.size, to.stride);
    for unit in units {
        let unit = tiles.unit(unit);
        let clip = |place: isize, size: usize| place.clamp(0, size as isize) as usize;
        let (top, start) = ((stride * unit.row) as isize + to.first[0], (stride * unit.column) as isize + to.first[1]);
        let (left, right) = (clip(start, width), clip(start + (stride * SIDE * unit.tiles) as isize, width));
        let across = right - left;
        // SAFETY: the caller's promise; a row of results is at most `stride` times as long as a unit's tiles.
        unsafe {
            let zero = V::splat(T::default());
            for tile in 0..unit.tiles {
                for between in 0..stride {
                    let from = from.add(between * V::LANES);
                    let mut upright = [[zero; 6]; SIDE];
                    for j in 0..F::SIZE {
                        let mut column = [zero; 6];
                        for (i, value) in column.iter_mut().enumerate().take(F::SIZE) {
                            *value = V::load(from.add((i * F::SIZE + j) * values.value));
                        }
                        for (row, result) in upright.iter_mut().zip(F::to_output(column)) {
                            row[j] = result;
                        }
                    }
                    for (r, row) in upright.into_iter().enumerate() {
                        let mut results = F::to_output(row);
                        for result in &mut results {
                            *result = result.add(to.bias);
                        }
                        to.activation.of_all(&mut results);
                        for (c, result) in results.into_iter().enumerate() {
                            let column = start + (stride * (tile * SIDE + c) + between) as isize - left as isize;
                            if column >= 0 && column < across as isize {
                                result.store(rows.add((r * across + column as usize) * V::LANES));
                            }
                        }
                    }
                }
                from = from.add(values.tile);
            }
            let image = to.start.add(unit.image * to.image + left);
            if stride == 1 && across == width {
                // Whole rows follow each other.
                let down = SIDE.min(height - unit.row);
                spread::<T, V>(rows, down * across, image.add(unit.row * width), height * width, to.channels);
                continue;
            }
            for r in 0..SIDE {
                let row = top + (stride * r) as isize;
                if row >= 0 && row < height as isize {
                    spread::<T, V>(rows.add(r * across * V::LANES), across, image.add(row as usize * width), height * width, to.channels);
                }
            }
        }
    }
}

/// `[pixel][channel]` to the channels' planes.
#[inline(always)]
unsafe fn spread<T: Number, V: Vector<Element = T>>(from: *const T, pixels: usize, to: *mut T, plane: usize, channels: usize) {
    let mut block = [T::default(); 256];
    for pixel in (0..pixels).step_by(V::LANES) {
        let count = V::LANES.min(pixels - pixel);
        // SAFETY: the caller's promise.
        unsafe {
            V::transpose(from.add(pixel * V::LANES), V::LANES, count, V::LANES, block.as_mut_ptr());
            for channel in 0..channels {
                V::load(block.as_ptr().add(channel * V::LANES)).store_first(to.add(channel * plane + pixel), count);
            }
        }
    }
}
