//! [`Schedule`]: what multiplies the learning rate, as a function of the step (PyTorch's `lr_scheduler`).

mod curve;
mod one_cycle;

pub use one_cycle::OneCycle;

use curve::Curve;
use std::fmt;
use std::sync::{Arc, Mutex};

/// A factor for every step, counted from 0. A plain value: it has no state, so a resumed run needs only the step.
///
/// Steps are the optimizer's unless [`per_epoch`](Schedule::per_epoch) makes them epochs. Arguments that make no sense (every 0 steps) give NaN, which the optimizer's step refuses.
///
/// | PyTorch | here, for an optimizer's learning rate lr |
/// |---|---|
/// | `StepLR`, `MultiStepLR`, `ExponentialLR` | [`step`](Schedule::step), [`multi_step`](Schedule::multi_step), [`exponential`](Schedule::exponential) |
/// | `LinearLR`, `PolynomialLR` | [`linear`](Schedule::linear), [`polynomial`](Schedule::polynomial) |
/// | `ConstantLR(factor, n)` | `constant(factor).then(n, constant(1.0))` |
/// | `CosineAnnealingLR(n, eta_min)`, `CosineAnnealingWarmRestarts` | `cosine(n).floor(eta_min / lr)`, [`cosine_restarts`](Schedule::cosine_restarts) |
/// | `CyclicLR(base, lr, up, down)` | `triangular(up, down).floor(base / lr)` |
/// | the same, mode `triangular2` or `exp_range` | `triangular(up, down)`, `.times(step(up + down, 0.5))` or `.times(exponential(gamma))`, `.floor(base / lr)` |
/// | `OneCycleLR` | [`one_cycle`](Schedule::one_cycle); its momentum [`OneCycle::momentum`] |
/// | `SWALR(swa_lr, n)` | `anneal(1.0, swa_lr / lr, n)`, or `linear` |
/// | `LambdaLR`, `MultiplicativeLR` | [`from_fn`](Schedule::from_fn), [`product`](Schedule::product) |
/// | `SequentialLR`, `ChainedScheduler` | [`then`](Schedule::then), [`times`](Schedule::times) |
/// | `ReduceLROnPlateau` | [`Plateau`](crate::Plateau) |
/// ```
/// use chainrule_optim::Schedule;
/// let schedule = Schedule::cosine(900).floor(0.1).after_warm_up(100);
/// assert_eq!([0, 50, 100, 1000].map(|step| schedule.at(step)), [0.0, 0.5, 1.0, 0.1]);
/// ```
#[derive(Clone)]
pub struct Schedule(Arc<Curve>);

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
    /// From 0 to 1 in `up` steps, back in `down`, and again (`CyclicLR`; Smith, 2017, arXiv:1506.01186)
    pub fn triangular(up: u64, down: u64) -> Schedule {
        Schedule::of(Curve::Triangular { up, down })
    }
    /// Half a cosine wave from one factor to another in `steps` steps, then constant (`SWALR`)
    pub fn anneal(from: f64, to: f64, steps: u64) -> Schedule {
        let fall = if steps == 0 { Schedule::constant(0.0) } else { Schedule::cosine(steps).then(steps, Schedule::constant(0.0)) };
        if from == 0.0 {
            return Schedule::from_fn(move |step| to * (1.0 - fall.at(step)));
        }
        fall.floor(to / from).times(Schedule::constant(from))
    }
    /// From `1 / ratio` to 1 in the first `rise` of the steps and back in the others (ULMFiT: Howard and Ruder, 2018, arXiv:1801.06146, who take 0.1 and 32)
    pub fn slanted_triangular(steps: u64, rise: f64, ratio: f64) -> Schedule {
        let up = (steps as f64 * rise).floor() as u64;
        Schedule::triangular(up, steps.saturating_sub(up)).then(steps, Schedule::constant(0.0)).floor(1.0 / ratio)
    }
    /// A straight rise from 0 in `warm_up` steps, 1 for `stable` steps, and a straight fall to 0 in `decay` (WSD: Hu et al., 2024, arXiv:2404.06395)
    pub fn warm_up_stable_decay(warm_up: u64, stable: u64, decay: u64) -> Schedule {
        Schedule::constant(1.0).then(stable, Schedule::linear(1.0, 0.0, decay)).after_warm_up(warm_up)
    }
    /// A rise in `warm_up` steps, then `√(warm_up / t)`: `min((t + 1) / warm_up, √(warm_up / (t + 1)))` (Noam; Vaswani et al., 2017, arXiv:1706.03762, whose learning rate is `1 / √(D · warm_up)`)
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
    /// The product of a function's values: `f(1) · f(2) ··· f(t)` (`MultiplicativeLR`)
    pub fn product(factor: impl Fn(u64) -> f64 + Send + Sync + 'static) -> Schedule {
        Schedule::of(Curve::Product { of: Arc::new(factor), known: Mutex::new((0, 1.0)) })
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
        self.0.at(step)
    }
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
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
    fn triangles_and_plateaus() {
        assert_eq!(over(&Schedule::triangular(2, 4), 9), [0.0, 0.5, 1.0, 0.75, 0.5, 0.25, 0.0, 0.5, 1.0]);
        let halves = Schedule::triangular(1, 1).times(Schedule::step(2, 0.5)).floor(0.5);
        assert_eq!(over(&halves, 6), [0.5, 1.0, 0.5, 0.75, 0.5, 0.625]);
        assert_eq!(over(&Schedule::triangular(0, 2), 3), [1.0, 0.5, 1.0]);
        assert_eq!(over(&Schedule::triangular(2, 0), 3), [0.0, 0.5, 0.0]);
        // ULMFiT's formula: cut = ⌊T rise⌋; p = t / cut, then 1 - (t - cut) / (cut (1 / rise - 1)); (1 + p (ratio - 1)) / ratio.
        let p = |t: f64| if t < 4.0 { t / 4.0 } else { 1.0 - (t - 4.0) / (4.0 * (1.0 / 0.1 - 1.0)) };
        let slanted = Schedule::slanted_triangular(40, 0.1, 32.0);
        assert!((0..40).all(|t| (slanted.at(t) - (1.0 + p(t as f64) * 31.0) / 32.0).abs() < 1e-12));
        assert_eq!(slanted.at(1000), 1.0 / 32.0);
        assert_eq!(over(&Schedule::warm_up_stable_decay(2, 3, 2), 8), [0.0, 0.5, 1.0, 1.0, 1.0, 1.0, 0.5, 0.0]);
        assert_eq!(over(&Schedule::anneal(2.0, 0.5, 2), 4), [2.0, 1.25, 0.5, 0.5]);
        assert_eq!(Schedule::anneal(1.0, 0.5, 0).at(0), 0.5);
    }

    #[test]
    fn products_in_any_order() {
        let product = Schedule::product(|step| 1.0 + 1.0 / step as f64);
        assert_eq!([4, 5, 0, 2, 5].map(|step| (product.at(step) * 1e9).round() / 1e9), [5.0, 6.0, 1.0, 3.0, 6.0]);
    }

    #[test]
    fn nonsense_is_not_a_number() {
        for nonsense in [
            Schedule::step(0, 0.1),
            Schedule::cosine(0),
            Schedule::triangular(0, 0),
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
