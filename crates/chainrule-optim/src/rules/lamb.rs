//! LAMB, Adam with a length of its own for every parameter (You et al., 2020, "Large batch optimization for deep learning", arXiv:1904.00962).

use super::moments::Moments;
use super::settings;
use crate::rule::{check_not_negative, wrong_slots};
use crate::{Optimizer, Rule, Step};
use chainrule_core::ops::update::{Formula, Real, Term, sum_of_squares, sum_of_squares_of, update};
use chainrule_core::{Array, Result};

/// LAMB: moments as [`Adam`](crate::Adam)'s; `r = m̂ / (√v̂ + eps) + decay · p`; `p -= lr · ‖p‖ / ‖r‖ · r`, where the norms are the whole parameter's and their ratio is 1 if one of them is 0.
///
/// For large batches. Leave the decay out for biases and norms, as with AdamW.
/// ```
/// use chainrule_optim::Lamb;
/// let lamb = Lamb::new(2e-3).weight_decay(0.01).group("*.{bias,norm.weight}", |g| g.weight_decay(0.0));
/// assert_eq!(lamb.learning_rate(), 2e-3);
/// ```
pub type Lamb = Optimizer<LambRule>;

/// The hyper-parameters of [`Lamb`].
#[derive(Clone, Debug, PartialEq)]
pub struct LambRule {
    /// The decay of the mean gradient.
    pub beta1: f64,
    /// The decay of the mean squared gradient.
    pub beta2: f64,
    /// Added to the divisor.
    pub eps: f64,
}

impl Lamb {
    /// The paper's hyper-parameters: betas 0.9 and 0.999, eps 1e-6; no decay.
    pub fn new(learning_rate: f64) -> Lamb {
        Optimizer::from_rule(LambRule { beta1: 0.9, beta2: 0.999, eps: 1e-6 }, learning_rate)
    }
}

settings! { LambRule {
    /// The decays of the mean gradient and of the mean squared gradient: 0.9 and 0.999 unless set.
    betas(beta1: f64, beta2: f64);
    /// What is added to the divisor: 1e-6 unless set.
    eps(eps: f64);
} }

impl Rule for LambRule {
    const NAME: &'static str = "lamb";

    fn slots(&self, _: &Array) -> &'static [&'static str] {
        &["exp_avg", "exp_avg_sq"]
    }

    fn check(&self) -> Result<(), String> {
        Moments { beta1: self.beta1, beta2: self.beta2 }.check().and(check_not_negative("eps", self.eps))
    }

    fn apply(&self, step: &Step, value: &mut Array, gradient: &Array, state: &mut [Array]) -> Result<()> {
        let LambRule { beta1, beta2, eps } = *self;
        // The moments first: the length of the whole direction must be known before the first number moves.
        update(Self::NAME, value, step.gradient(gradient), state, Observed(Moments { beta1, beta2 }))?;
        let direction = Direction { mean: 1.0 / step.correction(beta1), root: 1.0 / step.correction(beta2).sqrt(), eps, decay: step.weight_decay };
        let [m, v] = state else { return Err(wrong_slots(Self::NAME, state.len())) };
        let (size, length) = (sum_of_squares(value)?.sqrt(), sum_of_squares_of(Self::NAME, [value, m, v], direction)?.sqrt());
        let trust = if size > 0.0 && length > 0.0 { size / length } else { 1.0 };
        update(Self::NAME, value, step.gradient(gradient), state, Walked { direction, step: -step.learning_rate * trust })
    }
}

/// New moments, the parameter as it was.
#[derive(Clone, Copy)]
struct Observed(Moments);

impl Formula<2> for Observed {
    #[inline(always)]
    fn next<R: Real>(self, p: R, g: R, state: [R; 2]) -> (R, [R; 2]) {
        (p, self.0.next(g, state))
    }
}

/// r, from p, m and v.
#[derive(Clone, Copy)]
struct Direction {
    mean: f64,
    root: f64,
    eps: f64,
    decay: f64,
}

impl Term<3> for Direction {
    #[inline(always)]
    fn of<R: Real>(self, [p, m, v]: [R; 3]) -> R {
        let divisor = v.sqrt().mul_add(R::of(self.root), R::of(self.eps));
        R::of(self.decay).mul_add(p, R::of(self.mean) * m / divisor)
    }
}

#[derive(Clone, Copy)]
struct Walked {
    direction: Direction,
    step: f64,
}

impl Formula<2> for Walked {
    #[inline(always)]
    fn next<R: Real>(self, p: R, _: R, [m, v]: [R; 2]) -> (R, [R; 2]) {
        (R::of(self.step).mul_add(self.direction.of([p, m, v]), p), [m, v])
    }
}
