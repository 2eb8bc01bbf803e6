//! The element types of operands and their rounding.
use super::Refusal;
use half::{bf16, f16};

/// A real element type (`cudaDataType`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Element {
    F16,
    Bf16,
    F32,
    F64,
}

impl Element {
    /// From the library's number.
    pub fn of(number: u64) -> Result<Element, Refusal> {
        match number {
            0 => Ok(Element::F32),
            1 => Ok(Element::F64),
            2 => Ok(Element::F16),
            14 => Ok(Element::Bf16),
            _ => Err(Refusal::unsupported(format!("element type {number}"))),
        }
    }

    /// Bytes of an element.
    pub fn bytes(self) -> usize {
        match self {
            Element::F16 | Element::Bf16 => 2,
            Element::F32 => 4,
            Element::F64 => 8,
        }
    }

    /// Reads elements.
    pub fn decode<R: Real>(self, bytes: &[u8]) -> impl Iterator<Item = R> + '_ {
        bytes.chunks_exact(self.bytes()).map(move |element| match (self, element) {
            (Element::F16, &[a, b]) => R::from_single(f16::from_le_bytes([a, b]).to_f32()),
            (Element::Bf16, &[a, b]) => R::from_single(bf16::from_le_bytes([a, b]).to_f32()),
            (Element::F32, &[a, b, c, d]) => R::from_single(f32::from_le_bytes([a, b, c, d])),
            (Element::F64, &[a, b, c, d, e, f, g, h]) => R::from_double(f64::from_le_bytes([a, b, c, d, e, f, g, h])),
            _ => R::ZERO,
        })
    }

    /// Appends one element, rounded.
    pub fn encode<R: Real>(self, value: R, out: &mut Vec<u8>) {
        match self {
            Element::F16 => out.extend(f16::from_f32(value.single()).to_le_bytes()),
            Element::Bf16 => out.extend(bf16::from_f32(value.single()).to_le_bytes()),
            Element::F32 => out.extend(value.single().to_le_bytes()),
            Element::F64 => out.extend(value.double().to_le_bytes()),
        }
    }
}

/// The numbers a product is computed in.
pub trait Real: Copy + std::ops::Add<Output = Self> + std::ops::Mul<Output = Self> + std::ops::AddAssign {
    const ZERO: Self;
    fn from_single(value: f32) -> Self;
    fn from_double(value: f64) -> Self;
    fn single(self) -> f32;
    fn double(self) -> f64;
}

macro_rules! real {
    ($type:ty) => {
        impl Real for $type {
            const ZERO: $type = 0.0;

            fn from_single(value: f32) -> $type {
                value as $type
            }

            fn from_double(value: f64) -> $type {
                value as $type
            }

            fn single(self) -> f32 {
                self as f32
            }

            fn double(self) -> f64 {
                self as f64
            }
        }
    };
}
real!(f32);
real!(f64);

/// What the tensor cores make of f32 operands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rounding {
    None,
    /// 10 bits behind the point, ties away from zero, as `cvt.rna.tf32` rounds.
    Tf32,
    F16,
    Bf16,
}

impl Rounding {
    /// Rounds every operand.
    pub fn apply<R: Real>(self, values: &mut [R]) {
        let round: fn(f32) -> f32 = match self {
            Rounding::None => return,
            Rounding::Tf32 => tf32,
            Rounding::F16 => |value| f16::from_f32(value).to_f32(),
            Rounding::Bf16 => |value| bf16::from_f32(value).to_f32(),
        };
        values.iter_mut().for_each(|value| *value = R::from_single(round(value.single())));
    }
}

fn tf32(value: f32) -> f32 {
    if value.is_finite() { f32::from_bits(value.to_bits().wrapping_add(0x1000) & !0x1fff) } else { value }
}
