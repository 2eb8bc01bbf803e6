//! More functions of two numbers, with broadcasting: angle and length in the plane, remainders, sums of exponentials.

use crate::{Keep, Result, Tensor};
use chainrule_core::ops::elementwise::{Binary, binary};

impl Tensor {
    /// The angle of the point with this ordinate and the abscissa `x`, in -π..=π, with broadcasting (PyTorch's `atan2`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let y = Tensor::from_slice(&[1f64], &[1])?.atan2(&Tensor::from_slice(&[-1f64], &[1])?)?;
    /// assert!((y.item()? - 0.75 * std::f64::consts::PI).abs() < 1e-12);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Shapes that do not broadcast; different element types, or other ones than f32 and f64.
    pub fn atan2(&self, x: &Tensor) -> Result<Tensor> {
        let angle = binary(Binary::Atan2, &self.array, &x.array)?;
        Tensor::record_broadcast("atan2", [self, x], Keep::INPUTS, angle, |pass| {
            let (y, x) = (pass.input(0)?, pass.input(1)?);
            let scaled = pass.grad().div(&y.square()?.add(&x.square()?)?)?;
            Ok([pass.when(0, || scaled.mul(&x))?, pass.when(1, || scaled.mul(&y)?.neg())?])
        })
    }

    /// `sqrt(a² + b²)` without overflow, with broadcasting; the slopes at 0 are 0 (PyTorch's `hypot`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let c = Tensor::from_slice(&[3e200f64], &[1])?.hypot(&Tensor::from_slice(&[4e200f64], &[1])?)?;
    /// assert!((c.item()? / 5e200 - 1.0).abs() < 1e-12);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`atan2`](Tensor::atan2).
    pub fn hypot(&self, other: &Tensor) -> Result<Tensor> {
        let length = binary(Binary::Hypot, &self.array, &other.array)?;
        Tensor::record_broadcast("hypot", [self, other], Keep::INPUTS.and(Keep::OUTPUT), length, |pass| {
            let length = pass.output()?;
            let scaled = pass.grad().div(&length.masked_fill(&length.logical_not()?, 1.0)?)?;
            Ok([pass.when(0, || scaled.mul(&pass.input(0)?))?, pass.when(1, || scaled.mul(&pass.input(1)?))?])
        })
    }

    /// `a - b trunc(a / b)`, with a's sign, with broadcasting (PyTorch's `fmod`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let (a, b) = (Tensor::from_slice(&[-7f64], &[1])?, Tensor::from_slice(&[3f64], &[1])?);
    /// assert_eq!((a.fmod(&b)?.item()?, a.remainder(&b)?.item()?), (-1.0, 2.0));
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`atan2`](Tensor::atan2).
    pub fn fmod(&self, divisor: &Tensor) -> Result<Tensor> {
        let rest = binary(Binary::Fmod, &self.array, &divisor.array)?;
        Tensor::record_broadcast("fmod", [self, divisor], Keep::INPUTS, rest, |pass| {
            let by_divisor = || pass.grad().mul(&pass.input(0)?.div(&pass.input(1)?)?.trunc()?)?.neg();
            Ok([pass.when(0, || Ok(pass.grad().clone()))?, pass.when(1, by_divisor)?])
        })
    }

    /// `a - b floor(a / b)`, with b's sign, with broadcasting (PyTorch's `remainder`, Python's `%`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let (a, b) = (Tensor::from_slice(&[-7f32, 7.0], &[2])?, Tensor::from_slice(&[3f32, -3.0], &[2])?);
    /// assert_eq!(a.remainder(&b)?.to_vec::<f32>()?, [2.0, -2.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`atan2`](Tensor::atan2).
    pub fn remainder(&self, divisor: &Tensor) -> Result<Tensor> {
        let rest = binary(Binary::Remainder, &self.array, &divisor.array)?;
        Tensor::record_broadcast("remainder", [self, divisor], Keep::INPUTS, rest, |pass| {
            let by_divisor = || pass.grad().mul(&pass.input(0)?.div(&pass.input(1)?)?.floor()?)?.neg();
            Ok([pass.when(0, || Ok(pass.grad().clone()))?, pass.when(1, by_divisor)?])
        })
    }

    /// `ln(e^a + e^b)` without overflow, with broadcasting (PyTorch's `logaddexp`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let y = Tensor::from_slice(&[1000f64], &[1])?.logaddexp(&Tensor::from_slice(&[1000f64], &[1])?)?;
    /// assert!((y.item()? - 1000.0 - 2f64.ln()).abs() < 1e-12);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`atan2`](Tensor::atan2).
    pub fn logaddexp(&self, other: &Tensor) -> Result<Tensor> {
        let sum = binary(Binary::LogAddExp, &self.array, &other.array)?;
        Tensor::record_broadcast("logaddexp", [self, other], Keep::INPUTS.and(Keep::OUTPUT), sum, |pass| {
            let share = |i: usize| pass.grad().mul(&pass.input(i)?.sub(&pass.output()?)?.exp()?);
            Ok([pass.when(0, || share(0))?, pass.when(1, || share(1))?])
        })
    }

    /// `a ln b`, and 0 where a is 0, with broadcasting (PyTorch's `xlogy`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let y = Tensor::from_slice(&[0f64, 2.0], &[2])?.xlogy(&Tensor::from_slice(&[0f64, 1.0], &[2])?)?;
    /// assert_eq!(y.to_vec::<f64>()?, [0.0, 0.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`atan2`](Tensor::atan2).
    pub fn xlogy(&self, other: &Tensor) -> Result<Tensor> {
        let zero = Tensor::scalar(0.0, other.dtype())?;
        let finite = other.greater(&zero)?.logical_and(&other.less(&Tensor::scalar(f64::INFINITY, other.dtype())?)?)?;
        // 0 · ln b is 0 for every b that is a number, also where the logarithm is none.
        let number = other.equal(other)?;
        let void = self.logical_not()?.logical_and(&finite.logical_not()?)?.logical_and(&number)?;
        self.mul(&other.masked_fill(&void, 1.0)?.ln()?)
    }

    /// 0 below 0, 1 above, and `at_zero` (which broadcasts) at 0; only `at_zero` gets a gradient (PyTorch's `heaviside`).
    /// ```
    /// # use chainrule_autograd::{DType, Tensor};
    /// let y = Tensor::from_slice(&[-1.5f64, 0.0, 2.0], &[3])?.heaviside(&Tensor::scalar(0.5, DType::F64)?)?;
    /// assert_eq!(y.to_vec::<f64>()?, [0.0, 0.5, 1.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`atan2`](Tensor::atan2).
    pub fn heaviside(&self, at_zero: &Tensor) -> Result<Tensor> {
        let x = self.detach();
        let zero = Tensor::scalar(0.0, x.dtype())?;
        x.equal(&zero)?.where_(at_zero, &x.greater(&zero)?.cast(x.dtype())?)
    }
}
