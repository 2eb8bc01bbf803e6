//! [`Array`]: numbers in a shared buffer, seen through a shape and strides.

mod convert;
mod copy;
mod create;
mod device;
#[cfg(feature = "cuda")]
pub(crate) mod strided;
mod transpose;
mod view;

pub(crate) use copy::write_into;
#[cfg(feature = "cuda")]
pub(crate) use device::{bits, common, expect_f32_on_device, no_kernel, write_into as write_into_on};

use crate::device::Device;
use crate::dtype::{DType, Element, with_element};
use crate::error::{Error, Result};
use crate::memory::Shared;
use crate::shape::{Shape, Strides};

/// A multi-dimensional array of one element type.
///
/// Cloning and viewing ([`reshape`](Array::reshape), [`transpose`](Array::transpose), [`narrow`](Array::narrow), …) share the numbers and copy none; writing copies first when they are shared.
/// ```
/// use chainrule_core::Array;
/// let a = Array::from_slice(&[1f32, 2.0, 3.0, 4.0, 5.0, 6.0], &[2, 3])?;
/// assert_eq!(a.transpose(0, 1)?.to_vec::<f32>()?, [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
/// # Ok::<(), chainrule_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Array {
    block: Shared,
    /// Where index 0 stands, in elements from the block's start.
    offset: usize,
    shape: Shape,
    strides: Strides,
    dtype: DType,
}

impl Array {
    /// A dense array on the CPU of unspecified contents, to be overwritten.
    pub(crate) fn stale(shape: Shape, dtype: DType) -> Result<Array> {
        Ok(Array::in_block(crate::memory::allocate(shape.count() * dtype.size())?, shape, dtype))
    }

    fn in_block(block: Shared, shape: Shape, dtype: DType) -> Array {
        Array { block, offset: 0, shape, strides: shape.dense_strides(), dtype }
    }

    /// The extents, outermost first.
    #[inline]
    pub fn shape(&self) -> &Shape {
        &self.shape
    }
    /// The extents as a slice.
    #[inline]
    pub fn dims(&self) -> &[usize] {
        self.shape.dims()
    }
    /// The number of dimensions.
    #[inline]
    pub fn rank(&self) -> usize {
        self.shape.rank()
    }
    /// The number of elements.
    #[inline]
    pub fn count(&self) -> usize {
        self.shape.count()
    }
    /// The element type.
    #[inline]
    pub fn dtype(&self) -> DType {
        self.dtype
    }
    /// Steps in elements from one index to the next, a dimension each.
    #[inline]
    pub fn strides(&self) -> &[isize] {
        &self.strides[..self.rank()]
    }
    #[inline]
    pub(crate) fn all_strides(&self) -> &Strides {
        &self.strides
    }

    /// Whether the elements stand in row-major order without gaps.
    #[inline]
    pub fn is_contiguous(&self) -> bool {
        let mut step = 1isize;
        for (&extent, &stride) in self.dims().iter().zip(self.strides()).rev() {
            if extent != 1 && stride != step {
                return extent == 0 || self.count() == 0;
            }
            step *= extent as isize;
        }
        true
    }

    /// Whether both look at the same memory in the same way (and so are equal without a look at the numbers).
    pub fn is_same(&self, other: &Array) -> bool {
        self.block.is_same(&other.block)
            && self.offset == other.offset
            && self.shape == other.shape
            && self.strides() == other.strides()
            && self.dtype == other.dtype
    }

    /// The numbers as they are, when dense.
    ///
    /// # Errors
    /// Another element type, or a view with gaps (call [`contiguous`](Array::contiguous) first); numbers on a GPU.
    pub fn as_slice<T: Element>(&self) -> Result<&[T]> {
        self.check::<T>("as_slice")?;
        self.expect_cpu("as_slice")?;
        if !self.is_contiguous() {
            return Err(Error::shape("as_slice", format!("the array is a strided view (strides {:?}); call contiguous first", self.strides())));
        }
        Ok(self.slice())
    }

    /// The numbers for writing; copied first when another array shares them or the array is a strided view.
    ///
    /// # Errors
    /// Another element type; no memory for the copy; numbers on a GPU.
    pub fn as_mut_slice<T: Element>(&mut self) -> Result<&mut [T]> {
        self.check::<T>("as_mut_slice")?;
        self.expect_cpu("as_mut_slice")?;
        self.own()?;
        Ok(self.slice_mut())
    }

    /// The numbers in row-major order, copied from a GPU where they stand on one.
    ///
    /// # Errors
    /// Another element type; a GPU that failed.
    pub fn to_vec<T: Element>(&self) -> Result<Vec<T>> {
        self.check::<T>("to_vec")?;
        Ok(self.contiguous()?.to(&Device::Cpu)?.slice::<T>().to_vec())
    }

    /// The only number of an array of one element, as a double.
    ///
    /// # Errors
    /// More or fewer elements than one; a GPU that failed.
    pub fn item(&self) -> Result<f64> {
        if self.count() != 1 {
            return Err(Error::shape("item", format!("shape {:?} has {} elements, expected 1", self.shape, self.count())));
        }
        if self.device().is_cuda() {
            return self.to(&Device::Cpu)?.item();
        }
        // SAFETY: the array has one element, and the pointer points to it.
        Ok(with_element!(self.dtype, T => unsafe { *self.pointer::<T>() }.to_f64()))
    }

    fn check<T: Element>(&self, op: &'static str) -> Result<()> {
        if T::DTYPE == self.dtype {
            return Ok(());
        }
        Err(Error::DType { op, got: self.dtype, expected: T::DTYPE.name() })
    }

    /// The address of index 0.
    #[inline]
    pub(crate) fn pointer<T>(&self) -> *const T {
        debug_assert_eq!(std::mem::size_of::<T>(), self.dtype.size());
        self.expect_host();
        // SAFETY: the offset lies inside the block (or at its end when the array is empty).
        unsafe { self.block.start().cast::<T>().add(self.offset) }
    }

    /// The numbers of a dense array whose type is known.
    #[inline]
    pub(crate) fn slice<T: Element>(&self) -> &[T] {
        debug_assert!(self.is_contiguous() && T::DTYPE == self.dtype);
        // SAFETY: a dense array of `count` elements of T starts here; the block is never uninitialised, and nobody writes while `self` is borrowed, because writers need the only handle.
        unsafe { std::slice::from_raw_parts(self.pointer(), self.count()) }
    }

    /// The same for writing. The array must be the block's only owner: new, or after [`own`](Array::own).
    #[inline]
    pub(crate) fn slice_mut<T: Element>(&mut self) -> &mut [T] {
        debug_assert!(self.is_contiguous() && T::DTYPE == self.dtype && self.block.is_unique());
        // SAFETY: as in `slice`; the only handle is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.pointer::<T>().cast_mut(), self.count()) }
    }

    /// Whether it may be written in place: dense, and the only one that holds its memory.
    #[inline]
    pub fn is_unique(&mut self) -> bool {
        self.is_contiguous() && self.block.is_unique()
    }

    /// Makes the array dense and the only owner of its numbers, by a copy where it is not.
    ///
    /// # Errors
    /// No memory for the copy.
    pub fn own(&mut self) -> Result<()> {
        if !self.is_unique() {
            *self = self.dense()?;
        }
        Ok(())
    }

    /// A dense copy.
    pub(crate) fn dense(&self) -> Result<Array> {
        match self.device() {
            #[cfg(feature = "cuda")]
            Device::Cuda(ordinal) => device::dense(crate::cuda::Gpu::get(ordinal)?, self),
            _ => copy::dense(self),
        }
    }
}

impl std::fmt::Debug for Array {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const SHOWN: usize = 16;
        let flat = self.contiguous().and_then(|a| a.flattened()).and_then(|a| a.narrow(0, 0, self.count().min(SHOWN))).and_then(|a| a.to(&Device::Cpu));
        write!(f, "Array({} {:?}", self.dtype, self.shape)?;
        if self.device() != Device::Cpu {
            write!(f, " on {}", self.device())?;
        }
        if let Ok(flat) = flat {
            with_element!(self.dtype, T => write!(f, ", {:?}", flat.slice::<T>()))?;
        }
        f.write_str(if self.count() > SHOWN { " …)" } else { ")" })
    }
}
