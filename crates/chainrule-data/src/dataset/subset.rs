//! Some of the samples of another data set.

use super::{Dataset, check_indices};
use crate::error::{Error, Result};
use chainrule_autograd::Rng;
use std::sync::Arc;

/// Some samples of a data set, numbered anew: made by [`Dataset::subset`] and [`Dataset::random_split`]. Clones share the data set.
#[derive(Debug)]
pub struct Subset<D> {
    data: Arc<D>,
    indices: Arc<[usize]>,
}

impl<D: Dataset> Subset<D> {
    pub(super) fn new(data: Arc<D>, indices: Vec<usize>) -> Result<Subset<D>> {
        check_indices("subset", &indices, data.len())?;
        Ok(Subset { data, indices: indices.into() })
    }

    pub(super) fn random_split<const N: usize>(data: D, lengths: [usize; N], seed: u64) -> Result<[Subset<D>; N]> {
        if lengths.iter().try_fold(0usize, |sum, &n| sum.checked_add(n)) != Some(data.len()) {
            return Err(Error::value("random_split", format!("lengths {lengths:?} do not sum up to the {} samples of the data set", data.len())));
        }
        let data = Arc::new(data);
        let order = Rng::seeded(seed).permutation(data.len());
        let mut rest = order.as_slice();
        Ok(lengths.map(|length| {
            let (part, others) = rest.split_at(length);
            rest = others;
            Subset { data: data.clone(), indices: part.into() }
        }))
    }

    /// Where the samples stand in the data set they come from.
    pub fn indices(&self) -> &[usize] {
        &self.indices
    }
}

impl<D> Clone for Subset<D> {
    fn clone(&self) -> Subset<D> {
        Subset { data: self.data.clone(), indices: self.indices.clone() }
    }
}

impl<D: Dataset> Dataset for Subset<D> {
    type Batch = D::Batch;

    fn len(&self) -> usize {
        self.indices.len()
    }

    fn batch(&self, indices: &[usize], rng: &mut Rng) -> Result<D::Batch> {
        check_indices("subset", indices, self.len())?;
        let inner: Vec<usize> = indices.iter().map(|&index| self.indices[index]).collect();
        self.data.batch(&inner, rng)
    }
}
