//! [`AveragedModel`]: the mean of a model's values along its training (PyTorch's `swa_utils`).

use crate::step::describe;
use crate::{Error, Result};
use chainrule_autograd::{Gradients, ParamId, Rng, Tape, Tensor, Update};
use chainrule_core::ops::elementwise::{Binary, Unary, binary, unary};
use chainrule_core::ops::update::{self, Formula, Gradient, Real};
use chainrule_core::{Array, DType};
use chainrule_nn::{Module, buffers, buffers_mut, independent, locate, params, params_mut, path_of};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// A model that follows another one: the exponential moving average of its parameters (Polyak and Juditsky, 1992; Tarvainen and Valpola, 2017, arXiv:1703.01780), or their equal average (stochastic weight averaging: Izmailov et al., 2018, arXiv:1803.05407).
///
/// `a += share · (p - a)`, where the share is `1 - decay`, or `1 / (n + 1)` after n models. The first model is copied. Buffers are copied every time unless [`average_buffers`](AveragedModel::average_buffers) is set.
///
/// The average has identities of its own and infers like any model; save it as one, with [`averaged`](AveragedModel::averaged) beside it.
/// ```
/// use chainrule_autograd::{Array, DType};
/// use chainrule_nn::Param;
/// use chainrule_optim::AveragedModel;
/// let at = |x: f64| Ok::<_, chainrule_core::Error>(Param::new(Array::full(&[1], x, DType::F32)?));
/// let mut average = AveragedModel::swa(&at(0.0)?);
/// for x in [1.0, 2.0, 6.0] {
///     average.update(&at(x)?)?; // after an epoch with a high learning rate
/// }
/// assert_eq!(average.model().value.item()?, 3.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct AveragedModel<M> {
    model: M,
    decay: Option<f64>,
    warm_up: Option<f64>,
    average_buffers: bool,
    averaged: u64,
}

impl<M: Module + Clone> AveragedModel<M> {
    /// An equal average of the models to come.
    pub fn swa(model: &M) -> AveragedModel<M> {
        AveragedModel { model: independent(model), decay: None, warm_up: None, average_buffers: false, averaged: 0 }
    }

    /// An exponential moving average of the models to come: `a = decay · a + (1 - decay) · p`. 0.999 is usual.
    ///
    /// # Errors
    /// A decay that is not from 0 to 1.
    pub fn ema(model: &M, decay: f64) -> Result<AveragedModel<M>> {
        if !(0.0..=1.0).contains(&decay) {
            return Err(Error::Setting { rule: "ema", message: format!("decay is {decay}, expected a number from 0 to 1") });
        }
        Ok(AveragedModel { decay: Some(decay), ..AveragedModel::swa(model) })
    }

    /// Lets the decay grow: after n models it is `min(decay, 1 - (1 + n)^-power)`; 2/3 is usual for long runs, 3/4 for short ones (timm's `use_warmup`). An equal average has none.
    #[must_use]
    pub fn warm_up(mut self, power: f64) -> Self {
        self.warm_up = Some(power);
        self
    }

    /// Averages buffers of numbers too, as running statistics, instead of copying them (PyTorch's `use_buffers`). Whole numbers are copied all the same.
    #[must_use]
    pub fn average_buffers(mut self) -> Self {
        self.average_buffers = true;
        self
    }

    /// The average.
    pub fn model(&self) -> &M {
        &self.model
    }

    /// The average for changes: [`update_batch_norm`], loading.
    pub fn model_mut(&mut self) -> &mut M {
        &mut self.model
    }

    /// The average alone.
    pub fn into_model(self) -> M {
        self.model
    }

    /// How many models it is the average of.
    pub fn averaged(&self) -> u64 {
        self.averaged
    }

    /// Goes on from a saved average, whose model is loaded as any other.
    pub fn set_averaged(&mut self, averaged: u64) {
        self.averaged = averaged;
    }

    /// The share of the next model in the average.
    fn share(&self) -> f64 {
        let n = self.averaged as f64;
        match self.decay {
            _ if self.averaged == 0 => 1.0,
            None => 1.0 / (n + 1.0),
            Some(decay) => 1.0 - self.warm_up.map_or(decay, |power| decay.min(1.0 - (1.0 + n).powf(-power))),
        }
    }

    /// Takes the model as it is now into the average, in one pass over its numbers; nothing is copied where the average is the model itself. The average stays on its device, wherever the model stands.
    ///
    /// # Errors
    /// A model of other paths, shapes or element types; no memory. The average is as before then.
    pub fn update(&mut self, model: &M) -> Result<()> {
        let share = self.share();
        let of_buffers = if self.average_buffers { share } else { 1.0 };
        let mut new = BTreeMap::new();
        params(model, |path, param| drop(new.insert(path.to_string(), (param.value.clone(), share))));
        buffers(model, |path, buffer| drop(new.insert(path.to_string(), (buffer.value.clone(), of_buffers))));
        self.check(&mut new)?;
        self.each(|path, value| match new.get_mut(path) {
            Some((new, share)) => ready(value, new, share),
            None => Ok(()),
        })?;
        self.each(|path, value| match new.get(path) {
            Some((new, share)) => move_toward(value, new, *share),
            None => Ok(()),
        })?;
        self.averaged += 1;
        Ok(())
    }

    /// An error unless the same paths hold the same kinds of arrays. Whole numbers get a share of 1.
    fn check(&self, new: &mut BTreeMap<String, (Array, f64)>) -> Result<()> {
        let (mut error, mut known) = (None, 0);
        let mut compare = |path: &str, value: &Array| {
            known += 1;
            let message = match new.get_mut(path) {
                None => "is not in the model".to_string(),
                Some((new, _)) if new.dims() != value.dims() || new.dtype() != value.dtype() => {
                    format!("is {} in the model, expected {}", describe(new), describe(value))
                }
                Some((_, share)) if !matches!(value.dtype(), DType::F32 | DType::F64) && *share != 1.0 => {
                    if value.dtype().is_float() {
                        format!("is {}, expected f32 or f64; keep master weights in f32", value.dtype())
                    } else {
                        *share = 1.0;
                        return;
                    }
                }
                Some(_) => return,
            };
            error.get_or_insert(Error::Average { path: path.to_string(), message });
        };
        params(&self.model, |path, param| compare(path, &param.value));
        buffers(&self.model, |path, buffer| compare(path, &buffer.value));
        match error {
            Some(error) => Err(error),
            None if new.len() > known => {
                Err(Error::Average { path: "".into(), message: format!("the model has {} parameters and buffers, the average {known}", new.len()) })
            }
            None => Ok(()),
        }
    }

    /// Walks over all arrays of the average until one fails.
    fn each(&mut self, mut f: impl FnMut(&str, &mut Array) -> chainrule_core::Result<()>) -> Result<()> {
        let mut error = None;
        let mut visit = |path: &str, value: &mut Array| {
            if error.is_none() {
                error = f(path, value).map_err(|source| Error::At { path: path.to_string(), source }).err();
            }
        };
        params_mut(&mut self.model, |path, param| visit(path, &mut param.value));
        buffers_mut(&mut self.model, |path, buffer| visit(path, &mut buffer.value));
        error.map_or(Ok(()), Err)
    }
}

/// Gets all memory that [`move_toward`] needs. What cannot be changed in place is computed here already, and then replaces the old value with a share of 1.
fn ready(value: &mut Array, new: &mut Array, share: &mut f64) -> chainrule_core::Result<()> {
    *new = new.to(&value.device())?;
    if *share == 1.0 {
        return Ok(());
    }
    if value.device().is_cuda() {
        (*new, *share) = (toward_on_device(value, new, 1.0, *share)?, 1.0);
        return Ok(());
    }
    value.own()
}

/// `value += share · (new - value)`; with a share of 1 both are one array until one of them changes.
fn move_toward(value: &mut Array, new: &Array, share: f64) -> chainrule_core::Result<()> {
    if share == 1.0 {
        *value = new.clone();
        return Ok(());
    }
    update::update("average", value, Gradient { numbers: new, scale: 1.0, decay: 0.0 }, &mut [], Toward { share })
}

/// `value + share · (scale · new - value)` in whole-array operations, which a GPU has kernels for.
fn toward_on_device(value: &Array, new: &Array, scale: f64, share: f64) -> chainrule_core::Result<Array> {
    let step = binary(Binary::Sub, &times(new, scale)?, value)?;
    binary(Binary::Add, value, &times(&step, share)?)
}

fn times(x: &Array, factor: f64) -> chainrule_core::Result<Array> {
    unary(Unary::Affine { scale: factor, shift: 0.0 }, x)
}

#[derive(Clone, Copy)]
struct Toward {
    share: f64,
}

impl Formula<0> for Toward {
    #[inline(always)]
    fn next<R: Real>(self, p: R, new: R, []: [R; 0]) -> (R, [R; 0]) {
        (R::of(self.share).mul_add(new - p, p), [])
    }
}

/// Computes a model's running statistics anew: the mean over the batches of those of every batch (PyTorch's `update_bn`). An averaged model needs it once before it infers, because its layers have never seen each other. Frozen norms keep their statistics, as in training.
///
/// `forward` sends a batch through the model on a tape in training mode. Returns the number of batches; with none the model stays as it was.
/// ```
/// use chainrule_autograd::{Rng, Tensor};
/// use chainrule_nn::{BatchNorm1d, Layer};
/// use chainrule_optim::update_batch_norm;
/// let mut norm = BatchNorm1d::new(1)?;
/// let batches = [[0f32, 2.0], [4.0, 6.0]];
/// update_batch_norm(&mut norm, batches, &mut Rng::seeded(0), |norm, tape, batch| norm.forward(&tape.input(Tensor::from_slice(&batch, &[2, 1])?)))?;
/// assert_eq!(norm.running_mean.as_ref().unwrap().value.item()?, 3.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// Those of `forward`; no memory. The model is as before then.
pub fn update_batch_norm<M: Module, B, T>(
    model: &mut M,
    batches: impl IntoIterator<Item = B>,
    rng: &mut Rng,
    mut forward: impl FnMut(&M, &Tape, B) -> chainrule_autograd::Result<T>,
) -> Result<u64> {
    let (mut means, mut count) = (BTreeMap::new(), 0);
    for batch in batches {
        count += 1;
        let tape = Tape::training(rng);
        let found = forward(model, &tape, batch).and_then(|_| statistics(&tape)).map_err(|error| locate(model, error))?;
        for (id, update) in found.updates() {
            // Statistics of momentum 0 keep all of the old value, as a counter does, and add nothing: they stay.
            if update.decay() == 1.0 && update.addend().dtype().is_float() {
                continue;
            }
            renew(means.entry(id), update, count).map_err(|source| Error::At { path: path_of(model, id).unwrap_or_default(), source })?;
        }
    }
    buffers_mut(model, |_, buffer| {
        if let Some(mean) = means.remove(&buffer.id) {
            buffer.value = mean;
        }
    });
    Ok(count)
}

/// The buffer updates that a forward pass has left on a tape. They come with the gradient of anything there, so with that of a number which nothing depends on.
fn statistics(tape: &Tape) -> chainrule_autograd::Result<Gradients> {
    tape.watch(Tensor::zeros(&[], DType::F32)?).backward()
}

/// The mean of the statistics of `count` batches. An update `decay · old + scale · add` says that the batch's own are `scale / (1 - decay) · add`; one that keeps all of the old value counts.
fn renew(mean: Entry<ParamId, Array>, statistic: &Update, count: u64) -> chainrule_core::Result<()> {
    let (batch, counts) = (statistic.addend(), statistic.decay() == 1.0);
    let mean = match mean {
        Entry::Vacant(place) => place.insert(batch.new_full(batch.dims(), 0.0)?),
        Entry::Occupied(place) => place.into_mut(),
    };
    if counts {
        *mean = binary(Binary::Add, mean, batch)?;
        return Ok(());
    }
    let (scale, share) = (statistic.scale() / (1.0 - statistic.decay()), 1.0 / count as f64);
    if batch.device().is_cuda() {
        *mean = toward_on_device(mean, batch, scale, share)?;
        return Ok(());
    }
    let gradient = Gradient { numbers: batch, scale, decay: 0.0 };
    update::update("update_batch_norm", mean, gradient, &mut [], Toward { share })
}
