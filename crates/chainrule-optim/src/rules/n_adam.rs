//! Adam with Nesterov's momentum (Dozat, 2016, "Incorporating Nesterov momentum into Adam"; PyTorch's `NAdam`).

use super::moments::Moments;
use super::settings;
use crate::rule::{check_not_negative, wrong_slots};
use crate::{Optimizer, Rule, Step};
use chainrule_core::ops::update::{Formula, Real, update};
use chainrule_core::{Array, DType, Result};

/// NAdam: moments as [`Adam`](crate::Adam)'s, `mu_t = beta1 · (1 - 0.96^(t · momentum_decay) / 2)`,
/// `m̂ = mu_{t+1} · m / (1 - mu_1 ··· mu_{t+1}) + (1 - mu_t) · g / (1 - mu_1 ··· mu_t)`, `p -= lr · m̂ / (√v̂ + eps)`.
/// ```
/// use chainrule_optim::NAdam;
/// let n_adam = NAdam::new(2e-3).decoupled(true).weight_decay(0.01);
/// assert_eq!(n_adam.learning_rate(), 2e-3);
/// ```
pub type NAdam = Optimizer<NAdamRule>;

/// The hyper-parameters of [`NAdam`].
#[derive(Clone, Debug, PartialEq)]
pub struct NAdamRule {
    /// The decay of the mean gradient.
    pub beta1: f64,
    /// The decay of the mean squared gradient.
    pub beta2: f64,
    /// Added to the divisor.
    pub eps: f64,
    /// How fast the momentum grows to `beta1`.
    pub momentum_decay: f64,
    /// Whether the weight decay bypasses the moments, as AdamW's.
    pub decoupled: bool,
}

impl NAdam {
    /// PyTorch's hyper-parameters: betas 0.9 and 0.999, eps 1e-8, momentum decay 0.004; no weight decay.
    pub fn new(learning_rate: f64) -> NAdam {
        Optimizer::from_rule(NAdamRule { beta1: 0.9, beta2: 0.999, eps: 1e-8, momentum_decay: 4e-3, decoupled: false }, learning_rate)
    }
}

settings! { NAdamRule {
    /// The decays of the mean gradient and of the mean squared gradient: 0.9 and 0.999 unless set.
    betas(beta1: f64, beta2: f64);
    /// What is added to the divisor: 1e-8 unless set.
    eps(eps: f64);
    /// How fast the momentum grows to `beta1`: 0.004 unless set.
    momentum_decay(momentum_decay: f64);
    /// Whether the weight decay bypasses the moments, as AdamW's. PyTorch's `decoupled_weight_decay`.
    decoupled(decoupled: bool);
} }

impl NAdamRule {
    fn moments(&self) -> Moments {
        Moments { beta1: self.beta1, beta2: self.beta2 }
    }

    fn momentum(&self, step: u64) -> f64 {
        self.beta1 * (1.0 - 0.5 * 0.96f64.powf(step as f64 * self.momentum_decay))
    }
}

impl Rule for NAdamRule {
    const NAME: &'static str = "n_adam";

    fn slots(&self, _: &Array) -> &'static [&'static str] {
        &["exp_avg", "exp_avg_sq", "mu_product"]
    }

    fn init(&self, slot: &'static str, value: &Array) -> Result<Array> {
        if slot == "mu_product" { Array::ones(&[], DType::F64) } else { value.new_full(value.dims(), 0.0) }
    }

    fn check(&self) -> Result<(), String> {
        self.moments().check()?;
        check_not_negative("eps", self.eps)?;
        check_not_negative("momentum_decay", self.momentum_decay)
    }

    fn apply(&self, step: &Step, value: &mut Array, gradient: &Array, state: &mut [Array]) -> Result<()> {
        let [moments @ .., product] = state else { return Err(wrong_slots(Self::NAME, 0)) };
        let [product] = product.as_mut_slice::<f64>()? else { return Err(wrong_slots(Self::NAME, moments.len() + 1)) };
        let (momentum, next) = (self.momentum(step.number), self.momentum(step.number + 1));
        *product *= momentum;
        let formula = Formulated {
            moments: self.moments(),
            shrink: if self.decoupled { step.shrink() } else { 1.0 },
            by_gradient: -step.learning_rate * (1.0 - momentum) / (1.0 - *product),
            by_mean: -step.learning_rate * next / (1.0 - *product * next),
            root: 1.0 / step.correction(self.beta2).sqrt(),
            eps: self.eps,
        };
        let gradient = if self.decoupled { step.gradient(gradient) } else { step.penalised(gradient) };
        update(Self::NAME, value, gradient, moments, formula)
    }
}

#[derive(Clone, Copy)]
struct Formulated {
    moments: Moments,
    shrink: f64,
    by_gradient: f64,
    by_mean: f64,
    root: f64,
    eps: f64,
}

impl Formula<2> for Formulated {
    #[inline(always)]
    fn next<R: Real>(self, p: R, g: R, state: [R; 2]) -> (R, [R; 2]) {
        let [m, v] = self.moments.next(g, state);
        let direction = R::of(self.by_gradient).mul_add(g, m * R::of(self.by_mean));
        let divisor = v.sqrt().mul_add(R::of(self.root), R::of(self.eps));
        (p * R::of(self.shrink) + direction / divisor, [m, v])
    }
}
