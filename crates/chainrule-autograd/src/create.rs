//! New tensors, off the tape.

use crate::{Array, DType, Element, Result, Rng, Tensor};
use chainrule_core::random;

impl Tensor {
    /// A copy of these numbers, in row-major order.
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let x = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0], &[2, 2])?;
    /// assert_eq!(x.dims(), [2, 2]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// A shape of another element count.
    pub fn from_slice<T: Element>(data: &[T], dims: &[usize]) -> Result<Tensor> {
        Ok(Array::from_slice(data, dims)?.into())
    }

    /// A single number, of shape `[]`.
    ///
    /// # Errors
    /// No memory.
    pub fn scalar(value: f64, dtype: DType) -> Result<Tensor> {
        Ok(Array::scalar(value, dtype)?.into())
    }

    /// All elements the same.
    ///
    /// # Errors
    /// More than 8 dimensions; no memory.
    pub fn full(dims: &[usize], value: f64, dtype: DType) -> Result<Tensor> {
        Ok(Array::full(dims, value, dtype)?.into())
    }

    /// Zeros.
    ///
    /// # Errors
    /// More than 8 dimensions; no memory.
    pub fn zeros(dims: &[usize], dtype: DType) -> Result<Tensor> {
        Tensor::full(dims, 0.0, dtype)
    }

    /// Ones.
    ///
    /// # Errors
    /// More than 8 dimensions; no memory.
    pub fn ones(dims: &[usize], dtype: DType) -> Result<Tensor> {
        Tensor::full(dims, 1.0, dtype)
    }

    /// `start, start + step, …` up to but without `end`.
    ///
    /// # Errors
    /// A step of zero, or one that leads away from `end`.
    pub fn arange(start: f64, end: f64, step: f64, dtype: DType) -> Result<Tensor> {
        Ok(Array::arange(start, end, step, dtype)?.into())
    }

    /// `count` evenly spaced numbers from `start` to `end`, both included.
    ///
    /// # Errors
    /// No memory.
    pub fn linspace(start: f64, end: f64, count: usize, dtype: DType) -> Result<Tensor> {
        Ok(Array::linspace(start, end, count, dtype)?.into())
    }

    /// The identity matrix of size `n`.
    ///
    /// # Errors
    /// No memory.
    pub fn eye(n: usize, dtype: DType) -> Result<Tensor> {
        Ok(Array::eye(n, dtype)?.into())
    }

    /// Random numbers, uniform in `[low, high)`.
    ///
    /// # Errors
    /// An element type other than f32 and f64; bounds that are not finite.
    pub fn uniform(dims: &[usize], low: f64, high: f64, dtype: DType, rng: &mut Rng) -> Result<Tensor> {
        Ok(random::uniform(dims, low, high, dtype, rng)?.into())
    }

    /// Random numbers of a normal distribution.
    ///
    /// # Errors
    /// An element type other than f32 and f64.
    pub fn normal(dims: &[usize], mean: f64, deviation: f64, dtype: DType, rng: &mut Rng) -> Result<Tensor> {
        Ok(random::normal(dims, mean, deviation, dtype, rng)?.into())
    }
}
