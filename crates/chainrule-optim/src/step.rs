//! [`Optimizer::step`]: checks everything and gets all memory it needs, then writes.

use crate::optimizer::Slots;
use crate::rule::check_not_negative;
use crate::{Error, Group, Optimizer, Result, Rule, Step};
use chainrule_autograd::{Gradients, ParamId, Update};
use chainrule_core::ops::elementwise::{Unary, unary};
use chainrule_core::ops::update::{all_finite, sum_of_squares};
use chainrule_core::{Array, DType, Device};
use chainrule_nn::{Buffer, Module, Param, Path, Visitor, VisitorMut, path_of};
use std::collections::{BTreeMap, HashMap};

/// What a step did.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct StepReport {
    /// How many steps have been taken, this one included.
    pub steps: u64,
    /// The learning rate where no group says otherwise.
    pub learning_rate: f64,
    /// The Euclidean norm of all gradients together, before any clipping; NaN where the step was passed over.
    pub norm: f64,
    /// What the gradients were multiplied by to clip their norm; 1 where it was small enough.
    pub clipped: f64,
    /// The first parameter or buffer that kept the step from being taken, because its gradient or update was not finite.
    pub skipped: Option<String>,
}

/// All that a step will write, and with what.
#[derive(Default)]
pub(crate) struct Plan {
    pub(crate) parameters: Vec<Planned>,
    /// Where every parameter of the model stands among the planned ones, if it is trainable.
    places: HashMap<ParamId, Option<usize>>,
    pub(crate) buffers: BTreeMap<ParamId, New>,
    /// Where the first of them stands.
    pub(crate) device: Device,
}

/// What becomes of a buffer: its new numbers, or, on a GPU, which computes them where it writes them, the update.
pub(crate) enum New {
    Numbers(Array),
    #[cfg_attr(not(feature = "cuda"), allow(dead_code, reason = "only a GPU's step reads it"))]
    Update(Update),
}

pub(crate) struct Planned {
    pub(crate) id: ParamId,
    pub(crate) class: usize,
    pub(crate) gradient: Array,
    /// The state of a parameter that has none yet, or whose rule has changed its slots.
    pub(crate) fresh: Option<Slots>,
    ready: bool,
}

/// How many of a buffer's latest updates are remembered.
const REMEMBERED: usize = 256;

impl<R: Rule> Optimizer<R> {
    /// Changes the model's trainable parameters by their gradients, and its buffers by their pending updates. All is checked first: after an error model and optimizer are as before, bit by bit.
    ///
    /// Numbers are written in place unless something else holds them: a snapshot, or a tape whose recording was kept. Gradients of other models are passed over. The state of a parameter starts with its first step and ends when it is frozen.
    ///
    /// # Errors
    /// A trainable parameter without a gradient, or with one of another shape or element type; a parameter or buffer that stands in the model twice; an infinite or NaN gradient, unless [`skip_non_finite`](Optimizer::skip_non_finite) is set; buffer updates that were applied before; a pattern that matches nothing; a hyper-parameter out of range; no memory.
    pub fn step(&mut self, model: &mut dyn Module, gradients: &Gradients) -> Result<StepReport> {
        self.check_patterns(model)?;
        let mut plan = Survey::of(self, model, gradients)?;
        let groups = self.groups.resolve(&self.base_now());
        let rates = self.rates(&groups)?;
        let learning_rate = self.learning_rate();
        #[cfg(feature = "cuda")]
        if plan.device.is_cuda() {
            return self.step_on_gpu(model, plan, gradients, &groups, &rates);
        }
        let (norm, clipped) = match self.measure(&mut plan, model) {
            Err(Error::NonFinite { path, .. }) if self.skip_non_finite => {
                return Ok(StepReport { steps: self.steps, learning_rate, norm: f64::NAN, clipped: 1.0, skipped: Some(path) });
            }
            other => other?,
        };
        self.prepare(model, &mut plan, &groups)?;
        self.write(model, plan, gradients, &groups, &rates, if self.maximize { -clipped } else { clipped })?;
        Ok(StepReport { steps: self.steps, learning_rate, norm, clipped, skipped: None })
    }

    pub(crate) fn check_patterns(&mut self, model: &dyn Module) -> Result<()> {
        if !self.patterns_checked {
            self.groups.check(model, &self.missing_as_zero)?;
            self.patterns_checked = true;
        }
        Ok(())
    }

    /// The learning rate of every group for this step.
    pub(crate) fn rates(&self, groups: &[Group<R>]) -> Result<Vec<f64>> {
        for (name, most) in [("clip_norm", self.clip_norm), ("clip_value", self.clip_value)] {
            check_not_negative(name, most.unwrap_or(0.0)).map_err(|message| Error::Setting { rule: R::NAME, message })?;
        }
        let rate = |group: &Group<R>| {
            let rate = group.rate(self.steps) * self.factor;
            group.check(rate, self.steps).map(|()| rate)
        };
        groups.iter().map(rate).collect()
    }

    /// The norm of all gradients and the factor that clips it; clips the numbers too.
    fn measure(&self, plan: &mut Plan, model: &dyn Module) -> Result<(f64, f64)> {
        let not_finite = |what, id| Error::NonFinite { what, path: shown_at(model, id) };
        let at = |id| move |source| Error::At { path: shown_at(model, id), source };
        let (mut squares, mut clipped_squares) = (0.0, 0.0);
        for planned in &mut plan.parameters {
            // A finite sum proves every square finite, so one pass answers both questions.
            let sum = sum_of_squares(&planned.gradient).map_err(at(planned.id))?;
            if !sum.is_finite() && !all_finite(&planned.gradient).map_err(at(planned.id))? {
                return Err(not_finite("the gradient", planned.id));
            }
            squares += sum;
            if let Some(most) = self.clip_value {
                // A pass of its own: the update kernels scale a gradient, but don't limit it.
                planned.gradient = unary(Unary::Clamp { min: -most, max: most }, &planned.gradient).map_err(at(planned.id))?;
                if self.clip_norm.is_some() {
                    clipped_squares += sum_of_squares(&planned.gradient).map_err(at(planned.id))?;
                }
            }
        }
        for (&id, new) in &plan.buffers {
            let New::Numbers(value) = new else { continue };
            if is_float(value.dtype()) && !all_finite(value).map_err(at(id))? {
                return Err(not_finite("the update", id));
            }
        }
        let norm = squares.sqrt();
        let to_clip = if self.clip_value.is_some() { clipped_squares.sqrt() } else { norm };
        Ok((norm, self.clip_norm.map_or(1.0, |most| (most / (to_clip + 1e-6)).min(1.0))))
    }

    /// Gets all memory that writing needs: states, and copies of what others hold too.
    pub(crate) fn prepare(&mut self, model: &mut dyn Module, plan: &mut Plan, groups: &[Group<R>]) -> Result<()> {
        let mut prepare = Prepare { plan, slots: &mut self.slots, groups, error: None };
        model.visit_mut(&mut Path::default(), &mut prepare);
        if let Some(error) = prepare.error {
            return Err(error);
        }
        match plan.parameters.iter().find(|p| !p.ready) {
            Some(hidden) => Err(Error::Hidden { path: shown_at(model, hidden.id) }),
            None => Ok(()),
        }
    }

    pub(crate) fn write(
        &mut self,
        model: &mut dyn Module,
        mut plan: Plan,
        gradients: &Gradients,
        groups: &[Group<R>],
        rates: &[f64],
        gradient_scale: f64,
    ) -> Result<()> {
        self.enter(&mut plan, gradients);
        let mut write = Write { plan, slots: &mut self.slots, groups, rates, gradient_scale, error: None };
        model.visit_mut(&mut Path::default(), &mut write);
        write.error.map_or(Ok(()), Err)
    }

    /// Takes new states in, and notes the step and the buffer updates that come with it.
    pub(crate) fn enter(&mut self, plan: &mut Plan, gradients: &Gradients) {
        for planned in &mut plan.parameters {
            if let Some(fresh) = planned.fresh.take() {
                self.slots.insert(planned.id, fresh);
            }
        }
        for (&id, _) in plan.places.iter().filter(|(_, place)| place.is_none()) {
            self.slots.remove(&id);
        }
        for &id in plan.buffers.keys() {
            let applied = self.applied.entry(id).or_default();
            applied.extend(gradients.update(id).into_iter().flat_map(|update| update.stamps()));
            let forgotten = applied.len().saturating_sub(REMEMBERED);
            applied.drain(..forgotten);
        }
        self.steps += 1;
    }
}

/// The first walk: finds what is to be written, and everything that forbids it.
pub(crate) struct Survey<'a, R: Rule> {
    optimizer: &'a mut Optimizer<R>,
    model: &'a dyn Module,
    gradients: &'a Gradients,
    plan: Plan,
    first_missing: Option<String>,
    missing: usize,
    error: Option<Error>,
}

impl<R: Rule> Survey<'_, R> {
    pub(crate) fn of(optimizer: &mut Optimizer<R>, model: &dyn Module, gradients: &Gradients) -> Result<Plan> {
        let mut survey = Survey { optimizer, model, gradients, plan: Plan::default(), first_missing: None, missing: 0, error: None };
        model.visit(&mut Path::default(), &mut survey);
        let Survey { plan, first_missing, missing, error, .. } = survey;
        match (error, first_missing) {
            (Some(error), _) => Err(error),
            (None, Some(path)) => Err(Error::NoGradient { path, missing, trainable: missing + plan.parameters.len() }),
            (None, None) => Ok(plan),
        }
    }

    fn add(&mut self, path: &str, param: &Param) -> Result<()> {
        let place = param.trainable.then_some(self.plan.parameters.len());
        if let Some(other) = self.plan.places.insert(param.id, place)
            && (other.is_some() || param.trainable)
        {
            return Err(Error::Twice { what: "parameter", first: shown_at(self.model, param.id), second: path.to_string() });
        }
        if !param.trainable {
            return Ok(());
        }
        let (value, id) = (&param.value, param.id);
        if !is_float(value.dtype()) {
            return Err(Error::ElementType { path: path.to_string(), got: value.dtype() });
        }
        let gradient = match self.gradients.get(id) {
            Some(gradient) if gradient.dims() == value.dims() && gradient.dtype() == value.dtype() => gradient.contiguous(),
            Some(other) => return Err(Error::Gradient { path: path.to_string(), got: describe(other), expected: describe(value) }),
            None if self.optimizer.missing_as_zero.iter().any(|p| p.as_ref().is_ok_and(|p| p.matches(path))) => value.new_full(value.dims(), 0.0),
            None => {
                self.missing += 1;
                self.first_missing.get_or_insert_with(|| path.to_string());
                return Ok(());
            }
        };
        let gradient = gradient.map_err(|source| Error::At { path: path.to_string(), source })?;
        self.expect_together(path, value.device(), gradient.device())?;
        let class = self.optimizer.groups.class(id, path);
        self.plan.parameters.push(Planned { id, class, gradient, fresh: None, ready: false });
        Ok(())
    }

    /// An error unless this stands where all that was found before stands.
    fn expect_together(&mut self, path: &str, value: Device, change: Device) -> Result<()> {
        if self.plan.parameters.is_empty() && self.plan.buffers.is_empty() {
            self.plan.device = value;
        }
        let others = self.plan.device;
        if (value, change) == (others, others) {
            return Ok(());
        }
        let places = format!("stands on {value} and its gradient or update on {change}, others on {others}; move the model with to(&device)");
        Err(Error::At { path: path.to_string(), source: chainrule_core::Error::device("step", places) })
    }

    fn add_buffer(&mut self, path: &str, buffer: &Buffer) -> Result<()> {
        let Some(update) = self.gradients.update(buffer.id) else { return Ok(()) };
        if self.optimizer.applied.get(&buffer.id).is_some_and(|known| update.stamps().iter().any(|s| known.contains(s))) {
            return Err(Error::AppliedBefore { path: path.to_string() });
        }
        let (value, add) = (&buffer.value, update.addend());
        // One number may come from the CPU.
        self.expect_together(path, value.device(), if add.count() == 1 { value.device() } else { add.device() })?;
        let new = if value.device().is_cuda() && value.dims() == add.dims() && value.dtype() == add.dtype() {
            New::Update(update.clone())
        } else {
            New::Numbers(update.apply(value).map_err(|source| Error::Update { path: path.to_string(), source })?)
        };
        match self.plan.buffers.insert(buffer.id, new) {
            Some(_) => Err(Error::Twice { what: "buffer", first: shown_at(self.model, buffer.id), second: path.to_string() }),
            None => Ok(()),
        }
    }
}

impl<R: Rule> Visitor for Survey<'_, R> {
    fn param(&mut self, path: &str, param: &Param) {
        if self.error.is_none() {
            self.error = self.add(path, param).err();
        }
    }
    fn buffer(&mut self, path: &str, buffer: &Buffer) {
        if self.error.is_none() {
            self.error = self.add_buffer(path, buffer).err();
        }
    }
}

/// The second walk: memory.
struct Prepare<'a, R: Rule> {
    plan: &'a mut Plan,
    slots: &'a mut HashMap<ParamId, Slots>,
    groups: &'a [Group<R>],
    error: Option<Error>,
}

impl<R: Rule> Prepare<'_, R> {
    fn ready(&mut self, param: &mut Param) -> chainrule_core::Result<()> {
        let Some(Some(place)) = self.plan.places.get(&param.id) else { return Ok(()) };
        let planned = &mut self.plan.parameters[*place];
        let rule = &self.groups[planned.class].rule;
        param.value.own()?;
        let device = param.value.device();
        match self.slots.get_mut(&param.id) {
            Some(slots) if slots.names == rule.slots(&param.value) => {
                // The model may have moved since the last step.
                slots.arrays.iter_mut().try_for_each(|array| {
                    *array = array.to(&device)?;
                    array.own()
                })?;
            }
            existing => planned.fresh = Some(begin(rule, &param.value, existing.as_deref())?),
        }
        planned.ready = true;
        Ok(())
    }
}

impl<R: Rule> VisitorMut for Prepare<'_, R> {
    fn param(&mut self, path: &str, param: &mut Param) {
        if self.error.is_none() {
            self.error = self.ready(param).map_err(|source| Error::At { path: path.to_string(), source }).err();
        }
    }
}

/// The state of a parameter under this rule; what the slots of before hold stays.
fn begin<R: Rule>(rule: &R, value: &Array, before: Option<&Slots>) -> chainrule_core::Result<Slots> {
    let names = rule.slots(value);
    let kept = |name: &str| before.and_then(|b| b.names.iter().position(|n| *n == name).map(|i| b.arrays[i].clone()));
    let mut arrays = Vec::with_capacity(names.len());
    for &name in names {
        let mut array = kept(name).map_or_else(|| rule.init(name, value), Ok)?.to(&value.device())?;
        array.own()?;
        arrays.push(array);
    }
    Ok(Slots { step: before.map_or(0, |b| b.step), names, arrays })
}

/// The last walk: nothing in it asks for memory or can go wrong, as long as rules keep their promise.
struct Write<'a, R: Rule> {
    plan: Plan,
    slots: &'a mut HashMap<ParamId, Slots>,
    groups: &'a [Group<R>],
    rates: &'a [f64],
    gradient_scale: f64,
    error: Option<Error>,
}

impl<R: Rule> VisitorMut for Write<'_, R> {
    fn param(&mut self, path: &str, param: &mut Param) {
        let Some(Some(place)) = self.plan.places.get(&param.id) else { return };
        let planned = &self.plan.parameters[*place];
        let Some(slots) = self.slots.get_mut(&param.id).filter(|_| self.error.is_none()) else { return };
        slots.step += 1;
        let group = &self.groups[planned.class];
        let step = Step { learning_rate: self.rates[planned.class], weight_decay: group.weight_decay, number: slots.step, gradient_scale: self.gradient_scale };
        let applied = group.rule.apply(&step, &mut param.value, &planned.gradient, &mut slots.arrays);
        self.error = applied.map_err(|source| Error::At { path: path.to_string(), source }).err();
    }
    fn buffer(&mut self, _: &str, buffer: &mut Buffer) {
        if let Some(New::Numbers(value)) = self.plan.buffers.remove(&buffer.id) {
            buffer.value = value;
        }
    }
}

fn is_float(dtype: DType) -> bool {
    matches!(dtype, DType::F32 | DType::F64)
}

pub(crate) fn describe(array: &Array) -> String {
    format!("{} {:?}", array.dtype(), array.shape())
}

/// The path at which the model first shows this parameter or buffer.
pub(crate) fn shown_at(model: &dyn Module, id: ParamId) -> String {
    path_of(model, id).unwrap_or_else(|| id.to_string())
}
