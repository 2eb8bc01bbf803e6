//! A folder with the two files of an adapter, which belong together.

use super::Config;
use crate::Result;
use chainrule_nn::{Error, StateDict, safetensors, write_file};
use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What PEFT calls its files.
pub(super) const CONFIG: &str = "adapter_config.json";
pub(super) const NUMBERS: &str = "adapter_model.safetensors";

/// Writes both files. Until both are on the disk the old ones stay; then the old configuration goes first and the new one comes last, so that no moment leaves one file of each, and an error brings back what was there.
pub(super) fn write(folder: &Path, config: &Config, tensors: &StateDict) -> Result<()> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let fail = |error: io::Error| Error::file(folder, format!("cannot be written to: {error}"));
    fs::create_dir_all(folder).map_err(fail)?;
    let own = format!("{}-{}", std::process::id(), COUNTER.fetch_add(1, Relaxed));
    let [numbers, settings, before] =
        [(NUMBERS, "whole"), (CONFIG, "whole"), (CONFIG, "before")].map(|(name, state)| folder.join(format!(".{name}.{own}.{state}")));
    let written = safetensors::write(&numbers, tensors, &[("format".to_string(), "pt".to_string())].into())
        .and_then(|()| write_file(&settings, |out| out.write_all(config.json().as_bytes())))
        .and_then(|()| exchange(folder, &numbers, &settings, &before).map_err(fail));
    // Those that are in their places are no more here; the first error is the one to report.
    [numbers, settings, before].iter().for_each(|draft| drop(fs::remove_file(draft)));
    Ok(written?)
}

fn exchange(folder: &Path, numbers: &Path, settings: &Path, before: &Path) -> io::Result<()> {
    let config = folder.join(CONFIG);
    let there = match fs::rename(&config, before) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        renamed => renamed.map(|()| true)?,
    };
    if let Err(error) = fs::rename(numbers, folder.join(NUMBERS)) {
        if there {
            fs::rename(before, &config)?;
        }
        return Err(error);
    }
    fs::rename(settings, config)
}
