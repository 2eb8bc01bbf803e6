//! Optimizers for chainrule: rules, parameter groups, clipping, schedules, state.
//!
//! An optimizer changes a model by its gradients, all or nothing: [`Optimizer::step`] checks everything, then writes.
//! A [`Rule`] is hyper-parameters, the arrays it keeps for a parameter, and a formula; everything else stands once, in [`Optimizer`].
//! ```
//! use chainrule_autograd::{DType, Rng, Tape, Tensor};
//! use chainrule_nn::Param;
//! use chainrule_optim::{Adam, Schedule};
//!
//! let mut model = vec![Param::new(Tensor::from_slice(&[3f32, -2.0], &[2])?.into_array())];
//! let mut adam = Adam::new(0.1).betas(0.8, 0.99).clip_norm(1.0).schedule(Schedule::cosine(200));
//! for _ in 0..200 {
//!     let tape = Tape::training(&mut Rng::seeded(0));
//!     let x = tape.input(Tensor::ones(&[2], DType::F32)?);
//!     let loss = model[0].on(&x)?.sub(&x)?.square()?.sum()?;
//!     adam.step(&mut model, &loss.backward()?)?;
//! }
//! assert!(model[0].value.to_vec::<f32>()?.iter().all(|w| (w - 1.0).abs() < 1e-3));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod error;
mod group;
mod optimize;
mod optimizer;
mod plateau;
mod rule;
mod rules;
mod schedule;
mod state;
mod step;

pub use error::{Error, Result};
pub use group::Group;
pub use optimize::Optimize;
pub use optimizer::Optimizer;
pub use plateau::Plateau;
pub use rule::{Rule, Step};
pub use rules::{Adam, AdamRule, AdamW, AdamWRule, Sgd, SgdRule};
pub use schedule::{OneCycle, Schedule};
pub use state::{ParameterState, State};
pub use step::StepReport;
