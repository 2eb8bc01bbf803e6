//! [`Lbfgs`]: limited-memory BFGS (Liu and Nocedal, 1989; PyTorch's `LBFGS`).

mod line_search;
mod problem;
mod state;

use crate::rule::check_not_negative;
use crate::{Error, Result};
use chainrule_autograd::Gradients;
use chainrule_nn::{Module, buffers, buffers_mut, params, params_mut};
use line_search::{Trial, strong_wolfe};
use problem::{Problem, dot, largest, moved};
use std::collections::VecDeque;
use std::sync::Arc;

/// L-BFGS: all trainable parameters move as one vector along `-H g`, H being the inverse Hessian that the last changes of position s and gradient y suggest: `H = ∏ (1 - ρ y s')' H₀ ∏ (1 - ρ y s') + …`, `ρ = 1 / y's`, `H₀ = y's / y'y`.
///
/// For losses over all data, without dropout: it evaluates the loss many times for one step and takes every difference for curvature. It computes in double precision, whatever the model does.
/// ```
/// use chainrule_autograd::{Array, DType, Rng, Tape, Tensor};
/// use chainrule_nn::Param;
/// use chainrule_optim::Lbfgs;
/// let mut point = Param::new(Tensor::from_slice(&[-1.2f64, 1.0], &[2])?.into_array());
/// let mut lbfgs = Lbfgs::new().iterations(50).strong_wolfe();
/// let report = lbfgs.minimise(&mut point, |point| {
///     let tape = Tape::training(&mut Rng::seeded(0));
///     let p = point.on(&tape.input(Tensor::zeros(&[], DType::F64)?))?;
///     let (x, y) = (p.select(0, 0)?, p.select(0, 1)?);
///     // Rosenbrock's valley: (1 - x)² + 100 (y - x²)²
///     let loss = x.affine(-1.0, 1.0)?.square()?.add(&y.sub(&x.square()?)?.square()?.mul_scalar(100.0)?)?;
///     Ok((loss.item()?, loss.backward()?))
/// })?;
/// assert!(report.loss < 1e-8 && report.evaluations < 50);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Lbfgs {
    learning_rate: f64,
    iterations: usize,
    evaluations: Option<usize>,
    tolerance_gradient: f64,
    tolerance_change: f64,
    history: usize,
    strong_wolfe: bool,
    maximize: bool,
    memory: Memory,
}

/// What a call leaves for the next.
#[derive(Clone, Debug, Default)]
struct Memory {
    iterations: u64,
    evaluations: u64,
    direction: Vec<f64>,
    step: f64,
    /// Before the last step.
    gradient: Vec<f64>,
    changes: VecDeque<Change>,
    /// H₀
    diagonal: f64,
}

/// What a step changed.
#[derive(Clone, Debug)]
struct Change {
    y: Arc<[f64]>,
    s: Arc<[f64]>,
    rho: f64,
}

/// What a call of [`Lbfgs::minimise`] did.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct LbfgsReport {
    /// The loss before the first step.
    pub first_loss: f64,
    /// The last loss that was evaluated at the model's position; without line search that is the one before the last step.
    pub loss: f64,
    /// The largest component of the gradient there.
    pub gradient: f64,
    /// How many steps were taken.
    pub iterations: usize,
    /// How often the loss was evaluated.
    pub evaluations: usize,
}

impl Default for Lbfgs {
    fn default() -> Lbfgs {
        Lbfgs::new()
    }
}

impl Lbfgs {
    /// PyTorch's hyper-parameters: learning rate 1, 20 iterations and 25 evaluations a call, tolerances 1e-7 and 1e-9, 100 changes remembered, no line search.
    pub fn new() -> Lbfgs {
        Lbfgs {
            learning_rate: 1.0,
            iterations: 20,
            evaluations: None,
            tolerance_gradient: 1e-7,
            tolerance_change: 1e-9,
            history: 100,
            strong_wolfe: false,
            maximize: false,
            memory: Memory::default(),
        }
    }

    /// The length of a step in multiples of `H g`, or the one that a line search tries first: 1 unless set.
    #[must_use]
    pub fn learning_rate(mut self, learning_rate: f64) -> Self {
        self.learning_rate = learning_rate;
        self
    }
    /// The most steps of a call: 20 unless set. PyTorch's `max_iter`.
    #[must_use]
    pub fn iterations(mut self, iterations: usize) -> Self {
        self.iterations = iterations;
        self
    }
    /// After how many evaluations a call takes no more steps: 5/4 of the iterations unless set. PyTorch's `max_eval`.
    #[must_use]
    pub fn evaluations(mut self, evaluations: usize) -> Self {
        self.evaluations = Some(evaluations);
        self
    }
    /// The largest component of a gradient that counts as none: 1e-7 unless set.
    #[must_use]
    pub fn tolerance_gradient(mut self, tolerance: f64) -> Self {
        self.tolerance_gradient = tolerance;
        self
    }
    /// The change of the loss or of a parameter that is too small to go on: 1e-9 unless set.
    #[must_use]
    pub fn tolerance_change(mut self, tolerance: f64) -> Self {
        self.tolerance_change = tolerance;
        self
    }
    /// How many changes are remembered: 100 unless set. Each holds two numbers for every parameter.
    #[must_use]
    pub fn history(mut self, changes: usize) -> Self {
        self.history = changes;
        self
    }
    /// Searches along every direction for a step that meets the strong Wolfe conditions.
    #[must_use]
    pub fn strong_wolfe(mut self) -> Self {
        self.strong_wolfe = true;
        self
    }
    /// Climbs instead of descending.
    #[must_use]
    pub fn maximize(mut self) -> Self {
        self.maximize = true;
        self
    }

    /// Forgets what it has learned of the loss; for another loss or other parameters.
    pub fn reset(&mut self) {
        self.memory = Memory::default();
    }

    /// Takes steps until the loss is flat, nothing changes any more, or the limits of a call are reached. `evaluate` returns the loss of the model as it is given, and its gradients; the next call goes on with what this one has learned.
    ///
    /// # Errors
    /// Those of `evaluate`; a trainable parameter without a gradient; a loss or gradient that is not finite; other trainable parameters than before; a hyper-parameter out of range; no memory. Model and optimizer are as before then.
    pub fn minimise<M: Module>(&mut self, model: &mut M, evaluate: impl FnMut(&M) -> chainrule_autograd::Result<(f64, Gradients)>) -> Result<LbfgsReport> {
        self.check()?;
        let (mut before, mut buffers_before) = (Vec::new(), Vec::new());
        params(model, |_, param| before.push(param.value.clone()));
        buffers(model, |_, buffer| buffers_before.push(buffer.value.clone()));
        let mut memory = self.memory.clone();
        let result = Problem::new(model, evaluate, self.maximize).and_then(|mut problem| self.run(&mut problem, &mut memory));
        match result {
            Ok(_) => self.memory = memory,
            Err(_) => {
                let (mut before, mut buffers_before) = (before.into_iter(), buffers_before.into_iter());
                params_mut(model, |_, param| param.value = before.next().unwrap_or_else(|| param.value.clone()));
                buffers_mut(model, |_, buffer| buffer.value = buffers_before.next().unwrap_or_else(|| buffer.value.clone()));
            }
        }
        result
    }

    fn check(&self) -> Result<()> {
        let checked = check_not_negative("learning_rate", self.learning_rate)
            .and(check_not_negative("tolerance_gradient", self.tolerance_gradient))
            .and(check_not_negative("tolerance_change", self.tolerance_change));
        let checked = checked.and(if self.history > 0 { Ok(()) } else { Err("history is 0, expected at least 1 change".to_string()) });
        checked.map_err(|message| Error::Setting { rule: "lbfgs", message })
    }

    fn run<M: Module, F: FnMut(&M) -> chainrule_autograd::Result<(f64, Gradients)>>(
        &self,
        problem: &mut Problem<M, F>,
        memory: &mut Memory,
    ) -> Result<LbfgsReport> {
        let sign = if self.maximize { -1.0 } else { 1.0 };
        let most = self.evaluations.unwrap_or(self.iterations.saturating_mul(5) / 4);
        let (mut loss, mut gradient) = problem.evaluate()?;
        let first_loss = sign * loss;
        if memory.iterations > 0 && memory.direction.len() != gradient.len() {
            let (got, expected) = (gradient.len(), memory.direction.len());
            return Err(Error::State(format!("lbfgs: the trainable parameters hold {got} numbers, expected {expected} as before; reset() starts anew")));
        }
        let mut iterations = 0;
        while iterations < self.iterations && largest(&gradient) > self.tolerance_gradient {
            iterations += 1;
            memory.iterations += 1;
            memory.turn(&gradient, self.history);
            let steepness = gradient.iter().map(|g| g.abs()).sum::<f64>();
            memory.step = self.learning_rate * if memory.iterations == 1 { (1.0 / steepness).min(1.0) } else { 1.0 };
            let slope = dot(&gradient, &memory.direction);
            if slope > -self.tolerance_change {
                break;
            }
            let (start, before, evaluated) = (problem.position()?, loss, problem.evaluations);
            if self.strong_wolfe {
                let direction = &memory.direction;
                let mut at = |t: f64| {
                    problem.place(&moved(&start, t, direction))?;
                    let (loss, gradient) = problem.evaluate()?;
                    let slope = dot(&gradient, direction);
                    Ok(Trial { t, loss, gradient, slope })
                };
                let here = Trial { t: 0.0, loss, gradient, slope };
                let left = most.saturating_sub(evaluated);
                let found = strong_wolfe(&mut at, here, memory.step, largest(direction), left)?;
                (loss, gradient, memory.step) = (found.loss, found.gradient, found.t);
                problem.place(&moved(&start, memory.step, direction))?;
            } else {
                problem.place(&moved(&start, memory.step, &memory.direction))?;
                // The last step is not followed by an evaluation: the next call begins with one.
                if iterations < self.iterations {
                    (loss, gradient) = problem.evaluate()?;
                }
            }
            let longest = largest(&memory.direction) * memory.step.abs();
            if problem.evaluations >= most || longest <= self.tolerance_change || (loss - before).abs() < self.tolerance_change {
                break;
            }
        }
        memory.evaluations += problem.evaluations as u64;
        Ok(LbfgsReport { first_loss, loss: sign * loss, gradient: largest(&gradient), iterations, evaluations: problem.evaluations })
    }
}

impl Memory {
    /// Learns from the last step, and turns to `-H g` by the two loops of Nocedal (1980).
    fn turn(&mut self, gradient: &[f64], history: usize) {
        if self.iterations == 1 {
            (self.direction, self.diagonal) = (gradient.iter().map(|g| -g).collect(), 1.0);
            self.gradient = gradient.to_vec();
            return;
        }
        let y = moved(gradient, -1.0, &self.gradient);
        let s: Vec<f64> = self.direction.iter().map(|d| d * self.step).collect();
        let curvature = dot(&y, &s);
        if curvature > 1e-10 {
            while self.changes.len() >= history {
                self.changes.pop_front();
            }
            self.diagonal = curvature / dot(&y, &y);
            self.changes.push_back(Change { y: y.into(), s: s.into(), rho: 1.0 / curvature });
        }
        let mut direction: Vec<f64> = gradient.iter().map(|g| -g).collect();
        let mut shares = Vec::with_capacity(self.changes.len());
        for change in self.changes.iter().rev() {
            let share = dot(&change.s, &direction) * change.rho;
            direction = moved(&direction, -share, &change.y);
            shares.push(share);
        }
        direction.iter_mut().for_each(|d| *d *= self.diagonal);
        for (change, share) in self.changes.iter().zip(shares.into_iter().rev()) {
            let back = dot(&change.y, &direction) * change.rho;
            direction = moved(&direction, share - back, &change.s);
        }
        (self.direction, self.gradient) = (direction, gradient.to_vec());
    }
}
