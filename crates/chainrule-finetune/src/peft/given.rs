//! Methods as files give them: with entries that are carried along, and bounded by what the file holds.

use super::Config;
use super::names::Names;
use crate::{Method, Result, Selection};
use chainrule_autograd::{Array, Error, Rng};
use chainrule_nn::source::Entry;
use chainrule_nn::{BoxedAdapter, BoxedPrompt, LoadReport, Mismatch, Operation, PromptSite, Site, Unmatched};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// A method, and entries of a configuration that are written as they were read or given.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub method: Arc<dyn Method>,
    pub config: Config,
    /// Whether the entries are all that there is to say.
    pub complete: bool,
}

impl Method for Given {
    fn name(&self) -> &'static str {
        self.method.name()
    }
    fn selection(&self) -> &Selection {
        self.method.selection()
    }
    fn adapter(&self, path: &str, site: &Site, rng: &mut Rng) -> Result<Option<BoxedAdapter>, Error> {
        self.method.adapter(path, site, rng)
    }
    fn trains(&self, path: &str, targeted: bool) -> bool {
        self.method.trains(path, targeted)
    }
    fn prompt(&self, site: PromptSite, rng: &mut Rng) -> Result<Option<BoxedPrompt>, Error> {
        self.method.prompt(site, rng)
    }
    fn prepare(&self, layers: &[(String, Vec<usize>)]) -> chainrule_nn::Result<()> {
        self.method.prepare(layers)
    }
    fn shared(&self) -> Vec<(&'static str, Array)> {
        self.method.shared()
    }
    fn to_peft(&self, layers: &[(String, Operation)], config: &mut Config) -> Result<()> {
        match self.complete {
            true => *config = Config::new(),
            false => self.method.to_peft(layers, config)?,
        }
        config.extend(&self.config);
        Ok(())
    }
}

/// The name and extents of the matrix in which a configuration's sizes show, for the layer at a path.
pub(super) type Expected = Box<dyn Fn(&str, &Site) -> (&'static str, Vec<usize>) + Send + Sync>;

/// A method that makes only what a file has the numbers for, so that a hostile configuration gets no memory.
pub(super) struct Bounded<'a> {
    pub method: &'a dyn Method,
    /// What is meant in this model.
    pub selection: Selection,
    pub expected: Option<Expected>,
    pub contents: &'a BTreeMap<String, Entry>,
    pub names: &'a Names,
    /// Matrices that the file lacks or has in other shapes.
    pub unfit: Mutex<LoadReport>,
}

impl std::fmt::Debug for Bounded<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.method.fmt(f)
    }
}

impl Bounded<'_> {
    /// Whether the file has this matrix for this layer.
    fn fits(&self, path: &str, site: &Site, (inner, dims): (&str, Vec<usize>)) -> bool {
        let name = format!("{}.{inner}", self.names.at(path));
        let found = self.contents.get(&name);
        if found.is_some_and(|entry| entry.dims() == dims) {
            return true;
        }
        // A lock that somebody dropped in panic has a report all the same.
        let mut unfit = self.unfit.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        match found {
            None => unfit.missing.push(Unmatched { nearest: chainrule_nn::nearest_name(&name, self.contents.keys().map(String::as_str)), name }),
            Some(entry) => {
                let (got, expected) = ((entry.type_name().to_string(), entry.dims().to_vec()), (site.weight.value.dtype(), dims));
                unfit.mismatched.push(Mismatch { path: name, got, expected });
            }
        }
        false
    }
}

impl Method for Bounded<'_> {
    fn name(&self) -> &'static str {
        self.method.name()
    }
    fn selection(&self) -> &Selection {
        &self.selection
    }
    fn prepare(&self, layers: &[(String, Vec<usize>)]) -> chainrule_nn::Result<()> {
        // Patterns for single layers may mean none, in PEFT.
        if self.expected.is_some() { Ok(()) } else { self.method.prepare(layers) }
    }
    fn adapter(&self, path: &str, site: &Site, rng: &mut Rng) -> Result<Option<BoxedAdapter>, Error> {
        if self.expected.as_ref().is_some_and(|expected| !self.fits(path, site, expected(path, site))) {
            return Ok(None);
        }
        self.method.adapter(path, site, rng)
    }
    fn trains(&self, path: &str, targeted: bool) -> bool {
        // PEFT stores some of the base's own numbers too, such as resized embeddings.
        let (module, leaf) = path.rsplit_once('.').unwrap_or(("", path));
        let held = [self.names.at(path), format!("{}.base_layer.{leaf}", self.names.at(module))];
        self.method.trains(path, targeted) || held.iter().any(|name| self.contents.contains_key(name))
    }
    fn prompt(&self, site: PromptSite, rng: &mut Rng) -> Result<Option<BoxedPrompt>, Error> {
        self.method.prompt(site, rng)
    }
}
