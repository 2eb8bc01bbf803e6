//! Which format a file has, by its first bytes.

use super::numpy::Numpy;
use super::shards::Shards;
use super::torch::Torch;
use super::zip::Zip;
use chainrule_nn::safetensors::Safetensors;
use chainrule_nn::source::Source;
use chainrule_nn::{Error, Result};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Opens a file of any known format, or an index of several files.
pub(super) fn open(path: &Path) -> Result<Box<dyn Source + Send>> {
    let (_, start) = start_of(path)?;
    if start.starts_with(b"{") && !is_safetensors(&start) { Ok(Box::new(Shards::open(path)?)) } else { open_one(path) }
}

fn start_of(path: &Path) -> Result<(File, Vec<u8>)> {
    let mut start = Vec::new();
    let read = File::open(path).and_then(|mut file| (&mut file).take(264).read_to_end(&mut start).map(|_| file));
    Ok((read.map_err(|error| Error::file(path, format!("cannot be read: {error}")))?, start))
}

/// Opens a file that is no index: an index that named another, or itself, would have no end.
pub(super) fn open_one(path: &Path) -> Result<Box<dyn Source + Send>> {
    let (mut file, start) = start_of(path)?;
    let other =
        |what: &str| Err(Error::file(path, format!("is {what}, which is not read; expected safetensors, PyTorch's .pth or .bin, or NumPy's .npz or .npy")));
    match &start[..] {
        [b'P', b'K', 3 | 5, 4 | 6, ..] => {
            let zip = Zip::open(&mut file).map_err(|reason| Error::file(path, reason))?;
            if zip.names().all(|name| name.ends_with(".npy")) {
                return Ok(Box::new(Numpy::npz(path, file, &zip)?));
            }
            Ok(Box::new(Torch::zip(path, file, &zip)?))
        }
        [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => Ok(Box::new(Numpy::npy(path, file)?)),
        [0x80, 1..=5, ..] if !is_safetensors(&start) => Ok(Box::new(Torch::old(path, file)?)),
        start if is_safetensors(start) => Ok(Box::new(Safetensors::open(path)?)),
        [b'G', b'G', b'U', b'F', ..] => other("a GGUF file"),
        [0x89, b'H', b'D', b'F', ..] => other("an HDF5 file"),
        start if start.get(257..262) == Some(b"ustar") => other("a tar archive, as PyTorch wrote before 0.1.10"),
        [] => other("empty"),
        _ => other("of no known format"),
    }
}

/// The header's length in eight bytes, below a TiB, and the header's first brace.
fn is_safetensors(start: &[u8]) -> bool {
    start.get(5..9) == Some(&[0, 0, 0, b'{'])
}
