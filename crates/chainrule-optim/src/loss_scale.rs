//! [`LossScale`]: keeps the small gradients of half precision from vanishing (Micikevicius et al., 2018, arXiv:1710.03740; PyTorch's `GradScaler`).

use crate::{Error, Optimize, Result, StepReport};
use chainrule_autograd::{Gradients, Tensor};
use chainrule_core::{Array, DType};
use chainrule_nn::Module;

/// A factor for the loss, taken out of the gradients again before the step. It grows while they stay finite and shrinks when they don't; such a step is not taken.
/// ```
/// use chainrule_autograd::{Array, DType, Rng, Tape, Tensor};
/// use chainrule_nn::Param;
/// use chainrule_optim::{LossScale, Sgd};
/// let mut model = Param::new(Array::ones(&[1], DType::F32)?);
/// let (mut sgd, mut scale) = (Sgd::new(0.1), LossScale::new());
///
/// let tape = Tape::training(&mut Rng::seeded(0));
/// let x = tape.input(Tensor::full(&[1], 2.0, DType::F32)?);
/// let loss = model.on(&x)?.mul(&x)?.sum()?;
/// let gradients = scale.apply(&loss)?.backward()?; // 65536 times as large
/// scale.step(&mut sgd, &mut model, gradients)?;
/// assert_eq!(model.value.item()? as f32, 0.8);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct LossScale {
    scale: f64,
    growth_factor: f64,
    backoff_factor: f64,
    growth_interval: u64,
    /// Steps since the scale has changed.
    good_steps: u64,
}

impl Default for LossScale {
    fn default() -> LossScale {
        LossScale::new()
    }
}

impl LossScale {
    /// PyTorch's: 65536 at first, twice as much after 2000 good steps, half after a bad one. Powers of two change no bits of a gradient.
    pub fn new() -> LossScale {
        LossScale { scale: 65536.0, growth_factor: 2.0, backoff_factor: 0.5, growth_interval: 2000, good_steps: 0 }
    }

    /// What the scale begins with: 65536 unless set.
    #[must_use]
    pub fn initial(mut self, scale: f64) -> Self {
        self.scale = scale;
        self
    }
    /// What the scale is multiplied by when it grows: 2 unless set.
    #[must_use]
    pub fn growth_factor(mut self, factor: f64) -> Self {
        self.growth_factor = factor;
        self
    }
    /// What the scale is multiplied by after a step that was not taken: 0.5 unless set.
    #[must_use]
    pub fn backoff_factor(mut self, factor: f64) -> Self {
        self.backoff_factor = factor;
        self
    }
    /// After how many good steps in a row the scale grows: 2000 unless set.
    #[must_use]
    pub fn growth_interval(mut self, steps: u64) -> Self {
        self.growth_interval = steps;
        self
    }

    /// The scale of the next loss.
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// The loss to call `backward` on.
    ///
    /// # Errors
    /// No memory.
    pub fn apply(&self, loss: &Tensor) -> chainrule_autograd::Result<Tensor> {
        loss.mul_scalar(self.scale)
    }

    /// A step with the gradients of the scaled loss. If one of them is not finite, nothing is changed but the scale, and the report names the parameter; the optimizer's clipping sees the gradients as they are without the scale.
    ///
    /// # Errors
    /// Those of [`Optimizer::step`](crate::Optimizer::step); a setting out of range. The scale stays then.
    pub fn step(&mut self, optimizer: &mut dyn Optimize, model: &mut dyn Module, gradients: Gradients) -> Result<StepReport> {
        self.check()?;
        let gradients = gradients.scale(1.0 / self.scale).map_err(chainrule_nn::Error::from)?;
        let report = match optimizer.step(model, &gradients) {
            Err(Error::NonFinite { path, .. }) => {
                StepReport { steps: optimizer.steps(), learning_rate: optimizer.learning_rate(), norm: f64::NAN, clipped: 1.0, skipped: Some(path) }
            }
            other => other?,
        };
        if report.skipped.is_some() {
            (self.scale, self.good_steps) = (self.scale * self.backoff_factor, 0);
        } else {
            self.good_steps += 1;
            if self.good_steps >= self.growth_interval {
                // A scale that overflows would end the training.
                let grown = self.scale * self.growth_factor;
                (self.scale, self.good_steps) = (if (grown as f32).is_finite() { grown } else { self.scale }, 0);
            }
        }
        Ok(report)
    }

    fn check(&self) -> Result<()> {
        let LossScale { scale, growth_factor, backoff_factor, growth_interval, .. } = *self;
        let message = if !(scale > 0.0 && (1.0 / scale).is_finite() && scale.is_finite()) {
            format!("the scale is {scale}, expected a finite number above 0")
        } else if !(growth_factor > 1.0 && growth_factor.is_finite()) {
            format!("growth_factor is {growth_factor}, expected a finite number above 1")
        } else if !(backoff_factor > 0.0 && backoff_factor < 1.0) {
            format!("backoff_factor is {backoff_factor}, expected a number between 0 and 1")
        } else if growth_interval == 0 {
            "growth_interval is 0, expected at least 1 step".to_string()
        } else {
            return Ok(());
        };
        Err(Error::Setting { rule: "loss_scale", message })
    }

    /// What it remembers, as an array of two f64 for a file.
    ///
    /// # Errors
    /// No memory.
    pub fn state(&self) -> chainrule_core::Result<Array> {
        Array::from_slice(&[self.scale, self.good_steps as f64], &[2])
    }

    /// Goes on from a saved state.
    ///
    /// # Errors
    /// Another array than [`state`](LossScale::state) makes.
    pub fn load_state(&mut self, state: &Array) -> Result<()> {
        let numbers = if state.dtype() == DType::F64 { state.to_vec::<f64>().ok() } else { None };
        let Some(&[scale, good_steps]) = numbers.as_deref() else {
            return Err(Error::State(format!("loss_scale: got {}, expected f64 [2]", crate::step::describe(state))));
        };
        (self.scale, self.good_steps) = (scale, good_steps as u64);
        Ok(())
    }
}
