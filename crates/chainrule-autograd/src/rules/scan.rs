//! Products along a dimension, and running sums.

use crate::{Array, DType, Keep, Result, Tensor};
use chainrule_core::ops::reduce;

impl Tensor {
    /// The product along `axis` (PyTorch's `prod(dim)`); the gradient is exact where elements are 0.
    ///
    /// # Errors
    /// A dimension out of range; an element type other than f32 and f64.
    pub fn prod(&self, axis: isize, keep: bool) -> Result<Tensor> {
        let at = self.shape().axis("prod", axis)? as isize;
        let y = reduce::prod(&self.array, at, true)?;
        let y = Tensor::record("prod", [self], Keep::FIRST, y, move |pass| {
            let x = pass.input(0)?;
            let others = if pass.recorded() { prod_of_others(&x, at)? } else { reduce::prod_of_others(&x.array, at)?.into() };
            Ok([Some(pass.grad().mul(&others)?)])
        })?;
        if keep { Ok(y) } else { y.squeeze(at) }
    }

    /// The running sum along `axis`: `y[k] = x[0] + … + x[k]` (PyTorch's `cumsum`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// assert_eq!(Tensor::from_slice(&[1f32, 2.0, 3.0], &[3])?.cumsum(0)?.to_vec::<f32>()?, [1.0, 3.0, 6.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// A dimension out of range; an element type other than f32 and f64.
    pub fn cumsum(&self, axis: isize) -> Result<Tensor> {
        let y = reduce::cumsum(&self.array, axis)?;
        Tensor::record("cumsum", [self], Keep::NONE, y, move |pass| Ok([Some(pass.grad().flip(&[axis])?.cumsum(axis)?.flip(&[axis])?)]))
    }
}

/// The same as the core's, in operations that can be differentiated again: the lines side by side, with a 1 in place of each number in turn.
fn prod_of_others(x: &Tensor, axis: isize) -> Result<Tensor> {
    let (n, at) = (x.dims()[axis as usize], axis as usize);
    let mut dims = x.dims().to_vec();
    dims.insert(at, n);
    let mut diagonal = vec![1; dims.len()];
    (diagonal[at], diagonal[at + 1]) = (n, n);
    let diagonal = Array::eye(n, DType::U8)?.reshape(&diagonal)?;
    x.unsqueeze(axis)?.broadcast_to(&dims)?.masked_fill(&diagonal.into(), 1.0)?.prod(axis + 1, false)
}
