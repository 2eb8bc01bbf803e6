//! What PEFT's files call the numbers of an adapter.

use crate::Result;
use crate::parts::{Parts, parent};
use crate::targets::ends_with;
use chainrule_autograd::Array;
use chainrule_autograd::DType;
use chainrule_nn::source::{Entry, Source};
use chainrule_nn::{Error, Module, Path, StateDict, Visitor, VisitorMut, state_dict};
use std::collections::BTreeMap;

/// How names are made of paths.
///
/// | what | name |
/// |---|---|
/// | contents of an adapter in a layer | `base_model.model.<layer>.lora_A.weight`, … |
/// | a parameter of an adapted layer (its bias) | `base_model.model.<layer>.base_layer.bias` |
/// | a parameter that layer-norm tuning trains | `base_model.model.<layer>.ln_tuning_layers.weight` |
/// | any other parameter of the adapter's own (a head) | `base_model.model.<path>`; with a prompt `base_model.<path>` |
/// | a prompt | `prompt_embeddings` |
pub(super) struct Names {
    pub prefix: &'static str,
    /// Whether parameters of targeted modules stand apart, as layer-norm tuning has them.
    pub apart: bool,
    /// Modules that are saved whole.
    pub saved: Vec<String>,
}

/// The names' beginnings, without a prompt and with one.
pub(super) const PREFIXES: [&str; 2] = ["base_model.model", "base_model"];

impl Names {
    /// By what the configuration says.
    pub fn new(peft_type: &str, with_prompt: bool, saved: &[String]) -> Names {
        Names { prefix: PREFIXES[with_prompt as usize], apart: peft_type == "LN_TUNING", saved: saved.to_vec() }
    }

    /// The name of what stands at this path.
    pub fn at(&self, path: &str) -> String {
        if path.is_empty() { self.prefix.to_string() } else { format!("{}.{path}", self.prefix) }
    }

    /// The name of the parameter or buffer at this path, which is the adapter's own in place of the base's.
    fn own(&self, path: &str, parts: &Parts) -> String {
        let (module, leaf) = (parent(path), path.rsplit_once('.').map_or(path, |(_, leaf)| leaf));
        if parts.slots.iter().any(|(slot, _)| slot == module) {
            return format!("{}.base_layer.{leaf}", self.at(module));
        }
        if self.apart && !is_within(path, &self.saved) {
            return format!("{}.ln_tuning_layers.{leaf}", self.at(module));
        }
        self.at(path)
    }
}

/// Whether one of the modules that these names mean holds what stands at this path.
pub(super) fn is_within(path: &str, names: &[String]) -> bool {
    path.match_indices('.').any(|(dot, _)| names.iter().any(|name| ends_with(&path[..dot], name)))
}

/// An adapter's parts as a module whose paths are a file's names.
pub(super) struct Named<'a> {
    pub parts: &'a mut Parts,
    pub names: &'a Names,
}

impl Module for Named<'_> {
    fn visit(&self, path: &mut Path, visitor: &mut dyn Visitor) {
        let (parts, names) = (&*self.parts, self.names);
        for (slot, adapter) in &parts.slots {
            path.within(names.at(slot), |path| adapter.visit(path, visitor));
        }
        for (own, param) in &parts.params {
            path.within(names.own(own, parts), |path| visitor.param(path.as_str(), param));
        }
        for (own, buffer) in &parts.buffers {
            path.within(names.own(own, parts), |path| visitor.buffer(path.as_str(), buffer));
        }
        parts.prompts.iter().for_each(|(_, prompt)| prompt.visit(path, visitor));
    }
    fn visit_mut(&mut self, path: &mut Path, visitor: &mut dyn VisitorMut) {
        let own = |own: &str| self.names.own(own, self.parts);
        let params: Vec<String> = self.parts.params.iter().map(|(path, _)| own(path)).collect();
        let buffers: Vec<String> = self.parts.buffers.iter().map(|(path, _)| own(path)).collect();
        for (slot, adapter) in &mut self.parts.slots {
            path.within(self.names.at(slot), |path| adapter.visit_mut(path, visitor));
        }
        for (name, (_, param)) in params.iter().zip(&mut self.parts.params) {
            path.within(name, |path| visitor.param(path.as_str(), param));
        }
        for (name, (_, buffer)) in buffers.iter().zip(&mut self.parts.buffers) {
            path.within(name, |path| visitor.buffer(path.as_str(), buffer));
        }
        self.parts.prompts.iter_mut().for_each(|(_, prompt)| prompt.visit_mut(path, visitor));
    }
}

impl Named<'_> {
    /// The numbers by name. Of a prompt the result alone, whatever network makes it.
    pub fn tensors(&mut self) -> Result<StateDict> {
        let prompts = std::mem::take(&mut self.parts.prompts);
        let state = state_dict(self);
        self.parts.prompts = prompts;
        let mut state = state?;
        if self.parts.prompts.len() > 1 {
            let paths: Vec<&String> = self.parts.prompts.iter().map(|(path, _)| path).collect();
            return Err(crate::Error::adapter("save", format!("the model has prompts at {paths:?}, and a file of an adapter has a place for one")));
        }
        for prompt in self.parts.prompts.iter().filter_map(|(_, prompt)| prompt.as_ref()) {
            state.insert("prompt_embeddings".to_string(), crate::prompt_embeddings(prompt)?);
        }
        Ok(state)
    }
}

/// A file without what PEFT leaves in it of the base, and by the names of today.
pub(super) struct Cleaned<'a> {
    file: &'a mut dyn Source,
    contents: BTreeMap<String, Entry>,
    /// What the file calls it.
    written: BTreeMap<String, String>,
}

impl Cleaned<'_> {
    pub fn of(file: &mut dyn Source) -> Cleaned<'_> {
        let (mut contents, mut written) = (BTreeMap::new(), BTreeMap::new());
        for (name, entry) in file.contents() {
            // With `bias = "all"` PEFT writes biases of modules that are saved whole three times: as they are, and in these places.
            let twice =
                [".original_module.", ".modules_to_save."].iter().any(|part| name.contains(part) && file.contents().contains_key(&name.replace(part, ".")));
            if !twice {
                let today = name.strip_suffix(".lora_magnitude_vector.weight").map_or(name.clone(), |layer| format!("{layer}.lora_magnitude_vector"));
                contents.insert(today.clone(), entry.clone());
                written.insert(today, name.clone());
            }
        }
        Cleaned { file, contents, written }
    }

    /// Reads an array that belongs to no layer, after which it is no more among the contents.
    pub fn take(&mut self, name: &str) -> Result<Option<Array>> {
        let Some(dtype) = self.contents.get(name).map(|entry| entry.dtype().unwrap_or(DType::F32)) else { return Ok(None) };
        let array = self.read(name, dtype)?;
        self.contents.remove(name);
        Ok(Some(array))
    }
}

impl Source for Cleaned<'_> {
    fn contents(&self) -> &BTreeMap<String, Entry> {
        &self.contents
    }
    fn read(&mut self, name: &str, dtype: DType) -> Result<Array, Error> {
        self.file.read(self.written.get(name).map_or(name, String::as_str), dtype)
    }
}
