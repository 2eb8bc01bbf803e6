//! Other shapes over the same numbers. Forward results are views wherever strides allow.

use crate::rules::reduce::positions;
use crate::{Error, Keep, Result, Shape, Tensor};

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
        self.reshape(&Shape::joined([&dims[..from], &[one], &dims[to + 1..]])?)
    }

    /// Dimension `i` of the result is dimension `axes[i]` of this tensor (PyTorch's `permute`).
    /// ```
    /// # use chainrule_autograd::{DType, Tensor};
    /// assert_eq!(Tensor::zeros(&[2, 3, 4], DType::F32)?.permute(&[2, 0, 1])?.dims(), [4, 2, 3]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
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
    /// ```
    /// # use chainrule_autograd::{DType, Tensor};
    /// assert_eq!(Tensor::zeros(&[2, 3, 4], DType::F32)?.transpose(0, -1)?.dims(), [4, 3, 2]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// A dimension out of range.
    pub fn transpose(&self, a: isize, b: isize) -> Result<Tensor> {
        let y = self.array.transpose(a, b)?;
        Tensor::record("transpose", [self], Keep::NONE, y, move |pass| Ok([Some(pass.grad().transpose(a, b)?)]))
    }

    /// A new dimension of extent 1 before dimension `axis` (`-1`: at the end) (PyTorch's `unsqueeze`).
    /// ```
    /// # use chainrule_autograd::{DType, Tensor};
    /// assert_eq!(Tensor::zeros(&[2, 3], DType::F32)?.unsqueeze(1)?.dims(), [2, 1, 3]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// A place that does not exist; more than 8 dimensions.
    pub fn unsqueeze(&self, axis: isize) -> Result<Tensor> {
        let y = self.array.unsqueeze(axis)?;
        Tensor::record("unsqueeze", [self], Keep::NONE, y, move |pass| Ok([Some(pass.grad().squeeze(axis)?)]))
    }

    /// Without dimension `axis`, whose extent must be 1 (PyTorch's `squeeze(dim)`).
    /// ```
    /// # use chainrule_autograd::{DType, Tensor};
    /// assert_eq!(Tensor::zeros(&[2, 1, 3], DType::F32)?.squeeze(1)?.dims(), [2, 3]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Another extent, or a dimension out of range.
    pub fn squeeze(&self, axis: isize) -> Result<Tensor> {
        let y = self.array.squeeze(axis)?;
        Tensor::record("squeeze", [self], Keep::NONE, y, move |pass| Ok([Some(pass.grad().unsqueeze(axis)?)]))
    }

    /// Stretches extents of 1, and adds dimensions in front, to the given shape, without a copy (PyTorch's `expand`). The gradient is summed back.
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let x = Tensor::from_slice(&[1f32, 2.0], &[2])?;
    /// assert_eq!(x.broadcast_to(&[2, 2])?.to_vec::<f32>()?, [1.0, 2.0, 1.0, 2.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
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

    /// Dimensions `from` moved to the places `to`, the others in their order (PyTorch's `movedim`).
    /// ```
    /// # use chainrule_autograd::{DType, Tensor};
    /// assert_eq!(Tensor::zeros(&[2, 3, 4], DType::F32)?.movedim(&[0], &[-1])?.dims(), [3, 4, 2]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Lists of different lengths; a dimension named twice or out of range.
    pub fn movedim(&self, from: &[isize], to: &[isize]) -> Result<Tensor> {
        const OP: &str = "movedim";
        if from.len() != to.len() {
            return Err(Error::shape(OP, format!("{} dimensions to {} places", from.len(), to.len())));
        }
        if from.is_empty() {
            return Ok(self.clone());
        }
        let [from, to] = [positions(OP, self.shape(), from)?, positions(OP, self.shape(), to)?];
        let mut others = (0..self.rank()).filter(|axis| !from.contains(axis));
        let moved = |place| to.iter().position(|&t| t == place).map(|i| from[i]);
        let axes: Vec<isize> = (0..self.rank()).filter_map(|place| moved(place).or_else(|| others.next())).map(|axis| axis as isize).collect();
        self.permute(&axes)
    }

    /// Without all dimensions of extent 1 (PyTorch's `squeeze()`).
    /// ```
    /// # use chainrule_autograd::{DType, Tensor};
    /// assert_eq!(Tensor::zeros(&[1, 3, 1], DType::F32)?.squeeze_all()?.dims(), [3]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// No memory.
    pub fn squeeze_all(&self) -> Result<Tensor> {
        self.reshape(&self.dims().iter().copied().filter(|&extent| extent != 1).collect::<Vec<_>>())
    }

    /// Turned by `times` quarters from dimension `a` towards dimension `b` (PyTorch's `rot90`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let x = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0], &[2, 2])?;
    /// assert_eq!(x.rot90(1, 0, 1)?.to_vec::<f32>()?, [2.0, 4.0, 1.0, 3.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Dimensions that are the same or out of range.
    pub fn rot90(&self, times: isize, a: isize, b: isize) -> Result<Tensor> {
        positions("rot90", self.shape(), &[a, b])?;
        match times.rem_euclid(4) {
            0 => Ok(self.clone()),
            1 => self.flip(&[b])?.transpose(a, b),
            2 => self.flip(&[a, b]),
            _ => self.flip(&[a])?.transpose(a, b),
        }
    }

    /// Blocks of channels become blocks of pixels: `[.., C r², H, W] -> [.., C, H r, W r]` (PyTorch's `pixel_shuffle`; Shi et al. 2016).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let x = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0], &[1, 4, 1, 1])?;
    /// assert_eq!(x.pixel_shuffle(2)?.dims(), [1, 1, 2, 2]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
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
