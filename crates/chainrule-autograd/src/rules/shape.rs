//! Other shapes over the same numbers. Forward results are views wherever strides allow.

use crate::{Error, Keep, Result, Tensor};

/// In [`Tensor::reshape`]: the extent that follows from the others (PyTorch's -1).
pub const INFER: usize = usize::MAX;

impl Tensor {
    /// The same elements in row-major order under another shape; one extent may be [`INFER`] (PyTorch's `reshape`).
    /// ```
    /// # use chainrule_autograd::{INFER, Tensor, DType};
    /// let x = Tensor::zeros(&[2, 6, 4], DType::F32)?;
    /// assert_eq!(x.reshape(&[3, INFER])?.dims(), [3, 16]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Another number of elements; two extents to infer.
    pub fn reshape(&self, dims: &[usize]) -> Result<Tensor> {
        if dims == self.dims() {
            return Ok(self.clone());
        }
        let y = match dims.iter().position(|&d| d == INFER) {
            None => self.array.reshape(dims)?,
            Some(at) => {
                let others = dims.iter().enumerate().filter(|&(i, _)| i != at).try_fold(1usize, |n, (_, &d)| n.checked_mul(d));
                let Some(others) = others.filter(|&n| n > 0 && self.count().is_multiple_of(n)) else {
                    let shown: Vec<_> = dims.iter().map(|&d| if d == INFER { "INFER".into() } else { d.to_string() }).collect();
                    return Err(Error::shape(
                        "reshape",
                        format!("shape {:?} has {} elements, no extent in place of INFER makes that of [{}]", self.shape(), self.count(), shown.join(", ")),
                    ));
                };
                let mut dims = dims.to_vec();
                dims[at] = self.count() / others;
                self.array.reshape(&dims)?
            }
        };
        Tensor::record("reshape", [self], Keep::NONE, y, |pass| Ok([Some(pass.grad().reshape(pass.input_dims(0))?)]))
    }

    /// Dimensions `first` to `last`, both included, as one (PyTorch's `flatten`).
    /// ```
    /// # use chainrule_autograd::{Tensor, DType};
    /// assert_eq!(Tensor::zeros(&[2, 3, 4, 5], DType::F32)?.flatten(1, -1)?.dims(), [2, 60]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// A dimension out of range, or `last` before `first`.
    pub fn flatten(&self, first: isize, last: isize) -> Result<Tensor> {
        if self.rank() == 0 {
            return self.reshape(&[1]);
        }
        let (from, to) = (self.shape().axis("flatten", first)?, self.shape().axis("flatten", last)?);
        if to < from {
            return Err(Error::shape("flatten", format!("dimension {last} of {:?} comes before dimension {first}", self.shape())));
        }
        let dims = self.dims();
        let one = dims[from..=to].iter().product();
        self.reshape(&[&dims[..from], &[one], &dims[to + 1..]].concat())
    }

    /// Dimension `i` of the result is dimension `axes[i]` of this tensor (PyTorch's `permute`).
    ///
    /// # Errors
    /// `axes` is not a permutation of all dimensions.
    pub fn permute(&self, axes: &[isize]) -> Result<Tensor> {
        let axes = axes.iter().map(|&a| self.shape().axis("permute", a)).collect::<Result<Vec<_>, _>>()?;
        let y = self.array.permute(&axes)?;
        Tensor::record("permute", [self], Keep::NONE, y, move |pass| {
            let mut inverse = vec![0; axes.len()];
            axes.iter().enumerate().for_each(|(i, &a)| inverse[a] = i as isize);
            Ok([Some(pass.grad().permute(&inverse)?)])
        })
    }

    /// Swaps two dimensions, counted from the end when negative (PyTorch's `transpose`).
    ///
    /// # Errors
    /// A dimension out of range.
    pub fn transpose(&self, a: isize, b: isize) -> Result<Tensor> {
        let y = self.array.transpose(a, b)?;
        Tensor::record("transpose", [self], Keep::NONE, y, move |pass| Ok([Some(pass.grad().transpose(a, b)?)]))
    }

    /// A new dimension of extent 1 before dimension `axis` (`-1`: at the end) (PyTorch's `unsqueeze`).
    ///
    /// # Errors
    /// A place that does not exist; more than 8 dimensions.
    pub fn unsqueeze(&self, axis: isize) -> Result<Tensor> {
        let y = self.array.unsqueeze(axis)?;
        Tensor::record("unsqueeze", [self], Keep::NONE, y, move |pass| Ok([Some(pass.grad().squeeze(axis)?)]))
    }

    /// Without dimension `axis`, whose extent must be 1 (PyTorch's `squeeze(dim)`).
    ///
    /// # Errors
    /// Another extent, or a dimension out of range.
    pub fn squeeze(&self, axis: isize) -> Result<Tensor> {
        let y = self.array.squeeze(axis)?;
        Tensor::record("squeeze", [self], Keep::NONE, y, move |pass| Ok([Some(pass.grad().unsqueeze(axis)?)]))
    }

    /// Stretches extents of 1, and adds dimensions in front, to the given shape, without a copy (PyTorch's `expand`). The gradient is summed back.
    ///
    /// # Errors
    /// A shape that this one does not broadcast to.
    pub fn broadcast_to(&self, dims: &[usize]) -> Result<Tensor> {
        if self.dims() == dims {
            return Ok(self.clone());
        }
        let y = self.array.broadcast_to(dims)?;
        Tensor::record("broadcast_to", [self], Keep::NONE, y, |pass| Ok([Some(pass.grad().sum_to(pass.input_dims(0))?)]))
    }

    /// The tensor `repeats[i]` times one after the other along dimension `i`; dimensions are added in front where more are named (PyTorch's `repeat`).
    ///
    /// # Errors
    /// Fewer repeats than dimensions; more than 8 dimensions.
    pub fn repeat(&self, repeats: &[usize]) -> Result<Tensor> {
        let Some(added) = repeats.len().checked_sub(self.rank()) else {
            return Err(Error::shape("repeat", format!("{} repeats for the {} dimensions of {:?}", repeats.len(), self.rank(), self.shape())));
        };
        let mut dims = vec![1; added];
        dims.extend_from_slice(self.dims());
        let mut y = self.reshape(&dims)?;
        for (axis, &times) in repeats.iter().enumerate().filter(|&(_, &times)| times != 1) {
            let (outer, inner) = (dims[..axis].iter().product(), dims[axis..].iter().product());
            dims[axis] = dims[axis].saturating_mul(times);
            y = y.reshape(&[outer, 1, inner])?.broadcast_to(&[outer, times, inner])?.reshape(&dims)?;
        }
        Ok(y)
    }

    /// Blocks of channels become blocks of pixels: `[.., C r², H, W] -> [.., C, H r, W r]` (PyTorch's `pixel_shuffle`; Shi et al. 2016).
    ///
    /// # Errors
    /// Fewer than three dimensions; channels that `r²` does not divide.
    pub fn pixel_shuffle(&self, factor: usize) -> Result<Tensor> {
        let square = factor.saturating_mul(factor);
        let (front, last) = self.dims().split_at(self.rank().saturating_sub(3));
        let &[channels, height, width] = last else {
            return Err(Error::shape("pixel_shuffle", format!("shape {:?} has fewer than 3 dimensions, expected [.., C, H, W]", self.shape())));
        };
        if square == 0 || !channels.is_multiple_of(square) {
            return Err(Error::shape("pixel_shuffle", format!("{channels} channels of {:?} are not divisible by {factor}²", self.shape())));
        }
        let (images, channels) = (front.iter().product(), channels / square);
        let blocks = self.reshape(&[images, channels, factor, factor, height, width])?.permute(&[0, 1, 4, 2, 5, 3])?;
        blocks.reshape(&[front, &[channels, height.saturating_mul(factor), width.saturating_mul(factor)]].concat())
    }
}
