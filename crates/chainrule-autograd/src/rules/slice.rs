//! Parts of a tensor, and their reversal. A part is a view; its gradient is the part in zeros.

use crate::{Array, Error, Keep, Result, Tensor};
use chainrule_core::ops::join;

impl Tensor {
    /// `length` indices of a dimension from `start` on (PyTorch's `narrow`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let x = Tensor::from_slice(&[1f32, 2.0, 3.0], &[3])?;
    /// assert_eq!(x.narrow(0, 1, 2)?.to_vec::<f32>()?, [2.0, 3.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// A range that is not inside the dimension.
    pub fn narrow(&self, axis: isize, start: usize, length: usize) -> Result<Tensor> {
        let y = self.array.narrow(axis, start, length)?;
        self.part("narrow", axis, start, 1, y)
    }

    /// Every `step`-th index of a dimension in `start..end` (PyTorch's slicing).
    /// ```
    /// # use chainrule_autograd::{Tensor, DType};
    /// let x = Tensor::arange(0.0, 10.0, 1.0, DType::F32)?;
    /// assert_eq!(x.slice(0, 1, 9, 3)?.to_vec::<f32>()?, [1.0, 4.0, 7.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// A step of zero, or a range that is not inside the dimension.
    pub fn slice(&self, axis: isize, start: usize, end: usize, step: usize) -> Result<Tensor> {
        let y = self.array.stepped(axis, start, end, step)?;
        self.part("slice", axis, start, step, y)
    }

    fn part(&self, name: &'static str, axis: isize, start: usize, step: usize, y: Array) -> Result<Tensor> {
        let axis = self.shape().axis(name, axis)?;
        Tensor::record(name, [self], Keep::NONE, y, move |pass| Ok([Some(pass.grad().in_zeros(pass.input_dims(0), axis, start, step)?)]))
    }

    /// The elements along `axis` at `start`, `start + step`, … of zeros of shape `dims`: undoes [`slice`](Tensor::slice).
    fn in_zeros(&self, dims: &[usize], axis: usize, start: usize, step: usize) -> Result<Tensor> {
        let mut x = self.array.clone();
        if step > 1 && x.count() > 0 {
            // [.., n, ..] -> [.., n, 1, ..] in zeros [.., n, step, ..] -> [.., n · step, ..], cut to what fits.
            let mut spread = x.unsqueeze(axis as isize + 1)?;
            let mut wide = spread.dims().to_vec();
            wide[axis + 1] = step;
            spread = join::place(x.new_full(&wide, 0.0)?, &spread, &vec![0; wide.len()])?;
            let mut flat = x.dims().to_vec();
            flat[axis] *= step;
            let fits = flat[axis].min(dims[axis] - start);
            x = spread.reshape(&flat)?.narrow(axis as isize, 0, fits)?;
        }
        let mut starts = vec![0; dims.len()];
        starts[axis] = start;
        let y = join::place(self.array.new_full(dims, 0.0)?, &x, &starts)?;
        Tensor::record("in_zeros", [self], Keep::NONE, y, move |pass| {
            let end = start + ((pass.input_dims(0)[axis] * step).saturating_sub(step - 1)).min(pass.grad().dims()[axis] - start);
            Ok([Some(pass.grad().slice(axis as isize, start, end, step)?)])
        })
    }

    /// A view at one index of dimension `axis`, without that dimension (PyTorch's `select`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let x = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0], &[2, 2])?;
    /// assert_eq!(x.select(1, 0)?.to_vec::<f32>()?, [1.0, 3.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// An index outside the dimension.
    pub fn select(&self, axis: isize, index: usize) -> Result<Tensor> {
        self.narrow(axis, index, 1)?.squeeze(axis)
    }

    /// The dimensions in `axes` run backward, without a copy (PyTorch's `flip`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let x = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0], &[2, 2])?;
    /// assert_eq!(x.flip(&[0, 1])?.to_vec::<f32>()?, [4.0, 3.0, 2.0, 1.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// A dimension out of range.
    pub fn flip(&self, axes: &[isize]) -> Result<Tensor> {
        let y = self.array.flip(axes)?;
        let axes = axes.to_vec();
        Tensor::record("flip", [self], Keep::NONE, y, move |pass| Ok([Some(pass.grad().flip(&axes)?)]))
    }

    /// The elements `shift` places further along `axis`; those that leave come in again at the other end (PyTorch's `roll`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let x = Tensor::from_slice(&[1f32, 2.0, 3.0], &[3])?;
    /// assert_eq!(x.roll(1, 0)?.to_vec::<f32>()?, [3.0, 1.0, 2.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// A dimension out of range.
    pub fn roll(&self, shift: isize, axis: isize) -> Result<Tensor> {
        let extent = self.dims()[self.shape().axis("roll", axis)?];
        let by = shift.rem_euclid(extent.max(1) as isize) as usize;
        if by == 0 {
            return Ok(self.clone());
        }
        let (front, back) = (self.array.narrow(axis, extent - by, by)?, self.array.narrow(axis, 0, extent - by)?);
        let y = join::concatenate(&[&front, &back], axis)?;
        Tensor::record("roll", [self], Keep::NONE, y, move |pass| Ok([Some(pass.grad().roll(-(by as isize), axis)?)]))
    }

    /// The elements on and below diagonal `diagonal` of the last two dimensions, 0 above (PyTorch's `tril`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let x = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0], &[2, 2])?;
    /// assert_eq!(x.tril(0)?.to_vec::<f32>()?, [1.0, 0.0, 3.0, 4.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Fewer than two dimensions.
    pub fn tril(&self, diagonal: isize) -> Result<Tensor> {
        self.triangle("tril", |row, column| column > row.saturating_add(diagonal))
    }

    /// The elements on and above diagonal `diagonal` of the last two dimensions, 0 below (PyTorch's `triu`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let x = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0], &[2, 2])?;
    /// assert_eq!(x.triu(1)?.to_vec::<f32>()?, [0.0, 2.0, 0.0, 0.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Fewer than two dimensions.
    pub fn triu(&self, diagonal: isize) -> Result<Tensor> {
        self.triangle("triu", |row, column| column < row.saturating_add(diagonal))
    }

    fn triangle(&self, name: &'static str, outside: impl Fn(isize, isize) -> bool) -> Result<Tensor> {
        let &[.., rows, columns] = self.dims() else {
            return Err(Error::shape(name, format!("shape {:?} has fewer than 2 dimensions", self.shape())));
        };
        let mask = Array::from_index(&[rows, columns], crate::DType::U8, |i| outside((i / columns) as isize, (i % columns) as isize) as u8 as f64)?;
        self.masked_fill(&mask.to(&self.device())?.into(), 0.0)
    }
}
