//! Kernels as transformed blocks, and the gradients of weights from transformed sums.

use super::super::Number;
use super::super::plan::Sizes;
use super::tiles::Values;
use super::transform::Filter;
use crate::simd::Vector;
use std::ops::Range;

/// How many channels ahead weights are asked for.
const AHEAD: usize = 4;

/// Weights as the sum of products over `channels` for each of `outputs` reads them.
#[derive(Clone, Copy)]
pub(super) struct Weights<T> {
    pub start: *const T,
    pub sizes: Sizes,
    /// Height and width of the kernel.
    pub kernel: usize,
    /// Taps in reverse order: the transposed map.
    pub turned: bool,
}

/// The block `[value][channel][output]` of some channels and a vector of outputs, of the taps from `phase` on; `values` are its distances, a channel being a tile.
///
/// # Safety
/// The level of V must be checked, the weights be readable, and `to` have room for the block.
#[inline(always)]
pub(super) unsafe fn block<T: Number, V: Vector<Element = T>, F: Filter>(
    weights: Weights<T>,
    outputs: Range<usize>,
    channels: Range<usize>,
    phase: [usize; 2],
    to: *mut T,
    values: Values,
) {
    let Weights { start, sizes, kernel, turned } = weights;
    let mut taps = [T::default(); 512];
    for (k, channel) in channels.enumerate() {
        // SAFETY: the caller's promise; up to sixteen taps and what a transpose writes after them fit in `taps`.
        unsafe {
            let from = start.add(outputs.start * sizes.output_weights + channel * sizes.channel_weights);
            if sizes.channel_weights > sizes.output_weights {
                // Channels lie far apart, which the CPU does not foresee.
                for i in (0..outputs.len() * kernel * kernel).step_by(64 / size_of::<T>()) {
                    V::prefetch(from.wrapping_add(AHEAD * sizes.channel_weights + i));
                }
            }
            for tap in (0..kernel * kernel).step_by(V::LANES) {
                let count = V::LANES.min(kernel * kernel - tap);
                V::transpose(from.add(tap), sizes.output_weights, outputs.len(), count, taps.as_mut_ptr().add(tap * V::LANES));
            }
            let mut upright = [[V::splat(T::default()); 3]; 6];
            for column in 0..F::TAPS {
                let mut numbers = [V::splat(T::default()); 3];
                for (row, number) in numbers.iter_mut().enumerate().take(F::TAPS) {
                    let [row, column] = [row, column].map(|tap| if turned { F::TAPS - 1 - tap } else { tap });
                    let (row, column) = (F::STRIDE * row + phase[0], F::STRIDE * column + phase[1]);
                    if row < kernel && column < kernel {
                        *number = V::load(taps.as_ptr().add((row * kernel + column) * V::LANES));
                    }
                }
                for (row, value) in upright.iter_mut().zip(F::of_weights(numbers)) {
                    row[column] = value;
                }
            }
            let to = to.add(k * values.tile);
            for (row, numbers) in upright.into_iter().enumerate().take(F::SIZE) {
                for (column, value) in F::of_weights(numbers).into_iter().enumerate().take(F::SIZE) {
                    value.store(to.add((row * F::SIZE + column) * values.value));
                }
            }
        }
    }
}

/// The gradient of the weights of some channels and outputs from sums `[value][phase and channel][output]`, phases being `lanes` channels apart.
///
/// `to` is the weight of the first output and channel, `row` the distance between outputs.
///
/// # Safety
/// As for [`block`], with `sums` for reading and `to` for writing; `rows` has room for a vector of outputs for every channel and tap, and one more.
#[inline(always)]
pub(super) unsafe fn gradient<T: Number, V: Vector<Element = T>, F: Filter>(
    sums: *const T,
    values: Values,
    [channels, outputs]: [usize; 2],
    kernel: usize,
    to: *mut T,
    row: usize,
    rows: *mut T,
) {
    let mut square = [T::default(); 256];
    let taps = kernel * kernel;
    for output in (0..outputs).step_by(V::LANES) {
        // SAFETY: the caller's promise.
        unsafe {
            for channel in 0..channels {
                for phase in 0..F::STRIDE * F::STRIDE {
                    let from = sums.add((phase * V::LANES + channel) * values.tile + output);
                    let mut upright = [[V::splat(T::default()); 6]; 3];
                    for column in 0..F::SIZE {
                        let mut numbers = [V::splat(T::default()); 6];
                        for (row, number) in numbers.iter_mut().enumerate().take(F::SIZE) {
                            *number = V::load(from.add((row * F::SIZE + column) * values.value));
                        }
                        for (row, value) in upright.iter_mut().zip(F::to_weights(numbers)) {
                            row[column] = value;
                        }
                    }
                    for (row, numbers) in upright.into_iter().enumerate().take(F::TAPS) {
                        for (column, value) in F::to_weights(numbers).into_iter().enumerate().take(F::TAPS) {
                            let (row, column) = (F::STRIDE * row + phase / F::STRIDE, F::STRIDE * column + phase % F::STRIDE);
                            if row < kernel && column < kernel {
                                value.store(rows.add((channel * taps + row * kernel + column) * V::LANES));
                            }
                        }
                    }
                }
            }
            let count = channels * taps;
            for k in (0..count).step_by(V::LANES) {
                let length = V::LANES.min(count - k);
                V::transpose(rows.add(k * V::LANES), V::LANES, length, V::LANES, square.as_mut_ptr());
                for o in 0..V::LANES.min(outputs - output) {
                    V::load(square.as_ptr().add(o * V::LANES)).store_first(to.add((output + o) * row + k), length);
                }
            }
        }
    }
}
