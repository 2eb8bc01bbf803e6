//! Pooling of images `[N, C, H, W]` or `[C, H, W]`. Given the places of the maxima every pooling is linear, so each backward pass is an operation whose rule is the way forward.

use crate::{Array, Keep, Result, Tensor};
use chainrule_core::ops::pool::{self, Pool2d};

impl Tensor {
    /// The maximum of each window, the first of equals (PyTorch's `max_pool2d`). Only the places of the maxima are kept.
    /// ```
    /// # use chainrule_autograd::{Pool2d, Tensor};
    /// let x = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0], &[1, 1, 2, 2])?;
    /// assert_eq!(x.max_pool2d(&Pool2d::new([2, 2]))?.item()?, 4.0);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Another number of dimensions; windows that do not fit; an element type other than f32 and f64.
    pub fn max_pool2d(&self, windows: &Pool2d) -> Result<Tensor> {
        let (y, places) = pool::max_pool2d(&self.array, windows)?;
        self.maxima(y, places, windows)
    }

    /// The same, and the position of each maximum in its `H · W` plane, i64 (PyTorch's `return_indices`).
    ///
    /// # Errors
    /// As for [`max_pool2d`](Tensor::max_pool2d).
    pub fn max_pool2d_with_positions(&self, windows: &Pool2d) -> Result<(Tensor, Tensor)> {
        let (y, places) = pool::max_pool2d(&self.array, windows)?;
        let positions = pool::max_pool2d_positions(&places, self.dims(), windows)?;
        Ok((self.maxima(y, places, windows)?, Tensor::record_without_rule("max_pool2d_positions", [self], positions)?))
    }

    fn maxima(&self, y: Array, places: Array, windows: &Pool2d) -> Result<Tensor> {
        let windows = *windows;
        Tensor::record("max_pool2d", [self], Keep::NONE, y, move |pass| Ok([Some(max_backward(pass.grad(), &places, pass.input_dims(0), windows)?)]))
    }

    /// The mean of each window (PyTorch's `avg_pool2d`): its sum over `divisor` if given, else over the number of its positions, those in the padding with `count_include_pad` only (PyTorch counts them unless told).
    ///
    /// # Errors
    /// As for [`max_pool2d`](Tensor::max_pool2d); a divisor of zero.
    pub fn avg_pool2d(&self, windows: &Pool2d, count_include_pad: bool, divisor: Option<usize>) -> Result<Tensor> {
        let y = pool::avg_pool2d(&self.array, windows, count_include_pad, divisor)?;
        let windows = *windows;
        Tensor::record("avg_pool2d", [self], Keep::NONE, y, move |pass| {
            Ok([Some(average_backward(pass.grad(), pass.input_dims(0), windows, count_include_pad, divisor)?)])
        })
    }

    /// The mean of each of `output` windows that tile the plane (PyTorch's `adaptive_avg_pool2d`); `[1, 1]` is global average pooling.
    ///
    /// # Errors
    /// Another number of dimensions; a plane without positions; an element type other than f32 and f64.
    pub fn adaptive_avg_pool2d(&self, output: [usize; 2]) -> Result<Tensor> {
        let y = pool::adaptive_avg_pool2d(&self.array, output)?;
        Tensor::record("adaptive_avg_pool2d", [self], Keep::NONE, y, |pass| Ok([Some(adaptive_average_backward(pass.grad(), pass.input_dims(0))?)]))
    }

    /// The maximum of each of `output` windows that tile the plane (PyTorch's `adaptive_max_pool2d`).
    ///
    /// # Errors
    /// As for [`adaptive_avg_pool2d`](Tensor::adaptive_avg_pool2d).
    pub fn adaptive_max_pool2d(&self, output: [usize; 2]) -> Result<Tensor> {
        let (y, positions) = pool::adaptive_max_pool2d(&self.array, output)?;
        Tensor::record("adaptive_max_pool2d", [self], Keep::NONE, y, move |pass| {
            Ok([Some(adaptive_max_backward(pass.grad(), &positions, pass.input_dims(0))?)])
        })
    }
}

fn max_backward(grad: &Tensor, places: &Array, input: &[usize], windows: Pool2d) -> Result<Tensor> {
    let y = pool::max_pool2d_backward(&grad.array, places, input, &windows)?;
    let places = places.clone();
    Tensor::record("max_pool2d_backward", [grad], Keep::NONE, y, move |pass| {
        let picked = pool::max_pool2d_gather(&pass.grad().array, &places, &windows)?;
        let places = places.clone();
        Ok([Some(Tensor::record("max_pool2d_gather", [pass.grad()], Keep::NONE, picked, move |pass| {
            Ok([Some(max_backward(pass.grad(), &places, pass.input_dims(0), windows)?)])
        })?)])
    })
}

fn average_backward(grad: &Tensor, input: &[usize], windows: Pool2d, count_include_pad: bool, divisor: Option<usize>) -> Result<Tensor> {
    let y = pool::avg_pool2d_backward(&grad.array, input, &windows, count_include_pad, divisor)?;
    Tensor::record("avg_pool2d_backward", [grad], Keep::NONE, y, move |pass| Ok([Some(pass.grad().avg_pool2d(&windows, count_include_pad, divisor)?)]))
}

fn adaptive_average_backward(grad: &Tensor, input: &[usize]) -> Result<Tensor> {
    let y = pool::adaptive_avg_pool2d_backward(&grad.array, input)?;
    let &[.., height, width] = grad.dims() else { return Ok(y.into()) };
    Tensor::record("adaptive_avg_pool2d_backward", [grad], Keep::NONE, y, move |pass| Ok([Some(pass.grad().adaptive_avg_pool2d([height, width])?)]))
}

fn adaptive_max_backward(grad: &Tensor, positions: &Array, input: &[usize]) -> Result<Tensor> {
    let y = pool::adaptive_max_pool2d_backward(&grad.array, positions, input)?;
    let positions = positions.clone();
    Tensor::record("adaptive_max_pool2d_backward", [grad], Keep::NONE, y, move |pass| {
        let picked = pool::adaptive_max_pool2d_gather(&pass.grad().array, &positions)?;
        let positions = positions.clone();
        Ok([Some(Tensor::record("adaptive_max_pool2d_gather", [pass.grad()], Keep::NONE, picked, move |pass| {
            Ok([Some(adaptive_max_backward(pass.grad(), &positions, pass.input_dims(0))?)])
        })?)])
    })
}
