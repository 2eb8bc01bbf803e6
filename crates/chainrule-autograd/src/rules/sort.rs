//! Numbers of a dimension in order, and what is read off an order: the k largest, medians, quantiles, different numbers.

use crate::{Result, Tensor};
use chainrule_core::ops::{sort, unique};

/// The different numbers of a tensor: see [`Tensor::unique`].
#[derive(Clone, Debug)]
pub struct Unique {
    /// The different numbers: `[U]`.
    pub values: Tensor,
    /// For each element of the input its place among `values` (i64, the input's shape).
    pub inverse: Tensor,
    /// How often each value occurs (i64): `[U]`.
    pub counts: Tensor,
}

impl Tensor {
    /// The numbers along `axis` in order, and their indices (i64): ties stay in their first order, NaN counts as largest (PyTorch's `sort(stable=True)`). The gradient goes back to where each number stood.
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let (values, indices) = Tensor::from_slice(&[3f32, 1.0, 2.0], &[3])?.sort(0, false)?;
    /// assert_eq!(values.to_vec::<f32>()?, [1.0, 2.0, 3.0]);
    /// assert_eq!(indices.to_vec::<i64>()?, [1, 2, 0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// A dimension out of range.
    pub fn sort(&self, axis: isize, descending: bool) -> Result<(Tensor, Tensor)> {
        self.picked("sort", axis, sort::sort(&self.array, axis, descending)?)
    }

    /// The indices (i64) that would sort along `axis` (PyTorch's `argsort(stable=True)`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// assert_eq!(Tensor::from_slice(&[3f32, 1.0, 2.0], &[3])?.argsort(0, true)?.to_vec::<i64>()?, [0, 2, 1]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// A dimension out of range.
    pub fn argsort(&self, axis: isize, descending: bool) -> Result<Tensor> {
        Tensor::record_without_rule("argsort", [self], sort::sort(&self.array, axis, descending)?.1)
    }

    /// The `k` largest (or smallest) numbers along `axis` in order, and their indices (i64): `[.., n, ..] -> [.., k, ..]` (PyTorch's `topk(sorted=True)`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let (values, indices) = Tensor::from_slice(&[3f32, 1.0, 2.0, 9.0], &[4])?.topk(2, 0, true)?;
    /// assert_eq!(values.to_vec::<f32>()?, [9.0, 3.0]);
    /// assert_eq!(indices.to_vec::<i64>()?, [3, 0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// A dimension out of range, or of less than `k` numbers.
    pub fn topk(&self, k: usize, axis: isize, largest: bool) -> Result<(Tensor, Tensor)> {
        self.picked("topk", axis, sort::topk(&self.array, k, axis, largest)?)
    }

    /// The `k`-th smallest number along `axis`, counted from 1, and its index (i64) (PyTorch's `kthvalue`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// assert_eq!(Tensor::from_slice(&[3f32, 1.0, 2.0], &[3])?.kthvalue(2, 0, false)?.0.item()?, 2.0);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// A dimension out of range; `k` is 0 or above its extent.
    pub fn kthvalue(&self, k: usize, axis: isize, keep: bool) -> Result<(Tensor, Tensor)> {
        let extent = self.dims()[self.shape().axis("kthvalue", axis)?];
        if !(1..=extent).contains(&k) {
            return Err(crate::Error::value("kthvalue", format!("k is {k}, expected 1 to {extent}, the extent of dimension {axis} of {:?}", self.shape())));
        }
        let found = self.picked("kthvalue", axis, sort::kth_smallest(&self.array, k - 1, axis)?)?;
        squeezed(found, axis, keep)
    }

    /// The median along `axis`, the lower one of two, and its index (i64); NaN where a line has one (PyTorch's `median(dim)`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// assert_eq!(Tensor::from_slice(&[4f32, 1.0, 3.0, 2.0], &[4])?.median(0, false)?.0.item()?, 2.0);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// A dimension out of range, or of extent 0.
    pub fn median(&self, axis: isize, keep: bool) -> Result<(Tensor, Tensor)> {
        squeezed(self.picked("median", axis, sort::median(&self.array, axis)?)?, axis, keep)
    }

    /// The number below which the share `q` of a dimension lies, between neighbours by linear interpolation; NaN where a line has one (PyTorch's `quantile(q, dim)`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// assert_eq!(Tensor::from_slice(&[4f32, 1.0, 3.0, 2.0], &[4])?.quantile(0.5, 0, false)?.item()?, 2.5);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// A share outside 0 to 1; a dimension out of range, or of extent 0; an element type other than f32 and f64.
    pub fn quantile(&self, q: f64, axis: isize, keep: bool) -> Result<Tensor> {
        const OP: &str = "quantile";
        if !(0.0..=1.0).contains(&q) {
            return Err(crate::Error::value(OP, format!("q is {q}, expected 0 to 1")));
        }
        let Some(last) = self.dims()[self.shape().axis(OP, axis)?].checked_sub(1) else {
            return Err(crate::Error::shape(OP, format!("dimension {axis} of {:?} is empty, expected at least one number", self.shape())));
        };
        let sorted = self.sort(axis, false)?.0;
        let (place, number) = (q * last as f64, |at: f64| sorted.narrow(axis, at as usize, 1));
        let between = number(place.floor())?.lerp(&number(place.ceil())?, place.fract())?;
        let largest = number(last as f64)?;
        let y = largest.is_nan()?.where_(&largest, &between)?;
        if keep { Ok(y) } else { y.squeeze(axis) }
    }

    /// The different numbers of all elements in ascending order, with the way back and counts (PyTorch's `unique`). Backward through them is an error.
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let found = Tensor::from_slice(&[3i64, 1, 3], &[3])?.unique()?;
    /// assert_eq!(found.values.to_vec::<i64>()?, [1, 3]);
    /// assert_eq!(found.inverse.to_vec::<i64>()?, [1, 0, 1]);
    /// assert_eq!(found.counts.to_vec::<i64>()?, [1, 2]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// No memory.
    pub fn unique(&self) -> Result<Unique> {
        self.found("unique", unique::unique(&self.array)?)
    }

    /// Runs of equal numbers in row-major order as one number each, with the way back and lengths (PyTorch's `unique_consecutive`). Backward through them is an error.
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let runs = Tensor::from_slice(&[1i64, 1, 2, 1], &[4])?.unique_consecutive()?;
    /// assert_eq!(runs.values.to_vec::<i64>()?, [1, 2, 1]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// No memory.
    pub fn unique_consecutive(&self) -> Result<Unique> {
        self.found("unique_consecutive", unique::unique_consecutive(&self.array)?)
    }

    fn found(&self, name: &'static str, found: unique::Unique) -> Result<Unique> {
        let values = Tensor::record_without_rule(name, [self], found.values)?;
        Ok(Unique { values, inverse: found.inverse.into(), counts: found.counts.into() })
    }
}

/// Numbers and their indices without dimension `axis`, unless it stays.
pub(crate) fn squeezed((values, indices): (Tensor, Tensor), axis: isize, keep: bool) -> Result<(Tensor, Tensor)> {
    if keep { Ok((values, indices)) } else { Ok((values.squeeze(axis)?, indices.squeeze(axis)?)) }
}
