//! Convolution of images. Its two gradients are operations, and the three are each other's derivatives: all orders are exact.

use crate::rules::binary::keep_partners;
use crate::{Pass, Result, Tensor};
use chainrule_core::ops::convolution::{self, Conv2d};

impl Tensor {
    /// `x [N, IC, H, W]`, weight `[OC, IC/groups, KH, KW]`, bias `[OC]` -> `[N, OC, OH, OW]` with `OH = (H + 2 padding - dilation (KH - 1) - 1) / stride + 1` (PyTorch's `conv2d`).
    /// ```
    /// # use chainrule_autograd::{Conv2d, DType, Tensor};
    /// let (x, w) = (Tensor::ones(&[1, 1, 4, 4], DType::F32)?, Tensor::ones(&[2, 1, 3, 3], DType::F32)?);
    /// assert_eq!(x.conv2d(&w, None, &Conv2d { padding: [1, 1], ..Conv2d::default() })?.dims(), [1, 2, 4, 4]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Sizes that do not fit; different element types, or other ones than f32 and f64.
    pub fn conv2d(&self, weight: &Tensor, bias: Option<&Tensor>, window: &Conv2d) -> Result<Tensor> {
        let y = convolution::conv2d(&self.array, &weight.array, bias.map(|b| &b.array), window)?;
        let (keep, window) = (keep_partners(self, weight), *window);
        match bias {
            None => Tensor::record("conv2d", [self, weight], keep, y, move |pass| gradients(pass, &window)),
            Some(bias) => Tensor::record("conv2d_bias", [self, weight, bias], keep, y, move |pass| {
                let [x, weight] = gradients(pass, &window)?;
                Ok([x, weight, pass.when(2, || bias_gradient(pass))?])
            }),
        }
    }
}

fn gradients(pass: &Pass, window: &Conv2d) -> Result<[Option<Tensor>; 2]> {
    Ok([
        pass.when(0, || input_gradient(pass.grad(), &pass.input(1)?, pass.input_dims(0), window))?,
        pass.when(1, || weight_gradient(&pass.input(0)?, pass.grad(), pass.input_dims(1), window))?,
    ])
}

/// Linear in the gradient and in the weight; `[N, OC, OH, OW] -> input`.
fn input_gradient(grad: &Tensor, weight: &Tensor, input: &[usize], window: &Conv2d) -> Result<Tensor> {
    let y = convolution::conv2d_input_gradient(&grad.array, &weight.array, input, window)?;
    let window = *window;
    Tensor::record("conv2d_input_gradient", [grad, weight], keep_partners(grad, weight), y, move |pass| {
        Ok([
            pass.when(0, || pass.grad().conv2d(&pass.input(1)?, None, &window))?,
            pass.when(1, || weight_gradient(pass.grad(), &pass.input(0)?, pass.input_dims(1), &window))?,
        ])
    })
}

/// Linear in the input and in the gradient; `[N, IC, H, W], [N, OC, OH, OW] -> weight`.
fn weight_gradient(x: &Tensor, grad: &Tensor, weight: &[usize], window: &Conv2d) -> Result<Tensor> {
    let y = convolution::conv2d_weight_gradient(&x.array, &grad.array, weight, window)?;
    let window = *window;
    Tensor::record("conv2d_weight_gradient", [x, grad], keep_partners(x, grad), y, move |pass| {
        Ok([
            pass.when(0, || input_gradient(&pass.input(1)?, pass.grad(), pass.input_dims(0), &window))?,
            pass.when(1, || pass.input(0)?.conv2d(pass.grad(), None, &window))?,
        ])
    })
}

fn bias_gradient(pass: &Pass) -> Result<Tensor> {
    if pass.recorded() { pass.grad().sum_over(&[0, 2, 3], false) } else { Ok(convolution::conv2d_bias_gradient(&pass.grad().array)?.into()) }
}
