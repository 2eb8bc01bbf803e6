//! [`OneCycle`]: a rise and a longer fall (Smith and Topin, 2018, arXiv:1708.07120; PyTorch's `OneCycleLR`).

use super::Schedule;
use super::curve::half_wave;

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

    /// The momentum that goes with the cycle, as a schedule of its values: it falls from `high` to `low` while the rate rises, and rises again.
    /// ```
    /// use chainrule_optim::{OneCycle, Schedule, Sgd};
    /// let cycle = OneCycle::new(100);
    /// let momentum = cycle.momentum(0.85, 0.95);
    /// let mut sgd = Sgd::new(0.5).schedule(Schedule::one_cycle_with(cycle));
    /// sgd.rule_mut().momentum = momentum.at(sgd.steps()); // before every step
    /// assert_eq!([0, 29, 99].map(|step| (momentum.at(step) * 100.0).round()), [95.0, 85.0, 95.0]);
    /// ```
    pub fn momentum(self, low: f64, high: f64) -> Schedule {
        Schedule::one_cycle_with(OneCycle { start_divisor: low / high, end_divisor: 1.0, ..self }).times(Schedule::constant(low))
    }

    pub(super) fn at(&self, step: u64) -> f64 {
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
