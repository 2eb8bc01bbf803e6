//! [`Dataset`]: numbered samples from which batches are made, and data sets made of others.

mod map;
mod subset;
mod tensors;

pub use map::Map;
pub use subset::Subset;
pub use tensors::TensorDataset;

use crate::error::{Error, Result};
use chainrule_autograd::Rng;
use std::sync::Arc;

/// Samples numbered from 0, and how a batch is made of some of them.
///
/// ```
/// use chainrule_autograd::{Rng, Tensor};
/// use chainrule_data::{Dataset, Loader, Result};
///
/// /// Points on the parabola y = x², with noise on y.
/// struct Parabola;
///
/// impl Dataset for Parabola {
///     type Batch = (Tensor, Tensor);
///     fn len(&self) -> usize {
///         100
///     }
///     fn batch(&self, indices: &[usize], rng: &mut Rng) -> Result<(Tensor, Tensor)> {
///         let x: Vec<f32> = indices.iter().map(|&i| i as f32 / 100.0).collect();
///         let y: Vec<f32> = x.iter().map(|x| x * x + 0.01 * rng.normal() as f32).collect();
///         Ok((Tensor::from_slice(&x, &[x.len(), 1])?, Tensor::from_slice(&y, &[y.len(), 1])?))
///     }
/// }
///
/// let loader = Loader::new(Parabola, 25)?;
/// for batch in loader.epoch(&mut Rng::seeded(1)) {
///     let (x, y) = batch?;
///     assert_eq!((x.dims(), y.dims()), (&[25, 1][..], &[25, 1][..]));
/// }
/// # Ok::<(), chainrule_data::Error>(())
/// ```
pub trait Dataset: Send + Sync {
    /// What a batch is: a struct or a tuple of tensors, usually.
    type Batch: Send;

    /// The number of samples.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The samples at these indices, in this order, as one batch. `rng` is the batch's own stream, for random augmentation: the same whether the batch is made ahead or on demand.
    ///
    /// # Errors
    /// An index that is not below [`len`](Dataset::len); whatever hinders the making.
    fn batch(&self, indices: &[usize], rng: &mut Rng) -> Result<Self::Batch>;

    /// The samples at `indices`, numbered anew in this order; an index may come more than once.
    /// ```
    /// use chainrule_autograd::Tensor;
    /// use chainrule_data::{Dataset, TensorDataset};
    /// let letters = TensorDataset::new([Tensor::from_slice(b"abcd", &[4])?])?;
    /// assert_eq!(letters.subset([3, 0, 0])?.len(), 3);
    /// # Ok::<(), chainrule_data::Error>(())
    /// ```
    ///
    /// # Errors
    /// An index that is not below [`len`](Dataset::len).
    fn subset(self, indices: impl Into<Vec<usize>>) -> Result<Subset<Self>>
    where
        Self: Sized,
    {
        Subset::new(Arc::new(self), indices.into())
    }

    /// Parts of these lengths, each sample in one of them by chance. The same seed gives the same parts.
    /// ```
    /// use chainrule_autograd::Tensor;
    /// use chainrule_data::{Dataset, TensorDataset};
    /// let letters = TensorDataset::new([Tensor::from_slice(b"abcdefghij", &[10])?])?;
    /// let [train, validation] = letters.random_split([8, 2], 42)?;
    /// assert_eq!((train.len(), validation.len()), (8, 2));
    /// # Ok::<(), chainrule_data::Error>(())
    /// ```
    ///
    /// # Errors
    /// Lengths that do not sum up to [`len`](Dataset::len).
    fn random_split<const N: usize>(self, lengths: [usize; N], seed: u64) -> Result<[Subset<Self>; N]>
    where
        Self: Sized,
    {
        Subset::random_split(self, lengths, seed)
    }

    /// This data set with every batch passed through `transform`, which may use the batch's random numbers.
    /// ```
    /// use chainrule_autograd::{DType, Rng, Tensor};
    /// use chainrule_data::{Dataset, TensorDataset};
    /// let bytes = TensorDataset::new([Tensor::from_slice(&[1u8, 2, 3], &[3])?])?;
    /// let floats = bytes.map(|[x], _| Ok(x.cast(DType::F32)?));
    /// assert_eq!(floats.batch(&[2], &mut Rng::seeded(0))?.to_vec::<f32>()?, [3.0]);
    /// # Ok::<(), chainrule_data::Error>(())
    /// ```
    fn map<B, F>(self, transform: F) -> Map<Self, F>
    where
        Self: Sized,
        F: Fn(Self::Batch, &mut Rng) -> Result<B>,
    {
        Map::new(self, transform)
    }
}

impl<D: Dataset + ?Sized> Dataset for Arc<D> {
    type Batch = D::Batch;
    fn len(&self) -> usize {
        (**self).len()
    }
    fn batch(&self, indices: &[usize], rng: &mut Rng) -> Result<D::Batch> {
        (**self).batch(indices, rng)
    }
}

/// An error unless all indices are below `len`.
pub(crate) fn check_indices(op: &'static str, indices: &[usize], len: usize) -> Result<()> {
    match indices.iter().find(|&&index| index >= len) {
        Some(index) => Err(Error::value(op, format!("index {index} is outside the data set of {len} samples"))),
        None => Ok(()),
    }
}
