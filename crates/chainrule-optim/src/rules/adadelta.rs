//! Adadelta (Zeiler, 2012, arXiv:1212.5701; PyTorch's `Adadelta`).

use super::settings;
use crate::rule::{check_fraction, check_not_negative};
use crate::{Optimizer, Rule, Step};
use chainrule_core::ops::update::{Formula, Real, update};
use chainrule_core::{Array, Result};

/// Adadelta: `g += decay · p`; `v = rho · v + (1 - rho) · g²`; `d = √(u + eps) / √(v + eps) · g`; `u = rho · u + (1 - rho) · d²`; `p -= lr · d`.
/// ```
/// use chainrule_optim::Adadelta;
/// let adadelta = Adadelta::new(1.0).rho(0.95);
/// assert_eq!(adadelta.learning_rate(), 1.0);
/// ```
pub type Adadelta = Optimizer<AdadeltaRule>;

/// The hyper-parameters of [`Adadelta`].
#[derive(Clone, Debug, PartialEq)]
pub struct AdadeltaRule {
    /// The decay of the mean squared gradient and of the mean squared step.
    pub rho: f64,
    /// Added below both roots.
    pub eps: f64,
}

impl Adadelta {
    /// PyTorch's hyper-parameters: rho 0.9, eps 1e-6; no decay. The paper's learning rate is 1.
    pub fn new(learning_rate: f64) -> Adadelta {
        Optimizer::from_rule(AdadeltaRule { rho: 0.9, eps: 1e-6 }, learning_rate)
    }
}

settings! { AdadeltaRule {
    /// The decay of the mean squared gradient and of the mean squared step: 0.9 unless set.
    rho(rho: f64);
    /// What is added below both roots: 1e-6 unless set.
    eps(eps: f64);
} }

impl Rule for AdadeltaRule {
    const NAME: &'static str = "adadelta";

    fn slots(&self, _: &Array) -> &'static [&'static str] {
        &["square_avg", "acc_delta"]
    }

    fn check(&self) -> Result<(), String> {
        check_fraction("rho", self.rho).and(check_not_negative("eps", self.eps))
    }

    fn apply(&self, step: &Step, value: &mut Array, gradient: &Array, state: &mut [Array]) -> Result<()> {
        let formula = Formulated { rho: self.rho, eps: self.eps, step: -step.learning_rate };
        update(Self::NAME, value, step.penalised(gradient), state, formula)
    }
}

#[derive(Clone, Copy)]
struct Formulated {
    rho: f64,
    eps: f64,
    step: f64,
}

impl Formula<2> for Formulated {
    #[inline(always)]
    fn next<R: Real>(self, p: R, g: R, [v, u]: [R; 2]) -> (R, [R; 2]) {
        let (keep, take, eps) = (R::of(self.rho), R::of(1.0 - self.rho), R::of(self.eps));
        let v = (take * g).mul_add(g, v * keep);
        let d = (u + eps).sqrt() / (v + eps).sqrt() * g;
        let u = (take * d).mul_add(d, u * keep);
        (R::of(self.step).mul_add(d, p), [v, u])
    }
}
