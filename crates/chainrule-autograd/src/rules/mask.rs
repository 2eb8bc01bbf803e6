//! Elements chosen by truth values (u8, 0 is false).

use crate::{DType, Error, Result, Shape, Tensor};
use chainrule_core::ops::search;

impl Tensor {
    /// The elements where the mask (u8) is not 0, in row-major order, with broadcasting: `[..] -> [count]` (PyTorch's `masked_select`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let x = Tensor::from_slice(&[1f32, -2.0, 3.0], &[3])?;
    /// assert_eq!(x.masked_select(&x.greater_scalar(0.0)?)?.to_vec::<f32>()?, [1.0, 3.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Shapes that do not broadcast; a mask that is not u8.
    pub fn masked_select(&self, mask: &Tensor) -> Result<Tensor> {
        const OP: &str = "masked_select";
        truth_values(OP, mask)?;
        let shape = Shape::broadcast(OP, self.shape(), mask.shape())?;
        let places = search::nonzero_positions(&mask.array.broadcast_to(&shape)?)?;
        self.broadcast_to(&shape)?.reshape(&[shape.count()])?.index_select(0, &places.into())
    }

    /// This tensor with the first elements of `source`, in row-major order, where the mask (u8) is not 0; the mask broadcasts (PyTorch's `masked_scatter`).
    /// ```
    /// # use chainrule_autograd::{DType, Tensor};
    /// let (mask, source) = (Tensor::from_slice(&[0u8, 1, 1], &[3])?, Tensor::from_slice(&[5f32, 6.0, 7.0], &[3])?);
    /// assert_eq!(Tensor::zeros(&[3], DType::F32)?.masked_scatter(&mask, &source)?.to_vec::<f32>()?, [0.0, 5.0, 6.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// A mask that does not broadcast to this shape, or is not u8; a source of too few elements or another element type.
    pub fn masked_scatter(&self, mask: &Tensor, source: &Tensor) -> Result<Tensor> {
        const OP: &str = "masked_scatter";
        truth_values(OP, mask)?;
        let places = Tensor::from(search::nonzero_positions(&mask.array.broadcast_to(self.dims())?)?);
        let count = places.count();
        if source.count() < count {
            return Err(Error::shape(OP, format!("the source {:?} has {} elements, the mask asks for {count}", source.shape(), source.count())));
        }
        let first = source.reshape(&[source.count()])?.narrow(0, 0, count)?;
        self.reshape(&[self.count()])?.index_copy(0, &places, &first)?.reshape(self.dims())
    }
}

fn truth_values(op: &'static str, mask: &Tensor) -> Result<()> {
    if mask.dtype() == DType::U8 {
        return Ok(());
    }
    Err(chainrule_core::Error::DType { op, got: mask.dtype(), expected: "u8 (truth values) as the mask" }.into())
}
