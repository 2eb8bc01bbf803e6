//! [`Rule`]: what distinguishes one optimizer from another.

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

/// An optimizer's hyper-parameters, the arrays it keeps for each parameter, and its formula.
/// ```
/// use chainrule_core::{Array, DType, Element, Result};
/// use chainrule_optim::{Optimizer, Rule, Step};
///
/// /// p <- p - lr sign(g)
/// #[derive(Clone, Debug)]
/// struct SignDescent;
///
/// fn descend<T: Element>(step: &Step, value: &mut [T], gradient: &[T]) {
///     for (p, g) in value.iter_mut().zip(gradient) {
///         let g = step.gradient_scale * g.to_f64();
///         *p = T::from_f64(p.to_f64() - if g == 0.0 { 0.0 } else { step.learning_rate * g.signum() });
///     }
/// }
///
/// impl Rule for SignDescent {
///     const NAME: &'static str = "sign_descent";
///     fn apply(&self, step: &Step, value: &mut Array, gradient: &Array, _state: &mut [Array]) -> Result<()> {
///         match value.dtype() {
///             DType::F64 => descend::<f64>(step, value.as_mut_slice()?, gradient.as_slice()?),
///             _ => descend::<f32>(step, value.as_mut_slice()?, gradient.as_slice()?),
///         }
///         Ok(())
///     }
/// }
/// let optimizer = Optimizer::from_rule(SignDescent, 1e-3).clip_norm(1.0);
/// assert_eq!(optimizer.learning_rate(), 1e-3);
/// # Ok::<(), chainrule_core::Error>(())
/// ```
pub trait Rule: Clone + Debug + Send + Sync + 'static {
    /// Its name in messages and saved states.
    const NAME: &'static str;

    /// The names of the arrays kept for a parameter, in the order in which [`apply`](Rule::apply) gets them.
    fn slots(&self) -> &'static [&'static str] {
        &[]
    }

    /// What a slot holds before the parameter's first step: zeros of its shape, unless the rule says otherwise.
    ///
    /// # Errors
    /// No memory.
    fn init(&self, slot: &'static str, value: &Array) -> Result<Array> {
        let _ = slot;
        Array::zeros(value.dims(), value.dtype())
    }

    /// Says what is wrong with the hyper-parameters, before anything is written.
    ///
    /// # Errors
    /// What it got and what it expected.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }

    /// Writes the parameter's new value and state. All arrays are f32 or all f64, those to be written are dense and held by nobody else, and `gradient` is dense and of the value's shape.
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
