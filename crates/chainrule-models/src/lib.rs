//! Published models for chainrule, and readers of published weights.
//!
//! Models are plain structs of layers, whose paths are the names in published files: Hugging Face's for [`BertModel`], torchvision's for [`MobileNetV2`].
//! What a model computes before its last layer (`features`) and the last layer itself (`head`) can be called apart, and the head be replaced.
#![forbid(unsafe_code)]

extern crate self as chainrule_models;

mod bert;
mod mobilenet_v2;
pub mod read;
#[cfg(feature = "tokenizers")]
mod tokenizer;
mod tokens;

pub use bert::*;
pub use mobilenet_v2::MobileNetV2;
#[cfg(feature = "tokenizers")]
pub use tokenizer::Tokenizer;
pub use tokens::Tokens;
