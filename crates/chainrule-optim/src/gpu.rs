//! Steps on a GPU: all parameters and buffers at once, by tables.

use crate::step::{New, Plan, shown_at};
use crate::{Error, Group, Optimizer, Result, Rule, StepReport};
use chainrule_autograd::{Gradients, ParamId};
use chainrule_core::Array;
use chainrule_core::ops::update::{Following, Fused, Limits, Part, Setting, Status, Stepper};
use chainrule_nn::{Buffer, Module, Param, Path, VisitorMut};
use std::collections::{HashMap, HashSet};

/// A step's tables, and whose they are.
pub(crate) struct Tables {
    pub(crate) stepper: Stepper,
    /// The class of each setting, and one of the parameters that have it.
    rows: Vec<(usize, ParamId)>,
    parameters: Vec<ParamId>,
    buffers: Vec<ParamId>,
    /// Alive until the step has read them.
    _addends: Vec<Array>,
}

impl<R: Rule> Optimizer<R> {
    /// [`step`](Optimizer::step) for a model on a GPU; waits once, for the norm.
    pub(crate) fn step_on_gpu(
        &mut self,
        model: &mut dyn Module,
        mut plan: Plan,
        gradients: &Gradients,
        groups: &[Group<R>],
        rates: &[f64],
    ) -> Result<StepReport> {
        let learning_rate = self.learning_rate();
        groups.iter().try_for_each(|group| fused(group).map(drop))?;
        self.prepare(model, &mut plan, groups)?;
        let tables = self.tables(model, &plan, false)?;
        tables.stepper.set(&self.settings(&tables, groups, rates, 0)?, &self.limits())?;
        tables.stepper.measure()?;
        let status = tables.stepper.status()?;
        match (self.not_finite(model, &tables, &status), self.skip_non_finite) {
            (Some(Error::NonFinite { path, .. }), true) => {
                return Ok(StepReport { steps: self.steps, learning_rate, norm: f64::NAN, clipped: 1.0, skipped: Some(path) });
            }
            (Some(error), _) => return Err(error),
            (None, _) => {}
        }
        tables.stepper.write()?;
        self.enter(&mut plan, gradients);
        self.count(&tables, 1);
        Ok(StepReport { steps: self.steps, learning_rate, norm: status.norm, clipped: status.clipped, skipped: None })
    }

    /// Lays the tables of a step. What others hold too is copied first, or, where the step is being captured, an error.
    pub(crate) fn tables(&self, model: &mut dyn Module, plan: &Plan, capturing: bool) -> Result<Tables> {
        let wanted = plan.parameters.iter().map(|p| p.id).chain(plan.buffers.keys().copied()).collect();
        let mut found = Found { wanted, capturing, ..Found::default() };
        model.visit_mut(&mut Path::default(), &mut found);
        if let Some(error) = found.error {
            return Err(error);
        }
        let (mut rows, mut parts) = (Vec::<(usize, u64, ParamId)>::new(), Vec::new());
        for planned in &plan.parameters {
            let Some(value) = found.values.remove(&planned.id) else { return Err(Error::Hidden { path: shown_at(model, planned.id) }) };
            let slots = planned.fresh.as_ref().or_else(|| self.slots.get(&planned.id));
            let number = slots.map_or(0, |slots| slots.step);
            let known = rows.iter().position(|(class, step, _)| (*class, *step) == (planned.class, number));
            let setting = known.unwrap_or_else(|| {
                rows.push((planned.class, number, planned.id));
                rows.len() - 1
            });
            let states = slots.map_or_else(Vec::new, |slots| slots.arrays.clone());
            parts.push(Part { value, gradient: planned.gradient.clone(), states, setting });
        }
        let mut buffers = Vec::new();
        for (id, new) in &plan.buffers {
            let New::Update(update) = new else { continue };
            let Some(buffer) = found.values.remove(id) else { return Err(Error::Hidden { path: shown_at(model, *id) }) };
            buffers.push(Following { buffer, decay: update.decay(), scale: update.scale(), add: update.addend().contiguous()? });
        }
        let stepper = Stepper::new(&parts, &buffers, rows.len())?;
        Ok(Tables {
            stepper,
            rows: rows.into_iter().map(|(class, _, id)| (class, id)).collect(),
            parameters: plan.parameters.iter().map(|p| p.id).collect(),
            buffers: plan.buffers.keys().copied().collect(),
            _addends: buffers.into_iter().map(|follow| follow.add).collect(),
        })
    }

    /// What holds for the step after those taken, `ahead` of which the optimizer has not counted yet.
    pub(crate) fn settings(&self, tables: &Tables, groups: &[Group<R>], rates: &[f64], ahead: u64) -> Result<Vec<Setting>> {
        let setting = |&(class, id): &(usize, ParamId)| {
            let group = &groups[class];
            let number = self.slots.get(&id).map_or(0, |slots| slots.step) + 1 + ahead;
            Ok(Setting { rule: fused(group)?, learning_rate: rates[class], weight_decay: group.weight_decay, number })
        };
        tables.rows.iter().map(setting).collect()
    }

    pub(crate) fn limits(&self) -> Limits {
        let Optimizer { clip_norm, clip_value, maximize, skip_non_finite, .. } = *self;
        Limits { clip_norm, clip_value, maximize, skip_non_finite }
    }

    /// Counts steps of these parameters.
    pub(crate) fn count(&mut self, tables: &Tables, steps: u64) {
        for id in &tables.parameters {
            if let Some(slots) = self.slots.get_mut(id) {
                slots.step += steps;
            }
        }
    }

    /// Takes steps back that were counted and not taken.
    pub(crate) fn discount(&mut self, tables: &Tables, steps: u64) {
        self.steps = self.steps.saturating_sub(steps);
        for id in &tables.parameters {
            if let Some(slots) = self.slots.get_mut(id) {
                slots.step = slots.step.saturating_sub(steps);
            }
        }
    }

    /// What is not finite, if anything.
    pub(crate) fn not_finite(&self, model: &dyn Module, tables: &Tables, status: &Status) -> Option<Error> {
        let bad = status.bad?;
        let buffer = bad.checked_sub(tables.parameters.len()).and_then(|at| tables.buffers.get(at));
        let (what, id) = match (tables.parameters.get(bad), buffer) {
            (Some(id), _) => ("the gradient", id),
            (None, Some(id)) => ("the update", id),
            (None, None) => return None,
        };
        Some(Error::NonFinite { what, path: shown_at(model, *id) })
    }
}

/// The rule as the kernel knows it.
fn fused<R: Rule>(group: &Group<R>) -> Result<Fused> {
    let missing = || chainrule_core::Error::device(R::NAME, "there is no kernel for this rule on a GPU yet; Sgd, Adam and AdamW have one");
    group.rule.fused().ok_or_else(|| Error::Device(missing()))
}

/// The arrays of a model that are to be written, each its only holder's until it stands here too.
#[derive(Default)]
struct Found {
    wanted: HashSet<ParamId>,
    capturing: bool,
    values: HashMap<ParamId, Array>,
    error: Option<Error>,
}

impl Found {
    fn take(&mut self, path: &str, id: ParamId, value: &mut Array) {
        if self.wanted.contains(&id) {
            let alone = match self.capturing {
                true if !value.is_unique() => {
                    Err(chainrule_core::Error::device("capture", "the function keeps a tensor that shares this array; drop it before the function returns"))
                }
                true => Ok(()),
                false => value.own(),
            };
            if let Err(source) = alone {
                self.error.get_or_insert(Error::At { path: path.to_string(), source });
            }
            self.values.insert(id, value.clone());
        }
    }
}

impl VisitorMut for Found {
    fn param(&mut self, path: &str, param: &mut Param) {
        self.take(path, param.id, &mut param.value);
    }
    fn buffer(&mut self, path: &str, buffer: &mut Buffer) {
        self.take(path, buffer.id, &mut buffer.value);
    }
}
