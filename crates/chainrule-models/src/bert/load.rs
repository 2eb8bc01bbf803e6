//! Numbers of a BERT from a file, whichever way the file names them.

use super::BertConfig;
use crate::read::Checkpoint;
use chainrule_nn::{Error, LoadReport, Module, Result, params};
use std::path::Path;

/// Heads of pre-training and of tasks: passed over where the model lacks them.
const HEADS: [&str; 3] = ["cls.", "classifier.", "qa_outputs."];

/// What a file holds, the base's names without `bert.`.
pub(super) struct Weights<'a> {
    path: &'a Path,
    file: Checkpoint,
}

impl Weights<'_> {
    pub fn open(path: &Path) -> Result<Weights<'_>> {
        // Buffers that hold 0, 1, 2, …; the norms of the oldest files have `gamma` and `beta`.
        let file = Checkpoint::open(path)?.ignore_if_present("*{position_ids,token_type_ids}")?.strip_prefix_if_present("bert.")?;
        let file = file.rename_if_present("*LayerNorm.gamma", "*LayerNorm.weight")?.rename_if_present("*LayerNorm.beta", "*LayerNorm.bias")?;
        Ok(Weights { path, file })
    }

    /// Whether a name begins so.
    pub fn has(&self, prefix: &str) -> bool {
        self.file.entries().any(|(name, _)| name.starts_with(prefix))
    }

    /// An error when the sizes are far beyond what the file holds, before memory is asked for them.
    pub fn expect_room_for(&self, config: &BertConfig) -> Result<()> {
        let held = self.file.entries().map(|(_, entry)| entry.dims().iter().fold(1usize, |count, &d| count.saturating_mul(d))).fold(0, usize::saturating_add);
        // A layer takes memory for more than its numbers, which may be few.
        let layers_fit = config.num_hidden_layers <= self.file.entries().count();
        match config.parameters() {
            Some(wanted) if wanted / 2 <= held && layers_fit => Ok(()),
            _ => Err(Error::file(self.path, format!("holds {held} numbers, the configuration describes many more"))),
        }
    }

    /// Puts all into the model, whose base stands at `base`. Parts named in `optional` may be missing as a whole.
    pub fn load(self, model: &mut dyn Module, base: &str, optional: &[&str]) -> Result<LoadReport> {
        let mut paths = vec![];
        params(model, |path, _| paths.push(path.to_string()));
        let has = |prefix: &str| paths.iter().any(|path| path.starts_with(prefix));
        let mut file = self.file;
        for head in HEADS.into_iter().filter(|head| !has(head)) {
            file = file.ignore_if_present(&format!("{head}*"))?;
        }
        if !has(&format!("{base}pooler.")) {
            file = file.ignore_if_present("pooler.*")?;
        }
        file = file.rename_with(|name| if HEADS.iter().any(|head| name.starts_with(head)) { name.to_string() } else { format!("{base}{name}") })?;
        for part in optional {
            let prefix = if HEADS.contains(part) { part.to_string() } else { format!("{base}{part}") };
            let absent = !file.entries().any(|(name, _)| name.starts_with(&prefix));
            if has(&prefix) && absent {
                file = file.allow_missing(&format!("{prefix}*"))?;
            }
        }
        file.load(model)
    }
}
