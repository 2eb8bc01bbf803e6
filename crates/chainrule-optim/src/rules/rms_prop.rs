//! RMSprop (Hinton, 2012, lecture 6e of "Neural networks for machine learning"; centred: Graves, 2013, arXiv:1308.0850; PyTorch's `RMSprop`).

use super::settings;
use crate::rule::{check_fraction, check_not_negative, wrong_slots};
use crate::{Optimizer, Rule, Step};
use chainrule_core::ops::update::{Formula, Real, update};
use chainrule_core::{Array, Result};

/// RMSprop: `g += decay · p`; `v = alpha · v + (1 - alpha) · g²`; `p -= lr · g / (√v + eps)`.
///
/// Centred, `v - m²` stands in place of v, where m is the running mean of g. With momentum, `b = momentum · b + g / (√v + eps)` and `p -= lr · b`.
/// ```
/// use chainrule_optim::RmsProp;
/// let rms_prop = RmsProp::new(1e-3).alpha(0.9).momentum(0.9).centered(true);
/// assert_eq!(rms_prop.learning_rate(), 1e-3);
/// ```
pub type RmsProp = Optimizer<RmsPropRule>;

/// The hyper-parameters of [`RmsProp`].
#[derive(Clone, Debug, PartialEq)]
pub struct RmsPropRule {
    /// The decay of the mean squared gradient.
    pub alpha: f64,
    /// Added to the divisor.
    pub eps: f64,
    /// The share of the last step's direction that is kept.
    pub momentum: f64,
    /// Whether the variance of the gradient divides, and not its square.
    pub centered: bool,
}

impl RmsProp {
    /// PyTorch's hyper-parameters: alpha 0.99, eps 1e-8; no momentum, no decay, not centred.
    pub fn new(learning_rate: f64) -> RmsProp {
        Optimizer::from_rule(RmsPropRule { alpha: 0.99, eps: 1e-8, momentum: 0.0, centered: false }, learning_rate)
    }
}

settings! { RmsPropRule {
    /// The decay of the mean squared gradient: 0.99 unless set.
    alpha(alpha: f64);
    /// What is added to the divisor: 1e-8 unless set.
    eps(eps: f64);
    /// The share of the last step's direction that is kept: 0 unless set.
    momentum(momentum: f64);
    /// Whether the variance of the gradient divides, and not its square.
    centered(centered: bool);
} }

impl Rule for RmsPropRule {
    const NAME: &'static str = "rms_prop";

    fn slots(&self, _: &Array) -> &'static [&'static str] {
        match (self.momentum != 0.0, self.centered) {
            (false, false) => &["square_avg"],
            (false, true) => &["square_avg", "grad_avg"],
            (true, false) => &["square_avg", "momentum_buffer"],
            (true, true) => &["square_avg", "momentum_buffer", "grad_avg"],
        }
    }

    fn check(&self) -> Result<(), String> {
        check_fraction("alpha", self.alpha)?;
        check_not_negative("eps", self.eps)?;
        check_not_negative("momentum", self.momentum)
    }

    fn apply(&self, step: &Step, value: &mut Array, gradient: &Array, state: &mut [Array]) -> Result<()> {
        let RmsPropRule { alpha, eps, momentum, centered } = *self;
        let (gradient, formula) = (step.penalised(gradient), Formulated { alpha, eps, momentum, centered, step: -step.learning_rate });
        match state.len() {
            1 => update::<1, _>(Self::NAME, value, gradient, state, formula),
            2 => update::<2, _>(Self::NAME, value, gradient, state, formula),
            3 => update::<3, _>(Self::NAME, value, gradient, state, formula),
            other => Err(wrong_slots(Self::NAME, other)),
        }
    }
}

#[derive(Clone, Copy)]
struct Formulated {
    alpha: f64,
    eps: f64,
    momentum: f64,
    centered: bool,
    step: f64,
}

/// With all that can be kept. Without momentum the buffer is the direction itself; a mean that stays 0 centres nothing.
impl Formula<3> for Formulated {
    #[inline(always)]
    fn next<R: Real>(self, p: R, g: R, [v, b, m]: [R; 3]) -> (R, [R; 3]) {
        let take = R::of(1.0 - self.alpha);
        let v = (take * g).mul_add(g, v * R::of(self.alpha));
        let m = if self.centered { take.mul_add(g - m, m) } else { R::zero() };
        // Rounding must not make a variance negative.
        let variance = Real::max((-m).mul_add(m, v), R::zero());
        let b = b * R::of(self.momentum) + g / (variance.sqrt() + R::of(self.eps));
        (R::of(self.step).mul_add(b, p), [v, b, m])
    }
}

/// With the mean or the buffer.
impl Formula<2> for Formulated {
    #[inline(always)]
    fn next<R: Real>(self, p: R, g: R, [v, other]: [R; 2]) -> (R, [R; 2]) {
        let (b, m) = if self.centered { (R::zero(), other) } else { (other, R::zero()) };
        let (p, [v, b, m]) = self.next(p, g, [v, b, m]);
        (p, [v, if self.centered { m } else { b }])
    }
}

impl Formula<1> for Formulated {
    #[inline(always)]
    fn next<R: Real>(self, p: R, g: R, [v]: [R; 1]) -> (R, [R; 1]) {
        let (p, [v, _, _]) = self.next(p, g, [v, R::zero(), R::zero()]);
        (p, [v])
    }
}
