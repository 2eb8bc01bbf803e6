//! Adafactor (Shazeer and Stern, 2018, arXiv:1804.04235; PyTorch's `Adafactor`).

use super::settings;
use crate::rule::{check_not_negative, wrong_slots};
use crate::{Optimizer, Rule, Step};
use chainrule_core::ops::update::{Factored, Formula, Real, Term, factored_update, sum_of_squares, sum_of_squares_of, update};
use chainrule_core::{Array, DType, Result};

/// Adafactor: the second moments of a matrix are kept as those of its rows and columns, so the state is a small part of the parameter's size, and steps are as long as the parameter is large.
///
/// `V += t^beta2_decay · (g² - V)`, of matrices (the last two dimensions of any parameter that has them) only the rows' means r and the columns' means c, `V = r c / max(mean of r, eps1)`;
/// `u = g / √max(V, eps1²)`; `p = (1 - lr · decay) · p - min(lr, 1/√t) · max(eps2, rms(p)) · u / max(1, rms(u) / clip)`.
/// ```
/// use chainrule_optim::Adafactor;
/// let adafactor = Adafactor::new(0.01).clip(1.0).weight_decay(0.01);
/// assert_eq!(adafactor.learning_rate(), 0.01);
/// ```
pub type Adafactor = Optimizer<AdafactorRule>;

/// The hyper-parameters of [`Adafactor`].
#[derive(Clone, Debug, PartialEq)]
pub struct AdafactorRule {
    /// The power of t that is the share of the new squares in the moments: at most 0.
    pub beta2_decay: f64,
    /// The least divisor; none for the smallest step from 1 that the element type can tell.
    pub eps1: Option<f64>,
    /// The least size that a parameter is taken to have.
    pub eps2: f64,
    /// What the root mean square of a direction is clipped to; PyTorch's `d`.
    pub clip: f64,
}

impl Adafactor {
    /// PyTorch's hyper-parameters: beta2 decay -0.8, eps2 1e-3, clip 1; no weight decay. The learning rate, 0.01 there, is only a limit to the length of steps.
    pub fn new(learning_rate: f64) -> Adafactor {
        Optimizer::from_rule(AdafactorRule { beta2_decay: -0.8, eps1: None, eps2: 1e-3, clip: 1.0 }, learning_rate)
    }
}

settings! { AdafactorRule {
    /// The power of t that is the share of the new squares in the moments: -0.8 unless set.
    beta2_decay(beta2_decay: f64);
    /// The least divisor: the smallest step from 1 that the element type can tell unless set.
    eps1(eps1: Option<f64>);
    /// The least size that a parameter is taken to have: 1e-3 unless set.
    eps2(eps2: f64);
    /// What the root mean square of a direction is clipped to: 1 unless set. PyTorch's `d`.
    clip(clip: f64);
} }

impl Rule for AdafactorRule {
    const NAME: &'static str = "adafactor";

    fn slots(&self, value: &Array) -> &'static [&'static str] {
        if value.rank() > 1 { &["row_var", "col_var"] } else { &["variance"] }
    }

    fn init(&self, slot: &'static str, value: &Array) -> Result<Array> {
        let mut dims = value.dims().to_vec();
        match (slot, dims.as_mut_slice()) {
            ("row_var", [.., _, n]) => *n = 1,
            ("col_var", [.., m, _]) => *m = 1,
            _ => {}
        }
        value.new_full(&dims, 0.0)
    }

    fn check(&self) -> Result<(), String> {
        if !(self.beta2_decay <= 0.0 && self.beta2_decay.is_finite()) {
            return Err(format!("beta2_decay is {}, expected a finite number of at most 0", self.beta2_decay));
        }
        check_not_negative("eps1", self.eps1.unwrap_or(0.0))?;
        check_not_negative("eps2", self.eps2)?;
        if self.clip >= 1.0 { Ok(()) } else { Err(format!("clip is {}, expected at least 1", self.clip)) }
    }

    fn apply(&self, step: &Step, value: &mut Array, gradient: &Array, state: &mut [Array]) -> Result<()> {
        let (t, count) = (step.number as f64, value.count().max(1) as f64);
        let size = (sum_of_squares(value)? / count).sqrt();
        let smallest = if value.dtype() == DType::F64 { f64::EPSILON } else { f64::from(f32::EPSILON) };
        let factored = Factored {
            scale: step.gradient_scale,
            take: t.powf(self.beta2_decay),
            eps: self.eps1.unwrap_or(smallest),
            clip: self.clip,
            step: step.learning_rate.min(1.0 / t.sqrt()) * size.max(self.eps2),
            shrink: step.shrink(),
        };
        match state {
            [rows, columns] => factored_update(value, gradient, rows, columns, &factored),
            [_] => vector(step, value, gradient, state, factored),
            other => Err(wrong_slots(Self::NAME, other.len())),
        }
    }
}

/// The step of a parameter that has no rows and columns.
fn vector(step: &Step, value: &mut Array, gradient: &Array, state: &mut [Array], factored: Factored) -> Result<()> {
    let (op, numbers) = (AdafactorRule::NAME, gradient);
    let direction = Direction { least: factored.eps * factored.eps };
    update(op, value, step.gradient(numbers), state, Observed { take: factored.take })?;
    let squares = sum_of_squares_of(op, [numbers, &state[0]], direction)? * factored.scale * factored.scale;
    let length = (squares / value.count().max(1) as f64).sqrt();
    let walked = Walked { direction, shrink: factored.shrink, step: -factored.step / (length / factored.clip).max(1.0) };
    update(op, value, step.gradient(numbers), state, walked)
}

/// New moments, the parameter as it was.
#[derive(Clone, Copy)]
struct Observed {
    take: f64,
}

impl Formula<1> for Observed {
    #[inline(always)]
    fn next<R: Real>(self, p: R, g: R, [v]: [R; 1]) -> (R, [R; 1]) {
        (p, [R::of(self.take).mul_add(g * g - v, v)])
    }
}

/// u, from g and v. Where g is 0, so is u, however small the moments.
#[derive(Clone, Copy)]
struct Direction {
    least: f64,
}

impl Term<2> for Direction {
    #[inline(always)]
    fn of<R: Real>(self, [g, v]: [R; 2]) -> R {
        let u = g / Real::max(v, R::of(self.least)).sqrt();
        R::choose(g.equals(R::zero()), R::zero(), u)
    }
}

#[derive(Clone, Copy)]
struct Walked {
    direction: Direction,
    shrink: f64,
    step: f64,
}

impl Formula<1> for Walked {
    #[inline(always)]
    fn next<R: Real>(self, p: R, g: R, [v]: [R; 1]) -> (R, [R; 1]) {
        (R::of(self.step).mul_add(self.direction.of([g, v]), p * R::of(self.shrink)), [v])
    }
}
