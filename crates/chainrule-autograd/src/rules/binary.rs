//! Functions of two numbers, element by element, with broadcasting.

use crate::{Array, Keep, Result, Tensor};
use chainrule_core::ops::elementwise::{Binary, Comparison, binary, compare};

impl Tensor {
    /// `a + b` with broadcasting (PyTorch's `add`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let (a, b) = (Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0], &[2, 2])?, Tensor::from_slice(&[10f32, 20.0], &[2])?);
    /// assert_eq!(a.add(&b)?.to_vec::<f32>()?, [11.0, 22.0, 13.0, 24.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Shapes that do not broadcast; different element types, or other ones than f32, f64 and i64.
    pub fn add(&self, other: &Tensor) -> Result<Tensor> {
        let y = binary(Binary::Add, &self.array, &other.array)?;
        Tensor::record_broadcast("add", [self, other], Keep::NONE, y, |pass| {
            Ok([pass.when(0, || Ok(pass.grad().clone()))?, pass.when(1, || Ok(pass.grad().clone()))?])
        })
    }

    /// `a - b` with broadcasting (PyTorch's `sub`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let (a, b) = (Tensor::from_slice(&[6f32, 9.0], &[2])?, Tensor::from_slice(&[2f32, 9.0], &[2])?);
    /// assert_eq!(a.sub(&b)?.to_vec::<f32>()?, [4.0, 0.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`add`](Tensor::add).
    pub fn sub(&self, other: &Tensor) -> Result<Tensor> {
        let y = binary(Binary::Sub, &self.array, &other.array)?;
        Tensor::record_broadcast("sub", [self, other], Keep::NONE, y, |pass| {
            Ok([pass.when(0, || Ok(pass.grad().clone()))?, pass.when(1, || pass.grad().neg())?])
        })
    }

    /// `a · b`, element by element, with broadcasting (PyTorch's `mul`). Each operand is kept only if the other needs a gradient.
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let (a, b) = (Tensor::from_slice(&[6f32, 9.0], &[2])?, Tensor::from_slice(&[2f32, 9.0], &[2])?);
    /// assert_eq!(a.mul(&b)?.to_vec::<f32>()?, [12.0, 81.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`add`](Tensor::add).
    pub fn mul(&self, other: &Tensor) -> Result<Tensor> {
        let y = binary(Binary::Mul, &self.array, &other.array)?;
        Tensor::record_broadcast("mul", [self, other], keep_partners(self, other), y, |pass| {
            Ok([pass.when(0, || pass.grad().mul(&pass.input(1)?))?, pass.when(1, || pass.grad().mul(&pass.input(0)?))?])
        })
    }

    /// `a / b` with broadcasting (PyTorch's `div`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let (a, b) = (Tensor::from_slice(&[6f32, 9.0], &[2])?, Tensor::from_slice(&[2f32, 9.0], &[2])?);
    /// assert_eq!(a.div(&b)?.to_vec::<f32>()?, [3.0, 1.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Shapes that do not broadcast; different element types, or other ones than f32 and f64.
    pub fn div(&self, other: &Tensor) -> Result<Tensor> {
        let y = binary(Binary::Div, &self.array, &other.array)?;
        let keep = Keep::SECOND.and(Keep::OUTPUT.when(other.needs_gradient()));
        Tensor::record_broadcast("div", [self, other], keep, y, |pass| {
            let by_first = pass.grad().div(&pass.input(1)?)?;
            Ok([pass.when(0, || Ok(by_first.clone()))?, pass.when(1, || by_first.mul(&pass.output()?)?.neg())?])
        })
    }

    /// The larger of both with broadcasting, NaN if either is (PyTorch's `maximum`). Where both are equal each gets half of the gradient.
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let (a, b) = (Tensor::from_slice(&[6f32, 9.0], &[2])?, Tensor::from_slice(&[2f32, 9.0], &[2])?);
    /// assert_eq!(a.maximum(&b)?.to_vec::<f32>()?, [6.0, 9.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`add`](Tensor::add).
    pub fn maximum(&self, other: &Tensor) -> Result<Tensor> {
        extreme("maximum", Binary::Maximum, Comparison::Less, self, other)
    }

    /// The smaller of both with broadcasting, NaN if either is (PyTorch's `minimum`). Where both are equal each gets half of the gradient.
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let (a, b) = (Tensor::from_slice(&[6f32, 9.0], &[2])?, Tensor::from_slice(&[2f32, 9.0], &[2])?);
    /// assert_eq!(a.minimum(&b)?.to_vec::<f32>()?, [2.0, 9.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`add`](Tensor::add).
    pub fn minimum(&self, other: &Tensor) -> Result<Tensor> {
        extreme("minimum", Binary::Minimum, Comparison::Greater, self, other)
    }

    /// `a^b` with broadcasting (PyTorch's `pow`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let (a, b) = (Tensor::from_slice(&[2f64, 3.0], &[2])?, Tensor::from_slice(&[3f64, 2.0], &[2])?);
    /// assert_eq!(a.pow(&b)?.to_vec::<f64>()?, [8.0, 9.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`div`](Tensor::div).
    pub fn pow(&self, exponent: &Tensor) -> Result<Tensor> {
        let y = binary(Binary::Pow, &self.array, &exponent.array)?;
        let keep = Keep::INPUTS.and(Keep::OUTPUT.when(exponent.needs_gradient()));
        Tensor::record_broadcast("pow", [self, exponent], keep, y, |pass| {
            let (base, exponent) = (pass.input(0)?, pass.input(1)?);
            let by_base = || {
                let slope = exponent.mul(&base.pow(&exponent.add_scalar(-1.0)?)?)?;
                // x^0 is 1 everywhere, also where 0 · 0^-1 is not a number.
                pass.grad().mul(&slope.masked_fill(&exponent.logical_not()?, 0.0)?)
            };
            // 0^b is 0 for every b above 0.
            let by_exponent = || pass.grad().mul(&pass.output()?.mul(&base.ln()?)?.masked_fill(&base.logical_not()?, 0.0)?);
            Ok([pass.when(0, by_base)?, pass.when(1, by_exponent)?])
        })
    }
}

/// Each operand of a product if the other one needs a gradient.
pub(crate) fn keep_partners(a: &Tensor, b: &Tensor) -> Keep {
    Keep::FIRST.when(b.needs_gradient()).and(Keep::SECOND.when(a.needs_gradient()))
}

fn extreme(name: &'static str, op: Binary, loses: Comparison, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let y = binary(op, &a.array, &b.array)?;
    Tensor::record_broadcast(name, [a, b], Keep::INPUTS, y, move |pass| {
        let (a, b) = (pass.input_array(0)?, pass.input_array(1)?);
        let share = |x: &Array, y: &Array| -> Result<Tensor> {
            let tie = Tensor::from(compare(Comparison::Equal, x, y)?.cast(x.dtype())?).affine(-0.5, 1.0)?;
            pass.grad().mul(&tie.masked_fill(&compare(loses, x, y)?.into(), 0.0)?)
        };
        Ok([pass.when(0, || share(a, b))?, pass.when(1, || share(b, a))?])
    })
}
