//! Fine-tuning for chainrule: changing a trained model and keeping what it knew.
//!
//! Freezing by path stands in `chainrule_nn` ([`freeze`], [`unfreeze`]); here is what goes beyond one model: mixing a tuned model with the one it came from, and adapters ([`Lora`]).
#![forbid(unsafe_code)]

mod interpolate;
mod lora;

pub use chainrule_nn::{freeze, unfreeze};
pub use interpolate::interpolate;
pub use lora::Lora;
