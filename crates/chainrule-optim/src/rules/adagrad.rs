//! Adagrad (Duchi, Hazan and Singer, 2011, JMLR 12; PyTorch's `Adagrad`).

use super::settings;
use crate::rule::check_not_negative;
use crate::{Optimizer, Rule, Step};
use chainrule_core::ops::update::{Formula, Real, update};
use chainrule_core::{Array, Result};

/// Adagrad: `g += decay · p`; `s += g²`; `p -= lr / (1 + (t - 1) · rate_decay) · g / (√s + eps)`.
/// ```
/// use chainrule_optim::Adagrad;
/// let adagrad = Adagrad::new(0.01).initial_accumulator(0.1).rate_decay(1e-4);
/// assert_eq!(adagrad.learning_rate(), 0.01);
/// ```
pub type Adagrad = Optimizer<AdagradRule>;

/// The hyper-parameters of [`Adagrad`].
#[derive(Clone, Debug, PartialEq)]
pub struct AdagradRule {
    /// How fast the learning rate falls beside the schedule; PyTorch's `lr_decay`.
    pub rate_decay: f64,
    /// What the sums of squares begin with; PyTorch's `initial_accumulator_value`.
    pub initial_accumulator: f64,
    /// Added to the divisor.
    pub eps: f64,
}

impl Adagrad {
    /// PyTorch's hyper-parameters: eps 1e-10; sums that begin with 0, no decays.
    pub fn new(learning_rate: f64) -> Adagrad {
        Optimizer::from_rule(AdagradRule { rate_decay: 0.0, initial_accumulator: 0.0, eps: 1e-10 }, learning_rate)
    }
}

settings! { AdagradRule {
    /// How fast the learning rate falls beside the schedule: 0 unless set. PyTorch's `lr_decay`.
    rate_decay(rate_decay: f64);
    /// What the sums of squares begin with: 0 unless set. PyTorch's `initial_accumulator_value`.
    initial_accumulator(initial_accumulator: f64);
    /// What is added to the divisor: 1e-10 unless set.
    eps(eps: f64);
} }

impl Rule for AdagradRule {
    const NAME: &'static str = "adagrad";

    fn slots(&self, _: &Array) -> &'static [&'static str] {
        &["sum"]
    }

    fn init(&self, _: &'static str, value: &Array) -> Result<Array> {
        value.new_full(value.dims(), self.initial_accumulator)
    }

    fn check(&self) -> Result<(), String> {
        check_not_negative("rate_decay", self.rate_decay)?;
        check_not_negative("initial_accumulator", self.initial_accumulator)?;
        check_not_negative("eps", self.eps)
    }

    fn apply(&self, step: &Step, value: &mut Array, gradient: &Array, state: &mut [Array]) -> Result<()> {
        let rate = step.learning_rate / (1.0 + (step.number - 1) as f64 * self.rate_decay);
        update(Self::NAME, value, step.penalised(gradient), state, Formulated { step: -rate, eps: self.eps })
    }
}

#[derive(Clone, Copy)]
struct Formulated {
    step: f64,
    eps: f64,
}

impl Formula<1> for Formulated {
    #[inline(always)]
    fn next<R: Real>(self, p: R, g: R, [sum]: [R; 1]) -> (R, [R; 1]) {
        let sum = g.mul_add(g, sum);
        (p + R::of(self.step) * g / (sum.sqrt() + R::of(self.eps)), [sum])
    }
}
