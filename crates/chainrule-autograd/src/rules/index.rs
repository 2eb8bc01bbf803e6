//! Elements picked by index (i64), and added up by index: each is the other's gradient.

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
    ///
    /// # Errors
    /// An index outside the dimension; a source whose shape is not that of `index_select`; different element types, or other ones than f32 and f64.
    pub fn index_add(&self, axis: isize, indices: &Tensor, source: &Tensor) -> Result<Tensor> {
        let y = index::index_add(self.array.clone(), axis, &indices.array, &source.array)?;
        Tensor::record("index_add", [self, indices, source], Keep::SECOND, y, move |pass| {
            let by_source = || pass.grad().index_select(axis, &pass.input(1)?);
            Ok([pass.when(0, || Ok(pass.grad().clone()))?, None, pass.when(2, by_source)?])
        })
    }

    /// `y[i, j, k] = x[i, indices[i, j, k], k]` for `axis` 1 (PyTorch's `gather`).
    ///
    /// # Errors
    /// Indices that do not fit; an index outside the dimension.
    pub fn gather(&self, axis: isize, indices: &Tensor) -> Result<Tensor> {
        let at = self.shape().axis("gather", axis)?;
        let y = index::gather(&self.array, axis, &indices.array)?;
        Tensor::record("gather", [self, indices], Keep::SECOND, y, move |pass| {
            Ok([Some(scattered(pass.input_dims(0), at, &pass.input(1)?, pass.grad())?), None])
        })
    }

    /// `y = x; y[i, indices[i, j, k], k] += source[i, j, k]` for `axis` 1 (PyTorch's `scatter_add`).
    ///
    /// # Errors
    /// Indices that do not fit this tensor or `source`; an index outside the dimension; element types other than f32 and f64.
    pub fn scatter_add(&self, axis: isize, indices: &Tensor, source: &Tensor) -> Result<Tensor> {
        let y = index::scatter_add(self.array.clone(), axis, &indices.array, &source.array)?;
        // The source may be larger than the indices; only that part of it is read.
        let part = source.dims() == indices.dims();
        let dims = source.dims().to_vec();
        Tensor::record("scatter_add", [self, indices, source], Keep::SECOND, y, move |pass| {
            let by_source = || {
                let read = pass.grad().gather(axis, &pass.input(1)?)?;
                if part { Ok(read) } else { read.pad(&rim(read.dims(), &dims), 0.0) }
            };
            Ok([pass.when(0, || Ok(pass.grad().clone()))?, None, pass.when(2, by_source)?])
        })
    }

    /// 1 at the class that each index (i64) names, 0 elsewhere: `[..] -> [.., classes]` (PyTorch's `one_hot`). Indices carry no gradient.
    ///
    /// # Errors
    /// An index outside `0..classes`; more than 8 dimensions.
    pub fn one_hot(&self, classes: usize, dtype: DType) -> Result<Tensor> {
        Tensor::record_without_rule("one_hot", [self], index::one_hot(&self.array, classes, dtype)?)
    }

    /// Rows of this weight by token number: `[V, D]` and indices `[..]` give `[.., D]` (PyTorch's `embedding`). The row `padding` gets no gradient.
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
    let y = index::index_add(Array::zeros(dims, source.dtype())?, axis as isize, &indices.array, &source.array)?;
    Tensor::record("added_to_zeros", [source, indices], Keep::SECOND, y, move |pass| {
        Ok([Some(pass.grad().index_select(axis as isize, &pass.input(1)?)?), None])
    })
}

/// `scatter_add` to zeros of shape `dims`.
pub(crate) fn scattered(dims: &[usize], axis: usize, indices: &Tensor, source: &Tensor) -> Result<Tensor> {
    let y = index::scatter_add(Array::zeros(dims, source.dtype())?, axis as isize, &indices.array, &source.array)?;
    Tensor::record("scattered", [source, indices], Keep::SECOND, y, move |pass| Ok([Some(pass.grad().gather(axis as isize, &pass.input(1)?)?), None]))
}

fn rim(inner: &[usize], outer: &[usize]) -> Vec<(isize, isize)> {
    inner.iter().zip(outer).map(|(&i, &o)| (0, o as isize - i as isize)).collect()
}
