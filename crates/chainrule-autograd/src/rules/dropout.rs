//! Dropout (Srivastava et al. 2014), whose mask follows from a random stream and is never stored.

use crate::{Error, Keep, Result, Tensor};
use chainrule_core::ops;

impl Tensor {
    /// On a tape in training mode: each element becomes 0 at probability `rate`, the others are divided by `1 - rate` (PyTorch's `dropout`). Elsewhere the tensor itself.
    ///
    /// # Errors
    /// A rate outside `0 ..= 1`; an element type other than f32 and f64.
    pub fn dropout(&self, rate: f64) -> Result<Tensor> {
        if !(0.0..=1.0).contains(&rate) {
            return Err(Error::value("dropout", format!("the rate is {rate}, expected 0 to 1")));
        }
        match self.random_stream() {
            Some(stream) if self.is_training() && rate > 0.0 => dropped(self, rate, stream),
            _ => Ok(self.clone()),
        }
    }
}

/// Linear in x, and so its own rule.
fn dropped(x: &Tensor, rate: f64, stream: u64) -> Result<Tensor> {
    let y = ops::dropout(&x.array, rate, stream)?;
    Tensor::record("dropout", [x], Keep::NONE, y, move |pass| Ok([Some(dropped(pass.grad(), rate, stream)?)]))
}
