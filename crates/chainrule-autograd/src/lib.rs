//! Reverse-mode differentiation for chainrule: [`Tensor`], [`Tape`], [`Gradients`], the operations and their rules.
//!
//! A tensor is on a tape or off it. On a tape operations are recorded, and [`Tensor::backward`] returns [`Gradients`]; off it the same code infers. There is no global state.
//! ```
//! use chainrule_autograd::{Result, Rng, Tape, Tensor};
//! let mut rng = Rng::seeded(0);
//! let tape = Tape::training(&mut rng);
//! let x = tape.watch(Tensor::from_slice(&[1f64, 2.0, 3.0], &[3])?);
//! let loss = x.square()?.sum()?;
//! let gradients = loss.backward()?;
//! assert_eq!(gradients.wrt(&x).unwrap().to_vec::<f64>()?, [2.0, 4.0, 6.0]);
//! # Ok::<(), chainrule_autograd::Error>(())
//! ```
#![forbid(unsafe_code)]

mod backward;
mod checkpoint;
mod create;
mod error;
mod gradcheck;
mod gradients;
mod operators;
mod pass;
mod record;
mod recorder;
mod recording;
mod rules;
mod scan;
mod tape;
mod tensor;

pub use chainrule_core::ops::convolution::{Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d, Convolution, TransposedConvolution};
pub use chainrule_core::ops::matmul::Activation;
pub use chainrule_core::ops::pool::{Pool, Pool1d, Pool2d, Pool3d};
pub use chainrule_core::ops::quantise::{Code, Nested, Quantisation, Quantised};
pub use chainrule_core::ops::resample::{Filter, Interpolation, Scaling};
pub use chainrule_core::ops::unfold::Patches;
pub use chainrule_core::random::Stream;
pub use chainrule_core::{Array, DType, Device, Element, Rng, Shape};
pub use error::{Error, Result};
pub use gradcheck::{GradCheck, gradcheck, gradcheck_second};
pub use gradients::{Gradients, Update};
pub use pass::{Keep, Pass};
pub use recording::ParamId;
pub use rules::{
    Attention, BagMode, CrossEntropy, Ctc, EmbeddingBag, INFER, MultiMargin, PadMode, Recurrence, RecurrentWeights, Reduction, Rotary, ScatterReduce, Triplet,
    Unique,
};
pub use tape::Tape;
pub use tensor::Tensor;
