//! Metrics of a classifier, and means over batches.

use crate::error::Result;
use chainrule_autograd::Tensor;

/// How many rows of `logits [N, C]` are largest at their label `[N]`.
///
/// # Errors
/// Shapes that do not fit; labels that are not i64.
pub fn correct(logits: &Tensor, labels: &Tensor) -> Result<usize> {
    let found = logits.detach().argmax(-1, false)?;
    if found.dims() != labels.dims() {
        let message = format!("logits {:?} give {:?} classes, labels have shape {:?}", logits.dims(), found.dims(), labels.dims());
        return Err(chainrule_autograd::Error::shape("correct", message).into());
    }
    let (found, labels) = (found.to_vec::<i64>()?, labels.to_vec::<i64>()?);
    Ok(found.iter().zip(&labels).filter(|(f, l)| f == l).count())
}

/// The share of rows of `logits [N, C]` that are largest at their label `[N]`.
/// ```
/// use chainrule_autograd::Tensor;
/// let logits = Tensor::from_slice(&[2f32, 1.0, 0.0, 3.0], &[2, 2])?;
/// let labels = Tensor::from_slice(&[0i64, 0], &[2])?;
/// assert_eq!(chainrule_train::accuracy(&logits, &labels)?, 0.5);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// As for [`correct`].
pub fn accuracy(logits: &Tensor, labels: &Tensor) -> Result<f64> {
    Ok(correct(logits, labels)? as f64 / labels.count().max(1) as f64)
}

/// A mean whose terms come with weights, batch by batch.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mean {
    sum: f64,
    weight: f64,
}

impl Mean {
    /// Adds a batch's mean, weighted by the batch's size.
    pub fn add(&mut self, value: f64, size: usize) {
        self.sum += value * size as f64;
        self.weight += size as f64;
    }
    /// The mean so far; NaN before the first batch.
    pub fn value(&self) -> f64 {
        self.sum / self.weight
    }
}
