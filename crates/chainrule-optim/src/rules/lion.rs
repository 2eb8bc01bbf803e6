//! Lion (Chen et al., 2023, "Symbolic discovery of optimization algorithms", arXiv:2302.06675).

use super::moments::Moments;
use super::{settings, sign};
use crate::{Optimizer, Rule, Step};
use chainrule_core::ops::update::{Formula, Real, update};
use chainrule_core::{Array, Result};

/// Lion: `c = beta1 · m + (1 - beta1) · g`; `p -= lr · (sign(c) + decay · p)`; `m = beta2 · m + (1 - beta2) · g`.
///
/// Every number moves by the whole learning rate, which is to be three to ten times smaller than AdamW's, and the weight decay as much larger.
/// ```
/// use chainrule_optim::Lion;
/// let lion = Lion::new(1e-4).betas(0.95, 0.98).weight_decay(1.0);
/// assert_eq!(lion.learning_rate(), 1e-4);
/// ```
pub type Lion = Optimizer<LionRule>;

/// The hyper-parameters of [`Lion`].
#[derive(Clone, Debug, PartialEq)]
pub struct LionRule {
    /// The share of the mean gradient in the direction.
    pub beta1: f64,
    /// The decay of the mean gradient.
    pub beta2: f64,
}

impl Lion {
    /// The paper's hyper-parameters: betas 0.9 and 0.99; no decay.
    pub fn new(learning_rate: f64) -> Lion {
        Optimizer::from_rule(LionRule { beta1: 0.9, beta2: 0.99 }, learning_rate)
    }
}

settings! { LionRule {
    /// The share of the mean gradient in the direction, and its decay: 0.9 and 0.99 unless set.
    betas(beta1: f64, beta2: f64);
} }

impl Rule for LionRule {
    const NAME: &'static str = "lion";

    fn slots(&self, _: &Array) -> &'static [&'static str] {
        &["exp_avg"]
    }

    fn check(&self) -> Result<(), String> {
        Moments { beta1: self.beta1, beta2: self.beta2 }.check()
    }

    fn apply(&self, step: &Step, value: &mut Array, gradient: &Array, state: &mut [Array]) -> Result<()> {
        let formula = Formulated { beta1: self.beta1, beta2: self.beta2, shrink: step.shrink(), step: step.learning_rate };
        update(Self::NAME, value, step.gradient(gradient), state, formula)
    }
}

#[derive(Clone, Copy)]
struct Formulated {
    beta1: f64,
    beta2: f64,
    shrink: f64,
    step: f64,
}

impl Formula<1> for Formulated {
    #[inline(always)]
    fn next<R: Real>(self, p: R, g: R, [m]: [R; 1]) -> (R, [R; 1]) {
        let toward = |beta: f64| R::of(1.0 - beta).mul_add(g - m, m);
        let step = sign(toward(self.beta1)) * R::of(self.step);
        (p * R::of(self.shrink) - step, [toward(self.beta2)])
    }
}
