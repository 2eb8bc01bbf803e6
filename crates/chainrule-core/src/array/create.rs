//! New arrays.

use super::Array;
use crate::device::Device;
use crate::dtype::{DType, Element, with_element};
use crate::error::{Error, Result};
use crate::parallel::{self, Target};
use crate::shape::Shape;

impl Array {
    /// An array with a copy of these numbers in row-major order.
    ///
    /// # Errors
    /// A shape of another element count; more than 8 dimensions; no memory.
    pub fn from_slice<T: Element>(data: &[T], dims: &[usize]) -> Result<Array> {
        let shape = Shape::new(dims)?;
        if shape.count() != data.len() {
            return Err(Error::shape("from_slice", format!("shape {shape:?} holds {} elements, got {}", shape.count(), data.len())));
        }
        let mut array = Array::stale(shape, T::DTYPE)?;
        array.slice_mut::<T>().copy_from_slice(data);
        Ok(array)
    }

    /// An array filled with one value, rounded to the element type.
    pub fn full(dims: &[usize], value: f64, dtype: DType) -> Result<Array> {
        Array::filled(Shape::new(dims)?, value, dtype)
    }

    pub(crate) fn filled(shape: Shape, value: f64, dtype: DType) -> Result<Array> {
        let mut array = Array::stale(shape, dtype)?;
        with_element!(dtype, T => {
            let (value, target) = (T::from_f64(value), Target::new(array.slice_mut::<T>()));
            parallel::ranges(shape.count(), 4 * parallel::GRAIN, |start, end| {
                // SAFETY: ranges do not overlap.
                unsafe { target.slice(start, end) }.fill(value)
            });
        });
        Ok(array)
    }

    /// The same on a device.
    ///
    /// # Errors
    /// A device that is missing or failed; no memory there.
    pub fn full_on(dims: &[usize], value: f64, dtype: DType, device: &Device) -> Result<Array> {
        match *device {
            #[cfg(feature = "cuda")]
            Device::Cuda(ordinal) => super::device::filled(crate::cuda::Gpu::get(ordinal)?, Shape::new(dims)?, value, dtype),
            _ => Array::full(dims, value, dtype),
        }
    }

    /// An array of one value, of this array's element type and on its device (PyTorch's `new_full`).
    ///
    /// # Errors
    /// More than 8 dimensions; no memory.
    pub fn new_full(&self, dims: &[usize], value: f64) -> Result<Array> {
        Array::full_on(dims, value, self.dtype(), &self.device())
    }

    /// An array of zeros.
    pub fn zeros(dims: &[usize], dtype: DType) -> Result<Array> {
        Array::full(dims, 0.0, dtype)
    }

    /// An array of ones.
    pub fn ones(dims: &[usize], dtype: DType) -> Result<Array> {
        Array::full(dims, 1.0, dtype)
    }

    /// A single number.
    pub fn scalar(value: f64, dtype: DType) -> Result<Array> {
        Array::filled(Shape::scalar(), value, dtype)
    }

    /// `start, start + step, …` up to but without `end` (PyTorch's `arange`).
    ///
    /// # Errors
    /// A step of zero, or one that leads away from `end`.
    pub fn arange(start: f64, end: f64, step: f64, dtype: DType) -> Result<Array> {
        let count = ((end - start) / step).ceil();
        if !count.is_finite() || count < 0.0 || count > (1u64 << 48) as f64 {
            return Err(Error::value("arange", format!("steps of {step} do not lead from {start} to {end}")));
        }
        Array::from_index(&[count as usize], dtype, |i| start + i as f64 * step)
    }

    /// `count` evenly spaced numbers from `start` to `end`, both included (PyTorch's `linspace`).
    pub fn linspace(start: f64, end: f64, count: usize, dtype: DType) -> Result<Array> {
        let step = if count > 1 { (end - start) / (count - 1) as f64 } else { 0.0 };
        Array::from_index(&[count], dtype, |i| if i + 1 == count && count > 1 { end } else { start + i as f64 * step })
    }

    /// `count` numbers from `base^start` to `base^end`, evenly spaced by their logarithms (PyTorch's `logspace`).
    pub fn logspace(start: f64, end: f64, count: usize, base: f64, dtype: DType) -> Result<Array> {
        let exponents = Array::linspace(start, end, count, DType::F64)?;
        Array::from_index(&[count], dtype, |i| base.powf(exponents.slice::<f64>()[i]))
    }

    /// The identity matrix of size `n`.
    pub fn eye(n: usize, dtype: DType) -> Result<Array> {
        Array::from_index(&[n, n], dtype, |i| (i / n == i % n) as u8 as f64)
    }

    /// An array whose element at row-major position `i` is `f(i)`, rounded to the element type.
    pub fn from_index(dims: &[usize], dtype: DType, f: impl Fn(usize) -> f64) -> Result<Array> {
        let mut array = Array::stale(Shape::new(dims)?, dtype)?;
        with_element!(dtype, T => for (i, x) in array.slice_mut::<T>().iter_mut().enumerate() {
            *x = T::from_f64(f(i));
        });
        Ok(array)
    }
}
