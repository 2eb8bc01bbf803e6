//! A tensor cut into parts along a dimension. All parts are one operation.

use crate::{Array, Error, Keep, Result, Tensor};
use chainrule_core::ops::join;

impl Tensor {
    /// Consecutive parts of these sizes along `axis` (PyTorch's `split` with a list).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let parts = Tensor::from_slice(&[1f32, 2.0, 3.0], &[3])?.split(&[1, 2], 0)?;
    /// assert_eq!(parts[1].to_vec::<f32>()?, [2.0, 3.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Sizes that do not sum to the extent.
    pub fn split(&self, sizes: &[usize], axis: isize) -> Result<Vec<Tensor>> {
        let extent = self.dims()[self.shape().axis("split", axis)?];
        if sizes.iter().try_fold(0usize, |n, &s| n.checked_add(s)) != Some(extent) {
            return Err(Error::shape("split", format!("sizes {sizes:?} do not sum to the extent {extent} of dimension {axis} of {:?}", self.shape())));
        }
        self.parts("split", sizes, axis)
    }

    /// Consecutive parts, as one operation, whose gradient is the parts' joined: zeros only stand where nothing depended on a part.
    fn parts(&self, name: &'static str, sizes: &[usize], axis: isize) -> Result<Vec<Tensor>> {
        let mut start = 0;
        let mut part = |&size: &usize| {
            start += size;
            self.array.narrow(axis, start - size, size)
        };
        let outputs = sizes.iter().map(&mut part).collect::<Result<Vec<_>, _>>()?;
        let sizes = sizes.to_vec();
        Tensor::record_outputs(name, &[self], Keep::NONE, outputs, move |pass, gradients, out| {
            let mut dims = pass.input_dims(0).to_vec();
            let at = pass.grad().shape().axis(name, axis)?;
            let mut full = Vec::with_capacity(sizes.len());
            for (gradient, &size) in gradients.iter().zip(&sizes) {
                dims[at] = size;
                full.push(match gradient {
                    Some(gradient) => gradient.clone(),
                    None => pass.constant(Array::full_on(&dims, 0.0, pass.input_dtype(0), &pass.grad().device())?),
                });
            }
            out[0] = Some(if pass.recorded() {
                Tensor::concatenate(&full.iter().collect::<Vec<_>>(), axis)?
            } else {
                // An operation on all parts may have laid their gradients side by side.
                Tensor::off(join::rejoin(&full.iter().map(|part| &part.array).collect::<Vec<_>>(), axis)?)
            });
            Ok(())
        })
    }

    /// At most `chunks` consecutive parts of equal size along `axis`; the last may be smaller (PyTorch's `chunk`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let parts = Tensor::from_slice(&[1f32, 2.0, 3.0], &[3])?.chunk(2, 0)?;
    /// assert_eq!(parts[1].to_vec::<f32>()?, [3.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// No chunks; a dimension out of range.
    pub fn chunk(&self, chunks: usize, axis: isize) -> Result<Vec<Tensor>> {
        let extent = self.dims()[self.shape().axis("chunk", axis)?];
        if chunks == 0 {
            return Err(Error::value("chunk", "got 0 chunks, expected at least 1"));
        }
        let size = extent.div_ceil(chunks).max(1);
        let sizes: Vec<usize> = (0..extent.max(1)).step_by(size).map(|start| size.min(extent - start)).collect();
        self.parts("chunk", &sizes, axis)
    }

    /// Parts of `size` indices along `axis`; the last may be smaller (PyTorch's `split` with a number).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let parts = Tensor::from_slice(&[1f32, 2.0, 3.0], &[3])?.split_every(2, 0)?;
    /// assert_eq!(parts[1].to_vec::<f32>()?, [3.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// A size of 0; a dimension out of range.
    pub fn split_every(&self, size: usize, axis: isize) -> Result<Vec<Tensor>> {
        let extent = self.dims()[self.shape().axis("split_every", axis)?];
        if size == 0 {
            return Err(Error::value("split_every", "got parts of size 0, expected at least 1"));
        }
        let sizes: Vec<usize> = (0..extent.max(1)).step_by(size).map(|start| size.min(extent - start)).collect();
        self.parts("split", &sizes, axis)
    }

    /// Exactly `sections` parts along `axis`, whose sizes differ by at most one, larger ones first (PyTorch's `tensor_split`).
    /// ```
    /// # use chainrule_autograd::{DType, Tensor};
    /// let parts = Tensor::zeros(&[7], DType::F32)?.tensor_split(3, 0)?;
    /// assert_eq!(parts.iter().map(|p| p.count()).collect::<Vec<_>>(), [3, 2, 2]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// No sections; a dimension out of range.
    pub fn tensor_split(&self, sections: usize, axis: isize) -> Result<Vec<Tensor>> {
        let extent = self.dims()[self.shape().axis("tensor_split", axis)?];
        if sections == 0 {
            return Err(Error::value("tensor_split", "got 0 sections, expected at least 1"));
        }
        // More would be empty parts by the million, each with a place on the tape.
        const MOST: usize = 1 << 24;
        if sections > extent.max(MOST) {
            return Err(Error::value("tensor_split", format!("got {sections} sections for an extent of {extent}, expected at most {}", extent.max(MOST))));
        }
        let sizes: Vec<usize> = (0..sections).map(|i| extent / sections + (i < extent % sections) as usize).collect();
        self.parts("split", &sizes, axis)
    }

    /// The slices of each index of `axis`, without that dimension (PyTorch's `unbind`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let rows = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0], &[2, 2])?.unbind(0)?;
    /// assert_eq!(rows[1].to_vec::<f32>()?, [3.0, 4.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// A dimension out of range.
    pub fn unbind(&self, axis: isize) -> Result<Vec<Tensor>> {
        let extent = self.dims()[self.shape().axis("unbind", axis)?];
        self.parts("split", &vec![1; extent], axis)?.iter().map(|part| part.squeeze(axis)).collect()
    }
}
