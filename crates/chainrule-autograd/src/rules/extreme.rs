//! The largest and smallest numbers of a dimension, and where they stand.

use crate::rules::gather::scattered;
use crate::rules::reduce::{positions, without};
use crate::rules::sort::squeezed;
use crate::{Array, Keep, Result, Tensor};
use chainrule_core::ops::reduce;

impl Tensor {
    /// The largest number along `axis`, and its index (i64): the first of equals; NaN counts as largest (PyTorch's `max(dim)`). The gradient goes to that element.
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let (values, indices) = Tensor::from_slice(&[1f32, 9.0, 3.0], &[3])?.max(0, false)?;
    /// assert_eq!((values.item()?, indices.item()?), (9.0, 1.0));
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// A dimension out of range, or of extent 0.
    pub fn max(&self, axis: isize, keep: bool) -> Result<(Tensor, Tensor)> {
        squeezed(self.picked("max", axis, reduce::max(&self.array, axis, true)?)?, axis, keep)
    }

    /// The smallest number along `axis`, and its index; see [`max`](Tensor::max) (PyTorch's `min(dim)`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let (values, indices) = Tensor::from_slice(&[4f32, 9.0, 3.0], &[3])?.min(0, false)?;
    /// assert_eq!((values.item()?, indices.item()?), (3.0, 2.0));
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`max`](Tensor::max).
    pub fn min(&self, axis: isize, keep: bool) -> Result<(Tensor, Tensor)> {
        squeezed(self.picked("min", axis, reduce::min(&self.array, axis, true)?)?, axis, keep)
    }

    /// Numbers picked along `axis`, and where they stood: the gradient goes back there.
    pub(crate) fn picked(&self, name: &'static str, axis: isize, (values, indices): (Array, Array)) -> Result<(Tensor, Tensor)> {
        let at = self.shape().axis(name, axis)?;
        let kept = indices.clone();
        let values =
            Tensor::record(name, [self], Keep::NONE, values, move |pass| Ok([Some(scattered(pass.input_dims(0), at, &(&kept).into(), pass.grad())?)]))?;
        Ok((values, Tensor::record_without_rule(name, [self], indices)?))
    }

    /// The index of the largest number along `axis` (PyTorch's `argmax`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// assert_eq!(Tensor::from_slice(&[1f32, 9.0, 3.0], &[3])?.argmax(0, false)?.item()?, 1.0);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`max`](Tensor::max).
    pub fn argmax(&self, axis: isize, keep: bool) -> Result<Tensor> {
        Tensor::record_without_rule("argmax", [self], reduce::max(&self.array, axis, keep)?.1)
    }

    /// The index of the smallest number along `axis` (PyTorch's `argmin`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// assert_eq!(Tensor::from_slice(&[1f32, 9.0, 3.0], &[3])?.argmin(0, false)?.item()?, 0.0);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`max`](Tensor::max).
    pub fn argmin(&self, axis: isize, keep: bool) -> Result<Tensor> {
        Tensor::record_without_rule("argmin", [self], reduce::min(&self.array, axis, keep)?.1)
    }

    /// The largest (or smallest) number over several axes, all when none is named. Equal ones share the gradient evenly (PyTorch's `amax` and `amin`).
    pub(crate) fn extreme_over(&self, axes: &[isize], keep: bool, largest: bool) -> Result<Tensor> {
        let name = if largest { "max_over" } else { "min_over" };
        let axes = positions(name, self.shape(), axes)?;
        let mut values = self.array.clone();
        for &axis in &axes {
            let find = if largest { reduce::max } else { reduce::min };
            values = find(&values, axis as isize, true)?.0;
        }
        let narrow = without(self.dims(), &axes);
        let over: Vec<isize> = axes.iter().map(|&a| a as isize).collect();
        let y = Tensor::record(name, [self], Keep::INPUTS.and(Keep::OUTPUT), values, move |pass| {
            let mask = Tensor::from(pass.input_array(0)?).equal(&pass.output_array()?.into())?.cast(pass.grad().dtype())?;
            let share = if over.is_empty() { mask } else { mask.div(&mask.sum_over(&over, true)?)? };
            Ok([Some(pass.grad().mul(&share)?)])
        })?;
        if keep { Ok(y) } else { y.reshape(&narrow) }
    }

    /// The largest number over `axes`, all when empty; equal ones share the gradient evenly (PyTorch's `amax`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let x = Tensor::from_slice(&[1f32, 9.0, 3.0, 4.0], &[2, 2])?;
    /// assert_eq!(x.max_over(&[0], false)?.to_vec::<f32>()?, [3.0, 9.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// A dimension out of range, or of extent 0.
    pub fn max_over(&self, axes: &[isize], keep: bool) -> Result<Tensor> {
        self.extreme_over(axes, keep, true)
    }

    /// The smallest number over `axes`, all when empty; equal ones share the gradient evenly (PyTorch's `amin`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let x = Tensor::from_slice(&[1f32, 9.0, 3.0, 4.0], &[2, 2])?;
    /// assert_eq!(x.min_over(&[1], false)?.to_vec::<f32>()?, [1.0, 3.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// A dimension out of range, or of extent 0.
    pub fn min_over(&self, axes: &[isize], keep: bool) -> Result<Tensor> {
        self.extreme_over(axes, keep, false)
    }
}
