//! [`CapturedStep`]: a training step that a GPU runs as one launch.

#[cfg(feature = "cuda")]
mod replay;

use crate::{Error, Optimizer, Result, Rule};
use chainrule_autograd::{Rng, Tape, Tensor};
use chainrule_nn::Module;
use std::marker::PhantomData;

/// A whole training step: forward, backward, clipping, optimizer.
///
/// On the CPU it runs as it is written. On a GPU the first run with inputs of some shapes runs as it is written too; the second is captured, and from then on the step is one launch that nothing waits for.
/// Learning rate, step count and random numbers go on as they would. Numbers of the program that the function uses otherwise stay what they were, so whatever changes from step to step must be among the inputs; and the function must not read numbers back.
/// Another shape, a frozen layer, new memory of a parameter (after loading, or when a clone of the model was taken): the step is captured again.
///
/// Because nobody waits, a gradient that is not finite is an error of a later [`run`](CapturedStep::run) or of [`finish`](CapturedStep::finish); from that step on nothing was written. Call `finish` before the optimizer loads a state or steps otherwise.
/// Inputs of more than 4 MiB on the CPU, and a change of shapes, do wait; such inputs are better moved ahead.
/// ```
/// use chainrule_autograd::{DType, Device, Rng, Tape, Tensor};
/// use chainrule_nn::{Layer, Linear, Module};
/// use chainrule_optim::{CapturedStep, Sgd};
///
/// let (mut rng, device) = (Rng::seeded(0), Device::best());
/// let mut model = Linear::new(3, 1, &mut rng)?;
/// model.to(&device)?;
/// let mut sgd = Sgd::new(0.1);
/// let mut step = CapturedStep::new(|model: &Linear, tape: &Tape, inputs: &[Tensor]| {
///     model.forward(&tape.input(&inputs[0]))?.sub(&inputs[1])?.square()?.mean()
/// });
/// let (x, y) = (Tensor::ones(&[4, 3], DType::F32)?, Tensor::ones(&[4, 1], DType::F32)?);
/// let mut last = f64::INFINITY;
/// for _ in 0..30 {
///     last = step.run(&mut model, &mut sgd, &mut rng, &[&x, &y])?.item()?;
/// }
/// step.finish(&model, &mut sgd)?;
/// assert!(last < 1e-3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct CapturedStep<M, F> {
    function: F,
    #[cfg(feature = "cuda")]
    replays: replay::Replays,
    _model: PhantomData<fn(&M)>,
}

/// A step's loss, which may not be computed yet.
pub struct Loss(Kept);

enum Kept {
    Value(Tensor),
    #[cfg(feature = "cuda")]
    Later(replay::Later),
}

impl Loss {
    /// The loss; waits for its step.
    ///
    /// # Errors
    /// A loss that is no single number; that of a captured step when 4096 others have followed; a GPU that failed.
    pub fn item(&self) -> Result<f64> {
        match &self.0 {
            Kept::Value(loss) => loss.item().map_err(Error::Function),
            #[cfg(feature = "cuda")]
            Kept::Later(later) => later.item(),
        }
    }
}

impl<M: Module, F> CapturedStep<M, F>
where
    F: Fn(&M, &Tape, &[Tensor]) -> chainrule_autograd::Result<Tensor>,
{
    /// A step whose loss the function computes from the model, the tape and the inputs.
    pub fn new(function: F) -> CapturedStep<M, F> {
        CapturedStep {
            function,
            #[cfg(feature = "cuda")]
            replays: replay::Replays::default(),
            _model: PhantomData,
        }
    }

    /// Takes one step. Inputs may stand on the CPU or on the model's device.
    ///
    /// # Errors
    /// What the function returns, and what [`Optimizer::step`] does; then model and optimizer are as before. On a GPU also an earlier step's gradient that was not finite: this step was not taken, and model and optimizer are as before that one.
    pub fn run<R: Rule>(&mut self, model: &mut M, optimizer: &mut Optimizer<R>, rng: &mut Rng, inputs: &[&Tensor]) -> Result<Loss> {
        let function = &self.function;
        #[cfg(feature = "cuda")]
        if let Some(device) = replay::device_of(model) {
            return self.replays.run(function, device, model, optimizer, rng, inputs);
        }
        let inputs: Vec<Tensor> = inputs.iter().map(|x| (*x).clone()).collect();
        once(function, model, optimizer, rng, &inputs)
    }

    /// Waits for the steps so far, so that model and optimizer show what was done: to be called before the optimizer's state is saved or a gradient's report is due, and at the end.
    ///
    /// # Errors
    /// A gradient that was not finite; model and optimizer are as before that step.
    pub fn finish<R: Rule>(&mut self, model: &M, optimizer: &mut Optimizer<R>) -> Result<()> {
        #[cfg(feature = "cuda")]
        self.replays.settle(model, optimizer, true)?;
        let _ = (model, optimizer);
        Ok(())
    }

    /// How many steps are kept captured now.
    pub fn captured(&self) -> usize {
        #[cfg(feature = "cuda")]
        return self.replays.len();
        #[cfg(not(feature = "cuda"))]
        0
    }
}

/// The step as it is written.
fn once<M: Module, F, R: Rule>(function: &F, model: &mut M, optimizer: &mut Optimizer<R>, rng: &mut Rng, inputs: &[Tensor]) -> Result<Loss>
where
    F: Fn(&M, &Tape, &[Tensor]) -> chainrule_autograd::Result<Tensor>,
{
    let tape = Tape::training(rng);
    let loss = function(model, &tape, inputs).map_err(Error::Function)?;
    let gradients = loss.backward().map_err(Error::Function)?;
    let kept = loss.into_array();
    drop(tape);
    optimizer.step(model, &gradients)?;
    Ok(Loss(Kept::Value(kept.into())))
}
