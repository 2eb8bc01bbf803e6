//! A folder with the two files of an adapter, which belong together.

use super::Config;
use crate::Result;
use chainrule_nn::{Error, StateDict, safetensors, write_file};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What PEFT calls its files.
pub(super) const CONFIG: &str = "adapter_config.json";
pub(super) const NUMBERS: &str = "adapter_model.safetensors";

/// Writes both files. Until both are on the disk the old ones stay; then the old configuration goes first and the new one comes last, so that no moment leaves one file of each.
pub(super) fn write(folder: &Path, config: &Config, tensors: &StateDict) -> Result<()> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let fail = |error: io::Error| Error::file(folder, format!("cannot be written to: {error}"));
    fs::create_dir_all(folder).map_err(fail)?;
    let own = format!("{}-{}", std::process::id(), COUNTER.fetch_add(1, Relaxed));
    let drafts = [NUMBERS, CONFIG].map(|name| folder.join(format!(".{name}.{own}.whole")));
    let written = safetensors::write(&drafts[0], tensors, &[("format".to_string(), "pt".to_string())].into())
        .and_then(|()| write_file(&drafts[1], |out| out.write_all(config.json().as_bytes())))
        .and_then(|()| exchange(folder, &drafts).map_err(fail));
    if written.is_err() {
        // They may not exist; the first error is the one to report.
        drafts.iter().for_each(|draft| drop(fs::remove_file(draft)));
    }
    Ok(written?)
}

fn exchange(folder: &Path, [numbers, config]: &[PathBuf; 2]) -> io::Result<()> {
    match fs::remove_file(folder.join(CONFIG)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => fs::rename(numbers, folder.join(NUMBERS))?,
    }
    fs::rename(config, folder.join(CONFIG))
}
