//! Stochastic gradient descent with momentum (Robbins and Monro, 1951; Polyak, 1964; Sutskever et al., 2013; PyTorch's `SGD`).

use super::settings;
use crate::rule::{check_fraction, check_not_negative, wrong_slots};
use crate::{Optimizer, Rule, Step};
use chainrule_core::ops::update::{self, sgd_update};
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

    fn slots(&self) -> &'static [&'static str] {
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

    fn apply(&self, step: &Step, value: &mut Array, gradient: &Array, state: &mut [Array]) -> Result<()> {
        let buffer = match state {
            [] => None,
            [buffer] => Some(buffer),
            more => return Err(wrong_slots("sgd", more.len())),
        };
        let sgd = update::Sgd {
            learning_rate: step.learning_rate,
            momentum: self.momentum,
            dampening: self.dampening,
            nesterov: self.nesterov,
            weight_decay: step.weight_decay,
        };
        sgd_update(value, gradient, buffer, step.number == 1, &sgd, step.gradient_scale)
    }
}
