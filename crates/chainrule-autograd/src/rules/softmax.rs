//! Softmax and its logarithm. Both keep their output only.

use crate::{Keep, Result, Tensor};
use chainrule_core::ops::softmax;

impl Tensor {
    /// The probabilities `exp(x) / sum exp(x)` along `axis` (PyTorch's `softmax`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let p = Tensor::from_slice(&[1f32, 1.0], &[2])?.softmax(-1)?;
    /// assert_eq!(p.to_vec::<f32>()?, [0.5, 0.5]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// A dimension out of range; an element type other than f32 and f64.
    pub fn softmax(&self, axis: isize) -> Result<Tensor> {
        let y = softmax::softmax(&self.array, axis)?;
        Tensor::record("softmax", [self], Keep::OUTPUT, y, move |pass| {
            if !pass.recorded() {
                return Ok([Some(softmax::softmax_backward(&pass.grad().array, pass.output_array()?, axis)?.into())]);
            }
            let y = pass.output()?;
            let product = pass.grad().mul(&y)?;
            Ok([Some(product.sub(&y.mul(&product.sum_over(&[axis], true)?)?)?)])
        })
    }

    /// `x - ln sum exp(x)` along `axis`, without overflow (PyTorch's `log_softmax`).
    /// ```
    /// # use chainrule_autograd::{DType, Tensor};
    /// let y = Tensor::zeros(&[2], DType::F64)?.log_softmax(0)?;
    /// assert_eq!(y.to_vec::<f64>()?, [-(2f64.ln()); 2]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`softmax`](Tensor::softmax).
    pub fn log_softmax(&self, axis: isize) -> Result<Tensor> {
        let y = softmax::log_softmax(&self.array, axis)?;
        Tensor::record("log_softmax", [self], Keep::OUTPUT, y, move |pass| {
            if !pass.recorded() {
                return Ok([Some(softmax::log_softmax_backward(&pass.grad().array, pass.output_array()?, axis)?.into())]);
            }
            let total = pass.grad().sum_over(&[axis], true)?;
            Ok([Some(pass.grad().sub(&pass.output()?.exp()?.mul(&total)?)?)])
        })
    }
}
