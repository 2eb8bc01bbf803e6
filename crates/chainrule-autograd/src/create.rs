//! New tensors, off the tape.

use crate::{Array, DType, Element, Error, Result, Rng, Tensor};
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

    /// A single number, of shape `[]` (PyTorch's `tensor(value)`).
    /// ```
    /// # use chainrule_autograd::{DType, Tensor};
    /// assert_eq!(Tensor::scalar(2.5, DType::F32)?.item()?, 2.5);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// No memory.
    pub fn scalar(value: f64, dtype: DType) -> Result<Tensor> {
        Ok(Array::scalar(value, dtype)?.into())
    }

    /// All elements the same (PyTorch's `full`).
    /// ```
    /// # use chainrule_autograd::{DType, Tensor};
    /// assert_eq!(Tensor::full(&[2], 7.0, DType::I64)?.to_vec::<i64>()?, [7, 7]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// More than 8 dimensions; no memory.
    pub fn full(dims: &[usize], value: f64, dtype: DType) -> Result<Tensor> {
        Ok(Array::full(dims, value, dtype)?.into())
    }

    /// Zeros (PyTorch's `zeros`).
    /// ```
    /// # use chainrule_autograd::{DType, Tensor};
    /// assert_eq!(Tensor::zeros(&[2], DType::F32)?.to_vec::<f32>()?, [0.0, 0.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// More than 8 dimensions; no memory.
    pub fn zeros(dims: &[usize], dtype: DType) -> Result<Tensor> {
        Tensor::full(dims, 0.0, dtype)
    }

    /// Ones (PyTorch's `ones`).
    /// ```
    /// # use chainrule_autograd::{DType, Tensor};
    /// assert_eq!(Tensor::ones(&[2], DType::F32)?.to_vec::<f32>()?, [1.0, 1.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// More than 8 dimensions; no memory.
    pub fn ones(dims: &[usize], dtype: DType) -> Result<Tensor> {
        Tensor::full(dims, 1.0, dtype)
    }

    /// `start, start + step, …` up to but without `end` (PyTorch's `arange`).
    /// ```
    /// # use chainrule_autograd::{DType, Tensor};
    /// assert_eq!(Tensor::arange(0.0, 1.0, 0.25, DType::F32)?.to_vec::<f32>()?, [0.0, 0.25, 0.5, 0.75]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// A step of zero, or one that leads away from `end`.
    pub fn arange(start: f64, end: f64, step: f64, dtype: DType) -> Result<Tensor> {
        Ok(Array::arange(start, end, step, dtype)?.into())
    }

    /// `count` evenly spaced numbers from `start` to `end`, both included (PyTorch's `linspace`).
    /// ```
    /// # use chainrule_autograd::{DType, Tensor};
    /// assert_eq!(Tensor::linspace(0.0, 1.0, 3, DType::F32)?.to_vec::<f32>()?, [0.0, 0.5, 1.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// No memory.
    pub fn linspace(start: f64, end: f64, count: usize, dtype: DType) -> Result<Tensor> {
        Ok(Array::linspace(start, end, count, dtype)?.into())
    }

    /// `count` numbers from `base^start` to `base^end`, evenly spaced by their logarithms (PyTorch's `logspace`).
    /// ```
    /// # use chainrule_autograd::{DType, Tensor};
    /// assert_eq!(Tensor::logspace(0.0, 2.0, 3, 10.0, DType::F64)?.to_vec::<f64>()?, [1.0, 10.0, 100.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// No memory.
    pub fn logspace(start: f64, end: f64, count: usize, base: f64, dtype: DType) -> Result<Tensor> {
        Ok(Array::logspace(start, end, count, base, dtype)?.into())
    }

    /// 1 on and below diagonal `diagonal` of a matrix, 0 above: with `DType::U8` the mask of what each position may look at in causal attention (NumPy's `tri`, PyTorch's `ones(..).tril()`).
    /// ```
    /// # use chainrule_autograd::{DType, Tensor};
    /// assert_eq!(Tensor::tri(2, 3, 0, DType::U8)?.to_vec::<u8>()?, [1, 0, 0, 1, 1, 0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// No memory.
    pub fn tri(rows: usize, columns: usize, diagonal: isize, dtype: DType) -> Result<Tensor> {
        let below = |i: usize| (i % columns) as isize <= ((i / columns) as isize).saturating_add(diagonal);
        Ok(Array::from_index(&[rows, columns], dtype, |i| below(i) as u8 as f64)?.into())
    }

    /// All elements `value`, in the shape and element type and on the device of this tensor (PyTorch's `full_like`).
    /// ```
    /// # use chainrule_autograd::{DType, Tensor};
    /// assert_eq!(Tensor::zeros(&[2], DType::F32)?.full_like(3.0)?.to_vec::<f32>()?, [3.0, 3.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// No memory.
    pub fn full_like(&self, value: f64) -> Result<Tensor> {
        Ok(self.array.new_full(self.dims(), value)?.into())
    }

    /// Zeros in the shape and element type of this tensor (PyTorch's `zeros_like`).
    /// ```
    /// # use chainrule_autograd::{DType, Tensor};
    /// assert_eq!(Tensor::ones(&[2], DType::I64)?.zeros_like()?.to_vec::<i64>()?, [0, 0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// No memory.
    pub fn zeros_like(&self) -> Result<Tensor> {
        self.full_like(0.0)
    }

    /// Ones in the shape and element type of this tensor (PyTorch's `ones_like`).
    /// ```
    /// # use chainrule_autograd::{DType, Tensor};
    /// assert_eq!(Tensor::zeros(&[2], DType::I64)?.ones_like()?.to_vec::<i64>()?, [1, 1]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// No memory.
    pub fn ones_like(&self) -> Result<Tensor> {
        self.full_like(1.0)
    }

    /// The identity matrix of size `n` (PyTorch's `eye`).
    /// ```
    /// # use chainrule_autograd::{DType, Tensor};
    /// assert_eq!(Tensor::eye(2, DType::F32)?.to_vec::<f32>()?, [1.0, 0.0, 0.0, 1.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// No memory.
    pub fn eye(n: usize, dtype: DType) -> Result<Tensor> {
        Ok(Array::eye(n, dtype)?.into())
    }

    /// Random numbers, uniform in `[low, high)` (PyTorch's `rand`).
    /// ```
    /// # use chainrule_autograd::{DType, Rng, Tensor};
    /// let x = Tensor::uniform(&[100], 1.0, 2.0, DType::F64, &mut Rng::seeded(0))?.to_vec::<f64>()?;
    /// assert!(x.iter().all(|x| (1.0..2.0).contains(x)));
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// An element type other than f32 and f64; bounds that are not finite.
    pub fn uniform(dims: &[usize], low: f64, high: f64, dtype: DType, rng: &mut Rng) -> Result<Tensor> {
        Ok(random::uniform(dims, low, high, dtype, rng)?.into())
    }

    /// Random numbers of a normal distribution (PyTorch's `randn`).
    /// ```
    /// # use chainrule_autograd::{DType, Rng, Tensor};
    /// let x = Tensor::normal(&[10_000], 5.0, 1.0, DType::F64, &mut Rng::seeded(0))?;
    /// assert!((x.mean()?.item()? - 5.0).abs() < 0.05);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// An element type other than f32 and f64.
    pub fn normal(dims: &[usize], mean: f64, deviation: f64, dtype: DType, rng: &mut Rng) -> Result<Tensor> {
        Ok(random::normal(dims, mean, deviation, dtype, rng)?.into())
    }
    /// Random whole numbers in `low..high`, as i64 (PyTorch's `randint`).
    /// ```
    /// # use chainrule_autograd::{Rng, Tensor};
    /// let x = Tensor::integers(&[100], -2, 3, &mut Rng::seeded(0))?.to_vec::<i64>()?;
    /// assert!(x.iter().all(|x| (-2..3).contains(x)) && x.contains(&2) && x.contains(&-2));
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// No number in `low..high`; no memory.
    pub fn integers(dims: &[usize], low: i64, high: i64, rng: &mut Rng) -> Result<Tensor> {
        let Some(span) = high.checked_sub(low).filter(|&span| span > 0) else {
            return Err(Error::value("integers", format!("bounds are {low} and {high}, expected low below high and fewer than 2^63 numbers")));
        };
        let mut drawn = Array::zeros(dims, DType::I64)?;
        drawn.as_mut_slice::<i64>()?.iter_mut().for_each(|number| *number = low + rng.below(span as usize) as i64);
        Ok(drawn.into())
    }

    /// `0..n` in random order, as i64 (PyTorch's `randperm`).
    /// ```
    /// # use chainrule_autograd::{Rng, Tensor};
    /// let mut order = Tensor::permutation(5, &mut Rng::seeded(0))?.to_vec::<i64>()?;
    /// order.sort();
    /// assert_eq!(order, [0, 1, 2, 3, 4]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// No memory.
    pub fn permutation(n: usize, rng: &mut Rng) -> Result<Tensor> {
        let order: Vec<i64> = rng.permutation(n).into_iter().map(|i| i as i64).collect();
        Tensor::from_slice(&order, &[n])
    }
}
