//! Losses composed of other operations. Each comes as the mean, and with a [`Reduction`].

use crate::{Array, Error, Keep, Result, Tensor};
use chainrule_core::ops::elementwise::{Comparison, compare};
use chainrule_core::ops::reduce;

/// What becomes of the losses of all elements.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Reduction {
    /// Their mean.
    #[default]
    Mean,
    /// Their sum.
    Sum,
    /// Their sum over the extent of the first dimension (PyTorch's `batchmean`).
    BatchMean,
    /// They stay as they are.
    None,
}

impl Reduction {
    /// Reduces losses.
    /// ```
    /// # use chainrule_autograd::{Reduction, Tensor};
    /// let losses = Tensor::from_slice(&[1f32, 3.0], &[2])?;
    /// assert_eq!(Reduction::Mean.apply(&losses)?.item()?, 2.0);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// An element type other than f32 and f64.
    pub fn apply(self, losses: &Tensor) -> Result<Tensor> {
        match self {
            Reduction::Mean => losses.mean(),
            Reduction::Sum => losses.sum(),
            Reduction::BatchMean => losses.sum()?.mul_scalar(1.0 / losses.dims().first().copied().unwrap_or(1) as f64),
            Reduction::None => Ok(losses.clone()),
        }
    }

    /// The same, with a mean over weights.
    pub(crate) fn weighted(self, losses: &Tensor, weights: &Array) -> Result<Tensor> {
        match self {
            // Without a wait for the sum.
            Reduction::Mean if weights.device().is_cuda() => losses.sum()?.div(&reduce::sum(weights, &[], false)?.into()),
            Reduction::Mean => losses.sum()?.mul_scalar(1.0 / reduce::sum(weights, &[], false)?.item()?),
            other => other.apply(losses),
        }
    }
}

pub(crate) fn expect_same_shape(op: &'static str, x: &Tensor, y: &Tensor) -> Result<()> {
    if x.dims() == y.dims() {
        return Ok(());
    }
    Err(Error::shape(op, format!("the input has shape {:?} and the target {:?}, expected the same", x.shape(), y.shape())))
}

/// `name` is the mean, `name_with` takes a reduction.
macro_rules! losses {
    ($($(#[$doc:meta])* $name:ident / $with:ident ($self:ident, $($argument:ident: $type:ty),*) $body:block)*) => {
        impl Tensor {
            $($(#[$doc])*
            ///
            /// # Errors
            /// Shapes or element types that do not fit; settings out of range.
            pub fn $name(&self, $($argument: $type),*) -> Result<Tensor> {
                self.$with($($argument,)* Reduction::Mean)
            }
            #[doc = concat!("[`", stringify!($name), "`](Tensor::", stringify!($name), ") with a reduction.")]
            ///
            /// # Errors
            /// Shapes or element types that do not fit; settings out of range.
            pub fn $with(&self, $($argument: $type,)* reduction: Reduction) -> Result<Tensor> {
                let $self = self;
                let losses: Result<Tensor> = $body;
                reduction.apply(&losses?)
            })*
        }
    };
}

pub(crate) use losses;

losses! {
    /// The mean of `(x - y)²` (PyTorch's `mse_loss`).
    mse / mse_with(x, target: &Tensor) {
        expect_same_shape("mse", x, target)?;
        x.sub(target)?.square()
    }

    /// The mean of `|x - y|` (PyTorch's `l1_loss`).
    l1 / l1_with(x, target: &Tensor) {
        expect_same_shape("l1", x, target)?;
        x.sub(target)?.abs()
    }

    /// The mean of `d² / (2 beta)` where `d = |x - y|` is below `beta`, of `d - beta / 2` elsewhere (PyTorch's `smooth_l1_loss`, whose `beta` is 1 unless given).
    smooth_l1 / smooth_l1_with(x, target: &Tensor, beta: f64) {
        if beta == 0.0 {
            x.l1_with(target, Reduction::None)
        } else {
            x.huber_with(target, beta, Reduction::None)?.mul_scalar(1.0 / beta)
        }
    }

    /// The mean of `d² / 2` where `d = |x - y|` is below `delta`, of `delta (d - delta / 2)` elsewhere (PyTorch's `huber_loss`, whose `delta` is 1 unless given).
    huber / huber_with(x, target: &Tensor, delta: f64) {
        expect_same_shape("huber", x, target)?;
        if delta.is_nan() || delta <= 0.0 {
            return Err(Error::value("huber", format!("delta is {delta}, expected above 0")));
        }
        // With m = min(d, delta) both branches are m (d - m / 2).
        let distance = x.sub(target)?.abs()?;
        let most = distance.clamp(0.0, delta)?;
        most.mul(&distance.sub(&most.mul_scalar(0.5)?)?)
    }


    /// The mean of `y (ln y - x)` for log-probabilities x and probabilities y (PyTorch's `kl_div`; [`Reduction::BatchMean`] is the divergence itself).
    kl_div / kl_div_with(x, target: &Tensor) {
        expect_same_shape("kl_div", x, target)?;
        // 0 ln 0 is 0.
        let log = target.masked_fill(&target.logical_not()?, 1.0)?.ln()?;
        target.mul(&log.sub(x)?)
    }

    /// The mean of `e^y (y - x)` for log-probabilities x and y (PyTorch's `kl_div` with `log_target=True`).
    kl_div_of_logs / kl_div_of_logs_with(x, target: &Tensor) {
        expect_same_shape("kl_div_of_logs", x, target)?;
        target.exp()?.mul(&target.sub(x)?)
    }

    /// The mean of x where y is 1, of `max(margin - x, 0)` where y is -1 (PyTorch's `hinge_embedding_loss`, whose margin is 1 unless given).
    hinge_embedding / hinge_embedding_with(x, target: &Tensor, margin: f64) {
        expect_same_shape("hinge_embedding", x, target)?;
        let positive = target.equal(&Tensor::scalar(1.0, target.dtype())?)?;
        positive.where_(x, &x.affine(-1.0, margin)?.relu()?)
    }
}

impl Tensor {
    /// The mean of `-(y ln x + (1 - y) ln(1 - x))` for probabilities x; logarithms are cut at -100 (PyTorch's `binary_cross_entropy`). From logits [`bce_with_logits`](Tensor::bce_with_logits) is exact.
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let (x, y) = (Tensor::from_slice(&[0.5f64, 0.25], &[2])?, Tensor::from_slice(&[1f64, 0.0], &[2])?);
    /// assert!((x.bce(&y)?.item()? + (0.5f64.ln() + 0.75f64.ln()) / 2.0).abs() < 1e-12);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Different shapes or element types; numbers outside 0 to 1.
    pub fn bce(&self, target: &Tensor) -> Result<Tensor> {
        self.bce_with(target, None, Reduction::Mean)
    }

    /// [`bce`](Tensor::bce) with a weight for each element, which broadcasts, and a reduction.
    /// ```
    /// # use chainrule_autograd::{Reduction, Tensor};
    /// let (x, y) = (Tensor::from_slice(&[0.5f64, 0.25], &[2])?, Tensor::from_slice(&[1f64, 0.0], &[2])?);
    /// let loss = x.bce_with(&y, Some(&Tensor::from_slice(&[1f64, 0.0], &[2])?), Reduction::Sum)?;
    /// assert!((loss.item()? + 0.5f64.ln()).abs() < 1e-12);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`bce`](Tensor::bce); a weight that does not broadcast.
    pub fn bce_with(&self, target: &Tensor, weight: Option<&Tensor>, reduction: Reduction) -> Result<Tensor> {
        expect_same_shape("bce", self, target)?;
        reduction.apply(&weighed(probabilities_against(self, target)?, weight)?)
    }

    /// The mean of `-(p y ln σ(x) + (1 - y) ln(1 - σ(x)))` for logits x, without overflow; `p` weighs the positive class and broadcasts (PyTorch's `binary_cross_entropy_with_logits`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let (x, y) = (Tensor::from_slice(&[0f64, -1000.0], &[2])?, Tensor::from_slice(&[1f64, 0.0], &[2])?);
    /// assert!((x.bce_with_logits(&y, None)?.item()? - 2f64.ln() / 2.0).abs() < 1e-12);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Different shapes or element types; a weight that does not broadcast.
    pub fn bce_with_logits(&self, target: &Tensor, positive_weight: Option<&Tensor>) -> Result<Tensor> {
        self.bce_with_logits_with(target, None, positive_weight, Reduction::Mean)
    }

    /// [`bce_with_logits`](Tensor::bce_with_logits) with a weight for each element, which broadcasts, and a reduction.
    /// ```
    /// # use chainrule_autograd::{Reduction, Tensor};
    /// let (x, y) = (Tensor::from_slice(&[0f64, 0.0], &[2])?, Tensor::from_slice(&[1f64, 0.0], &[2])?);
    /// let loss = x.bce_with_logits_with(&y, None, Some(&Tensor::scalar(3.0, x.dtype())?), Reduction::None)?;
    /// assert!((loss.to_vec::<f64>()?[0] - 3.0 * 2f64.ln()).abs() < 1e-12);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`bce_with_logits`](Tensor::bce_with_logits).
    pub fn bce_with_logits_with(&self, target: &Tensor, weight: Option<&Tensor>, positive_weight: Option<&Tensor>, reduction: Reduction) -> Result<Tensor> {
        expect_same_shape("bce_with_logits", self, target)?;
        // (1 - y) x - l ln σ(x) with l = 1 + (p - 1) y
        let log = self.log_sigmoid()?;
        let scaled = match positive_weight {
            Some(weight) => weight.add_scalar(-1.0)?.mul(target)?.add_scalar(1.0)?.mul(&log)?,
            None => log,
        };
        reduction.apply(&weighed(target.affine(-1.0, 1.0)?.mul(self)?.sub(&scaled)?, weight)?)
    }

    /// `x · y / (max(|x|, eps) max(|y|, eps))` along `axis` (PyTorch's `cosine_similarity`, whose `eps` is 1e-8 unless given).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let (x, y) = (Tensor::from_slice(&[3f64, 0.0], &[2])?, Tensor::from_slice(&[0f64, 2.0], &[2])?);
    /// assert_eq!((x.cosine_similarity(&y, 0, 1e-8)?.item()?, x.cosine_similarity(&x, 0, 1e-8)?.item()?), (0.0, 1.0));
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Shapes that do not broadcast; a dimension out of range; different element types.
    pub fn cosine_similarity(&self, other: &Tensor, axis: isize, eps: f64) -> Result<Tensor> {
        let length = |x: &Tensor| x.norm(2.0, &[axis], false)?.clamp(eps, f64::INFINITY);
        self.mul(other)?.sum_over(&[axis], false)?.div(&length(self)?.mul(&length(other)?)?)
    }
}

/// Each loss times its weight.
fn weighed(losses: Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
    match weight {
        Some(weight) => losses.mul(weight),
        None => Ok(losses),
    }
}

/// The elements of [`Tensor::bce`].
fn probabilities_against(x: &Tensor, target: &Tensor) -> Result<Tensor> {
    let counts =
        |comparison, bound| -> Result<f64> { Ok(reduce::sum(&compare(comparison, &x.array, &Array::scalar(bound, x.dtype())?)?, &[], false)?.item()?) };
    if counts(Comparison::Less, 0.0)? + counts(Comparison::Greater, 1.0)? > 0.0 {
        return Err(Error::value("bce", "the input has numbers outside 0 to 1; probabilities are expected, for logits use bce_with_logits"));
    }
    let logs = |x: &Tensor| -> Result<[Tensor; 2]> { Ok([x.ln()?.clamp(-100.0, f64::INFINITY)?, x.affine(-1.0, 1.0)?.ln()?.clamp(-100.0, f64::INFINITY)?]) };
    let [yes, no] = logs(&Tensor::from(&x.array))?;
    let y = Tensor::from(&target.array).mul(&yes.sub(&no)?)?.add(&no)?.neg()?;
    Tensor::record("bce", [x, target], Keep::INPUTS, y.into_array(), move |pass| {
        let (x, y) = (pass.input(0)?, pass.input(1)?);
        let by_input = || {
            let spread = x.mul(&x.affine(-1.0, 1.0)?)?.clamp(1e-12, f64::INFINITY)?;
            pass.grad().mul(&x.sub(&y)?.div(&spread)?)
        };
        let by_target = || {
            let [yes, no] = logs(&x)?;
            pass.grad().mul(&no.sub(&yes)?)
        };
        Ok([pass.when(0, by_input)?, pass.when(1, by_target)?])
    })
}
