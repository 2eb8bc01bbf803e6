//! Results rounded exactly in every direction.
//!
//! Sums and products of f32 are held exactly as an f64 and a smaller error (two-sum: Knuth; error of fma: Boldo and Muller 2005); the sign
//! of the error then decides the rounding.
use half::{bf16, f16};

use crate::program::Rounding;

/// A subnormal number becomes a zero of its sign.
#[inline(always)]
pub(super) fn flush(value: f32) -> f32 {
    if value.is_subnormal() { 0f32.copysign(value) } else { value }
}

/// A number as the sum of two, the second too small to matter but for its sign.
#[derive(Clone, Copy)]
pub(super) struct Exact {
    pub value: f64,
    pub error: f64,
}

/// a + b without loss.
pub(super) fn sum(a: f64, b: f64) -> Exact {
    let value = a + b;
    let b_part = value - a;
    let error = (a - (value - b_part)) + (b - b_part);
    Exact { value, error: if error.is_nan() { 0.0 } else { error } }
}

/// A floating-point type that is rounded to.
pub(super) trait Target: Copy {
    const GREATEST: Self;
    /// Whether it has fewer bits than f64.
    const NARROW: bool;
    fn nearest(value: f64) -> Self;
    fn widened(self) -> f64;
    fn next_up(self) -> Self;
    fn next_down(self) -> Self;
    fn negated(self) -> Self;
}

macro_rules! half_target {
    ($ty:ty) => {
        impl Target for $ty {
            const GREATEST: $ty = <$ty>::MAX;
            const NARROW: bool = true;
            fn nearest(value: f64) -> $ty {
                // Rounding to odd first makes the second rounding harmless.
                <$ty>::from_f32(to_odd(value))
            }
            fn widened(self) -> f64 {
                self.to_f32() as f64
            }
            fn next_up(self) -> $ty {
                match self.to_bits() {
                    0x8000 => <$ty>::from_bits(1),
                    bits if bits & 0x8000 == 0 => <$ty>::from_bits(bits + 1),
                    bits => <$ty>::from_bits(bits - 1),
                }
            }
            fn next_down(self) -> $ty {
                -Target::next_up(-self)
            }
            fn negated(self) -> $ty {
                -self
            }
        }
    };
}

half_target!(f16);
half_target!(bf16);

macro_rules! native_target {
    ($ty:ty) => {
        impl Target for $ty {
            const GREATEST: $ty = <$ty>::MAX;
            const NARROW: bool = size_of::<$ty>() < 8;
            fn nearest(value: f64) -> $ty {
                value as $ty
            }
            fn widened(self) -> f64 {
                self as f64
            }
            fn next_up(self) -> $ty {
                <$ty>::next_up(self)
            }
            fn next_down(self) -> $ty {
                <$ty>::next_down(self)
            }
            fn negated(self) -> $ty {
                -self
            }
        }
    };
}

native_target!(f32);
native_target!(f64);

/// f64 to f32 so that a later rounding to fewer bits is that of the f64: inexact results are odd.
fn to_odd(value: f64) -> f32 {
    let nearest = value as f32;
    if nearest.is_nan() || nearest as f64 == value {
        return nearest;
    }
    let truncated = steered(nearest, sign_of(value - nearest as f64), Rounding::Zero);
    f32::from_bits(truncated.to_bits() | 1)
}

fn sign_of(value: f64) -> i8 {
    if value > 0.0 {
        1
    } else if value < 0.0 {
        -1
    } else {
        0
    }
}

/// A nearest result and the sign of what it lacks, rounded in another direction.
pub(super) fn steered<T: Target>(nearest: T, lacks: i8, rounding: Rounding) -> T {
    let value = nearest.widened();
    if value.is_infinite() && lacks != 0 {
        // The exact value is finite: it overflowed.
        let positive = value > 0.0;
        return match rounding {
            Rounding::Zero => {
                if positive {
                    T::GREATEST
                } else {
                    T::GREATEST.negated()
                }
            }
            Rounding::Down if positive => T::GREATEST,
            Rounding::Up if !positive => T::GREATEST.negated(),
            _ => nearest,
        };
    }
    let down = match rounding {
        Rounding::Nearest => return nearest,
        Rounding::Down => true,
        Rounding::Up => false,
        Rounding::Zero if value == 0.0 => return nearest,
        Rounding::Zero => value > 0.0,
    };
    match (down, lacks) {
        (true, -1) => nearest.next_down(),
        (false, 1) => nearest.next_up(),
        _ => nearest,
    }
}

/// Rounds an exact value.
pub(super) fn round<T: Target>(exact: Exact, rounding: Rounding) -> T {
    let nearest = T::nearest(exact.value);
    let near = nearest.widened();
    if !near.is_finite() && !exact.value.is_finite() || near.is_nan() {
        return nearest;
    }
    // Where the value lies exactly between two numbers, the error breaks the tie.
    let difference = if near.is_infinite() { -sign_of(near) } else { sign_of(exact.value - near) };
    if rounding == Rounding::Nearest {
        return if T::NARROW { T::nearest(odd_f64(exact)) } else { nearest };
    }
    let lacks = if difference != 0 { difference } else { sign_of(exact.error) };
    steered(nearest, lacks, rounding)
}

/// The value rounded to odd in 53 bits.
fn odd_f64(exact: Exact) -> f64 {
    if exact.error == 0.0 || exact.value.to_bits() & 1 == 1 {
        return exact.value;
    }
    if exact.error > 0.0 { exact.value.next_up() } else { exact.value.next_down() }
}

/// Numbers whose sum is exactly zero, which is -0 when rounding down.
pub(super) fn opposite(a: f64, b: f64) -> bool {
    a == -b && a.is_sign_negative() != b.is_sign_negative()
}

/// An f64 operation and the sign of its error.
pub(super) fn add_f64(a: f64, b: f64, rounding: Rounding) -> f64 {
    if rounding == Rounding::Down && opposite(a, b) {
        return -0.0;
    }
    let exact = sum(a, b);
    finish(exact.value, exact.error, a.is_finite() && b.is_finite(), rounding)
}

pub(super) fn multiply_f64(a: f64, b: f64, rounding: Rounding) -> f64 {
    let product = a * b;
    finish(product, a.mul_add(b, -product), a.is_finite() && b.is_finite(), rounding)
}

pub(super) fn divide_f64(a: f64, b: f64, rounding: Rounding) -> f64 {
    let quotient = a / b;
    let remainder = (-quotient).mul_add(b, a);
    finish(quotient, remainder * b.signum(), a.is_finite() && b.is_finite() && b != 0.0, rounding)
}

pub(super) fn square_root_f64(a: f64, rounding: Rounding) -> f64 {
    let root = a.sqrt();
    finish(root, (-root).mul_add(root, a), a.is_finite() && a >= 0.0, rounding)
}

pub(super) fn fma_f64(a: f64, b: f64, c: f64, rounding: Rounding) -> f64 {
    let result = a.mul_add(b, c);
    let product = a * b;
    let low = a.mul_add(b, -product);
    if rounding == Rounding::Down && low == 0.0 && opposite(product, c) {
        return -0.0;
    }
    let first = sum(c, low);
    let second = sum(product, first.value);
    let error = ((second.value - result) + second.error) + first.error;
    finish(result, error, a.is_finite() && b.is_finite() && c.is_finite(), rounding)
}

fn finish(nearest: f64, error: f64, finite: bool, rounding: Rounding) -> f64 {
    if rounding == Rounding::Nearest || !finite || nearest.is_nan() {
        return nearest;
    }
    let lacks = if nearest.is_infinite() { -sign_of(nearest) } else { sign_of(error) };
    steered(nearest, lacks, rounding)
}
