//! NumPy's files: `.npy`, one array, and `.npz`, a zip archive of them.
//!
//! An array begins with `\x93NUMPY`, a version, the length of a header, and the header, a Python dict in ASCII:
//! `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`. The numbers follow, in row-major order, or column by column.
//!
//! Source: `numpy/lib/format.py`, versions 1.0 to 3.0.

use super::pickle::{Reason, shown};
use super::strided::read_strided;
use super::zip::{Packed, Zip};
use chainrule_autograd::{Array, DType};
use chainrule_nn::source::{Entry, Source, Stored};
use chainrule_nn::{Error, Result};
use flate2::CrcReader;
use flate2::read::DeflateDecoder;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// The name of the array in a file that holds one.
const ALONE: &str = "array";
/// NumPy itself refuses longer ones unless told otherwise.
const LONGEST_HEADER: usize = 10_000;

/// An open `.npy` or `.npz` file.
pub(super) struct Numpy {
    path: PathBuf,
    file: File,
    contents: BTreeMap<String, Entry>,
    arrays: BTreeMap<String, Stands>,
}

/// An array in a file: its header, and the entry of the archive, if it is one.
struct Stands {
    header: Header,
    entry: Option<Packed>,
}

impl Numpy {
    /// Opens a file of one array.
    pub(super) fn npy(path: &Path, mut file: File) -> Result<Numpy> {
        let read = |file: &mut File| -> Result<Header, Reason> {
            let size = file.metadata().map_err(unreadable)?.len();
            file.seek(SeekFrom::Start(0)).map_err(unreadable)?;
            Header::read(file, size)
        };
        let header = read(&mut file).map_err(|reason| Error::file(path, reason))?;
        Ok(Numpy::of(path, file, [(ALONE.to_string(), Stands { header, entry: None })].into()))
    }

    /// Opens an archive.
    pub(super) fn npz(path: &Path, mut file: File, zip: &Zip) -> Result<Numpy> {
        let mut arrays = BTreeMap::new();
        for (name, entry) in zip.iter() {
            let read = entry.contents(&mut file).and_then(|mut contents| Header::read(&mut contents, entry.size()));
            let header = read.map_err(|reason| Error::file(path, format!("{reason} (its entry \"{}\")", shown(name))))?;
            let name = name.strip_suffix(".npy").unwrap_or(name);
            arrays.insert(name.to_string(), Stands { header, entry: Some(entry.clone()) });
        }
        Ok(Numpy::of(path, file, arrays))
    }

    fn of(path: &Path, file: File, arrays: BTreeMap<String, Stands>) -> Numpy {
        let contents = arrays.iter().map(|(name, array)| (name.clone(), Entry::new(array.header.stored, &array.header.dims))).collect();
        Numpy { path: path.to_path_buf(), file, contents, arrays }
    }
}

impl Source for Numpy {
    fn contents(&self) -> &BTreeMap<String, Entry> {
        &self.contents
    }

    fn read(&mut self, name: &str, dtype: DType) -> Result<Array> {
        let fail = |reason: Reason| Error::file(&self.path, reason);
        let at = |error: io::Error| fail(format!("cannot be read at \"{name}\": {error}"));
        let Some(Stands { header, entry }) = self.arrays.get(name) else { return Err(fail(format!("has no array \"{name}\""))) };
        let strides = header.strides();
        let Some(entry) = entry else {
            self.file.seek(SeekFrom::Start(header.length)).map_err(at)?;
            return read_strided(&mut self.file, header.stored, &header.dims, &strides, dtype, &at);
        };
        let mut contents = CrcReader::new(entry.contents(&mut self.file).map_err(fail)?);
        io::copy(&mut (&mut contents).take(header.length), &mut io::sink()).map_err(at)?;
        let array = read_strided(&mut contents, header.stored, &header.dims, &strides, dtype, &at)?;
        if contents.read(&mut [0]).map_err(at)? != 0 {
            return Err(fail(format!("is damaged: its entry \"{name}\" inflates to more than the {} bytes it promises", entry.size())));
        }
        if contents.crc().sum() != entry.checksum() {
            return Err(fail(format!("is damaged: the checksum of its entry \"{name}\" is wrong")));
        }
        Ok(array)
    }
}

impl Packed {
    /// The contents of an entry, inflated.
    fn contents<'a>(&self, file: &'a mut File) -> Result<Box<dyn Read + 'a>, Reason> {
        let packed = self.packed(file)?;
        Ok(if self.is_deflated() { Box::new(DeflateDecoder::new(packed)) } else { Box::new(packed) })
    }
}

/// What an array's header says.
#[derive(Debug, PartialEq)]
struct Header {
    stored: Stored,
    dims: Vec<usize>,
    column_major: bool,
    /// Bytes before the numbers.
    length: u64,
}

impl Header {
    /// Reads the header of an array that has `size` bytes in all, and compares the two.
    fn read(from: &mut dyn Read, size: u64) -> Result<Header, Reason> {
        let mut take = |count: usize| {
            let mut bytes = vec![0; count];
            from.read_exact(&mut bytes).map_err(|error| format!("is cut short or damaged: the header of an array cannot be read: {error}"))?;
            Ok::<_, Reason>(bytes)
        };
        let start = take(8)?;
        if !start.starts_with(b"\x93NUMPY") {
            return Err("holds what is no array of NumPy's".into());
        }
        let (length, wide) = match start[6..] {
            [1, 0] => (u16::from_le_bytes(take(2)?.try_into().unwrap_or_default()) as usize, 2),
            [2 | 3, 0] => (u32::from_le_bytes(take(4)?.try_into().unwrap_or_default()) as usize, 4),
            [major, minor] => return Err(format!("has an array in version {major}.{minor} of NumPy's format, expected 1.0, 2.0 or 3.0")),
            _ => return Err("is cut short".into()),
        };
        if length > LONGEST_HEADER {
            return Err(format!("has an array whose header has {length} bytes, expected at most {LONGEST_HEADER}"));
        }
        let text = take(length)?;
        let text = std::str::from_utf8(&text).map_err(|_| "has an array whose header is no text")?;
        let mut header = parse(text)?;
        header.length = 8 + wide + length as u64;
        let count = header.dims.iter().try_fold(1u64, |n, &extent| n.checked_mul(extent as u64));
        let bytes = count.and_then(|n| n.checked_mul(header.stored.size() as u64)).and_then(|n| n.checked_add(header.length));
        if bytes != Some(size) {
            let needs = bytes.map_or("more than can be counted".to_string(), |bytes| bytes.to_string());
            return Err(format!("is damaged: an array of {:?} {:?} takes {needs} bytes with its header, it has {size}", header.stored, header.dims));
        }
        Ok(header)
    }

    /// From one index to the next, in elements.
    fn strides(&self) -> Vec<usize> {
        let mut strides = vec![1; self.dims.len()];
        let mut step = 1usize;
        for i in 0..self.dims.len() {
            let axis = if self.column_major { i } else { self.dims.len() - 1 - i };
            strides[axis] = step;
            // An array without elements may have extents whose product is beyond all numbers; its strides say nothing.
            step = step.wrapping_mul(self.dims[axis]);
        }
        strides
    }
}

/// Reads the dict of a header: exactly its three keys, in any order.
fn parse(text: &str) -> Result<Header, Reason> {
    let damaged = || format!("has an array with a damaged header: {}", shown(text));
    let inside = text.trim_end().strip_prefix('{').and_then(|t| t.strip_suffix('}')).ok_or_else(damaged)?;
    let (mut stored, mut column_major, mut dims) = (None, None, None);
    let mut rest = inside.trim_start();
    while !rest.is_empty() {
        let (key, after) = rest.strip_prefix('\'').and_then(|r| r.split_once('\'')).ok_or_else(damaged)?;
        let value = after.trim_start().strip_prefix(':').ok_or_else(damaged)?.trim_start();
        let again;
        (again, rest) = match key {
            "descr" => {
                let (descr, after) = value.strip_prefix('\'').and_then(|v| v.split_once('\'')).ok_or_else(|| refused_type(value))?;
                (stored.replace(element(descr)?).is_some(), after)
            }
            "fortran_order" => {
                let found = ["False", "True"].into_iter().position(|word| value.starts_with(word)).ok_or_else(damaged)?;
                (column_major.replace(found == 1).is_some(), &value[["False", "True"][found].len()..])
            }
            "shape" => {
                let (tuple, after) = value.strip_prefix('(').and_then(|v| v.split_once(')')).ok_or_else(damaged)?;
                (dims.replace(extents(tuple).ok_or_else(damaged)?).is_some(), after)
            }
            _ => return Err(damaged()),
        };
        rest = rest.trim_start();
        if again || !(rest.is_empty() || rest.starts_with(',')) {
            return Err(damaged());
        }
        rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
    }
    let (Some(stored), Some(column_major), Some(dims)) = (stored, column_major, dims) else { return Err(damaged()) };
    Ok(Header { stored, dims, column_major, length: 0 })
}

/// The numbers of a tuple: `3, 4`, `3,`, or nothing.
fn extents(tuple: &str) -> Option<Vec<usize>> {
    let tuple = tuple.trim();
    let numbers = tuple.strip_suffix(',').unwrap_or(tuple);
    if numbers.is_empty() {
        return tuple.is_empty().then(Vec::new);
    }
    numbers.split(',').map(|n| n.trim().bytes().all(|b| b.is_ascii_digit()).then(|| n.trim().parse().ok())?).collect()
}

fn element(descr: &str) -> Result<Stored, Reason> {
    Ok(match descr {
        "<f8" => Stored::F64,
        "<f4" => Stored::F32,
        "<f2" => Stored::F16,
        "<i8" => Stored::I64,
        "<i4" => Stored::I32,
        "<i2" => Stored::I16,
        "|i1" => Stored::I8,
        "<u4" => Stored::U32,
        "<u2" => Stored::U16,
        "|u1" => Stored::U8,
        "|b1" => Stored::Bool,
        _ if descr.starts_with('>') => return Err(format!("has an array of big-endian numbers, {}, expected little-endian", shown(descr))),
        _ => return Err(refused_type(descr)),
    })
}

fn refused_type(descr: &str) -> Reason {
    format!(
        "has an array of {}, which cannot be read, expected floating-point numbers, integers up to 64 bits signed or 32 unsigned, or truth values",
        shown(descr)
    )
}

fn unreadable(error: io::Error) -> Reason {
    format!("cannot be read: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers() {
        let good = |text: &str| parse(text).map(|h| (h.stored, h.dims, h.column_major)).unwrap();
        assert_eq!(good("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }   \n"), (Stored::F32, vec![3, 4], false));
        assert_eq!(good("{'shape': (7,), 'fortran_order': True, 'descr': '|b1'}"), (Stored::Bool, vec![7], true));
        assert_eq!(good("{'descr': '<i8', 'fortran_order': False, 'shape': ()}").1, [0; 0]);
        for wrong in [
            "",
            "{}",
            "{'descr': '<f4', 'fortran_order': False}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), 'more': 1}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), 'shape': (3, 4)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (-3, 4)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (+3,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}",
            "{'descr': '<f4', 'fortran_order': 1, 'shape': (3, 4)}",
            "{'descr': '<f4' 'fortran_order': False, 'shape': (3, 4)}",
            "{'descr': __import__('os').system('true'), 'fortran_order': False, 'shape': (3,)}",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        assert!(parse("{'descr': '>f4', 'fortran_order': False, 'shape': ()}").unwrap_err().contains("big-endian"));
        assert!(parse("{'descr': '|O', 'fortran_order': False, 'shape': ()}").unwrap_err().contains("|O"));
        assert!(parse("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': ()}").unwrap_err().contains("('a"));
    }
}
