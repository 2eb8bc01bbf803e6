//! [`Loader`]: which samples make up the batches of an epoch, in what order, made when.

mod epoch;

pub use epoch::Epoch;

use crate::dataset::Dataset;
use crate::error::{Error, Result};
use chainrule_autograd::Rng;
use std::sync::Arc;

/// Batches of a data set, an epoch at a time (PyTorch's `DataLoader`). Clones share the data set.
///
/// An epoch is shuffled unless told otherwise, comes whole unless told otherwise, and is made on the caller's thread unless told otherwise.
/// ```
/// use chainrule_autograd::{Rng, Tensor};
/// use chainrule_data::{Loader, TensorDataset};
/// let numbers = TensorDataset::new([Tensor::from_slice(&[0i64, 1, 2, 3, 4, 5, 6], &[7])?])?;
/// let loader = Loader::new(numbers, 3)?.prefetch(2);
///
/// let mut rng = Rng::seeded(0);
/// let mut seen = vec![];
/// for batch in loader.epoch(&mut rng) {
///     let [numbers] = batch?;
///     seen.extend(numbers.to_vec::<i64>()?);
/// }
/// seen.sort();
/// assert_eq!(seen, [0, 1, 2, 3, 4, 5, 6]);
/// # Ok::<(), chainrule_data::Error>(())
/// ```
pub struct Loader<D> {
    data: Arc<D>,
    batch_size: usize,
    shuffle: bool,
    drop_last: bool,
    prefetch: usize,
}

impl<D: Dataset + 'static> Loader<D> {
    /// Batches of `batch_size` samples; the last of an epoch may be smaller.
    ///
    /// # Errors
    /// A batch size of 0.
    pub fn new(data: D, batch_size: usize) -> Result<Loader<D>> {
        if batch_size == 0 {
            return Err(Error::value("loader", "the batch size is 0, expected at least 1"));
        }
        Ok(Loader { data: Arc::new(data), batch_size, shuffle: true, drop_last: false, prefetch: 0 })
    }

    /// Whether an epoch comes in random order (yes, unless set).
    pub fn shuffle(mut self, shuffle: bool) -> Loader<D> {
        self.shuffle = shuffle;
        self
    }

    /// Whether an epoch leaves out a last batch that is smaller than the others (no, unless set). With fewer samples than a batch the epoch is empty.
    pub fn drop_last(mut self, drop_last: bool) -> Loader<D> {
        self.drop_last = drop_last;
        self
    }

    /// How many batches a thread of the epoch's own makes ahead, at most; 0, which is where it starts, makes each batch on the caller's thread when it is asked for.
    /// It changes speed, never batches. It pays where making a batch takes long (decoding images, reading files) and a core is idle meanwhile; gathering rows from memory costs less than handing them over.
    pub fn prefetch(mut self, batches: usize) -> Loader<D> {
        self.prefetch = batches;
        self
    }

    /// The number of batches in an epoch.
    pub fn len(&self) -> usize {
        if self.drop_last { self.data.len() / self.batch_size } else { self.data.len().div_ceil(self.batch_size) }
    }

    /// Whether an epoch has no batch.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The data set.
    pub fn data(&self) -> &D {
        &self.data
    }

    /// The batches of an epoch: every sample once. Takes exactly one [split](Rng::split) from `rng`, now; the order and each batch's random numbers come from it.
    pub fn epoch(&self, rng: &mut Rng) -> Epoch<D> {
        let mut own = rng.split();
        let order = if self.shuffle { own.permutation(self.data.len()) } else { (0..self.data.len()).collect() };
        Epoch::new(self.data.clone(), order, self.batch_size, self.len(), own, self.prefetch)
    }

    /// All samples in their own order, the smaller last batch included, whatever the settings: for evaluation, which then takes nothing from the training's random numbers. A transform's random numbers are the same every time.
    pub fn in_order(&self) -> Epoch<D> {
        let order: Vec<usize> = (0..self.data.len()).collect();
        let batches = order.len().div_ceil(self.batch_size);
        Epoch::new(self.data.clone(), order, self.batch_size, batches, Rng::seeded(0), self.prefetch)
    }
}

impl<D> Clone for Loader<D> {
    fn clone(&self) -> Loader<D> {
        Loader { data: self.data.clone(), ..*self }
    }
}

impl<D> std::fmt::Debug for Loader<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loader")
            .field("batch_size", &self.batch_size)
            .field("shuffle", &self.shuffle)
            .field("drop_last", &self.drop_last)
            .field("prefetch", &self.prefetch)
            .finish_non_exhaustive()
    }
}
