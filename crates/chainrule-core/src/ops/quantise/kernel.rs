//! One row packed, one row unpacked. Plain loops, which each level compiles into its own vector code.

use super::{Code, NESTED_BLOCK};
use crate::dtype::Element;
use crate::float::Float;
use crate::simd::{Kernel, Simd};

/// What the 16 codes of [`Code::Nf4`] stand for: quantiles of a normal distribution, on each side of 0 equally probable, scaled to -1 and 1 (the paper's appendix E).
pub const NF4: [f32; 16] = [
    -1.0,
    -0.696_192_8,
    -0.525_073_05,
    -0.394_917_5,
    -0.284_441_38,
    -0.184_773_43,
    -0.091_050_036,
    0.0,
    0.079_580_3,
    0.160_930_2,
    0.246_112_3,
    0.337_915_24,
    0.440_709_83,
    0.562_617,
    0.722_956_84,
    1.0,
];

/// The scales of all blocks.
pub(super) enum Scales<'a, T> {
    Single(&'a [T]),
    Double { codes: &'a [u8], steps: &'a [T], offset: T },
}

impl<T: Float> Scales<'_, T> {
    #[inline(always)]
    fn get(&self, block: usize) -> T {
        match self {
            Scales::Single(scales) => scales[block],
            // No rounding makes a scale negative.
            Scales::Double { codes, steps, offset } => (*offset + steps[block / NESTED_BLOCK] * integer::<T>(codes[block])).max(T::zero()),
        }
    }
}

/// What a byte stands for, from -128 to 127.
#[inline(always)]
fn integer<T: Float>(byte: u8) -> T {
    <T as Element>::from_f64((byte as i32 - 128) as f64)
}

/// The largest magnitude of each block; whether all numbers are finite.
pub(super) struct Largest<'a, T> {
    pub row: &'a [T],
    pub width: usize,
    pub to: &'a mut [T],
}

impl<T: Float> Kernel for Largest<'_, T> {
    type Output = bool;
    #[inline(always)]
    fn run<S: Simd>(self) -> bool {
        let mut finite = true;
        for (block, to) in self.row.chunks(self.width).zip(self.to) {
            *to = block.iter().fold(T::zero(), |largest, x| if x.abs() > largest { x.abs() } else { largest });
            finite &= block.iter().fold(true, |finite, x| finite & x.is_finite());
        }
        finite
    }
}

/// A row's codes, by the scales as they will be read.
pub(super) struct Pack<'a, T> {
    pub code: Code,
    pub row: &'a [T],
    pub width: usize,
    pub scales: &'a Scales<'a, T>,
    /// The row's first block.
    pub first: usize,
    pub to: &'a mut [u8],
}

impl<T: Float> Kernel for Pack<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let Pack { code, row, width, scales, first, mut to } = self;
        let limits: [T; 15] = std::array::from_fn(|i| <T as Element>::from_f64((NF4[i] as f64 + NF4[i + 1] as f64) / 2.0));
        let nearest = |x: T| limits.iter().map(|limit| (x > *limit) as u8).sum::<u8>();
        for (i, block) in row.chunks(width).enumerate() {
            let scale = scales.get(first + i);
            let by = if scale > T::zero() { scale.recip() } else { T::zero() };
            // A scale so small that its inverse is not finite belongs to numbers that are as good as 0.
            let by = if by.is_finite() { by } else { T::zero() };
            let (own, rest) = to.split_at_mut(super::bytes(code, block.len()).min(to.len()));
            to = rest;
            match code {
                Code::Nf4 => {
                    for (byte, pair) in own.iter_mut().zip(block.chunks(2)) {
                        let high = pair.get(1).map_or(7, |x| nearest(*x * by));
                        *byte = nearest(pair[0] * by) | high << 4;
                    }
                }
                Code::Int8 => {
                    let (by, most) = (by * <T as Element>::from_f64(127.0), <T as Element>::from_f64(127.0));
                    for (byte, x) in own.iter_mut().zip(block) {
                        *byte = (Element::to_f64((*x * by).round().max(-most).min(most)) + 128.0) as u8;
                    }
                }
            }
        }
    }
}

/// A row's numbers.
pub(super) struct Unpack<'a, T> {
    pub code: Code,
    pub row: &'a [u8],
    pub width: usize,
    pub scales: &'a Scales<'a, T>,
    /// The row's first block.
    pub first: usize,
    pub to: &'a mut [T],
}

impl<T: Float> Kernel for Unpack<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let Unpack { code, row, width, scales, first, to } = self;
        let mut codes = row;
        for (i, block) in to.chunks_mut(width).enumerate() {
            let scale = scales.get(first + i);
            let (own, rest) = codes.split_at(super::bytes(code, block.len()).min(codes.len()));
            codes = rest;
            match code {
                Code::Nf4 => {
                    let values: [T; 16] = std::array::from_fn(|k| <T as Element>::from_f64(NF4[k] as f64) * scale);
                    let mut pairs = block.chunks_exact_mut(2);
                    for (pair, byte) in (&mut pairs).zip(own) {
                        pair[0] = values[(byte & 15) as usize];
                        pair[1] = values[(byte >> 4) as usize];
                    }
                    if let ([last], Some(byte)) = (pairs.into_remainder(), own.last()) {
                        *last = values[(byte & 15) as usize];
                    }
                }
                Code::Int8 => {
                    let step = scale / <T as Element>::from_f64(127.0);
                    for (x, byte) in block.iter_mut().zip(own) {
                        *x = integer::<T>(*byte) * step;
                    }
                }
            }
        }
    }
}
