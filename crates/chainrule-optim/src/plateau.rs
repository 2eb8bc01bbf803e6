//! [`Plateau`]: a learning rate that falls when nothing improves any more (PyTorch's `ReduceLROnPlateau`).

use crate::{Error, Result};
use chainrule_core::{Array, DType};

/// Watches a metric and lowers a factor when it has not improved for a while.
/// ```
/// use chainrule_optim::{Plateau, Sgd};
/// let mut plateau = Plateau::new(0.1, 2);
/// let mut sgd = Sgd::new(0.5);
/// for validation_loss in [1.0, 0.7, 0.7, 0.8, 0.9] {
///     sgd.set_factor(plateau.observe(validation_loss));
/// }
/// assert_eq!(sgd.learning_rate(), 0.05);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Plateau {
    multiply: f64,
    patience: u64,
    larger_is_better: bool,
    threshold: f64,
    absolute: bool,
    cooldown: u64,
    floor: f64,
    least_change: f64,
    best: f64,
    without_improvement: u64,
    cooling: u64,
    factor: f64,
}

impl Plateau {
    /// Multiplies the factor by `multiply` when more than `patience` observations in a row are no improvement. Smaller metrics are better, by a ten-thousandth at least.
    pub fn new(multiply: f64, patience: u64) -> Plateau {
        Plateau {
            multiply,
            patience,
            larger_is_better: false,
            threshold: 1e-4,
            absolute: false,
            cooldown: 0,
            floor: 0.0,
            least_change: 0.0,
            best: f64::INFINITY,
            without_improvement: 0,
            cooling: 0,
            factor: 1.0,
        }
    }

    /// For metrics that are to grow, as accuracy.
    #[must_use]
    pub fn larger_is_better(mut self) -> Plateau {
        (self.larger_is_better, self.best) = (true, f64::NEG_INFINITY);
        self
    }
    /// The least improvement that counts, as a share of the best so far.
    #[must_use]
    pub fn threshold(mut self, share: f64) -> Plateau {
        (self.threshold, self.absolute) = (share, false);
        self
    }
    /// The least improvement that counts, in the metric's unit.
    #[must_use]
    pub fn absolute_threshold(mut self, difference: f64) -> Plateau {
        (self.threshold, self.absolute) = (difference, true);
        self
    }
    /// How many observations after a reduction are not counted against it.
    #[must_use]
    pub fn cooldown(mut self, observations: u64) -> Plateau {
        self.cooldown = observations;
        self
    }
    /// What the factor does not fall below. PyTorch's `min_lr` is this times the learning rate.
    #[must_use]
    pub fn floor(mut self, factor: f64) -> Plateau {
        self.floor = factor;
        self
    }

    /// A reduction by no more than this is left out: 0 unless set. PyTorch's `eps` is a difference of learning rates, 1e-8 there.
    #[must_use]
    pub fn least_change(mut self, difference: f64) -> Plateau {
        self.least_change = difference;
        self
    }

    /// Takes note of a metric and returns the factor that holds from now on; for [`Optimizer::set_factor`](crate::Optimizer::set_factor). NaN is no improvement.
    pub fn observe(&mut self, metric: f64) -> f64 {
        let gain = if self.larger_is_better { 1.0 } else { -1.0 } * self.threshold;
        let bar = if self.absolute { self.best + gain } else { self.best * (1.0 + gain) };
        if if self.larger_is_better { metric > bar } else { metric < bar } {
            (self.best, self.without_improvement) = (metric, 0);
        } else {
            self.without_improvement += 1;
        }
        if self.cooling > 0 {
            self.cooling -= 1;
            self.without_improvement = 0;
        }
        if self.without_improvement > self.patience {
            let lower = (self.factor * self.multiply).max(self.floor);
            if self.factor - lower > self.least_change {
                self.factor = lower;
            }
            (self.cooling, self.without_improvement) = (self.cooldown, 0);
        }
        self.factor
    }

    /// The factor that holds now.
    pub fn factor(&self) -> f64 {
        self.factor
    }

    /// What it remembers, as an array of four f64 for a file.
    ///
    /// # Errors
    /// No memory.
    pub fn state(&self) -> chainrule_core::Result<Array> {
        Array::from_slice(&[self.best, self.without_improvement as f64, self.cooling as f64, self.factor], &[4])
    }

    /// Goes on from a saved state.
    ///
    /// # Errors
    /// Another array than [`state`](Plateau::state) makes.
    pub fn load_state(&mut self, state: &Array) -> Result<()> {
        let numbers = if state.dtype() == DType::F64 { state.to_vec::<f64>().ok() } else { None };
        let Some(&[best, without_improvement, cooling, factor]) = numbers.as_deref() else {
            return Err(Error::State(format!("plateau: got {}, expected f64 [4]", crate::step::describe(state))));
        };
        (self.best, self.without_improvement, self.cooling, self.factor) = (best, without_improvement as u64, cooling as u64, factor);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growing_metrics_thresholds_cooldown_and_floor() {
        let run = |mut plateau: Plateau, metrics: &[f64]| metrics.iter().map(|m| plateau.observe(*m)).collect::<Vec<_>>();
        let accuracy = Plateau::new(0.5, 1).larger_is_better().absolute_threshold(0.1);
        assert_eq!(run(accuracy, &[0.5, 0.55, 0.7, 0.75, 0.79]), [1.0, 1.0, 1.0, 1.0, 0.5]);
        assert_eq!(run(Plateau::new(0.5, 0).cooldown(2), &[1.0, 1.0, 1.0, 1.0, 1.0, 1.0]), [1.0, 0.5, 0.5, 0.5, 0.25, 0.25]);
        assert_eq!(run(Plateau::new(0.1, 0).floor(0.05), &[1.0, f64::NAN, 1.0, 1.0]), [1.0, 0.1, 0.05, 0.05]);
        assert_eq!(run(Plateau::new(0.5, 0).least_change(0.3), &[1.0, 1.0, 1.0]), [1.0, 0.5, 0.5]);
        assert_eq!(run(Plateau::new(0.5, 0).threshold(0.5), &[1.0, 0.6, 0.4]), [1.0, 0.5, 0.5]);
    }

    #[test]
    fn it_goes_on_from_its_state() {
        let mut plateau = Plateau::new(0.5, 1).cooldown(1);
        for metric in [1.0, 2.0, 3.0, 1.0] {
            plateau.observe(metric);
        }
        let mut resumed = Plateau::new(0.5, 1).cooldown(1);
        resumed.load_state(&plateau.state().unwrap()).unwrap();
        assert_eq!(resumed, plateau);
        assert!(resumed.load_state(&Array::zeros(&[3], DType::F64).unwrap()).unwrap_err().to_string().contains("f64 [3]"));
    }
}
