//! Fine-tuning for chainrule: changing a trained model and keeping what it knew.
//!
//! Freezing by path, number and function stands in `chainrule_nn` ([`freeze`], [`freeze_layers`], [`freeze_where`], [`Trainability`], [`replace_head`], [`report`]); here is what goes beyond one model: mixing a tuned model with the one it came from, and adapters ([`Adapted`], [`Lora`]).
//!
//! | to keep what was known | |
//! |---|---|
//! | thaw from the top down, smaller steps below | [`GradualUnfreezing`], [`discriminative`] |
//! | stay near the pretrained weights | [`L2Sp`], [`Ewc`], [`interpolate`] |
//! | see or say the old again | [`Reservoir`], [`learning_without_forgetting`] |
//! | several models as one | [`soup`], [`greedy_soup`], [`Ensemble`] |
//!
//! | to learn with less | |
//! |---|---|
//! | from a teacher | [`distillation`], [`hint`], [`attention_transfer`] |
//! | from few samples | [`Prototypes`], [`linear_probe`] |
//! | from samples without labels | [`PseudoLabels`], [`simcse`], [`multiple_negatives_ranking`] |
//! | from the worst of inputs | [`Attack`] |
#![forbid(unsafe_code)]

mod adapted;
mod adversarial;
mod anchor;
mod contrast;
mod distill;
mod ensemble;
mod error;
mod ewc;
mod few_shot;
mod gradual;
mod interpolate;
mod l2sp;
mod layered;
mod merge;
mod method;
mod methods;
mod outcome;
mod parts;
pub mod peft;
mod personalise;
mod placement;
mod pseudo_label;
mod rehearsal;
mod soup;
mod targets;

pub use adapted::Adapted;
pub use adversarial::Attack;
pub use chainrule_autograd::Quantisation;
pub use chainrule_nn::{Trainability, freeze, freeze_layers, freeze_where, replace_head, report, unfreeze, unfreeze_layers, unfreeze_where};
pub use contrast::{batch_hard_triplet, multiple_negatives_ranking, simcse, symmetric_info_nce};
pub use distill::{attention_transfer, distillation, distillation_with_labels, hint, learning_without_forgetting};
pub use ensemble::{Ensemble, mean_outputs, mean_probabilities};
pub use error::{Error, Result};
pub use ewc::{Ewc, fisher_empirical, fisher_true};
pub use few_shot::{Prototypes, linear_probe};
pub use gradual::{GradualUnfreezing, discriminative, groups_by_depth};
pub use interpolate::interpolate;
pub use l2sp::L2Sp;
pub use method::{Method, Selection};
pub use methods::{
    BitFit, Bottleneck, BottleneckActivation, BottleneckAdapter, BottleneckWidth, DoraAdapter, Ia3, Ia3Adapter, LayerNormTuning, Lora, LoraAdapter, LoraBias,
    LoraInit, LowRank, Matrices, PTuning, PrefixEncoder, PrefixPrompt, PrefixTuning, PromptEncoder, PromptStart, PromptTuning, QuantisedWeight,
    Reparameterisation, Rows, TokenPrompt, Vera, VeraAdapter, dequantise, lora_plus, prompt_embeddings, quantise,
};
pub use outcome::{Figures, Outcome, Reason};
pub use personalise::Personalise;
pub use pseudo_label::{Labelled, PseudoLabels};
pub use rehearsal::Reservoir;
pub use soup::{GreedySoup, greedy_soup, soup};
pub use targets::Targets;
