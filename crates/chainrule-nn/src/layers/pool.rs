//! Pooling of sequences, images and volumes.

use super::Extents;
use crate::{Layer, Module, observed};
use chainrule_autograd::{Pool1d, Pool2d, Pool3d, Result, Tensor};

/// What layers with windows have in common.
macro_rules! windows {
    ($layer:ident $n:literal) => {
        impl $layer {
            /// Distance between windows; the window's size unless told otherwise.
            pub fn stride(mut self, stride: impl Into<Extents<$n>>) -> Self {
                self.windows.stride = stride.into().0;
                self
            }
            /// Positions added on each side, at most half the window.
            pub fn padding(mut self, padding: impl Into<Extents<$n>>) -> Self {
                self.windows.padding = padding.into().0;
                self
            }
            /// The last window may reach beyond the padding.
            pub fn ceil_mode(mut self) -> Self {
                self.windows.ceil_mode = true;
                self
            }
        }
    };
}

macro_rules! max_pools {
    ($($layer:ident $n:literal $method:ident $windows:ident, $x:literal, $y:literal;)*) => { $(
        #[doc = concat!("The maximum of each window: `", $x, " -> ", $y, "`, or without N (PyTorch's `", stringify!($layer), "`).")]
        #[doc = "```"]
        #[doc = "# use chainrule_autograd::{DType, Tensor};"]
        #[doc = concat!("# use chainrule_nn::{", stringify!($layer), ", Layer};")]
        #[doc = concat!("let pool = ", stringify!($layer), "::new(3).stride(2).padding(1);")]
        #[doc = concat!("let x = Tensor::ones(&[&[1, 8][..], &[16; ", $n, "]].concat(), DType::F32)?;")]
        #[doc = concat!("assert_eq!(pool.run(&x)?.dims(), [&[1, 8][..], &[8; ", $n, "]].concat());")]
        #[doc = "# Ok::<(), chainrule_nn::Error>(())"]
        #[doc = "```"]
        #[derive(Module, Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $layer {
            /// Kernel, stride, padding, dilation, ceil mode.
            #[module(skip)]
            pub windows: $windows,
        }

        impl $layer {
            /// Windows side by side.
            pub fn new(kernel: impl Into<Extents<$n>>) -> $layer {
                $layer { windows: $windows::new(kernel.into().0) }
            }
            /// Distance between the positions of a window.
            pub fn dilation(mut self, dilation: impl Into<Extents<$n>>) -> $layer {
                self.windows.dilation = dilation.into().0;
                self
            }
        }
        windows!($layer $n);

        impl Layer for $layer {
            fn forward(&self, x: &Tensor) -> Result<Tensor> {
                Ok(observed(self, x.$method(&self.windows)?))
            }
        }
    )* };
}

max_pools! {
    MaxPool1d 1 max_pool1d Pool1d, "[N, C, L]", "[N, C, OL]";
    MaxPool2d 2 max_pool2d Pool2d, "[N, C, H, W]", "[N, C, OH, OW]";
    MaxPool3d 3 max_pool3d Pool3d, "[N, C, D, H, W]", "[N, C, OD, OH, OW]";
}

macro_rules! average_pools {
    ($($layer:ident $n:literal $method:ident $windows:ident, $x:literal, $y:literal;)*) => { $(
        #[doc = concat!("The mean of each window: `", $x, " -> ", $y, "`, or without N (PyTorch's `", stringify!($layer), "`).")]
        #[doc = "```"]
        #[doc = "# use chainrule_autograd::{DType, Tensor};"]
        #[doc = concat!("# use chainrule_nn::{", stringify!($layer), ", Layer};")]
        #[doc = concat!("let x = Tensor::ones(&[&[1, 8][..], &[16; ", $n, "]].concat(), DType::F32)?;")]
        #[doc = concat!("assert_eq!(", stringify!($layer), "::new(4).run(&x)?.dims(), [&[1, 8][..], &[4; ", $n, "]].concat());")]
        #[doc = "# Ok::<(), chainrule_nn::Error>(())"]
        #[doc = "```"]
        #[derive(Module, Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $layer {
            /// Kernel, stride, padding, ceil mode.
            #[module(skip)]
            pub windows: $windows,
            /// Whether positions in the padding count.
            pub count_include_pad: bool,
            /// What to divide by instead of the count.
            pub divisor: Option<usize>,
        }

        impl $layer {
            /// Windows side by side.
            pub fn new(kernel: impl Into<Extents<$n>>) -> $layer {
                $layer { windows: $windows::new(kernel.into().0), count_include_pad: true, divisor: None }
            }
            /// Positions in the padding do not count.
            pub fn without_padding_count(self) -> $layer {
                $layer { count_include_pad: false, ..self }
            }
            /// The sum of a window is divided by this (PyTorch's `divisor_override`).
            pub fn divisor(self, divisor: usize) -> $layer {
                $layer { divisor: Some(divisor), ..self }
            }
        }
        windows!($layer $n);

        impl Layer for $layer {
            fn forward(&self, x: &Tensor) -> Result<Tensor> {
                Ok(observed(self, x.$method(&self.windows, self.count_include_pad, self.divisor)?))
            }
        }
    )* };
}

average_pools! {
    AvgPool1d 1 avg_pool1d Pool1d, "[N, C, L]", "[N, C, OL]";
    AvgPool2d 2 avg_pool2d Pool2d, "[N, C, H, W]", "[N, C, OH, OW]";
    AvgPool3d 3 avg_pool3d Pool3d, "[N, C, D, H, W]", "[N, C, OD, OH, OW]";
}

macro_rules! power_pools {
    ($($layer:ident $n:literal $method:ident $windows:ident, $x:literal, $y:literal;)*) => { $(
        #[doc = concat!("`(Σ xᵖ)^(1/p)` over each window: `", $x, " -> ", $y, "`, or without N (PyTorch's `", stringify!($layer), "`).")]
        #[doc = "```"]
        #[doc = "# use chainrule_autograd::{DType, Tensor};"]
        #[doc = concat!("# use chainrule_nn::{", stringify!($layer), ", Layer};")]
        #[doc = concat!("let x = Tensor::ones(&[&[1, 1][..], &[3; ", $n, "]].concat(), DType::F64)?;")]
        #[doc = concat!("assert_eq!(", stringify!($layer), "::new(1.0, 3).run(&x)?.item()?, 3f64.powi(", $n, "));")]
        #[doc = "# Ok::<(), chainrule_nn::Error>(())"]
        #[doc = "```"]
        #[derive(Module, Clone, Copy, Debug, PartialEq)]
        pub struct $layer {
            /// The power.
            pub p: f64,
            /// Kernel, stride, ceil mode.
            #[module(skip)]
            pub windows: $windows,
        }

        impl $layer {
            /// Windows side by side.
            pub fn new(p: f64, kernel: impl Into<Extents<$n>>) -> $layer {
                $layer { p, windows: $windows::new(kernel.into().0) }
            }
        }
        windows!($layer $n);

        impl Layer for $layer {
            fn forward(&self, x: &Tensor) -> Result<Tensor> {
                Ok(observed(self, x.$method(self.p, &self.windows)?))
            }
        }
    )* };
}

power_pools! {
    LPPool1d 1 lp_pool1d Pool1d, "[N, C, L]", "[N, C, OL]";
    LPPool2d 2 lp_pool2d Pool2d, "[N, C, H, W]", "[N, C, OH, OW]";
    LPPool3d 3 lp_pool3d Pool3d, "[N, C, D, H, W]", "[N, C, OD, OH, OW]";
}

macro_rules! adaptive_pools {
    ($($layer:ident $n:literal $method:ident $what:literal, $x:literal, $y:literal;)*) => { $(
        #[doc = concat!($what, " of each of so many windows that tile the input: `", $x, " -> ", $y, "`, or without N (PyTorch's `", stringify!($layer), "`).")]
        #[doc = "```"]
        #[doc = "# use chainrule_autograd::{DType, Tensor};"]
        #[doc = concat!("# use chainrule_nn::{", stringify!($layer), ", Layer};")]
        #[doc = concat!("let x = Tensor::ones(&[&[2, 8][..], &[7; ", $n, "]].concat(), DType::F32)?;")]
        #[doc = concat!("assert_eq!(", stringify!($layer), "::new(3).run(&x)?.dims(), [&[2, 8][..], &[3; ", $n, "]].concat());")]
        #[doc = "# Ok::<(), chainrule_nn::Error>(())"]
        #[doc = "```"]
        #[derive(Module, Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $layer {
            /// The extents of the result.
            pub output: [usize; $n],
        }

        impl $layer {
            /// So many windows along each dimension; with one of each, global pooling.
            pub fn new(output: impl Into<Extents<$n>>) -> $layer {
                $layer { output: output.into().0 }
            }
        }

        impl Layer for $layer {
            fn forward(&self, x: &Tensor) -> Result<Tensor> {
                Ok(observed(self, x.$method(self.output)?))
            }
        }
    )* };
}

adaptive_pools! {
    AdaptiveAvgPool1d 1 adaptive_avg_pool1d "The mean", "[N, C, L]", "[N, C, OL]";
    AdaptiveAvgPool2d 2 adaptive_avg_pool2d "The mean", "[N, C, H, W]", "[N, C, OH, OW]";
    AdaptiveAvgPool3d 3 adaptive_avg_pool3d "The mean", "[N, C, D, H, W]", "[N, C, OD, OH, OW]";
    AdaptiveMaxPool1d 1 adaptive_max_pool1d "The maximum", "[N, C, L]", "[N, C, OL]";
    AdaptiveMaxPool2d 2 adaptive_max_pool2d "The maximum", "[N, C, H, W]", "[N, C, OH, OW]";
    AdaptiveMaxPool3d 3 adaptive_max_pool3d "The maximum", "[N, C, D, H, W]", "[N, C, OD, OH, OW]";
}
