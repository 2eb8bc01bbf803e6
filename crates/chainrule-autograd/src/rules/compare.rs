//! Comparisons, whose results are truth values (u8), and choices by them.

use crate::{DType, Keep, Result, Tensor};
use chainrule_core::ops::elementwise::{Comparison, compare, select};

macro_rules! comparisons {
    ($($method:ident $row:ident $formula:literal $torch:literal $example:tt;)*) => {
        impl Tensor {
            $(#[doc = concat!("`", $formula, "` with broadcasting, 1 for true, as u8 (PyTorch's `", $torch, "`). Truth values carry no gradient.")]
            #[doc = "```"]
            #[doc = "# use chainrule_autograd::Tensor;"]
            #[doc = "let (a, b) = (Tensor::from_slice(&[1f32, 2.0, 3.0], &[3])?, Tensor::from_slice(&[2f32], &[1])?);"]
            #[doc = concat!("assert_eq!(a.", stringify!($method), "(&b)?.to_vec::<u8>()?, ", stringify!($example), ");")]
            #[doc = "# Ok::<(), chainrule_autograd::Error>(())"]
            #[doc = "```"]
            #[doc = "\n# Errors\nShapes that do not broadcast; different element types, or other ones than f32, f64, i64 and u8."]
            pub fn $method(&self, other: &Tensor) -> Result<Tensor> {
                let truth = compare(Comparison::$row, &self.array, &other.array)?;
                Tensor::record_without_rule(stringify!($method), [self, other], truth)
            })*
        }
    };
}

comparisons! {
    equal Equal "a = b" "eq" [0, 1, 0];
    not_equal NotEqual "a ≠ b" "ne" [1, 0, 1];
    less Less "a < b" "lt" [1, 0, 0];
    less_equal LessEqual "a ≤ b" "le" [1, 1, 0];
    greater Greater "a > b" "gt" [0, 0, 1];
    greater_equal GreaterEqual "a ≥ b" "ge" [0, 1, 1];
}

impl Tensor {
    /// Elements of `yes` where this condition (u8) is not 0, of `no` elsewhere, with broadcasting (PyTorch's `where`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let (a, b) = (Tensor::from_slice(&[1f32, 5.0], &[2])?, Tensor::from_slice(&[4f32, 2.0], &[2])?);
    /// assert_eq!(a.less(&b)?.where_(&a, &b)?.to_vec::<f32>()?, [1.0, 2.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Shapes that do not broadcast; a condition that is not u8; choices of different element types.
    pub fn where_(&self, yes: &Tensor, no: &Tensor) -> Result<Tensor> {
        let y = select(&self.array, &yes.array, &no.array)?;
        Tensor::record_broadcast("where", [self, yes, no], Keep::FIRST, y, |pass| {
            let condition = pass.input(0)?;
            let zero = Tensor::scalar(0.0, pass.grad().dtype())?;
            Ok([None, pass.when(1, || condition.where_(pass.grad(), &zero))?, pass.when(2, || condition.where_(&zero, pass.grad()))?])
        })
    }

    /// `value` where the mask (u8) is not 0, these elements elsewhere, with broadcasting (PyTorch's `masked_fill`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let (x, mask) = (Tensor::from_slice(&[1f32, 2.0], &[2])?, Tensor::from_slice(&[0u8, 1], &[2])?);
    /// assert_eq!(x.masked_fill(&mask, 9.0)?.to_vec::<f32>()?, [1.0, 9.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Shapes that do not broadcast; a mask that is not u8.
    pub fn masked_fill(&self, mask: &Tensor, value: f64) -> Result<Tensor> {
        mask.where_(&Tensor::scalar(value, self.dtype())?, self)
    }

    /// `(1 - weight) a + weight b` with broadcasting (PyTorch's `lerp`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let (a, b) = (Tensor::from_slice(&[0f32], &[1])?, Tensor::from_slice(&[10f32], &[1])?);
    /// assert_eq!(a.lerp(&b, 0.25)?.item()?, 2.5);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`add`](Tensor::add).
    pub fn lerp(&self, end: &Tensor, weight: f64) -> Result<Tensor> {
        self.mul_scalar(1.0 - weight)?.add(&end.mul_scalar(weight)?)
    }

    /// Whether each element is 0, as u8 (PyTorch's `logical_not`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// assert_eq!(Tensor::from_slice(&[0f32, 3.0], &[2])?.logical_not()?.to_vec::<u8>()?, [1, 0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// No memory.
    pub fn logical_not(&self) -> Result<Tensor> {
        self.equal(&Tensor::scalar(0.0, self.dtype())?)
    }

    /// Whether each element is not 0, as u8 (PyTorch's `bool`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// assert_eq!(Tensor::from_slice(&[0f32, 3.0], &[2])?.truth()?.to_vec::<u8>()?, [0, 1]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// No memory.
    pub fn truth(&self) -> Result<Tensor> {
        if self.dtype() == DType::U8 { Ok(self.clone()) } else { self.not_equal(&Tensor::scalar(0.0, self.dtype())?) }
    }
}
