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

/// Writes both files. Until both are on the disk the old ones stay; then the old configuration goes aside first and the new one comes last, so that no moment leaves one file of each, and an error brings back what was there. The old files are deleted after that.
/// Of several that write to a folder at once it promises nothing.
pub(super) fn write(folder: &Path, config: &Config, tensors: &StateDict) -> Result<()> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let fail = |error: io::Error| Error::file(folder, format!("cannot be written to: {error}"));
    fs::create_dir_all(folder).map_err(fail)?;
    let own = format!("{}-{}", std::process::id(), COUNTER.fetch_add(1, Relaxed));
    let aside = |state: &str| [CONFIG, NUMBERS].map(|name| folder.join(format!(".{name}.{own}.{state}")));
    let (new, before) = (aside("whole"), aside("before"));
    let written = safetensors::write(&new[1], tensors, &[("format".to_string(), "pt".to_string())].into())
        .and_then(|()| write_file(&new[0], |out| out.write_all(config.json().as_bytes())))
        .and_then(|()| exchange(&[CONFIG, NUMBERS].map(|name| folder.join(name)), &new, &before).map_err(fail));
    // Those that are in their places are no more here; the first error is the one to report.
    new.iter().for_each(|draft| drop(fs::remove_file(draft)));
    if written.is_ok() {
        before.iter().for_each(|old| drop(fs::remove_file(old)));
    }
    Ok(written?)
}

/// Puts new files into their places, and what was there aside; after an error it is back.
fn exchange(places: &[PathBuf; 2], new: &[PathBuf; 2], before: &[PathBuf; 2]) -> io::Result<()> {
    let mut there = [false; 2];
    let done = (0..2).try_for_each(|i| match fs::metadata(&places[i]) {
        Ok(found) if !found.is_file() => Err(io::Error::other(format!("{} is no file", places[i].display()))),
        _ => match fs::rename(&places[i], &before[i]) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            renamed => renamed.map(|()| there[i] = true),
        },
    });
    // The numbers first, the configuration last.
    let done = done.and_then(|()| fs::rename(&new[1], &places[1])).and_then(|()| fs::rename(&new[0], &places[0]));
    if done.is_err() {
        // In the other order. New numbers that had no old ones go, since nothing is left that says what they are.
        let mut back = Ok(());
        for i in [1, 0] {
            match there[i] {
                true => back = back.and(fs::rename(&before[i], &places[i])),
                false if i == 1 && !new[1].exists() => drop(fs::remove_file(&places[1])),
                false => {}
            }
        }
        back?;
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_of_the_last_step_brings_back_both() {
        let folder = std::env::temp_dir().join(format!("chainrule-exchange-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let [places, new, before] = ["here", "new", "before"].map(|state| [CONFIG, NUMBERS].map(|name| folder.join(format!("{name}.{state}"))));
        for old in [true, false] {
            if old {
                places.iter().for_each(|place| fs::write(place, "old").unwrap());
            }
            fs::write(&new[1], "new").unwrap(); // and no new configuration
            assert!(exchange(&places, &new, &before).is_err());
            assert_eq!(places.iter().filter(|place| place.exists()).count(), if old { 2 } else { 0 });
            for place in places.iter().filter(|_| old) {
                assert_eq!(fs::read_to_string(place).unwrap(), "old");
                fs::remove_file(place).unwrap();
            }
            assert!(before.iter().all(|aside| !aside.exists()));
        }
        fs::remove_dir_all(&folder).unwrap();
    }
}
