//! The curves that schedules are made of.

use super::{OneCycle, Schedule};
use std::f64::consts::PI;
use std::fmt;
use std::sync::{Arc, Mutex};

/// A user's function of the step.
pub(super) type Function = Arc<dyn Fn(u64) -> f64 + Send + Sync>;

/// What a schedule is made of.
pub(super) enum Curve {
    Constant(f64),
    Step { every: u64, gamma: f64 },
    MultiStep { milestones: Vec<u64>, gamma: f64 },
    Exponential { gamma: f64 },
    Cosine { steps: u64 },
    CosineRestarts { first: u64, times: u64 },
    Linear { from: f64, to: f64, steps: u64 },
    Polynomial { steps: u64, power: f64 },
    Triangular { up: u64, down: u64 },
    InverseSquareRoot { warm_up: u64 },
    OneCycle(OneCycle),
    Floor { of: Schedule, floor: f64 },
    Until { first: Schedule, until: u64, then: Schedule },
    Times(Schedule, Schedule),
    PerEpoch { of: Schedule, steps: u64 },
    Function(Function),
    Product { of: Function, known: Mutex<(u64, f64)> },
}

impl Curve {
    /// The factor of a step, counted from 0.
    pub(super) fn at(&self, step: u64) -> f64 {
        match self {
            Curve::Constant(factor) => *factor,
            Curve::Step { every, gamma } => step.checked_div(*every).map_or(f64::NAN, |n| gamma.powf(n as f64)),
            Curve::MultiStep { milestones, gamma } => gamma.powf(milestones.iter().filter(|m| **m <= step).count() as f64),
            Curve::Exponential { gamma } => gamma.powf(step as f64),
            Curve::Cosine { steps } => half_wave(share(step, *steps)),
            Curve::CosineRestarts { first, times } => {
                let (mut step, mut length) = (step, *first);
                if *times == 1 {
                    step = step.checked_rem(length).unwrap_or(0);
                }
                while *times > 1 && length > 0 && step >= length {
                    step -= length;
                    length = length.saturating_mul(*times);
                }
                if *times == 0 { f64::NAN } else { half_wave(share(step, length)) }
            }
            Curve::Linear { from, to, steps } => from + (to - from) * share_up_to_one(step, *steps),
            Curve::Polynomial { steps, power } => (1.0 - share_up_to_one(step, *steps)).powf(*power),
            Curve::Triangular { up, down } => {
                let step = step.checked_rem(up.saturating_add(*down)).map_or(f64::NAN, |step| step as f64);
                if step <= *up as f64 && *up > 0 { step / *up as f64 } else { 1.0 - (step - *up as f64) / *down as f64 }
            }
            Curve::InverseSquareRoot { warm_up } => {
                let share = share(step.saturating_add(1), *warm_up);
                share.min(1.0 / share.sqrt())
            }
            Curve::OneCycle(form) => form.at(step),
            Curve::Floor { of, floor } => floor + (1.0 - floor) * of.at(step),
            Curve::Until { first, until, then } => {
                if step < *until {
                    first.at(step)
                } else {
                    then.at(step - until)
                }
            }
            Curve::Times(a, b) => a.at(step) * b.at(step),
            Curve::PerEpoch { of, steps } => step.checked_div(*steps).map_or(f64::NAN, |epoch| of.at(epoch)),
            Curve::Function(factor) => factor(step),
            Curve::Product { of, known } => product(of, known, step),
        }
    }
}

/// From 1 at 0 to 0 at 1.
pub(super) fn half_wave(share: f64) -> f64 {
    0.5 * (1.0 + (PI * share).cos())
}

/// `step / steps`, NaN for none.
fn share(step: u64, steps: u64) -> f64 {
    if steps == 0 { f64::NAN } else { step as f64 / steps as f64 }
}

/// The same up to 1, which it is at once for none.
fn share_up_to_one(step: u64, steps: u64) -> f64 {
    if step >= steps { 1.0 } else { share(step, steps) }
}

/// `of(1) · of(2) ··· of(step)`. The last product asked for is kept, so that going on from step to step costs one factor each; the order of factors is always the same.
fn product(of: &Function, known: &Mutex<(u64, f64)>, step: u64) -> f64 {
    let mut known = known.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if known.0 > step {
        *known = (0, 1.0);
    }
    while known.0 < step {
        let next = known.0 + 1;
        *known = (next, known.1 * of(next));
    }
    known.1
}

impl fmt::Debug for Curve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Curve::Constant(factor) => write!(f, "constant({factor})"),
            Curve::Step { every, gamma } => write!(f, "step({every}, {gamma})"),
            Curve::MultiStep { milestones, gamma } => write!(f, "multi_step({milestones:?}, {gamma})"),
            Curve::Exponential { gamma } => write!(f, "exponential({gamma})"),
            Curve::Cosine { steps } => write!(f, "cosine({steps})"),
            Curve::CosineRestarts { first, times } => write!(f, "cosine_restarts({first}, {times})"),
            Curve::Linear { from, to, steps } => write!(f, "linear({from}, {to}, {steps})"),
            Curve::Polynomial { steps, power } => write!(f, "polynomial({steps}, {power})"),
            Curve::InverseSquareRoot { warm_up } => write!(f, "inverse_square_root({warm_up})"),
            Curve::OneCycle(form) => form.fmt(f),
            Curve::Floor { of, floor } => write!(f, "{of:?}.floor({floor})"),
            Curve::Until { first, until, then } => write!(f, "{first:?}.then({until}, {then:?})"),
            Curve::Times(a, b) => write!(f, "{a:?}.times({b:?})"),
            Curve::PerEpoch { of, steps } => write!(f, "{of:?}.per_epoch({steps})"),
            Curve::Triangular { up, down } => write!(f, "triangular({up}, {down})"),
            Curve::Function(_) => f.write_str("from_fn(…)"),
            Curve::Product { .. } => f.write_str("product(…)"),
        }
    }
}
