//! Losses that ask scores to differ by a margin. Each comes as the mean, and with a [`Reduction`] or options.

use crate::rules::losses::{Reduction, expect_same_shape, losses};
use crate::{DType, Error, Result, Tensor};

losses! {
    /// The mean of `max(-y (a - b) + margin, 0)` for these a: y is 1 where a is to be larger, -1 where b is (PyTorch's `margin_ranking_loss`, whose margin is 0 unless given).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let (a, b) = (Tensor::from_slice(&[1f64, 0.0], &[2])?, Tensor::from_slice(&[0f64, 0.5], &[2])?);
    /// assert_eq!(a.margin_ranking(&b, &Tensor::from_slice(&[1f64, 1.0], &[2])?, 0.0)?.item()?, 0.25);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    margin_ranking / margin_ranking_with(a, other: &Tensor, target: &Tensor, margin: f64) {
        expect_same_shape("margin_ranking", a, other)?;
        other.sub(a)?.mul(target)?.add_scalar(margin)?.relu()
    }

    /// The mean of `ln(1 + exp(-y x))` for y of 1 and -1 (PyTorch's `soft_margin_loss`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let x = Tensor::from_slice(&[0f64], &[1])?;
    /// assert!((x.soft_margin(&Tensor::from_slice(&[-1f64], &[1])?)?.item()? - 2f64.ln()).abs() < 1e-12);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    soft_margin / soft_margin_with(x, target: &Tensor) {
        expect_same_shape("soft_margin", x, target)?;
        x.mul(target)?.log_sigmoid()?.neg()
    }

    /// The mean of `-(y ln σ(x) + (1 - y) ln σ(-x))` for logits and truths `[N, C]`, class by class, each weighed by `weight` `[C]`; a sample's loss is the mean over its classes (PyTorch's `multilabel_soft_margin_loss`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let (x, y) = (Tensor::from_slice(&[0f64, 0.0], &[1, 2])?, Tensor::from_slice(&[1f64, 0.0], &[1, 2])?);
    /// assert!((x.multi_label_soft_margin(&y, None)?.item()? - 2f64.ln()).abs() < 1e-12);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    multi_label_soft_margin / multi_label_soft_margin_with(x, target: &Tensor, weight: Option<&Tensor>) {
        let losses = x.bce_with_logits_with(target, weight, None, Reduction::None)?;
        losses.mean_over(&[-1], false)
    }

    /// The mean of `Σ_ij max(1 - (x_{y_j} - x_i), 0) / C` for scores `[N, C]` or `[C]`, over the labels `y_j` (i64, of the scores' shape, those before the first -1) and the classes i that are no label (PyTorch's `multilabel_margin_loss`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let (x, y) = (Tensor::from_slice(&[0.1f64, 0.2, 0.4, 0.8], &[4])?, Tensor::from_slice(&[3i64, 0, -1, 1], &[4])?);
    /// assert!((x.multi_label_margin(&y)?.item()? - 0.85).abs() < 1e-12);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    multi_label_margin / multi_label_margin_with(x, labels: &Tensor) {
        expect_same_shape("multi_label_margin", x, labels)?;
        if x.rank() == 1 {
            x.unsqueeze(0)?.multi_label_margin_with(&labels.unsqueeze(0)?, Reduction::None)?.squeeze(0)
        } else {
            label_margins(x, labels)
        }
    }
}

/// The losses `[N]` of [`Tensor::multi_label_margin`].
fn label_margins(x: &Tensor, labels: &Tensor) -> Result<Tensor> {
    const OP: &str = "multi_label_margin";
    let &[rows, classes] = x.dims() else {
        return Err(Error::shape(OP, format!("the scores have shape {:?}, expected [N, C] or [C]", x.shape())));
    };
    let labels = labels.to_vec::<i64>()?;
    let own = |n: usize| labels[n * classes..(n + 1) * classes].iter().take_while(|label| **label >= 0);
    let most = (0..rows).map(|n| own(n).count()).max().unwrap_or(0);
    // Labels padded with class 0, which of them count, and which classes are no label.
    let (mut picks, mut counts, mut others) = (vec![0i64; rows * most], vec![0.0; rows * most], vec![1.0; rows * classes]);
    for n in 0..rows {
        for (j, &label) in own(n).enumerate() {
            if label >= classes as i64 {
                return Err(Error::value(OP, format!("row {n} has the label {label}, expected below C = {classes}")));
            }
            (picks[n * most + j], counts[n * most + j], others[n * classes + label as usize]) = (label, 1.0, 0.0);
        }
    }
    let mask = |values: &[f64], dims: &[usize]| Tensor::from_slice(values, dims)?.cast(x.dtype())?.to(&x.device());
    let scores = x.gather(1, &Tensor::from_slice(&picks, &[rows, most])?.to(&x.device())?)?;
    let margins = x.unsqueeze(1)?.sub(&scores.unsqueeze(2)?)?.add_scalar(1.0)?.relu()?;
    let counted = margins.mul(&mask(&counts, &[rows, most, 1])?)?.mul(&mask(&others, &[rows, 1, classes])?)?;
    counted.sum_over(&[1, 2], false)?.mul_scalar(1.0 / classes as f64)
}

/// Options of [`Tensor::multi_margin_with`]; PyTorch's defaults.
/// ```
/// # use chainrule_autograd::MultiMargin;
/// let squared = MultiMargin { squared: true, ..MultiMargin::default() };
/// assert_eq!(squared.margin, 1.0);
/// ```
#[derive(Clone, Debug)]
pub struct MultiMargin {
    /// Whether distances are squared (PyTorch's `p=2`).
    pub squared: bool,
    /// How far the label's score is to stand out.
    pub margin: f64,
    /// The weight of each class, `[C]`.
    pub weight: Option<Tensor>,
    /// The mean is over samples, whatever their weights.
    pub reduction: Reduction,
}

impl Default for MultiMargin {
    fn default() -> MultiMargin {
        MultiMargin { squared: false, margin: 1.0, weight: None, reduction: Reduction::Mean }
    }
}

impl Tensor {
    /// The mean of `Σ_{i ≠ y} max(1 - x_y + x_i, 0) / C` for scores `[N, C]` and labels y (i64 `[N]`), or `[C]` and `[]` (PyTorch's `multi_margin_loss`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let (x, y) = (Tensor::from_slice(&[0.1f64, 0.2, 0.4, 0.8], &[1, 4])?, Tensor::from_slice(&[3i64], &[1])?);
    /// assert!((x.multi_margin(&y)?.item()? - 0.325).abs() < 1e-12);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Shapes that do not fit; a label outside `0..C`; labels that are not i64.
    pub fn multi_margin(&self, labels: &Tensor) -> Result<Tensor> {
        self.multi_margin_with(labels, &MultiMargin::default())
    }

    /// [`multi_margin`](Tensor::multi_margin) with options.
    /// ```
    /// # use chainrule_autograd::{MultiMargin, Tensor};
    /// let scores = Tensor::from_slice(&[0.5f64, 0.0], &[1, 2])?;
    /// let options = MultiMargin { squared: true, ..MultiMargin::default() };
    /// let loss = scores.multi_margin_with(&Tensor::from_slice(&[0i64], &[1])?, &options)?; // (1 - 0.5 + 0)² / 2
    /// assert!((loss.item()? - 0.125).abs() < 1e-12);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`multi_margin`](Tensor::multi_margin); class weights that are not `[C]`.
    pub fn multi_margin_with(&self, labels: &Tensor, options: &MultiMargin) -> Result<Tensor> {
        const OP: &str = "multi_margin";
        if self.rank() == 1 && labels.rank() == 0 {
            let losses = self.unsqueeze(0)?.multi_margin_with(&labels.unsqueeze(0)?, options)?;
            return if options.reduction == Reduction::None { losses.squeeze(0) } else { Ok(losses) };
        }
        let &[rows, classes] = self.dims() else {
            return Err(Error::shape(OP, format!("the scores have shape {:?}, expected [N, C] or [C]", self.shape())));
        };
        if labels.dtype() != DType::I64 || labels.dims() != [rows] {
            return Err(Error::shape(OP, format!("the labels are {} {:?}, expected i64 [{rows}]", labels.dtype(), labels.shape())));
        }
        if let Some(label) = labels.to_vec::<i64>()?.into_iter().find(|label| !(0..classes as i64).contains(label)) {
            return Err(Error::value(OP, format!("a label is {label}, expected 0 to C - 1 of C = {classes} classes")));
        }
        let own = self.gather(1, &labels.unsqueeze(1)?)?;
        let distances = self.sub(&own)?.add_scalar(options.margin)?.relu()?;
        let mut distances = if options.squared { distances.square()? } else { distances };
        if let Some(weight) = &options.weight {
            distances = distances.mul(&weight.index_select(0, labels)?.unsqueeze(1)?)?;
        }
        let label = labels.one_hot(classes, DType::U8)?;
        let losses = distances.masked_fill(&label, 0.0)?.sum_over(&[1], false)?.mul_scalar(1.0 / classes as f64)?;
        options.reduction.apply(&losses)
    }
}
