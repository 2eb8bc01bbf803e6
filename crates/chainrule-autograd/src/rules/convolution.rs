//! Convolution and its transpose in one to three dimensions.
//!
//! Three operations, linear in both operands, are each other's derivatives, and so all orders are exact: the convolution, its gradient by the input (with a bias the transposed convolution), and its gradient by the weight.

use crate::rules::binary::keep_partners;
use crate::rules::precision::{product, rounds};
use crate::rules::unary::{by_output, by_sign};
use crate::{Activation, Keep, Pass, Result, Tensor};
use chainrule_core::ops::convolution::{self, Convolution, TransposedConvolution};
use chainrule_core::ops::elementwise::Unary;

macro_rules! convolutions {
    ($($method:ident, $activated:ident, $options:ident, $x:literal, $w:literal, $y:literal, $one:literal, $example:literal;)*) => {
        impl Tensor { $(
            #[doc = concat!("`x ", $x, "`, weight `", $w, "`, bias `[OC]` -> `", $y, "`, each extent `(size + 2 padding - dilation (kernel - 1) - 1) / stride + 1`; a single `", $one, "` is taken too (PyTorch's `", stringify!($method), "`).")]
            #[doc = "```"]
            #[doc = concat!("# use chainrule_autograd::{", stringify!($options), ", DType, Tensor};")]
            #[doc = $example]
            #[doc = "# Ok::<(), chainrule_autograd::Error>(())"]
            #[doc = "```"]
            ///
            /// # Errors
            /// Sizes that do not fit; different element types, or other ones than f32 and f64.
            pub fn $method(&self, weight: &Tensor, bias: Option<&Tensor>, window: &convolution::$options) -> Result<Tensor> {
                self.$activated(weight, bias, Activation::None, window)
            }

            #[doc = concat!("[`", stringify!($method), "`](Tensor::", stringify!($method), ") and what follows it in one pass over the result: `f(conv(x, w) + b)`. The gradient needs no more of the result than its sign.")]
            ///
            /// # Errors
            #[doc = concat!("As for [`", stringify!($method), "`](Tensor::", stringify!($method), ").")]
            pub fn $activated(&self, weight: &Tensor, bias: Option<&Tensor>, activation: Activation, window: &convolution::$options) -> Result<Tensor> {
                if activation != Activation::None && rounds(&[self, weight]) {
                    return self.$method(weight, bias, window)?.activated(activation);
                }
                match by_sign(activation) {
                    Ok(unary) => narrowed([self, weight], bias, |x, weight, bias| convolve(stringify!($method), x, weight, bias, (activation, unary), window)),
                    Err(slope) => self.$method(weight, bias, window)?.leaky_relu(slope),
                }
            }
        )* }
    };
}

convolutions! {
    conv1d, conv1d_activated, Conv1d, "[N, IC, L]", "[OC, IC/groups, K]", "[N, OC, OL]", "[IC, L]",
        "let (x, w) = (Tensor::ones(&[1, 3, 8], DType::F32)?, Tensor::ones(&[2, 3, 3], DType::F32)?);\nassert_eq!(x.conv1d(&w, None, &Conv1d { stride: [2], ..Conv1d::default() })?.dims(), [1, 2, 3]);";
    conv2d, conv2d_activated, Conv2d, "[N, IC, H, W]", "[OC, IC/groups, KH, KW]", "[N, OC, OH, OW]", "[IC, H, W]",
        "let (x, w) = (Tensor::ones(&[1, 1, 4, 4], DType::F32)?, Tensor::ones(&[2, 1, 3, 3], DType::F32)?);\nassert_eq!(x.conv2d(&w, None, &Conv2d { padding: [1, 1], ..Conv2d::default() })?.dims(), [1, 2, 4, 4]);";
    conv3d, conv3d_activated, Conv3d, "[N, IC, D, H, W]", "[OC, IC/groups, KD, KH, KW]", "[N, OC, OD, OH, OW]", "[IC, D, H, W]",
        "let (x, w) = (Tensor::ones(&[1, 1, 4, 4, 4], DType::F32)?, Tensor::ones(&[2, 1, 3, 3, 1], DType::F32)?);\nassert_eq!(x.conv3d(&w, None, &Conv3d::default())?.dims(), [1, 2, 2, 2, 4]);";
}

macro_rules! transposed {
    ($($method:ident, $options:ident, $x:literal, $w:literal, $y:literal, $one:literal, $example:literal;)*) => {
        impl Tensor { $(
            #[doc = concat!("`x ", $x, "`, weight `", $w, "`, bias `[OC]` -> `", $y, "`, each extent `(size - 1) stride - 2 padding + dilation (kernel - 1) + output_padding + 1`; a single `", $one, "` is taken too (PyTorch's `", stringify!($method), "`; Zeiler et al. 2010).")]
            #[doc = "```"]
            #[doc = concat!("# use chainrule_autograd::{", stringify!($options), ", DType, Tensor};")]
            #[doc = $example]
            #[doc = "# Ok::<(), chainrule_autograd::Error>(())"]
            #[doc = "```"]
            ///
            /// # Errors
            /// Sizes that do not fit; an output padding of at least stride and dilation; different element types, or other ones than f32 and f64.
            pub fn $method(&self, weight: &Tensor, bias: Option<&Tensor>, spreading: &convolution::$options) -> Result<Tensor> {
                narrowed([self, weight], bias, |x, weight, bias| transpose(stringify!($method), x, weight, bias, spreading))
            }
        )* }
    };
}

transposed! {
    conv_transpose1d, ConvTranspose1d, "[N, IC, L]", "[IC, OC/groups, K]", "[N, OC, OL]", "[IC, L]",
        "let (x, w) = (Tensor::ones(&[1, 3, 8], DType::F32)?, Tensor::ones(&[3, 2, 4], DType::F32)?);\nassert_eq!(x.conv_transpose1d(&w, None, &ConvTranspose1d { stride: [2], padding: [1], ..ConvTranspose1d::default() })?.dims(), [1, 2, 16]);";
    conv_transpose2d, ConvTranspose2d, "[N, IC, H, W]", "[IC, OC/groups, KH, KW]", "[N, OC, OH, OW]", "[IC, H, W]",
        "let (x, w) = (Tensor::ones(&[1, 3, 2, 4], DType::F32)?, Tensor::ones(&[3, 2, 3, 3], DType::F32)?);\nassert_eq!(x.conv_transpose2d(&w, None, &ConvTranspose2d::default())?.dims(), [1, 2, 4, 6]);";
    conv_transpose3d, ConvTranspose3d, "[N, IC, D, H, W]", "[IC, OC/groups, KD, KH, KW]", "[N, OC, OD, OH, OW]", "[IC, D, H, W]",
        "let (x, w) = (Tensor::ones(&[1, 3, 2, 2, 2], DType::F32)?, Tensor::ones(&[3, 1, 2, 2, 2], DType::F32)?);\nassert_eq!(x.conv_transpose3d(&w, None, &ConvTranspose3d { stride: [2; 3], ..ConvTranspose3d::default() })?.dims(), [1, 1, 4, 4, 4]);";
}

/// `f` in the precision of the tape, with or without bias.
fn narrowed([x, weight]: [&Tensor; 2], bias: Option<&Tensor>, f: impl FnOnce(&Tensor, &Tensor, Option<&Tensor>) -> Result<Tensor>) -> Result<Tensor> {
    match bias {
        None => product([x, weight], |[x, weight]| f(x, weight, None)),
        Some(bias) => product([x, weight, bias], |[x, weight, bias]| f(x, weight, Some(bias))),
    }
}

/// With an activation, and the operation that it is.
fn convolve<const N: usize>(
    name: &'static str,
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    (activation, unary): (Activation, Option<Unary>),
    window: &Convolution<N>,
) -> Result<Tensor> {
    let y = convolution::convolution(&x.array, &weight.array, bias.map(|b| &b.array), activation, window)?;
    let (keep, window) = (keep_partners(x, weight).and(Keep::OUTPUT.when(unary.is_some())), *window);
    // The gradient of the sum.
    let by_sum = move |pass: &Pass| unary.map_or_else(|| Ok(pass.grad().clone()), |unary| by_output(unary, pass));
    let gradients = move |pass: &Pass, grad: &Tensor| -> Result<[Option<Tensor>; 2]> {
        Ok([
            pass.when(0, || input_gradient(grad, &pass.input(1)?, pass.input_dims(0), &window))?,
            pass.when(1, || weight_gradient(&pass.input(0)?, grad, pass.input_dims(1), &window))?,
        ])
    };
    match bias {
        None => Tensor::record(name, [x, weight], keep, y, move |pass| gradients(pass, &by_sum(pass)?)),
        Some(bias) => Tensor::record(name, [x, weight, bias], keep, y, move |pass| {
            let grad = by_sum(pass)?;
            let [x, weight] = gradients(pass, &grad)?;
            Ok([x, weight, pass.when(2, || bias_gradient::<N>(pass, &grad))?])
        }),
    }
}

/// The transposed convolution. Output padding of whole strides is zeros after the input, so that the input is as large as the convolution of the output.
fn transpose<const N: usize>(name: &'static str, x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, spreading: &TransposedConvolution<N>) -> Result<Tensor> {
    spreading.expect_valid(name)?;
    let TransposedConvolution { stride, output_padding, .. } = *spreading;
    let pads: [(isize, isize); N] = std::array::from_fn(|at| (0, (output_padding[at] / stride[at]) as isize));
    let spreading = TransposedConvolution { output_padding: std::array::from_fn(|at| output_padding[at] % stride[at]), ..*spreading };
    if x.rank() > N && pads != [(0, 0); N] {
        return transpose(name, &x.pad(&pads, 0.0)?, weight, bias, &spreading);
    }
    let y = convolution::transposed_convolution(&x.array, &weight.array, bias.map(|b| &b.array), &spreading)?;
    let (keep, window) = (keep_partners(x, weight), spreading.convolution());
    match bias {
        None => Tensor::record(name, [x, weight], keep, y, move |pass| transposed_gradients(pass, &window)),
        Some(bias) => Tensor::record(name, [x, weight, bias], keep, y, move |pass| {
            let [x, weight] = transposed_gradients(pass, &window)?;
            Ok([x, weight, pass.when(2, || bias_gradient::<N>(pass, pass.grad()))?])
        }),
    }
}

/// Of `y = Σ w · x` spread over the input of `window`, by x and w.
fn transposed_gradients<const N: usize>(pass: &Pass, window: &Convolution<N>) -> Result<[Option<Tensor>; 2]> {
    Ok([
        pass.when(0, || convolve("convolution", pass.grad(), &pass.input(1)?, None, (Activation::None, None), window))?,
        pass.when(1, || weight_gradient(pass.grad(), &pass.input(0)?, pass.input_dims(1), window))?,
    ])
}

/// Linear in the gradient and in the weight; `[N, OC, ..] -> input`.
fn input_gradient<const N: usize>(grad: &Tensor, weight: &Tensor, input: &[usize], window: &Convolution<N>) -> Result<Tensor> {
    let y = convolution::convolution_input_gradient(&grad.array, &weight.array, input, window)?;
    let window = *window;
    Tensor::record("convolution_input_gradient", [grad, weight], keep_partners(grad, weight), y, move |pass| transposed_gradients(pass, &window))
}

/// Linear in the input and in the gradient; `[N, IC, ..], [N, OC, ..] -> weight`.
fn weight_gradient<const N: usize>(x: &Tensor, grad: &Tensor, weight: &[usize], window: &Convolution<N>) -> Result<Tensor> {
    let y = convolution::convolution_weight_gradient(&x.array, &grad.array, weight, window)?;
    let window = *window;
    Tensor::record("convolution_weight_gradient", [x, grad], keep_partners(x, grad), y, move |pass| {
        Ok([
            pass.when(0, || input_gradient(&pass.input(1)?, pass.grad(), pass.input_dims(0), &window))?,
            pass.when(1, || convolve("convolution", &pass.input(0)?, pass.grad(), None, (Activation::None, None), &window))?,
        ])
    })
}

/// The sum over all dimensions but that of the channels.
fn bias_gradient<const N: usize>(pass: &Pass, grad: &Tensor) -> Result<Tensor> {
    if !pass.recorded() {
        return Ok(convolution::convolution_bias_gradient(&grad.array, N)?.into());
    }
    let rank = grad.rank() as isize;
    let others: Vec<isize> = (0..rank).filter(|axis| *axis != rank - N as isize - 1).collect();
    grad.sum_over(&others, false)
}
