//! Files that appear whole or not at all.

use crate::{Error, Result};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Writes a file beside its place, and moves it there when all of it is on the disk. What was there before stays until then, and after an error.
///
/// # Errors
/// What `write` reports; a folder that cannot be written to.
pub fn write_file(path: impl AsRef<Path>, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let path = path.as_ref();
    let fail = |error: io::Error| Error::file(path, format!("cannot be written: {error}"));
    let name = path.file_name().ok_or_else(|| Error::file(path, "is not the name of a file"))?;
    let mut draft = std::ffi::OsString::from(".");
    draft.push(name);
    draft.push(format!(".{}-{}.draft", std::process::id(), COUNTER.fetch_add(1, Relaxed)));
    let draft = path.with_file_name(draft);
    let written = draft_file(&draft, write).and_then(|()| fs::rename(&draft, path));
    if let Err(error) = written {
        // The draft may not exist; the first error is the one to report.
        let _ = fs::remove_file(&draft);
        return Err(fail(error));
    }
    sync_folder(path);
    Ok(())
}

fn draft_file(draft: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 16, File::create_new(draft)?);
    write(&mut out)?;
    out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
}

/// Makes the new name durable where the system offers it; the file itself already is.
fn sync_folder(path: &Path) {
    let folder = path.parent().filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
}
