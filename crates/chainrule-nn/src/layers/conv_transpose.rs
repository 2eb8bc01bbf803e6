//! Transposed convolution (PyTorch's `ConvTranspose1d`, `ConvTranspose2d`, `ConvTranspose3d`; Zeiler et al. 2010).

use super::Extents;
use super::conv::{expect_groups, parameters};
use crate::adapter::{Operation, adapted};
use crate::{BoxedAdapter, Param};
use chainrule_autograd::{self as options, Result, Rng};

macro_rules! transposed {
    ($($layer:ident $n:literal $op:literal, $x:literal, $w:literal, $y:literal;)*) => { $(
        #[doc = concat!("`", $x, " -> ", $y, "`, each extent `(size - 1) stride - 2 padding + dilation (kernel - 1) + output_padding + 1`; or without N (PyTorch's `", stringify!($layer), "`).")]
        #[doc = "```"]
        #[doc = "# use chainrule_autograd::{DType, Rng, Tensor};"]
        #[doc = concat!("# use chainrule_nn::{", stringify!($layer), ", Layer};")]
        #[doc = concat!("let doubling = ", stringify!($layer), "::new(3, 8, 4, &mut Rng::seeded(0))?.stride(2).padding(1);")]
        #[doc = concat!("let x = Tensor::ones(&[&[1, 3][..], &[5; ", $n, "]].concat(), DType::F32)?;")]
        #[doc = concat!("assert_eq!(doubling.run(&x)?.dims(), [&[1, 8][..], &[10; ", $n, "]].concat());")]
        #[doc = "# Ok::<(), chainrule_nn::Error>(())"]
        #[doc = "```"]
        #[derive(Clone)]
        pub struct $layer {
            #[doc = concat!("`", $w, "`")]
            pub weight: Param,
            /// `[OC]`
            pub bias: Option<Param>,
            /// Stride, padding, output padding, dilation and groups.
            pub spreading: options::$layer,
            /// What changes the result without touching the weight.
            pub adapter: Option<BoxedAdapter>,
        }

        impl $layer {
            /// A layer of f32 of stride 1 without padding, weight and bias uniform within `±1/sqrt(OC · kernel)`.
            ///
            /// # Errors
            /// No memory.
            pub fn new(inputs: usize, outputs: usize, kernel: impl Into<Extents<$n>>, rng: &mut Rng) -> Result<$layer> {
                $layer::grouped(inputs, outputs, kernel, 1, rng)
            }

            /// The same in `groups` independent parts.
            ///
            /// # Errors
            /// Channels that `groups` does not divide; no memory.
            pub fn grouped(inputs: usize, outputs: usize, kernel: impl Into<Extents<$n>>, groups: usize, rng: &mut Rng) -> Result<$layer> {
                expect_groups($op, groups, inputs, outputs)?;
                let (weight, bias) = parameters([inputs, outputs / groups, outputs], &kernel.into().0, rng)?;
                let spreading = options::$layer { groups, ..Default::default() };
                Ok($layer { weight: Param::new(weight), bias: Some(Param::new(bias)), spreading, adapter: None })
            }

            /// Distance in the output between neighbours of the input.
            pub fn stride(mut self, stride: impl Into<Extents<$n>>) -> $layer {
                self.spreading.stride = stride.into().0;
                self
            }
            /// How much is cut from each side of the output.
            pub fn padding(mut self, padding: impl Into<Extents<$n>>) -> $layer {
                self.spreading.padding = padding.into().0;
                self
            }
            /// How much is added at the end of the output, less than the stride or the dilation.
            pub fn output_padding(mut self, output_padding: impl Into<Extents<$n>>) -> $layer {
                self.spreading.output_padding = output_padding.into().0;
                self
            }
            /// Distance between the kernel's taps.
            pub fn dilation(mut self, dilation: impl Into<Extents<$n>>) -> $layer {
                self.spreading.dilation = dilation.into().0;
                self
            }
            /// Without bias.
            pub fn without_bias(self) -> $layer {
                $layer { bias: None, ..self }
            }
        }

        adapted!($layer, self, Operation::$layer(self.spreading), bias: bias);
    )* };
}

transposed! {
    ConvTranspose1d 1 "conv_transpose1d", "[N, IC, L]", "[IC, OC/groups, K]", "[N, OC, OL]";
    ConvTranspose2d 2 "conv_transpose2d", "[N, IC, H, W]", "[IC, OC/groups, KH, KW]", "[N, OC, OH, OW]";
    ConvTranspose3d 3 "conv_transpose3d", "[N, IC, D, H, W]", "[IC, OC/groups, KD, KH, KW]", "[N, OC, OD, OH, OW]";
}
