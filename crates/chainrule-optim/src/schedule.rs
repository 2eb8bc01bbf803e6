//! [`Schedule`]: what multiplies the learning rate, as a function of the step (PyTorch's `lr_scheduler`).

use std::f64::consts::PI;
use std::fmt;
use std::sync::Arc;

/// A factor for every step, counted from 0. A plain value: it has no state, so a resumed run needs only the step.
///
/// Steps are the optimizer's unless [`per_epoch`](Schedule::per_epoch) makes them epochs. Arguments that make no sense (every 0 steps) give NaN, which the optimizer's step refuses.
/// ```
/// use chainrule_optim::Schedule;
/// let schedule = Schedule::cosine(900).floor(0.1).after_warm_up(100);
/// assert_eq!([0, 50, 100, 1000].map(|step| schedule.at(step)), [0.0, 0.5, 1.0, 0.1]);
/// ```
#[derive(Clone)]
pub struct Schedule(Arc<Curve>);

enum Curve {
    Constant(f64),
    Step { every: u64, gamma: f64 },
    MultiStep { milestones: Vec<u64>, gamma: f64 },
    Exponential { gamma: f64 },
    Cosine { steps: u64 },
    CosineRestarts { first: u64, times: u64 },
    Linear { from: f64, to: f64, steps: u64 },
    Polynomial { steps: u64, power: f64 },
    InverseSquareRoot { warm_up: u64 },
    OneCycle(OneCycle),
    Floor { of: Schedule, floor: f64 },
    Until { first: Schedule, until: u64, then: Schedule },
    Times(Schedule, Schedule),
    PerEpoch { of: Schedule, steps: u64 },
    Function(Arc<dyn Fn(u64) -> f64 + Send + Sync>),
}

/// The form of [`Schedule::one_cycle_with`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OneCycle {
    /// The length of the cycle.
    pub steps: u64,
    /// The share of it in which the factor rises: 0.3.
    pub rise: f64,
    /// It starts at 1 / this: 25.
    pub start_divisor: f64,
    /// It ends at the start / this: 10,000.
    pub end_divisor: f64,
    /// Whether it goes in straight lines instead of half waves.
    pub linear: bool,
    /// Whether it first falls as fast as it rose, to where it started, and then to the end.
    pub three_phases: bool,
}

impl OneCycle {
    /// The usual form.
    pub fn new(steps: u64) -> OneCycle {
        OneCycle { steps, rise: 0.3, start_divisor: 25.0, end_divisor: 1e4, linear: false, three_phases: false }
    }

    fn at(&self, step: u64) -> f64 {
        let OneCycle { steps, rise, start_divisor, end_divisor, linear, three_phases } = *self;
        let (start, last, turn) = (1.0 / start_divisor, steps as f64 - 1.0, rise * steps as f64 - 1.0);
        let end = start / end_divisor;
        // Every phase: its last step, and the factor there.
        let phases = [(turn, 1.0), if three_phases { (2.0 * turn, start) } else { (last, end) }, (last, end)];
        if steps == 0 {
            return f64::NAN;
        }
        let step = (step as f64).min(last);
        let (mut begin, mut from) = (0.0, start);
        for (until, to) in phases {
            if step <= until {
                let share = if until > begin { (step - begin) / (until - begin) } else { 1.0 };
                return if linear { from + (to - from) * share } else { to + (from - to) * half_wave(share) };
            }
            (begin, from) = (until, to);
        }
        end
    }
}

/// From 1 at 0 to 0 at 1.
fn half_wave(share: f64) -> f64 {
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

impl Schedule {
    fn of(curve: Curve) -> Schedule {
        Schedule(Arc::new(curve))
    }

    /// `factor`
    pub fn constant(factor: f64) -> Schedule {
        Schedule::of(Curve::Constant(factor))
    }
    /// `gamma^⌊t / every⌋` (`StepLR`)
    pub fn step(every: u64, gamma: f64) -> Schedule {
        Schedule::of(Curve::Step { every, gamma })
    }
    /// `gamma^n`, where n milestones have been reached (`MultiStepLR`)
    pub fn multi_step(milestones: &[u64], gamma: f64) -> Schedule {
        Schedule::of(Curve::MultiStep { milestones: milestones.to_vec(), gamma })
    }
    /// `gamma^t` (`ExponentialLR`)
    pub fn exponential(gamma: f64) -> Schedule {
        Schedule::of(Curve::Exponential { gamma })
    }
    /// `(1 + cos(π t / steps)) / 2` (`CosineAnnealingLR`; Loshchilov and Hutter, 2017, arXiv:1608.03983). It rises again after `steps`; what `eta_min` is there is [`floor`](Schedule::floor) here.
    pub fn cosine(steps: u64) -> Schedule {
        Schedule::of(Curve::Cosine { steps })
    }
    /// Half cosine waves from 1 to 0, the first of `first` steps, each next one `times` as long (`CosineAnnealingWarmRestarts`)
    pub fn cosine_restarts(first: u64, times: u64) -> Schedule {
        Schedule::of(Curve::CosineRestarts { first, times })
    }
    /// From one factor to another in `steps` steps, then constant (`LinearLR`)
    pub fn linear(from: f64, to: f64, steps: u64) -> Schedule {
        Schedule::of(Curve::Linear { from, to, steps })
    }
    /// `(1 - t / steps)^power`, then 0 (`PolynomialLR`)
    pub fn polynomial(steps: u64, power: f64) -> Schedule {
        Schedule::of(Curve::Polynomial { steps, power })
    }
    /// A rise in `warm_up` steps, then `√(warm_up / t)`: `min((t + 1) / warm_up, √(warm_up / (t + 1)))` (Vaswani et al., 2017, arXiv:1706.03762)
    pub fn inverse_square_root(warm_up: u64) -> Schedule {
        Schedule::of(Curve::InverseSquareRoot { warm_up })
    }
    /// A rise from 1/25 to 1 and a longer fall to 1/250,000 (`OneCycleLR`; Smith and Topin, 2018, arXiv:1708.07120). The optimizer's learning rate is the highest; momentum is left alone.
    pub fn one_cycle(steps: u64) -> Schedule {
        Schedule::one_cycle_with(OneCycle::new(steps))
    }
    /// A cycle of another form.
    pub fn one_cycle_with(form: OneCycle) -> Schedule {
        Schedule::of(Curve::OneCycle(form))
    }
    /// A straight rise from 0 in `warm_up` steps, then a straight fall to 0 at step `total`
    pub fn warm_up_linear(warm_up: u64, total: u64) -> Schedule {
        Schedule::linear(1.0, 0.0, total.saturating_sub(warm_up)).after_warm_up(warm_up)
    }
    /// A straight rise from 0 in `warm_up` steps, then half a cosine wave to 0 at step `total`
    pub fn warm_up_cosine(warm_up: u64, total: u64) -> Schedule {
        let fall = total.saturating_sub(warm_up);
        Schedule::cosine(fall).then(fall, Schedule::constant(0.0)).after_warm_up(warm_up)
    }
    /// Any function of the step (`LambdaLR`)
    pub fn from_fn(factor: impl Fn(u64) -> f64 + Send + Sync + 'static) -> Schedule {
        Schedule::of(Curve::Function(Arc::new(factor)))
    }

    /// Squeezed into `floor ..= 1`: `floor + (1 - floor) · factor`. PyTorch's `eta_min` is `floor` times the learning rate.
    #[must_use]
    pub fn floor(self, floor: f64) -> Schedule {
        Schedule::of(Curve::Floor { of: self, floor })
    }
    /// This one for `steps` steps, then `next` from its own step 0 on (`SequentialLR`)
    #[must_use]
    pub fn then(self, steps: u64, next: Schedule) -> Schedule {
        Schedule::of(Curve::Until { first: self, until: steps, then: next })
    }
    /// A straight rise from 0 in `steps` steps, then this one from its step 0 on
    #[must_use]
    pub fn after_warm_up(self, steps: u64) -> Schedule {
        if steps == 0 { self } else { Schedule::linear(0.0, 1.0, steps).then(steps, self) }
    }
    /// The product of both (`ChainedScheduler`)
    #[must_use]
    pub fn times(self, other: Schedule) -> Schedule {
        Schedule::of(Curve::Times(self, other))
    }
    /// Counts epochs of so many steps: the factor holds for an epoch.
    #[must_use]
    pub fn per_epoch(self, steps: u64) -> Schedule {
        Schedule::of(Curve::PerEpoch { of: self, steps })
    }

    /// The factor of a step, counted from 0.
    pub fn at(&self, step: u64) -> f64 {
        match &*self.0 {
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
        }
    }
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
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
            Curve::Function(_) => f.write_str("from_fn(…)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn over(schedule: &Schedule, steps: u64) -> Vec<f64> {
        (0..steps).map(|s| (schedule.at(s) * 1e6).round() / 1e6).collect()
    }

    #[test]
    fn compositions() {
        let sequence = Schedule::constant(0.5).then(2, Schedule::linear(1.0, 0.0, 2)).then(5, Schedule::exponential(0.5));
        assert_eq!(over(&sequence, 8), [0.5, 0.5, 1.0, 0.5, 0.0, 1.0, 0.5, 0.25]);
        let epochs = Schedule::step(1, 0.1).per_epoch(3).times(Schedule::from_fn(|step| step as f64));
        assert_eq!(over(&epochs, 5), [0.0, 1.0, 2.0, 0.3, 0.4]);
        assert_eq!(format!("{epochs:?}"), "step(1, 0.1).per_epoch(3).times(from_fn(…))");
        assert_eq!(over(&Schedule::warm_up_cosine(2, 4), 7), [0.0, 0.5, 1.0, 0.5, 0.0, 0.0, 0.0]);
        assert_eq!(over(&Schedule::warm_up_linear(0, 2), 4), [1.0, 0.5, 0.0, 0.0]);
        assert_eq!(over(&Schedule::warm_up_linear(2, 2), 4), [0.0, 0.5, 0.0, 0.0]);
        assert_eq!(over(&Schedule::warm_up_cosine(2, 2), 4), [0.0, 0.5, 0.0, 0.0]);
        assert_eq!(over(&Schedule::cosine_restarts(2, 1), 4), [1.0, 0.5, 1.0, 0.5]);
        assert_eq!(over(&Schedule::inverse_square_root(4), 16)[..4], [0.25, 0.5, 0.75, 1.0]);
        assert_eq!(Schedule::inverse_square_root(4).at(15), 0.5);
    }

    #[test]
    fn the_other_forms_of_one_cycle() {
        let form = OneCycle { rise: 0.5, start_divisor: 10.0, end_divisor: 10.0, linear: true, ..OneCycle::new(10) };
        let lines = over(&Schedule::one_cycle_with(form), 12);
        assert_eq!([lines[0], lines[2], lines[4], lines[9], lines[11]], [0.1, 0.55, 1.0, 0.01, 0.01]);
        let three = over(&Schedule::one_cycle_with(OneCycle { three_phases: true, ..form }), 10);
        assert_eq!([three[4], three[6], three[8], three[9]], [1.0, 0.55, 0.1, 0.01]);
    }

    #[test]
    fn nonsense_is_not_a_number() {
        for nonsense in [
            Schedule::step(0, 0.1),
            Schedule::cosine(0),
            Schedule::cosine_restarts(0, 2),
            Schedule::cosine_restarts(3, 0),
            Schedule::constant(1.0).per_epoch(0),
            Schedule::one_cycle(0),
            Schedule::inverse_square_root(0),
        ] {
            assert!(nonsense.at(0).is_nan() && nonsense.at(u64::MAX).is_nan(), "{nonsense:?}");
        }
    }
}
