//! What a base has: its modules, layers, parameters and place for a prompt.

use super::names::is_within;
use crate::targets::ends_with;
use crate::{Error, Result, Targets};
use chainrule_autograd::ParamId;
use chainrule_nn::{AnyAdapter, Buffer, Kind, Module, Operation, Param, Path, PromptSite, Site, Visitor, params};
use std::collections::BTreeSet;

#[derive(Default)]
pub(super) struct Layout {
    pub modules: BTreeSet<String>,
    pub layers: Vec<(String, Operation)>,
    /// The shapes of their weights.
    pub weights: Vec<Vec<usize>>,
    pub prompt: Option<PromptSite>,
    params: Vec<(String, Param)>,
    /// Of what holds the base's weights in another form.
    inner: BTreeSet<ParamId>,
}

impl Layout {
    pub fn of(base: &dyn Module) -> Layout {
        let mut layout = Layout::default();
        base.visit(&mut Path::default(), &mut layout);
        layout
    }

    /// The paths of all modules that hold numbers themselves or below.
    fn add(&mut self, path: &str) {
        self.modules.extend(path.match_indices('.').map(|(dot, _)| path[..dot].to_string()));
    }

    /// Makes sure that an adapter with these parameters of its own is all that was trained.
    ///
    /// # Errors
    /// Parameters of the base that are new among loaded ones, or trained, and not the adapter's: they would be lost.
    pub fn expect_nothing_lost(&self, own: &[(String, Param)]) -> Result<()> {
        let base = || self.params.iter().filter(|(path, param)| !self.inner.contains(&param.id) && !own.iter().any(|(own, _)| own == path));
        let from_file = self.params.iter().any(|(_, param)| param.loaded);
        let new: Vec<&str> = base().filter(|(_, param)| from_file && !param.loaded).map(|(path, _)| path.as_str()).collect();
        let trained: Vec<&str> = base().filter(|(_, param)| param.trainable).map(|(path, _)| path.as_str()).collect();
        let lost = |what: &str, paths: &[&str]| {
            let module = paths[0].rsplit_once('.').map_or(paths[0], |(module, _)| module);
            let more = if paths.len() > 4 { format!(" and {} more", paths.len() - 4) } else { String::new() };
            let message = format!(
                "{:?}{more} {what}, and would be lost, since the adapter does not hold them; make the adapter with .saving([\"{module}\"])",
                &paths[..paths.len().min(4)]
            );
            Err(Error::adapter("save", message))
        };
        match (new.is_empty(), trained.is_empty()) {
            (false, _) => lost("are new in a model that was loaded from a file", &new),
            (_, false) => lost("of the base are trained", &trained),
            _ => Ok(()),
        }
    }

    /// The modules that PEFT takes for `modules_to_save` by this name: those whose path ends so, after a dot or not. Without a dot, those alone of whose numbers `held` says that there are some:
    /// PEFT leaves the others as the base has them.
    pub fn saved_by(&self, name: &str, held: impl Fn(&str) -> bool) -> Vec<String> {
        let holds = |path: &str| self.params_below(path).any(&held);
        self.modules.iter().filter(|path| ends_with(path, name) || path.ends_with(name) && holds(path)).cloned().collect()
    }

    fn params_below(&self, module: &str) -> impl Iterator<Item = &str> {
        let below = move |path: &&str| path.strip_prefix(module).is_some_and(|rest| rest.starts_with('.'));
        self.params.iter().map(|(path, _)| path.as_str()).filter(below)
    }

    /// How a file says that the modules by these names are saved whole: by the names themselves where PEFT takes them for no other module, else by whole paths.
    ///
    /// # Errors
    /// Modules that even then PEFT would take for saved: it would look for their numbers, and keep an adapter off them.
    pub fn saving(&self, names: &[String]) -> Result<Vec<String>> {
        let holds = |path: &String| self.params_below(path).next().is_some();
        let saved: Vec<String> = self.modules.iter().filter(|path| names.iter().any(|name| ends_with(path, name)) && holds(path)).cloned().collect();
        let more = |names: &[String]| {
            let meant = |path: &&String| names.iter().any(|name| path.ends_with(name.as_str())) && holds(path) && !is_within(&format!("{path}."), &saved);
            self.modules.iter().filter(meant).cloned().collect::<Vec<String>>()
        };
        if more(names).is_empty() {
            return Ok(names.to_vec());
        }
        match more(&saved) {
            others if others.is_empty() => Ok(saved),
            others => {
                let all: Vec<&String> = names.iter().chain(&others).collect();
                let message =
                    format!("PEFT takes the modules to save {names:?} for {others:?} too, whose paths end alike; make the adapter with .saving({all:?})");
                Err(Error::adapter("save", message))
            }
        }
    }

    /// How a file says that these modules are meant: by the names themselves where they mean no other module, else by whole paths.
    pub fn targets(&self, targets: &Targets, meant: &[String]) -> super::Setting {
        let means_more = |names: &[String]| self.modules.iter().any(|path| !meant.contains(path) && names.iter().any(|name| ends_with(path, name)));
        match targets {
            Targets::Names(names) if !means_more(names) => names.clone().into(),
            _ if !means_more(meant) => meant.to_vec().into(),
            _ => expression(meant).into(),
        }
    }
}

/// A regular expression that means these paths and no others.
pub(super) fn expression(paths: &[String]) -> String {
    paths.iter().map(|path| escaped(path)).collect::<Vec<_>>().join("|")
}

/// A text as a regular expression, in Python and here.
pub(super) fn escaped(text: &str) -> String {
    let mut expression = String::new();
    for c in text.chars() {
        if c.is_ascii_punctuation() && c != '_' {
            expression.push('\\');
        }
        expression.push(c);
    }
    expression
}

impl Visitor for Layout {
    fn module(&mut self, path: &str, _: Kind) {
        self.modules.insert(path.to_string());
    }
    fn param(&mut self, path: &str, param: &Param) {
        self.add(path);
        self.params.push((path.to_string(), param.clone()));
    }
    fn buffer(&mut self, path: &str, _: &Buffer) {
        self.add(path);
    }
    fn adapter(&mut self, path: &str, site: Site<'_>, adapter: Option<&dyn AnyAdapter>) {
        self.modules.insert(path.to_string());
        self.layers.push((path.to_string(), site.operation));
        self.weights.push(site.weight.value.dims().to_vec());
        if let Some(adapter) = adapter {
            params(adapter, |_, param| self.inner.extend([param.id]));
        }
    }
    fn prompt(&mut self, _: &str, site: PromptSite, _: Option<&dyn chainrule_nn::AnyPrompt>) {
        self.prompt = Some(site);
    }
}
