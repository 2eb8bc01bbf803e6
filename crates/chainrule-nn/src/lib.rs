//! Neural networks for chainrule: parameters, modules, layers, losses, initialisers, model files.
//!
//! A model is a plain struct of layers. `#[derive(Module)]` makes it walkable by path, the path being the field names joined by dots, as in PyTorch's state dict.
//! Freezing, counting, saving, loading and adapters are walks over paths; `forward` is a function of the model and the input.
//! ```
//! use chainrule_autograd::{DType, Result, Rng, Tape, Tensor};
//! use chainrule_nn::{Conv2d, Layer, Linear, Module};
//!
//! #[derive(Module, Clone)]
//! struct Net { conv: Conv2d, head: Linear }
//!
//! impl Layer for Net {
//!     /// `[N, 1, 8, 8] -> [N, 10]`
//!     fn forward(&self, x: &Tensor) -> Result<Tensor> {
//!         let x = self.conv.forward(x)?.relu()?.flatten(1, -1)?;
//!         self.head.forward(&x)
//!     }
//! }
//!
//! let mut rng = Rng::seeded(0);
//! let net = Net { conv: Conv2d::new(1, 4, 3, &mut rng)?, head: Linear::new(4 * 6 * 6, 10, &mut rng)? };
//! let tape = Tape::training(&mut rng);
//! let images = Tensor::ones(&[2, 1, 8, 8], DType::F32)?;
//! let loss = net.run(&tape.input(&images))?.cross_entropy(&Tensor::from_slice(&[3i64, 7], &[2])?)?;
//! assert_eq!(loss.backward()?.len(), 4);
//! # Ok::<(), chainrule_nn::Error>(())
//! ```
//!
//! Losses are methods of [`Tensor`](chainrule_autograd::Tensor): `logits.cross_entropy(&labels)`, `x.mse(&y)`, …, each with a twin that takes options.
#![forbid(unsafe_code)]

extern crate self as chainrule_nn;

mod activations;
mod adapter;
mod error;
mod expression;
mod freeze;
mod gradcheck;
mod head;
pub mod init;
mod layer;
mod layers;
mod module;
mod nearest;
mod param;
mod parts;
mod pattern;
mod prompt;
mod state;
mod summary;
mod trainability;
mod walk;

pub use activations::{activations, gradient_hook, observed};
pub use adapter::{Adapter, AnyAdapter, BoxedAdapter, Operation, Site, SiteMut};
pub use chainrule_autograd::{BagMode, CrossEntropy, Reduction};
pub use chainrule_derive::Module;
pub use error::{Error, Result};
pub use freeze::{Count, count, freeze, freeze_layers, freeze_where, frozen, unfreeze, unfreeze_layers, unfreeze_where};
pub use gradcheck::gradcheck_model;
pub use head::{Head, replace_head};
pub use init::{Init, initialise};
pub use layer::{AnyLayer, BoxedLayer, Layer};
pub use layers::*;
pub use module::{Kind, Module, Path, Visitor, VisitorMut};
pub use nearest::name as nearest_name;
pub use param::{Buffer, Constant, Param};
pub use parts::{Part, Parts, report};
pub use pattern::Pattern;
pub use prompt::{AnyPrompt, BoxedPrompt, Prompt, PromptSite, PromptSlot, Virtual};
pub use state::*;
pub use summary::{Row, Summary, summary};
pub use trainability::Trainability;
pub use walk::{buffers, buffers_mut, independent, locate, params, params_mut, path_of};
