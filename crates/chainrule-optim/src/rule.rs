//! [`Rule`]: what distinguishes one optimizer from another.

use chainrule_core::ops::update::{Fused, Gradient};
use chainrule_core::{Array, Result};
use std::fmt::Debug;

/// What a rule is told of a step besides its own hyper-parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// The learning rate, schedule and scales included.
    pub learning_rate: f64,
    /// The group's weight decay.
    pub weight_decay: f64,
    /// Which step of this parameter it is, from 1 on.
    pub number: u64,
    /// What the gradient is to be multiplied by: clipping.
    pub gradient_scale: f64,
}

impl Step {
    /// The gradient for a formula: `scale · g`.
    pub fn gradient<'a>(&self, numbers: &'a Array) -> Gradient<'a> {
        Gradient { numbers, scale: self.gradient_scale, decay: 0.0 }
    }

    /// The gradient with that of an L2 penalty: `scale · g + decay · p`.
    pub fn penalised<'a>(&self, numbers: &'a Array) -> Gradient<'a> {
        Gradient { decay: self.weight_decay, ..self.gradient(numbers) }
    }

    /// What decoupled weight decay leaves of a parameter: `1 - lr · decay` (Loshchilov and Hutter, 2019, arXiv:1711.05101).
    pub fn shrink(&self) -> f64 {
        1.0 - self.learning_rate * self.weight_decay
    }

    /// `1 - beta^t`: by this a running mean that began at 0 is too small.
    pub fn correction(&self, beta: f64) -> f64 {
        1.0 - beta.powf(self.number as f64)
    }
}

/// An optimizer's hyper-parameters, the arrays it keeps for each parameter, and its formula.
///
/// A [`Formula`](chainrule_core::ops::update::Formula) is written for one number and runs vectorised over all.
/// ```
/// use chainrule_core::ops::update::{Formula, Real, update};
/// use chainrule_core::{Array, Result};
/// use chainrule_optim::{Optimizer, Rule, Step};
///
/// /// `b = keep · b + g`, `p -= lr · b`
/// #[derive(Clone, Debug)]
/// struct HeavyBall { keep: f64 }
///
/// #[derive(Clone, Copy)]
/// struct Formulated { keep: f64, step: f64 }
///
/// impl Formula<1> for Formulated {
///     #[inline(always)]
///     fn next<R: Real>(self, p: R, g: R, [b]: [R; 1]) -> (R, [R; 1]) {
///         let b = b * R::of(self.keep) + g;
///         (p + b * R::of(self.step), [b])
///     }
/// }
///
/// impl Rule for HeavyBall {
///     const NAME: &'static str = "heavy_ball";
///     fn slots(&self, _: &Array) -> &'static [&'static str] {
///         &["momentum_buffer"]
///     }
///     fn apply(&self, step: &Step, value: &mut Array, gradient: &Array, state: &mut [Array]) -> Result<()> {
///         update(Self::NAME, value, step.penalised(gradient), state, Formulated { keep: self.keep, step: -step.learning_rate })
///     }
/// }
/// let optimizer = Optimizer::from_rule(HeavyBall { keep: 0.9 }, 1e-3).clip_norm(1.0);
/// assert_eq!(optimizer.learning_rate(), 1e-3);
/// ```
pub trait Rule: Clone + Debug + Send + Sync + 'static {
    /// Its name in messages and saved states.
    const NAME: &'static str;

    /// The names of the arrays kept for a parameter of this shape, in the order in which [`apply`](Rule::apply) gets them.
    fn slots(&self, value: &Array) -> &'static [&'static str] {
        let _ = value;
        &[]
    }

    /// What a slot holds before the parameter's first step: zeros of its shape, unless the rule says otherwise. The slot keeps the shape and element type that it is given here.
    ///
    /// # Errors
    /// No memory.
    fn init(&self, slot: &'static str, value: &Array) -> Result<Array> {
        let _ = slot;
        value.new_full(value.dims(), 0.0)
    }

    /// Says what is wrong with the hyper-parameters, before anything is written.
    ///
    /// # Errors
    /// What it got and what it expected.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }

    /// The formula as data, for a GPU, which steps all parameters at once; rules that have none train on the CPU alone.
    fn fused(&self) -> Option<Fused> {
        None
    }

    /// Writes the parameter's new value and state. Value and gradient are both f32 or both f64; what is to be written is dense and held by nobody else, and `gradient` is dense and of the value's shape.
    ///
    /// # Errors
    /// None, best of all: parameters before this one are written already. Keep what needs memory in a slot, and refuse hyper-parameters in [`check`](Rule::check).
    fn apply(&self, step: &Step, value: &mut Array, gradient: &Array, state: &mut [Array]) -> Result<()>;
}

/// An error unless the number lies in `0 <= x < 1`, as what is kept of a running mean must.
pub(crate) fn check_fraction(name: &str, x: f64) -> Result<(), String> {
    if (0.0..1.0).contains(&x) { Ok(()) } else { Err(format!("{name} is {x}, expected a number from 0 to below 1")) }
}

/// An error unless the number is finite and not negative.
pub(crate) fn check_not_negative(name: &str, x: f64) -> Result<(), String> {
    if x >= 0.0 && x.is_finite() { Ok(()) } else { Err(format!("{name} is {x}, expected a finite number of at least 0")) }
}

/// An error for a rule that is handed other arrays than its slots.
pub(crate) fn wrong_slots(op: &'static str, got: usize) -> chainrule_core::Error {
    chainrule_core::Error::value(op, format!("got {got} state arrays, expected one for each slot"))
}
