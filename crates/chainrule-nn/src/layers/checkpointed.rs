//! A layer that is computed again in the backward pass instead of keeping what it needs there (PyTorch's `torch.utils.checkpoint`).

use crate::{Layer, Module, observed};
use chainrule_autograd::{Result, Tensor};
use std::any::Any;

/// The layer's function, parameters and paths; of its inside nothing is kept for the backward pass, which computes it again. Values and gradients have the same bits as without.
///
/// See [`Tensor::checkpoint`], which does the same for any function. Layers inside that hold something do not report to [`activations`](crate::activations), and second derivatives do not pass.
/// ```
/// # use chainrule_autograd::{DType, Rng, Tape, Tensor};
/// # use chainrule_nn::{Checkpointed, Layer, Linear, Sequential, Tanh};
/// let mut rng = Rng::seeded(0);
/// let block = Sequential::new().add(Linear::new(4, 8, &mut rng)?).add(Tanh).add(Linear::new(8, 4, &mut rng)?);
/// let model = Checkpointed::new(block);
/// let tape = Tape::training(&mut rng);
/// model.run(&tape.input(Tensor::ones(&[2, 4], DType::F32)?))?;
/// assert_eq!(tape.operations().last(), Some(&"checkpoint"));
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
#[derive(Module, Clone)]
pub struct Checkpointed<L> {
    /// What is computed twice.
    #[module(flatten)]
    pub layer: L,
}

impl<L: Layer + Clone + Any> Checkpointed<L> {
    /// Of this layer.
    pub fn new(layer: L) -> Checkpointed<L> {
        Checkpointed { layer }
    }
}

impl<L: Layer + Clone + Any> Layer for Checkpointed<L> {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let layer = self.layer.clone();
        Ok(observed(self, x.checkpoint(move |x| layer.forward(x))?))
    }
}
