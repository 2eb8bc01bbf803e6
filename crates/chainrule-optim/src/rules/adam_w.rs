//! Adam with decoupled weight decay (Loshchilov and Hutter, 2019, arXiv:1711.05101; PyTorch's `AdamW`).

use super::adam::AdamRule;
use super::settings;
use crate::{Optimizer, Rule, Step};
use chainrule_core::ops::update::Fused;
use chainrule_core::{Array, Result};

/// AdamW: `p -= lr · decay · p`, then the step of [`Adam`](crate::Adam) without its L2 penalty.
/// ```
/// use chainrule_optim::AdamW;
/// let adam = AdamW::new(5e-5).weight_decay(0.1).group("*.{bias,norm.weight}", |g| g.weight_decay(0.0));
/// assert_eq!(adam.learning_rate(), 5e-5);
/// ```
pub type AdamW = Optimizer<AdamWRule>;

/// The hyper-parameters of [`AdamW`]: those of Adam.
#[derive(Clone, Debug, PartialEq)]
pub struct AdamWRule {
    /// The decay of the mean gradient.
    pub beta1: f64,
    /// The decay of the mean squared gradient.
    pub beta2: f64,
    /// Added to the divisor.
    pub eps: f64,
    /// Whether the largest mean squared gradient so far divides.
    pub amsgrad: bool,
}

impl AdamW {
    /// PyTorch's hyper-parameters: betas 0.9 and 0.999, eps 1e-8, weight decay 0.01.
    pub fn new(learning_rate: f64) -> AdamW {
        Optimizer::from_rule(AdamWRule { beta1: 0.9, beta2: 0.999, eps: 1e-8, amsgrad: false }, learning_rate).weight_decay(0.01)
    }
}

settings! { AdamWRule {
    /// The decays of the mean gradient and of the mean squared gradient: 0.9 and 0.999 unless set.
    betas(beta1: f64, beta2: f64);
    /// What is added to the divisor: 1e-8 unless set.
    eps(eps: f64);
    /// Whether the largest mean squared gradient so far divides, so that steps never grow again.
    amsgrad(amsgrad: bool);
} }

impl AdamWRule {
    fn adam(&self) -> AdamRule {
        let &AdamWRule { beta1, beta2, eps, amsgrad } = self;
        AdamRule { beta1, beta2, eps, amsgrad }
    }
}

impl Rule for AdamWRule {
    const NAME: &'static str = "adam_w";

    fn slots(&self, value: &Array) -> &'static [&'static str] {
        self.adam().slots(value)
    }

    fn check(&self) -> Result<(), String> {
        self.adam().check()
    }

    fn fused(&self) -> Option<Fused> {
        let AdamWRule { beta1, beta2, eps, .. } = *self;
        Some(Fused::Adam { beta1, beta2, eps, decoupled: true })
    }

    fn apply(&self, step: &Step, value: &mut Array, gradient: &Array, state: &mut [Array]) -> Result<()> {
        self.adam().advance(step, value, step.gradient(gradient), state, step.shrink())
    }
}
