//! What an adapter holds for a model: adapters for slots, parameters and buffers of its own in place of the base's, a prompt.

use crate::layered::Above;
use crate::placement::of_weight;
use crate::{Method, Result};
use chainrule_autograd::{Device, ParamId, Rng};
use chainrule_nn::{
    AnyAdapter, AnyPrompt, BoxedAdapter, BoxedPrompt, Buffer, Module, Operation, Param, Path, PromptSite, Site, SiteMut, Visitor, VisitorMut, params_mut,
    to_device,
};
use std::any::Any;
use std::collections::HashMap;

/// In the order of a walk, so that a walk can put all of them in their places with a finger on the next.
#[derive(Clone, Default)]
pub(crate) struct Parts {
    pub slots: Vec<(String, Option<BoxedAdapter>)>,
    pub params: Vec<(String, Param)>,
    pub buffers: Vec<(String, Buffer)>,
    pub prompts: Vec<(String, Option<BoxedPrompt>)>,
}

impl Parts {
    /// What the method makes for this model. Targets that mean nothing are errors.
    pub fn made(model: &dyn Module, method: &dyn Method, rng: &mut Rng) -> Result<Parts> {
        let mut survey = Survey::default();
        model.visit(&mut Path::default(), &mut survey);
        let mut make = Make { method, rng, survey, parts: Parts::default(), meant: Vec::new(), error: None };
        make.survey.saved = saved(method, &make.survey)?;
        let layers = std::mem::take(&mut make.survey.layers);
        let chosen: Vec<_> =
            layers.iter().filter(|(path, operation, _)| make.targeted(path, Some(*operation))).map(|(path, _, dims)| (path.clone(), dims.clone())).collect();
        if let Some(error) = make.error.take() {
            return Err(error);
        }
        method.prepare(&chosen)?;
        model.visit(&mut Path::default(), &mut make);
        let Make { survey, mut parts, meant, error, .. } = make;
        if let Some(error) = error {
            return Err(error);
        }
        if let Some(targets) = &method.selection().targets {
            let modules = survey.params.iter().map(|(path, _)| parent(path).to_string());
            let mut all: Vec<String> = layers.into_iter().map(|(path, ..)| path).chain(modules).collect();
            all.sort();
            all.dedup();
            targets.check(method.name(), "layer that it can adapt", &meant, &all)?;
        }
        // Running statistics belong to the one whose parameters are trained.
        let trained: Vec<&str> = parts.params.iter().map(|(path, _)| parent(path)).collect();
        parts.buffers = survey.buffers.iter().filter(|(path, _)| survey.is_saved(path) || trained.contains(&parent(path))).cloned().collect();
        for (_, buffer) in &mut parts.buffers {
            buffer.id = ParamId::fresh();
        }
        let beyond_saved = parts.params.iter().any(|(path, _)| !survey.is_saved(path));
        if parts.slots.is_empty() && parts.prompts.is_empty() && !beyond_saved {
            let but = if parts.params.is_empty() { "" } else { " but the modules that are saved whole" };
            return Err(crate::Error::adapter("add", format!("{} finds nothing to adapt in this model{but}", method.name())));
        }
        Ok(parts)
    }

    /// Every parameter.
    pub fn each_param(&mut self, mut f: impl FnMut(&mut Param)) {
        for (_, adapter) in &mut self.slots {
            if let Some(adapter) = adapter {
                params_mut(adapter, |_, param| f(param));
            }
        }
        self.params.iter_mut().for_each(|(_, param)| f(param));
        for (_, prompt) in &mut self.prompts {
            if let Some(prompt) = prompt {
                params_mut(prompt, |_, param| f(param));
            }
        }
    }
}

/// The modules that are saved whole, each name checked.
fn saved(method: &dyn Method, survey: &Survey) -> Result<Vec<String>> {
    let mut modules: Vec<String> = survey.params.iter().flat_map(|(path, _)| path.match_indices('.').map(|(dot, _)| path[..dot].to_string())).collect();
    modules.dedup();
    let mut found = Vec::new();
    for name in &method.selection().save {
        let before = found.len();
        found.extend(modules.iter().filter(|path| crate::targets::ends_with(path, name)).cloned());
        if found.len() == before {
            let names = crate::Targets::Names(vec![name.clone()]);
            names.check("saving", "module", &[], &modules)?;
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
}

/// The path of the module that holds this parameter.
pub(crate) fn parent(path: &str) -> &str {
    path.rsplit_once('.').map_or("", |(module, _)| module)
}

/// What there is.
#[derive(Default)]
struct Survey {
    /// The slots, with their layers' operations and the shapes of their weights.
    layers: Vec<(String, Operation, Vec<usize>)>,
    /// The slot that a layer's parameter belongs to, which need not be its parent in the walk, and the layer's operation.
    slots: HashMap<ParamId, (String, Operation)>,
    params: Vec<(String, Param)>,
    buffers: Vec<(String, Buffer)>,
    saved: Vec<String>,
}

impl Survey {
    fn is_saved(&self, path: &str) -> bool {
        self.saved.iter().any(|module| path.strip_prefix(module.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
    }
}

impl Visitor for Survey {
    fn adapter(&mut self, path: &str, site: Site<'_>, _: Option<&dyn AnyAdapter>) {
        self.layers.push((path.to_string(), site.operation, site.weight.value.dims().to_vec()));
        for param in [Some(site.weight), site.bias].into_iter().flatten() {
            self.slots.insert(param.id, (path.to_string(), site.operation));
        }
    }
    fn param(&mut self, path: &str, param: &Param) {
        self.params.push((path.to_string(), param.clone()));
    }
    fn buffer(&mut self, path: &str, buffer: &Buffer) {
        self.buffers.push((path.to_string(), buffer.clone()));
    }
}

struct Make<'a> {
    method: &'a dyn Method,
    rng: &'a mut Rng,
    survey: Survey,
    parts: Parts,
    meant: Vec<String>,
    error: Option<crate::Error>,
}

impl Make<'_> {
    fn targeted(&mut self, path: &str, operation: Option<Operation>) -> bool {
        let selection = self.method.selection();
        let matches = |targets: &Option<crate::Targets>| targets.as_ref().map_or(Ok(false), |targets| targets.match_path(path, operation));
        match matches(&selection.targets).and_then(|meant| Ok(meant && !matches(&selection.exclude)?)) {
            Ok(meant) => meant && !self.survey.is_saved(path),
            Err(error) => {
                self.error.get_or_insert(error.into());
                false
            }
        }
    }
}

impl Visitor for Make<'_> {
    fn adapter(&mut self, path: &str, site: Site<'_>, below: Option<&dyn AnyAdapter>) {
        if self.error.is_none() && self.survey.is_saved(path) && below.is_some_and(|below| below.holds_weight()) {
            let message = format!("{path} is to be trained whole, but its weight is quantised; leave it dense, or adapt it");
            self.error = Some(crate::Error::adapter("add", message));
        }
        if self.error.is_some() || !self.targeted(path, Some(site.operation)) {
            return;
        }
        match self.method.adapter(path, &Site { below, ..site }, self.rng) {
            Ok(Some(mut adapter)) => {
                self.error = to_device(&mut adapter, &of_weight(&site, below)).err().map(Into::into);
                self.meant.push(path.to_string());
                self.parts.slots.push((path.to_string(), Some(adapter)));
            }
            Ok(None) => {}
            Err(source) => self.error = Some(chainrule_nn::Error::Located { path: path.to_string(), source }.into()),
        }
    }
    fn param(&mut self, path: &str, param: &Param) {
        if self.error.is_some() {
            return;
        }
        let slot = self.survey.slots.get(&param.id).cloned();
        let (module, operation) = slot.map_or_else(|| (parent(path).to_string(), None), |(slot, operation)| (slot, Some(operation)));
        let targeted = self.targeted(&module, operation);
        let saved = self.survey.is_saved(path);
        if saved || self.method.trains(path, targeted) {
            if targeted {
                self.meant.push(module);
            }
            let mut own = param.clone();
            own.id = ParamId::fresh();
            own.trainable = true;
            self.parts.params.push((path.to_string(), own));
        }
    }
    fn prompt(&mut self, path: &str, site: PromptSite, _: Option<&dyn AnyPrompt>) {
        if self.error.is_some() {
            return;
        }
        match self.method.prompt(site, self.rng) {
            Ok(Some(mut prompt)) => {
                let device = self.survey.params.first().map_or(Device::Cpu, |(_, param)| param.value.device());
                self.error = to_device(&mut prompt, &device).err().map(Into::into);
                self.parts.prompts.push((path.to_string(), Some(prompt)));
            }
            Ok(None) => {}
            Err(error) => self.error = Some(error.into()),
        }
    }
}

/// Exchanges what stands in the model with what stands in parts: first what is to go out, then what is to come in.
pub(crate) fn exchange(model: &mut dyn Module, out: &mut Parts, into: &mut Parts) {
    model.visit_mut(&mut Path::default(), &mut Exchange([Fingers::of(out), Fingers::of(into)]));
}

struct Fingers<'a> {
    parts: &'a mut Parts,
    slot: usize,
    param: usize,
    buffer: usize,
    prompt: usize,
}

impl<'a> Fingers<'a> {
    fn of(parts: &'a mut Parts) -> Fingers<'a> {
        Fingers { parts, slot: 0, param: 0, buffer: 0, prompt: 0 }
    }
}

struct Exchange<'a>([Fingers<'a>; 2]);

/// The entry under the finger, if it is this path's; the finger moves on.
fn next<'a, T>(list: &'a mut [(String, T)], finger: &mut usize, path: &str) -> Option<&'a mut T> {
    let (_, entry) = list.get_mut(*finger).filter(|(own, _)| own == path)?;
    *finger += 1;
    Some(entry)
}

impl VisitorMut for Exchange<'_> {
    fn param(&mut self, path: &str, param: &mut Param) {
        for side in &mut self.0 {
            if let Some(own) = next(&mut side.parts.params, &mut side.param, path) {
                std::mem::swap(own, param);
            }
        }
    }
    fn buffer(&mut self, path: &str, buffer: &mut Buffer) {
        for side in &mut self.0 {
            if let Some(own) = next(&mut side.parts.buffers, &mut side.buffer, path) {
                std::mem::swap(own, buffer);
            }
        }
    }
    fn adapter(&mut self, path: &str, site: SiteMut<'_>) {
        for side in &mut self.0 {
            if let Some(own) = next(&mut side.parts.slots, &mut side.slot, path) {
                swap_above(own, site.adapter);
            }
        }
    }
    fn prompt(&mut self, path: &str, _: PromptSite, prompt: &mut Option<BoxedPrompt>) {
        for side in &mut self.0 {
            if let Some(own) = next(&mut side.parts.prompts, &mut side.prompt, path) {
                std::mem::swap(own, prompt);
            }
        }
    }
}

/// Puts an adapter into a slot, above what the base has there, or takes it out again.
fn swap_above(own: &mut Option<BoxedAdapter>, slot: &mut Option<BoxedAdapter>) {
    match (own.take(), slot.take()) {
        (Some(above), Some(below)) => *slot = Some(Box::new(Above { below, above })),
        (Some(above), None) => *slot = Some(above),
        (None, Some(adapter)) if (&*adapter as &dyn Any).is::<Above>() => {
            if let Ok(both) = (adapter as Box<dyn Any>).downcast::<Above>() {
                let Above { below, above } = *both;
                (*own, *slot) = (Some(above), Some(below));
            }
        }
        (None, other) => *own = other,
    }
}
