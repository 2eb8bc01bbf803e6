//! Running sums, products and extremes along a dimension, and products of whole lines.

use crate::{Array, DType, Keep, Result, Tensor};
use chainrule_core::ops::scan;

impl Tensor {
    /// The product along `axis` (PyTorch's `prod(dim)`), also of i64; the gradient is exact where elements are 0.
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// assert_eq!(Tensor::from_slice(&[2f32, 3.0, 4.0], &[3])?.prod(0, false)?.item()?, 24.0);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// A dimension out of range; an element type other than f32, f64 and i64.
    pub fn prod(&self, axis: isize, keep: bool) -> Result<Tensor> {
        let at = self.shape().axis("prod", axis)? as isize;
        let y = scan::prod(&self.array, at, true)?;
        let y = Tensor::record("prod", [self], Keep::FIRST, y, move |pass| {
            let x = pass.input(0)?;
            let others = if pass.recorded() { prod_of_others(&x, at)? } else { scan::prod_of_others(&x.array, at)?.into() };
            Ok([Some(pass.grad().mul(&others)?)])
        })?;
        if keep { Ok(y) } else { y.squeeze(at) }
    }

    /// The running sum along `axis`: `y[k] = x[0] + … + x[k]` (PyTorch's `cumsum`), also of i64.
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// assert_eq!(Tensor::from_slice(&[1f32, 2.0, 3.0], &[3])?.cumsum(0)?.to_vec::<f32>()?, [1.0, 3.0, 6.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// A dimension out of range; an element type other than f32, f64 and i64.
    pub fn cumsum(&self, axis: isize) -> Result<Tensor> {
        let y = scan::cumsum(&self.array, axis)?;
        Tensor::record("cumsum", [self], Keep::NONE, y, move |pass| Ok([Some(backward_in_time(axis, pass.grad(), |g| g.cumsum(axis))?)]))
    }

    /// The running product along `axis`: `y[k] = x[0] · … · x[k]` (PyTorch's `cumprod`), also of i64; the gradient is exact where elements are 0.
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// assert_eq!(Tensor::from_slice(&[1f32, 2.0, 3.0], &[3])?.cumprod(0)?.to_vec::<f32>()?, [1.0, 2.0, 6.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`cumsum`](Tensor::cumsum).
    pub fn cumprod(&self, axis: isize) -> Result<Tensor> {
        let at = self.shape().axis("cumprod", axis)? as isize;
        let y = scan::cumprod(&self.array, at)?;
        Tensor::record("cumprod", [self], Keep::FIRST.and(Keep::OUTPUT), y, move |pass| {
            // dx[k] = y[k - 1] s[k], s[k] = g[k] + x[k + 1] s[k + 1]: no division, so zeros are no trouble.
            let before = pass.output()?.later(at, 1.0)?;
            let sums = pass.grad().adjoint_recurrence(&pass.input(0)?, at)?;
            Ok([Some(before.mul(&sums)?)])
        })
    }

    /// `y[k] = ln(exp(x[0]) + … + exp(x[k]))` along `axis`, without overflow (PyTorch's `logcumsumexp`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let y = Tensor::from_slice(&[1000f64, 1000.0], &[2])?.logcumsumexp(0)?;
    /// assert_eq!(y.to_vec::<f64>()?, [1000.0, 1000.0 + 2f64.ln()]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// A dimension out of range; an element type other than f32 and f64.
    pub fn logcumsumexp(&self, axis: isize) -> Result<Tensor> {
        let at = self.shape().axis("logcumsumexp", axis)? as isize;
        let y = scan::logcumsumexp(&self.array, at)?;
        Tensor::record("logcumsumexp", [self], Keep::FIRST.and(Keep::OUTPUT), y, move |pass| {
            // dx[k] = exp(x[k] - y[k]) s[k], s[k] = g[k] + exp(y[k] - y[k + 1]) s[k + 1]: no exponent is positive. Where nothing was added up yet, nothing flows.
            let (x, y) = (pass.input(0)?, pass.output()?);
            let nothing = y.equal(&Tensor::scalar(f64::NEG_INFINITY, y.dtype())?)?;
            let y = y.masked_fill(&nothing, 0.0)?;
            let decay = y.later(at, f64::NEG_INFINITY)?.sub(&y)?.exp()?.masked_fill(&nothing, 0.0)?;
            let sums = pass.grad().adjoint_recurrence(&decay, at)?;
            Ok([Some(x.sub(&y)?.exp()?.mul(&sums)?)])
        })
    }

    /// The linear recurrence `y[k] = decay[k] · y[k - 1] + x[k]` along `axis`, with `y[-1] = 0`: moving averages, discounted sums, state-space layers. `decay` has the shape of this tensor.
    /// ```
    /// # use chainrule_autograd::{DType, Tensor};
    /// let (x, half) = (Tensor::ones(&[3], DType::F32)?, Tensor::full(&[3], 0.5, DType::F32)?);
    /// assert_eq!(x.recurrence(&half, 0)?.to_vec::<f32>()?, [1.0, 1.5, 1.75]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// A dimension out of range; different shapes or element types; an element type other than f32 and f64.
    pub fn recurrence(&self, decay: &Tensor, axis: isize) -> Result<Tensor> {
        let at = self.shape().axis("recurrence", axis)? as isize;
        let y = scan::recurrence(&self.array, &decay.array, at)?;
        let keep = Keep::SECOND.and(Keep::OUTPUT.when(decay.needs_gradient()));
        Tensor::record("recurrence", [self, decay], keep, y, move |pass| {
            let by_x = pass.grad().adjoint_recurrence(&pass.input(1)?, at)?;
            let by_decay = pass.when(1, || by_x.mul(&pass.output()?.later(at, 0.0)?))?;
            Ok([pass.when(0, || Ok(by_x.clone()))?, by_decay])
        })
    }

    /// `s[k] = g[k] + decay[k + 1] · s[k + 1]`: undoes [`recurrence`](Tensor::recurrence).
    fn adjoint_recurrence(&self, decay: &Tensor, axis: isize) -> Result<Tensor> {
        let decay = decay.flip(&[axis])?.later(axis, 0.0)?;
        backward_in_time(axis, self, |g| g.recurrence(&decay, axis))
    }

    /// The elements one place further along `axis`; `first` comes in, the last leaves.
    fn later(&self, axis: isize, first: f64) -> Result<Tensor> {
        let mut pads = vec![(0, 0); self.rank()];
        pads[axis as usize] = if self.dims()[axis as usize] > 0 { (1, -1) } else { (0, 0) };
        self.pad(&pads, first)
    }

    /// The largest number so far along `axis`, and its index (i64): the last of equals (PyTorch's `cummax`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let (values, indices) = Tensor::from_slice(&[1f32, 3.0, 2.0, 3.0], &[4])?.cummax(0)?;
    /// assert_eq!(values.to_vec::<f32>()?, [1.0, 3.0, 3.0, 3.0]);
    /// assert_eq!(indices.to_vec::<i64>()?, [0, 1, 1, 3]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// A dimension out of range.
    pub fn cummax(&self, axis: isize) -> Result<(Tensor, Tensor)> {
        self.picked("cummax", axis, scan::cummax(&self.array, axis)?)
    }

    /// The smallest number so far along `axis`, and its index (i64): the last of equals (PyTorch's `cummin`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// assert_eq!(Tensor::from_slice(&[3f32, 4.0, 1.0], &[3])?.cummin(0)?.0.to_vec::<f32>()?, [3.0, 3.0, 1.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// A dimension out of range.
    pub fn cummin(&self, axis: isize) -> Result<(Tensor, Tensor)> {
        self.picked("cummin", axis, scan::cummin(&self.array, axis)?)
    }

    /// The differences of neighbours along `axis`, `times` times over: `y[k] = x[k + 1] - x[k]` (PyTorch's `diff(n)`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// assert_eq!(Tensor::from_slice(&[1f32, 4.0, 9.0], &[3])?.diff(1, 0)?.to_vec::<f32>()?, [3.0, 5.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// A dimension out of range; an element type other than f32, f64 and i64.
    pub fn diff(&self, times: usize, axis: isize) -> Result<Tensor> {
        let at = self.shape().axis("diff", axis)?;
        let mut x = self.clone();
        for _ in 0..times.min(self.dims()[at]) {
            let count = x.dims()[at] - 1;
            x = x.narrow(axis, 1, count)?.sub(&x.narrow(axis, 0, count)?)?;
        }
        Ok(x)
    }
}

/// `f` of the tensor run backward along `axis`, the result forward again.
fn backward_in_time(axis: isize, x: &Tensor, f: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    f(&x.flip(&[axis])?)?.flip(&[axis])
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
