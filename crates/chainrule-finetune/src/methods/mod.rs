//! The methods, a file each: its formula, its settings, and what it puts into slots.

mod bitfit;
mod bottleneck;
mod dora;
mod ia3;
mod layer_norm;
mod lora;
mod lora_plus;
mod low_rank;
mod p_tuning;
mod prefix;
mod prompt;
mod quantised;
mod vera;

pub use bitfit::BitFit;
pub use bottleneck::{Bottleneck, BottleneckActivation, BottleneckAdapter, BottleneckWidth};
pub use dora::DoraAdapter;
pub use ia3::{Ia3, Ia3Adapter};
pub use layer_norm::LayerNormTuning;
pub use lora::{Lora, LoraAdapter, LoraBias, LoraInit};
pub use lora_plus::lora_plus;
pub use low_rank::{LowRank, Matrices, Rows};
pub use p_tuning::{PTuning, PromptEncoder, Reparameterisation};
pub use prefix::{PrefixEncoder, PrefixPrompt, PrefixTuning};
pub use prompt::{PromptStart, PromptTuning, TokenPrompt, prompt_embeddings};
pub use quantised::{QuantisedWeight, dequantise, quantise};
pub use vera::{Vera, VeraAdapter};

use chainrule_autograd::{Error, Result};
use chainrule_nn::Operation;

/// The builders that all methods with a `selection` have.
macro_rules! selecting {
    ($method:ident) => {
        impl $method {
            /// On these layers.
            pub fn targets(mut self, targets: impl Into<crate::Targets>) -> $method {
                self.selection.targets = Some(targets.into());
                self
            }
            /// But not on these. What means no layer leaves none out, and is no error: a method's own exclusions fit some models only.
            pub fn excluding(mut self, targets: impl Into<crate::Targets>) -> $method {
                self.selection.exclude = Some(targets.into());
                self
            }
            /// Trains these modules whole and stores them with the adapter: a new head.
            pub fn saving<const N: usize>(mut self, modules: [&str; N]) -> $method {
                self.selection.save = modules.map(str::to_string).to_vec();
                self
            }
        }
    };
}
use selecting;

/// Whether the last part of a parameter's path names a bias: `bias`, `in_proj_bias`, `bias_ih_l0`.
fn is_bias(path: &str) -> bool {
    let name = path.rsplit_once('.').map_or(path, |(_, name)| name);
    name == "bias" || name.ends_with("_bias") || name.starts_with("bias_")
}

/// A factor or rate that a method cannot work with is an error.
fn expect_finite(op: &'static str, what: &str, value: f64) -> Result<()> {
    if value.is_finite() { Ok(()) } else { Err(Error::value(op, format!("got {what} {value}, expected a finite number"))) }
}

/// As for [`expect_finite`], for a rate of dropout.
fn expect_rate(op: &'static str, rate: f64) -> Result<()> {
    if (0.0..1.0).contains(&rate) { Ok(()) } else { Err(Error::value(op, format!("got a dropout of {rate}, expected at least 0 and less than 1"))) }
}

/// The error that a method is not for layers of this operation.
#[cold]
fn refused(op: &'static str, operation: Operation, expected: &str) -> Error {
    Error::value(op, format!("got a layer of {operation:?}, expected {expected}; leave it out of the targets"))
}
