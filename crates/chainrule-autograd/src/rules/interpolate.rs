//! Interpolation: the map is linear, and its transpose is its gradient.

use crate::{Keep, Result, Tensor};
use chainrule_core::ops::resample::{self, Interpolation};

impl Tensor {
    /// The last N dimensions at another size: `[N, C, sizes..] -> [N, C, sizes'..]`, any leading dimensions (PyTorch's `interpolate`: `nearest`, `nearest-exact`, `linear`, `bilinear`, `trilinear`, `bicubic`).
    /// ```
    /// # use chainrule_autograd::{Filter, Interpolation, Tensor};
    /// let x = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0], &[1, 1, 2, 2])?;
    /// let nearest = x.interpolate(&Interpolation::factor([1.0, 2.0]))?;
    /// assert_eq!(nearest.to_vec::<f32>()?, [1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 4.0, 4.0]);
    /// let bilinear = Interpolation { filter: Filter::Linear, align_corners: true, ..Interpolation::size([2, 3]) };
    /// assert_eq!(x.interpolate(&bilinear)?.to_vec::<f32>()?, [1.0, 1.5, 2.0, 3.0, 3.5, 4.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Fewer than N dimensions; extents of 0 before or after; factors that are not positive; an element type other than f32 and f64.
    pub fn interpolate<const N: usize>(&self, how: &Interpolation<N>) -> Result<Tensor> {
        let y = resample::interpolate(&self.array, how)?;
        let how = *how;
        Tensor::record("interpolate", [self], Keep::NONE, y, move |pass| Ok([Some(backward(pass.grad(), pass.input_dims(0), how)?)]))
    }
}

fn backward<const N: usize>(grad: &Tensor, input: &[usize], how: Interpolation<N>) -> Result<Tensor> {
    let y = resample::interpolate_backward(&grad.array, input, &how)?;
    Tensor::record("interpolate_backward", [grad], Keep::NONE, y, move |pass| Ok([Some(pass.grad().interpolate(&how)?)]))
}
