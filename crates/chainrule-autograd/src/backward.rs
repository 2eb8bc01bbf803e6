//! Backward passes, as methods of the result: to [`Gradients`], or recorded.

use crate::recorder::Recorder;
use crate::{Array, Error, Gradients, Result, Tensor};
use std::sync::Arc;

impl Tensor {
    /// The gradients of this scalar by all parameters and watched tensors it depends on. Releases the recording: the tape is spent afterwards, and operations on it are constants.
    /// ```
    /// # use chainrule_autograd::{Rng, Tape, Tensor};
    /// let tape = Tape::training(&mut Rng::seeded(0));
    /// let x = tape.watch(Tensor::from_slice(&[1f64, 2.0], &[2])?);
    /// let gradients = x.square()?.sum()?.backward()?;
    /// assert_eq!(gradients.wrt(&x).unwrap().to_vec::<f64>()?, [2.0, 4.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Not a scalar; not on a tape, or a spent one; nothing to differentiate by; an operation without a derivative.
    pub fn backward(&self) -> Result<Gradients> {
        self.run_backward("backward", true)
    }

    /// The same, but the recording stays, for another pass over it.
    /// ```
    /// # use chainrule_autograd::{Rng, Tape, Tensor};
    /// let tape = Tape::training(&mut Rng::seeded(0));
    /// let x = tape.watch(Tensor::from_slice(&[1f64, 2.0], &[2])?);
    /// let y = x.square()?.sum()?;
    /// let (first, second) = (y.backward_keeping()?, y.backward()?);
    /// assert_eq!(first.wrt(&x).unwrap().to_vec::<f64>()?, second.wrt(&x).unwrap().to_vec::<f64>()?);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`backward`](Tensor::backward).
    pub fn backward_keeping(&self) -> Result<Gradients> {
        self.run_backward("backward_keeping", false)
    }

    /// The gradients of the sum of this tensor's elements times those of `gradient`: a backward pass that begins with a gradient from elsewhere (PyTorch's `backward(gradient)`).
    /// ```
    /// # use chainrule_autograd::{Array, Rng, Tape, Tensor};
    /// let tape = Tape::training(&mut Rng::seeded(0));
    /// let x = tape.watch(Tensor::from_slice(&[2f64, 3.0], &[2])?);
    /// let gradients = x.square()?.backward_from(&Array::from_slice(&[1f64, 10.0], &[2])?)?;
    /// assert_eq!(gradients.wrt(&x).unwrap().to_vec::<f64>()?, [4.0, 60.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// A gradient of another shape or element type; otherwise as for [`backward`](Tensor::backward).
    pub fn backward_from(&self, gradient: &Array) -> Result<Gradients> {
        const OP: &str = "backward_from";
        let recorder = self.on_recorder(OP)?;
        if gradient.dims() != self.dims() || gradient.dtype() != self.dtype() {
            let (got, expected) = ((gradient.dtype(), gradient.shape()), (self.dtype(), self.shape()));
            return Err(Error::shape(OP, format!("the gradient is {} {:?}, expected {} {:?}", got.0, got.1, expected.0, expected.1)));
        }
        crate::scan::backward(OP, recorder, self.node(), gradient.clone(), true)
    }

    fn run_backward(&self, op: &'static str, release: bool) -> Result<Gradients> {
        let recorder = self.on_recorder(op)?;
        self.expect_scalar(op)?;
        crate::scan::backward(op, recorder, self.node(), self.array.new_full(self.dims(), 1.0)?, release)
    }

    /// The gradients of this scalar by the given tensors of its tape, recorded themselves, so that they can be differentiated again.
    /// ```
    /// # use chainrule_autograd::{Rng, Tape, Tensor};
    /// let tape = Tape::inference(&mut Rng::seeded(0));
    /// let x = tape.watch(Tensor::from_slice(&[2f64], &[1])?);
    /// let slope = &x.powf(3.0)?.sum()?.gradients_of(&[&x])?[0]; // 3 x²
    /// let bend = slope.sum()?.backward()?; // 6 x
    /// assert_eq!(bend.wrt(&x).unwrap().to_vec::<f64>()?, [12.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`backward`](Tensor::backward); a tensor that this one does not depend on; an operation whose derivative cannot be differentiated.
    pub fn gradients_of(&self, tensors: &[&Tensor]) -> Result<Vec<Tensor>> {
        const OP: &str = "gradients_of";
        let recorder = self.on_recorder(OP)?;
        self.expect_scalar(OP)?;
        for tensor in tensors {
            if !Arc::ptr_eq(tensor.on_recorder(OP)?, recorder) {
                return Err(Error::TwoTapes { op: OP });
            }
        }
        crate::scan::gradients_of(recorder, self.node(), self.array.new_full(self.dims(), 1.0)?, tensors)
    }

    fn on_recorder(&self, op: &'static str) -> Result<&Arc<Recorder>> {
        self.recorder().ok_or(Error::OffTape { op })
    }

    fn expect_scalar(&self, op: &'static str) -> Result<()> {
        if self.count() == 1 {
            return Ok(());
        }
        Err(Error::shape(op, format!("shape {:?} has {} elements, expected 1; reduce it first, with sum or mean", self.shape(), self.count())))
    }
}
