//! Pooling of images.

use super::Pair;
use crate::{Layer, Module, observed};
use chainrule_autograd::{Pool2d, Result, Tensor};

/// The builder methods of a pooling by windows.
macro_rules! windows {
    ($layer:ident) => {
        impl $layer {
            /// Distance between windows; the window's size unless told otherwise.
            pub fn stride(mut self, stride: impl Into<Pair>) -> Self {
                self.windows.stride = stride.into().0;
                self
            }
            /// Positions added on each side, at most half the window.
            pub fn padding(mut self, padding: impl Into<Pair>) -> Self {
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

/// The maximum of each window: `[N, C, H, W] -> [N, C, OH, OW]`, or without N (PyTorch's `MaxPool2d`).
/// ```
/// # use chainrule_autograd::{DType, Tensor};
/// # use chainrule_nn::{Layer, MaxPool2d};
/// let pool = MaxPool2d::new(3).stride(2).padding(1);
/// assert_eq!(pool.run(&Tensor::ones(&[1, 8, 32, 32], DType::F32)?)?.dims(), [1, 8, 16, 16]);
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
#[derive(Module, Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxPool2d {
    /// Kernel, stride, padding, dilation, ceil mode.
    #[module(skip)]
    pub windows: Pool2d,
}

impl MaxPool2d {
    /// Windows side by side.
    pub fn new(kernel: impl Into<Pair>) -> MaxPool2d {
        MaxPool2d { windows: Pool2d::new(kernel.into().0) }
    }
    /// Distance between the positions of a window.
    pub fn dilation(mut self, dilation: impl Into<Pair>) -> MaxPool2d {
        self.windows.dilation = dilation.into().0;
        self
    }
}
windows!(MaxPool2d);

impl Layer for MaxPool2d {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(observed(self, x.max_pool2d(&self.windows)?))
    }
}

/// The mean of each window: `[N, C, H, W] -> [N, C, OH, OW]`, or without N (PyTorch's `AvgPool2d`).
/// ```
/// # use chainrule_autograd::{DType, Tensor};
/// # use chainrule_nn::{AvgPool2d, Layer};
/// assert_eq!(AvgPool2d::new([2, 4]).run(&Tensor::ones(&[1, 8, 32, 32], DType::F32)?)?.dims(), [1, 8, 16, 8]);
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
#[derive(Module, Clone, Copy, Debug, PartialEq, Eq)]
pub struct AvgPool2d {
    /// Kernel, stride, padding, ceil mode.
    #[module(skip)]
    pub windows: Pool2d,
    /// Whether positions in the padding count.
    pub count_include_pad: bool,
    /// What to divide by instead of the count.
    pub divisor: Option<usize>,
}

impl AvgPool2d {
    /// Windows side by side.
    pub fn new(kernel: impl Into<Pair>) -> AvgPool2d {
        AvgPool2d { windows: Pool2d::new(kernel.into().0), count_include_pad: true, divisor: None }
    }
    /// Positions in the padding do not count.
    pub fn without_padding_count(self) -> AvgPool2d {
        AvgPool2d { count_include_pad: false, ..self }
    }
    /// The sum of a window is divided by this (PyTorch's `divisor_override`).
    pub fn divisor(self, divisor: usize) -> AvgPool2d {
        AvgPool2d { divisor: Some(divisor), ..self }
    }
}
windows!(AvgPool2d);

impl Layer for AvgPool2d {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(observed(self, x.avg_pool2d(&self.windows, self.count_include_pad, self.divisor)?))
    }
}

/// The mean of each of so many windows that tile the plane: `[N, C, H, W] -> [N, C, OH, OW]`, or without N (PyTorch's `AdaptiveAvgPool2d`).
/// ```
/// # use chainrule_autograd::{DType, Tensor};
/// # use chainrule_nn::{AdaptiveAvgPool2d, Layer};
/// assert_eq!(AdaptiveAvgPool2d::new(1).run(&Tensor::ones(&[2, 8, 7, 5], DType::F32)?)?.dims(), [2, 8, 1, 1]);
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
#[derive(Module, Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdaptiveAvgPool2d {
    /// `[OH, OW]`
    pub output: [usize; 2],
}

impl AdaptiveAvgPool2d {
    /// So many windows along height and width.
    pub fn new(output: impl Into<Pair>) -> AdaptiveAvgPool2d {
        AdaptiveAvgPool2d { output: output.into().0 }
    }
}

impl Layer for AdaptiveAvgPool2d {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(observed(self, x.adaptive_avg_pool2d(self.output)?))
    }
}

/// The maximum of each of so many windows that tile the plane: `[N, C, H, W] -> [N, C, OH, OW]`, or without N (PyTorch's `AdaptiveMaxPool2d`).
/// ```
/// # use chainrule_autograd::{DType, Tensor};
/// # use chainrule_nn::{AdaptiveMaxPool2d, Layer};
/// assert_eq!(AdaptiveMaxPool2d::new([3, 2]).run(&Tensor::ones(&[2, 8, 7, 5], DType::F32)?)?.dims(), [2, 8, 3, 2]);
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
#[derive(Module, Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdaptiveMaxPool2d {
    /// `[OH, OW]`
    pub output: [usize; 2],
}

impl AdaptiveMaxPool2d {
    /// So many windows along height and width.
    pub fn new(output: impl Into<Pair>) -> AdaptiveMaxPool2d {
        AdaptiveMaxPool2d { output: output.into().0 }
    }
}

impl Layer for AdaptiveMaxPool2d {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(observed(self, x.adaptive_max_pool2d(self.output)?))
    }
}
