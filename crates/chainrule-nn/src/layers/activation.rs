//! Activations as layers.

use crate::{Layer, Module, observed};
use chainrule_autograd::{Activation, Result, Tensor};

/// Documentation and `forward` of an activation: its name, its settings, the method, formula, PyTorch's name.
macro_rules! layer {
    ($layer:ident { $($setting:ident: $type:ty = $default:literal),* } $new:literal $method:ident $formula:literal $torch:literal $item:item $($fused:expr)?) => {
        #[doc = concat!($formula, ": `[..] -> [..]` (PyTorch's `", $torch, "`).")]
        #[doc = "```"]
        #[doc = "# use chainrule_autograd::{DType, Tensor};"]
        #[doc = concat!("# use chainrule_nn::{", stringify!($layer), ", Layer};")]
        #[doc = "let x = Tensor::linspace(-2.0, 2.0, 5, DType::F32)?;"]
        #[doc = concat!("let y = ", stringify!($layer), $new, ".run(&x)?;")]
        #[doc = concat!("assert_eq!(y.to_vec::<f32>()?, x.", stringify!($method), "(", $(stringify!($default), ", ",)* ")?.to_vec::<f32>()?);")]
        #[doc = "# Ok::<(), chainrule_nn::Error>(())"]
        #[doc = "```"]
        #[derive(Module, Clone, Copy, Debug, PartialEq)]
        $item

        impl Layer for $layer {
            fn forward(&self, x: &Tensor) -> Result<Tensor> {
                Ok(observed(self, x.$method($(self.$setting),*)?))
            }
            $(fn as_activation(&self) -> Option<Activation> {
                let fused: fn(&Self) -> Activation = $fused;
                Some(fused(self))
            })?
        }
    };
}

/// An activation without settings a line; behind the arrow, what a product before it may end in.
macro_rules! plain {
    ($($layer:ident $method:ident, $formula:literal, $torch:literal $(=> $fused:expr)?;)*) => { $(
        layer!($layer {} "" $method $formula $torch #[derive(Default, Eq)] pub struct $layer; $($fused)?);
    )* };
}

/// An activation with settings a line: PyTorch's defaults, and what they mean.
macro_rules! with_settings {
    ($($layer:ident { $($setting:ident: $type:ty = $default:literal, $meaning:literal;)+ } $method:ident, $formula:literal, $torch:literal $(=> $fused:expr)?;)*) => { $(
        layer!($layer { $($setting: $type = $default),+ } "::default()" $method $formula $torch pub struct $layer {
            $(#[doc = $meaning] pub $setting: $type,)+
        } $($fused)?);

        impl $layer {
            /// With these settings; the default has PyTorch's.
            pub fn new($($setting: $type),+) -> $layer {
                $layer { $($setting),+ }
            }
        }
        impl Default for $layer {
            fn default() -> $layer {
                $layer { $($setting: $default),+ }
            }
        }
    )* };
}

plain! {
    Relu relu, "max(x, 0)", "ReLU" => |_| Activation::Relu;
    Relu6 relu6, "min(max(x, 0), 6)", "ReLU6";
    Selu selu, "ELU scaled so that activations normalise themselves", "SELU";
    Gelu gelu, "x Φ(x), Φ the normal distribution function", "GELU";
    GeluTanh gelu_tanh, "x Φ(x) with Φ approximated by tanh", "GELU(approximate='tanh')";
    Silu silu, "x σ(x)", "SiLU";
    Mish mish, "x tanh(ln(1 + exp(x)))", "Mish";
    Sigmoid sigmoid, "1 / (1 + exp(-x))", "Sigmoid";
    LogSigmoid log_sigmoid, "ln σ(x)", "LogSigmoid";
    Tanh tanh, "(exp(x) - exp(-x)) / (exp(x) + exp(-x))", "Tanh";
    Hardswish hardswish, "x min(max(x + 3, 0), 6) / 6", "Hardswish";
    Hardsigmoid hardsigmoid, "min(max(x / 6 + 1/2, 0), 1)", "Hardsigmoid";
    Tanhshrink tanhshrink, "x - tanh x", "Tanhshrink";
    Softsign softsign, "x / (1 + |x|)", "Softsign";
}

with_settings! {
    LeakyRelu { negative_slope: f64 = 0.01, "The slope below 0."; } leaky_relu, "x above 0, `negative_slope` x below", "LeakyReLU" => |layer| Activation::LeakyRelu(layer.negative_slope);
    Elu { alpha: f64 = 1.0, "The limit far below 0, negated."; } elu, "x above 0, `alpha` (exp(x) - 1) below", "ELU";
    Softplus { beta: f64 = 1.0, "How sharp the bend is."; threshold: f64 = 20.0, "Where `beta` x is above it, x itself is given."; } softplus, "ln(1 + exp(`beta` x)) / `beta`", "Softplus";
    Hardtanh { min: f64 = -1.0, "The lower bound."; max: f64 = 1.0, "The upper bound."; } clamp, "min(max(x, `min`), `max`)", "Hardtanh";
    Softmax { axis: isize = -1, "The dimension; a negative one counts from the end."; } softmax, "exp(x) / sum exp(x) along `axis`", "Softmax";
    Celu { alpha: f64 = 1.0, "The limit far below 0, negated."; } celu, "x above 0, `alpha` (exp(x / `alpha`) - 1) below", "CELU";
    Hardshrink { lambda: f64 = 0.5, "How far from 0 numbers are lost."; } hardshrink, "0 within `lambda` of 0, x elsewhere", "Hardshrink";
    Softshrink { lambda: f64 = 0.5, "How far numbers move towards 0."; } softshrink, "x moved by `lambda` towards 0, and 0 within it", "Softshrink";
    Threshold { threshold: f64 = 0.0, "Above it x stays."; value: f64 = 0.0, "What stands elsewhere."; } threshold, "x above `threshold`, `value` elsewhere", "Threshold";
    Rrelu { lower: f64 = 0.125, "The smallest slope below 0."; upper: f64 = 0.3333333333333333, "The largest slope below 0."; } rrelu, "x above 0, x times a slope below, drawn from the bounds in training and their middle elsewhere", "RReLU";
    Softmin { axis: isize = -1, "The dimension; a negative one counts from the end."; } softmin, "exp(-x) / sum exp(-x) along `axis`", "Softmin";
    LogSoftmax { axis: isize = -1, "The dimension; a negative one counts from the end."; } log_softmax, "x - ln sum exp(x) along `axis`", "LogSoftmax";
}
