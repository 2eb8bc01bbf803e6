//! From transformed sums to the results of tiles.

use super::super::Number;
use super::tiles::{SIDE, Tiles, Values};
use super::transform::Filter;
use crate::gemm::Activation;
use crate::simd::Vector;
use std::ops::Range;

/// Where a vector of channels of results goes.
#[derive(Clone, Copy)]
pub(super) struct Results<T, V> {
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
/// As for [`super::gather::gather`], with `from` for reading and the images of `to` for writing.
#[inline(always)]
pub(super) unsafe fn scatter<T: Number, V: Vector<Element = T>, F: Filter>(
    tiles: &Tiles,
    units: Range<usize>,
    mut from: *const T,
    values: Values,
    to: Results<T, V>,
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
