//! Adamax (Kingma and Ba, 2015, section 7.1, arXiv:1412.6980; PyTorch's `Adamax`).

use super::moments::Moments;
use super::settings;
use crate::rule::check_not_negative;
use crate::{Optimizer, Rule, Step};
use chainrule_core::ops::update::{Formula, Real, update};
use chainrule_core::{Array, Result};

/// Adamax: `g += decay · p`; `m = beta1 · m + (1 - beta1) · g`; `u = max(beta2 · u, |g| + eps)`; `p -= lr / (1 - beta1^t) · m / u`.
/// ```
/// use chainrule_optim::Adamax;
/// let adamax = Adamax::new(2e-3).betas(0.9, 0.99);
/// assert_eq!(adamax.learning_rate(), 2e-3);
/// ```
pub type Adamax = Optimizer<AdamaxRule>;

/// The hyper-parameters of [`Adamax`].
#[derive(Clone, Debug, PartialEq)]
pub struct AdamaxRule {
    /// The decay of the mean gradient.
    pub beta1: f64,
    /// The decay of the largest gradient.
    pub beta2: f64,
    /// Added to the size of a gradient.
    pub eps: f64,
}

impl Adamax {
    /// The paper's hyper-parameters: betas 0.9 and 0.999, eps 1e-8; no decay.
    pub fn new(learning_rate: f64) -> Adamax {
        Optimizer::from_rule(AdamaxRule { beta1: 0.9, beta2: 0.999, eps: 1e-8 }, learning_rate)
    }
}

settings! { AdamaxRule {
    /// The decays of the mean gradient and of the largest gradient: 0.9 and 0.999 unless set.
    betas(beta1: f64, beta2: f64);
    /// What is added to the size of a gradient: 1e-8 unless set.
    eps(eps: f64);
} }

impl Rule for AdamaxRule {
    const NAME: &'static str = "adamax";

    fn slots(&self, _: &Array) -> &'static [&'static str] {
        &["exp_avg", "exp_inf"]
    }

    fn check(&self) -> Result<(), String> {
        Moments { beta1: self.beta1, beta2: self.beta2 }.check().and(check_not_negative("eps", self.eps))
    }

    fn apply(&self, step: &Step, value: &mut Array, gradient: &Array, state: &mut [Array]) -> Result<()> {
        let AdamaxRule { beta1, beta2, eps } = *self;
        let formula = Formulated { take: 1.0 - beta1, keep: beta2, eps, step: -step.learning_rate / step.correction(beta1) };
        update(Self::NAME, value, step.penalised(gradient), state, formula)
    }
}

#[derive(Clone, Copy)]
struct Formulated {
    take: f64,
    keep: f64,
    eps: f64,
    step: f64,
}

impl Formula<2> for Formulated {
    #[inline(always)]
    fn next<R: Real>(self, p: R, g: R, [m, u]: [R; 2]) -> (R, [R; 2]) {
        let m = R::of(self.take).mul_add(g - m, m);
        let u = Real::max(u * R::of(self.keep), g.abs() + R::of(self.eps));
        // Only where eps is 0 and every gradient was: then m is 0 too.
        let direction = R::choose(u.equals(R::zero()), R::zero(), m / u);
        (R::of(self.step).mul_add(direction, p), [m, u])
    }
}
