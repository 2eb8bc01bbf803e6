//! Numbers of a BERT from a file, whichever way the file names them.

use super::BertConfig;
use chainrule_nn::{Error, LoadReport, Module, Result, StateDict, Unmatched, load_state_dict, safetensors, state_dict};
use std::path::Path;

/// Where the base stands in models that have a head.
const BASE: &str = "bert.";

/// Heads of pre-training and of tasks: passed over where the model lacks them.
const HEADS: &[&str] = &["cls.", "classifier.", "qa_outputs."];

/// What a file holds, the base's names without `bert.`.
pub(super) struct File<'a> {
    path: &'a Path,
    state: StateDict,
}

impl File<'_> {
    pub fn read(path: &Path) -> Result<File<'_>> {
        let state = safetensors::read(path)?.into_iter().filter(|(name, _)| !is_ids(name)).map(|(name, array)| (plain(&name), array)).collect();
        Ok(File { path, state })
    }

    /// Whether a name begins so.
    pub fn has(&self, prefix: &str) -> bool {
        self.state.keys().any(|name| name.starts_with(prefix))
    }

    /// An error when the sizes are far beyond what the file holds, before memory is asked for them.
    pub fn expect_room_for(&self, config: &BertConfig) -> Result<()> {
        let held: usize = self.state.values().map(|array| array.count()).sum();
        match config.parameters() {
            Some(wanted) if wanted / 2 <= held => Ok(()),
            _ => Err(Error::file(self.path, format!("holds {held} numbers, the configuration describes many more"))),
        }
    }

    /// Puts all into the model, whose base stands at `base`. Parts named in `optional` may be missing, and are then reported so.
    pub fn load(self, model: &mut dyn Module, base: &str, optional: &[&str]) -> Result<LoadReport> {
        let own = state_dict(model)?;
        let has = |prefix: &str| own.keys().any(|path| path.starts_with(prefix));
        let mut state = StateDict::new();
        for (name, array) in self.state {
            let head = HEADS.iter().find(|head| name.starts_with(**head));
            let path = if head.is_some() { name } else { format!("{base}{name}") };
            let passed_over =
                head.is_some_and(|head| !has(head)) || (path.strip_prefix(base).is_some_and(|p| p.starts_with("pooler.")) && !own.contains_key(&path));
            if !passed_over {
                state.insert(path, array);
            }
        }
        let mut missing = vec![];
        for (path, value) in &own {
            if !state.contains_key(path) && optional.iter().any(|part| path.strip_prefix(base).unwrap_or(path).starts_with(part)) {
                state.insert(path.clone(), value.clone());
                missing.push(path.clone());
            }
        }
        let mut report = load_state_dict(model, &state)?;
        report.loaded.retain(|path| !missing.contains(path));
        report.missing = missing.into_iter().map(|name| Unmatched { name, nearest: None }).collect();
        Ok(report)
    }
}

/// Buffers that hold 0, 1, 2, …
fn is_ids(name: &str) -> bool {
    name.ends_with("position_ids") || name.ends_with("token_type_ids")
}

/// The name without `bert.`; norms of the oldest files have `gamma` and `beta`.
fn plain(name: &str) -> String {
    let name = name.strip_prefix(BASE).unwrap_or(name);
    match name.rsplit_once("LayerNorm.") {
        Some((path, "gamma")) => format!("{path}LayerNorm.weight"),
        Some((path, "beta")) => format!("{path}LayerNorm.bias"),
        _ => name.to_string(),
    }
}
