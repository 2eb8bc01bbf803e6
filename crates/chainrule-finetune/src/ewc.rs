//! Elastic weight consolidation: what an earlier task needs is held fast, the rest is free (Kirkpatrick et al. 2017, "Overcoming catastrophic forgetting in neural networks").

use crate::anchor::{Anchors, expect_strength, wide};
use chainrule_autograd::{Array, Error, Gradients, ParamId, Rng, Tape, Tensor};
use chainrule_nn::{Module, Pattern, Result, StateDict, params};
use std::collections::HashMap;

/// `λ/2 Σ F (θ - θ*)²` over the trainable parameters, where θ* is the model after the earlier task and F the diagonal of its Fisher information: [`fisher_empirical`], [`fisher_true`]. For several tasks add several penalties.
/// ```
/// # use chainrule_autograd::{DType, Rng, Tape, Tensor};
/// # use chainrule_finetune::{Ewc, fisher_empirical};
/// # use chainrule_nn::{Layer, Linear};
/// let mut rng = Rng::seeded(0);
/// let model = Linear::new(4, 2, &mut rng)?; // trained on the first task
/// let samples: Vec<Tensor> = (0..3).map(|_| Tensor::normal(&[1, 4], 0.0, 1.0, DType::F32, &mut rng)).collect::<Result<_, _>>()?;
/// let label = Tensor::from_slice(&[1i64], &[1])?;
/// let fisher = fisher_empirical(&model, samples, |model, tape, x| model.forward(&tape.input(x))?.cross_entropy(&label))?;
/// let held = Ewc::new(&model, &fisher, 100.0)?;
///
/// let tape = Tape::training(&mut rng); // training on the second task
/// let loss = model.run(&tape.input(Tensor::ones(&[1, 4], DType::F32)?))?.square()?.mean()?;
/// let loss = loss.add(&held.penalty(&model, &loss)?)?;
/// # let _ = loss.backward()?;
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Ewc {
    anchors: Anchors,
    fisher: HashMap<ParamId, Array>,
    strength: f64,
}

const OP: &str = "ewc";

impl Ewc {
    /// Takes down the model after the earlier task. Parameters that the information lacks are free.
    ///
    /// # Errors
    /// A strength below 0 or not finite; information by no path of the model, or of another shape.
    pub fn new(model: &dyn Module, fisher: &StateDict, strength: f64) -> Result<Ewc> {
        expect_strength(OP, "the strength", strength)?;
        let (mut known, mut paths, mut wrong) = (HashMap::new(), Vec::new(), None);
        params(model, |path, param| {
            paths.push(path.to_string());
            if let Some(array) = fisher.get(path) {
                if array.dims() != param.value.dims() {
                    wrong = Some(format!("the information of \"{path}\" has shape {:?}, the parameter {:?}", array.shape(), param.value.shape()));
                }
                known.insert(param.id, array.clone());
            }
        });
        if let Some(message) = wrong {
            return Err(Error::shape(OP, message).into());
        }
        if let Some(stranger) = fisher.keys().find(|path| !paths.contains(path)) {
            return Err(Pattern::new(stranger)?.no_match(OP, "parameter", &paths));
        }
        Ok(Ewc { anchors: Anchors::of(model), fisher: known, strength })
    }

    /// The penalty of a model, where `at` stands: on its tape, in its element type. Parameters belong together by identity, as those of a model and its clones do.
    ///
    /// # Errors
    /// A model that shares no parameter with the one taken down; a parameter of another shape than it had.
    pub fn penalty(&self, model: &dyn Module, at: &Tensor) -> Result<Tensor> {
        self.anchors.sum(OP, model, at, |param, value, anchor| {
            let (Some(anchor), Some(fisher)) = (anchor, self.fisher.get(&param.id)) else { return Ok(None) };
            let distance = value.sub(&Tensor::from(anchor.to(&value.device())?))?.square()?;
            Ok(Some(distance.mul(&Tensor::from(fisher.to(&value.device())?).cast(value.dtype())?)?.sum()?.mul_scalar(self.strength / 2.0)?))
        })
    }
}

/// The diagonal of the empirical Fisher information, by path: the mean over samples of `(∂ ln p(y | x) / ∂θ)²` with the labels y that the data have. `loss` gives `-ln p(y | x)` of one sample, in inference mode.
///
/// # Errors
/// Those of `loss`; no samples; a loss without gradient.
pub fn fisher_empirical<M: Module, S, E: From<Error>>(
    model: &M,
    samples: impl IntoIterator<Item = S>,
    mut loss: impl FnMut(&M, &Tape, S) -> Result<Tensor, E>,
) -> Result<StateDict, E> {
    let mut squares = Squares::default();
    for sample in samples {
        let tape = Tape::inference(&mut Rng::seeded(0));
        squares.add(&loss(model, &tape, sample)?.backward()?, 1.0)?;
        squares.samples += 1;
    }
    Ok(squares.mean(model)?)
}

/// The diagonal of the true Fisher information, by path: the mean over samples of `Σ_c p(c | x) (∂ ln p(c | x) / ∂θ)²`, the expectation under what the model itself says. `logits` gives those of one sample, `[C]` or `[1, C]`, in inference mode. It costs a backward pass for every class.
///
/// # Errors
/// Those of `logits`; no samples; logits of more than one row, or without gradient.
pub fn fisher_true<M: Module, S, E: From<Error>>(
    model: &M,
    samples: impl IntoIterator<Item = S>,
    mut logits: impl FnMut(&M, &Tape, S) -> Result<Tensor, E>,
) -> Result<StateDict, E> {
    let mut squares = Squares::default();
    for sample in samples {
        let tape = Tape::inference(&mut Rng::seeded(0));
        let logits = logits(model, &tape, sample)?;
        if logits.dims().last() != Some(&logits.count()) {
            return Err(Error::shape("fisher_true", format!("got logits {:?}, expected [C] or [1, C]: one sample at a time", logits.shape())).into());
        }
        let log = logits.log_softmax(-1)?.flatten(0, -1)?;
        let probabilities = log.detach().exp()?.cast(chainrule_autograd::DType::F64)?.to_vec::<f64>()?;
        for (class, probability) in probabilities.into_iter().enumerate() {
            squares.add(&log.select(0, class)?.backward_keeping()?, probability)?;
        }
        squares.samples += 1;
    }
    Ok(squares.mean(model)?)
}

/// Sums of squared gradients.
#[derive(Default)]
struct Squares {
    sums: HashMap<ParamId, Tensor>,
    samples: usize,
}

impl Squares {
    fn add(&mut self, gradients: &Gradients, weight: f64) -> Result<(), Error> {
        for (id, gradient) in gradients.iter() {
            // In 16 bits small squares vanish, and a long sum stops growing.
            let square = wide(&Tensor::from(gradient))?.square()?.mul_scalar(weight)?;
            let sum = match self.sums.get(&id) {
                Some(sum) => sum.add(&square)?,
                None => square,
            };
            self.sums.insert(id, sum);
        }
        Ok(())
    }

    fn mean(self, model: &dyn Module) -> Result<StateDict, Error> {
        if self.samples == 0 {
            return Err(Error::value("fisher", "got no samples, expected at least 1"));
        }
        let (mut fisher, mut error) = (StateDict::new(), None);
        params(model, |path, param| {
            if let Some(sum) = self.sums.get(&param.id) {
                match sum.mul_scalar(1.0 / self.samples as f64) {
                    Ok(mean) => drop(fisher.insert(path.to_string(), mean.into_array())),
                    Err(e) => error = Some(e),
                }
            }
        });
        error.map_or(Ok(fisher), Err)
    }
}
