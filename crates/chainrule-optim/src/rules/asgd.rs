//! Averaged stochastic gradient descent (Polyak and Juditsky, 1992; Xu, 2011, arXiv:1107.2490; PyTorch's `ASGD`).

use super::settings;
use crate::rule::{check_not_negative, wrong_slots};
use crate::{Optimizer, Rule, Step};
use chainrule_core::ops::update::{Formula, Real, update};
use chainrule_core::{Array, DType, Result};

/// ASGD: `g += decay · p`; `p = (1 - lambda · eta_t) · p - eta_t · g`; `a += (p - a) / max(1, t - 1 - start)`, where `eta_1 = lr` and `eta_{t+1} = lr / (1 + lambda · lr · t)^alpha`.
///
/// The averages a lie in the slot `ax` of the [`state`](crate::Optimizer::state).
/// ```
/// use chainrule_optim::Asgd;
/// let asgd = Asgd::new(0.01).lambda(1e-4).start(1000.0);
/// assert_eq!(asgd.learning_rate(), 0.01);
/// ```
pub type Asgd = Optimizer<AsgdRule>;

/// The hyper-parameters of [`Asgd`].
#[derive(Clone, Debug, PartialEq)]
pub struct AsgdRule {
    /// How much of a parameter decays, and how fast the learning rate falls; PyTorch's `lambd`.
    pub lambda: f64,
    /// The power with which the learning rate falls.
    pub alpha: f64,
    /// The step at which averaging begins; PyTorch's `t0`.
    pub start: f64,
}

impl Asgd {
    /// PyTorch's hyper-parameters: lambda 1e-4, alpha 0.75, averages from step 1,000,000 on.
    pub fn new(learning_rate: f64) -> Asgd {
        Optimizer::from_rule(AsgdRule { lambda: 1e-4, alpha: 0.75, start: 1e6 }, learning_rate)
    }
}

settings! { AsgdRule {
    /// How much of a parameter decays, and how fast the learning rate falls: 1e-4 unless set. PyTorch's `lambd`.
    lambda(lambda: f64);
    /// The power with which the learning rate falls: 0.75 unless set.
    alpha(alpha: f64);
    /// The step at which averaging begins: 1,000,000 unless set. PyTorch's `t0`.
    start(start: f64);
} }

impl Rule for AsgdRule {
    const NAME: &'static str = "asgd";

    fn slots(&self, _: &Array) -> &'static [&'static str] {
        &["ax", "eta"]
    }

    fn init(&self, slot: &'static str, value: &Array) -> Result<Array> {
        if slot == "eta" { Array::zeros(&[], DType::F64) } else { value.new_full(value.dims(), 0.0) }
    }

    fn check(&self) -> Result<(), String> {
        check_not_negative("lambda", self.lambda)?;
        check_not_negative("alpha", self.alpha)?;
        check_not_negative("start", self.start)
    }

    fn apply(&self, step: &Step, value: &mut Array, gradient: &Array, state: &mut [Array]) -> Result<()> {
        let [average @ .., eta] = state else { return Err(wrong_slots(Self::NAME, 0)) };
        let [eta] = eta.as_mut_slice::<f64>()? else { return Err(wrong_slots(Self::NAME, average.len() + 1)) };
        let (rate, taken) = (step.learning_rate, (step.number - 1) as f64);
        let now = if step.number == 1 { rate } else { *eta };
        // A schedule shows one step later, as PyTorch's.
        *eta = rate / (1.0 + self.lambda * rate * step.number as f64).powf(self.alpha);
        let formula = Formulated { shrink: 1.0 - self.lambda * now, step: -now, share: 1.0 / (taken - self.start).max(1.0) };
        update(Self::NAME, value, step.penalised(gradient), average, formula)
    }
}

#[derive(Clone, Copy)]
struct Formulated {
    shrink: f64,
    step: f64,
    share: f64,
}

impl Formula<1> for Formulated {
    #[inline(always)]
    fn next<R: Real>(self, p: R, g: R, [average]: [R; 1]) -> (R, [R; 1]) {
        let p = R::of(self.step).mul_add(g, p * R::of(self.shrink));
        // A share of 1 is the number itself, unrounded.
        let average = if self.share == 1.0 { p } else { R::of(self.share).mul_add(p - average, average) };
        (p, [average])
    }
}
