//! BitFit (Ben Zaken et al. 2022, "BitFit: Simple Parameter-efficient Fine-tuning for Transformer-based Masked Language-models").

use super::{is_bias, selecting};
use crate::peft::Config;
use crate::{Method, Selection};
use chainrule_nn::Operation;

/// Trains the biases: of the whole model, or of the modules that `targets` means. The adapter holds copies of them, and nothing is added to the model.
/// ```
/// # use chainrule_autograd::Rng;
/// # use chainrule_finetune::{Adapted, BitFit};
/// # use chainrule_nn::{LayerNorm, Linear, Operation, Sequential, count};
/// let rng = &mut Rng::seeded(0);
/// let base = Sequential::new().add(Linear::new(8, 16, rng)?).add(LayerNorm::new(&[16])?).add(Linear::new(16, 2, rng)?);
/// let mut model = Adapted::new(base);
/// model.add("mine", BitFit::new().saving(["2"]), rng)?;
/// assert_eq!(count(&model).trainable, 16 + 16 + (16 * 2 + 2));
/// # Ok::<(), chainrule_finetune::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct BitFit {
    /// Whose biases are trained; all if there are no targets.
    pub selection: Selection,
}

impl BitFit {
    /// On all biases.
    pub fn new() -> BitFit {
        BitFit { selection: Selection::none() }
    }
}

impl Default for BitFit {
    fn default() -> BitFit {
        BitFit::new()
    }
}

selecting!(BitFit);

impl Method for BitFit {
    fn name(&self) -> &'static str {
        "bitfit"
    }
    fn selection(&self) -> &Selection {
        &self.selection
    }
    fn trains(&self, path: &str, targeted: bool) -> bool {
        is_bias(path) && (targeted || self.selection.targets.is_none())
    }
    fn to_peft(&self, _: &[(String, Operation)], config: &mut Config) -> crate::Result<()> {
        crate::peft::write::bitfit(config);
        Ok(())
    }
}
