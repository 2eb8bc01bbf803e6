//! Convolution of sequences, images and volumes (PyTorch's `Conv1d`, `Conv2d`, `Conv3d`).

use super::Extents;
use super::linear::bias;
use crate::adapter::{Operation, adapted};
use crate::init::Init;
use crate::{BoxedAdapter, Param};
use chainrule_autograd::{self as options, Array, Convolution, DType, Error, PadMode, Result, Rng, Tensor};

/// Weight and bias of the channels of one group, uniform within `±1/sqrt(fan_in)`; the weight is `[outer, inner, kernel..]`.
pub(super) fn parameters([outer, inner, outputs]: [usize; 3], kernel: &[usize], rng: &mut Rng) -> Result<(Array, Array)> {
    let weight = Init::layer_default().array(&[&[outer, inner], kernel].concat(), DType::F32, rng)?;
    let bias = bias(outputs, kernel.iter().fold(inner, |fan, extent| fan.saturating_mul(*extent)), rng)?;
    Ok((weight, bias))
}

/// An error unless `groups` divides both.
pub(super) fn expect_groups(op: &'static str, groups: usize, inputs: usize, outputs: usize) -> Result<()> {
    if groups == 0 || !inputs.is_multiple_of(groups) || !outputs.is_multiple_of(groups) {
        return Err(Error::value(op, format!("groups = {groups} does not divide {inputs} input and {outputs} output channels")));
    }
    Ok(())
}

/// The zeros that the window itself adds on both sides, and the rim that the input gets before.
fn surroundings<const N: usize>(window: &Convolution<N>, kernel: &[usize], mode: PadMode, same: bool) -> ([usize; N], [(isize, isize); N]) {
    let (mut zeros, mut rim) = ([0; N], [(0, 0); N]);
    for at in 0..N {
        let all = if same { window.dilation[at].saturating_mul(kernel[at].saturating_sub(1)) } else { window.padding[at].saturating_mul(2) };
        let (before, after) = (all / 2, all - all / 2);
        if mode == PadMode::default() {
            (zeros[at], rim[at]) = (before, (0, (after - before) as isize));
        } else {
            rim[at] = (before as isize, after as isize);
        }
    }
    (zeros, rim)
}

macro_rules! convolutions {
    ($($layer:ident $n:literal $op:literal, $x:literal, $w:literal, $y:literal;)*) => { $(
        #[doc = concat!("`", $x, " -> ", $y, "`, each extent `(size + 2 padding - dilation (kernel - 1) - 1) / stride + 1`; or without N (PyTorch's `", stringify!($layer), "`).")]
        #[doc = "```"]
        #[doc = "# use chainrule_autograd::{DType, Rng, Tensor};"]
        #[doc = concat!("# use chainrule_nn::{", stringify!($layer), ", Layer};")]
        #[doc = concat!("let conv = ", stringify!($layer), "::new(3, 8, 3, &mut Rng::seeded(0))?.stride(2).padding([1; ", $n, "]);")]
        #[doc = concat!("let x = Tensor::ones(&[&[1, 3][..], &[8; ", $n, "]].concat(), DType::F32)?;")]
        #[doc = concat!("assert_eq!(conv.run(&x)?.dims(), [&[1, 8][..], &[4; ", $n, "]].concat());")]
        #[doc = "# Ok::<(), chainrule_nn::Error>(())"]
        #[doc = "```"]
        #[derive(Clone)]
        pub struct $layer {
            #[doc = concat!("`", $w, "`")]
            pub weight: Param,
            /// `[OC]`
            pub bias: Option<Param>,
            /// Stride, padding, dilation and groups.
            pub window: options::$layer,
            /// What the padding consists of: zeros unless told otherwise.
            pub padding_mode: PadMode,
            /// Whether the padding is such that the result has the input's extents.
            pub same: bool,
            /// What changes the result without touching the weight.
            pub adapter: Option<BoxedAdapter>,
        }

        impl $layer {
            /// A layer of f32 of stride 1 without padding, weight and bias uniform within `±1/sqrt(IC · kernel)`.
            ///
            /// # Errors
            /// No memory.
            pub fn new(inputs: usize, outputs: usize, kernel: impl Into<Extents<$n>>, rng: &mut Rng) -> Result<$layer> {
                $layer::grouped(inputs, outputs, kernel, 1, rng)
            }

            /// The same in `groups` independent parts; depthwise when there are as many as channels.
            #[doc = "```"]
            #[doc = "# use chainrule_autograd::{DType, Rng, Tensor};"]
            #[doc = concat!("# use chainrule_nn::", stringify!($layer), ";")]
            #[doc = concat!("let depthwise = ", stringify!($layer), "::grouped(8, 8, 3, 8, &mut Rng::seeded(0))?;")]
            #[doc = concat!("assert_eq!(depthwise.weight.value.dims(), [&[8, 1][..], &[3; ", $n, "]].concat());")]
            #[doc = "# Ok::<(), chainrule_nn::Error>(())"]
            #[doc = "```"]
            ///
            /// # Errors
            /// Channels that `groups` does not divide; no memory.
            pub fn grouped(inputs: usize, outputs: usize, kernel: impl Into<Extents<$n>>, groups: usize, rng: &mut Rng) -> Result<$layer> {
                expect_groups($op, groups, inputs, outputs)?;
                let (weight, bias) = parameters([outputs, inputs / groups, outputs], &kernel.into().0, rng)?;
                let window = options::$layer { groups, ..Default::default() };
                let (weight, bias) = (Param::new(weight), Some(Param::new(bias)));
                Ok($layer { weight, bias, window, padding_mode: PadMode::default(), same: false, adapter: None })
            }

            /// Steps of the window.
            pub fn stride(mut self, stride: impl Into<Extents<$n>>) -> $layer {
                self.window.stride = stride.into().0;
                self
            }
            /// Positions added on each side.
            pub fn padding(mut self, padding: impl Into<Extents<$n>>) -> $layer {
                self.window.padding = padding.into().0;
                self
            }
            /// As much padding as keeps the extents; for a stride of 1 (PyTorch's `padding='same'`).
            pub fn same(self) -> $layer {
                $layer { same: true, ..self }
            }
            /// What the padding consists of.
            pub fn padding_mode(self, padding_mode: PadMode) -> $layer {
                $layer { padding_mode, ..self }
            }
            /// Distance between the window's taps.
            pub fn dilation(mut self, dilation: impl Into<Extents<$n>>) -> $layer {
                self.window.dilation = dilation.into().0;
                self
            }
            /// Without bias.
            pub fn without_bias(self) -> $layer {
                $layer { bias: None, ..self }
            }

            fn surroundings(&self) -> ([usize; $n], [(isize, isize); $n]) {
                surroundings(&self.window, self.weight.value.dims().get(2..).unwrap_or(&[]), self.padding_mode, self.same)
            }
            /// The convolution of the input with its rim.
            fn operation(&self) -> Operation {
                Operation::$layer(options::$layer { padding: self.surroundings().0, ..self.window })
            }
            /// The input with its rim.
            fn surrounded(&self, x: &Tensor) -> Result<Tensor> {
                if self.same && self.window.stride != [1; $n] {
                    return Err(Error::value($op, format!("stride {:?} cannot keep the extents of the input, expected 1", self.window.stride)));
                }
                match self.surroundings().1 {
                    rim if rim == [(0, 0); $n] || x.rank() <= $n => Ok(x.clone()),
                    rim => x.pad_with(&rim, self.padding_mode),
                }
            }
        }

        adapted!($layer, self, self.operation(), bias: bias, input: surrounded);
    )* };
}

convolutions! {
    Conv1d 1 "conv1d", "[N, IC, L]", "[OC, IC/groups, K]", "[N, OC, OL]";
    Conv2d 2 "conv2d", "[N, IC, H, W]", "[OC, IC/groups, KH, KW]", "[N, OC, OH, OW]";
    Conv3d 3 "conv3d", "[N, IC, D, H, W]", "[OC, IC/groups, KD, KH, KW]", "[N, OC, OD, OH, OW]";
}
