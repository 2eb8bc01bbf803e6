//! Sums and what follows from them: means, variances, logsumexp, norms.

use crate::{Error, Keep, Result, Shape, Tensor};
use chainrule_core::ops::reduce;

/// The dimensions that `axes` name (all when empty), counted from the front.
pub(crate) fn positions(op: &'static str, shape: &Shape, axes: &[isize]) -> Result<Vec<usize>> {
    if axes.is_empty() {
        return Ok((0..shape.rank()).collect());
    }
    let found = axes.iter().map(|&a| shape.axis(op, a)).collect::<Result<Vec<_>, _>>()?;
    match (1..found.len()).find(|&i| found[..i].contains(&found[i])) {
        Some(i) => Err(Error::shape(op, format!("dimension {} of {shape:?} is named twice in {axes:?}", found[i]))),
        None => Ok(found),
    }
}

/// `dims` with the extents of these dimensions set to 1.
pub(crate) fn kept_dims(dims: &[usize], axes: &[usize]) -> Vec<usize> {
    dims.iter().enumerate().map(|(i, &d)| if axes.contains(&i) { 1 } else { d }).collect()
}

impl Tensor {
    /// The sum of all elements, of shape `[]` (PyTorch's `sum`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// assert_eq!(Tensor::from_slice(&[1f32, 2.0], &[2])?.sum()?.item()?, 3.0);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// bf16 and f16.
    pub fn sum(&self) -> Result<Tensor> {
        self.sum_over(&[], false)
    }

    /// The sum over `axes`, negative ones counted from the end, all when empty; with `keep` they stay as extents of 1 (PyTorch's `sum(dim, keepdim)`). Integers sum to i64.
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let x = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0], &[2, 2])?;
    /// assert_eq!(x.sum_over(&[-1], false)?.to_vec::<f32>()?, [3.0, 7.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// A dimension named twice or out of range; bf16 and f16.
    pub fn sum_over(&self, axes: &[isize], keep: bool) -> Result<Tensor> {
        let axes = positions("sum", self.shape(), axes)?;
        let y = reduce::sum(&self.array, &axes, keep)?;
        Tensor::record("sum", [self], Keep::NONE, y, move |pass| {
            let dims = pass.input_dims(0);
            Ok([Some(pass.grad().reshape(&kept_dims(dims, &axes))?.broadcast_to(dims)?)])
        })
    }

    /// The sum over the dimensions along which `dims` would be stretched to this shape: what undoes broadcasting.
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let x = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0], &[2, 2])?;
    /// assert_eq!(x.sum_to(&[1, 2])?.to_vec::<f32>()?, [4.0, 6.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// A shape that does not broadcast to this one.
    pub fn sum_to(&self, dims: &[usize]) -> Result<Tensor> {
        if self.dims() == dims {
            return Ok(self.clone());
        }
        let y = reduce::sum_to(&self.array, dims)?;
        Tensor::record("sum_to", [self], Keep::NONE, y, |pass| Ok([Some(pass.grad().broadcast_to(pass.input_dims(0))?)]))
    }

    /// The mean of all elements, of shape `[]` (PyTorch's `mean`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// assert_eq!(Tensor::from_slice(&[1f32, 2.0], &[2])?.mean()?.item()?, 1.5);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// An element type other than f32 and f64.
    pub fn mean(&self) -> Result<Tensor> {
        self.mean_over(&[], false)
    }

    /// The mean over `axes`; see [`sum_over`](Tensor::sum_over).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let x = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0], &[2, 2])?;
    /// assert_eq!(x.mean_over(&[0], false)?.to_vec::<f32>()?, [2.0, 3.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// A dimension named twice or out of range; an element type other than f32 and f64.
    pub fn mean_over(&self, axes: &[isize], keep: bool) -> Result<Tensor> {
        let count = self.extent("mean", axes)?;
        if !self.dtype().is_float() {
            return Err(chainrule_core::Error::DType { op: "mean", got: self.dtype(), expected: "f32 or f64" }.into());
        }
        self.sum_over(axes, keep)?.mul_scalar(1.0 / count as f64)
    }

    /// How many elements a reduction over `axes` puts into one.
    fn extent(&self, op: &'static str, axes: &[isize]) -> Result<usize> {
        Ok(positions(op, self.shape(), axes)?.iter().map(|&a| self.dims()[a]).product())
    }

    /// The variance over `axes`: `sum (x - mean)² / (n - correction)`; 1 is the unbiased estimate, 0 that of batch norm (PyTorch's `var(dim, correction, keepdim)`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let x = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0], &[2, 2])?;
    /// assert_eq!(x.var(&[1], 1, false)?.to_vec::<f32>()?, [0.5, 0.5]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`mean_over`](Tensor::mean_over).
    pub fn var(&self, axes: &[isize], correction: usize, keep: bool) -> Result<Tensor> {
        let count = self.extent("var", axes)?;
        let centred = self.sub(&self.mean_over(axes, true)?)?;
        centred.square()?.sum_over(axes, keep)?.mul_scalar(1.0 / count.saturating_sub(correction) as f64)
    }

    /// The standard deviation over `axes`: the root of [`var`](Tensor::var) (PyTorch's `std`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let x = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0], &[2, 2])?;
    /// assert_eq!(x.std(&[0], 0, false)?.to_vec::<f32>()?, [1.0, 1.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`mean_over`](Tensor::mean_over).
    pub fn std(&self, axes: &[isize], correction: usize, keep: bool) -> Result<Tensor> {
        self.var(axes, correction, keep)?.sqrt()
    }

    /// `ln sum exp(x)` over `axes`, without overflow (PyTorch's `logsumexp`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let x = Tensor::from_slice(&[1000f64, 1000.0], &[2])?;
    /// assert_eq!(x.logsumexp(&[0], false)?.item()?, 1000.0 + 2f64.ln());
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`mean_over`](Tensor::mean_over).
    pub fn logsumexp(&self, axes: &[isize], keep: bool) -> Result<Tensor> {
        let over = positions("logsumexp", self.shape(), axes)?;
        // The largest number cancels, so it is a constant. An infinite one does not: inf - inf is no number.
        let largest = self.detach().extreme_over(axes, true, true)?;
        let infinite = largest.abs()?.equal(&Tensor::scalar(f64::INFINITY, self.dtype())?)?;
        let largest = largest.masked_fill(&infinite, 0.0)?;
        let sum = self.sub(&largest)?.exp()?.sum_over(axes, true)?.ln()?.add(&largest)?;
        if keep { Ok(sum) } else { sum.reshape(&without(self.dims(), &over)) }
    }

    /// The p-norm `(sum |x|^p)^(1/p)` over `axes`; p may be infinite, and p = 0 counts what is not 0 (PyTorch's `linalg.vector_norm`). The slope at 0 is 0.
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let x = Tensor::from_slice(&[3f32, -4.0], &[2])?;
    /// assert_eq!(x.norm(2.0, &[], false)?.item()?, 5.0);
    /// assert_eq!(x.norm(f64::INFINITY, &[], false)?.item()?, 4.0);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`mean_over`](Tensor::mean_over).
    pub fn norm(&self, p: f64, axes: &[isize], keep: bool) -> Result<Tensor> {
        if p == 0.0 {
            return self.truth()?.cast(self.dtype())?.sum_over(axes, keep);
        }
        if p.is_infinite() {
            return self.abs()?.extreme_over(axes, keep, p > 0.0);
        }
        if p == 1.0 {
            return self.abs()?.sum_over(axes, keep);
        }
        let powers = if p == 2.0 { self.square()? } else { self.abs()?.powf(p)? };
        let total = powers.sum_over(axes, keep)?;
        // The root's slope at 0 is infinite; such sums become constants.
        let zero = total.logical_not()?;
        let total = total.masked_fill(&zero, 1.0)?;
        let root = if p == 2.0 { total.sqrt()? } else { total.powf(1.0 / p)? };
        root.masked_fill(&zero, 0.0)
    }
}

/// `dims` without these dimensions.
pub(crate) fn without(dims: &[usize], axes: &[usize]) -> Vec<usize> {
    dims.iter().enumerate().filter(|(i, _)| !axes.contains(i)).map(|(_, &d)| d).collect()
}
