//! [`Personalise`]: adapt, evaluate, keep or leave: safe to call in production.

use crate::{Adapted, Error, Figures, Method, Outcome, Reason};
use chainrule_autograd::{Rng, Tape, Tensor};
use chainrule_core::Device;
use chainrule_nn::{Module, params};
use chainrule_optim::{AdamW, Schedule};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Adapts a copy of a model to a few samples within a budget of time and memory, and gives it back only where it is better on held-out samples.
///
/// It trains one adapter with AdamW at a falling rate, scores every epoch, stops where the score no longer rises, and keeps the best epoch. The model that it is given never changes, not by a bit.
/// With one seed it comes to the same bits, unless the time runs out.
/// ```
/// use chainrule_autograd::{DType, Rng, Tape, Tensor};
/// use chainrule_finetune::{Adapted, Lora, Outcome, Personalise};
/// use chainrule_nn::{Layer, Linear, Relu, Sequential};
/// use std::time::Duration;
///
/// let rng = &mut Rng::seeded(0);
/// let base = Adapted::new(Sequential::new().add(Linear::new(4, 32, rng)?).add(Relu).add(Linear::new(32, 2, rng)?));
///
/// // What this user means by it: is the sum of the numbers positive?
/// let mut sample = || {
///     let x = Tensor::uniform(&[4], -1.0, 1.0, DType::F32, rng)?;
///     let label = (x.sum()?.item()? > 0.0) as i64;
///     Ok((x, label))
/// };
/// let samples: Vec<(Tensor, i64)> = (0..60).map(|_| sample()).collect::<Result<_, chainrule_autograd::Error>>()?;
/// let (train, held) = samples.split_at(40);
///
/// let loss = |model: &Sequential, tape: &Tape, batch: &[&(Tensor, i64)]| {
///     let x = Tensor::stack(&batch.iter().map(|(x, _)| x).collect::<Vec<_>>(), 0)?;
///     let labels: Vec<i64> = batch.iter().map(|(_, label)| *label).collect();
///     Ok::<_, Box<dyn std::error::Error>>(model.forward(&tape.input(x))?.cross_entropy(&Tensor::from_slice(&labels, &[labels.len()])?)?)
/// };
/// let accuracy = |model: &Sequential, held: &[(Tensor, i64)]| {
///     let mut right = 0;
///     for (x, label) in held {
///         right += (model.forward(&x.unsqueeze(0)?)?.argmax(-1, false)?.to_vec::<i64>()? == [*label]) as usize;
///     }
///     Ok(right as f64 / held.len() as f64)
/// };
/// let outcome = Personalise::new(Lora::rank(4))
///     .learning_rate(0.02)
///     .margin(0.05)
///     .time(Duration::from_secs(20))
///     .memory(16 << 20)
///     .run(&base, "mine", train, held, loss, accuracy)?;
/// match outcome {
///     Outcome::Accepted { model, figures } => {
///         assert_eq!(model.active(), ["mine"]);
///         assert!(figures.after >= figures.before + 0.05 && figures.bytes < 2048);
///     }
///     Outcome::Rejected { reason, figures } => panic!("{reason}; {figures}"),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Personalise {
    method: Arc<dyn Method>,
    learning_rate: f64,
    factors: Vec<(String, f64)>,
    batch: usize,
    epochs: usize,
    patience: usize,
    margin: f64,
    time: Option<Duration>,
    memory: Option<usize>,
    seed: u64,
}

const OP: &str = "personalise";

impl Personalise {
    /// By this method, with a learning rate of 1e-3, batches of 16, at most 20 epochs, a patience of 3, a margin of 0, seed 0, and no bounds of time and memory.
    pub fn new(method: impl Method + 'static) -> Personalise {
        let method = Arc::new(method);
        Personalise { method, learning_rate: 1e-3, factors: Vec::new(), batch: 16, epochs: 20, patience: 3, margin: 0.0, time: None, memory: None, seed: 0 }
    }
    /// The learning rate, from which it falls to 0 in a straight line.
    #[must_use]
    pub fn learning_rate(self, learning_rate: f64) -> Personalise {
        Personalise { learning_rate, ..self }
    }
    /// The learning rate of the parameters that match a [`Pattern`](chainrule_nn::Pattern) is so many times that of the others: a new head's, or as [`lora_plus`](crate::lora_plus) says.
    #[must_use]
    pub fn factor(mut self, pattern: &str, factor: f64) -> Personalise {
        self.factors.push((pattern.to_string(), factor));
        self
    }
    /// How many samples a step takes.
    #[must_use]
    pub fn batch(self, batch: usize) -> Personalise {
        Personalise { batch, ..self }
    }
    /// The most epochs.
    #[must_use]
    pub fn epochs(self, epochs: usize) -> Personalise {
        Personalise { epochs, ..self }
    }
    /// After how many epochs without a better score it stops.
    #[must_use]
    pub fn patience(self, patience: usize) -> Personalise {
        Personalise { patience, ..self }
    }
    /// By how much the score must rise; above 0 it must rise in any case.
    #[must_use]
    pub fn margin(self, margin: f64) -> Personalise {
        Personalise { margin, ..self }
    }
    /// The most time. No step begins that would leave too little for a score, if both take as long as the last ones. The score before is taken in any case.
    #[must_use]
    pub fn time(self, time: Duration) -> Personalise {
        Personalise { time: Some(time), ..self }
    }
    /// The most bytes of arrays that may be live beside those at the start, looked at in every step before and after its backward pass. They are the whole process's on the model's device: other threads' count too, and what a GPU's first matrix product takes for good (4 MiB, or 32).
    #[must_use]
    pub fn memory(self, bytes: usize) -> Personalise {
        Personalise { memory: Some(bytes), ..self }
    }
    /// Of what is drawn: the adapter's first numbers, the order of samples, dropout.
    #[must_use]
    pub fn seed(self, seed: u64) -> Personalise {
        Personalise { seed, ..self }
    }

    /// Adapts a copy. `loss` is that of a batch of samples on a tape, `score` that of a model on all held-out samples, the higher the better.
    ///
    /// # Errors
    /// Those of `loss` and `score`; no samples; settings out of range; a name or a method that does not fit the model. There is nothing to undo then.
    pub fn run<M, S, E>(
        &self,
        base: &Adapted<M>,
        name: &str,
        samples: &[S],
        held: &[S],
        mut loss: impl FnMut(&M, &Tape, &[&S]) -> Result<Tensor, E>,
        mut score: impl FnMut(&M, &[S]) -> Result<f64, E>,
    ) -> Result<Outcome<M>, E>
    where
        M: Module + Clone,
        E: From<Error> + From<chainrule_optim::Error> + From<chainrule_autograd::Error>,
    {
        self.check(samples.len(), held.len())?;
        let mut device = Device::Cpu;
        params(base.model(), |_, param| device = param.value.device());
        let mut watch = Watch { start: Instant::now(), device, live: live(device), step: Duration::ZERO, score: Duration::ZERO, figures: Figures::default() };
        watch.figures.before = watch.scoring(|| score(base.model(), held))?;
        watch.figures.after = watch.figures.before;
        if !watch.figures.before.is_finite() {
            return Ok(watch.rejected(Reason::NotFinite { what: "the score before" }));
        }
        let rng = &mut Rng::seeded(self.seed);
        let mut copy = base.clone();
        copy.add_arc(name, self.method.clone(), rng)?;
        watch.figures.bytes = own_bytes(&copy, name);
        let steps = samples.len().div_ceil(self.batch).saturating_mul(self.epochs);
        let mut adam = AdamW::new(self.learning_rate).clip_norm(1.0).schedule(Schedule::linear(1.0, 0.0, steps as u64));
        for (pattern, factor) in self.factors.clone() {
            adam = adam.group(&pattern, move |group| group.learning_rate_scale(factor));
        }

        let (mut best, mut waited, mut stopped) = (None, 0, None);
        'training: for _ in 0..self.epochs {
            let order = rng.permutation(samples.len());
            for batch in order.chunks(self.batch) {
                if self.time.is_some_and(|budget| watch.would_exceed(budget)) {
                    stopped = self.time.map(|budget| Reason::OutOfTime { budget });
                    break 'training;
                }
                let batch: Vec<&S> = batch.iter().filter_map(|&i| samples.get(i)).collect();
                let step_start = Instant::now();
                let tape = Tape::training(rng);
                let value = loss(copy.model(), &tape, &batch)?;
                watch.look();
                if !value.item()?.is_finite() {
                    stopped = Some(Reason::NotFinite { what: "the loss" });
                    break 'training;
                }
                let gradients = value.backward()?;
                watch.look();
                if let Some(over) = self.memory.and_then(|budget| watch.over(budget)) {
                    return Ok(watch.rejected(over));
                }
                drop((value, tape));
                match adam.step(&mut copy, &gradients) {
                    Ok(_) => {}
                    Err(chainrule_optim::Error::NonFinite { .. }) => {
                        stopped = Some(Reason::NotFinite { what: "a gradient" });
                        break 'training;
                    }
                    Err(error) => return Err(error.into()),
                }
                watch.figures.steps += 1;
                watch.step = step_start.elapsed();
            }
            let after = watch.scoring(|| score(copy.model(), held))?;
            if !after.is_finite() {
                stopped = Some(Reason::NotFinite { what: "a score" });
                break;
            }
            watch.figures.epochs += 1;
            if watch.figures.epochs == 1 || after > watch.figures.after {
                watch.figures.after = after;
                best = Some(copy.clone());
                waited = 0;
            } else {
                waited += 1;
                if waited >= self.patience {
                    break;
                }
            }
        }

        let rise = watch.figures.after - watch.figures.before;
        match (best, stopped) {
            (Some(mut model), _) if rise > 0.0 && rise >= self.margin => {
                model.train(name, false)?;
                watch.figures.time = watch.start.elapsed();
                Ok(Outcome::Accepted { model, figures: watch.figures })
            }
            (Some(_), None | Some(Reason::OutOfTime { .. })) => Ok(watch.rejected(Reason::NotBetter { margin: self.margin })),
            (_, stopped) => Ok(watch.rejected(stopped.unwrap_or(Reason::NotBetter { margin: self.margin }))),
        }
    }

    fn check(&self, samples: usize, held: usize) -> Result<(), Error> {
        let wrong = |message: String| Err(Error::adapter(OP, message));
        if samples == 0 || held == 0 {
            return wrong(format!("got {samples} samples and {held} held-out ones, expected at least one of each"));
        }
        if self.batch == 0 || self.epochs == 0 {
            return wrong(format!("got batches of {} and {} epochs, expected at least 1", self.batch, self.epochs));
        }
        if !(self.learning_rate > 0.0 && self.learning_rate.is_finite()) {
            return wrong(format!("the learning rate is {}, expected a number above 0", self.learning_rate));
        }
        if !(self.margin >= 0.0 && self.margin.is_finite()) {
            return wrong(format!("the margin is {}, expected a number of at least 0", self.margin));
        }
        Ok(())
    }
}

/// The bytes of what the active adapter trains or keeps for itself.
fn own_bytes<M: Module>(model: &Adapted<M>, name: &str) -> usize {
    let mut bytes = 0;
    let size = |array: &chainrule_autograd::Array| array.count() * array.dtype().size();
    params(model, |_, param| bytes += if param.trainable { size(&param.value) } else { 0 });
    bytes + model.members.get(name).map_or(0, |member| member.parts.buffers.iter().map(|(_, buffer)| size(&buffer.value)).sum())
}

/// The bytes that arrays hold on a device.
fn live(device: Device) -> usize {
    device.memory().map_or(0, |statistics| statistics.live)
}

/// What the budget is held against.
struct Watch {
    start: Instant,
    /// Where the model stands, and the bytes that arrays held there at the start.
    device: Device,
    live: usize,
    /// How long the last step and the last score took.
    step: Duration,
    score: Duration,
    figures: Figures,
}

impl Watch {
    fn scoring<E>(&mut self, score: impl FnOnce() -> Result<f64, E>) -> Result<f64, E> {
        let start = Instant::now();
        let result = score();
        self.score = start.elapsed();
        result
    }
    fn look(&mut self) {
        self.figures.memory = self.figures.memory.max(live(self.device).saturating_sub(self.live));
    }
    fn over(&self, budget: usize) -> Option<Reason> {
        (self.figures.memory > budget).then_some(Reason::OverMemory { used: self.figures.memory, budget })
    }
    fn would_exceed(&self, budget: Duration) -> bool {
        self.start.elapsed().saturating_add(self.step).saturating_add(self.score) > budget
    }
    fn rejected<M>(mut self, reason: Reason) -> Outcome<M> {
        self.figures.time = self.start.elapsed();
        Outcome::Rejected { reason, figures: self.figures }
    }
}
