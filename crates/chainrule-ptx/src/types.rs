//! The types of PTX, and the values that lanes hold in registers.
use half::{bf16, f16};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Type {
    Pred,
    B8,
    B16,
    B32,
    B64,
    B128,
    U8,
    U16,
    U32,
    U64,
    S8,
    S16,
    S32,
    S64,
    F16,
    F16x2,
    Bf16,
    Bf16x2,
    Tf32,
    F32,
    F64,
}

impl Type {
    pub fn parse(name: &str) -> Option<Type> {
        use Type::*;
        Some(match name {
            "pred" => Pred,
            "b8" => B8,
            "b16" => B16,
            "b32" => B32,
            "b64" => B64,
            "b128" => B128,
            "u8" => U8,
            "u16" => U16,
            "u32" => U32,
            "u64" => U64,
            "s8" => S8,
            "s16" => S16,
            "s32" => S32,
            "s64" => S64,
            "f16" => F16,
            "f16x2" => F16x2,
            "bf16" => Bf16,
            "bf16x2" => Bf16x2,
            "tf32" => Tf32,
            "f32" => F32,
            "f64" => F64,
            _ => return None,
        })
    }

    pub fn bytes(self) -> usize {
        use Type::*;
        match self {
            Pred | B8 | U8 | S8 => 1,
            B16 | U16 | S16 | F16 | Bf16 => 2,
            B32 | U32 | S32 | F16x2 | Bf16x2 | Tf32 | F32 => 4,
            B64 | U64 | S64 | F64 => 8,
            B128 => 16,
        }
    }

    pub fn bits(self) -> u32 {
        self.bytes() as u32 * 8
    }

    pub fn signed(self) -> bool {
        matches!(self, Type::S8 | Type::S16 | Type::S32 | Type::S64)
    }

    pub fn float(self) -> bool {
        use Type::*;
        matches!(self, F16 | F16x2 | Bf16 | Bf16x2 | Tf32 | F32 | F64)
    }

    pub fn bank(self) -> Bank {
        match self {
            Type::Pred => Bank::Predicate,
            other if other.bytes() == 8 => Bank::Double,
            _ => Bank::Word,
        }
    }
}

/// Where a register lives: predicates are one bit a lane, everything up to 32 bits is a word, the rest a double word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Bank {
    Predicate,
    Word,
    Double,
}

pub(crate) const LANES: usize = 32;
pub(crate) const ALL: u32 = u32::MAX;

/// The 32 values of a 32-bit register.
pub(crate) type Words = [u32; LANES];
/// The 32 values of a 64-bit register.
pub(crate) type Doubles = [u64; LANES];

/// A value as it stands in a register of its bank.
pub(crate) trait Value: Copy {
    type Bits: Copy + Default;
    fn from_bits(bits: Self::Bits) -> Self;
    fn into_bits(self) -> Self::Bits;
}

macro_rules! values {
    ($($value:ty, $bits:ty, $from:expr, $into:expr;)*) => {$(
        impl Value for $value {
            type Bits = $bits;
            #[inline(always)]
            fn from_bits(bits: $bits) -> $value {
                $from(bits)
            }
            #[inline(always)]
            fn into_bits(self) -> $bits {
                $into(self)
            }
        }
    )*};
}

values! {
    u8, u32, |bits| bits as u8, |value| value as u32;
    i8, u32, |bits| bits as i8, |value| value as u8 as u32;
    u16, u32, |bits| bits as u16, |value| value as u32;
    i16, u32, |bits| bits as i16, |value| value as u16 as u32;
    u32, u32, |bits| bits, |value| value;
    i32, u32, |bits| bits as i32, |value| value as u32;
    f32, u32, f32::from_bits, f32::to_bits;
    f16, u32, |bits| f16::from_bits(bits as u16), |value: f16| value.to_bits() as u32;
    bf16, u32, |bits| bf16::from_bits(bits as u16), |value: bf16| value.to_bits() as u32;
    u64, u64, |bits| bits, |value| value;
    i64, u64, |bits| bits as i64, |value| value as u64;
    f64, u64, f64::from_bits, f64::to_bits;
}

/// The numbers of the set lanes.
pub(crate) fn lanes(mask: u32) -> impl Iterator<Item = usize> {
    let mut rest = mask;
    std::iter::from_fn(move || {
        let lane = rest.trailing_zeros() as usize;
        rest &= rest.wrapping_sub(1);
        (lane < LANES).then_some(lane)
    })
}
