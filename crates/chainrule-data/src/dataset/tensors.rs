//! A data set held in memory as tensors.

use super::{Dataset, check_indices};
use crate::error::{Error, Result};
use chainrule_autograd::{Rng, Tensor};

/// `N` tensors whose first dimension counts samples, `[len, ..]` each; a batch is `[B, ..]` of each (PyTorch's `TensorDataset`).
/// ```
/// use chainrule_autograd::{Rng, Tensor};
/// use chainrule_data::{Dataset, TensorDataset};
/// let inputs = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0, 5.0, 6.0], &[3, 2])?;
/// let labels = Tensor::from_slice(&[7i64, 8, 9], &[3])?;
/// let data = TensorDataset::new([inputs, labels])?;
/// let [x, y] = data.batch(&[2, 0], &mut Rng::seeded(0))?;
/// assert_eq!((x.to_vec::<f32>()?, y.to_vec::<i64>()?), (vec![5.0, 6.0, 1.0, 2.0], vec![9, 7]));
/// # Ok::<(), chainrule_data::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct TensorDataset<const N: usize> {
    tensors: [Tensor; N],
    len: usize,
}

impl<const N: usize> TensorDataset<N> {
    /// A data set of these tensors' numbers; what was recorded for them on a tape is not kept.
    ///
    /// # Errors
    /// No tensor; a tensor without dimensions; first dimensions that differ.
    pub fn new(tensors: [Tensor; N]) -> Result<TensorDataset<N>> {
        let tensors = tensors.map(|tensor| Tensor::from(tensor.into_array()));
        const OP: &str = "tensor data set";
        let Some(len) = tensors.first().and_then(|t| t.dims().first().copied()) else {
            return Err(Error::value(OP, "got no tensor, or one without dimensions; expected [samples, ..]"));
        };
        for (i, tensor) in tensors.iter().enumerate() {
            if tensor.dims().first() != Some(&len) {
                return Err(Error::value(OP, format!("tensor {i} has shape {:?}, expected [{len}, ..] as tensor 0 has", tensor.shape())));
            }
        }
        Ok(TensorDataset { tensors, len })
    }

    /// The tensors, whole.
    pub fn tensors(&self) -> &[Tensor; N] {
        &self.tensors
    }
}

impl<const N: usize> Dataset for TensorDataset<N> {
    type Batch = [Tensor; N];

    fn len(&self) -> usize {
        self.len
    }

    fn batch(&self, indices: &[usize], _: &mut Rng) -> Result<[Tensor; N]> {
        check_indices("tensor data set", indices, self.len)?;
        let numbers: Vec<i64> = indices.iter().map(|&index| index as i64).collect();
        let numbers = Tensor::from_slice(&numbers, &[indices.len()])?;
        let mut batch = self.tensors.clone();
        for tensor in &mut batch {
            *tensor = tensor.index_select(0, &numbers)?;
        }
        Ok(batch)
    }
}
