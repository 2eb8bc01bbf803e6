//! Convolution of images (PyTorch's `Conv2d`).

use super::Pair;
use super::linear::bias;
use crate::adapter::{Operation, adapted};
use crate::init::Init;
use crate::{BoxedAdapter, Param};
use chainrule_autograd::{Conv2d as Window, DType, Error, Result, Rng};

/// `[N, IC, H, W] -> [N, OC, OH, OW]` with `OH = (H + 2 padding - dilation (KH - 1) - 1) / stride + 1`.
/// ```
/// # use chainrule_autograd::{DType, Rng, Tensor};
/// # use chainrule_nn::{Conv2d, Layer};
/// let conv = Conv2d::new(3, 8, 3, &mut Rng::seeded(0))?.stride(2).padding([1, 1]);
/// assert_eq!(conv.run(&Tensor::ones(&[1, 3, 32, 32], DType::F32)?)?.dims(), [1, 8, 16, 16]);
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
#[derive(Clone)]
pub struct Conv2d {
    /// `[OC, IC/groups, KH, KW]`
    pub weight: Param,
    /// `[OC]`
    pub bias: Option<Param>,
    /// Stride, padding, dilation and groups.
    pub window: Window,
    /// What changes the result without touching the weight.
    pub adapter: Option<BoxedAdapter>,
}

impl Conv2d {
    /// A layer of f32 of stride 1 without padding, weight and bias uniform within `±1/sqrt(IC · KH · KW)`.
    ///
    /// # Errors
    /// No memory.
    pub fn new(inputs: usize, outputs: usize, kernel: impl Into<Pair>, rng: &mut Rng) -> Result<Conv2d> {
        Conv2d::grouped(inputs, outputs, kernel, 1, rng)
    }

    /// The same in `groups` independent parts; depthwise when there are as many as channels.
    /// ```
    /// # use chainrule_autograd::{DType, Rng, Tensor};
    /// # use chainrule_nn::Conv2d;
    /// let depthwise = Conv2d::grouped(8, 8, 3, 8, &mut Rng::seeded(0))?;
    /// assert_eq!(depthwise.weight.value.dims(), [8, 1, 3, 3]);
    /// # Ok::<(), chainrule_nn::Error>(())
    /// ```
    ///
    /// # Errors
    /// Channels that `groups` does not divide; no memory.
    pub fn grouped(inputs: usize, outputs: usize, kernel: impl Into<Pair>, groups: usize, rng: &mut Rng) -> Result<Conv2d> {
        let Pair([height, width]) = kernel.into();
        if groups == 0 || !inputs.is_multiple_of(groups) || !outputs.is_multiple_of(groups) {
            return Err(Error::value("conv2d", format!("groups = {groups} does not divide {inputs} input and {outputs} output channels")));
        }
        let inputs = inputs / groups;
        let weight = Init::layer_default().array(&[outputs, inputs, height, width], DType::F32, rng)?;
        let bias = bias(outputs, inputs.saturating_mul(height).saturating_mul(width), rng)?;
        let window = Window { groups, ..Window::default() };
        Ok(Conv2d { weight: Param::new(weight), bias: Some(Param::new(bias)), window, adapter: None })
    }

    /// Steps of the window.
    pub fn stride(mut self, stride: impl Into<Pair>) -> Conv2d {
        self.window.stride = stride.into().0;
        self
    }
    /// Zeros added on each side.
    pub fn padding(mut self, padding: impl Into<Pair>) -> Conv2d {
        self.window.padding = padding.into().0;
        self
    }
    /// Distance between the window's taps.
    pub fn dilation(mut self, dilation: impl Into<Pair>) -> Conv2d {
        self.window.dilation = dilation.into().0;
        self
    }
    /// Without bias.
    pub fn without_bias(self) -> Conv2d {
        Conv2d { bias: None, ..self }
    }
}

adapted!(Conv2d, self, Operation::Conv2d(self.window), bias: bias);
