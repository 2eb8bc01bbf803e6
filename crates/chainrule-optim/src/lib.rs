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
//!
//! A batch that is too large for memory is taken in parts: their gradients add up, buffer updates are composed in order.
//! ```
//! # use chainrule_autograd::{DType, Gradients, Rng, Tape, Tensor};
//! # use chainrule_nn::{Layer, Linear};
//! # use chainrule_optim::Adam;
//! # let mut rng = Rng::seeded(0);
//! # let mut model = Linear::new(2, 1, &mut rng)?;
//! # let (mut adam, batch) = (Adam::new(0.1), Tensor::ones(&[12, 2], DType::F32)?);
//! let mut sum = Gradients::default();
//! for part in batch.chunk(4, 0)? {
//!     let tape = Tape::training(&mut rng);
//!     let loss = model.forward(&tape.input(part))?.square()?.mean()?;
//!     sum = sum.add(loss.backward()?)?;
//! }
//! adam.step(&mut model, &sum.scale(1.0 / 4.0)?)?; // the mean over the parts
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod average;
mod captured;
mod error;
#[cfg(feature = "cuda")]
mod gpu;
mod group;
mod lbfgs;
mod loss_scale;
mod optimize;
mod optimizer;
mod plateau;
mod rule;
mod rules;
mod schedule;
mod state;
mod step;

pub use average::{AveragedModel, update_batch_norm};
pub use captured::{CapturedStep, Loss};
pub use error::{Error, Result};
pub use group::Group;
pub use lbfgs::{Lbfgs, LbfgsReport};
pub use loss_scale::LossScale;
pub use optimize::Optimize;
pub use optimizer::Optimizer;
pub use plateau::Plateau;
pub use rule::{Rule, Step};
pub use rules::{
    Adadelta, AdadeltaRule, Adafactor, AdafactorRule, Adagrad, AdagradRule, Adam, AdamRule, AdamW, AdamWRule, Adamax, AdamaxRule, Asgd, AsgdRule, Lamb,
    LambRule, Lion, LionRule, NAdam, NAdamRule, RAdam, RAdamRule, RmsProp, RmsPropRule, Rprop, RpropRule, Sgd, SgdRule,
};
pub use schedule::{OneCycle, Schedule};
pub use state::{ParameterState, State};
pub use step::StepReport;
