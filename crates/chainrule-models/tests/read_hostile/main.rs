//! Files that are cut short, damaged or made to do harm: an error each, which runs nothing and takes little memory.

mod archives;
mod damage;
mod pickles;

use chainrule_models::read::Checkpoint;
use chainrule_nn::StateDict;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// A folder that goes away with the value.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("chainrule-hostile-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
    /// What comes of reading a file of these bytes as far as it goes; the error's text if it goes nowhere.
    fn read(&self, bytes: &[u8]) -> Result<StateDict, String> {
        let file = self.file("weights");
        // Written over what was there: some file systems wait for the disk when a file is emptied.
        let mut open = File::options().write(true).create(true).truncate(false).open(&file).unwrap();
        open.write_all(bytes).and_then(|()| open.set_len(bytes.len() as u64)).unwrap();
        read(&file)
    }
    /// The error of reading these bytes.
    fn refusal(&self, what: &str, bytes: &[u8]) -> String {
        let error = self.read(bytes).map(|state| panic!("{what} was read: {:?}", state.keys().collect::<Vec<_>>())).unwrap_err();
        assert!(error.contains("weights") && error.len() < 1000, "{what}: {error}");
        error
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn read(file: &Path) -> Result<StateDict, String> {
    Checkpoint::open(file).and_then(|mut checkpoint| checkpoint.state_dict()).map_err(|error| error.to_string())
}

/// A zip archive of stored entries.
fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for (name, contents) in entries {
        // Version, flags, method, time, date, checksum, sizes, length of the name, of the extra field.
        let sizes = (contents.len() as u32).to_le_bytes();
        let fields = [&[20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], &sizes[..], &sizes, &(name.len() as u16).to_le_bytes(), &[0, 0]].concat();
        let at = (bytes.len() as u32).to_le_bytes();
        bytes.extend([b"PK\x03\x04", &fields[..], name.as_bytes(), contents].concat());
        directory.extend([b"PK\x01\x02\x14\x00", &fields[..], &[0; 10], &at, name.as_bytes()].concat());
    }
    let count = (entries.len() as u16).to_le_bytes();
    let (from, length) = ((bytes.len() as u32).to_le_bytes(), (directory.len() as u32).to_le_bytes());
    [&bytes[..], &directory, b"PK\x05\x06\0\0\0\0", &count, &count, &length, &from, &[0, 0]].concat()
}

/// The most memory that this process has ever held, where the system tells.
fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
}

/// None of the files here is larger than a few MiB; what they promise is.
fn memory_stayed_small() {
    if let Some(peak) = peak() {
        assert!(peak < 256 << 20, "{} MiB", peak >> 20);
    }
}
