//! [`Tape`]: the recording of one training step, in order of creation, so that backward is one reverse scan: no recursion, no sort, no deep drop.
//!
//! The user's `Tape` alone owns the recording; tensors hold the [`Recorder`], a shell that outlives it empty. So no cycle can form, whatever a rule holds.

use crate::recorder::Recorder;
use crate::recording::ParamId;
use crate::tensor::Place;
use crate::{DType, Error, Result, Rng, Tensor};
use std::sync::Arc;

/// All that belongs to one training step: the recording, the mode, the random streams, the pending buffer updates.
///
/// [`backward`](Tensor::backward) empties it, and so does dropping it.
pub struct Tape {
    recorder: Arc<Recorder>,
}

impl Tape {
    /// A tape in training mode: dropout drops, batch norm uses the statistics of the batch. Takes one number from `rng`, from which all randomness on this tape follows.
    /// ```
    /// # use chainrule_autograd::{Rng, Tape, Tensor};
    /// let tape = Tape::training(&mut Rng::seeded(0));
    /// assert!(tape.input(Tensor::from_slice(&[1f32], &[1])?).is_training());
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    pub fn training(rng: &mut Rng) -> Tape {
        Tape::new(true, rng)
    }

    /// A tape in inference mode, for gradients of a model as it infers.
    /// ```
    /// # use chainrule_autograd::{Rng, Tape, Tensor};
    /// let tape = Tape::inference(&mut Rng::seeded(0));
    /// let x = tape.watch(Tensor::from_slice(&[1f32], &[1])?);
    /// assert!(x.needs_gradient() && !x.is_training());
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    pub fn inference(rng: &mut Rng) -> Tape {
        Tape::new(false, rng)
    }

    fn new(training: bool, rng: &mut Rng) -> Tape {
        Tape { recorder: Recorder::of_tape(training, rng.next_u64()) }
    }

    /// Products (matrix products, linear layers, convolutions, recurrent layers, attention) on this tape round their operands, their results, and on the way back their gradients to a narrower type, and add up in full precision
    /// (PyTorch's `autocast`). All else stays as it is: norms, softmax, losses, and the parameters themselves, which are the master weights. f16 needs a scaled loss.
    /// ```
    /// # use chainrule_autograd::{DType, Rng, Tape, Tensor};
    /// let tape = Tape::training(&mut Rng::seeded(0)).precision(DType::BF16)?;
    /// let x = tape.input(Tensor::from_slice(&[1.001f32], &[1, 1])?); // bf16 has 8 significant bits
    /// assert_eq!(x.matmul(&x)?.item()?, 1.0);
    /// assert!(x.mul(&x)?.item()? > 1.001);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// A type other than bf16, f16 and f32 (which rounds f64 only); a tape on which something lies already.
    pub fn precision(mut self, dtype: DType) -> Result<Tape> {
        const OP: &str = "precision";
        if !matches!(dtype, DType::BF16 | DType::F16 | DType::F32) {
            return Err(Error::value(OP, format!("got {dtype}, expected bf16, f16 or f32")));
        }
        match Arc::get_mut(&mut self.recorder) {
            Some(recorder) => recorder.precision = Some(dtype),
            None => return Err(Error::value(OP, "the tape is in use, set its precision before the first input")),
        }
        Ok(self)
    }

    /// Puts data on the tape, as a constant. A tensor from elsewhere (off the tape or of another tape) also comes as a constant.
    /// ```
    /// # use chainrule_autograd::{Rng, Tape, Tensor};
    /// let tape = Tape::training(&mut Rng::seeded(0));
    /// let x = tape.input(Tensor::from_slice(&[1f32], &[1])?);
    /// assert!(x.is_on_tape() && !x.needs_gradient());
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    pub fn input(&self, x: impl Into<Tensor>) -> Tensor {
        Tensor::on(x.into().array, &self.recorder, None, self.recorder.training)
    }

    /// Puts data on the tape and asks for its gradient: [`Gradients::wrt`](crate::Gradients::wrt). Integers have none and come as constants.
    /// ```
    /// # use chainrule_autograd::{Rng, Tape, Tensor};
    /// let tape = Tape::training(&mut Rng::seeded(0));
    /// let x = tape.watch(Tensor::from_slice(&[2f64], &[1])?);
    /// assert_eq!(x.powf(3.0)?.sum()?.backward()?.wrt(&x).unwrap().to_vec::<f64>()?, [12.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    pub fn watch(&self, x: impl Into<Tensor>) -> Tensor {
        let array = x.into().array;
        let node = self.recorder.watch(&array);
        Tensor::on(array, &self.recorder, node, self.recorder.training)
    }

    /// From here on this tape reads `tensor` in place of a parameter: fast weights (MAML), hyper-networks, weight norm.
    /// ```
    /// # use chainrule_autograd::{ParamId, Rng, Tape, Tensor};
    /// let (tape, id) = (Tape::training(&mut Rng::seeded(0)), ParamId::fresh());
    /// let fast = tape.watch(Tensor::from_slice(&[5f64], &[1])?);
    /// tape.bind(id, &fast)?;
    /// let slow = Tensor::from_slice(&[1f64], &[1])?;
    /// assert_eq!(tape.input(&slow).parameter(id, slow.array(), true)?.item()?, 5.0);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// A tensor of another tape, or one that was computed from trainable parameters off the tape.
    pub fn bind(&self, id: ParamId, tensor: &Tensor) -> Result<()> {
        const OP: &str = "bind";
        let node = match &tensor.place {
            Place::Off { trainable: true } => return Err(Error::OffTapeGradient { op: OP }),
            Place::Off { .. } => None,
            Place::On { recorder, .. } if !Arc::ptr_eq(recorder, &self.recorder) => return Err(Error::TwoTapes { op: OP }),
            Place::On { node, .. } => *node,
        };
        self.recorder.bind(id, node, &tensor.array);
        Ok(())
    }

    /// The names of what is recorded, in order: leaves (`parameter`, `watch`) and operations.
    /// ```
    /// # use chainrule_autograd::{Rng, Tape, Tensor};
    /// let tape = Tape::training(&mut Rng::seeded(0));
    /// tape.watch(Tensor::from_slice(&[2f64], &[1])?).square()?;
    /// assert_eq!(tape.operations(), ["watch", "square"]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    pub fn operations(&self) -> Vec<&'static str> {
        self.recorder.operations()
    }
}

impl Drop for Tape {
    fn drop(&mut self) {
        self.recorder.close();
    }
}

impl std::fmt::Debug for Tape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tape").field("recorder", &self.recorder).finish()
    }
}
