//! Rows picked by index (i64), and written or added up by index: each is the other's gradient.

use crate::{Array, DType, Error, Keep, Result, Tensor};
use chainrule_core::ops::index;

impl Tensor {
    /// `y[.., k, ..] = x[.., indices[k], ..]` along `axis` (PyTorch's `index_select`); the shape of `indices` replaces the dimension.
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let x = Tensor::from_slice(&[10f32, 20.0, 30.0], &[3])?;
    /// assert_eq!(x.index_select(0, &Tensor::from_slice(&[2i64, 0, 2], &[3])?)?.to_vec::<f32>()?, [30.0, 10.0, 30.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// An index outside the dimension; indices that are not i64; more than 8 dimensions.
    pub fn index_select(&self, axis: isize, indices: &Tensor) -> Result<Tensor> {
        let at = self.shape().axis("index_select", axis)?;
        let y = index::index_select(&self.array, axis, &indices.array)?;
        Tensor::record("index_select", [self, indices], Keep::SECOND, y, move |pass| {
            Ok([Some(added_to_zeros(pass.input_dims(0), at, &pass.input(1)?, pass.grad())?), None])
        })
    }

    /// `y = x; y[.., indices[k], ..] += source[.., k, ..]` along `axis` (PyTorch's `index_add`).
    /// ```
    /// # use chainrule_autograd::{DType, Tensor};
    /// let source = Tensor::from_slice(&[5f32, 6.0], &[2])?;
    /// let y = Tensor::ones(&[3], DType::F32)?.index_add(0, &Tensor::from_slice(&[2i64, 2], &[2])?, &source)?;
    /// assert_eq!(y.to_vec::<f32>()?, [1.0, 1.0, 12.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// An index outside the dimension; a source whose shape is not that of `index_select`; different element types, or other ones than f32, f64 and i64.
    pub fn index_add(&self, axis: isize, indices: &Tensor, source: &Tensor) -> Result<Tensor> {
        let y = index::index_add(self.array.clone(), axis, &indices.array, &source.array)?;
        Tensor::record("index_add", [self, indices, source], Keep::SECOND, y, move |pass| {
            let by_source = || pass.grad().index_select(axis, &pass.input(1)?);
            Ok([pass.when(0, || Ok(pass.grad().clone()))?, None, pass.when(2, by_source)?])
        })
    }

    /// `y = x; y[.., indices[k], ..] = source[.., k, ..]` along `axis` (PyTorch's `index_copy`). Of several written to one place the last stays, and it alone gets the gradient.
    /// ```
    /// # use chainrule_autograd::{DType, Tensor};
    /// let source = Tensor::from_slice(&[5f32, 6.0], &[2])?;
    /// let y = Tensor::zeros(&[3], DType::F32)?.index_copy(0, &Tensor::from_slice(&[2i64, 0], &[2])?, &source)?;
    /// assert_eq!(y.to_vec::<f32>()?, [6.0, 0.0, 5.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// An index outside the dimension; a source whose shape is not that of `index_select`; different element types.
    pub fn index_copy(&self, axis: isize, indices: &Tensor, source: &Tensor) -> Result<Tensor> {
        let at = self.shape().axis("index_copy", axis)?;
        let y = index::index_copy(self.array.clone(), axis, &indices.array, &source.array)?;
        let (extent, behind) = (self.dims()[at], self.rank() - at - 1);
        Tensor::record("index_copy", [self, indices, source], Keep::SECOND, y, move |pass| {
            let indices = pass.input(1)?;
            let by_source = || {
                let order = Array::arange(0.0, indices.count() as f64, 1.0, DType::I64)?.reshape(indices.dims())?.to(&indices.device())?;
                let last = index::index_copy(indices.array.new_full(&[extent], 0.0)?, 0, &indices.array, &order)?;
                let lost = Tensor::from(index::index_select(&last, 0, &indices.array)?).not_equal(&order.into())?;
                let lost = lost.reshape(&[indices.dims(), &vec![1; behind]].concat())?;
                pass.grad().index_select(axis, &indices)?.masked_fill(&lost, 0.0)
            };
            Ok([pass.when(0, || pass.grad().index_fill(axis, &indices, 0.0))?, None, pass.when(2, by_source)?])
        })
    }

    /// `y = x; y[.., indices[k], ..] = value` along `axis` (PyTorch's `index_fill`).
    /// ```
    /// # use chainrule_autograd::{DType, Tensor};
    /// let y = Tensor::zeros(&[3], DType::F32)?.index_fill(0, &Tensor::from_slice(&[2i64, 0], &[2])?, 7.0)?;
    /// assert_eq!(y.to_vec::<f32>()?, [7.0, 0.0, 7.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// An index outside the dimension; indices that are not i64.
    pub fn index_fill(&self, axis: isize, indices: &Tensor, value: f64) -> Result<Tensor> {
        let at = self.shape().axis("index_fill", axis)?;
        let ones = Array::full_on(indices.dims(), 1.0, DType::U8, &indices.device())?;
        let mask = index::index_copy(ones.new_full(&[self.dims()[at]], 0.0)?, 0, &indices.array, &ones)?;
        let behind = vec![1; self.rank() - at - 1];
        self.masked_fill(&mask.reshape(&[&[self.dims()[at]], &behind[..]].concat())?.into(), value)
    }

    /// 1 at the class that each index (i64) names, 0 elsewhere: `[..] -> [.., classes]` (PyTorch's `one_hot`). Indices carry no gradient.
    /// ```
    /// # use chainrule_autograd::{DType, Tensor};
    /// let y = Tensor::from_slice(&[1i64, 0], &[2])?.one_hot(3, DType::F32)?;
    /// assert_eq!(y.to_vec::<f32>()?, [0.0, 1.0, 0.0, 1.0, 0.0, 0.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// An index outside `0..classes`; more than 8 dimensions.
    pub fn one_hot(&self, classes: usize, dtype: DType) -> Result<Tensor> {
        Tensor::record_without_rule("one_hot", [self], index::one_hot(&self.array, classes, dtype)?)
    }

    /// Rows of this weight by token number: `[V, D]` and indices `[..]` give `[.., D]` (PyTorch's `embedding`). The row `padding` gets no gradient.
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let weight = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0], &[2, 2])?;
    /// assert_eq!(weight.embedding(&Tensor::from_slice(&[1i64, 0], &[2])?, None)?.to_vec::<f32>()?, [3.0, 4.0, 1.0, 2.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// An index outside `0..V`; indices that are not i64; a weight of other than two dimensions.
    pub fn embedding(&self, indices: &Tensor, padding: Option<usize>) -> Result<Tensor> {
        if self.rank() != 2 {
            return Err(Error::shape("embedding", format!("the weight has shape {:?}, expected [V, D]", self.shape())));
        }
        let Some(padding) = padding else { return self.index_select(0, indices) };
        if padding >= self.dims()[0] {
            return Err(Error::value("embedding", format!("the padding index {padding} is not below {}", self.dims()[0])));
        }
        let y = index::index_select(&self.array, 0, &indices.array)?;
        Tensor::record("embedding", [self, indices], Keep::SECOND, y, move |pass| {
            let indices = pass.input(1)?;
            let ignored = indices.equal(&Tensor::scalar(padding as f64, DType::I64)?)?.unsqueeze(-1)?;
            Ok([Some(added_to_zeros(pass.input_dims(0), 0, &indices, &pass.grad().masked_fill(&ignored, 0.0)?)?), None])
        })
    }
}

/// `index_add` to zeros of shape `dims`.
fn added_to_zeros(dims: &[usize], axis: usize, indices: &Tensor, source: &Tensor) -> Result<Tensor> {
    let y = index::index_add(source.array.new_full(dims, 0.0)?, axis as isize, &indices.array, &source.array)?;
    Tensor::record("added_to_zeros", [source, indices], Keep::SECOND, y, move |pass| {
        Ok([Some(pass.grad().index_select(axis as isize, &pass.input(1)?)?), None])
    })
}
