//! Adam (Kingma and Ba, 2015, arXiv:1412.6980; PyTorch's `Adam`), with AMSGrad (Reddi et al., 2018, arXiv:1904.09237).

use super::settings;
use crate::rule::{check_fraction, check_not_negative, wrong_slots};
use crate::{Optimizer, Rule, Step};
use chainrule_core::ops::update::{self, adam_update};
use chainrule_core::{Array, Result};

/// Adam: `g += decay · p`; `m = beta1 · m + (1 - beta1) · g`; `v = beta2 · v + (1 - beta2) · g²`; `p -= lr · m̂ / (√v̂ + eps)`, where `m̂ = m / (1 - beta1^t)` and `v̂ = v / (1 - beta2^t)`.
///
/// The weight decay is an L2 penalty; see [`AdamW`](crate::AdamW) for one that bypasses the moments.
/// ```
/// use chainrule_optim::Adam;
/// let adam = Adam::new(1e-3).betas(0.9, 0.98).eps(1e-9).clip_norm(1.0);
/// assert_eq!(adam.learning_rate(), 1e-3);
/// ```
pub type Adam = Optimizer<AdamRule>;

/// The hyper-parameters of [`Adam`].
#[derive(Clone, Debug, PartialEq)]
pub struct AdamRule {
    /// The decay of the mean gradient.
    pub beta1: f64,
    /// The decay of the mean squared gradient.
    pub beta2: f64,
    /// Added to the divisor.
    pub eps: f64,
    /// Whether the largest mean squared gradient so far divides.
    pub amsgrad: bool,
}

impl Adam {
    /// The paper's hyper-parameters: betas 0.9 and 0.999, eps 1e-8; no decay.
    pub fn new(learning_rate: f64) -> Adam {
        Optimizer::from_rule(AdamRule { beta1: 0.9, beta2: 0.999, eps: 1e-8, amsgrad: false }, learning_rate)
    }
}

settings! { AdamRule {
    /// The decays of the mean gradient and of the mean squared gradient: 0.9 and 0.999 unless set.
    betas(beta1: f64, beta2: f64);
    /// What is added to the divisor: 1e-8 unless set.
    eps(eps: f64);
    /// Whether the largest mean squared gradient so far divides, so that steps never grow again.
    amsgrad(amsgrad: bool);
} }

impl Rule for AdamRule {
    const NAME: &'static str = "adam";

    fn slots(&self) -> &'static [&'static str] {
        if self.amsgrad { &["exp_avg", "exp_avg_sq", "max_exp_avg_sq"] } else { &["exp_avg", "exp_avg_sq"] }
    }

    fn check(&self) -> Result<(), String> {
        check_fraction("beta1", self.beta1)?;
        check_fraction("beta2", self.beta2)?;
        check_not_negative("eps", self.eps)
    }

    fn apply(&self, step: &Step, value: &mut Array, gradient: &Array, state: &mut [Array]) -> Result<()> {
        apply(self, false, step, value, gradient, state)
    }
}

/// The step of both Adam and AdamW.
pub(super) fn apply(rule: &AdamRule, decoupled: bool, step: &Step, value: &mut Array, gradient: &Array, state: &mut [Array]) -> Result<()> {
    let adam = update::Adam {
        learning_rate: step.learning_rate,
        beta1: rule.beta1,
        beta2: rule.beta2,
        eps: rule.eps,
        weight_decay: step.weight_decay,
        decoupled,
        step: step.number,
    };
    match state {
        [m, v] => adam_update(value, gradient, m, v, None, &adam, step.gradient_scale),
        [m, v, maximum] => adam_update(value, gradient, m, v, Some(maximum), &adam, step.gradient_scale),
        other => Err(wrong_slots("adam", other.len())),
    }
}
