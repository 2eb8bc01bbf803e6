//! Statistics composed of sums: means with spreads, covariances, integrals.

use crate::{Error, Result, Tensor};

impl Tensor {
    /// The variance over `axes`, and the mean (PyTorch's `var_mean`): see [`var`](Tensor::var).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let (variance, mean) = Tensor::from_slice(&[1f32, 3.0], &[2])?.var_mean(&[0], 1, false)?;
    /// assert_eq!((variance.item()?, mean.item()?), (2.0, 2.0));
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`mean_over`](Tensor::mean_over).
    pub fn var_mean(&self, axes: &[isize], correction: usize, keep: bool) -> Result<(Tensor, Tensor)> {
        Ok((self.var(axes, correction, keep)?, self.mean_over(axes, keep)?))
    }

    /// The standard deviation over `axes`, and the mean (PyTorch's `std_mean`): see [`std`](Tensor::std).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let (deviation, mean) = Tensor::from_slice(&[1f32, 3.0], &[2])?.std_mean(&[0], 0, false)?;
    /// assert_eq!((deviation.item()?, mean.item()?), (1.0, 2.0));
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`mean_over`](Tensor::mean_over).
    pub fn std_mean(&self, axes: &[isize], correction: usize, keep: bool) -> Result<(Tensor, Tensor)> {
        Ok((self.std(axes, correction, keep)?, self.mean_over(axes, keep)?))
    }

    /// The covariances of variables, a row of observations each: `[V, N] -> [V, V]`, or `[N] -> []`; `sum (x - mean)(y - mean) / (N - correction)` (PyTorch's `cov`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let x = Tensor::from_slice(&[1f32, 3.0, 2.0, 6.0], &[2, 2])?;
    /// assert_eq!(x.cov(1)?.to_vec::<f32>()?, [2.0, 4.0, 4.0, 8.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Other than one or two dimensions; an element type other than f32 and f64.
    pub fn cov(&self, correction: usize) -> Result<Tensor> {
        match *self.dims() {
            [count] => self.reshape(&[1, count])?.cov(correction)?.reshape(&[]),
            [_, count] => {
                let centred = self.sub(&self.mean_over(&[1], true)?)?;
                centred.matmul(&centred.transpose(0, 1)?)?.mul_scalar(1.0 / count.saturating_sub(correction) as f64)
            }
            _ => Err(Error::shape("cov", format!("shape {:?}, expected [variables, observations] or [observations]", self.shape()))),
        }
    }

    /// The correlation coefficients of variables: covariances over the product of the deviations, held in -1..1 (PyTorch's `corrcoef`). Shapes as for [`cov`](Tensor::cov).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let r = Tensor::from_slice(&[1f64, 3.0, 2.0, 6.0], &[2, 2])?.corrcoef()?.to_vec::<f64>()?;
    /// assert!(r.iter().all(|r| (r - 1.0).abs() < 1e-12));
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`cov`](Tensor::cov).
    pub fn corrcoef(&self) -> Result<Tensor> {
        let covariance = self.cov(1)?;
        if covariance.rank() == 0 {
            return covariance.div(&covariance);
        }
        let deviation = covariance.diagonal(0, 0, 1)?.sqrt()?;
        covariance.div(&deviation.unsqueeze(1)?)?.div(&deviation.unsqueeze(0)?)?.clamp(-1.0, 1.0)
    }

    /// The integral along `axis` by trapezoids of width `step` (PyTorch's `trapezoid(dx)`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// assert_eq!(Tensor::from_slice(&[1f32, 3.0, 5.0], &[3])?.trapezoid(0.5, 0)?.item()?, 3.0);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// A dimension out of range; an element type other than f32 and f64.
    pub fn trapezoid(&self, step: f64, axis: isize) -> Result<Tensor> {
        self.neighbours(axis)?.sum_over(&[axis], false)?.mul_scalar(0.5 * step)
    }

    /// The integral along `axis` by trapezoids between the points `x`, which lie along `axis` if they are a vector, and broadcast otherwise (PyTorch's `trapezoid(x)`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let (y, x) = (Tensor::from_slice(&[1f32, 3.0, 5.0], &[3])?, Tensor::from_slice(&[0f32, 1.0, 3.0], &[3])?);
    /// assert_eq!(y.trapezoid_over(&x, 0)?.item()?, 10.0);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// A dimension out of range; points that do not broadcast; different element types, or other ones than f32 and f64.
    pub fn trapezoid_over(&self, x: &Tensor, axis: isize) -> Result<Tensor> {
        let mut along = vec![1; self.rank()];
        along[self.shape().axis("trapezoid_over", axis)?] = x.count();
        let points = if x.rank() == 1 { x.reshape(&along)? } else { x.clone() }.broadcast_to(self.dims())?;
        self.neighbours(axis)?.mul(&points.diff(1, axis)?)?.sum_over(&[axis], false)?.mul_scalar(0.5)
    }

    /// `x[k] + x[k + 1]`
    fn neighbours(&self, axis: isize) -> Result<Tensor> {
        let count = self.dims()[self.shape().axis("trapezoid", axis)?].saturating_sub(1);
        if count == 0 {
            return self.narrow(axis, 0, 0);
        }
        self.narrow(axis, 0, count)?.add(&self.narrow(axis, 1, count)?)
    }
}
