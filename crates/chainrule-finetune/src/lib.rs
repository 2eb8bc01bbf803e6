//! Fine-tuning for chainrule: changing a trained model and keeping what it knew.
//!
//! Freezing by path stands in `chainrule_nn` ([`freeze`], [`unfreeze`]); here is what goes beyond one model: mixing a tuned model with the one it came from, and adapters ([`Adapted`], [`Lora`]).
#![forbid(unsafe_code)]

mod adapted;
mod error;
mod interpolate;
mod layered;
mod lora;
mod method;
mod parts;
mod targets;

pub use adapted::Adapted;
pub use chainrule_nn::{freeze, unfreeze};
pub use error::{Error, Result};
pub use interpolate::interpolate;
pub use lora::{Lora, LoraAdapter};
pub use method::{Method, Selection};
pub use targets::Targets;
