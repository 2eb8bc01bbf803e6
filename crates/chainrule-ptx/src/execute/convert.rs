//! Conversions between all types.
use half::{bf16, f16};

use super::rounding::{Exact, Target, flush, round};
use crate::program::{Conversion, ConvertRounding, Register, Rounding};
use crate::registers::{Registers, Result};
use crate::types::{Bank, LANES, Type, Value};

/// A value on its way: integers exactly, floating-point numbers as f64 (every narrower number is one).
#[derive(Clone, Copy)]
enum Number {
    Integer(i128),
    Float(f64),
}

fn decode(ty: Type, bits: u64) -> Number {
    match ty {
        Type::U8 => Number::Integer(bits as u8 as i128),
        Type::U16 => Number::Integer(bits as u16 as i128),
        Type::U32 => Number::Integer(bits as u32 as i128),
        Type::S8 => Number::Integer(bits as i8 as i128),
        Type::S16 => Number::Integer(bits as i16 as i128),
        Type::S32 => Number::Integer(bits as i32 as i128),
        Type::S64 => Number::Integer(bits as i64 as i128),
        Type::F16 => Number::Float(f16::from_bits(bits as u16).to_f64()),
        Type::Bf16 => Number::Float(bf16::from_bits(bits as u16).to_f64()),
        Type::F32 => Number::Float(f32::from_bits(bits as u32) as f64),
        Type::F64 => Number::Float(f64::from_bits(bits)),
        _ => Number::Integer(bits as i128),
    }
}

/// Least and greatest value of an integer type.
fn limits(ty: Type) -> (i128, i128) {
    let bits = ty.bits();
    if ty.signed() { (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) } else { (0, (1 << bits) - 1) }
}

/// Floating-point numbers become integers by rounding and clamping, NaN zero.
fn to_integer(number: Number, conversion: &Conversion) -> u64 {
    let (low, high) = limits(conversion.to_type);
    match number {
        Number::Integer(value) if conversion.saturate => value.clamp(low, high) as u64,
        Number::Integer(value) => value as u64,
        Number::Float(value) => {
            let rounded = integral(value, conversion.rounding);
            if rounded.is_nan() { 0 } else { (rounded as i128).clamp(low, high) as u64 }
        }
    }
}

fn integral(value: f64, rounding: ConvertRounding) -> f64 {
    match rounding {
        ConvertRounding::Integer(Rounding::Nearest) => value.round_ties_even(),
        ConvertRounding::Integer(Rounding::Zero) => value.trunc(),
        ConvertRounding::Integer(Rounding::Down) => value.floor(),
        ConvertRounding::Integer(Rounding::Up) => value.ceil(),
        _ => value,
    }
}

/// An integer as an f64 and what that lacks.
fn exact(value: i128) -> Exact {
    let high = value as f64;
    Exact { value: high, error: (value - high as i128) as f64 }
}

fn to_float<T: Target>(number: Number, rounding: ConvertRounding) -> T {
    let direction = if let ConvertRounding::Float(direction) = rounding { direction } else { Rounding::Nearest };
    match number {
        Number::Integer(value) => round(exact(value), direction),
        Number::Float(value) => round(Exact { value: integral(value, rounding), error: 0.0 }, direction),
    }
}

/// tf32 is an f32 whose last 13 bits are zero.
fn to_tf32(value: f32, conversion: &Conversion) -> f32 {
    if !value.is_finite() {
        return value;
    }
    let bits = value.to_bits();
    let rounded = match conversion.rounding {
        ConvertRounding::NearestAway => bits + 0x1000,
        ConvertRounding::Float(Rounding::Nearest) => bits + 0xfff + (bits >> 13 & 1),
        _ => bits,
    };
    f32::from_bits(rounded & !0x1fff)
}

fn encode(number: Number, conversion: &Conversion) -> u64 {
    let positive = |value: f64| if conversion.relu && value <= 0.0 { 0.0 } else { value };
    let number = match number {
        Number::Float(value) => Number::Float(positive(value)),
        other => other,
    };
    let saturate = |value: f32| {
        if !conversion.saturate {
            value
        } else if value.is_nan() {
            0.0
        } else {
            value.clamp(0.0, 1.0) + 0.0
        }
    };
    match conversion.to_type {
        Type::F32 => {
            let value = saturate(to_float(number, conversion.rounding));
            (if conversion.flush { flush(value) } else { value }).to_bits() as u64
        }
        Type::Tf32 => to_tf32(to_float(number, ConvertRounding::Exact), conversion).to_bits() as u64,
        Type::F64 => {
            let value: f64 = to_float(number, conversion.rounding);
            (if conversion.saturate && value.is_nan() {
                0.0
            } else if conversion.saturate {
                value.clamp(0.0, 1.0)
            } else {
                value
            })
            .to_bits()
        }
        Type::F16 => {
            let value: f16 = to_float(number, conversion.rounding);
            (if conversion.saturate { f16::from_f32(saturate(value.to_f32())) } else { value }).to_bits() as u64
        }
        Type::Bf16 => {
            let value: bf16 = to_float(number, conversion.rounding);
            (if conversion.saturate { bf16::from_f32(saturate(value.to_f32())) } else { value }).to_bits() as u64
        }
        _ => to_integer(number, conversion),
    }
}

/// The bits of an integer result as a register holds them: extended with its sign, cut to the register. (Wider registers of a narrow
/// result hold it extended.)
fn settle(ty: Type, bits: u64) -> u64 {
    match ty {
        Type::U8 => bits as u8 as u64,
        Type::U16 => bits as u16 as u64,
        Type::S8 => bits as i8 as u64,
        Type::S16 => bits as i16 as u64,
        Type::U32 => bits as u32 as u64,
        Type::S32 => bits as i32 as u64,
        _ => bits,
    }
}

pub(super) fn convert(registers: &mut Registers, active: u32, conversion: &Conversion) -> Result<()> {
    if quick(registers, active, conversion)? {
        return Ok(());
    }
    let from = registers.read_wide(conversion.from, active)?;
    let mut out = [0; LANES];
    for lane in 0..LANES {
        let mut number = decode(conversion.from_type, from[lane]);
        if let (true, Type::F32, Number::Float(value)) = (conversion.flush, conversion.from_type, number) {
            number = Number::Float(flush(value as f32) as f64);
        }
        out[lane] = settle(conversion.to_type, encode(number, conversion));
    }
    registers.write_wide(conversion.to, active, &out);
    Ok(())
}

/// The conversions that index arithmetic is full of, without the way over exact numbers.
fn quick(registers: &mut Registers, active: u32, conversion: &Conversion) -> Result<bool> {
    if conversion.saturate || conversion.flush {
        return Ok(false);
    }
    let at = [conversion.to.index, conversion.from.index];
    use Bank::{Double, Word};
    use ConvertRounding::{Exact, Float, Integer};
    match (conversion.to_type, conversion.from_type, conversion.to.bank, conversion.from.bank, conversion.rounding) {
        (Type::S64 | Type::U64, Type::S32, Double, Word, Exact) => registers.map1(active, at, |a: i32| a as i64)?,
        (Type::S64 | Type::U64, Type::U32, Double, Word, Exact) => registers.map1(active, at, |a: u32| a as u64)?,
        (Type::S32 | Type::U32, Type::S64 | Type::U64, Word, Double, Exact) => registers.map1(active, at, |a: u64| a as u32)?,
        (Type::F32, Type::S32, Word, Word, Float(Rounding::Nearest)) => registers.map1(active, at, |a: i32| a as f32)?,
        (Type::F32, Type::U32, Word, Word, Float(Rounding::Nearest)) => registers.map1(active, at, |a: u32| a as f32)?,
        (Type::S32, Type::F32, Word, Word, Integer(Rounding::Zero)) => registers.map1(active, at, |a: f32| a as i32)?,
        (Type::F64, Type::F32, Double, Word, Exact) => registers.map1(active, at, |a: f32| a as f64)?,
        (Type::F32, Type::F64, Word, Double, Float(Rounding::Nearest)) => registers.map1(active, at, |a: f64| a as f32)?,
        _ => return Ok(false),
    }
    Ok(true)
}

/// Two f32 to the halves of a word.
pub(super) fn pair(registers: &mut Registers, active: u32, ty: Type, rounding: Rounding, relu: bool, at: [Register; 3]) -> Result<()> {
    let narrow = |value: f32| {
        let value = if relu && value <= 0.0 { 0.0 } else { value as f64 };
        let exact = Exact { value, error: 0.0 };
        if ty == Type::F16x2 { round::<f16>(exact, rounding).into_bits() } else { round::<bf16>(exact, rounding).into_bits() }
    };
    registers.map2(active, at, |high: f32, low: f32| narrow(high) << 16 | narrow(low))
}
