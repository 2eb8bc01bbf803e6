//! Floating-point arithmetic. Approximate functions give the value rounded to nearest.
use half::{bf16, f16};

use super::rounding::{Exact, Target, add_f64, divide_f64, flush, fma_f64, multiply_f64, opposite, round, square_root_f64, sum};
use super::select::mask_of;
use crate::program::{FloatBinary, FloatMode, FloatTest, FloatUnary, Register, Rounding};
use crate::registers::{Registers, Result};
use crate::types::{Type, Value};

/// Flushes and saturates as the mode says.
#[inline(always)]
fn finish(mode: FloatMode, value: f32) -> f32 {
    let value = if mode.flush { flush(value) } else { value };
    if !mode.saturate {
        value
    } else if value.is_nan() {
        0.0
    } else {
        value.clamp(0.0, 1.0) + 0.0
    }
}

#[inline(always)]
fn prepare(mode: FloatMode, value: f32) -> f32 {
    if mode.flush { flush(value) } else { value }
}

/// The lesser of two numbers; a NaN gives way to a number, and -0 is less than +0.
#[inline(always)]
fn minimum(a: f32, b: f32) -> f32 {
    if a < b || b.is_nan() || a == b && a.is_sign_negative() { a } else { b }
}

#[inline(always)]
fn maximum(a: f32, b: f32) -> f32 {
    if a > b || b.is_nan() || a == b && a.is_sign_positive() { a } else { b }
}

/// `.NaN`: one NaN makes the result NaN.
fn or_nan(a: f32, b: f32, otherwise: f32) -> f32 {
    if a.is_nan() || b.is_nan() { f32::NAN } else { otherwise }
}

fn binary_f32(op: FloatBinary, rounding: Rounding, a: f32, b: f32) -> f32 {
    let (wide_a, wide_b) = (a as f64, b as f64);
    match op {
        FloatBinary::Add if rounding == Rounding::Nearest => a + b,
        FloatBinary::Subtract if rounding == Rounding::Nearest => a - b,
        FloatBinary::Multiply if rounding == Rounding::Nearest => a * b,
        FloatBinary::Divide if rounding == Rounding::Nearest => a / b,
        FloatBinary::Add => sum_f32(wide_a, wide_b, rounding),
        FloatBinary::Subtract => sum_f32(wide_a, -wide_b, rounding),
        FloatBinary::Multiply => round(Exact { value: wide_a * wide_b, error: 0.0 }, rounding),
        FloatBinary::Divide => round(quotient(wide_a, wide_b), rounding),
        FloatBinary::Minimum => minimum(a, b),
        FloatBinary::Maximum => maximum(a, b),
        FloatBinary::MinimumNan => or_nan(a, b, minimum(a, b)),
        FloatBinary::MaximumNan => or_nan(a, b, maximum(a, b)),
        FloatBinary::CopySign => b.copysign(a),
    }
}

fn sum_f32(a: f64, b: f64, rounding: Rounding) -> f32 {
    if rounding == Rounding::Down && opposite(a, b) { -0.0 } else { round(sum(a, b), rounding) }
}

fn quotient(a: f64, b: f64) -> Exact {
    let value = a / b;
    let remainder = (-value).mul_add(b, a);
    Exact { value, error: if value.is_finite() { remainder * b.signum() } else { 0.0 } }
}

pub(super) fn binary(registers: &mut Registers, active: u32, op: FloatBinary, ty: Type, mode: FloatMode, at: [Register; 3]) -> Result<()> {
    match ty {
        Type::F32 if mode == FloatMode::PLAIN => match op {
            FloatBinary::Add => registers.map2(active, at, |a: f32, b: f32| a + b),
            FloatBinary::Subtract => registers.map2(active, at, |a: f32, b: f32| a - b),
            FloatBinary::Multiply => registers.map2(active, at, |a: f32, b: f32| a * b),
            FloatBinary::Divide => registers.map2(active, at, |a: f32, b: f32| a / b),
            FloatBinary::Minimum => registers.map2(active, at, minimum),
            FloatBinary::Maximum => registers.map2(active, at, maximum),
            _ => registers.map2(active, at, |a: f32, b: f32| binary_f32(op, Rounding::Nearest, a, b)),
        },
        Type::F32 => registers.map2(active, at, |a: f32, b: f32| finish(mode, binary_f32(op, mode.rounding, prepare(mode, a), prepare(mode, b)))),
        Type::F64 => registers.map2(active, at, |a: f64, b: f64| binary_f64(op, mode.rounding, a, b)),
        Type::F16 => registers.map2(active, at, |a: f16, b: f16| binary_half(op, mode, a, b)),
        Type::Bf16 => registers.map2(active, at, |a: bf16, b: bf16| binary_half(op, mode, a, b)),
        Type::F16x2 => registers.map2(active, at, |a: u32, b: u32| pairwise([a, b, 0], |[a, b, _]: [f16; 3]| binary_half(op, mode, a, b))),
        _ => registers.map2(active, at, |a: u32, b: u32| pairwise([a, b, 0], |[a, b, _]: [bf16; 3]| binary_half(op, mode, a, b))),
    }
}

fn binary_f64(op: FloatBinary, rounding: Rounding, a: f64, b: f64) -> f64 {
    let lesser = |a: f64, b: f64| if a < b || b.is_nan() || a == b && a.is_sign_negative() { a } else { b };
    match op {
        FloatBinary::Add => add_f64(a, b, rounding),
        FloatBinary::Subtract => add_f64(a, -b, rounding),
        FloatBinary::Multiply => multiply_f64(a, b, rounding),
        FloatBinary::Divide => divide_f64(a, b, rounding),
        FloatBinary::MinimumNan | FloatBinary::MaximumNan if a.is_nan() || b.is_nan() => f64::NAN,
        FloatBinary::Minimum | FloatBinary::MinimumNan => lesser(a, b),
        FloatBinary::Maximum | FloatBinary::MaximumNan => -lesser(-a, -b),
        FloatBinary::CopySign => b.copysign(a),
    }
}

/// The two half-precision types.
pub(super) trait Half: Value<Bits = u32> + Target {
    fn to_single(self) -> f32;
}

impl Half for f16 {
    fn to_single(self) -> f32 {
        self.to_f32()
    }
}

impl Half for bf16 {
    fn to_single(self) -> f32 {
        self.to_f32()
    }
}

fn finish_half<T: Half>(mode: FloatMode, value: T) -> T {
    let single = value.to_single();
    if mode.relu && (single < 0.0 || single.to_bits() == (-0f32).to_bits()) {
        return T::nearest(0.0);
    }
    if !mode.saturate {
        value
    } else if single.is_nan() {
        T::nearest(0.0)
    } else {
        T::nearest(single.clamp(0.0, 1.0) as f64)
    }
}

fn binary_half<T: Half>(op: FloatBinary, mode: FloatMode, a: T, b: T) -> T {
    let (a, b) = (a.to_single(), b.to_single());
    let exact = match op {
        FloatBinary::Add => sum(a as f64, b as f64),
        FloatBinary::Subtract => sum(a as f64, -b as f64),
        FloatBinary::Multiply => Exact { value: a as f64 * b as f64, error: 0.0 },
        other => Exact { value: binary_f32(other, Rounding::Nearest, a, b) as f64, error: 0.0 },
    };
    finish_half(mode, round(exact, Rounding::Nearest))
}

/// The function on the lower and on the upper halves.
#[inline(always)]
fn pairwise<T: Half>(operands: [u32; 3], f: impl Fn([T; 3]) -> T) -> u32 {
    let low = f(operands.map(T::from_bits));
    let high = f(operands.map(|operand| T::from_bits(operand >> 16)));
    low.into_bits() | high.into_bits() << 16
}

/// f32 a b + c: the product is exact in f64, the sum with its error exact too.
fn fma_f32(a: f32, b: f32, c: f32, rounding: Rounding) -> f32 {
    if rounding == Rounding::Nearest {
        return a.mul_add(b, c);
    }
    sum_f32(a as f64 * b as f64, c as f64, rounding)
}

fn fma_half<T: Half>(mode: FloatMode, [a, b, c]: [T; 3]) -> T {
    let product = a.to_single() as f64 * b.to_single() as f64;
    finish_half(mode, round(sum(product, c.to_single() as f64), Rounding::Nearest))
}

pub(super) fn fma(registers: &mut Registers, active: u32, ty: Type, mode: FloatMode, at: [Register; 4]) -> Result<()> {
    match ty {
        Type::F32 if mode == FloatMode::PLAIN => registers.map3(active, at, |a: f32, b: f32, c: f32| a.mul_add(b, c)),
        Type::F32 => {
            registers.map3(active, at, |a: f32, b: f32, c: f32| finish(mode, fma_f32(prepare(mode, a), prepare(mode, b), prepare(mode, c), mode.rounding)))
        }
        Type::F64 => registers.map3(active, at, |a: f64, b: f64, c: f64| fma_f64(a, b, c, mode.rounding)),
        Type::F16 => registers.map3(active, at, |a: f16, b: f16, c: f16| fma_half(mode, [a, b, c])),
        Type::Bf16 => registers.map3(active, at, |a: bf16, b: bf16, c: bf16| fma_half(mode, [a, b, c])),
        Type::F16x2 => registers.map3(active, at, |a: u32, b: u32, c: u32| pairwise([a, b, c], |abc: [f16; 3]| fma_half(mode, abc))),
        _ => registers.map3(active, at, |a: u32, b: u32, c: u32| pairwise([a, b, c], |abc: [bf16; 3]| fma_half(mode, abc))),
    }
}

fn unary_f32(op: FloatUnary, rounding: Rounding, a: f32) -> f32 {
    match op {
        FloatUnary::Negate => -a,
        FloatUnary::Absolute => a.abs(),
        FloatUnary::Reciprocal => binary_f32(FloatBinary::Divide, rounding, 1.0, a),
        FloatUnary::SquareRoot if rounding == Rounding::Nearest => a.sqrt(),
        FloatUnary::SquareRoot => {
            let root = (a as f64).sqrt();
            round(Exact { value: root, error: if root.is_finite() { (-root).mul_add(root, a as f64) } else { 0.0 } }, rounding)
        }
        FloatUnary::ReciprocalRoot => (1.0 / (a as f64).sqrt()) as f32,
        FloatUnary::Exp2 => a.exp2(),
        FloatUnary::Log2 => a.log2(),
        FloatUnary::Sine => a.sin(),
        FloatUnary::Cosine => a.cos(),
        FloatUnary::Tanh => (a as f64).tanh() as f32,
    }
}

fn unary_f64(op: FloatUnary, rounding: Rounding, a: f64) -> f64 {
    match op {
        FloatUnary::Negate => -a,
        FloatUnary::Absolute => a.abs(),
        FloatUnary::Reciprocal => divide_f64(1.0, a, rounding),
        FloatUnary::SquareRoot => square_root_f64(a, rounding),
        FloatUnary::ReciprocalRoot => 1.0 / a.sqrt(),
        FloatUnary::Exp2 => a.exp2(),
        FloatUnary::Log2 => a.log2(),
        FloatUnary::Sine => a.sin(),
        FloatUnary::Cosine => a.cos(),
        FloatUnary::Tanh => a.tanh(),
    }
}

fn unary_half<T: Half>(op: FloatUnary, mode: FloatMode, a: T) -> T {
    finish_half(mode, T::nearest(unary_f64(op, Rounding::Nearest, a.to_single() as f64)))
}

pub(super) fn unary(registers: &mut Registers, active: u32, op: FloatUnary, ty: Type, mode: FloatMode, at: [Register; 2]) -> Result<()> {
    match ty {
        Type::F32 if op == FloatUnary::Negate && !mode.flush => registers.map1(active, at, |a: f32| -a),
        Type::F32 => registers.map1(active, at, |a: f32| finish(mode, unary_f32(op, mode.rounding, prepare(mode, a)))),
        Type::F64 => registers.map1(active, at, |a: f64| unary_f64(op, mode.rounding, a)),
        Type::F16 => registers.map1(active, at, |a: f16| unary_half(op, mode, a)),
        Type::Bf16 => registers.map1(active, at, |a: bf16| unary_half(op, mode, a)),
        Type::F16x2 => registers.map1(active, at, |a: u32| pairwise([a, 0, 0], |[a, _, _]: [f16; 3]| unary_half(op, mode, a))),
        _ => registers.map1(active, at, |a: u32| pairwise([a, 0, 0], |[a, _, _]: [bf16; 3]| unary_half(op, mode, a))),
    }
}

pub(super) fn test(registers: &mut Registers, active: u32, test: FloatTest, ty: Type, to: Register, a: Register) -> Result<()> {
    use std::num::FpCategory::*;
    let category = |class| match test {
        FloatTest::Finite => !matches!(class, Nan | Infinite),
        FloatTest::Infinite => class == Infinite,
        FloatTest::Number => class != Nan,
        FloatTest::NotANumber => class == Nan,
        // The manual counts zero as normal.
        FloatTest::Normal => matches!(class, Normal | Zero),
        FloatTest::Subnormal => class == Subnormal,
    };
    let bits = if ty == Type::F64 {
        let a = registers.read::<u64>(a, active)?;
        mask_of(|lane| category(f64::from_bits(a[lane]).classify()))
    } else {
        let a = registers.read::<u32>(a, active)?;
        mask_of(|lane| category(f32::from_bits(a[lane]).classify()))
    };
    registers.set_predicate(to, active, bits);
    Ok(())
}
