//! Several tensors as one.

use crate::{Error, Keep, Result, Tensor};
use chainrule_core::ops::join;

impl Tensor {
    /// The tensors side by side along `axis` (PyTorch's `cat`): `[.., n_i, ..] -> [.., sum n_i, ..]`.
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let (a, b) = (Tensor::from_slice(&[1f32, 2.0], &[2])?, Tensor::from_slice(&[3f32], &[1])?);
    /// assert_eq!(Tensor::concatenate(&[&a, &b], 0)?.to_vec::<f32>()?, [1.0, 2.0, 3.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// No tensor; extents that differ elsewhere; different element types.
    pub fn concatenate(tensors: &[&Tensor], axis: isize) -> Result<Tensor> {
        let arrays: Vec<_> = tensors.iter().map(|t| &t.array).collect();
        let y = join::concatenate(&arrays, axis)?;
        let at = y.shape().axis("concatenate", axis)?;
        let extents: Vec<usize> = tensors.iter().map(|t| t.dims()[at]).collect();
        Tensor::record_many("concatenate", tensors, Keep::NONE, y, move |pass, out| {
            let mut start = 0;
            for (i, (&extent, slot)) in extents.iter().zip(out).enumerate() {
                *slot = pass.when(i, || pass.grad().narrow(axis, start, extent))?;
                start += extent;
            }
            Ok(())
        })
    }

    /// The tensors one behind the other along a new dimension (PyTorch's `stack`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let (a, b) = (Tensor::from_slice(&[1f32, 2.0], &[2])?, Tensor::from_slice(&[3f32, 4.0], &[2])?);
    /// assert_eq!(Tensor::stack(&[&a, &b], 1)?.to_vec::<f32>()?, [1.0, 3.0, 2.0, 4.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// No tensor; different shapes or element types.
    pub fn stack(tensors: &[&Tensor], axis: isize) -> Result<Tensor> {
        if let Some(other) = tensors.iter().find(|t| t.dims() != tensors[0].dims()) {
            return Err(Error::shape("stack", format!("shapes {:?} and {:?} differ", tensors[0].shape(), other.shape())));
        }
        let wide = tensors.iter().map(|t| t.unsqueeze(axis)).collect::<Result<Vec<_>>>()?;
        Tensor::concatenate(&wide.iter().collect::<Vec<_>>(), axis)
    }
}
