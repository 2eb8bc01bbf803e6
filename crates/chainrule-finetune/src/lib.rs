//! Fine-tuning for chainrule: changing a trained model and keeping what it knew.
//!
//! Freezing by path stands in `chainrule_nn` ([`freeze`], [`unfreeze`]); here is what goes beyond one model: mixing a tuned model with the one it came from.
#![forbid(unsafe_code)]

mod interpolate;

pub use chainrule_nn::{freeze, unfreeze};
pub use interpolate::interpolate;
