//! Layers that change the grid of pixels: `Upsample`, `PixelShuffle`, `PixelUnshuffle`, `ChannelShuffle`, `Unfold`, `Fold`; and `LocalResponseNorm`.

use super::Pair;
use crate::{Layer, Module, observed};
use chainrule_autograd::{Filter, Interpolation, Patches, Result, Tensor};

/// Another size by interpolation, of N dimensions after any others: `[.., sizes] -> [.., sizes']` (PyTorch's `Upsample`).
/// ```
/// # use chainrule_autograd::{DType, Tensor};
/// # use chainrule_nn::{Layer, Upsample};
/// let x = Tensor::ones(&[1, 3, 4, 5], DType::F32)?;
/// assert_eq!(Upsample::factor([2.0, 2.0]).run(&x)?.dims(), [1, 3, 8, 10]);
/// assert_eq!(Upsample::size([7, 9]).linear().align_corners().run(&x)?.dims(), [1, 3, 7, 9]);
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
#[derive(Module, Clone, Copy, Debug, PartialEq)]
pub struct Upsample<const N: usize> {
    /// Size or factors, and how numbers in between are found.
    #[module(skip)]
    pub interpolation: Interpolation<N>,
}

impl<const N: usize> Upsample<N> {
    /// To these extents, nearest neighbours.
    pub fn size(size: [usize; N]) -> Upsample<N> {
        Upsample { interpolation: Interpolation::size(size) }
    }
    /// By these factors, nearest neighbours.
    pub fn factor(factor: [f64; N]) -> Upsample<N> {
        Upsample { interpolation: Interpolation::factor(factor) }
    }
    /// Linear, bilinear or trilinear.
    pub fn linear(self) -> Upsample<N> {
        self.filter(Filter::Linear)
    }
    /// Cubic curves (PyTorch's `bicubic`).
    pub fn cubic(self) -> Upsample<N> {
        self.filter(Filter::Cubic)
    }
    /// In this way.
    pub fn filter(mut self, filter: Filter) -> Upsample<N> {
        self.interpolation.filter = filter;
        self
    }
    /// The first and last numbers stay at the ends.
    pub fn align_corners(mut self) -> Upsample<N> {
        self.interpolation.align_corners = true;
        self
    }
    /// A smaller result takes all numbers into account.
    pub fn antialias(mut self) -> Upsample<N> {
        self.interpolation.antialias = true;
        self
    }
}

impl<const N: usize> Layer for Upsample<N> {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(observed(self, x.interpolate(&self.interpolation)?))
    }
}

/// Layers with a number: its name, the method, what it does, shapes, PyTorch's example.
macro_rules! rearrangements {
    ($($layer:ident $setting:ident $method:ident $dims:literal $result:literal, $what:literal;)*) => { $(
        #[doc = concat!($what, " (PyTorch's `", stringify!($layer), "`).")]
        #[doc = "```"]
        #[doc = "# use chainrule_autograd::{DType, Tensor};"]
        #[doc = concat!("# use chainrule_nn::{", stringify!($layer), ", Layer};")]
        #[doc = concat!("let x = Tensor::ones(&", $dims, ", DType::F32)?;")]
        #[doc = concat!("assert_eq!(", stringify!($layer), "::new(2).run(&x)?.dims(), ", $result, ");")]
        #[doc = "# Ok::<(), chainrule_nn::Error>(())"]
        #[doc = "```"]
        #[derive(Module, Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $layer {
            #[doc = concat!("See [`", stringify!($method), "`](Tensor::", stringify!($method), ").")]
            pub $setting: usize,
        }

        impl $layer {
            #[doc = concat!("See [`", stringify!($method), "`](Tensor::", stringify!($method), ").")]
            pub fn new($setting: usize) -> $layer {
                $layer { $setting }
            }
        }

        impl Layer for $layer {
            fn forward(&self, x: &Tensor) -> Result<Tensor> {
                Ok(observed(self, x.$method(self.$setting)?))
            }
        }
    )* };
}

rearrangements! {
    PixelShuffle factor pixel_shuffle "[1, 8, 3, 5]" "[1, 2, 6, 10]", "Blocks of channels become blocks of pixels: `[.., C r², H, W] -> [.., C, H r, W r]`";
    PixelUnshuffle factor pixel_unshuffle "[1, 2, 6, 10]" "[1, 8, 3, 5]", "Blocks of pixels become blocks of channels: `[.., C, H r, W r] -> [.., C r², H, W]`";
    ChannelShuffle groups channel_shuffle "[1, 8, 3, 5]" "[1, 8, 3, 5]", "Channels of groups taken in turn: `[N, C, ..] -> [N, C, ..]`";
}

/// What layers of patches have in common.
macro_rules! patches {
    ($($layer:ident)*) => { $(
        impl $layer {
            /// Steps of the window.
            pub fn stride(mut self, stride: impl Into<Pair>) -> $layer {
                self.patches.stride = stride.into().0;
                self
            }
            /// Zeros added on each side.
            pub fn padding(mut self, padding: impl Into<Pair>) -> $layer {
                self.patches.padding = padding.into().0;
                self
            }
            /// Distance between the window's taps.
            pub fn dilation(mut self, dilation: impl Into<Pair>) -> $layer {
                self.patches.dilation = dilation.into().0;
                self
            }
        }
    )* };
}
patches! { Unfold Fold }

/// The patch of each window as a column: `[N, C, H, W] -> [N, C · KH · KW, L]`, or without N (PyTorch's `Unfold`).
/// ```
/// # use chainrule_autograd::{DType, Tensor};
/// # use chainrule_nn::{Layer, Unfold};
/// assert_eq!(Unfold::new(2).stride(2).run(&Tensor::ones(&[1, 3, 4, 6], DType::F32)?)?.dims(), [1, 12, 6]);
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
#[derive(Module, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfold {
    /// Kernel, stride, padding, dilation.
    #[module(skip)]
    pub patches: Patches,
}

impl Unfold {
    /// Windows at every position.
    pub fn new(kernel: impl Into<Pair>) -> Unfold {
        Unfold { patches: Patches::new(kernel.into().0) }
    }
}

impl Layer for Unfold {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(observed(self, x.unfold(&self.patches)?))
    }
}

/// The sum of all patches in images of one size: `[N, C · KH · KW, L] -> [N, C, H, W]`, or without N (PyTorch's `Fold`).
/// ```
/// # use chainrule_autograd::{DType, Tensor};
/// # use chainrule_nn::{Fold, Layer};
/// assert_eq!(Fold::new([4, 6], 2).stride(2).run(&Tensor::ones(&[1, 12, 6], DType::F32)?)?.dims(), [1, 3, 4, 6]);
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
#[derive(Module, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fold {
    /// Height and width of the images.
    pub output: [usize; 2],
    /// Kernel, stride, padding, dilation.
    #[module(skip)]
    pub patches: Patches,
}

impl Fold {
    /// Images of this size from windows at every position.
    pub fn new(output: impl Into<Pair>, kernel: impl Into<Pair>) -> Fold {
        Fold { output: output.into().0, patches: Patches::new(kernel.into().0) }
    }
}

impl Layer for Fold {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(observed(self, x.fold(self.output, &self.patches)?))
    }
}

/// `x / (k + alpha/size Σ x²)^beta` over the `size` channels around each: `[N, C, ..] -> [N, C, ..]` (Krizhevsky et al. 2012, PyTorch's `LocalResponseNorm`).
/// ```
/// # use chainrule_autograd::{DType, Tensor};
/// # use chainrule_nn::{Layer, LocalResponseNorm};
/// let norm = LocalResponseNorm { alpha: 3.0, beta: 1.0, ..LocalResponseNorm::new(3) };
/// assert_eq!(norm.run(&Tensor::ones(&[1, 3, 1], DType::F64)?)?.to_vec::<f64>()?, [1.0 / 3.0, 0.25, 1.0 / 3.0]);
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
#[derive(Module, Clone, Copy, Debug, PartialEq)]
pub struct LocalResponseNorm {
    /// How many channels.
    pub size: usize,
    /// The weight of the mean square.
    pub alpha: f64,
    /// The power.
    pub beta: f64,
    /// What is added to the mean square.
    pub k: f64,
}

impl LocalResponseNorm {
    /// Over so many channels, with PyTorch's constants.
    pub fn new(size: usize) -> LocalResponseNorm {
        LocalResponseNorm { size, alpha: 1e-4, beta: 0.75, k: 1.0 }
    }
}

impl Layer for LocalResponseNorm {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(observed(self, x.local_response_norm(self.size, self.alpha, self.beta, self.k)?))
    }
}
