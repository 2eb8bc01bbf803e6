//! [`Gradients`]: what a backward pass returns.

use crate::scan::add_into;
use crate::{Array, DType, Element, Error, ParamId, Result, Tensor};
use chainrule_core::ops::elementwise::{Unary, unary};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A pending change of a model's buffer: `value <- decay · value + add`. Two compose without a look at the value, so tapes can be added up.
#[derive(Clone, Debug)]
pub struct Update {
    decay: f64,
    scale: f64,
    add: Array,
    stamps: Vec<u64>,
}

impl Update {
    /// `value <- decay · value + add`
    pub fn new(decay: f64, add: Array) -> Update {
        Update::scaled(decay, 1.0, add)
    }
    /// `value <- decay · value + scale · add`
    pub fn scaled(decay: f64, scale: f64, add: Array) -> Update {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Update { decay, scale, add, stamps: vec![NEXT.fetch_add(1, Relaxed)] }
    }
    /// What remains of the old value.
    pub fn decay(&self) -> f64 {
        self.decay
    }
    /// What is taken of the addend.
    pub fn scale(&self) -> f64 {
        self.scale
    }
    /// What is added to it, before it is scaled.
    pub fn addend(&self) -> &Array {
        &self.add
    }
    /// Which updates this one is composed of: every call of [`new`](Update::new) has its own number. So an optimizer refuses to apply one twice.
    pub fn stamps(&self) -> &[u64] {
        &self.stamps
    }

    /// The buffer's new value.
    /// ```
    /// # use chainrule_autograd::{Array, Update};
    /// let update = Update::new(0.9, Array::from_slice(&[1f64], &[1])?);
    /// assert_eq!(update.apply(&Array::from_slice(&[10f64], &[1])?)?.to_vec::<f64>()?, [10.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// A value of another shape or element type.
    pub fn apply(&self, value: &Array) -> Result<Array> {
        expect_like("buffer update", value, &self.add)?;
        add_into(scaled(value, self.decay)?, scaled(&self.add, self.scale)?)
    }

    /// This update, and then the other.
    pub(crate) fn then(&self, next: &Update) -> Result<Update> {
        let stamps = self.stamps.iter().chain(&next.stamps).copied().collect();
        Ok(Update { decay: self.decay * next.decay, scale: 1.0, add: next.apply(&scaled(&self.add, self.scale)?)?, stamps })
    }
}

fn expect_like(op: &'static str, got: &Array, expected: &Array) -> Result<()> {
    if got.dims() == expected.dims() && got.dtype() == expected.dtype() {
        return Ok(());
    }
    Err(Error::shape(op, format!("got {} {:?}, expected {} {:?}", got.dtype(), got.shape(), expected.dtype(), expected.shape())))
}

fn scaled(array: &Array, factor: f64) -> Result<Array> {
    if factor == 1.0 {
        return Ok(array.clone());
    }
    Ok(match array.dtype() {
        DType::F32 | DType::F64 => unary(Unary::Affine { scale: factor, shift: 0.0 }, array)?,
        dtype => unary(Unary::Affine { scale: factor, shift: 0.0 }, &array.cast(DType::F64)?)?.cast(dtype)?,
    })
}

/// Gradients by parameter and by watched tensor, and the buffer updates of their tape.
///
/// Those of several tapes add up ([`add`](Gradients::add)): gradient accumulation, replicas on threads.
#[derive(Clone, Debug, Default)]
pub struct Gradients {
    parameters: BTreeMap<ParamId, Array>,
    /// By tape and node.
    watched: BTreeMap<(u64, usize), Array>,
    updates: BTreeMap<ParamId, Update>,
}

impl Gradients {
    pub(crate) fn with_updates(updates: BTreeMap<ParamId, Update>) -> Gradients {
        Gradients { updates, ..Gradients::default() }
    }
    pub(crate) fn insert_watched(&mut self, key: (u64, usize), gradient: Array) {
        self.watched.insert(key, gradient);
    }

    /// The gradient of a parameter.
    /// ```
    /// # use chainrule_autograd::{Array, Gradients, ParamId};
    /// let (id, mut gradients) = (ParamId::fresh(), Gradients::default());
    /// gradients.insert(id, Array::from_slice(&[3f32, -4.0], &[2])?);
    /// assert_eq!(gradients.get(id).unwrap().to_vec::<f32>()?, [3.0, -4.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    pub fn get(&self, id: ParamId) -> Option<&Array> {
        self.parameters.get(&id)
    }
    /// The gradient of a tensor that [`Tape::watch`](crate::Tape::watch) returned.
    /// ```
    /// # use chainrule_autograd::{Rng, Tape, Tensor};
    /// let tape = Tape::training(&mut Rng::seeded(0));
    /// let x = tape.watch(Tensor::from_slice(&[3f64], &[1])?);
    /// let gradients = x.square()?.sum()?.backward()?;
    /// assert_eq!(gradients.wrt(&x).unwrap().to_vec::<f64>()?, [6.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    pub fn wrt(&self, watched: &Tensor) -> Option<&Array> {
        self.watched.get(&(watched.recorder()?.serial, watched.node()?.index()))
    }
    /// Sets the gradient of a parameter.
    /// ```
    /// # use chainrule_autograd::{Array, Gradients, ParamId};
    /// let (id, mut gradients) = (ParamId::fresh(), Gradients::default());
    /// gradients.insert(id, Array::from_slice(&[3f32, -4.0], &[2])?);
    /// assert_eq!(gradients.len(), 1);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    pub fn insert(&mut self, id: ParamId, gradient: Array) {
        self.parameters.insert(id, gradient);
    }
    /// Takes a parameter's gradient out.
    /// ```
    /// # use chainrule_autograd::{Array, Gradients, ParamId};
    /// let (id, mut gradients) = (ParamId::fresh(), Gradients::default());
    /// gradients.insert(id, Array::from_slice(&[3f32, -4.0], &[2])?);
    /// assert!(gradients.remove(id).is_some() && gradients.is_empty());
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    pub fn remove(&mut self, id: ParamId) -> Option<Array> {
        self.parameters.remove(&id)
    }
    /// All gradients of parameters, in order of identity.
    /// ```
    /// # use chainrule_autograd::{Array, Gradients, ParamId};
    /// let (id, mut gradients) = (ParamId::fresh(), Gradients::default());
    /// gradients.insert(id, Array::from_slice(&[3f32, -4.0], &[2])?);
    /// assert!(gradients.iter().all(|(_, gradient)| gradient.dims() == [2]));
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = (ParamId, &Array)> {
        self.parameters.iter().map(|(id, gradient)| (*id, gradient))
    }
    /// How many parameters have a gradient.
    pub fn len(&self) -> usize {
        self.parameters.len()
    }
    /// Whether no parameter has a gradient.
    pub fn is_empty(&self) -> bool {
        self.parameters.is_empty()
    }
    /// The pending update of a buffer.
    pub fn update(&self, id: ParamId) -> Option<&Update> {
        self.updates.get(&id)
    }
    /// All pending buffer updates, in order of identity.
    pub fn updates(&self) -> impl Iterator<Item = (ParamId, &Update)> {
        self.updates.iter().map(|(id, update)| (*id, update))
    }

    /// The sum of both; buffer updates are composed, these first.
    /// ```
    /// # use chainrule_autograd::{Array, Gradients, ParamId};
    /// let (id, mut gradients) = (ParamId::fresh(), Gradients::default());
    /// gradients.insert(id, Array::from_slice(&[3f32, -4.0], &[2])?);
    /// let twice = gradients.clone().add(gradients)?;
    /// assert_eq!(twice.get(id).unwrap().to_vec::<f32>()?, [6.0, -8.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// A parameter with gradients of two shapes or element types.
    #[allow(clippy::should_implement_trait, reason = "it can fail")]
    pub fn add(mut self, other: Gradients) -> Result<Gradients> {
        for (id, gradient) in other.parameters {
            let sum = match self.parameters.remove(&id) {
                Some(mine) => {
                    expect_like("add", &gradient, &mine).map_err(|e| e.at(id))?;
                    add_into(mine, gradient)?
                }
                None => gradient,
            };
            self.parameters.insert(id, sum);
        }
        for (key, gradient) in other.watched {
            let sum = match self.watched.remove(&key) {
                Some(mine) => add_into(mine, gradient)?,
                None => gradient,
            };
            self.watched.insert(key, sum);
        }
        for (id, update) in other.updates {
            let both = match self.updates.get(&id) {
                Some(mine) => mine.then(&update).map_err(|e| e.at(id))?,
                None => update,
            };
            self.updates.insert(id, both);
        }
        Ok(self)
    }

    /// All gradients times `factor`.
    /// ```
    /// # use chainrule_autograd::{Array, Gradients, ParamId};
    /// let (id, mut gradients) = (ParamId::fresh(), Gradients::default());
    /// gradients.insert(id, Array::from_slice(&[3f32, -4.0], &[2])?);
    /// assert_eq!(gradients.scale(0.5)?.get(id).unwrap().to_vec::<f32>()?, [1.5, -2.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// No memory.
    pub fn scale(mut self, factor: f64) -> Result<Gradients> {
        self.each(|g| scaled(g, factor))?;
        Ok(self)
    }

    /// The Euclidean norm over all parameters' gradients together, summed in double precision.
    /// ```
    /// # use chainrule_autograd::{Array, Gradients, ParamId};
    /// let (id, mut gradients) = (ParamId::fresh(), Gradients::default());
    /// gradients.insert(id, Array::from_slice(&[3f32, -4.0], &[2])?);
    /// assert_eq!(gradients.norm()?, 5.0);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    pub fn norm(&self) -> Result<f64> {
        let mut total = 0.0;
        for gradient in self.parameters.values() {
            total += sum_of_squares(gradient)?;
        }
        Ok(total.sqrt())
    }

    /// Scales the gradients down to the given norm if theirs is larger (PyTorch's `clip_grad_norm_`). An optimizer's own clipping looks at its own model only.
    /// ```
    /// # use chainrule_autograd::{Array, Gradients, ParamId};
    /// let (id, mut gradients) = (ParamId::fresh(), Gradients::default());
    /// gradients.insert(id, Array::from_slice(&[3f32, -4.0], &[2])?);
    /// assert!((gradients.clip_norm(1.0)?.norm()? - 1.0).abs() < 1e-6);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// No memory.
    pub fn clip_norm(self, most: f64) -> Result<Gradients> {
        let norm = self.norm()?;
        if norm > most { self.scale(most / (norm + 1e-6)) } else { Ok(self) }
    }

    /// Limits every number to `-most ..= most` (PyTorch's `clip_grad_value_`).
    /// ```
    /// # use chainrule_autograd::{Array, Gradients, ParamId};
    /// let (id, mut gradients) = (ParamId::fresh(), Gradients::default());
    /// gradients.insert(id, Array::from_slice(&[3f32, -4.0], &[2])?);
    /// assert_eq!(gradients.clip_value(3.5)?.get(id).unwrap().to_vec::<f32>()?, [3.0, -3.5]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// No memory.
    pub fn clip_value(mut self, most: f64) -> Result<Gradients> {
        self.each(|g| Ok(unary(Unary::Clamp { min: -most, max: most }, g)?))?;
        Ok(self)
    }

    fn each(&mut self, f: impl Fn(&Array) -> Result<Array>) -> Result<()> {
        for gradient in self.parameters.values_mut().chain(self.watched.values_mut()) {
            *gradient = f(gradient)?;
        }
        Ok(())
    }
}

fn sum_of_squares(gradient: &Array) -> Result<f64> {
    Ok(match gradient.dtype() {
        DType::F32 if gradient.device().is_cuda() => chainrule_core::ops::update::sum_of_squares(gradient)?,
        DType::F32 => squares(gradient.contiguous()?.as_slice::<f32>()?),
        DType::F64 => squares(gradient.contiguous()?.as_slice::<f64>()?),
        _ => squares(gradient.cast(DType::F64)?.as_slice::<f64>()?),
    })
}

/// In eight partial sums: a fixed order in which no addition waits for the one before.
fn squares<T: Element>(values: &[T]) -> f64 {
    let mut sums = [0.0; 8];
    for chunk in values.chunks(8) {
        for (sum, x) in sums.iter_mut().zip(chunk) {
            *sum += x.to_f64() * x.to_f64();
        }
    }
    sums.iter().sum()
}
