//! Weights in few bits: a code of 4 or 8 bits for each number, and a scale for each block of numbers (Dettmers et al. 2023, "QLoRA: Efficient Finetuning of Quantized LLMs").
//!
//! A weight `[rows, ..]` is cut into blocks of neighbours in a row; with `s = max |w|` of a block, `w ≈ s · value(code)`:
//!
//! | code | value |
//! |---|---|
//! | [`Code::Nf4`] | the nearest of 16 quantiles of a normal distribution, among them -1, 0 and 1 |
//! | [`Code::Int8`] | the nearest of `-127/127, …, 127/127` |
//!
//! Double quantisation keeps the scales in 8 bits too: `s ≈ offset + step · code`, the offset being their mean, with a step for each 256 of them.

mod kernel;
#[cfg(test)]
mod tests;

pub use kernel::NF4;

use crate::array::Array;
use crate::dtype::{DType, Element};
use crate::error::{Error, Result};
use crate::float::{Float, with_float};
use crate::ops::index::positions;
use crate::ops::on_cpu;
use crate::parallel::{self, Target};
use crate::shape::Shape;
use kernel::{Pack, Scales, Unpack};
use std::sync::atomic::{AtomicBool, Ordering};

/// How many scales share a step.
pub(crate) const NESTED_BLOCK: usize = 256;

/// What stands for a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// 4 bits, two in a byte: quantiles of a normal distribution.
    Nf4,
    /// 8 bits: multiples of 1/127.
    Int8,
}

/// How a weight is quantised.
/// ```
/// use chainrule_core::ops::quantise::Quantisation;
/// assert_eq!(Quantisation::nf4(), Quantisation::nf4().block(64).double(true));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantisation {
    /// What stands for a number.
    pub code: Code,
    /// How many numbers share a scale; `None` for all of a row.
    pub block: Option<usize>,
    /// Whether the scales are quantised too.
    pub double: bool,
}

impl Quantisation {
    /// 4 bits in blocks of 64, with double quantisation: 0.516 bytes a number.
    pub fn nf4() -> Quantisation {
        Quantisation { code: Code::Nf4, block: Some(64), double: true }
    }
    /// 8 bits, a scale for each row.
    pub fn int8() -> Quantisation {
        Quantisation { code: Code::Int8, block: None, double: false }
    }
    /// A scale for each so many numbers.
    pub fn block(self, block: usize) -> Quantisation {
        Quantisation { block: Some(block), ..self }
    }
    /// Whether the scales are quantised too.
    pub fn double(self, double: bool) -> Quantisation {
        Quantisation { double, ..self }
    }

    /// How many numbers share a scale in rows of `columns`.
    fn width(&self, columns: usize) -> Result<usize> {
        match self.block {
            None => Ok(columns.max(1)),
            Some(block) if block > 0 && (block % 2 == 0 || self.code == Code::Int8) => Ok(block),
            Some(block) => Err(Error::value("quantise", format!("got blocks of {block}, expected an even number, at least 2"))),
        }
    }
}

/// A weight in few bits. The arrays can be saved and put back as they are.
#[derive(Clone, Debug)]
pub struct Quantised {
    /// How.
    pub how: Quantisation,
    /// The weight's shape `[R, ..]`.
    pub shape: Shape,
    /// Bytes `[R, B]`: of [`Code::Nf4`] the first number's code is in the low half; of [`Code::Int8`] 128 stands for 0.
    pub codes: Array,
    /// One for each block, `[R, blocks]`; with double quantisation bytes, 128 standing for the offset.
    pub scales: Array,
    /// With double quantisation.
    pub nested: Option<Nested>,
}

/// What makes scales of bytes.
#[derive(Clone, Debug)]
pub struct Nested {
    /// `[1]`
    pub offset: Array,
    /// One for each 256 scales.
    pub steps: Array,
}

/// The weight in few bits, with scales of its own type, or f32 if it is of a half one.
///
/// # Errors
/// A scalar; numbers that are not floats, or not finite; blocks of an odd number, or of none; no memory.
pub fn quantise(weight: &Array, how: &Quantisation) -> Result<Quantised> {
    const OP: &str = "quantise";
    on_cpu!(OP, [weight]);
    let wide = if weight.dtype() == DType::F64 || !weight.dtype().is_float() { weight.dtype() } else { DType::F32 };
    let weight = weight.cast(wide)?.contiguous()?;
    let [rows, columns] = extents(OP, weight.shape())?;
    let width = how.width(columns)?;
    let blocks = columns.div_ceil(width);
    with_float!(OP, wide, T => {
        let mut scales = Array::stale(Shape::new(&[rows, blocks])?, wide)?;
        let (numbers, finite) = (weight.slice::<T>(), AtomicBool::new(true));
        let target = Target::new(scales.slice_mut::<T>());
        parallel::items(rows, columns, |start, end| {
            for row in start..end {
                // SAFETY: rows of the scales do not overlap.
                let own = unsafe { target.slice(row * blocks, (row + 1) * blocks) };
                if !T::run(kernel::Largest { row: &numbers[row * columns..(row + 1) * columns], width, to: own }) {
                    finite.store(false, Ordering::Relaxed);
                }
            }
        });
        if !finite.into_inner() {
            return Err(Error::value(OP, format!("the weight {:?} holds numbers that are not finite", weight.shape())));
        }
        let (scales, nested) = if how.double { nest::<T>(&scales)? } else { (scales, None) };
        let bytes = bytes(how.code, columns);
        let mut codes = Array::stale(Shape::new(&[rows, bytes])?, DType::U8)?;
        let (by, target) = (scales_of::<T>(&scales, &nested), Target::new(codes.slice_mut::<u8>()));
        parallel::items(rows, columns, |start, end| {
            for row in start..end {
                // SAFETY: rows of the codes do not overlap.
                let to = unsafe { target.slice(row * bytes, (row + 1) * bytes) };
                T::run(Pack { code: how.code, row: &numbers[row * columns..(row + 1) * columns], width, scales: &by, first: row * blocks, to });
            }
        });
        Ok(Quantised { how: *how, shape: *weight.shape(), codes, scales, nested })
    })
}

/// Rows, and numbers in each.
fn extents(op: &'static str, shape: &Shape) -> Result<[usize; 2]> {
    match shape.dims() {
        [] => Err(Error::shape(op, "the weight is a scalar, expected [rows, ..]")),
        [rows, rest @ ..] => Ok([*rows, rest.iter().product()]),
    }
}

fn bytes(code: Code, columns: usize) -> usize {
    match code {
        Code::Nf4 => columns.div_ceil(2),
        Code::Int8 => columns,
    }
}

/// Scales in 8 bits.
fn nest<T: Float>(scales: &Array) -> Result<(Array, Option<Nested>)> {
    let numbers: Vec<f64> = scales.slice::<T>().iter().map(|s| Element::to_f64(*s)).collect();
    let rounded = |x: f64| Element::to_f64(<T as Element>::from_f64(x));
    let offset = rounded(numbers.iter().sum::<f64>() / numbers.len().max(1) as f64);
    let (mut codes, mut steps) = (Vec::with_capacity(numbers.len()), Vec::with_capacity(numbers.len().div_ceil(NESTED_BLOCK)));
    for block in numbers.chunks(NESTED_BLOCK) {
        let step = rounded(block.iter().map(|s| (s - offset).abs()).fold(0.0, f64::max) / 127.0);
        steps.push(step);
        let by = if step > 0.0 { 1.0 / step } else { 0.0 };
        codes.extend(block.iter().map(|s| (((s - offset) * by).round().clamp(-127.0, 127.0) + 128.0) as u8));
    }
    let nested = Nested { offset: Array::full(&[1], offset, T::DTYPE)?, steps: Array::from_slice(&steps, &[steps.len()])?.cast(T::DTYPE)? };
    Ok((Array::from_slice(&codes, scales.dims())?, Some(nested)))
}

fn scales_of<'a, T: Float>(scales: &'a Array, nested: &'a Option<Nested>) -> Scales<'a, T> {
    match nested {
        Some(nested) => Scales::Double { codes: scales.slice(), steps: nested.steps.slice(), offset: nested.offset.slice::<T>()[0] },
        None => Scales::Single(scales.slice()),
    }
}

impl Quantised {
    /// The weight's element type: that of the scales.
    pub fn dtype(&self) -> DType {
        self.nested.as_ref().map_or(self.scales.dtype(), |nested| nested.offset.dtype())
    }

    /// The weight.
    ///
    /// # Errors
    /// Arrays that do not fit each other; no memory.
    pub fn dequantise(&self) -> Result<Array> {
        on_cpu!("dequantise", [self.codes, self.scales]);
        let [rows, _] = extents("dequantise", &self.shape)?;
        self.unpacked(self.shape, rows, |row| row)
    }

    /// Rows by index, without the others: of a weight `[V, D]` and i64 `[..]`, `[.., D]`.
    ///
    /// # Errors
    /// An index outside `0..V`; indices that are not i64; a weight of other than two dimensions; no memory.
    pub fn rows(&self, indices: &Array) -> Result<Array> {
        const OP: &str = "embedding";
        on_cpu!(OP, [self.codes, self.scales, indices]);
        let &[rows, columns] = self.shape.dims() else {
            return Err(Error::shape(OP, format!("the weight has shape {:?}, expected [V, D]", self.shape)));
        };
        let indices = positions(OP, indices, rows)?;
        let picked = indices.slice::<i64>();
        self.unpacked(Shape::joined([indices.dims(), &[columns], &[]])?, picked.len(), |i| picked[i] as usize)
    }

    /// `count` rows, the i-th being the weight's row `row(i)`.
    fn unpacked(&self, shape: Shape, count: usize, row: impl Fn(usize) -> usize + Sync) -> Result<Array> {
        const OP: &str = "dequantise";
        let wide = if self.dtype() == DType::F64 { DType::F64 } else { DType::F32 };
        let [width, blocks] = self.check(OP)?;
        let [_, columns] = extents(OP, &self.shape)?;
        let dense = Quantised { codes: self.codes.contiguous()?, scales: self.scales.contiguous()?, ..self.clone() }.widened(wide)?;
        let mut out = Array::stale(shape, wide)?;
        with_float!(OP, wide, T => {
            let (scales, codes, bytes) = (scales_of::<T>(&dense.scales, &dense.nested), dense.codes.slice::<u8>(), bytes(self.how.code, columns));
            let target = Target::new(out.slice_mut::<T>());
            parallel::items(count, columns, |start, end| {
                for i in start..end {
                    let from = row(i);
                    // SAFETY: rows of the output do not overlap.
                    let to = unsafe { target.slice(i * columns, (i + 1) * columns) };
                    T::run(Unpack { code: self.how.code, row: &codes[from * bytes..(from + 1) * bytes], width, scales: &scales, first: from * blocks, to });
                }
            });
            Ok(())
        })?;
        out.cast(self.dtype())
    }

    /// The width of a block, and blocks in a row; an error unless all arrays fit.
    fn check(&self, op: &'static str) -> Result<[usize; 2]> {
        let [rows, columns] = extents(op, &self.shape)?;
        let width = self.how.width(columns)?;
        let blocks = columns.div_ceil(width);
        let fits =
            |array: &Array, dims: &[usize], float: bool| array.dims() == dims && if float { array.dtype().is_float() } else { array.dtype() == DType::U8 };
        let nested = self.nested.as_ref().is_none_or(|n| fits(&n.offset, &[1], true) && fits(&n.steps, &[(rows * blocks).div_ceil(NESTED_BLOCK)], true));
        let whole = self.nested.is_some() == self.how.double && fits(&self.scales, &[rows, blocks], !self.how.double);
        if fits(&self.codes, &[rows, bytes(self.how.code, columns)], false) && whole && nested {
            return Ok([width, blocks]);
        }
        let (codes, scales) = (&self.codes, &self.scales);
        let got = format!("codes are {} {:?} and scales {} {:?}", codes.dtype(), codes.shape(), scales.dtype(), scales.shape());
        Err(Error::shape(op, format!("{got}, which do not make a weight {:?} of {:?}", self.shape, self.how)))
    }

    /// With dense scales of this type.
    fn widened(mut self, wide: DType) -> Result<Quantised> {
        match &mut self.nested {
            Some(nested) => *nested = Nested { offset: nested.offset.cast(wide)?.contiguous()?, steps: nested.steps.cast(wide)?.contiguous()? },
            None => self.scales = self.scales.cast(wide)?,
        }
        Ok(self)
    }
}
