//! Elements picked and put by an index (i64) each: `x[i, indices[i, j, k], k]` for `axis` 1.

use crate::{Array, DType, Error, Keep, Result, Shape, Tensor};
use chainrule_core::ops::gather::{self, Join};

/// How [`Tensor::scatter_reduce`] joins the numbers that meet at one place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ScatterReduce {
    /// Their sum (PyTorch's `"sum"`).
    Sum,
    /// Their product (`"prod"`).
    Product,
    /// Their mean (`"mean"`).
    Mean,
    /// The largest; equal ones share the gradient evenly (`"amax"`).
    Max,
    /// The smallest; equal ones share the gradient evenly (`"amin"`).
    Min,
}

impl Tensor {
    /// `y[i, j, k] = x[i, indices[i, j, k], k]` for `axis` 1 (PyTorch's `gather`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let x = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0], &[2, 2])?;
    /// assert_eq!(x.gather(1, &Tensor::from_slice(&[1i64, 0], &[2, 1])?)?.to_vec::<f32>()?, [2.0, 3.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Indices that do not fit; an index outside the dimension.
    pub fn gather(&self, axis: isize, indices: &Tensor) -> Result<Tensor> {
        let at = self.shape().axis("gather", axis)?;
        let y = gather::gather(&self.array, axis, &indices.array)?;
        Tensor::record("gather", [self, indices], Keep::SECOND, y, move |pass| {
            Ok([Some(scattered(pass.input_dims(0), at, &pass.input(1)?, pass.grad())?), None])
        })
    }

    /// The same with indices that broadcast outside `axis`, as those of [`argsort`](Tensor::argsort) or [`argmax`](Tensor::argmax) kept (PyTorch's `take_along_dim`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let x = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0], &[2, 2])?;
    /// assert_eq!(x.take_along_dim(&Tensor::from_slice(&[1i64], &[1, 1])?, 1)?.to_vec::<f32>()?, [2.0, 4.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Different ranks; shapes that do not broadcast; an index outside the dimension.
    pub fn take_along_dim(&self, indices: &Tensor, axis: isize) -> Result<Tensor> {
        const OP: &str = "take_along_dim";
        let at = self.shape().axis(OP, axis)?;
        if indices.rank() != self.rank() {
            return Err(Error::shape(OP, format!("indices {:?} for {:?}, expected equal rank", indices.shape(), self.shape())));
        }
        let common = Shape::broadcast(OP, &self.shape().with(at, 1), &indices.shape().with(at, 1))?;
        let stretched = |x: &Tensor| x.broadcast_to(&common.with(at, x.dims()[at]));
        stretched(self)?.gather(axis, &stretched(indices)?)
    }

    /// `y = x; y[i, indices[i, j, k], k] = source[i, j, k]` for `axis` 1 (PyTorch's `scatter`). Of several written to one place the last stays, and it alone gets the gradient.
    /// ```
    /// # use chainrule_autograd::{DType, Tensor};
    /// let source = Tensor::from_slice(&[5f32, 6.0], &[2])?;
    /// let y = Tensor::zeros(&[3], DType::F32)?.scatter(0, &Tensor::from_slice(&[2i64, 0], &[2])?, &source)?;
    /// assert_eq!(y.to_vec::<f32>()?, [6.0, 0.0, 5.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Indices that do not fit this tensor or `source`; an index outside the dimension; different element types.
    pub fn scatter(&self, axis: isize, indices: &Tensor, source: &Tensor) -> Result<Tensor> {
        let y = gather::scatter(self.array.clone(), axis, &indices.array, &source.array, Join::Write)?;
        let (dims, source_dims) = (self.dims().to_vec(), source.dims().to_vec());
        Tensor::record("scatter", [self, indices, source], Keep::SECOND, y, move |pass| {
            let indices = pass.input(1)?;
            let by_source = || {
                let order = Array::arange(0.0, indices.count() as f64, 1.0, DType::I64)?.reshape(indices.dims())?.to(&indices.device())?;
                let last = gather::scatter(indices.array.new_full(&dims, 0.0)?, axis, &indices.array, &order, Join::Write)?;
                let lost = Tensor::from(gather::gather(&last, axis, &indices.array)?).not_equal(&order.into())?;
                pass.grad().gather(axis, &indices)?.masked_fill(&lost, 0.0)?.widened(&source_dims)
            };
            Ok([pass.when(0, || pass.grad().scatter_scalar(axis, &indices, 0.0))?, None, pass.when(2, by_source)?])
        })
    }

    /// `y = x; y[i, indices[i, j, k], k] = value` for `axis` 1 (PyTorch's `scatter` with a number).
    /// ```
    /// # use chainrule_autograd::{DType, Tensor};
    /// let y = Tensor::zeros(&[3], DType::F32)?.scatter_scalar(0, &Tensor::from_slice(&[2i64, 0], &[2])?, 7.0)?;
    /// assert_eq!(y.to_vec::<f32>()?, [7.0, 0.0, 7.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`scatter`](Tensor::scatter).
    pub fn scatter_scalar(&self, axis: isize, indices: &Tensor, value: f64) -> Result<Tensor> {
        self.scatter(axis, indices, &Tensor::from(self.array.new_full(indices.dims(), value)?))
    }

    /// `y = x; y[i, indices[i, j, k], k] += source[i, j, k]` for `axis` 1 (PyTorch's `scatter_add`).
    /// ```
    /// # use chainrule_autograd::{DType, Tensor};
    /// let source = Tensor::from_slice(&[5f32, 6.0], &[2])?;
    /// let y = Tensor::ones(&[2], DType::F32)?.scatter_add(0, &Tensor::from_slice(&[1i64, 1], &[2])?, &source)?;
    /// assert_eq!(y.to_vec::<f32>()?, [1.0, 12.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Indices that do not fit this tensor or `source`; an index outside the dimension; element types other than f32, f64 and i64.
    pub fn scatter_add(&self, axis: isize, indices: &Tensor, source: &Tensor) -> Result<Tensor> {
        let y = gather::scatter_add(self.array.clone(), axis, &indices.array, &source.array)?;
        let dims = source.dims().to_vec();
        Tensor::record("scatter_add", [self, indices, source], Keep::SECOND, y, move |pass| {
            let by_source = || pass.grad().gather(axis, &pass.input(1)?)?.widened(&dims);
            Ok([pass.when(0, || Ok(pass.grad().clone()))?, None, pass.when(2, by_source)?])
        })
    }

    /// `y[i, p, k]` joins all `source[i, j, k]` with `indices[i, j, k] = p`, for `axis` 1, and `x[i, p, k]` when `include_self`; places that no index names keep `x` (PyTorch's `scatter_reduce`).
    /// ```
    /// # use chainrule_autograd::{DType, ScatterReduce, Tensor};
    /// let (source, indices) = (Tensor::from_slice(&[5f32, 7.0], &[2])?, Tensor::from_slice(&[1i64, 1], &[2])?);
    /// let y = Tensor::zeros(&[2], DType::F32)?.scatter_reduce(0, &indices, &source, ScatterReduce::Mean, false)?;
    /// assert_eq!(y.to_vec::<f32>()?, [0.0, 6.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`scatter_add`](Tensor::scatter_add); a mean of integers.
    pub fn scatter_reduce(&self, axis: isize, indices: &Tensor, source: &Tensor, reduce: ScatterReduce, include_self: bool) -> Result<Tensor> {
        let neutral = match reduce {
            ScatterReduce::Sum | ScatterReduce::Mean => 0.0,
            ScatterReduce::Product => 1.0,
            ScatterReduce::Max => f64::NEG_INFINITY,
            ScatterReduce::Min => f64::INFINITY,
        };
        let x = if include_self { self.clone() } else { self.scatter_scalar(axis, indices, neutral)? };
        match reduce {
            ScatterReduce::Sum => x.scatter_add(axis, indices, source),
            ScatterReduce::Product => scatter_product(&x, axis, indices, source),
            ScatterReduce::Max => scatter_extreme(&x, axis, indices, source, Join::Max),
            ScatterReduce::Min => scatter_extreme(&x, axis, indices, source, Join::Min),
            ScatterReduce::Mean => {
                let own = self.full_like(include_self as u8 as f64)?;
                let counts = own.scatter_add(axis, indices, &self.array.new_full(indices.dims(), 1.0)?.into())?;
                x.scatter_add(axis, indices, source)?.div(&counts.maximum(&Tensor::scalar(1.0, self.dtype())?)?)
            }
        }
    }

    /// With zeros behind, up to the extents `dims`: a source may be larger than the indices, and only that part of it is read.
    fn widened(&self, dims: &[usize]) -> Result<Tensor> {
        let rim: Vec<_> = self.dims().iter().zip(dims).map(|(&inner, &outer)| (0, outer as isize - inner as isize)).collect();
        self.pad(&rim, 0.0)
    }

    /// The first elements, as many as `dims` says.
    fn narrowed(&self, dims: &[usize]) -> Result<Tensor> {
        dims.iter().enumerate().try_fold(self.clone(), |x, (axis, &extent)| if x.dims()[axis] == extent { Ok(x) } else { x.narrow(axis as isize, 0, extent) })
    }
}

/// The slope by an element is the product of the others: 0 if one of them is 0.
fn scatter_product(x: &Tensor, axis: isize, indices: &Tensor, source: &Tensor) -> Result<Tensor> {
    let y = gather::scatter(x.array.clone(), axis, &indices.array, &source.array, Join::Product)?;
    Tensor::record("scatter_product", [x, indices, source], Keep::INPUTS, y, move |pass| {
        let (x, indices, source) = (pass.input(0)?, pass.input(1)?, pass.input(2)?);
        let part = source.narrowed(indices.dims())?;
        let (x_zero, part_zero) = (x.logical_not()?, part.logical_not()?);
        let (x_rest, part_rest) = (x.masked_fill(&x_zero, 1.0)?, part.masked_fill(&part_zero, 1.0)?);
        // The product without zeros, and how many there were.
        let product = scatter_product(&x_rest, axis, &indices, &part_rest)?.mul(pass.grad())?;
        let zeros = x_zero.cast(DType::I64)?.scatter_add(axis, &indices, &part_zero.cast(DType::I64)?)?;
        let by_part = || {
            let other_zeros = zeros.gather(axis, &indices)?.greater(&part_zero.cast(DType::I64)?)?;
            product.gather(axis, &indices)?.div(&part_rest)?.masked_fill(&other_zeros, 0.0)?.widened(source.dims())
        };
        let by_x = || product.div(&x_rest)?.masked_fill(&zeros.greater(&x_zero.cast(DType::I64)?)?, 0.0);
        Ok([pass.when(0, by_x)?, None, pass.when(2, by_part)?])
    })
}

fn scatter_extreme(x: &Tensor, axis: isize, indices: &Tensor, source: &Tensor, join: Join) -> Result<Tensor> {
    let y = gather::scatter(x.array.clone(), axis, &indices.array, &source.array, join)?;
    Tensor::record("scatter_extreme", [x, indices, source], Keep::INPUTS.and(Keep::OUTPUT), y, move |pass| {
        let (indices, y) = (pass.input(1)?, Tensor::from(pass.output_array()?));
        let (x, source) = (Tensor::from(pass.input_array(0)?), Tensor::from(pass.input_array(2)?));
        let part = source.narrowed(indices.dims())?;
        let float = |mask: Tensor| mask.cast(y.dtype());
        let (x_is, part_is) = (float(x.equal(&y)?)?, float(part.equal(&y.gather(axis, &indices.detach())?)?)?);
        let share = pass.grad().div(&x_is.scatter_add(axis, &indices.detach(), &part_is)?)?;
        let by_part = || share.gather(axis, &indices)?.mul(&part_is)?.widened(source.dims());
        Ok([pass.when(0, || share.mul(&x_is))?, None, pass.when(2, by_part)?])
    })
}

/// `scatter_add` to zeros of shape `dims`.
pub(crate) fn scattered(dims: &[usize], axis: usize, indices: &Tensor, source: &Tensor) -> Result<Tensor> {
    let y = gather::scatter_add(source.array.new_full(dims, 0.0)?, axis as isize, &indices.array, &source.array)?;
    Tensor::record("scattered", [source, indices], Keep::SECOND, y, move |pass| Ok([Some(pass.grad().gather(axis as isize, &pass.input(1)?)?), None]))
}
