//! Views: other shapes and strides over the same numbers. None of them copies, unless its documentation says so.

use super::{Array, copy};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::shape::Shape;

impl Array {
    /// The same elements in row-major order under another shape. Copies only a strided view.
    ///
    /// # Errors
    /// Another number of elements.
    pub fn reshape(&self, dims: &[usize]) -> Result<Array> {
        let shape = Shape::new(dims)?;
        if shape.count() != self.count() {
            let (from, to) = (self.count(), shape.count());
            return Err(Error::shape("reshape", format!("shape {:?} has {from} elements, {shape:?} expects {to}", self.shape)));
        }
        let mut out = self.contiguous()?;
        out.strides = shape.dense_strides();
        out.shape = shape;
        Ok(out)
    }

    /// All elements in one dimension. Copies only a strided view.
    pub fn flattened(&self) -> Result<Array> {
        self.reshape(&[self.count()])
    }

    /// This array if it is dense, else a dense copy.
    pub fn contiguous(&self) -> Result<Array> {
        if self.is_contiguous() { Ok(self.clone()) } else { self.dense() }
    }

    /// Dimension `i` of the result is dimension `axes[i]` of this array.
    ///
    /// # Errors
    /// `axes` is not a permutation of all dimensions.
    pub fn permute(&self, axes: &[usize]) -> Result<Array> {
        let mut seen = [false; crate::shape::MAX_RANK];
        let good = axes.len() == self.rank() && axes.iter().all(|&a| a < self.rank() && !std::mem::replace(&mut seen[a], true));
        if !good {
            return Err(Error::shape("permute", format!("axes {axes:?} are not a permutation of the {} dimensions of {:?}", self.rank(), self.shape)));
        }
        let mut out = self.clone();
        for (i, &axis) in axes.iter().enumerate() {
            out.shape = out.shape.with(i, self.shape[axis]);
            out.strides[i] = self.strides[axis];
        }
        Ok(out)
    }

    /// Swaps two dimensions, counted from the end when negative.
    ///
    /// # Errors
    /// A dimension that the array has not.
    pub fn transpose(&self, a: isize, b: isize) -> Result<Array> {
        let (a, b) = (self.shape.axis("transpose", a)?, self.shape.axis("transpose", b)?);
        let mut out = self.clone();
        out.shape = out.shape.with(a, self.shape[b]).with(b, self.shape[a]);
        out.strides.swap(a, b);
        Ok(out)
    }

    /// `length` indices of a dimension from `start` on.
    ///
    /// # Errors
    /// A range that is not inside the dimension.
    pub fn narrow(&self, axis: isize, start: usize, length: usize) -> Result<Array> {
        let extent = self.shape[self.shape.axis("narrow", axis)?];
        if start.checked_add(length).is_none_or(|end| end > extent) {
            return Err(Error::shape("narrow", format!("{length} indices from {start} on lie outside dimension {axis} of {:?}", self.shape)));
        }
        self.stepped(axis, start, start + length, 1)
    }

    /// The array that these are consecutive parts of along dimension `axis`, as [`narrow`](Array::narrow) makes them, if they are and none is empty.
    pub fn spanning(parts: &[&Array], axis: usize) -> Option<Array> {
        let (first, others) = parts.split_first()?;
        let mut all = (*first).clone();
        for part in others {
            let place = |array: &Array| (array.dtype, array.strides, array.shape.without(axis));
            let next = all.offset as isize + all.shape[axis] as isize * all.strides[axis];
            if axis >= part.rank() || place(part) != place(&all) || !part.block.is_same(&all.block) || next != part.offset as isize || part.count() == 0 {
                return None;
            }
            all.shape = all.shape.with(axis, all.shape[axis] + part.shape[axis]);
        }
        (first.count() > 0).then_some(all)
    }

    /// Every `step`-th index of a dimension in `start..end`.
    ///
    /// # Errors
    /// A step of zero, or a range that is not inside the dimension.
    pub fn stepped(&self, axis: isize, start: usize, end: usize, step: usize) -> Result<Array> {
        let at = self.shape.axis("slice", axis)?;
        if step == 0 || start > end || end > self.shape[at] {
            return Err(Error::shape("slice", format!("{start}..{end} in steps of {step} is not inside dimension {axis} of {:?}", self.shape)));
        }
        let mut out = self.clone();
        out.shape = out.shape.with(at, (end - start).div_ceil(step));
        if out.count() > 0 {
            out.offset = (out.offset as isize + start as isize * out.strides[at]) as usize;
            out.strides[at] *= step as isize;
        }
        Ok(out)
    }

    /// The dimensions in `axes` run backward.
    ///
    /// # Errors
    /// A dimension that the array has not.
    pub fn flip(&self, axes: &[isize]) -> Result<Array> {
        let mut out = self.clone();
        for &axis in axes {
            let at = self.shape.axis("flip", axis)?;
            if out.count() > 0 {
                out.offset = (out.offset as isize + (self.shape[at] as isize - 1) * out.strides[at]) as usize;
                out.strides[at] = -out.strides[at];
            }
        }
        Ok(out)
    }

    /// Stretches extents of 1, and adds dimensions in front, to the given shape.
    ///
    /// # Errors
    /// A shape that this one does not broadcast to.
    pub fn broadcast_to(&self, dims: &[usize]) -> Result<Array> {
        let shape = Shape::new(dims)?;
        if shape == self.shape {
            return Ok(self.clone());
        }
        let added = shape.rank().wrapping_sub(self.rank());
        let fits = shape.rank() >= self.rank() && (0..self.rank()).all(|i| self.shape[i] == shape[i + added] || self.shape[i] == 1);
        if !fits {
            return Err(Error::shape("broadcast_to", format!("shape {:?} does not broadcast to {shape:?}", self.shape)));
        }
        let mut out = self.clone();
        out.strides = [0; crate::shape::MAX_RANK];
        for i in 0..self.rank() {
            out.strides[i + added] = if self.shape[i] == 1 { 0 } else { self.strides[i] };
        }
        out.shape = shape;
        Ok(out)
    }

    /// A new dimension of extent 1 before dimension `axis` (`-1`: at the end).
    ///
    /// # Errors
    /// A place that does not exist; more than 8 dimensions.
    pub fn unsqueeze(&self, axis: isize) -> Result<Array> {
        let rank = self.rank() as isize + 1;
        let at = if axis < 0 { axis + rank } else { axis };
        if !(0..rank).contains(&at) {
            return Err(Error::shape("unsqueeze", format!("axis {axis} is out of range for shape {:?}", self.shape)));
        }
        let at = at as usize;
        let (mut dims, mut strides) = (self.dims().to_vec(), self.strides().to_vec());
        dims.insert(at, 1);
        strides.insert(at, 0);
        let mut out = self.clone();
        out.shape = Shape::new(&dims)?;
        out.strides[..strides.len()].copy_from_slice(&strides);
        Ok(out)
    }

    /// Without dimension `axis`, whose extent must be 1.
    ///
    /// # Errors
    /// Another extent, or a dimension that the array has not.
    pub fn squeeze(&self, axis: isize) -> Result<Array> {
        let at = self.shape.axis("squeeze", axis)?;
        if self.shape[at] != 1 {
            return Err(Error::shape("squeeze", format!("dimension {axis} of {:?} has extent {}, expected 1", self.shape, self.shape[at])));
        }
        let mut out = self.clone();
        out.shape = self.shape.without(at);
        out.strides[at..].rotate_left(1);
        Ok(out)
    }

    /// A view without dimension `axis`, at `index` of it.
    ///
    /// # Errors
    /// An index outside the dimension.
    pub fn select(&self, axis: isize, index: usize) -> Result<Array> {
        self.narrow(axis, index, 1)?.squeeze(axis)
    }

    /// The elements `x[.., i, .., i + offset, ..]` of dimensions `a` and `b` as the last dimension, as a view (PyTorch's `diagonal`).
    ///
    /// # Errors
    /// Dimensions that are the same or out of range.
    pub fn diagonal(&self, offset: isize, a: isize, b: isize) -> Result<Array> {
        let (a, b) = (self.shape.axis("diagonal", a)?, self.shape.axis("diagonal", b)?);
        if a == b {
            return Err(Error::shape("diagonal", format!("dimension {a} of {:?} is named twice, expected two dimensions", self.shape)));
        }
        let (down, right) = (offset.min(0).unsigned_abs(), offset.max(0).unsigned_abs());
        let length = self.shape[a].saturating_sub(down).min(self.shape[b].saturating_sub(right));
        let mut out = self.clone();
        if length > 0 {
            out.offset = (out.offset as isize + down as isize * out.strides[a] + right as isize * out.strides[b]) as usize;
        }
        let step = out.strides[a] + out.strides[b];
        let (first, second) = (a.max(b), a.min(b));
        out.shape = self.shape.without(first).without(second).pushed(length);
        out.strides[first..].rotate_left(1);
        out.strides[second..].rotate_left(1);
        out.strides[self.rank() - 2] = step;
        Ok(out)
    }

    /// The elements converted: floats are rounded to the nearest, integers from floats are cut toward zero and saturate. The same type is no copy.
    pub fn cast(&self, dtype: DType) -> Result<Array> {
        match self.device() {
            _ if dtype == self.dtype => Ok(self.clone()),
            #[cfg(feature = "cuda")]
            crate::Device::Cuda(ordinal) => super::device::cast(crate::cuda::Gpu::get(ordinal)?, self, dtype),
            _ => copy::cast(self, dtype),
        }
    }
}
