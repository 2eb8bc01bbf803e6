//! Losses from distributions and overlaps: Gaussian and Poisson likelihoods, focal and Dice loss.

use crate::rules::losses::{Reduction, expect_same_shape, losses};
use crate::{DType, Error, Result, Tensor};
use chainrule_core::ops::elementwise::{Comparison, compare};
use chainrule_core::ops::reduce;

/// ln(2π) / 2
const HALF_LN_TAU: f64 = 0.918_938_533_204_672_8;

losses! {
    /// The mean of `(ln v + (x - y)² / v) / 2` for predictions x, targets y and variances v of at least `eps`; `full` adds `ln(2π) / 2` (PyTorch's `gaussian_nll_loss`, whose eps is 1e-6 unless given).
    /// Variances have the predictions' shape, or 1 in place of the last dimension, or lack it. As in PyTorch the bound by `eps` does not stop their gradient.
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let number = |x: f64| Tensor::from_slice(&[x], &[1]);
    /// assert_eq!(number(1.0)?.gaussian_nll(&number(3.0)?, &number(1.0)?, false, 1e-6)?.item()?, 2.0);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    gaussian_nll / gaussian_nll_with(x, target: &Tensor, variance: &Tensor, full: bool, eps: f64) {
        const OP: &str = "gaussian_nll";
        expect_same_shape(OP, x, target)?;
        let variance = if variance.rank() + 1 == x.rank() && x.dims().starts_with(variance.dims()) { variance.unsqueeze(-1)? } else { variance.clone() };
        let negative = compare(Comparison::Less, &variance.array, &Tensor::scalar(0.0, variance.dtype())?.array)?;
        if reduce::sum(&negative, &[], false)?.item()? > 0.0 {
            return Err(Error::value(OP, "the variance has numbers below 0"));
        }
        if eps.is_nan() || eps <= 0.0 {
            return Err(Error::value(OP, format!("eps is {eps}, expected above 0")));
        }
        let constant = variance.detach();
        let variance = variance.add(&constant.clamp(eps, f64::INFINITY)?.sub(&constant)?)?;
        let losses = x.sub(target)?.square()?.div(&variance)?.add(&variance.ln()?)?;
        losses.affine(0.5, if full { HALF_LN_TAU } else { 0.0 })
    }

    /// The mean of `exp(x) - y x` for logarithms x of rates and counts y, of `x - y ln(x + eps)` for rates x when not `logarithms`; `full` adds Stirling's approximation of `ln y!` where y is above 1 (PyTorch's `poisson_nll_loss`, whose eps is 1e-8 unless given).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let number = |x: f64| Tensor::from_slice(&[x], &[1]);
    /// assert_eq!(number(0.0)?.poisson_nll(&number(3.0)?, true, false, 1e-8)?.item()?, 1.0);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    poisson_nll / poisson_nll_with(x, target: &Tensor, logarithms: bool, full: bool, eps: f64) {
        expect_same_shape("poisson_nll", x, target)?;
        let losses = if logarithms { x.exp()?.sub(&target.mul(x)?)? } else { x.sub(&target.mul(&x.add_scalar(eps)?.ln()?)?)? };
        if full {
            let small = target.less_equal(&Tensor::scalar(1.0, target.dtype())?)?;
            let y = target.masked_fill(&small, 1.0)?;
            let log = y.ln()?;
            let stirling = y.mul(&log)?.sub(&y)?.add(&log.affine(0.5, HALF_LN_TAU)?)?;
            losses.add(&stirling.masked_fill(&small, 0.0)?)
        } else {
            Ok(losses)
        }
    }

    /// The mean of `α_t (1 - p_t)^γ (-ln p_t)` for logits and truths, `p_t` being the probability given to the truth; α weighs the positive class and 1 - α the other, none for `None` (Lin et al. 2017; torchvision's `sigmoid_focal_loss`, whose α is 0.25 and γ 2 unless given).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let (x, y) = (Tensor::from_slice(&[0f64], &[1])?, Tensor::from_slice(&[1f64], &[1])?);
    /// assert!((x.binary_focal(&y, Some(0.25), 2.0)?.item()? - 0.0625 * 2f64.ln()).abs() < 1e-12);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    binary_focal / binary_focal_with(x, target: &Tensor, alpha: Option<f64>, gamma: f64) {
        expect_same_shape("binary_focal", x, target)?;
        let missed = target.affine(-2.0, 1.0)?.mul(&x.sigmoid()?)?.add(target)?; // 1 - p_t = y + (1 - 2y) σ(x)
        let losses = x.bce_with_logits_with(target, None, None, Reduction::None)?.mul(&missed.powf(gamma)?)?;
        match alpha {
            Some(alpha) => losses.mul(&target.affine(2.0 * alpha - 1.0, 1.0 - alpha)?),
            None => Ok(losses),
        }
    }

    /// The mean of `(1 - p_y)^γ (-ln p_y)` for logits `[N, C]` (or `[N, C, d1, ..]`) and labels y (i64 `[N]`, or `[N, d1, ..]`), p being their softmax; `weight` `[C]` weighs the classes (Lin et al. 2017). The mean is over the labels' count.
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let (x, y) = (Tensor::from_slice(&[0f64, 0.0], &[1, 2])?, Tensor::from_slice(&[1i64], &[1])?);
    /// assert!((x.focal(&y, None, 2.0)?.item()? - 0.25 * 2f64.ln()).abs() < 1e-12);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    focal / focal_with(x, labels: &Tensor, weight: Option<&Tensor>, gamma: f64) {
        if x.rank() < 2 || labels.dims() != [&x.dims()[..1], &x.dims()[2..]].concat() {
            return Err(Error::shape("focal", format!("the labels have shape {:?}, logits {:?}; expected [N, ..] and [N, C, ..]", labels.shape(), x.shape())));
        }
        let log = x.log_softmax(1)?.gather(1, &labels.unsqueeze(1)?)?.squeeze(1)?;
        let losses = log.exp()?.affine(-1.0, 1.0)?.powf(gamma)?.mul(&log)?.neg()?;
        match weight {
            Some(weight) => losses.mul(&weight.index_select(0, labels)?),
            None => Ok(losses),
        }
    }

    /// The mean of `1 - (2 Σ p y + smooth) / (Σ p + Σ y + smooth)` over samples and channels, for probabilities p `[N, C, ..]` and truths y of that shape, or classes i64 `[N, ..]`; sums are over the dimensions behind (Milletari, Navab and Ahmadi 2016, with Dice's plain denominator). Of one channel for binary masks.
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let (p, y) = (Tensor::from_slice(&[1f64, 0.0], &[1, 1, 2])?, Tensor::from_slice(&[1f64, 1.0], &[1, 1, 2])?);
    /// assert!((p.dice(&y, 0.0)?.item()? - 1.0 / 3.0).abs() < 1e-12);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    dice / dice_with(p, target: &Tensor, smooth: f64) {
        if p.rank() < 3 {
            return Err(Error::shape("dice", format!("the probabilities have shape {:?}, expected [N, C, ..] with positions to sum over", p.shape())));
        }
        let spread;
        let target = if target.dtype() == DType::I64 {
            // Classes come last, and go to their place.
            let axes: Vec<isize> = [0, p.rank() as isize - 1].into_iter().chain(1..p.rank() as isize - 1).collect();
            if target.rank() + 1 != p.rank() {
                return Err(Error::shape("dice", format!("the classes have shape {:?}, probabilities {:?} expect one dimension less", target.shape(), p.shape())));
            }
            spread = target.one_hot(p.dims()[1], p.dtype())?.permute(&axes)?;
            &spread
        } else {
            target
        };
        expect_same_shape("dice", p, target)?;
        let over: Vec<isize> = (2..p.rank() as isize).collect();
        let sum = |x: &Tensor| x.sum_over(&over, false);
        let both = sum(&p.mul(target)?)?.affine(2.0, smooth)?;
        both.div(&sum(p)?.add(&sum(target)?)?.add_scalar(smooth)?)?.affine(-1.0, 1.0)
    }
}
