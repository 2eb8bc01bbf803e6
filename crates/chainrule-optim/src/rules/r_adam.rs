//! Rectified Adam (Liu et al., 2020, arXiv:1908.03265; PyTorch's `RAdam`).

use super::moments::Moments;
use super::settings;
use crate::rule::check_not_negative;
use crate::{Optimizer, Rule, Step};
use chainrule_core::ops::update::{Formula, Real, update};
use chainrule_core::{Array, Result};

/// RAdam: moments as [`Adam`](crate::Adam)'s. While too few squares were seen for a variance (`ρ_t <= 5`), `p -= lr · m̂`; then `p -= lr · r_t · √(1 - beta2^t) · m̂ / (√v + eps)`, where
/// `ρ_∞ = 2 / (1 - beta2) - 1`, `ρ_t = ρ_∞ - 2 t beta2^t / (1 - beta2^t)` and `r_t = √((ρ_t - 4)(ρ_t - 2) ρ_∞ / ((ρ_∞ - 4)(ρ_∞ - 2) ρ_t))`.
/// ```
/// use chainrule_optim::RAdam;
/// let r_adam = RAdam::new(1e-3).decoupled(true).weight_decay(0.01);
/// assert_eq!(r_adam.learning_rate(), 1e-3);
/// ```
pub type RAdam = Optimizer<RAdamRule>;

/// The hyper-parameters of [`RAdam`].
#[derive(Clone, Debug, PartialEq)]
pub struct RAdamRule {
    /// The decay of the mean gradient.
    pub beta1: f64,
    /// The decay of the mean squared gradient.
    pub beta2: f64,
    /// Added to the divisor.
    pub eps: f64,
    /// Whether the weight decay bypasses the moments, as AdamW's.
    pub decoupled: bool,
}

impl RAdam {
    /// PyTorch's hyper-parameters: betas 0.9 and 0.999, eps 1e-8; no weight decay.
    pub fn new(learning_rate: f64) -> RAdam {
        Optimizer::from_rule(RAdamRule { beta1: 0.9, beta2: 0.999, eps: 1e-8, decoupled: false }, learning_rate)
    }
}

settings! { RAdamRule {
    /// The decays of the mean gradient and of the mean squared gradient: 0.9 and 0.999 unless set.
    betas(beta1: f64, beta2: f64);
    /// What is added to the divisor: 1e-8 unless set.
    eps(eps: f64);
    /// Whether the weight decay bypasses the moments, as AdamW's. PyTorch's `decoupled_weight_decay`.
    decoupled(decoupled: bool);
} }

impl RAdamRule {
    fn moments(&self) -> Moments {
        Moments { beta1: self.beta1, beta2: self.beta2 }
    }

    /// `r_t √(1 - beta2^t)`, once there is a variance to rely on.
    fn rectification(&self, step: &Step) -> Option<f64> {
        let (t, correction) = (step.number as f64, step.correction(self.beta2));
        let longest = 2.0 / (1.0 - self.beta2) - 1.0;
        let length = longest - 2.0 * t * self.beta2.powf(t) / correction;
        let squared = (length - 4.0) * (length - 2.0) * longest / ((longest - 4.0) * (longest - 2.0) * length);
        (length > 5.0).then(|| (squared * correction).sqrt())
    }
}

impl Rule for RAdamRule {
    const NAME: &'static str = "r_adam";

    fn slots(&self, _: &Array) -> &'static [&'static str] {
        &["exp_avg", "exp_avg_sq"]
    }

    fn check(&self) -> Result<(), String> {
        self.moments().check().and(check_not_negative("eps", self.eps))
    }

    fn apply(&self, step: &Step, value: &mut Array, gradient: &Array, state: &mut [Array]) -> Result<()> {
        let rectification = self.rectification(step);
        let formula = Formulated {
            moments: self.moments(),
            shrink: if self.decoupled { step.shrink() } else { 1.0 },
            step: -step.learning_rate / step.correction(self.beta1) * rectification.unwrap_or(1.0),
            adaptive: rectification.is_some(),
            eps: self.eps,
        };
        let gradient = if self.decoupled { step.gradient(gradient) } else { step.penalised(gradient) };
        update(Self::NAME, value, gradient, state, formula)
    }
}

#[derive(Clone, Copy)]
struct Formulated {
    moments: Moments,
    shrink: f64,
    step: f64,
    adaptive: bool,
    eps: f64,
}

impl Formula<2> for Formulated {
    #[inline(always)]
    fn next<R: Real>(self, p: R, g: R, state: [R; 2]) -> (R, [R; 2]) {
        let [m, v] = self.moments.next(g, state);
        let direction = if self.adaptive { m / (v.sqrt() + R::of(self.eps)) } else { m };
        (R::of(self.step).mul_add(direction, p * R::of(self.shrink)), [m, v])
    }
}
