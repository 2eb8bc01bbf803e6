//! Channels and pixels that change places: permutations between two reshapes.

use crate::{Error, Result, Tensor};

impl Tensor {
    /// Blocks of pixels become blocks of channels: `[.., C, H r, W r] -> [.., C r², H, W]`, which undoes [`pixel_shuffle`](Tensor::pixel_shuffle) (PyTorch's `pixel_unshuffle`).
    /// ```
    /// # use chainrule_autograd::{DType, Tensor};
    /// let x = Tensor::arange(0.0, 16.0, 1.0, DType::F32)?.reshape(&[1, 4, 4])?;
    /// let y = x.pixel_unshuffle(2)?;
    /// assert_eq!(y.dims(), [4, 2, 2]);
    /// assert_eq!(y.pixel_shuffle(2)?.to_vec::<f32>()?, x.to_vec::<f32>()?);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Fewer than three dimensions; a height or width that `factor` does not divide.
    pub fn pixel_unshuffle(&self, factor: usize) -> Result<Tensor> {
        let (front, last) = self.dims().split_at(self.rank().saturating_sub(3));
        let &[channels, height, width] = last else {
            return Err(Error::shape("pixel_unshuffle", format!("shape {:?} has fewer than 3 dimensions, expected [.., C, H, W]", self.shape())));
        };
        if factor == 0 || !height.is_multiple_of(factor) || !width.is_multiple_of(factor) {
            return Err(Error::shape("pixel_unshuffle", format!("height and width of {:?} are not divisible by {factor}", self.shape())));
        }
        let (images, height, width) = (front.iter().product(), height / factor, width / factor);
        let blocks = self.reshape(&[images, channels, height, factor, width, factor])?.permute(&[0, 1, 3, 5, 2, 4])?;
        blocks.reshape(&[front, &[channels * factor * factor, height, width]].concat())
    }

    /// Channels of `groups` groups taken in turn: `[N, C, ..] -> [N, C, ..]`, channel `i · groups + g` being channel i of group g (PyTorch's `channel_shuffle`; Zhang et al. 2017).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let x = Tensor::from_slice(&[0f32, 1.0, 2.0, 3.0], &[1, 4, 1])?;
    /// assert_eq!(x.channel_shuffle(2)?.to_vec::<f32>()?, [0.0, 2.0, 1.0, 3.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Fewer than two dimensions; channels that `groups` does not divide.
    pub fn channel_shuffle(&self, groups: usize) -> Result<Tensor> {
        let &[batch, channels, ref others @ ..] = self.dims() else {
            return Err(Error::shape("channel_shuffle", format!("shape {:?} has fewer than 2 dimensions, expected [N, C, ..]", self.shape())));
        };
        if groups == 0 || !channels.is_multiple_of(groups) {
            return Err(Error::shape("channel_shuffle", format!("{channels} channels of {:?} are not divisible by {groups}", self.shape())));
        }
        let grouped = self.reshape(&[batch, groups, channels / groups, others.iter().product()])?;
        grouped.transpose(1, 2)?.reshape(self.dims())
    }
}
