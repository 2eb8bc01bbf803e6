//! Layer-norm tuning (Zhao et al. 2023, "Tuning LayerNorm in Attention: Towards Efficient Multi-Modal LLM Finetuning"; PEFT's `LNTuningConfig`).

use super::selecting;
use crate::peft::Config;
use crate::{Method, Selection};
use chainrule_nn::Operation;

/// What layer norms are usually called.
const USUAL_NAMES: &str =
    "{*.,}{LayerNorm,layer_norm,layernorm,norm,norm1,norm2,norm3,ln_1,ln_2,ln_f,final_layer_norm,input_layernorm,post_attention_layernorm}";

/// Trains the parameters of normalisation layers, weight and bias. The adapter holds copies of them, and nothing is added to the model.
/// ```
/// # use chainrule_autograd::Rng;
/// # use chainrule_finetune::{Adapted, LayerNormTuning};
/// # use chainrule_nn::{LayerNorm, Linear, Module, Operation, count};
/// #[derive(Module, Clone)]
/// struct Model { dense: Linear, norm: LayerNorm, classifier: Linear }
/// let rng = &mut Rng::seeded(0);
/// let base = Model { dense: Linear::new(8, 8, rng)?, norm: LayerNorm::new(&[8])?, classifier: Linear::new(8, 2, rng)? };
/// let mut model = Adapted::new(base);
/// model.add("mine", LayerNormTuning::new().saving(["classifier"]), rng)?;
/// assert_eq!(count(&model).trainable, (8 + 8) + (8 * 2 + 2));
/// # Ok::<(), chainrule_finetune::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct LayerNormTuning {
    /// Whose parameters are trained (PEFT's `target_modules`).
    pub selection: Selection,
}

impl LayerNormTuning {
    /// On modules by the usual names of layer norms: `LayerNorm`, `layer_norm`, `norm`, `norm1`, `ln_1`, …
    pub fn new() -> LayerNormTuning {
        LayerNormTuning { selection: Selection::of(USUAL_NAMES) }
    }
}

impl Default for LayerNormTuning {
    fn default() -> LayerNormTuning {
        LayerNormTuning::new()
    }
}

selecting!(LayerNormTuning);

impl Method for LayerNormTuning {
    fn name(&self) -> &'static str {
        "layer norm tuning"
    }
    fn selection(&self) -> &Selection {
        &self.selection
    }
    fn trains(&self, _: &str, targeted: bool) -> bool {
        targeted
    }
    fn to_peft(&self, _: &[(String, Operation)], config: &mut Config) -> crate::Result<()> {
        config.set("peft_type", "LN_TUNING");
        Ok(())
    }
}
