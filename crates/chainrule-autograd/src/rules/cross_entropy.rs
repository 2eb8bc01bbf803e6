//! Cross-entropy of logits against labels, fused with log-softmax: the probabilities are never stored. And the negative log-likelihood of log-probabilities.

use crate::rules::losses::Reduction;
use crate::{Array, DType, Error, Keep, Pass, Result, Tensor};
use chainrule_core::ops::loss;

/// Options of [`Tensor::cross_entropy_with`] and [`Tensor::nll_with`]; PyTorch's defaults.
/// ```
/// # use chainrule_autograd::{CrossEntropy, Reduction};
/// let options = CrossEntropy { label_smoothing: 0.1, reduction: Reduction::Sum, ..CrossEntropy::default() };
/// assert_eq!(options.ignore_index, Some(-100));
/// ```
#[derive(Clone, Debug)]
pub struct CrossEntropy {
    /// The weight of each class, `[C]`.
    pub weight: Option<Tensor>,
    /// The label of elements that count for nothing.
    pub ignore_index: Option<i64>,
    /// The part of each label that is spread over all classes.
    pub label_smoothing: f64,
    /// The mean is over the weights of the labels.
    pub reduction: Reduction,
}

impl Default for CrossEntropy {
    fn default() -> CrossEntropy {
        CrossEntropy { weight: None, ignore_index: Some(-100), label_smoothing: 0.0, reduction: Reduction::Mean }
    }
}

impl Tensor {
    /// The mean of `ln sum_c exp(x_c) - x_label`: logits `[N, C]` and labels i64 `[N]`; or `[C]` and `[]`, or `[N, C, d1, ..]` and `[N, d1, ..]`. Labels may also be probabilities, of the logits' shape (PyTorch's `cross_entropy`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let (logits, labels) = (Tensor::from_slice(&[0f32, 0.0], &[1, 2])?, Tensor::from_slice(&[1i64], &[1])?);
    /// assert!((logits.cross_entropy(&labels)?.item()? - 2f64.ln()).abs() < 1e-6);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Shapes that do not fit; a label outside `0..C`; labels that are neither i64 nor of the logits' type.
    pub fn cross_entropy(&self, labels: &Tensor) -> Result<Tensor> {
        self.cross_entropy_with(labels, &CrossEntropy::default())
    }

    /// [`cross_entropy`](Tensor::cross_entropy) with options.
    /// ```
    /// # use chainrule_autograd::{CrossEntropy, Reduction, Tensor};
    /// let (x, labels) = (Tensor::from_slice(&[0f64, 0.0], &[1, 2])?, Tensor::from_slice(&[1i64], &[1])?);
    /// let smooth = CrossEntropy { label_smoothing: 0.1, reduction: Reduction::Sum, ..CrossEntropy::default() };
    /// assert!((x.cross_entropy_with(&labels, &smooth)?.item()? - 2f64.ln()).abs() < 1e-12);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`cross_entropy`](Tensor::cross_entropy); class weights that are not `[C]`; a smoothing outside `0 ..= 1`.
    pub fn cross_entropy_with(&self, labels: &Tensor, options: &CrossEntropy) -> Result<Tensor> {
        if labels.dtype().is_float() {
            return self.soft_cross_entropy(labels, options);
        }
        let (logits, flat) = rows("cross_entropy", self, labels)?;
        let weight = options.weight.as_ref();
        let out = loss::cross_entropy(&logits.array, &flat.array, weight.map(|w| &w.array), options.ignore_index, options.label_smoothing)?;
        let (losses, weights) = (out.losses, out.weights);
        let rule = Fused { log_normaliser: out.log_normaliser, ignore: options.ignore_index, smoothing: options.label_smoothing };
        let inputs: Vec<&Tensor> = [&logits, &flat].into_iter().chain(weight).collect();
        let losses = Tensor::record_many("cross_entropy", &inputs, Keep::INPUTS, losses, move |pass, out| {
            let weight = if out.len() > 2 { Some(pass.input_array(2)?) } else { None };
            out[0] = Some(rule.gradient(pass, weight)?);
            Ok(())
        })?;
        let losses = losses.reshape(labels.dims())?;
        // All weights are one.
        if weights.device().is_cuda() && weight.is_none() && options.ignore_index.is_none() {
            return options.reduction.apply(&losses);
        }
        options.reduction.weighted(&losses, &weights)
    }

    fn soft_cross_entropy(&self, labels: &Tensor, options: &CrossEntropy) -> Result<Tensor> {
        const OP: &str = "cross_entropy";
        if labels.dims() != self.dims() {
            let (got, expected) = (labels.shape(), self.shape());
            return Err(Error::shape(OP, format!("the probabilities have shape {got:?}, expected that of the logits, {expected:?}")));
        }
        let axis = if self.rank() == 1 { 0 } else { 1 };
        let classes = self.dims()[self.shape().axis(OP, axis)?];
        let smoothing = options.label_smoothing;
        if !(0.0..=1.0).contains(&smoothing) {
            return Err(Error::value(OP, format!("label smoothing is {smoothing}, expected 0 to 1")));
        }
        let labels = if smoothing > 0.0 { labels.affine(1.0 - smoothing, smoothing / classes as f64)? } else { labels.clone() };
        let mut log = self.log_softmax(axis)?;
        if let Some(weight) = &options.weight {
            let mut dims = vec![1; self.rank()];
            dims[axis as usize] = classes;
            log = log.mul(&weight.reshape(&dims)?)?;
        }
        let losses = log.mul(&labels)?.sum_over(&[axis], false)?.neg()?;
        options.reduction.apply(&losses)
    }

    /// The mean of `-x_label`, where these are log-probabilities `[N, C]` (or `[C]`, or `[N, C, d1, ..]`) and labels are i64 (PyTorch's `nll_loss`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let (x, labels) = (Tensor::from_slice(&[0f64, 0.0], &[1, 2])?, Tensor::from_slice(&[1i64], &[1])?);
    /// assert!((x.log_softmax(1)?.nll(&labels)?.item()? - 2f64.ln()).abs() < 1e-12);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`cross_entropy`](Tensor::cross_entropy).
    pub fn nll(&self, labels: &Tensor) -> Result<Tensor> {
        self.nll_with(labels, &CrossEntropy::default())
    }

    /// [`nll`](Tensor::nll) with options, of which smoothing is none.
    /// ```
    /// # use chainrule_autograd::{CrossEntropy, Reduction, Tensor};
    /// let x = Tensor::from_slice(&[-1f64, -2.0], &[2, 1])?;
    /// let sum = CrossEntropy { reduction: Reduction::Sum, ..CrossEntropy::default() };
    /// assert_eq!(x.nll_with(&Tensor::from_slice(&[0i64, 0], &[2])?, &sum)?.item()?, 3.0);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`nll`](Tensor::nll).
    pub fn nll_with(&self, labels: &Tensor, options: &CrossEntropy) -> Result<Tensor> {
        const OP: &str = "nll";
        if options.label_smoothing != 0.0 {
            return Err(Error::value(OP, "label smoothing needs logits; use cross_entropy"));
        }
        let (log, flat) = rows(OP, self, labels)?;
        let ignored = flat.equal(&Tensor::scalar(options.ignore_index.unwrap_or(i64::MIN) as f64, DType::I64)?)?;
        let known = flat.masked_fill(&ignored, 0.0)?;
        let weights = match &options.weight {
            Some(weight) => weight.index_select(0, &known)?,
            None => self.array.new_full(known.dims(), 1.0)?.into(),
        };
        let weights = weights.masked_fill(&ignored, 0.0)?;
        let losses = log.gather(1, &known.unsqueeze(1)?)?.squeeze(1)?.masked_fill(&ignored, 0.0)?.mul(&weights)?.neg()?;
        options.reduction.weighted(&losses.reshape(labels.dims())?, &weights.array)
    }
}

/// Scores as `[rows, C]`, labels as `[rows]`.
fn rows(op: &'static str, scores: &Tensor, labels: &Tensor) -> Result<(Tensor, Tensor)> {
    let dims = scores.dims();
    let expected = match dims.len() {
        0 => return Err(Error::shape(op, "the scores are a scalar, expected [N, C]")),
        1 => vec![],
        _ => [&dims[..1], &dims[2..]].concat(),
    };
    if labels.dims() != expected {
        return Err(Error::shape(op, format!("the labels have shape {:?}, scores {:?} expect {expected:?}", labels.shape(), scores.shape())));
    }
    let scores = match dims.len() {
        1 => scores.unsqueeze(0)?,
        2 => scores.clone(),
        rank => {
            let axes: Vec<isize> = std::iter::once(0).chain(2..rank as isize).chain([1]).collect();
            scores.permute(&axes)?.flatten(0, -2)?
        }
    };
    Ok((scores, labels.reshape(&[expected.iter().product()])?))
}

/// What the rule knows beside logits, labels and weight, which are inputs.
struct Fused {
    log_normaliser: Array,
    ignore: Option<i64>,
    smoothing: f64,
}

impl Fused {
    /// `g_i d loss_i / d x_ic`
    fn gradient(&self, pass: &Pass, weight: Option<&Array>) -> Result<Tensor> {
        let (logits, labels, grad) = (pass.input_array(0)?, pass.input_array(1)?, pass.grad());
        let backward = |scale: &Array| loss::cross_entropy_backward(logits, labels, &self.log_normaliser, weight, self.ignore, self.smoothing, scale);
        if !pass.recorded() {
            return Ok(backward(&grad.array)?.into());
        }
        // With targets t, whose row sums are a: g (a softmax(x) - t). Backward at g = 1 gives a p - t at these logits, from which t and a follow.
        let ones = grad.ones_like()?;
        let slope = Tensor::from(backward(&ones.array)?);
        let probabilities = Tensor::from(logits).softmax(1)?;
        let (a, targets) = self.targets(&slope, &probabilities, labels, weight)?;
        let slope = pass.input(0)?.softmax(1)?.mul(&a)?.sub(&targets)?;
        slope.mul(&grad.unsqueeze(1)?)
    }

    /// `a [N, 1]` and `t = a p - slope`.
    fn targets(&self, slope: &Tensor, probabilities: &Tensor, labels: &Array, weight: Option<&Array>) -> Result<(Tensor, Tensor)> {
        let classes = probabilities.dims()[1];
        let dtype = probabilities.dtype();
        let weight = weight.map_or_else(|| Tensor::ones(&[classes], dtype), |w| Ok(w.into()))?.cast(DType::F64)?.to_vec::<f64>()?;
        let spread = self.smoothing / classes as f64 * weight.iter().sum::<f64>();
        let total = |label: &i64| if Some(*label) == self.ignore { 0.0 } else { (1.0 - self.smoothing) * weight[*label as usize] + spread };
        let a: Vec<f64> = labels.to_vec::<i64>()?.iter().map(total).collect();
        let a = Tensor::from_slice(&a, &[a.len(), 1])?.cast(dtype)?.to(&probabilities.device())?;
        let targets = probabilities.mul(&a)?.sub(slope)?;
        Ok((a, targets))
    }
}
