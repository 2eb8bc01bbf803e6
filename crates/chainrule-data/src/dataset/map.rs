//! A data set whose batches pass through a function.

use super::Dataset;
use crate::error::Result;
use chainrule_autograd::Rng;

/// A data set with a transform on its batches: made by [`Dataset::map`].
#[derive(Clone, Debug)]
pub struct Map<D, F> {
    data: D,
    transform: F,
}

impl<D, F> Map<D, F> {
    pub(super) fn new(data: D, transform: F) -> Map<D, F> {
        Map { data, transform }
    }
}

impl<D, B, F> Dataset for Map<D, F>
where
    D: Dataset,
    B: Send,
    F: Fn(D::Batch, &mut Rng) -> Result<B> + Send + Sync,
{
    type Batch = B;

    fn len(&self) -> usize {
        self.data.len()
    }

    fn batch(&self, indices: &[usize], rng: &mut Rng) -> Result<B> {
        (self.transform)(self.data.batch(indices, rng)?, rng)
    }
}
