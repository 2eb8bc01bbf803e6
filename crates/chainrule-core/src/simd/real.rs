//! One number of an elementwise kernel: `Fused` and `Plain` f32, and f64.
//!
//! Elementwise formulas are written once over [`Real`], from which the kernels of the GPU are written too (`ops/elementwise/symbol.rs`). f32 functions are branch-free polynomials that the compiler vectorises; f64, which serves proofs rather than speed, uses the standard library.

use super::math;
use std::ops::{Add, BitAnd, BitOr, Div, Mul, Neg, Sub};

/// A number in an elementwise formula: f32, fused or not as the CPU level has it, or f64; or a symbol, of which the formula makes its own text.
/// Choices between finished values instead of branches keep loops vectorisable.
pub trait Real: Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self> + Neg<Output = Self> {
    /// The number as arrays hold it.
    type Element: Copy;
    /// What a comparison gives: `bool`, but for symbols.
    type Condition: Copy + BitAnd<Output = Self::Condition> + BitOr<Output = Self::Condition>;
    /// A number of an array.
    fn wrap(x: Self::Element) -> Self;
    /// The number for an array.
    fn number(self) -> Self::Element;
    /// A constant of a formula.
    fn of(x: f64) -> Self;
    /// A parameter of a formula, and its value.
    #[inline(always)]
    fn parameter(name: &'static str, value: f64) -> Self {
        let _ = name;
        Self::of(value)
    }
    /// self > other
    fn above(self, other: Self) -> Self::Condition;
    /// self < other
    fn below(self, other: Self) -> Self::Condition;
    /// self ≥ other
    fn at_least(self, other: Self) -> Self::Condition;
    /// self ≤ other
    fn at_most(self, other: Self) -> Self::Condition;
    /// self = other
    fn equals(self, other: Self) -> Self::Condition;
    /// Whether it is not a number.
    fn is_nan(self) -> Self::Condition;
    /// `if` as a value, which loops turn into a blend.
    fn choose(condition: Self::Condition, yes: Self, no: Self) -> Self;
    /// `self * b + c`, fused where the level can.
    fn mul_add(self, b: Self, c: Self) -> Self;
    /// |x|
    fn abs(self) -> Self;
    /// √x
    fn sqrt(self) -> Self;
    /// e^x
    fn exp(self) -> Self;
    /// 2^x where x is not positive, as of numbers minus their maximum; 0 below 2^-126 in f32
    fn exp2_falling(self) -> Self;
    /// e^x - 1, exact near 0
    fn exp_m1(self) -> Self;
    /// The natural logarithm.
    fn ln(self) -> Self;
    /// ln(1 + x), exact near 0
    fn ln_1p(self) -> Self;
    /// The hyperbolic tangent.
    fn tanh(self) -> Self;
    /// The error function.
    fn erf(self) -> Self;
    /// ln(1 + exp(x)) without overflow.
    fn softplus(self) -> Self;
    /// The normal distribution function and its density.
    fn gaussian(self) -> (Self, Self);
    /// The sine.
    fn sin(self) -> Self;
    /// The cosine.
    fn cos(self) -> Self;
    /// x^exponent
    fn powf(self, exponent: Self) -> Self;
    /// A function that has no vector form, one number at a time; on the GPU it is `name` with an f behind.
    fn each(self, name: &'static str, single: fn(f32) -> f32, double: fn(f64) -> f64) -> Self;
    /// The largest integer that is not larger.
    fn floor(self) -> Self;
    /// To the nearest integer, ties to even, as PyTorch's `round`.
    fn round(self) -> Self;

    /// 0
    #[inline(always)]
    fn zero() -> Self {
        Self::of(0.0)
    }
    /// 1
    #[inline(always)]
    fn one() -> Self {
        Self::of(1.0)
    }
    /// The larger; NaN if either is NaN.
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        Self::choose(self.above(other) | self.is_nan(), self, other)
    }
    /// The smaller; NaN if either is NaN.
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        Self::choose(self.below(other) | self.is_nan(), self, other)
    }
    /// 1 / (1 + exp(-x))
    #[inline(always)]
    fn sigmoid(self) -> Self {
        Self::one() / (Self::one() + (-self).exp())
    }
}

macro_rules! operators {
    ($name:ident) => {
        operators!($name, Add add, Sub sub, Mul mul, Div div);
        impl Neg for $name {
            type Output = Self;
            #[inline(always)]
            fn neg(self) -> Self {
                $name(-self.0)
            }
        }
    };
    ($name:ident, $($operator:ident $method:ident),*) => {
        $(impl $operator for $name {
            type Output = Self;
            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                $name(self.0.$method(other.0))
            }
        })*
    };
}

/// Comparisons of numbers.
macro_rules! comparisons {
    () => {
        comparisons!(above >, below <, at_least >=, at_most <=, equals ==);
    };
    ($($method:ident $operator:tt),*) => {
        type Condition = bool;
        $(#[inline(always)]
        fn $method(self, other: Self) -> bool {
            self $operator other
        })*
        #[inline(always)]
        #[allow(clippy::eq_op)] // the one comparison that vectorises to "unordered"
        fn is_nan(self) -> bool {
            self != self
        }
        #[inline(always)]
        fn choose(condition: bool, yes: Self, no: Self) -> Self {
            if condition { yes } else { no }
        }
    };
}

macro_rules! single {
    ($name:ident, $doc:literal, $mul_add:expr) => {
        #[doc = $doc]
        #[derive(Clone, Copy, PartialEq, PartialOrd)]
        #[repr(transparent)]
        pub(crate) struct $name(f32);
        operators!($name);

        impl Real for $name {
            type Element = f32;
            comparisons!();
            #[inline(always)]
            fn wrap(x: f32) -> Self {
                $name(x)
            }
            #[inline(always)]
            fn number(self) -> f32 {
                self.0
            }
            #[inline(always)]
            fn of(x: f64) -> Self {
                $name(x as f32)
            }
            #[inline(always)]
            fn mul_add(self, b: Self, c: Self) -> Self {
                $name($mul_add(self.0, b.0, c.0))
            }
            #[inline(always)]
            fn abs(self) -> Self {
                $name(self.0.abs())
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                $name(self.0.sqrt())
            }
            #[inline(always)]
            fn exp(self) -> Self {
                math::exp(self)
            }
            #[inline(always)]
            fn exp2_falling(self) -> Self {
                math::exp2_falling(self)
            }
            #[inline(always)]
            fn exp_m1(self) -> Self {
                math::exp_m1(self)
            }
            #[inline(always)]
            fn ln(self) -> Self {
                math::ln(self)
            }
            #[inline(always)]
            fn ln_1p(self) -> Self {
                math::ln_1p(self)
            }
            #[inline(always)]
            fn tanh(self) -> Self {
                math::tanh(self)
            }
            #[inline(always)]
            fn erf(self) -> Self {
                math::erf(self)
            }
            #[inline(always)]
            fn softplus(self) -> Self {
                math::softplus(self)
            }
            #[inline(always)]
            fn gaussian(self) -> (Self, Self) {
                math::gaussian(self)
            }
            // Rare in training and exact reduction of large angles is long: the standard library's, one number at a time.
            #[inline(always)]
            fn sin(self) -> Self {
                $name(self.0.sin())
            }
            #[inline(always)]
            fn cos(self) -> Self {
                $name(self.0.cos())
            }
            #[inline(always)]
            fn powf(self, exponent: Self) -> Self {
                $name(self.0.powf(exponent.0))
            }
            #[inline(always)]
            fn each(self, _: &'static str, single: fn(f32) -> f32, _: fn(f64) -> f64) -> Self {
                $name(single(self.0))
            }
            #[inline(always)]
            fn floor(self) -> Self {
                $name(self.0.floor())
            }
            #[inline(always)]
            fn round(self) -> Self {
                $name(self.0.round_ties_even())
            }
        }
    };
}

single!(Fused, "An f32 on a level with fused multiply-add.", |a: f32, b: f32, c: f32| a.mul_add(b, c));
#[cfg_attr(target_arch = "aarch64", allow(dead_code))]
mod plain {
    use super::*;
    single!(Plain, "An f32 on a level without: product and sum are rounded apart.", |a: f32, b: f32, c: f32| a * b + c);
}
#[cfg_attr(target_arch = "aarch64", allow(unused_imports))]
pub(crate) use plain::Plain;

impl Real for f64 {
    type Element = f64;
    comparisons!();
    #[inline(always)]
    fn wrap(x: f64) -> Self {
        x
    }
    #[inline(always)]
    fn number(self) -> f64 {
        self
    }
    #[inline(always)]
    fn of(x: f64) -> Self {
        x
    }
    #[inline(always)]
    fn mul_add(self, b: Self, c: Self) -> Self {
        self * b + c
    }
    #[inline(always)]
    fn abs(self) -> Self {
        f64::abs(self)
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        f64::sqrt(self)
    }
    fn exp(self) -> Self {
        f64::exp(self)
    }
    fn exp2_falling(self) -> Self {
        f64::exp2(self)
    }
    fn exp_m1(self) -> Self {
        f64::exp_m1(self)
    }
    fn ln(self) -> Self {
        f64::ln(self)
    }
    fn ln_1p(self) -> Self {
        f64::ln_1p(self)
    }
    fn tanh(self) -> Self {
        f64::tanh(self)
    }
    fn erf(self) -> Self {
        math::erf_f64(self)
    }
    fn softplus(self) -> Self {
        Real::max(self, 0.0) + (-self.abs()).exp().ln_1p()
    }
    fn gaussian(self) -> (Self, Self) {
        let distribution = 0.5 * (math::erf_f64(self * std::f64::consts::FRAC_1_SQRT_2) + 1.0);
        (distribution, (-0.5 * self * self).exp() * 0.398_942_280_401_432_7)
    }
    fn sin(self) -> Self {
        f64::sin(self)
    }
    fn cos(self) -> Self {
        f64::cos(self)
    }
    fn powf(self, exponent: Self) -> Self {
        f64::powf(self, exponent)
    }
    fn each(self, _: &'static str, _: fn(f32) -> f32, double: fn(f64) -> f64) -> Self {
        double(self)
    }
    fn floor(self) -> Self {
        f64::floor(self)
    }
    fn round(self) -> Self {
        f64::round_ties_even(self)
    }
}
