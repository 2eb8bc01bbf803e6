//! [`Adapted`]: a model and its adapters by name: attached, switched, mixed, trained, merged, taken off.

use crate::layered::Mix;
use crate::merge::{Merged, swap};
use crate::parts::{Parts, exchange};
use crate::{Error, Method, Result};
use chainrule_autograd::{Array, Device, Rng, Tensor};
use chainrule_nn::{AnyAdapter, Buffer, Layer, Module, Param, Path, Site, Visitor, VisitorMut, params_mut};
use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

/// A model, frozen, and adapters that were made for it.
///
/// It is a value like the model: a clone shares all numbers, so each thread can take its own and switch it. At most one adapter, or one mixture, is active; the others wait aside and cost only their own memory.
/// Whether an adapter is active and whether it is trained are two things: [`activate`](Adapted::activate) and [`train`](Adapted::train).
/// As a module it is the model as it runs now, at the same paths, so that an optimizer steps it.
/// ```
/// use chainrule_autograd::{DType, Rng, Tape, Tensor};
/// use chainrule_finetune::{Adapted, Lora};
/// use chainrule_nn::{Layer, Linear, Relu, Sequential};
///
/// let rng = &mut Rng::seeded(0);
/// let base = Sequential::new().add(Linear::new(8, 16, rng)?).add(Relu).add(Linear::new(16, 2, rng)?);
/// let mut model = Adapted::new(base.clone());
/// model.add("reviews", Lora::rank(4).targets(["0"]).saving(["2"]), rng)?;
///
/// let x = Tensor::ones(&[3, 8], DType::F32)?;
/// assert_eq!(model.forward(&x)?.to_vec::<f32>()?, base.forward(&x)?.to_vec::<f32>()?); // begins as the identity
/// let tape = Tape::training(rng);
/// let gradients = model.forward(&tape.input(&x))?.square()?.sum()?.backward()?;
/// assert_eq!(gradients.len(), 4); // two low-rank matrices, and the head's weight and bias
///
/// model.add("mail", Lora::rank(2).targets(["0", "2"]), rng)?;
/// model.activate("reviews")?;
/// assert_eq!(model.active(), ["reviews"]);
/// let base_again = model.into_base();
/// # assert_eq!(base_again.forward(&x)?.to_vec::<f32>()?, base.forward(&x)?.to_vec::<f32>()?);
/// # Ok::<(), chainrule_finetune::Error>(())
/// ```
#[derive(Clone)]
pub struct Adapted<M> {
    pub(crate) model: M,
    /// Whether the base's parameters were trained before they were frozen, by path.
    pub(crate) trainable: BTreeMap<String, bool>,
    pub(crate) members: BTreeMap<String, Member>,
    pub(crate) state: State,
}

/// An adapter of a name. While it is active its parts are in the model, and the base's are here.
#[derive(Clone)]
pub(crate) struct Member {
    /// How it was made.
    pub method: Arc<dyn Method>,
    pub parts: Parts,
    trained: bool,
}

/// What is in the model.
#[derive(Clone)]
pub(crate) enum State {
    Base,
    Active(String),
    /// The parts of the mixture, which are in the model, so that here are the base's.
    Mixed(Vec<String>, Box<Parts>),
    /// What is merged. Its merged weights are in the model, so that here are the base's, and the adapter's slots.
    Merged(Box<State>, Vec<Merged>),
}

impl State {
    fn names(&self) -> Vec<&str> {
        match self {
            State::Base => Vec::new(),
            State::Active(name) => vec![name],
            State::Mixed(names, _) => names.iter().map(String::as_str).collect(),
            State::Merged(of, _) => of.names(),
        }
    }

    /// Merges or unmerges, if this is something merged.
    fn swap_merged(&mut self, model: &mut dyn Module) {
        if let State::Merged(_, layers) = self {
            swap(model, layers);
        }
    }
}

impl<M: Module> Adapted<M> {
    /// The model without adapters, all of it frozen. Quantise it and choose its element type before; batch norm without parameters follows its batches even so.
    pub fn new(mut model: M) -> Adapted<M> {
        let mut trainable = BTreeMap::new();
        params_mut(&mut model, |path, param| _ = trainable.insert(path.to_string(), std::mem::replace(&mut param.trainable, false)));
        Adapted { model, trainable, members: BTreeMap::new(), state: State::Base }
    }

    /// Makes an adapter by this method. It is active and trained from now on, and changes nothing yet.
    ///
    /// # Errors
    /// A name that is taken, or cannot be a file's; a method that finds nothing to adapt, or whose targets name something that is not there; settings that do not fit. Nothing is changed then.
    pub fn add(&mut self, name: &str, method: impl Method + 'static, rng: &mut Rng) -> Result<()> {
        self.add_arc(name, Arc::new(method), rng)
    }

    pub(crate) fn add_arc(&mut self, name: &str, method: Arc<dyn Method>, rng: &mut Rng) -> Result<()> {
        self.add_made("add", name, true, |model| Ok((Parts::made(model, &*method, rng)?, method, ())))
    }

    /// Puts in what is made for the base, and makes it active.
    pub(crate) fn add_made<T>(
        &mut self,
        op: &'static str,
        name: &str,
        trained: bool,
        make: impl FnOnce(&M) -> Result<(Parts, Arc<dyn Method>, T)>,
    ) -> Result<T> {
        if self.members.contains_key(name) {
            return Err(Error::adapter(op, format!("there is an adapter \"{name}\" already; remove it first, or take another name")));
        }
        if name.is_empty() || name.contains(['.', '/', '\\']) {
            return Err(Error::adapter(op, format!("\"{name}\" cannot name an adapter, expected some characters without dots and slashes")));
        }
        let before = self.switch(State::Base);
        match make(&self.model) {
            Ok((mut parts, method, told)) => {
                parts.each_param(|param| param.trainable = trained);
                self.members.insert(name.to_string(), Member { method, parts, trained });
                self.switch(State::Active(name.to_string()));
                Ok(told)
            }
            Err(error) => {
                self.switch(before);
                Err(error)
            }
        }
    }

    /// Takes an adapter off, and out. The method and all its numbers are dropped.
    ///
    /// # Errors
    /// A name that is not there.
    pub fn remove(&mut self, name: &str) -> Result<()> {
        self.member("remove", name)?;
        if self.active().contains(&name) {
            self.deactivate();
        }
        self.members.remove(name);
        Ok(())
    }

    /// The names of all adapters.
    pub fn names(&self) -> Vec<&str> {
        self.members.keys().map(String::as_str).collect()
    }

    /// The names of those that are active: none, one, or those of a mixture.
    pub fn active(&self) -> Vec<&str> {
        self.state.names()
    }

    /// Lets this adapter work, and no other; what was merged is unmerged. It takes a walk over the model and copies no numbers.
    ///
    /// # Errors
    /// A name that is not there.
    pub fn activate(&mut self, name: &str) -> Result<()> {
        self.member("activate", name)?;
        let is_own = |state: &State| matches!(state, State::Active(active) if active == name);
        match &self.state {
            State::Merged(of, _) if is_own(of) => self.unmerge(),
            state if is_own(state) => {}
            _ => _ = self.switch(State::Active(name.to_string())),
        }
        Ok(())
    }

    /// Lets several work together: each layer gives `y + Σ wᵢ (yᵢ - y)`, y being the base's result and yᵢ that with the i-th alone; parameters of their own (a head) mix alike. The mixture is not trained.
    ///
    /// # Errors
    /// Names that are not there, or there twice; weights that are not finite; adapters with prompts, which cannot be mixed.
    pub fn activate_mixed(&mut self, weights: &[(&str, f64)]) -> Result<()> {
        const OP: &str = "activate_mixed";
        for (i, (name, weight)) in weights.iter().enumerate() {
            let member = self.member(OP, name)?;
            if !weight.is_finite() || weights[..i].iter().any(|(other, _)| other == name) {
                return Err(Error::adapter(OP, format!("got \"{name}\" with the weight {weight}, expected each name once, with a finite weight")));
            }
            if !member.parts.prompts.is_empty() {
                return Err(Error::adapter(OP, format!("\"{name}\" has a prompt, and prompts cannot be mixed")));
            }
        }
        let before = self.switch(State::Base);
        match self.mixture(weights) {
            Ok(parts) => {
                self.switch(State::Mixed(weights.iter().map(|(name, _)| name.to_string()).collect(), Box::new(parts)));
                Ok(())
            }
            Err(error) => {
                self.switch(before);
                Err(error)
            }
        }
    }

    /// Lets no adapter work: the model is the base, to the bit.
    pub fn deactivate(&mut self) {
        self.switch(State::Base);
    }

    /// Sets whether an adapter is trained. It need not be active; only an active one gets gradients.
    ///
    /// # Errors
    /// A name that is not there.
    pub fn train(&mut self, name: &str, trained: bool) -> Result<()> {
        self.member("train", name)?;
        let before = self.switch(State::Base);
        if let Some(member) = self.members.get_mut(name) {
            member.trained = trained;
            member.parts.each_param(|param| param.trainable = trained);
        }
        self.switch(before);
        Ok(())
    }

    /// Whether an adapter is trained.
    ///
    /// # Errors
    /// A name that is not there.
    pub fn is_trained(&self, name: &str) -> Result<bool> {
        Ok(self.member("is_trained", name)?.trained)
    }

    /// The model as it is with this adapter: for another thread, which then has no part in later switches.
    ///
    /// # Errors
    /// A name that is not there.
    pub fn view(&self, name: &str) -> Result<M>
    where
        M: Clone,
    {
        self.member("view", name)?;
        let mut own = Adapted { model: self.model.clone(), trainable: BTreeMap::new(), members: BTreeMap::new(), state: State::Base };
        // What is out and what comes in is all that the switch needs.
        for needed in self.active().into_iter().chain([name]) {
            own.members.insert(needed.to_string(), self.members[needed].clone());
        }
        own.state = self.state.clone();
        own.activate(name)?;
        Ok(own.model)
    }

    /// The base: no adapter, and each parameter as trainable as it was.
    pub fn into_base(mut self) -> M {
        self.deactivate();
        params_mut(&mut self.model, |path, param| param.trainable = self.trainable.get(path).copied().unwrap_or(param.trainable));
        self.model
    }

    /// The model as it runs now.
    pub fn model(&self) -> &M {
        &self.model
    }

    pub(crate) fn member(&self, op: &'static str, name: &str) -> Result<&Member> {
        self.members.get(name).ok_or_else(|| Error::adapter(op, format!("there is no adapter \"{name}\", expected one of {:?}", self.names())))
    }

    /// Goes over to another state, of other parts, and returns the one before.
    pub(crate) fn switch(&mut self, mut to: State) -> State {
        let mut from = std::mem::replace(&mut self.state, State::Base);
        from.swap_merged(&mut self.model);
        let [mut out, mut into] = [self.parts_of(&mut from), self.parts_of(&mut to)];
        exchange(&mut self.model, &mut out, &mut into);
        self.give_back(&mut from, out);
        self.give_back(&mut to, into);
        to.swap_merged(&mut self.model);
        self.state = to;
        from
    }

    fn place_of<'a>(&'a mut self, state: &'a mut State) -> Option<&'a mut Parts> {
        match state {
            State::Base => None,
            State::Active(name) => self.members.get_mut(name).map(|member| &mut member.parts),
            State::Mixed(_, parts) => Some(parts),
            State::Merged(of, _) => self.place_of(of),
        }
    }
    fn parts_of(&mut self, state: &mut State) -> Parts {
        self.place_of(state).map(std::mem::take).unwrap_or_default()
    }
    fn give_back(&mut self, state: &mut State, parts: Parts) {
        if let Some(place) = self.place_of(state) {
            *place = parts;
        }
    }

    /// The parts of a mixture, while no adapter is active.
    fn mixture(&self, weights: &[(&str, f64)]) -> Result<Parts> {
        let mut slots: BTreeMap<&str, Mix> = BTreeMap::new();
        let mut sums: BTreeMap<&str, Vec<(f64, &Array)>> = BTreeMap::new();
        for (name, weight) in weights {
            let parts = &self.members[*name].parts;
            for (path, adapter) in &parts.slots {
                if let Some(adapter) = adapter {
                    slots.entry(path).or_default().parts.push((name.to_string(), *weight, adapter.clone()));
                }
            }
            let (params, buffers) = (parts.params.iter().map(|(path, p)| (path, &p.value)), parts.buffers.iter().map(|(path, b)| (path, &b.value)));
            for (path, value) in params.chain(buffers) {
                sums.entry(path).or_default().push((*weight, value));
            }
        }
        let mixed = |base: &Array, terms: &[(f64, &Array)]| -> Result<Array> {
            let base = Tensor::from(base);
            let mut sum = base.clone();
            for (weight, value) in terms {
                sum = sum.add(&Tensor::from(*value).sub(&base)?.mul_scalar(*weight)?)?;
            }
            Ok(sum.into_array())
        };
        let mut order = Order { slots, sums, parts: Parts::default(), mixed: &mixed, error: None };
        self.model.visit(&mut Path::default(), &mut order);
        let Order { mut parts, error, .. } = order;
        parts.each_param(|param| param.trainable = false);
        error.map_or(Ok(parts), Err)
    }
}

type Mixed<'a> = &'a dyn Fn(&Array, &[(f64, &Array)]) -> Result<Array>;

/// Brings a mixture into the order of a walk.
struct Order<'a> {
    slots: BTreeMap<&'a str, Mix>,
    sums: BTreeMap<&'a str, Vec<(f64, &'a Array)>>,
    parts: Parts,
    mixed: Mixed<'a>,
    error: Option<Error>,
}

impl Order<'_> {
    fn sum(&mut self, path: &str, base: &Array) -> Option<Array> {
        let terms = self.sums.get(path)?;
        // Counters, which are integers, stay the base's.
        let sum = if base.dtype().is_float() { (self.mixed)(base, terms) } else { Ok(base.clone()) };
        sum.map_err(|error| self.error.get_or_insert(error)).ok()
    }
}

impl Visitor for Order<'_> {
    fn adapter(&mut self, path: &str, _: Site<'_>, _: Option<&dyn AnyAdapter>) {
        if let Some(mix) = self.slots.remove(path) {
            self.parts.slots.push((path.to_string(), Some(Box::new(mix))));
        }
    }
    fn param(&mut self, path: &str, param: &Param) {
        if let Some(value) = self.sum(path, &param.value) {
            self.parts.params.push((path.to_string(), Param::new(value)));
        }
    }
    fn buffer(&mut self, path: &str, buffer: &Buffer) {
        if let Some(value) = self.sum(path, &buffer.value) {
            self.parts.buffers.push((path.to_string(), Buffer::new(value)));
        }
    }
}

impl<M: Module> Module for Adapted<M> {
    fn visit(&self, path: &mut Path, visitor: &mut dyn Visitor) {
        self.model.visit(path, visitor);
    }
    fn visit_mut(&mut self, path: &mut Path, visitor: &mut dyn VisitorMut) {
        self.model.visit_mut(path, visitor);
    }

    /// The model, and what waits aside.
    fn to(&mut self, device: &Device) -> chainrule_nn::Result<()> {
        crate::placement::move_all(self, device)
    }
}

impl<M: Layer> Layer for Adapted<M> {
    fn forward(&self, x: &Tensor) -> chainrule_autograd::Result<Tensor> {
        self.model.forward(x)
    }
}

/// The model as it runs now, for its own methods.
impl<M> Deref for Adapted<M> {
    type Target = M;
    fn deref(&self) -> &M {
        &self.model
    }
}
