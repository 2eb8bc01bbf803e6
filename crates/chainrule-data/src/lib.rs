//! Data sets and the batch loader of chainrule.
//!
//! A [`Dataset`] makes a batch from indices, a [`Loader`] says which indices make up an epoch and in what order, and can make batches ahead on a thread of its own.
//! ```
//! use chainrule_autograd::Rng;
//! use chainrule_data::{Loader, Mnist};
//! # let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/data/mnist");
//! let digits = Mnist::load(folder)?;
//! let train = Loader::new(digits.train, 64)?;
//! let mut rng = Rng::seeded(0);
//! for batch in train.epoch(&mut rng).take(2) {
//!     let batch = batch?;
//!     assert_eq!((batch.images.dims(), batch.labels.dims()), (&[64, 1, 28, 28][..], &[64][..]));
//! }
//! # Ok::<(), chainrule_data::Error>(())
//! ```
#![forbid(unsafe_code)]

pub mod dataset;
pub mod error;
pub mod idx;
pub mod loader;
pub mod mnist;

pub use dataset::{Dataset, Map, Subset, TensorDataset};
pub use error::{Error, Result};
pub use idx::{read_idx, read_idx_from};
pub use loader::{Epoch, Loader};
pub use mnist::{ImageBatch, Mnist, MnistSplit};
