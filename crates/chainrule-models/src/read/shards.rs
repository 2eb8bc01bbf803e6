//! Weights in several files: a JSON index, `{"weight_map": {NAME: FILE, …}, …}`, beside the files that it names.
//!
//! Source: Hugging Face's `model.safetensors.index.json` and `pytorch_model.bin.index.json`.

use super::format;
use super::pickle::shown;
use chainrule_autograd::{Array, DType};
use chainrule_nn::source::{Entry, Source};
use chainrule_nn::{Error, Result};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

const LARGEST_INDEX: u64 = 32 << 20;
/// Each is an open file.
const MOST_FILES: usize = 512;

/// An open index and its files.
pub(super) struct Shards {
    path: PathBuf,
    contents: BTreeMap<String, Entry>,
    files: BTreeMap<String, Box<dyn Source + Send>>,
    file_of: BTreeMap<String, String>,
}

impl Shards {
    /// Opens an index and all files that it names. What it says and what the files hold must be the same.
    pub(super) fn open(path: &Path) -> Result<Shards> {
        let fail = |reason: String| Error::file(path, reason);
        let mut text = Vec::new();
        let file = File::open(path).map_err(|error| fail(format!("cannot be read: {error}")))?;
        file.take(LARGEST_INDEX + 1).read_to_end(&mut text).map_err(|error| fail(format!("cannot be read: {error}")))?;
        if text.len() as u64 > LARGEST_INDEX {
            return Err(fail(format!("is no index of files of weights: it has more than {LARGEST_INDEX} bytes")));
        }
        let index: serde_json::Value = serde_json::from_slice(&text).map_err(|error| fail(format!("is no index of files of weights: {error}")))?;
        let map =
            index.get("weight_map").and_then(|map| map.as_object()).ok_or_else(|| fail("is no index of files of weights: it has no \"weight_map\"".into()))?;
        let mut shards = Shards { path: path.to_path_buf(), contents: BTreeMap::new(), files: BTreeMap::new(), file_of: BTreeMap::new() };
        for (name, file) in map {
            let file = file.as_str().ok_or_else(|| fail(format!("says of \"{}\" no file's name", shown(name))))?;
            shards.add(name, file)?;
        }
        for (file, source) in &shards.files {
            if let Some(name) = source.contents().keys().find(|name| shards.file_of.get(*name) != Some(file)) {
                return Err(fail(format!("does not name \"{}\", which \"{file}\" holds", shown(name))));
            }
        }
        Ok(shards)
    }

    fn add(&mut self, name: &str, file: &str) -> Result<()> {
        let fail = |reason: String| Error::file(&self.path, reason);
        if !self.files.contains_key(file) {
            // A plain name: an index must not reach outside its folder, nor name an index.
            if file.is_empty() || file.contains(['/', '\\', ':']) || file.starts_with('.') || file.ends_with(".json") {
                return Err(fail(format!("names the file \"{}\", expected the name of a file beside it", shown(file))));
            }
            if self.files.len() == MOST_FILES {
                return Err(fail(format!("names more than {MOST_FILES} files")));
            }
            let place = self.path.with_file_name(file);
            self.files.insert(file.to_string(), format::open_one(&place)?);
        }
        let entry = self.files.get(file).and_then(|source| source.contents().get(name));
        let entry = entry.ok_or_else(|| fail(format!("says that \"{}\" stands in \"{}\", which lacks it", shown(name), shown(file))))?.clone();
        self.contents.insert(name.to_string(), entry);
        self.file_of.insert(name.to_string(), file.to_string());
        Ok(())
    }
}

impl Source for Shards {
    fn contents(&self) -> &BTreeMap<String, Entry> {
        &self.contents
    }

    fn read(&mut self, name: &str, dtype: DType) -> Result<Array> {
        match self.file_of.get(name).and_then(|file| self.files.get_mut(file)) {
            Some(file) => file.read(name, dtype),
            None => Err(Error::file(&self.path, format!("has no array \"{name}\""))),
        }
    }
}
