//! Diagonals: taken as views, put into zeros, summed.

use crate::{Error, Keep, Result, Tensor};
use chainrule_core::ops::join;

impl Tensor {
    /// The elements `x[.., i, .., i + offset, ..]` of dimensions `a` and `b` as the last dimension, without a copy (PyTorch's `diagonal`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let x = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0], &[2, 2])?;
    /// assert_eq!(x.diagonal(0, 0, 1)?.to_vec::<f32>()?, [1.0, 4.0]);
    /// assert_eq!(x.diagonal(1, 0, 1)?.to_vec::<f32>()?, [2.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Dimensions that are the same or out of range.
    pub fn diagonal(&self, offset: isize, a: isize, b: isize) -> Result<Tensor> {
        let y = self.array.diagonal(offset, a, b)?;
        let (a, b) = (self.shape().axis("diagonal", a)? as isize, self.shape().axis("diagonal", b)? as isize);
        Tensor::record("diagonal", [self], Keep::NONE, y, move |pass| Ok([Some(pass.grad().on_diagonal(pass.input_dims(0), offset, a, b)?)]))
    }

    /// Zeros of shape `dims` with these elements on a diagonal: undoes [`diagonal`](Tensor::diagonal).
    fn on_diagonal(&self, dims: &[usize], offset: isize, a: isize, b: isize) -> Result<Tensor> {
        let y = join::place_diagonal(dims, &self.array, offset, a, b)?;
        Tensor::record("on_diagonal", [self], Keep::NONE, y, move |pass| Ok([Some(pass.grad().diagonal(offset, a, b)?)]))
    }

    /// Square matrices of zeros, over dimensions `a` and `b` of the result, with the last dimension on their diagonal: `[.., n] -> [.., m, m]`, `m = n + |offset|` (PyTorch's `diag_embed`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let y = Tensor::from_slice(&[1f32, 2.0], &[2])?.diag_embed(0, -2, -1)?;
    /// assert_eq!(y.to_vec::<f32>()?, [1.0, 0.0, 0.0, 2.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// A scalar; dimensions that are the same or out of range; more than 8 dimensions.
    pub fn diag_embed(&self, offset: isize, a: isize, b: isize) -> Result<Tensor> {
        const OP: &str = "diag_embed";
        let Some((&length, front)) = self.dims().split_last() else { return Err(Error::shape(OP, "got a scalar, expected at least one dimension")) };
        let side = length.saturating_add(offset.unsigned_abs());
        let shape = crate::Shape::new(&[&[side, side], front].concat())?;
        let (a, b) = (shape.axis(OP, a)?, shape.axis(OP, b)?);
        if a == b {
            return Err(Error::shape(OP, format!("dimension {a} is named twice, expected two dimensions")));
        }
        let mut dims = front.to_vec();
        dims.insert(a.min(b), side);
        dims.insert(a.max(b), side);
        self.on_diagonal(&dims, offset, a as isize, b as isize)
    }

    /// Of a matrix its diagonal, of a vector the matrix that has it as diagonal (PyTorch's `diag`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let y = Tensor::from_slice(&[1f32, 2.0], &[2])?.diag(0)?;
    /// assert_eq!(y.to_vec::<f32>()?, [1.0, 0.0, 0.0, 2.0]);
    /// assert_eq!(y.diag(0)?.to_vec::<f32>()?, [1.0, 2.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Other than one or two dimensions.
    pub fn diag(&self, offset: isize) -> Result<Tensor> {
        match self.rank() {
            1 => self.diag_embed(offset, 0, 1),
            2 => self.diagonal(offset, 0, 1),
            _ => Err(Error::shape("diag", format!("shape {:?}, expected a vector or a matrix", self.shape()))),
        }
    }

    /// The sum of the diagonal of a matrix (PyTorch's `trace`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// assert_eq!(Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0], &[2, 2])?.trace()?.item()?, 5.0);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Other than two dimensions; bf16 and f16.
    pub fn trace(&self) -> Result<Tensor> {
        if self.rank() != 2 {
            return Err(Error::shape("trace", format!("shape {:?}, expected a matrix", self.shape())));
        }
        self.diagonal(0, 0, 1)?.sum()
    }
}
