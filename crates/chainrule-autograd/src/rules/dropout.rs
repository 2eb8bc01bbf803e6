//! Dropout (Srivastava et al. 2014), whose mask follows from a random stream and is never stored; and of whole channels, of whole samples, and for self-normalising networks.

use crate::{Error, Keep, Result, Stream, Tensor};
use chainrule_core::ops;

impl Tensor {
    /// On a tape in training mode: each element becomes 0 at probability `rate`, the others are divided by `1 - rate` (PyTorch's `dropout`). Elsewhere the tensor itself.
    /// ```
    /// # use chainrule_autograd::{DType, Rng, Tape, Tensor};
    /// let tape = Tape::training(&mut Rng::seeded(0));
    /// let y = tape.input(Tensor::ones(&[100], DType::F32)?).dropout(0.5)?;
    /// assert!(y.to_vec::<f32>()?.iter().all(|y| *y == 0.0 || *y == 2.0));
    /// assert_eq!(Tensor::ones(&[2], DType::F32)?.dropout(0.5)?.to_vec::<f32>()?, [1.0, 1.0]); // off the tape
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// A rate outside `0 ..= 1`; an element type other than f32 and f64.
    pub fn dropout(&self, rate: f64) -> Result<Tensor> {
        match self.dropping("dropout", rate)? {
            Some(stream) => dropped(self, rate, stream),
            None => Ok(self.clone()),
        }
    }

    /// On a tape in training mode: each channel of each sample of `[N, C, ..]` becomes 0 at probability `rate`, the others are divided by `1 - rate` (PyTorch's `dropout1d`, `dropout2d` and `dropout3d`; Tompson et al. 2015). Elsewhere the tensor itself.
    /// ```
    /// # use chainrule_autograd::{DType, Rng, Tape, Tensor};
    /// let tape = Tape::training(&mut Rng::seeded(0));
    /// let y = tape.input(Tensor::ones(&[2, 3, 2], DType::F32)?).dropout_channels(0.5)?.to_vec::<f32>()?;
    /// assert!(y.chunks(2).all(|channel| channel == [0.0, 0.0] || channel == [2.0, 2.0]));
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Fewer than two dimensions; a rate outside `0 ..= 1`; an element type other than f32 and f64.
    pub fn dropout_channels(&self, rate: f64) -> Result<Tensor> {
        self.dropout_slices("dropout_channels", 2, rate)
    }

    /// On a tape in training mode: each sample of `[N, ..]` becomes 0 at probability `rate`, the others are divided by `1 - rate`; on a residual branch this skips it (stochastic depth: Huang et al. 2016; timm's `DropPath`). Elsewhere the tensor itself.
    /// ```
    /// # use chainrule_autograd::{DType, Rng, Tape, Tensor};
    /// let tape = Tape::training(&mut Rng::seeded(0));
    /// let y = tape.input(Tensor::ones(&[3, 2], DType::F32)?).drop_path(0.5)?.to_vec::<f32>()?;
    /// assert!(y.chunks(2).all(|sample| sample == [0.0, 0.0] || sample == [2.0, 2.0]));
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// A scalar; a rate outside `0 ..= 1`; an element type other than f32 and f64.
    pub fn drop_path(&self, rate: f64) -> Result<Tensor> {
        self.dropout_slices("drop_path", 1, rate)
    }

    /// On a tape in training mode: each element becomes SELU's limit at probability `rate`, and all are scaled and shifted so that mean 0 and variance 1 stay (PyTorch's `alpha_dropout`; Klambauer et al. 2017). Elsewhere the tensor itself.
    /// ```
    /// # use chainrule_autograd::{DType, Tensor};
    /// assert_eq!(Tensor::ones(&[2], DType::F32)?.alpha_dropout(0.5)?.to_vec::<f32>()?, [1.0, 1.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`dropout`](Tensor::dropout).
    pub fn alpha_dropout(&self, rate: f64) -> Result<Tensor> {
        /// What SELU gives far below 0.
        const LIMIT: f64 = -1.758_099_340_847_376_6;
        let Some(stream) = self.dropping("alpha_dropout", rate)? else { return Ok(self.clone()) };
        if rate == 1.0 {
            return self.mul_scalar(0.0);
        }
        let kept = 1.0 - rate;
        let scale = 1.0 / (kept * (1.0 + rate * LIMIT * LIMIT)).sqrt();
        // Dropped elements get the limit, and all the shift that makes the mean 0.
        let mask = Tensor::from(ops::dropout(&self.array.new_full(self.dims(), 1.0)?, rate, stream)?);
        let filled = mask.affine(-scale * LIMIT * kept, scale * LIMIT * kept)?;
        dropped(self, rate, stream)?.mul_scalar(scale * kept)?.add(&filled)
    }

    /// The stream that tells what to drop, if anything is.
    fn dropping(&self, op: &'static str, rate: f64) -> Result<Option<Stream>> {
        if !(0.0..=1.0).contains(&rate) {
            return Err(Error::value(op, format!("the rate is {rate}, expected 0 to 1")));
        }
        Ok(self.random_stream().filter(|_| self.is_training() && rate > 0.0))
    }

    /// Drops what the first `leading` dimensions number.
    fn dropout_slices(&self, op: &'static str, leading: usize, rate: f64) -> Result<Tensor> {
        if self.rank() < leading {
            return Err(Error::shape(op, format!("the input has shape {:?}, expected at least {leading} dimensions", self.shape())));
        }
        let Some(stream) = self.dropping(op, rate)? else { return Ok(self.clone()) };
        let mut dims = vec![1; self.rank()];
        dims[..leading].copy_from_slice(&self.dims()[..leading]);
        // The mask is as small as what it numbers, so it is kept as a factor.
        let mask = ops::dropout(&self.array.new_full(&dims, 1.0)?, rate, stream)?;
        self.mul(&mask.into())
    }
}

/// Linear in x, and so its own rule.
fn dropped(x: &Tensor, rate: f64, stream: Stream) -> Result<Tensor> {
    let y = ops::dropout(&x.array, rate, stream)?;
    Tensor::record("dropout", [x], Keep::NONE, y, move |pass| Ok([Some(dropped(pass.grad(), rate, stream)?)]))
}
