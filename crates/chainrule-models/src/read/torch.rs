//! PyTorch's files: a pickle that says which tensors look at which storages, and the storages.
//!
//! Two formats. Since 1.6 a zip archive: `NAME/data.pkl`, and a storage in each `NAME/data/KEY`, uncompressed. Before, and still on request, five pickles in a row
//! (a magic number, the version, facts on the machine, the object, the storages' keys), then each storage: its element count in eight bytes, and its numbers.
//!
//! Source: `torch/serialization.py`.

use super::pickle::{self, Bytes, Machine, Reason, Storage, Value, View, last, shown};
use super::strided::read_strided;
use super::zip::Zip;
use chainrule_autograd::{Array, DType};
use chainrule_nn::source::{Entry, Source};
use chainrule_nn::{Error, Result};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// A view may show a number many times, as `expand` does, or little of a long span. All tensors together show and span at most so many bytes, or eight times the file if that is more.
const MOST_READ: u64 = 64 << 20;

/// The version of the old format, the only one there was.
const VERSION: i64 = 1001;

/// An open file of PyTorch's.
pub(super) struct Torch {
    path: PathBuf,
    file: File,
    contents: BTreeMap<String, Entry>,
    views: BTreeMap<String, View>,
    /// Where each storage's numbers begin.
    starts: Vec<u64>,
}

impl Torch {
    /// Opens an archive.
    pub(super) fn zip(path: &Path, mut file: File, zip: &Zip) -> Result<Torch> {
        let read = read_zip(&mut file, zip).map_err(|reason| Error::file(path, reason))?;
        Torch::of(path, file, read)
    }

    /// Opens a file of the old format.
    pub(super) fn old(path: &Path, mut file: File) -> Result<Torch> {
        let read = read_old(&mut file).map_err(|reason| Error::file(path, reason))?;
        Torch::of(path, file, read)
    }

    fn of(path: &Path, file: File, read: Found) -> Result<Torch> {
        let size = file.metadata().map_err(|error| Error::file(path, unreadable(error)))?.len();
        // What a view makes of the file: the elements that it shows, or those that it spans, which are read to find them.
        let bytes = |view: &View| {
            let Some(last) = last(&view.dims, &view.strides)? else { return Some(0) };
            let shown = view.dims.iter().try_fold(1u64, |n, &extent| n.checked_mul(extent as u64))?;
            shown.max(last.checked_add(1)?).checked_mul(view.stored.size() as u64)
        };
        let read_in_all = read.views.values().try_fold(0u64, |sum, view| bytes(view).and_then(|n| sum.checked_add(n)));
        let most = size.saturating_mul(8).max(MOST_READ);
        if read_in_all.is_none_or(|bytes| bytes > most) {
            let reason = format!("has {size} bytes and views on them that show or span more than {most}: the same numbers many times over");
            return Err(Error::file(path, reason));
        }
        let contents = read.views.iter().map(|(name, view)| (name.clone(), Entry::new(view.stored, &view.dims))).collect();
        Ok(Torch { path: path.to_path_buf(), file, contents, views: read.views, starts: read.starts })
    }
}

impl Source for Torch {
    fn contents(&self) -> &BTreeMap<String, Entry> {
        &self.contents
    }

    fn read(&mut self, name: &str, dtype: DType) -> Result<Array> {
        let fail = |error: io::Error| Error::file(&self.path, format!("cannot be read at \"{name}\": {error}"));
        let missing = || Error::file(&self.path, format!("has no tensor \"{name}\""));
        let view = self.views.get(name).ok_or_else(missing)?;
        let start = self.starts.get(view.storage as usize).ok_or_else(missing)?;
        self.file.seek(SeekFrom::Start(start + view.offset * view.stored.size() as u64)).map_err(fail)?;
        read_strided(&mut self.file, view.stored, &view.dims, &view.strides, dtype, &fail)
    }
}

/// What a file's pickle says, and where the file has it.
struct Found {
    views: BTreeMap<String, View>,
    starts: Vec<u64>,
}

fn views(machine: &Machine, root: Value) -> Result<BTreeMap<String, View>, Reason> {
    let names = pickle::tensors(machine, root)?;
    Ok(names.into_iter().filter_map(|(name, view)| machine.views.get(view as usize).map(|view| (name, view.clone()))).collect())
}

fn read_zip(file: &mut File, zip: &Zip) -> Result<Found, Reason> {
    let folder = zip.names().find_map(|name| name.strip_suffix("data.pkl").filter(|folder| folder.matches('/').count() == 1));
    let folder = folder.ok_or("is a zip archive without data.pkl in its folder, expected one of PyTorch's or NumPy's")?.to_string();
    let entry = |name: &str| zip.get(&format!("{folder}{name}"));
    if entry("constants.pkl").is_some() {
        return Err("is a TorchScript program, expected tensors: torch.save(model.state_dict(), …)".into());
    }
    if let Some(order) = entry("byteorder") {
        let mut text = Vec::new();
        order.stored(file)?.take(16).read_to_end(&mut text).map_err(unreadable)?;
        if text != b"little" {
            return Err(format!("has numbers in the byte order \"{}\", expected \"little\"", shown(&String::from_utf8_lossy(&text))));
        }
    }
    let program = entry("data.pkl").ok_or("has no data.pkl")?;
    let mut bytes = program.stored(file)?;
    let mut machine = Machine::new(Bytes::new(&mut bytes));
    let root = machine.run()?;
    let views = views(&machine, root)?;
    let start = |storage: &Storage| {
        let entry = entry(&format!("data/{}", storage.key)).ok_or_else(|| format!("has no storage \"{}\" in its archive", shown(&storage.key)))?;
        check_size(storage, Some(entry.size()))?;
        entry.start_of_stored()
    };
    Ok(Found { views, starts: starts(&machine.storages, start)? })
}

fn read_old(file: &mut File) -> Result<Found, Reason> {
    let size = file.metadata().map_err(unreadable)?.len();
    file.seek(SeekFrom::Start(0)).map_err(unreadable)?;
    let mut from: &File = file;
    let mut machine = Machine::new(Bytes::new(&mut from));
    if machine.run()? != Value::Magic {
        return Err("is a pickle, but not of PyTorch's: it does not begin with the magic number".into());
    }
    let version = machine.run()?;
    if version != Value::Int(VERSION) {
        return Err(format!("has the version {version:?} of PyTorch's old format, expected {VERSION}"));
    }
    let facts = machine.run()?;
    if !is_little_endian(&machine, facts) {
        return Err("does not say that its numbers are little-endian".into());
    }
    let root = machine.run()?;
    let views = views(&machine, root)?;
    let keys = machine.run()?;
    let Value::List(keys) = keys else { return Err("has no list of its storages".into()) };
    let (mut at, mut found) = (machine.bytes.taken() as u64, HashMap::new());
    for &key in machine.items(keys) {
        let Value::Text(key) = key else { return Err("has a storage without a key".into()) };
        let key = machine.bytes.of(key);
        let storage = machine
            .storage_by(key)
            .filter(|storage| storage.part_of.is_none())
            .ok_or_else(|| format!("has a storage \"{}\" that no tensor looks at", shown(key)))?;
        let mut count = [0; 8];
        let mut from: &File = file;
        from.seek(SeekFrom::Start(at)).and_then(|_| from.read_exact(&mut count)).map_err(unreadable)?;
        check_size(storage, u64::from_le_bytes(count).checked_mul(storage.element_size()))?;
        if found.insert(key, at + 8).is_some() {
            return Err(format!("has the storage \"{}\" twice", shown(key)));
        }
        let end = storage.size().and_then(|bytes| (at + 8).checked_add(bytes));
        at = end.filter(|&end| end <= size).ok_or_else(|| format!("is cut short: its storage \"{}\" ends beyond its {size} bytes", shown(key)))?;
    }
    if at != size {
        return Err(format!("is damaged: {} bytes follow its last storage", size - at));
    }
    let start = |storage: &Storage| found.get(storage.key.as_str()).copied().ok_or_else(|| format!("lacks its storage \"{}\"", shown(&storage.key)));
    Ok(Found { views, starts: starts(&machine.storages, start)? })
}

/// Where each storage begins, given where those begin that are no parts of others.
fn starts(storages: &[Storage], start: impl Fn(&Storage) -> Result<u64, Reason>) -> Result<Vec<u64>, Reason> {
    let mut starts: Vec<u64> = Vec::new();
    for storage in storages {
        starts.push(match storage.part_of {
            None => start(storage)?,
            // A part comes after its whole, and lies inside it.
            Some((whole, offset)) => starts.get(whole as usize).ok_or("has a part of a storage before the storage")? + offset * storage.element_size(),
        });
    }
    Ok(starts)
}

fn check_size(storage: &Storage, got: Option<u64>) -> Result<(), Reason> {
    if got.is_some() && got == storage.size() {
        return Ok(());
    }
    let shown_size = |size: Option<u64>| size.map_or("more".to_string(), |size| size.to_string());
    Err(format!("is damaged: its storage \"{}\" has {} bytes, its pickle says {}", shown(&storage.key), shown_size(got), shown_size(storage.size())))
}

fn is_little_endian(machine: &Machine, facts: Value) -> bool {
    let Value::Dict(facts) = facts else { return false };
    machine
        .items(facts)
        .as_chunks::<2>()
        .0
        .iter()
        .any(|&[key, value]| matches!(key, Value::Text(key) if machine.bytes.is(key, "little_endian")) && value == Value::Bool(true))
}

fn unreadable(error: io::Error) -> Reason {
    format!("cannot be read: {error}")
}
