//! Rims around a tensor.

use crate::{Array, Error, Keep, Result, Tensor};
use chainrule_core::ops::join;

impl Tensor {
    /// Elements of `value` before and after each of the last `pads.len()` dimensions, `(before, after)` for each in order; negative numbers cut (PyTorch's `pad`, which counts from the last dimension).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let x = Tensor::from_slice(&[1f32, 2.0], &[1, 2])?;
    /// assert_eq!(x.pad(&[(0, 1), (2, -1)], 9.0)?.to_vec::<f32>()?, [9.0, 9.0, 1.0, 9.0, 9.0, 9.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// More pairs than dimensions; cuts of more than there is.
    pub fn pad(&self, pads: &[(isize, isize)], value: f64) -> Result<Tensor> {
        let first = padded_from("pad", self, pads)?;
        let mut x = self.clone();
        let (mut starts, mut dims) = (vec![0; self.rank()], self.dims().to_vec());
        for (axis, &(before, after)) in (first..).zip(pads) {
            let cut = [before.min(0).unsigned_abs(), after.min(0).unsigned_abs()];
            let extent = dims[axis];
            if cut[0].checked_add(cut[1]).is_none_or(|c| c > extent) {
                return Err(Error::shape(
                    "pad",
                    format!("pads ({before}, {after}) cut more than the extent {extent} of dimension {axis} of {:?}", self.shape()),
                ));
            }
            if cut != [0, 0] {
                x = x.narrow(axis as isize, cut[0], extent - cut[0] - cut[1])?;
            }
            starts[axis] = before.max(0) as usize;
            dims[axis] = x.dims()[axis].saturating_add(starts[axis]).saturating_add(after.max(0) as usize);
        }
        if dims == x.dims() {
            return Ok(x);
        }
        let y = join::place(Array::full(&dims, value, self.dtype())?, &x.array, &starts)?;
        Tensor::record("pad", [&x], Keep::NONE, y, move |pass| {
            let mut grad = pass.grad().clone();
            for (axis, (&start, &extent)) in starts.iter().zip(pass.input_dims(0)).enumerate() {
                if grad.dims()[axis] != extent {
                    grad = grad.narrow(axis as isize, start, extent)?;
                }
            }
            Ok([Some(grad)])
        })
    }

    /// A rim that mirrors the elements at the edges, which are not repeated, around the last `pads.len()` dimensions, `(before, after)` for each in order (PyTorch's `pad(mode='reflect')`).
    ///
    /// # Errors
    /// More pairs than dimensions; a rim that is not smaller than the extent.
    pub fn pad_reflect(&self, pads: &[(usize, usize)]) -> Result<Tensor> {
        let first = padded_from("pad_reflect", self, pads)?;
        let mut x = self.clone();
        for (axis, &(before, after)) in (first..).zip(pads) {
            let extent = self.dims()[axis];
            if before.max(after) >= extent {
                let message = format!("pads ({before}, {after}) are not smaller than the extent {extent} of dimension {axis} of {:?}", self.shape());
                return Err(Error::shape("pad_reflect", message));
            }
            let mirrored: Vec<i64> =
                (0..before + extent + after).map(|i| i.abs_diff(before)).map(|i| if i < extent { i } else { 2 * (extent - 1) - i } as i64).collect();
            if before + after > 0 {
                x = x.index_select(axis as isize, &Tensor::from_slice(&mirrored, &[mirrored.len()])?)?;
            }
        }
        Ok(x)
    }
}

/// The first dimension that `pads` speaks of.
fn padded_from<P: std::fmt::Debug>(op: &'static str, x: &Tensor, pads: &[P]) -> Result<usize> {
    let message = || format!("{} pairs {pads:?} for the {} dimensions of {:?}", pads.len(), x.rank(), x.shape());
    x.rank().checked_sub(pads.len()).ok_or_else(|| Error::shape(op, message()))
}
