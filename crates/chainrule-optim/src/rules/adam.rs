//! Adam (Kingma and Ba, 2015, arXiv:1412.6980; PyTorch's `Adam`), with AMSGrad (Reddi et al., 2018, arXiv:1904.09237).

use super::moments::Moments;
use super::settings;
use crate::rule::{check_not_negative, wrong_slots};
use crate::{Optimizer, Rule, Step};
use chainrule_core::ops::update::{Formula, Fused, Gradient, Real, update};
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

    fn slots(&self, _: &Array) -> &'static [&'static str] {
        if self.amsgrad { &["exp_avg", "exp_avg_sq", "max_exp_avg_sq"] } else { &["exp_avg", "exp_avg_sq"] }
    }

    fn check(&self) -> Result<(), String> {
        self.moments().check().and(check_not_negative("eps", self.eps))
    }

    fn fused(&self) -> Option<Fused> {
        let AdamRule { beta1, beta2, eps, .. } = *self;
        Some(Fused::Adam { beta1, beta2, eps, decoupled: false })
    }

    fn apply(&self, step: &Step, value: &mut Array, gradient: &Array, state: &mut [Array]) -> Result<()> {
        self.advance(step, value, step.penalised(gradient), state, 1.0)
    }
}

impl AdamRule {
    fn moments(&self) -> Moments {
        Moments { beta1: self.beta1, beta2: self.beta2 }
    }

    /// The step of both Adam and AdamW, on what `shrink` leaves of the parameter.
    pub(super) fn advance(&self, step: &Step, value: &mut Array, gradient: Gradient, state: &mut [Array], shrink: f64) -> Result<()> {
        let formula = Formulated {
            moments: self.moments(),
            shrink,
            step: -step.learning_rate / step.correction(self.beta1),
            root: 1.0 / step.correction(self.beta2).sqrt(),
            eps: self.eps,
        };
        match state.len() {
            2 => update::<2, _>(Self::NAME, value, gradient, state, formula),
            3 => update::<3, _>(Self::NAME, value, gradient, state, formula),
            other => Err(wrong_slots(Self::NAME, other)),
        }
    }
}

/// The step with its biases corrected: `p = shrink p + step m / (root √v + eps)`.
#[derive(Clone, Copy)]
struct Formulated {
    moments: Moments,
    shrink: f64,
    step: f64,
    root: f64,
    eps: f64,
}

impl Formulated {
    #[inline(always)]
    fn moved<R: Real>(self, p: R, m: R, v: R) -> R {
        let divisor = v.sqrt().mul_add(R::of(self.root), R::of(self.eps));
        R::of(self.step) * m / divisor + p * R::of(self.shrink)
    }
}

impl Formula<2> for Formulated {
    #[inline(always)]
    fn next<R: Real>(self, p: R, g: R, [m, v]: [R; 2]) -> (R, [R; 2]) {
        let [m, v] = self.moments.next(g, [m, v]);
        (self.moved(p, m, v), [m, v])
    }
}

impl Formula<3> for Formulated {
    #[inline(always)]
    fn next<R: Real>(self, p: R, g: R, [m, v, most]: [R; 3]) -> (R, [R; 3]) {
        let [m, v] = self.moments.next(g, [m, v]);
        let most = Real::max(most, v);
        (self.moved(p, m, most), [m, v, most])
    }
}
