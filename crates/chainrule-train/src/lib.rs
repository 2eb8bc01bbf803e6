//! What a training program needs beside model, data and optimizer: metrics, a progress bar, curves.
//!
//! The training loop itself stays in the user's program, where it can be read: see the example `mnist_cnn`.
#![forbid(unsafe_code)]

mod entities;
mod error;
mod memory;
mod metric;
#[cfg(feature = "plot")]
mod plot;
#[cfg(feature = "progress")]
mod progress;

pub use entities::{Entity, EntityScore, entities};
pub use error::{Error, Result};
pub use memory::peak_memory;
pub use metric::{Mean, accuracy, correct};
#[cfg(feature = "plot")]
pub use plot::{Curve, plot_curves};
#[cfg(feature = "progress")]
pub use progress::Progress;
