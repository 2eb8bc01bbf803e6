//! The tensor core of chainrule: [`Array`]s and the kernels that compute with them.
//!
//! Functions in [`ops`] take arrays and return arrays, forward and backward in pairs; they know nothing of tapes.
//! All `unsafe` code of the library stands in this crate.

#![allow(clippy::unnecessary_cast)] // bodies are compiled for f32 and f64 alike

pub mod array;
pub(crate) mod convolution;
#[cfg(feature = "cuda")]
pub mod cuda;
pub mod device;
pub mod dtype;
pub mod error;
pub(crate) mod float;
pub(crate) mod gemm;
pub(crate) mod layout;
pub mod memory;
pub mod ops;
pub mod parallel;
pub mod random;

pub mod shape;
pub mod simd;

pub use array::Array;
pub use device::Device;
pub use dtype::{DType, Element};
pub use error::{Error, Result};
pub use random::Rng;

pub use shape::Shape;

pub use half::{bf16, f16};
