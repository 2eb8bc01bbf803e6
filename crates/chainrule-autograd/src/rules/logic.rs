//! Truth values (u8, 0 is false): combined, counted over dimensions, and questions about numbers that have them as answers. They carry no gradient.

use crate::{Array, DType, Error, Result, Tensor};

macro_rules! comparisons_with_numbers {
    ($($method:ident $with:ident $formula:literal $torch:literal $x:literal $k:literal $y:literal;)*) => {
        impl Tensor {
            $(#[doc = concat!("`", $formula, "` with a number k, 1 for true, as u8 (PyTorch's `", $torch, "`).")]
            #[doc = "```"]
            #[doc = "# use chainrule_autograd::Tensor;"]
            #[doc = concat!("let y = Tensor::from_slice(&[", stringify!($x), "f32], &[1])?.", stringify!($method), "(", stringify!($k), ")?;")]
            #[doc = concat!("assert_eq!(y.to_vec::<u8>()?, [", stringify!($y), "]);")]
            #[doc = "# Ok::<(), chainrule_autograd::Error>(())"]
            #[doc = "```"]
            #[doc = "\n# Errors\nAn element type other than f32, f64, i64 and u8."]
            pub fn $method(&self, k: f64) -> Result<Tensor> {
                self.$with(&Tensor::scalar(k, self.dtype())?)
            })*
        }
    };
}

comparisons_with_numbers! {
    equal_scalar equal "x = k" "eq" 2.0 2.0 1;
    not_equal_scalar not_equal "x ≠ k" "ne" 2.0 2.0 0;
    less_scalar less "x < k" "lt" 1.0 2.0 1;
    less_equal_scalar less_equal "x ≤ k" "le" 2.0 2.0 1;
    greater_scalar greater "x > k" "gt" 1.0 2.0 0;
    greater_equal_scalar greater_equal "x ≥ k" "ge" 2.0 2.0 1;
}

impl Tensor {
    /// Whether both are not 0, with broadcasting (PyTorch's `logical_and`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let (a, b) = (Tensor::from_slice(&[0u8, 1, 1], &[3])?, Tensor::from_slice(&[1u8, 1, 0], &[3])?);
    /// assert_eq!(a.logical_and(&b)?.to_vec::<u8>()?, [0, 1, 0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Shapes that do not broadcast; bf16 and f16.
    pub fn logical_and(&self, other: &Tensor) -> Result<Tensor> {
        self.truth()?.where_(&other.truth()?, &Tensor::scalar(0.0, DType::U8)?)
    }

    /// Whether one or both are not 0, with broadcasting (PyTorch's `logical_or`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let (a, b) = (Tensor::from_slice(&[0u8, 1, 0], &[3])?, Tensor::from_slice(&[1u8, 1, 0], &[3])?);
    /// assert_eq!(a.logical_or(&b)?.to_vec::<u8>()?, [1, 1, 0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Shapes that do not broadcast; bf16 and f16.
    pub fn logical_or(&self, other: &Tensor) -> Result<Tensor> {
        self.truth()?.where_(&Tensor::scalar(1.0, DType::U8)?, &other.truth()?)
    }

    /// Whether exactly one is not 0, with broadcasting (PyTorch's `logical_xor`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let (a, b) = (Tensor::from_slice(&[0u8, 1, 0], &[3])?, Tensor::from_slice(&[1u8, 1, 0], &[3])?);
    /// assert_eq!(a.logical_xor(&b)?.to_vec::<u8>()?, [1, 0, 0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Shapes that do not broadcast; bf16 and f16.
    pub fn logical_xor(&self, other: &Tensor) -> Result<Tensor> {
        // As 0 and 1, since any number but 0 is true.
        self.logical_not()?.not_equal(&other.logical_not()?)
    }

    /// Whether any element over `axes` is not 0, all axes when empty; of no elements it is false (PyTorch's `any`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let x = Tensor::from_slice(&[0u8, 1, 0, 0], &[2, 2])?;
    /// assert_eq!(x.any(&[1], false)?.to_vec::<u8>()?, [1, 0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// A dimension named twice or out of range; bf16 and f16.
    pub fn any(&self, axes: &[isize], keep: bool) -> Result<Tensor> {
        self.count_nonzero(axes, keep)?.truth()
    }

    /// Whether all elements over `axes` are not 0, all axes when empty; of no elements it is true (PyTorch's `all`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let x = Tensor::from_slice(&[0u8, 1, 1, 1], &[2, 2])?;
    /// assert_eq!(x.all(&[1], false)?.to_vec::<u8>()?, [0, 1]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// A dimension named twice or out of range; bf16 and f16.
    pub fn all(&self, axes: &[isize], keep: bool) -> Result<Tensor> {
        self.logical_not()?.any(axes, keep)?.logical_not()
    }

    /// How many elements over `axes` are not 0, all axes when empty, as i64 (PyTorch's `count_nonzero`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// assert_eq!(Tensor::from_slice(&[0f32, 2.0, -1.0], &[3])?.count_nonzero(&[], false)?.item()?, 2.0);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// A dimension named twice or out of range; bf16 and f16.
    pub fn count_nonzero(&self, axes: &[isize], keep: bool) -> Result<Tensor> {
        // A mask of any bytes but 0 is true; it counts as 1.
        self.not_equal_scalar(0.0)?.sum_over(axes, keep)
    }

    /// Whether each element is not a number (PyTorch's `isnan`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// assert_eq!(Tensor::from_slice(&[f32::NAN, 1.0], &[2])?.is_nan()?.to_vec::<u8>()?, [1, 0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// bf16 and f16.
    pub fn is_nan(&self) -> Result<Tensor> {
        self.not_equal(self)
    }

    /// Whether each element is neither NaN nor infinite (PyTorch's `isfinite`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let x = Tensor::from_slice(&[f32::NAN, 1.0, f32::NEG_INFINITY], &[3])?;
    /// assert_eq!(x.is_finite()?.to_vec::<u8>()?, [0, 1, 0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// bf16 and f16.
    pub fn is_finite(&self) -> Result<Tensor> {
        if !self.dtype().is_float() {
            return Ok(Array::full_on(self.dims(), 1.0, DType::U8, &self.device())?.into());
        }
        self.less_scalar(f64::INFINITY)?.logical_and(&self.greater_scalar(f64::NEG_INFINITY)?)
    }

    /// Whether each element is positive or negative infinity (PyTorch's `isinf`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let x = Tensor::from_slice(&[f32::NAN, 1.0, f32::NEG_INFINITY], &[3])?;
    /// assert_eq!(x.is_infinite()?.to_vec::<u8>()?, [0, 0, 1]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// bf16 and f16.
    pub fn is_infinite(&self) -> Result<Tensor> {
        self.is_finite()?.logical_or(&self.is_nan()?)?.logical_not()
    }

    /// Whether `|a - b| ≤ absolute + relative · |b|`, element by element, with broadcasting; equal infinities are close, NaN is close to nothing (PyTorch's `isclose(atol, rtol)`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let (a, b) = (Tensor::from_slice(&[1f32, 2.0], &[2])?, Tensor::from_slice(&[1.001f32, 2.1], &[2])?);
    /// assert_eq!(a.is_close(&b, 0.01, 0.0)?.to_vec::<u8>()?, [1, 0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Shapes that do not broadcast; different element types, or other ones than f32 and f64.
    pub fn is_close(&self, other: &Tensor, absolute: f64, relative: f64) -> Result<Tensor> {
        let (a, b) = (self.detach(), other.detach());
        let near = a.sub(&b)?.abs()?.less_equal(&b.abs()?.affine(relative, absolute)?)?;
        a.equal(&b)?.logical_or(&near.logical_and(&a.sub(&b)?.is_finite()?)?)
    }

    /// Whether all elements are close to those of `other`: see [`is_close`](Tensor::is_close) (PyTorch's `allclose`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let (a, b) = (Tensor::from_slice(&[1f32, 2.0], &[2])?, Tensor::from_slice(&[1.001f32, 2.001], &[2])?);
    /// assert!(a.all_close(&b, 0.01, 0.0)?);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`is_close`](Tensor::is_close).
    pub fn all_close(&self, other: &Tensor, absolute: f64, relative: f64) -> Result<bool> {
        Ok(self.is_close(other, absolute, relative)?.all(&[], false)?.item()? != 0.0)
    }

    /// The elements held between two tensors, with broadcasting: `min(max(x, low), high)`; where `low` is above `high`, `high` (PyTorch's `clamp` with tensors). A number on a bound shares its gradient with it evenly.
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let x = Tensor::from_slice(&[-3f32, 0.5, 9.0], &[3])?;
    /// let high = Tensor::from_slice(&[1f32, 2.0, 3.0], &[3])?;
    /// assert_eq!(x.clamp_between(None, Some(&high))?.to_vec::<f32>()?, [-3.0, 0.5, 3.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// No bound; shapes that do not broadcast; different element types.
    pub fn clamp_between(&self, low: Option<&Tensor>, high: Option<&Tensor>) -> Result<Tensor> {
        if low.is_none() && high.is_none() {
            return Err(Error::value("clamp_between", "got no bound, expected at least one"));
        }
        let x = low.map_or_else(|| Ok(self.clone()), |low| self.maximum(low))?;
        high.map_or_else(|| Ok(x.clone()), |high| x.minimum(high))
    }
}
