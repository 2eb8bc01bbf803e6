//! Stochastic gradient descent with momentum (Robbins and Monro, 1951; Polyak, 1964; Sutskever et al., 2013; PyTorch's `SGD`).

use super::settings;
use crate::rule::{check_fraction, check_not_negative};
use crate::{Optimizer, Rule, Step};
use chainrule_core::ops::update::{Formula, Fused, Real, update};
use chainrule_core::{Array, Result};

/// Stochastic gradient descent: `g += decay · p`; `b = momentum · b + (1 - dampening) · g`, the first time `b = g`; `p -= lr · b`, or `lr · (g + momentum · b)` with Nesterov's momentum.
/// ```
/// use chainrule_optim::Sgd;
/// let sgd = Sgd::new(0.1).momentum(0.9).nesterov(true).weight_decay(5e-4).group("*.bias", |g| g.weight_decay(0.0));
/// assert_eq!(sgd.learning_rate(), 0.1);
/// ```
pub type Sgd = Optimizer<SgdRule>;

/// The hyper-parameters of [`Sgd`].
#[derive(Clone, Debug, PartialEq, Default)]
pub struct SgdRule {
    /// The share of the last step's direction that is kept.
    pub momentum: f64,
    /// What momentum takes off the new gradient.
    pub dampening: f64,
    /// Whether the step looks ahead along the momentum.
    pub nesterov: bool,
}

impl Sgd {
    /// Plain descent; no momentum, no decay.
    pub fn new(learning_rate: f64) -> Sgd {
        Optimizer::from_rule(SgdRule::default(), learning_rate)
    }
}

settings! { SgdRule {
    /// The share of the last step's direction that is kept: 0.9 is usual, 0 unless set.
    momentum(momentum: f64);
    /// What momentum takes off the new gradient: 0 unless set.
    dampening(dampening: f64);
    /// Whether the step looks ahead along the momentum (Nesterov, 1983). It needs momentum, and no dampening.
    nesterov(nesterov: bool);
} }

impl Rule for SgdRule {
    const NAME: &'static str = "sgd";

    fn slots(&self, _: &Array) -> &'static [&'static str] {
        if self.momentum == 0.0 { &[] } else { &["momentum_buffer"] }
    }

    fn check(&self) -> Result<(), String> {
        check_not_negative("momentum", self.momentum)?;
        check_fraction("dampening", self.dampening)?;
        if self.nesterov && (self.momentum == 0.0 || self.dampening != 0.0) {
            return Err(format!("nesterov needs momentum and no dampening, got momentum {} and dampening {}", self.momentum, self.dampening));
        }
        Ok(())
    }

    fn fused(&self) -> Option<Fused> {
        let SgdRule { momentum, dampening, nesterov } = *self;
        Some(Fused::Sgd { momentum, dampening, nesterov })
    }

    fn apply(&self, step: &Step, value: &mut Array, gradient: &Array, state: &mut [Array]) -> Result<()> {
        let (rate, gradient) = (step.learning_rate, step.penalised(gradient));
        if self.momentum == 0.0 {
            return update(Self::NAME, value, gradient, state, Plain { step: -rate });
        }
        let SgdRule { momentum, dampening, nesterov } = *self;
        let formula = Momentum {
            keep: momentum,
            take: if step.number == 1 { 1.0 } else { 1.0 - dampening },
            by_gradient: if nesterov { -rate } else { 0.0 },
            by_buffer: if nesterov { -rate * momentum } else { -rate },
        };
        update(Self::NAME, value, gradient, state, formula)
    }
}

/// p += step g
#[derive(Clone, Copy)]
struct Plain {
    step: f64,
}

impl Formula<0> for Plain {
    #[inline(always)]
    fn next<R: Real>(self, p: R, g: R, []: [R; 0]) -> (R, [R; 0]) {
        (g.mul_add(R::of(self.step), p), [])
    }
}

/// b = keep b + take g, p += by_gradient g + by_buffer b
#[derive(Clone, Copy)]
struct Momentum {
    keep: f64,
    take: f64,
    by_gradient: f64,
    by_buffer: f64,
}

impl Formula<1> for Momentum {
    #[inline(always)]
    fn next<R: Real>(self, p: R, g: R, [b]: [R; 1]) -> (R, [R; 1]) {
        let b = R::of(self.take).mul_add(g, b * R::of(self.keep));
        (R::of(self.by_gradient).mul_add(g, b * R::of(self.by_buffer)) + p, [b])
    }
}
