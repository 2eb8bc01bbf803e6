//! Functions of one number, element by element: the core's table as methods.
//!
//! The backward pass `g f'(v)` is an operation with a rule itself (v is the input or the output, whichever the table keeps), and so second derivatives are exact.

use crate::{Activation, DType, Error, Keep, Pass, Result, Tensor};
use chainrule_core::ops::elementwise::{self, Kept, Unary};

/// `f(x)`
fn unary(op: Unary, x: &Tensor) -> Result<Tensor> {
    let keep = match op.keeps() {
        Kept::Input => Keep::FIRST,
        Kept::Output => Keep::OUTPUT,
    };
    Tensor::record(op.name(), [x], keep, elementwise::unary(op, &x.array)?, move |pass| {
        Ok([Some(match op.keeps() {
            Kept::Output => by_output(op, pass)?,
            Kept::Input if pass.recorded() => slope(op, pass.grad(), &pass.input(0)?)?,
            Kept::Input => elementwise::unary_backward(op, &pass.grad().array, pass.input_array(0)?)?.into(),
        })])
    })
}

/// The operation whose gradient the sign of an activation's output tells, none for no activation; or, as an error, the slope of one whose output's sign tells nothing.
pub(super) fn by_sign(activation: Activation) -> std::result::Result<Option<Unary>, f64> {
    match activation {
        Activation::None => Ok(None),
        Activation::Relu => Ok(Some(Unary::Relu {})),
        Activation::LeakyRelu(negative_slope) if (0.0..1e30).contains(&negative_slope) => Ok(Some(Unary::LeakyRelu { negative_slope })),
        Activation::LeakyRelu(slope) => Err(slope),
    }
}

/// `g f'(v)` with the kept output as v.
pub(super) fn by_output(op: Unary, pass: &Pass) -> Result<Tensor> {
    if pass.recorded() {
        return slope(op, pass.grad(), &pass.output()?);
    }
    Ok(elementwise::unary_backward(op, &pass.grad().array, pass.output_array()?)?.into())
}

/// `g f'(v)`: linear in g.
fn slope(op: Unary, gradient: &Tensor, kept: &Tensor) -> Result<Tensor> {
    let y = elementwise::unary_backward(op, &gradient.array, &kept.array)?;
    Tensor::record("unary_backward", [gradient, kept], Keep::INPUTS, y, move |pass| {
        let (other, kept) = (pass.grad(), pass.input(1)?);
        Ok([pass.when(0, || slope(op, other, &kept))?, pass.when(1, || bend(op, other, &pass.input(0)?, &kept))?])
    })
}

/// `h g df'/dv`: linear in h and in g.
fn bend(op: Unary, other: &Tensor, gradient: &Tensor, kept: &Tensor) -> Result<Tensor> {
    let y = elementwise::unary_backward_by_kept(op, &other.array, &gradient.array, &kept.array)?;
    Tensor::record("unary_backward_by_kept", [other, gradient, kept], Keep::INPUTS, y, move |pass| {
        if pass.needs(2) {
            return Err(Error::NotDifferentiable { op: op.name(), reason: "third derivatives of elementwise functions are not there" });
        }
        let kept = pass.input(2)?;
        Ok([pass.when(0, || bend(op, pass.grad(), &pass.input(1)?, &kept))?, pass.when(1, || bend(op, pass.grad(), &pass.input(0)?, &kept))?, None])
    })
}

/// A method a line: its name and parameters, the row of the core's table, the formula, PyTorch's name, and an example `x => y` (arguments after the colon), which is run.
macro_rules! methods {
    ($($method:ident($($parameter:ident),*) $row:ident, $formula:literal, $torch:literal, $x:literal => $y:literal $(: $($argument:literal),+)?;)*) => {
        impl Tensor {
            $(#[doc = concat!($formula, ", element by element (PyTorch's `", $torch, "`).")]
            #[doc = "```"]
            #[doc = "# use chainrule_autograd::Tensor;"]
            #[doc = concat!("let y = Tensor::from_slice(&[", stringify!($x), "f64], &[1])?.", stringify!($method), "(", $(stringify!($($argument),+),)? ")?;")]
            #[doc = concat!("assert!((y.item()? - ", stringify!($y), ").abs() < 1e-5);")]
            #[doc = "# Ok::<(), chainrule_autograd::Error>(())"]
            #[doc = "```"]
            #[doc = "\n# Errors\nAn element type other than f32 and f64."]
            pub fn $method(&self, $($parameter: f64),*) -> Result<Tensor> {
                unary(Unary::$row { $($parameter),* }, self)
            })*
        }
    };
}

methods! {
    relu() Relu, "max(x, 0)", "relu", 1.5 => 1.5;
    leaky_relu(negative_slope) LeakyRelu, "x above 0, `negative_slope · x` below", "leaky_relu", -2.0 => -0.2: 0.1;
    elu(alpha) Elu, "x above 0, `alpha (exp(x) - 1)` below", "elu", -1.0 => -0.632121: 1.0;
    selu() Selu, "ELU scaled so that activations normalise themselves (Klambauer et al. 2017)", "selu", 1.0 => 1.050701;
    relu6() Relu6, "min(max(x, 0), 6)", "relu6", 7.0 => 6.0;
    gelu() Gelu, "x Φ(x), Φ the normal distribution function (Hendrycks and Gimpel 2016)", "gelu", 1.0 => 0.841345;
    gelu_tanh() GeluTanh, "x Φ(x) with Φ approximated by tanh", "gelu(approximate='tanh')", 1.0 => 0.841192;
    silu() Silu, "x σ(x), also called swish (Elfwing et al. 2017)", "silu", 1.0 => 0.731059;
    sigmoid() Sigmoid, "1 / (1 + exp(-x))", "sigmoid", 0.0 => 0.5;
    log_sigmoid() LogSigmoid, "ln σ(x)", "logsigmoid", 0.0 => -0.693147;
    tanh() Tanh, "(exp(x) - exp(-x)) / (exp(x) + exp(-x))", "tanh", 1.0 => 0.761594;
    softplus(beta, threshold) Softplus, "ln(1 + exp(`beta` x)) / `beta`; x itself where `beta` x is above `threshold` (1 and 20 in PyTorch unless given)", "softplus", 0.0 => 0.693147: 1.0, 20.0;
    mish() Mish, "x tanh(ln(1 + exp(x))) (Misra 2019)", "mish", 1.0 => 0.865098;
    hardswish() Hardswish, "x min(max(x + 3, 0), 6) / 6", "hardswish", 1.0 => 0.666667;
    hardsigmoid() Hardsigmoid, "min(max(x / 6 + 1/2, 0), 1)", "hardsigmoid", 1.5 => 0.75;
    clamp(min, max) Clamp, "min(max(x, `min`), `max`); the slope is 1 on the bounds", "clamp", 3.0 => 2.0: -1.0, 2.0;
    abs() Abs, "|x|; the slope at 0 is 0", "abs", -2.0 => 2.0;
    sign() Sign, "-1, 0 or 1; the slope is 0", "sign", -2.0 => -1.0;
    floor() Floor, "The largest integer not above x; the slope is 0", "floor", 1.7 => 1.0;
    round() Round, "The nearest integer, ties to even; the slope is 0", "round", 2.5 => 2.0;
    exp() Exp, "e^x", "exp", 1.0 => 2.718282;
    exp_m1() ExpM1, "e^x - 1, exact near 0", "expm1", 1.0 => 1.718282;
    ln() Ln, "The natural logarithm", "log", 2.0 => 0.693147;
    ln_1p() Ln1p, "ln(1 + x), exact near 0", "log1p", 1.0 => 0.693147;
    sqrt() Sqrt, "The square root", "sqrt", 4.0 => 2.0;
    rsqrt() Rsqrt, "1 / sqrt(x)", "rsqrt", 4.0 => 0.5;
    reciprocal() Reciprocal, "1 / x", "reciprocal", 4.0 => 0.25;
    square() Square, "x²", "square", 3.0 => 9.0;
    sin() Sin, "The sine", "sin", 1.0 => 0.841471;
    cos() Cos, "The cosine", "cos", 0.0 => 1.0;
    erf() Erf, "The error function", "erf", 1.0 => 0.842701;
    powf(exponent) Powf, "x^`exponent`", "pow", 3.0 => 9.0: 2.0;
    tan() Tan, "The tangent", "tan", 1.0 => 1.557408;
    asin() Asin, "The angle whose sine is x", "asin", 0.5 => 0.523599;
    acos() Acos, "The angle whose cosine is x", "acos", 0.5 => 1.047198;
    atan() Atan, "The angle whose tangent is x", "atan", 1.0 => 0.785398;
    sinh() Sinh, "(e^x - e^-x) / 2", "sinh", 1.0 => 1.175201;
    cosh() Cosh, "(e^x + e^-x) / 2", "cosh", 1.0 => 1.543081;
    asinh() Asinh, "The number whose sinh is x", "asinh", 1.0 => 0.881374;
    acosh() Acosh, "The number of at least 0 whose cosh is x", "acosh", 2.0 => 1.316958;
    atanh() Atanh, "The number whose tanh is x", "atanh", 0.5 => 0.549306;
    exp2() Exp2, "2^x", "exp2", 3.0 => 8.0;
    log2() Log2, "The logarithm to base 2", "log2", 8.0 => 3.0;
    log10() Log10, "The logarithm to base 10", "log10", 100.0 => 2.0;
    ceil() Ceil, "The smallest integer not below x; the slope is 0", "ceil", 1.2 => 2.0;
    trunc() Trunc, "x without what stands behind the point; the slope is 0", "trunc", -1.7 => -1.0;
    frac() Frac, "What stands behind the point, with x's sign", "frac", -1.5 => -0.5;
    erfc() Erfc, "1 - erf x, without cancellation for large x", "erfc", 1.0 => 0.157299;
    erfinv() Erfinv, "The number whose erf is x", "erfinv", 0.5 => 0.476936;
    lgamma() Lgamma, "ln |Γ(x)|", "lgamma", 4.0 => 1.791759;
    digamma() Digamma, "The derivative of ln Γ", "digamma", 1.0 => -0.577216;
    logit(eps) Logit, "ln(x / (1 - x)); with `eps` above 0, x is held within `eps` and 1 - `eps`", "logit", 0.75 => 1.098612: 0.0;
    sinc() Sinc, "sin(πx) / (πx), and 1 at 0", "sinc", 0.5 => 0.636620;
    celu(alpha) Celu, "x above 0, `alpha (exp(x / alpha) - 1)` below (Barron 2017)", "celu", -1.0 => -0.786939: 2.0;
    hardshrink(lambda) Hardshrink, "0 within `lambda` of 0, x elsewhere", "hardshrink", 0.4 => 0.0: 0.5;
    softshrink(lambda) Softshrink, "x moved by `lambda` towards 0, and 0 within it", "softshrink", 1.5 => 1.0: 0.5;
    tanhshrink() Tanhshrink, "x - tanh x", "tanhshrink", 1.0 => 0.238406;
    softsign() Softsign, "x / (1 + |x|)", "softsign", 1.0 => 0.5;
    threshold(threshold, value) Threshold, "x above `threshold`, `value` elsewhere", "threshold", 0.5 => 20.0: 1.0, 20.0;
}

impl Tensor {
    /// x, but `nan` for NaN, and `highest` and `lowest` for the infinities: the largest and smallest number of the element type for `None`; the slope is 0 there (PyTorch's `nan_to_num`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let y = Tensor::from_slice(&[f64::NAN, f64::INFINITY, 3.0], &[3])?.nan_to_num(0.0, Some(9.0), None)?;
    /// assert_eq!(y.to_vec::<f64>()?, [0.0, 9.0, 3.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// An element type other than f32 and f64.
    pub fn nan_to_num(&self, nan: f64, highest: Option<f64>, lowest: Option<f64>) -> Result<Tensor> {
        let most = if self.dtype() == DType::F64 { f64::MAX } else { f32::MAX as f64 };
        unary(Unary::NanToNum { nan, highest: highest.unwrap_or(most), lowest: lowest.unwrap_or(-most) }, self)
    }
}
