//! Train and fine-tune neural networks inside a Rust program.
//!
//! `cargo add chainrule`: no C toolchain, no Python. A [`Tensor`] has run-time shape and type; a [`Tape`] records what is computed from the tensors put on it, and gives back [`Gradients`]; a model is a plain struct that implements [`nn::Module`]; an optimizer changes it, all or nothing.
//!
//! ```
//! use chainrule::nn::{Layer, Linear, Module};
//! use chainrule::{DType, Rng, Tape, Tensor, optim::Adam};
//!
//! #[derive(Module, Clone)]
//! struct Net { hidden: Linear, out: Linear }
//!
//! impl Layer for Net {
//!     fn forward(&self, x: &Tensor) -> Result<Tensor, chainrule::TensorError> {
//!         self.out.forward(&self.hidden.forward(x)?.tanh()?)
//!     }
//! }
//!
//! # fn main() -> chainrule::Result<()> {
//! let mut rng = Rng::seeded(42);
//! let mut net = Net { hidden: Linear::new(2, 16, &mut rng)?, out: Linear::new(16, 2, &mut rng)? };
//! let mut adam = Adam::new(0.02);
//!
//! // Is the product of two numbers positive?
//! let points = Tensor::uniform(&[256, 2], -1.0, 1.0, DType::F32, &mut rng)?;
//! let product = points.select(1, 0)?.mul(&points.select(1, 1)?)?;
//! let labels = product.greater(&Tensor::scalar(0.0, DType::F32)?)?.cast(DType::I64)?;
//!
//! let mut loss = f64::INFINITY;
//! for _ in 0..200 {
//!     let tape = Tape::training(&mut rng);
//!     let output = net.forward(&tape.input(&points))?.cross_entropy(&labels)?;
//!     loss = output.item()?;
//!     adam.step(&mut net, &output.backward()?)?;
//! }
//! assert!(loss < 0.2);
//!
//! // Off the tape the same forward infers.
//! let answer = net.forward(&Tensor::from_slice(&[0.5f32, 0.5], &[1, 2])?)?.argmax(-1, false)?;
//! assert_eq!(answer.to_vec::<i64>()?, [1]);
//! # Ok(())
//! # }
//! ```
//!
//! | module | holds |
//! |---|---|
//! | (here) | tensors, the tape, gradients, random numbers |
//! | [`nn`] | parameters, modules, layers, initialisers, model files |
//! | [`optim`] | optimizers, parameter groups, schedules, clipping |
//! | [`data`] | data sets and the loader (feature `data`, on by default) |
//! | [`train`] | metrics, progress, curves (feature `train`, on by default) |
//! | [`finetune`] | changing a trained model (feature `finetune`, on by default) |
//! | [`models`] | BERT, MobileNetV2, reading published weights (feature `models`, on by default; tokenizers with the feature `tokenizers`) |
//! | [`core`] | arrays and kernels, memory statistics, SIMD levels |
#![forbid(unsafe_code)]

extern crate self as chainrule;

pub use chainrule_autograd::{
    Array, CrossEntropy, DType, Device, Element, Error as TensorError, GradCheck, Gradients, INFER, Keep, ParamId, Pass, Reduction, Rng, ScatterReduce, Shape,
    Tape, Tensor, Unique, Update, gradcheck, gradcheck_second,
};
pub use chainrule_core::parallel::{set_threads, threads};

/// Options of operations on tensors; the layers of the same names stand in [`nn`].
pub mod options {
    pub use chainrule_autograd::{
        Activation, Attention, BagMode, Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d, Convolution, Ctc, EmbeddingBag, Filter,
        Interpolation, MultiMargin, PadMode, Patches, Pool, Pool1d, Pool2d, Pool3d, Recurrence, RecurrentWeights, Rotary, Scaling, TransposedConvolution,
        Triplet,
    };
}

/// Arrays and the kernels that compute with them; memory statistics and limits; SIMD levels.
pub use chainrule_core as core;
#[cfg(feature = "data")]
pub use chainrule_data as data;
#[cfg(feature = "finetune")]
pub use chainrule_finetune as finetune;
#[cfg(feature = "models")]
pub use chainrule_models as models;
pub use chainrule_nn as nn;
pub use chainrule_optim as optim;
#[cfg(feature = "train")]
pub use chainrule_train as train;

mod error;

pub use error::{Error, Result};

/// README's program, compiled and run as a test.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

/// The programs of the guide to fine-tuning, likewise.
#[cfg(all(doctest, feature = "models", feature = "finetune"))]
#[doc = include_str!("../../../docs/fine-tuning.md")]
struct FineTuning;

/// The program of the page on GPUs, likewise.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/cuda.md")]
struct Cuda;
