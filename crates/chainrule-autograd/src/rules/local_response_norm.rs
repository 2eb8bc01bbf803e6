//! Normalisation over neighbouring channels (Krizhevsky et al. 2012).

use crate::{Error, Pool2d, Result, Tensor};

impl Tensor {
    /// `x / (k + alpha/size Σ x²)^beta`, the sum over the `size` channels around each, those beyond the edges 0: `[N, C, ..] -> [N, C, ..]` (PyTorch's `local_response_norm`).
    /// ```
    /// # use chainrule_autograd::{DType, Tensor};
    /// let x = Tensor::ones(&[1, 3, 2], DType::F64)?;
    /// let y = x.local_response_norm(3, 3.0, 1.0, 1.0)?;
    /// assert_eq!(y.select(1, 1)?.to_vec::<f64>()?, [0.25, 0.25]); // 1 / (1 + 3/3 · 3)
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Fewer than three dimensions; a size of 0; an element type other than f32 and f64.
    pub fn local_response_norm(&self, size: usize, alpha: f64, beta: f64, k: f64) -> Result<Tensor> {
        let &[batch, channels, ref others @ ..] = self.dims() else {
            return Err(Error::shape("local_response_norm", format!("the input has shape {:?}, expected [N, C, ..]", self.shape())));
        };
        if others.is_empty() || size == 0 {
            let message = format!("the input has shape {:?} and the size is {size}, expected [N, C, ..] of at least 3 dimensions and at least 1", self.shape());
            return Err(Error::shape("local_response_norm", message));
        }
        if self.count() == 0 {
            return Ok(self.clone());
        }
        let squares = self.square()?.reshape(&[batch, 1, channels, others.iter().product()])?;
        let padded = squares.pad(&[((size / 2) as isize, ((size - 1) / 2) as isize), (0, 0)], 0.0)?;
        let means = padded.avg_pool2d(&Pool2d { stride: [1, 1], ..Pool2d::new([size, 1]) }, true, None)?;
        self.div(&means.affine(alpha, k)?.powf(beta)?.reshape(self.dims())?)
    }
}
