//! Connectionist temporal classification: frames against labels without an alignment.

use crate::rules::losses::Reduction;
use crate::{Keep, Result, Tensor};
use chainrule_core::ops::ctc::{self, Sequences};

/// Options of [`Tensor::ctc_with`]; PyTorch's defaults.
/// ```
/// # use chainrule_autograd::Ctc;
/// let options = Ctc { blank: 4, zero_infinity: true, ..Ctc::default() };
/// assert_eq!(Ctc::default().blank, 0);
/// # assert!(options.zero_infinity);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Ctc {
    /// The class that stands for no label.
    pub blank: usize,
    /// The mean is over the batch, each loss being divided by its number of labels (at least 1) first.
    pub reduction: Reduction,
    /// Infinite losses, of sequences with too few frames for their labels, count as 0 and give no gradient.
    pub zero_infinity: bool,
}

impl Tensor {
    /// The mean negative log-probability that the frames spell the labels, over all alignments (PyTorch's `ctc_loss`; Graves et al. 2006).
    ///
    /// These are log-probabilities `[T, N, C]`, in PyTorch's order; labels are i64 `[N, S]`, or all sequences joined, `[sum of lengths]`. Sequence n has `frames[n]` steps and `lengths[n]` labels. Or `[T, C]`, `[S]` and a length each.
    /// The gradient is the derivative by the log-probabilities as they are; PyTorch takes for granted that they come from a log-softmax, behind which both give the same.
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// // Two frames, a blank and one label, all as probable: "a", "aa", "a-" and "-a" of four paths, less "--".
    /// let log = Tensor::zeros(&[2, 1, 2], chainrule_autograd::DType::F64)?.log_softmax(-1)?;
    /// let loss = log.ctc(&Tensor::from_slice(&[1i64], &[1, 1])?, &[2], &[1])?;
    /// assert!((loss.item()? + 0.75f64.ln()).abs() < 1e-12);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Shapes and lengths that do not fit; a label that is the blank or no class; an element type other than f32 and f64. A second derivative.
    pub fn ctc(&self, labels: &Tensor, frames: &[usize], lengths: &[usize]) -> Result<Tensor> {
        self.ctc_with(labels, frames, lengths, &Ctc::default())
    }

    /// [`ctc`](Tensor::ctc) with options.
    /// ```
    /// # use chainrule_autograd::{Ctc, DType, Tensor};
    /// // One frame cannot spell two labels: infinite, or by option 0.
    /// let (x, labels) = (Tensor::zeros(&[1, 1, 3], DType::F64)?.log_softmax(-1)?, Tensor::from_slice(&[1i64, 2], &[1, 2])?);
    /// assert!(x.ctc(&labels, &[1], &[2])?.item()?.is_infinite());
    /// assert_eq!(x.ctc_with(&labels, &[1], &[2], &Ctc { zero_infinity: true, ..Ctc::default() })?.item()?, 0.0);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`ctc`](Tensor::ctc); a blank that is no class.
    pub fn ctc_with(&self, labels: &Tensor, frames: &[usize], lengths: &[usize], options: &Ctc) -> Result<Tensor> {
        if self.rank() == 2 && labels.rank() == 1 {
            let losses = self.unsqueeze(1)?.ctc_with(&labels.unsqueeze(0)?, frames, lengths, options)?;
            return if options.reduction == Reduction::None { losses.squeeze(0) } else { Ok(losses) };
        }
        let sequences = Sequences { labels: labels.array.clone(), lengths: lengths.to_vec(), frames: frames.to_vec(), blank: options.blank };
        let out = ctc::ctc(&self.array, &sequences)?;
        let mut losses = Tensor::from(&out.losses);
        if options.zero_infinity {
            let infinite = losses.equal(&Tensor::scalar(f64::INFINITY, self.dtype())?)?;
            losses = losses.masked_fill(&infinite, 0.0)?;
        }
        let zero_infinity = options.zero_infinity;
        let losses = Tensor::record_fused("ctc", [self], Keep::FIRST, losses.into_array(), move |grad, pass| {
            Ok([Some(ctc::ctc_backward(pass.input_array(0)?, &sequences, &out, grad, zero_infinity)?)])
        })?;
        if options.reduction != Reduction::Mean {
            return options.reduction.apply(&losses);
        }
        let shares: Vec<f64> = lengths.iter().map(|&length| 1.0 / length.max(1) as f64).collect();
        losses.mul(&Tensor::from_slice(&shares, &[shares.len()])?.cast(self.dtype())?)?.mean()
    }
}
