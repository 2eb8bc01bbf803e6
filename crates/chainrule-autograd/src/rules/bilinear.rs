//! The bilinear map of two inputs.

use crate::{Error, Result, Tensor};

impl Tensor {
    /// `y_o = aᵀ W_o b + bias_o` for these a `[.., A]` and b `[.., B]`; the weight is `[O, A, B]`, the bias `[O]`, the result `[.., O]` (PyTorch's `bilinear`).
    ///
    /// The outer products of a and b are formed first, so that all of it is one matrix product.
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let (a, b) = (Tensor::from_slice(&[1f32, 2.0], &[1, 2])?, Tensor::from_slice(&[3f32], &[1, 1])?);
    /// let weight = Tensor::from_slice(&[10f32, 1.0], &[1, 2, 1])?;
    /// assert_eq!(a.bilinear(&b, &weight, None)?.to_vec::<f32>()?, [36.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Inputs without a dimension, or whose other dimensions differ; a weight or bias that does not fit; different element types, or other ones than f32 and f64.
    pub fn bilinear(&self, other: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        let ([outer @ .., first], [other_outer @ .., second]) = (self.dims(), other.dims()) else {
            return Err(Error::shape("bilinear", format!("inputs have shapes {:?} and {:?}, expected [.., A] and [.., B]", self.shape(), other.shape())));
        };
        if outer != other_outer {
            return Err(Error::shape(
                "bilinear",
                format!("inputs have shapes {:?} and {:?}, expected the same dimensions but the last", self.shape(), other.shape()),
            ));
        }
        if weight.rank() != 3 || weight.dims()[1..] != [*first, *second] {
            return Err(Error::shape("bilinear", format!("the weight has shape {:?}, expected [O, {first}, {second}]", weight.shape())));
        }
        let products = self.unsqueeze(-1)?.mul(&other.unsqueeze(-2)?)?.flatten(-2, -1)?;
        products.linear(&weight.flatten(1, 2)?, bias)
    }
}
