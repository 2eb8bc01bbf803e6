//! Files of tensors by name: the [safetensors](https://github.com/huggingface/safetensors) format.
//!
//! Eight bytes hold the length of a JSON header, which says type, shape and place of every tensor; the numbers follow, little-endian.
//! Reading trusts nothing: the header's length, its sizes, and that the tensors fill the file without gap or overlap are checked before any number is read.
//! Numbers are read in pieces and not from a mapped file, because a mapped file that another program cuts short ends the process by a signal.

use super::source::{Entry, Source, Stored, read_numbers};
use super::{StateDict, write_file};
use crate::{Error, Result};
use ::safetensors::tensor::{Dtype, Metadata, TensorInfo};
use chainrule_autograd::{Array, DType, Device, Element};
use chainrule_core::{bf16, f16};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// The largest header that is read; real ones stay below a few MiB.
const LARGEST_HEADER: u64 = 32 << 20;

/// An open file, whose header has been read and found sound. Tensors are read one at a time.
pub struct Safetensors {
    path: PathBuf,
    file: File,
    entries: BTreeMap<String, Entry>,
    places: BTreeMap<String, Place>,
    metadata: BTreeMap<String, String>,
}

/// Where a tensor's numbers stand in the file, and what they are.
struct Place {
    kind: Dtype,
    from: u64,
}

impl Safetensors {
    /// Opens a file and checks its header.
    ///
    /// # Errors
    /// A file that cannot be read, is cut short, or whose header does not hold what it promises.
    pub fn open(path: impl AsRef<Path>) -> Result<Safetensors> {
        let path = path.as_ref();
        let fail = |reason: String| Error::file(path, reason);
        let unreadable = |error: io::Error| fail(format!("cannot be read: {error}"));
        let mut file = File::open(path).map_err(unreadable)?;
        let size = file.metadata().map_err(unreadable)?.len();
        let mut length = [0; 8];
        if size < 8 {
            return Err(fail(format!("is no safetensors file: it has {size} bytes, expected at least 8")));
        }
        file.read_exact(&mut length).map_err(unreadable)?;
        let length = u64::from_le_bytes(length);
        if length > LARGEST_HEADER || length > size - 8 {
            let most = LARGEST_HEADER.min(size - 8);
            return Err(fail(format!("is cut short or no safetensors file: its header has {length} bytes, expected at most {most}")));
        }
        let mut header = vec![0; length as usize];
        file.read_exact(&mut header).map_err(unreadable)?;
        let header: Header = serde_json::from_slice(&header).map_err(|error| fail(format!("has a damaged header: {error}")))?;
        let (start, promised) = (8 + length, header.0.data_len() as u64);
        if size - start != promised {
            return Err(fail(format!("is damaged: its header promises {promised} bytes of numbers, it has {}", size - start)));
        }
        let (mut entries, mut places) = (BTreeMap::new(), BTreeMap::new());
        for (name, info) in header.0.tensors() {
            let entry = match stored(info.dtype) {
                Some(stored) => Entry::new(stored, &info.shape),
                None => Entry::unreadable(format!("{:?}", info.dtype), &info.shape),
            };
            places.insert(name.clone(), Place { kind: info.dtype, from: start + info.data_offsets.0 as u64 });
            entries.insert(name, entry);
        }
        let metadata = header.0.metadata().iter().flatten().map(|(key, value)| (key.clone(), value.clone())).collect();
        Ok(Safetensors { path: path.to_path_buf(), file, entries, places, metadata })
    }

    /// What the header says of each tensor, in the names' order.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries.iter().map(|(name, entry)| (name.as_str(), entry))
    }
    /// Texts that the file carries beside the tensors.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// Reads a tensor in its own element type.
    ///
    /// # Errors
    /// A name that is not there; an element type that cannot be read; more than 8 dimensions; a file that changed or cannot be read.
    pub fn read(&mut self, name: &str) -> Result<Array> {
        let own = self.entries.get(name).and_then(Entry::dtype);
        // A name or type that is not there is told of below.
        Source::read(self, name, own.unwrap_or(DType::F32))
    }
}

impl Source for Safetensors {
    fn contents(&self) -> &BTreeMap<String, Entry> {
        &self.entries
    }

    fn read(&mut self, name: &str, dtype: DType) -> Result<Array> {
        let (Some(place), Some(entry)) = (self.places.get(name), self.entries.get(name)) else {
            let near = crate::nearest::name(name, self.entries.keys().map(String::as_str)).map(|n| format!("; near it is \"{n}\""));
            return Err(Error::file(&self.path, format!("has no tensor \"{name}\"{}", near.unwrap_or_default())));
        };
        let Some(stored) = stored(place.kind) else {
            return Err(Error::file(&self.path, format!("has \"{name}\" as {:?}, which cannot be read", place.kind)));
        };
        let fail = |error: io::Error| Error::file(&self.path, format!("cannot be read at \"{name}\": {error}"));
        self.file.seek(SeekFrom::Start(place.from)).map_err(fail)?;
        read_numbers(&mut self.file, stored, entry.dims(), dtype, &fail)
    }
}

fn stored(kind: Dtype) -> Option<Stored> {
    Some(match kind {
        Dtype::F64 => Stored::F64,
        Dtype::F32 => Stored::F32,
        Dtype::F16 => Stored::F16,
        Dtype::BF16 => Stored::BF16,
        Dtype::I64 => Stored::I64,
        Dtype::I32 => Stored::I32,
        Dtype::I16 => Stored::I16,
        Dtype::I8 => Stored::I8,
        Dtype::U32 => Stored::U32,
        Dtype::U16 => Stored::U16,
        Dtype::U8 => Stored::U8,
        Dtype::BOOL => Stored::Bool,
        _ => return None,
    })
}

/// The JSON header. The crate `safetensors` checks sizes, gaps and overlaps, but lets a name stand twice.
struct Header(Metadata);

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Header, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Header;
            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("tensors by name")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Header, A::Error> {
                let (mut texts, mut tensors) = (None, BTreeMap::<String, TensorInfo>::new());
                while let Some(name) = map.next_key::<String>()? {
                    let twice = match name.as_str() {
                        "__metadata__" => texts.replace(map.next_value()?).is_some(),
                        _ => tensors.insert(name.clone(), map.next_value()?).is_some(),
                    };
                    if twice {
                        return Err(A::Error::custom(format!("the name {name:?} stands there twice")));
                    }
                }
                let mut tensors: Vec<_> = tensors.into_iter().collect();
                tensors.sort_by_key(|(_, info)| info.data_offsets);
                Metadata::new(texts, tensors).map(Header).map_err(A::Error::custom)
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

/// Reads all tensors of a file.
///
/// # Errors
/// As for [`Safetensors::open`] and [`Safetensors::read`].
pub fn read(path: impl AsRef<Path>) -> Result<StateDict> {
    let mut file = Safetensors::open(path)?;
    let names: Vec<String> = file.entries.keys().cloned().collect();
    names.into_iter().map(|name| file.read(&name).map(|array| (name, array))).collect()
}

/// Writes tensors by name, with texts beside them. Equal contents give equal bytes. The file appears whole or not at all.
/// ```
/// # use chainrule_autograd::{Array, DType};
/// # use chainrule_nn::safetensors;
/// # let folder = std::env::temp_dir().join(format!("chainrule-write-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder).unwrap();
/// let file = folder.join("pair.safetensors");
/// let pair = [("a", Array::ones(&[2], DType::F32)?), ("b", Array::zeros(&[], DType::I64)?)];
/// let pair = pair.into_iter().map(|(name, array)| (name.to_string(), array)).collect();
/// let texts = [("author".to_string(), "me".to_string())].into();
/// safetensors::write(&file, &pair, &texts)?;
/// assert_eq!(safetensors::read(&file)?["a"].to_vec::<f32>()?, [1.0, 1.0]);
/// assert_eq!(safetensors::Safetensors::open(&file)?.metadata(), &texts);
/// # std::fs::remove_dir_all(&folder).unwrap();
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
///
/// # Errors
/// A file that cannot be written; a tensor by the name `__metadata__`.
pub fn write(path: impl AsRef<Path>, tensors: &StateDict, metadata: &BTreeMap<String, String>) -> Result<()> {
    let path = path.as_ref();
    if tensors.contains_key("__metadata__") {
        return Err(Error::file(path, "cannot hold a tensor by the name \"__metadata__\", which the format reserves"));
    }
    // The larger types first, so that each tensor stands where its numbers are aligned.
    let mut order: Vec<(&String, &Array)> = tensors.iter().collect();
    order.sort_by_key(|(_, array)| std::cmp::Reverse(array.dtype().size()));
    let header = header(&order, metadata);
    write_file(path, |out| {
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(header.as_bytes())?;
        order.iter().try_for_each(|(_, array)| encode(array, out))
    })
}

fn header(order: &[(&String, &Array)], metadata: &BTreeMap<String, String>) -> String {
    let mut fields = Vec::new();
    if !metadata.is_empty() {
        fields.push(format!("\"__metadata__\":{}", serde_json::json!(metadata)));
    }
    let mut from = 0;
    for (name, array) in order {
        let to = from + array.count() * array.dtype().size();
        let kind = array.dtype().name().to_uppercase();
        fields.push(format!("{}:{}", serde_json::json!(name), serde_json::json!({ "dtype": kind, "shape": array.dims(), "data_offsets": [from, to] })));
        from = to;
    }
    let mut header = format!("{{{}}}", fields.join(","));
    // Spaces, so that the numbers begin at a multiple of eight.
    header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
    header
}

fn encode(array: &Array, out: &mut dyn Write) -> io::Result<()> {
    fn all<T: Element, const N: usize>(array: &Array, out: &mut dyn Write, bytes: impl Fn(T) -> [u8; N]) -> io::Result<()> {
        let dense = array.contiguous().and_then(|a| a.to(&Device::Cpu)).map_err(io::Error::other)?;
        let mut buffer = Vec::with_capacity(N << 12);
        for part in dense.as_slice::<T>().map_err(io::Error::other)?.chunks(1 << 12) {
            buffer.clear();
            part.iter().for_each(|&x| buffer.extend_from_slice(&bytes(x)));
            out.write_all(&buffer)?;
        }
        Ok(())
    }
    match array.dtype() {
        DType::F64 => all(array, out, f64::to_le_bytes),
        DType::F32 => all(array, out, f32::to_le_bytes),
        DType::F16 => all(array, out, f16::to_le_bytes),
        DType::BF16 => all(array, out, bf16::to_le_bytes),
        DType::I64 => all(array, out, i64::to_le_bytes),
        DType::U8 => all(array, out, u8::to_le_bytes),
        other => Err(io::Error::other(format!("the format has no name for {other}"))),
    }
}
