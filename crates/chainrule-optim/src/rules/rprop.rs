//! Resilient backpropagation (Riedmiller and Braun, 1993; PyTorch's `Rprop`).

use super::{settings, sign};
use crate::{Optimizer, Rule, Step};
use chainrule_core::ops::update::{Formula, Real, update};
use chainrule_core::{Array, Result};

/// Rprop: only the sign of a gradient counts, and every number has a step size of its own, lr at first. Where the sign is that of the step before, the size grows, `s = min(s · grow, largest)`;
/// where it has turned, `s = max(s · shrink, smallest)` and this step is left out (`g = 0`). `p -= sign(g) · s`.
///
/// For gradients of whole data sets, not of batches. The learning rate matters in the first step only.
/// ```
/// use chainrule_optim::Rprop;
/// let rprop = Rprop::new(0.01).etas(0.5, 1.2).step_sizes(1e-6, 50.0);
/// assert_eq!(rprop.learning_rate(), 0.01);
/// ```
pub type Rprop = Optimizer<RpropRule>;

/// The hyper-parameters of [`Rprop`].
#[derive(Clone, Debug, PartialEq)]
pub struct RpropRule {
    /// What a step size is multiplied by where the sign has turned.
    pub shrink: f64,
    /// What it is multiplied by where the sign has not.
    pub grow: f64,
    /// The smallest step size.
    pub smallest: f64,
    /// The largest.
    pub largest: f64,
}

impl Rprop {
    /// PyTorch's hyper-parameters: etas 0.5 and 1.2, step sizes from 1e-6 to 50.
    pub fn new(learning_rate: f64) -> Rprop {
        Optimizer::from_rule(RpropRule { shrink: 0.5, grow: 1.2, smallest: 1e-6, largest: 50.0 }, learning_rate)
    }
}

settings! { RpropRule {
    /// What a step size is multiplied by where the sign has turned, and where not: 0.5 and 1.2 unless set.
    etas(shrink: f64, grow: f64);
    /// The smallest and the largest step size: 1e-6 and 50 unless set.
    step_sizes(smallest: f64, largest: f64);
} }

impl Rule for RpropRule {
    const NAME: &'static str = "rprop";

    fn slots(&self, _: &Array) -> &'static [&'static str] {
        &["prev", "step_size"]
    }

    fn check(&self) -> Result<(), String> {
        let RpropRule { shrink, grow, smallest, largest } = *self;
        if !(0.0 < shrink && shrink < 1.0 && 1.0 < grow && grow.is_finite()) {
            return Err(format!("etas are {shrink} and {grow}, expected one between 0 and 1 and one above 1"));
        }
        if !(0.0 <= smallest && smallest <= largest) {
            return Err(format!("step_sizes are {smallest} and {largest}, expected two numbers of at least 0, the smaller one first"));
        }
        Ok(())
    }

    fn apply(&self, step: &Step, value: &mut Array, gradient: &Array, state: &mut [Array]) -> Result<()> {
        let RpropRule { shrink, grow, smallest, largest } = *self;
        let formula = Formulated { shrink, grow, smallest, largest, start: (step.number == 1).then_some(step.learning_rate) };
        update(Self::NAME, value, step.penalised(gradient), state, formula)
    }
}

#[derive(Clone, Copy)]
struct Formulated {
    shrink: f64,
    grow: f64,
    smallest: f64,
    largest: f64,
    /// The size of the first step.
    start: Option<f64>,
}

impl Formula<2> for Formulated {
    #[inline(always)]
    fn next<R: Real>(self, p: R, g: R, [before, size]: [R; 2]) -> (R, [R; 2]) {
        let size = self.start.map_or(size, R::of);
        let agreement = sign(g) * sign(before);
        let factor = R::choose(agreement.above(R::zero()), R::of(self.grow), R::one());
        let factor = R::choose(agreement.below(R::zero()), R::of(self.shrink), factor);
        let size = R::min(R::max(size * factor, R::of(self.smallest)), R::of(self.largest));
        let g = R::choose(agreement.below(R::zero()), R::zero(), g);
        (p - sign(g) * size, [g, size])
    }
}
