//! `scale x + shift` with numbers known beforehand, and conversions. Their rules need neither input nor output.

use crate::{DType, Device, Keep, Result, Tensor};
use chainrule_core::ops::elementwise::{Unary, unary};

impl Tensor {
    /// `scale x + shift`
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let y = Tensor::from_slice(&[1f32, 2.0], &[2])?.affine(3.0, -1.0)?;
    /// assert_eq!(y.to_vec::<f32>()?, [2.0, 5.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// An element type other than f32 and f64.
    pub fn affine(&self, scale: f64, shift: f64) -> Result<Tensor> {
        let y = unary(Unary::Affine { scale, shift }, &self.array)?;
        Tensor::record("affine", [self], Keep::NONE, y, move |pass| {
            Ok([Some(if scale == 1.0 { pass.grad().clone() } else { pass.grad().affine(scale, 0.0)? })])
        })
    }

    /// `x + k`
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// assert_eq!(Tensor::from_slice(&[1f32, 2.0], &[2])?.add_scalar(3.0)?.to_vec::<f32>()?, [4.0, 5.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// An element type other than f32 and f64.
    pub fn add_scalar(&self, k: f64) -> Result<Tensor> {
        self.affine(1.0, k)
    }

    /// `x · k`
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// assert_eq!(Tensor::from_slice(&[1f32, 2.0], &[2])?.mul_scalar(3.0)?.to_vec::<f32>()?, [3.0, 6.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// An element type other than f32 and f64.
    pub fn mul_scalar(&self, k: f64) -> Result<Tensor> {
        self.affine(k, 0.0)
    }

    /// `-x`
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// assert_eq!(Tensor::from_slice(&[1f32, -2.0], &[2])?.neg()?.to_vec::<f32>()?, [-1.0, 2.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// An element type other than f32 and f64.
    pub fn neg(&self) -> Result<Tensor> {
        self.affine(-1.0, 0.0)
    }

    /// The elements converted: floats are rounded to the nearest, integers from floats are cut toward zero and saturate (PyTorch's `to`). Integers carry no gradient.
    /// ```
    /// # use chainrule_autograd::{DType, Tensor};
    /// assert_eq!(Tensor::from_slice(&[1.7f32, -1.7], &[2])?.cast(DType::I64)?.to_vec::<i64>()?, [1, -1]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// No memory.
    pub fn cast(&self, dtype: DType) -> Result<Tensor> {
        if dtype == self.dtype() {
            return Ok(self.clone());
        }
        Tensor::record("cast", [self], Keep::NONE, self.array.cast(dtype)?, |pass| Ok([Some(pass.grad().cast(pass.input_dtype(0))?)]))
    }

    /// The same numbers on that device (PyTorch's `to`); the gradient comes back to this one. The tensor itself where it stands there already.
    /// ```
    /// # use chainrule_autograd::{DType, Device, Tensor};
    /// let x = Tensor::ones(&[2], DType::F32)?.to(&Device::best())?;
    /// assert_eq!(x.add(&x)?.to_vec::<f32>()?, [2.0, 2.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// A device that is missing or failed; no memory there.
    pub fn to(&self, device: &Device) -> Result<Tensor> {
        let here = self.device();
        if here == *device {
            return Ok(self.clone());
        }
        Tensor::record("to", [self], Keep::NONE, self.array.to(device)?, move |pass| Ok([Some(pass.grad().to(&here)?)]))
    }
}
