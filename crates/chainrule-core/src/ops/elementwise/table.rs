//! The table of functions of one number: formula, slope, and the slope's own slope.
//!
//! A row reads `Name(parameters) "name" keeps: |x| f(x), |v| f', |v| df'/dv`. `keeps` says which number the backward pass looks at, `input` (v = x) or `output` (v = f(x)): the cheaper one to have.
//! From a row come the forward kernel, the backward kernel `g f'`, and, for second order, the kernel `h g df'/dv`; those of the CPU by generics, those of the GPU as text (`source.rs`).

use super::Formula;
use crate::simd::{Real, special};
use std::f64::consts::{FRAC_2_SQRT_PI, LN_2, LN_10, PI};

/// Which number the slope of a function is computed from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kept {
    /// The function's argument.
    Input,
    /// The function's value.
    Output,
}

macro_rules! kept {
    (input) => {
        Kept::Input
    };
    (output) => {
        Kept::Output
    };
}

macro_rules! functions {
    ($($(#[$doc:meta])* $name:ident($($parameter:ident),*) $text:literal $kept:ident: |$x:ident| $value:expr, |$v:ident| $slope:expr, |$w:ident| $bend:expr;)*) => {
        /// A function of one number; parameters are held as doubles.
        #[derive(Clone, Copy, PartialEq, Debug)]
        #[non_exhaustive]
        pub enum Unary {
            $($(#[$doc])* $name { $(#[allow(missing_docs)] $parameter: f64),* },)*
        }

        impl Unary {
            /// The name in messages.
            pub fn name(self) -> &'static str {
                match self {
                    $(Unary::$name { .. } => $text,)*
                }
            }
            /// What the backward pass needs.
            pub fn keeps(self) -> Kept {
                match self {
                    $(Unary::$name { .. } => kept!($kept),)*
                }
            }
            /// The names of the row's kernels on the GPU: value, slope, bend.
            #[cfg(feature = "cuda")]
            pub(super) fn kernels(self) -> [&'static str; 3] {
                match self {
                    $(Unary::$name { .. } => [concat!($text, "_value"), concat!($text, "_slope"), concat!($text, "_bend")],)*
                }
            }
            /// The row's parameters as those kernels take them.
            #[cfg(feature = "cuda")]
            pub(super) fn parameters(self) -> [Option<f32>; 3] {
                let given: &[f64] = match self {
                    $(Unary::$name { $($parameter),* } => &[$($parameter),*],)*
                };
                std::array::from_fn(|i| given.get(i).map(|p| *p as f32))
            }
            /// All functions, with parameters of 0.
            pub const ROWS: &[Unary] = &[$(Unary::$name { $($parameter: 0.0),* }),*];
            /// The names of the row's parameters.
            #[cfg(test)]
            pub(super) fn parameter_names(self) -> &'static [&'static str] {
                match self {
                    $(Unary::$name { .. } => &[$(stringify!($parameter)),*],)*
                }
            }
            /// Hands the row's formula to `visitor`, so that a kernel is compiled for each.
            pub(super) fn visit<V: Visitor>(self, visitor: V) {
                match self {
                    $(Unary::$name { $($parameter),* } => visitor.visit(formulas::$name { $($parameter),* }),)*
                }
            }
        }

        mod formulas {
            $(#[derive(Clone, Copy)]
            pub(super) struct $name { $(pub(super) $parameter: f64),* })*
        }

        $(impl Formula for formulas::$name {
            #[inline(always)]
            fn value<R: Real>(self, $x: R) -> R {
                $(let $parameter = R::parameter(stringify!($parameter), self.$parameter);)*
                $value
            }
            #[inline(always)]
            fn slope<R: Real>(self, $v: R) -> R {
                $(#[allow(unused)] let $parameter = R::parameter(stringify!($parameter), self.$parameter);)*
                $slope
            }
            #[inline(always)]
            fn bend<R: Real>(self, $w: R) -> R {
                $(#[allow(unused)] let $parameter = R::parameter(stringify!($parameter), self.$parameter);)*
                $bend
            }
        })*
    };
}

/// Receives the formula of a row.
pub(super) trait Visitor {
    fn visit<F: Formula>(self, formula: F);
}

#[inline(always)]
fn choose<R: Real>(condition: R::Condition, yes: R, no: R) -> R {
    R::choose(condition, yes, no)
}

#[inline(always)]
fn c<R: Real>(x: f64) -> R {
    R::of(x)
}

/// σ(2u), u' and u'' of GELU's tanh form, u = sqrt(2/pi) (x + 0.044715 x³): with them (1 + tanh u) / 2 = σ(2u).
#[inline(always)]
fn gelu_parts<R: Real>(x: R) -> (R, R, R) {
    let (k, a) = (c::<R>(0.797_884_560_802_865_4), c::<R>(0.044_715));
    let u = k * x * (a * x * x + R::one());
    ((u + u).sigmoid(), k * (a * c(3.0) * x * x + R::one()), k * a * c(6.0) * x)
}

/// tanh(ln(1 + exp(x))), which is a quotient of polynomials in exp(x); 1 long before exp overflows.
#[inline(always)]
fn tanh_softplus<R: Real>(x: R) -> R {
    let e = Real::min(x, c(20.0)).exp();
    let n = e * (e + c(2.0));
    n / (n + c(2.0))
}

/// Towards 0, to an integer.
#[inline(always)]
fn trunc<R: Real>(x: R) -> R {
    choose(x.below(R::zero()), -(-x).floor(), x.floor())
}

/// The slope of sin(u) / u near 0, where the formula cancels: its series.
#[inline(always)]
fn sinc_slope<R: Real>(u: R) -> R {
    let s = u * u;
    u * (c::<R>(-1.0 / 3.0) + s * (c::<R>(1.0 / 30.0) + s * (c::<R>(-1.0 / 840.0) + s * (c::<R>(1.0 / 45360.0) - s * c(1.0 / 3_991_680.0)))))
}

/// The slope of [`sinc_slope`].
#[inline(always)]
fn sinc_bend<R: Real>(u: R) -> R {
    let s = u * u;
    c::<R>(-1.0 / 3.0) + s * (c::<R>(1.0 / 10.0) + s * (c::<R>(-1.0 / 168.0) + s * (c::<R>(1.0 / 6480.0) - s * c(1.0 / 443_520.0))))
}

/// PyTorch's slope of hardsigmoid is 1/6 rounded to f32, in f64 too.
const PYTORCH_SIXTH: f64 = (1.0f32 / 6.0) as f64;
const SELU_SCALE: f64 = 1.050_700_987_355_480_5;
const SELU_ALPHA: f64 = 1.673_263_242_354_377_2;

functions! {
    /// `scale x + shift`
    Affine(scale, shift) "affine" input: |x| x.mul_add(scale, shift), |v| { let _ = v; scale }, |v| v * R::zero();
    /// max(x, 0)
    Relu() "relu" output: |x| Real::max(x, R::zero()), |y| choose(y.above(R::zero()), R::one(), R::zero()), |_y| R::zero();
    /// x above 0, `negative_slope` x below
    LeakyRelu(negative_slope) "leaky_relu" input: |x| choose(x.above(R::zero()), x, x * negative_slope), |x| choose(x.above(R::zero()), R::one(), negative_slope), |_x| R::zero();
    /// x above 0, `alpha` (exp(x) - 1) below
    Elu(alpha) "elu" input: |x| choose(x.above(R::zero()), x, alpha * x.exp_m1()), |x| choose(x.above(R::zero()), R::one(), alpha * x.exp()), |x| choose(x.above(R::zero()), R::zero(), alpha * x.exp());
    /// Scaled ELU (Klambauer et al. 2017)
    Selu() "selu" input: |x| c::<R>(SELU_SCALE) * choose(x.above(R::zero()), x, c::<R>(SELU_ALPHA) * x.exp_m1()),
        |x| c::<R>(SELU_SCALE) * choose(x.above(R::zero()), R::one(), c::<R>(SELU_ALPHA) * x.exp()), |x| choose(x.above(R::zero()), R::zero(), c::<R>(SELU_SCALE * SELU_ALPHA) * x.exp());
    /// min(max(x, 0), 6)
    Relu6() "relu6" input: |x| Real::min(Real::max(x, R::zero()), c(6.0)), |x| choose(x.above(R::zero()) & x.below(c(6.0)), R::one(), R::zero()), |_x| R::zero();
    /// x Φ(x), Φ the normal distribution function (Hendrycks and Gimpel 2016)
    Gelu() "gelu" input: |x| x * x.gaussian().0, |x| { let (distribution, density) = x.gaussian(); x.mul_add(density, distribution) },
        |x| x.gaussian().1 * (c::<R>(2.0) - x * x);
    /// GELU with Φ approximated by tanh
    GeluTanh() "gelu_tanh" input: |x| { let (s, _, _) = gelu_parts(x); x * s },
        |x| { let (s, d, _) = gelu_parts(x); s + c::<R>(2.0) * x * (s * (R::one() - s)) * d },
        |x| { let (s, d, e) = gelu_parts(x); c::<R>(4.0) * (s * (R::one() - s)) * (d + x * (c::<R>(0.5) * e - (s + s - R::one()) * d * d)) };
    /// x σ(x), also called swish (Elfwing et al. 2017)
    Silu() "silu" input: |x| x * x.sigmoid(), |x| { let s = x.sigmoid(); s * (R::one() + x * (R::one() - s)) },
        |x| { let s = x.sigmoid(); s * (R::one() - s) * (c::<R>(2.0) + x * (R::one() - c::<R>(2.0) * s)) };
    /// 1 / (1 + exp(-x))
    Sigmoid() "sigmoid" output: |x| x.sigmoid(), |y| y * (R::one() - y), |y| R::one() - c::<R>(2.0) * y;
    /// ln σ(x)
    LogSigmoid() "log_sigmoid" input: |x| -(-x).softplus(), |x| (-x).sigmoid(), |x| -(x.sigmoid() * (-x).sigmoid());
    /// (exp(x) - exp(-x)) / (exp(x) + exp(-x))
    Tanh() "tanh" output: |x| x.tanh(), |y| R::one() - y * y, |y| c::<R>(-2.0) * y;
    /// ln(1 + exp(`beta` x)) / `beta`; x itself where `beta` x is above `threshold`
    Softplus(beta, threshold) "softplus" input: |x| choose((x * beta).above(threshold), x, (x * beta).softplus() / beta),
        |x| choose((x * beta).above(threshold), R::one(), (x * beta).sigmoid()),
        |x| { let s = (x * beta).sigmoid(); choose((x * beta).above(threshold), R::zero(), beta * s * (R::one() - s)) };
    /// x tanh(ln(1 + exp(x))) (Misra 2019)
    Mish() "mish" input: |x| x * tanh_softplus(x), |x| { let (t, s) = (tanh_softplus(x), x.sigmoid()); t + x * s * (R::one() - t * t) },
        |x| { let (t, s) = (tanh_softplus(x), x.sigmoid()); s * (R::one() - t * t) * (c::<R>(2.0) + x * (R::one() - s - c::<R>(2.0) * t * s)) };
    /// x min(max(x + 3, 0), 6) / 6
    Hardswish() "hardswish" input: |x| x * Real::min(Real::max(x + c(3.0), R::zero()), c(6.0)) * c(1.0 / 6.0),
        |x| choose(x.above(c(3.0)), R::one(), choose(x.below(c(-3.0)), R::zero(), x * c(1.0 / 3.0) + c(0.5))),
        |x| choose(x.above(c(3.0)) | x.below(c(-3.0)), R::zero(), c(1.0 / 3.0));
    /// min(max(x / 6 + 1/2, 0), 1)
    Hardsigmoid() "hardsigmoid" input: |x| Real::min(Real::max(x * c(1.0 / 6.0) + c(0.5), R::zero()), R::one()),
        |x| choose(x.above(c(-3.0)) & x.below(c(3.0)), c(PYTORCH_SIXTH), R::zero()), |_x| R::zero();
    /// min(max(x, `min`), `max`); the slope is 1 on the bounds, as in PyTorch
    Clamp(min, max) "clamp" input: |x| Real::min(Real::max(x, min), max), |x| choose(x.at_least(min) & x.at_most(max), R::one(), R::zero()), |_x| R::zero();
    /// |x|
    Abs() "abs" input: |x| x.abs(), |x| choose(x.above(R::zero()), R::one(), choose(x.below(R::zero()), -R::one(), R::zero())), |_x| R::zero();
    /// -1, 0 or 1
    Sign() "sign" input: |x| choose(x.above(R::zero()), R::one(), choose(x.below(R::zero()), -R::one(), R::zero())), |_x| R::zero(), |_x| R::zero();
    /// The largest integer not above x
    Floor() "floor" input: |x| x.floor(), |_x| R::zero(), |_x| R::zero();
    /// The nearest integer, ties to even
    Round() "round" input: |x| x.round(), |_x| R::zero(), |_x| R::zero();
    /// e^x
    Exp() "exp" output: |x| x.exp(), |y| y, |_y| R::one();
    /// e^x - 1
    ExpM1() "exp_m1" output: |x| x.exp_m1(), |y| y + R::one(), |_y| R::one();
    /// The natural logarithm
    Ln() "ln" input: |x| x.ln(), |x| R::one() / x, |x| -R::one() / (x * x);
    /// ln(1 + x)
    Ln1p() "ln_1p" input: |x| x.ln_1p(), |x| R::one() / (R::one() + x), |x| -R::one() / ((R::one() + x) * (R::one() + x));
    /// The square root
    Sqrt() "sqrt" output: |x| x.sqrt(), |y| c::<R>(0.5) / y, |y| c::<R>(-0.5) / (y * y);
    /// 1 / sqrt(x)
    Rsqrt() "rsqrt" output: |x| R::one() / x.sqrt(), |y| c::<R>(-0.5) * y * y * y, |y| c::<R>(-1.5) * y * y;
    /// 1 / x
    Reciprocal() "reciprocal" output: |x| R::one() / x, |y| -(y * y), |y| c::<R>(-2.0) * y;
    /// x²
    Square() "square" input: |x| x * x, |x| c::<R>(2.0) * x, |_x| c(2.0);
    /// The sine
    Sin() "sin" input: |x| x.sin(), |x| x.cos(), |x| -x.sin();
    /// The cosine
    Cos() "cos" input: |x| x.cos(), |x| -x.sin(), |x| -x.cos();
    /// The error function
    Erf() "erf" input: |x| x.erf(), |x| c::<R>(FRAC_2_SQRT_PI) * (-(x * x)).exp(), |x| c::<R>(-2.0 * FRAC_2_SQRT_PI) * x * (-(x * x)).exp();
    /// x^`exponent`
    Powf(exponent) "powf" input: |x| x.powf(exponent),
        |x| choose(exponent.equals(R::zero()), R::zero(), exponent * x.powf(exponent - R::one())),
        |x| choose(exponent.equals(R::zero()) | exponent.equals(R::one()), R::zero(), exponent * (exponent - R::one()) * x.powf(exponent - c(2.0)));
    /// The tangent
    Tan() "tan" output: |x| x.each("tan", f32::tan, f64::tan), |y| y.mul_add(y, R::one()), |y| c::<R>(2.0) * y;
    /// The angle whose sine is x
    Asin() "asin" input: |x| x.each("asin", f32::asin, f64::asin), |x| R::one() / (R::one() - x * x).sqrt(), |x| { let s = R::one() - x * x; x / (s * s.sqrt()) };
    /// The angle whose cosine is x
    Acos() "acos" input: |x| x.each("acos", f32::acos, f64::acos), |x| -R::one() / (R::one() - x * x).sqrt(), |x| { let s = R::one() - x * x; -x / (s * s.sqrt()) };
    /// The angle whose tangent is x
    Atan() "atan" input: |x| x.each("atan", f32::atan, f64::atan), |x| R::one() / (R::one() + x * x), |x| { let s = R::one() + x * x; c::<R>(-2.0) * x / (s * s) };
    /// (e^x - e^-x) / 2
    Sinh() "sinh" input: |x| x.each("sinh", f32::sinh, f64::sinh), |x| x.each("cosh", f32::cosh, f64::cosh), |x| x.each("sinh", f32::sinh, f64::sinh);
    /// (e^x + e^-x) / 2
    Cosh() "cosh" input: |x| x.each("cosh", f32::cosh, f64::cosh), |x| x.each("sinh", f32::sinh, f64::sinh), |x| x.each("cosh", f32::cosh, f64::cosh);
    /// The number whose sinh is x
    Asinh() "asinh" input: |x| x.each("asinh", f32::asinh, f64::asinh), |x| R::one() / (R::one() + x * x).sqrt(), |x| { let s = R::one() + x * x; -x / (s * s.sqrt()) };
    /// The number of at least 0 whose cosh is x
    Acosh() "acosh" input: |x| x.each("acosh", f32::acosh, f64::acosh), |x| R::one() / (x * x - R::one()).sqrt(), |x| { let s = x * x - R::one(); -x / (s * s.sqrt()) };
    /// The number whose tanh is x
    Atanh() "atanh" input: |x| x.each("atanh", f32::atanh, f64::atanh), |x| R::one() / (R::one() - x * x), |x| { let s = R::one() - x * x; c::<R>(2.0) * x / (s * s) };
    /// 2^x
    Exp2() "exp2" output: |x| x.each("exp2", f32::exp2, f64::exp2), |y| y * c(LN_2), |_y| c(LN_2);
    /// The logarithm to base 2
    Log2() "log2" input: |x| x.each("log2", f32::log2, f64::log2), |x| R::one() / (x * c(LN_2)), |x| -R::one() / (x * x * c(LN_2));
    /// The logarithm to base 10
    Log10() "log10" input: |x| x.each("log10", f32::log10, f64::log10), |x| R::one() / (x * c(LN_10)), |x| -R::one() / (x * x * c(LN_10));
    /// The smallest integer not below x
    Ceil() "ceil" input: |x| -(-x).floor(), |_x| R::zero(), |_x| R::zero();
    /// x without what stands behind the point
    Trunc() "trunc" input: |x| trunc(x), |_x| R::zero(), |_x| R::zero();
    /// What stands behind the point, with x's sign
    Frac() "frac" input: |x| x - trunc(x), |_x| R::one(), |_x| R::zero();
    /// 1 - erf x
    Erfc() "erfc" input: |x| x.each("erfc", |x| special::erfc(x as f64) as f32, special::erfc), |x| c::<R>(-FRAC_2_SQRT_PI) * (-(x * x)).exp(), |x| c::<R>(2.0 * FRAC_2_SQRT_PI) * x * (-(x * x)).exp();
    /// The number whose erf is x
    Erfinv() "erfinv" output: |x| x.each("erfinv", |x| special::erfinv(x as f64) as f32, special::erfinv), |y| (y * y).exp() / c(FRAC_2_SQRT_PI), |y| c::<R>(2.0) * y * (y * y).exp() / c(FRAC_2_SQRT_PI);
    /// ln |Γ(x)|
    Lgamma() "lgamma" input: |x| x.each("lgamma", |x| special::lgamma(x as f64) as f32, special::lgamma), |x| x.each("digamma", |x| special::digamma(x as f64) as f32, special::digamma), |x| x.each("trigamma", |x| special::trigamma(x as f64) as f32, special::trigamma);
    /// The derivative of ln Γ
    Digamma() "digamma" input: |x| x.each("digamma", |x| special::digamma(x as f64) as f32, special::digamma), |x| x.each("trigamma", |x| special::trigamma(x as f64) as f32, special::trigamma), |x| x.each("tetragamma", |x| special::tetragamma(x as f64) as f32, special::tetragamma);
    /// ln(x / (1 - x)); with `eps` above 0, x is held within `eps` and 1 - `eps`
    Logit(eps) "logit" input: |x| { let z = choose(eps.above(R::zero()), Real::min(Real::max(x, eps), R::one() - eps), x); (z / (R::one() - z)).ln() },
        |x| choose(eps.above(R::zero()) & (x.below(eps) | x.above(R::one() - eps)), R::zero(), R::one() / (x * (R::one() - x))),
        |x| { let s = x * (R::one() - x); choose(eps.above(R::zero()) & (x.below(eps) | x.above(R::one() - eps)), R::zero(), (c::<R>(2.0) * x - R::one()) / (s * s)) };
    /// sin(πx) / (πx), and 1 at 0
    Sinc() "sinc" input: |x| { let u = c::<R>(PI) * x; choose(u.equals(R::zero()), R::one(), u.sin() / u) },
        |x| { let u = c::<R>(PI) * x; c::<R>(PI) * choose(u.abs().below(c(0.2)), sinc_slope(u), (u.cos() - u.sin() / u) / u) },
        |x| { let u = c::<R>(PI) * x; c::<R>(PI * PI) * choose(u.abs().below(c(0.2)), sinc_bend(u), ((c::<R>(2.0) / (u * u) - R::one()) * u.sin() - c::<R>(2.0) * u.cos() / u) / u) };
    /// x above 0, `alpha` (exp(x / `alpha`) - 1) below (Barron 2017)
    Celu(alpha) "celu" input: |x| choose(x.above(R::zero()), x, alpha * (x / alpha).exp_m1()), |x| choose(x.above(R::zero()), R::one(), (x / alpha).exp()), |x| choose(x.above(R::zero()), R::zero(), (x / alpha).exp() / alpha);
    /// 0 within `lambda` of 0, x elsewhere
    Hardshrink(lambda) "hardshrink" input: |x| choose(x.abs().at_most(lambda), R::zero(), x), |x| choose(x.abs().at_most(lambda), R::zero(), R::one()), |_x| R::zero();
    /// x moved by `lambda` towards 0, and 0 within it
    Softshrink(lambda) "softshrink" input: |x| choose(x.above(lambda), x - lambda, choose(x.below(-lambda), x + lambda, x * R::zero())), |x| choose(x.abs().at_most(lambda), R::zero(), R::one()), |_x| R::zero();
    /// x - tanh x
    Tanhshrink() "tanhshrink" input: |x| x - x.tanh(), |x| { let t = x.tanh(); t * t }, |x| { let t = x.tanh(); c::<R>(2.0) * t * (R::one() - t * t) };
    /// x / (1 + |x|)
    Softsign() "softsign" input: |x| x / (R::one() + x.abs()), |x| { let s = R::one() + x.abs(); R::one() / (s * s) },
        |x| { let s = R::one() + x.abs(); choose(x.below(R::zero()), c(2.0), choose(x.above(R::zero()), c(-2.0), R::zero())) / (s * s * s) };
    /// x above `threshold`, `value` elsewhere
    Threshold(threshold, value) "threshold" input: |x| choose(x.at_most(threshold), value, x), |x| choose(x.at_most(threshold), R::zero(), R::one()), |_x| R::zero();
    /// x, but for NaN and the two infinities
    NanToNum(nan, highest, lowest) "nan_to_num" input: |x| choose(x.is_nan(), nan, choose(x.equals(c(f64::INFINITY)), highest, choose(x.equals(c(f64::NEG_INFINITY)), lowest, x))),
        |x| choose(x.abs().below(c(f64::INFINITY)), R::one(), R::zero()), |_x| R::zero();
}
