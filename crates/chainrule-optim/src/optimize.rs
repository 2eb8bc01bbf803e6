//! [`Optimize`]: any optimizer, for a choice made at run time.

use crate::{Optimizer, Result, Rule, State, StepReport};
use chainrule_autograd::Gradients;
use chainrule_nn::Module;

/// What all optimizers do, whatever their rule. The methods are those of [`Optimizer`].
/// ```
/// use chainrule_optim::{Adam, Optimize, Sgd};
/// let choose = |name: &str| -> Box<dyn Optimize> { if name == "adam" { Box::new(Adam::new(1e-3)) } else { Box::new(Sgd::new(0.1).momentum(0.9)) } };
/// assert_eq!(choose("adam").learning_rate(), 1e-3);
/// ```
pub trait Optimize: Send + Sync {
    /// Changes the model by its gradients, all or nothing.
    ///
    /// # Errors
    /// Those of [`Optimizer::step`].
    fn step(&mut self, model: &mut dyn Module, gradients: &Gradients) -> Result<StepReport>;
    /// How many steps have been taken.
    fn steps(&self) -> u64;
    /// The learning rate of the next step.
    fn learning_rate(&self) -> f64;
    /// Sets the learning rate that the schedule multiplies.
    fn set_learning_rate(&mut self, learning_rate: f64);
    /// Sets what multiplies the learning rate of every group.
    fn set_factor(&mut self, factor: f64);
    /// All that a later run needs to go on with the same bits.
    fn state(&self, model: &dyn Module) -> State;
    /// Goes on from a saved state.
    ///
    /// # Errors
    /// Those of [`Optimizer::load_state`].
    fn load_state(&mut self, model: &dyn Module, state: &State) -> Result<()>;
}

impl<R: Rule> Optimize for Optimizer<R> {
    fn step(&mut self, model: &mut dyn Module, gradients: &Gradients) -> Result<StepReport> {
        Optimizer::step(self, model, gradients)
    }
    fn steps(&self) -> u64 {
        Optimizer::steps(self)
    }
    fn learning_rate(&self) -> f64 {
        Optimizer::learning_rate(self)
    }
    fn set_learning_rate(&mut self, learning_rate: f64) {
        Optimizer::set_learning_rate(self, learning_rate);
    }
    fn set_factor(&mut self, factor: f64) {
        Optimizer::set_factor(self, factor);
    }
    fn state(&self, model: &dyn Module) -> State {
        Optimizer::state(self, model)
    }
    fn load_state(&mut self, model: &dyn Module, state: &State) -> Result<()> {
        Optimizer::load_state(self, model, state)
    }
}
