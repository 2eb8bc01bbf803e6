//! The IDX format of the MNIST files: a header of element type and extents, then the elements in row-major order, all big-endian.
//!
//! ```text
//! 00 00 TT RR   TT: element type (08 u8, 09 i8, 0B i16, 0C i32, 0D f32, 0E f64), RR: number of dimensions
//! EE EE EE EE   one extent a dimension, unsigned
//! …             the elements
//! ```
//! Source: "The MNIST database of handwritten digits", section "The IDX file format", by Y. LeCun, C. Cortes and C. Burges.

use crate::error::{Error, Result};
use chainrule_autograd::{Array, Element, Shape, Tensor};
use flate2::bufread::MultiGzDecoder;
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::path::Path;

/// Reads an IDX file, plain or compressed with gzip (found out from its contents, not its name).
///
/// Unsigned bytes stay `u8`; i8, i16 and i32 become `i64`; f32 and f64 stay.
/// Memory grows with what the file really holds, never by what its header promises.
/// ```
/// use chainrule_autograd::DType;
/// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/data/mnist/t10k-images-idx3-ubyte.gz");
/// let images = chainrule_data::read_idx(path)?;
/// assert_eq!((images.dims(), images.dtype()), (&[10_000, 28, 28][..], DType::U8));
/// # Ok::<(), chainrule_data::Error>(())
/// ```
///
/// # Errors
/// A file that cannot be read; that is no IDX file; that holds fewer or more elements than its header says; a gzip stream cut short or corrupt; no memory.
pub fn read_idx(path: impl AsRef<Path>) -> Result<Tensor> {
    Idx::open(path.as_ref())?.into_tensor()
}

/// Reads IDX from any source of bytes, plain or gzip; `name` stands for the file in error messages.
/// ```
/// let bytes = [0, 0, 0x0B, 1, 0, 0, 0, 2, 0x01, 0x00, 0xFF, 0xFF];
/// let numbers = chainrule_data::read_idx_from(&bytes[..], "two numbers")?;
/// assert_eq!(numbers.to_vec::<i64>()?, [256, -1]);
/// # Ok::<(), chainrule_data::Error>(())
/// ```
///
/// # Errors
/// As [`read_idx`].
pub fn read_idx_from(source: impl Read, name: &str) -> Result<Tensor> {
    Idx::detect(BufReader::new(source), Path::new(name))?.into_tensor()
}

/// The element types of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    U8,
    I8,
    I16,
    I32,
    F32,
    F64,
}

impl Kind {
    fn from_code(code: u8) -> Option<Kind> {
        Some(match code {
            0x08 => Kind::U8,
            0x09 => Kind::I8,
            0x0B => Kind::I16,
            0x0C => Kind::I32,
            0x0D => Kind::F32,
            0x0E => Kind::F64,
            _ => return None,
        })
    }
    fn size(self) -> usize {
        match self {
            Kind::U8 | Kind::I8 => 1,
            Kind::I16 => 2,
            Kind::I32 | Kind::F32 => 4,
            Kind::F64 => 8,
        }
    }
}

/// A file's contents as they stand there.
pub(crate) struct Idx {
    pub(crate) kind: Kind,
    pub(crate) shape: Shape,
    pub(crate) bytes: Vec<u8>,
}

impl Idx {
    pub(crate) fn open(path: &Path) -> Result<Idx> {
        let file = File::open(path).map_err(|e| Error::file(path, e))?;
        Idx::detect(BufReader::with_capacity(1 << 16, file), path)
    }

    fn detect(mut source: impl BufRead, path: &Path) -> Result<Idx> {
        let mut first = [0; 2];
        let got = fill(&mut source, &mut first).map_err(|e| Error::file(path, e))?;
        let whole = first[..got].chain(source);
        if first == [0x1F, 0x8B] {
            let explain = |e: std::io::Error| match e.kind() {
                ErrorKind::UnexpectedEof => Error::format(path, "the gzip stream is cut short; copy or download the file again"),
                ErrorKind::InvalidData | ErrorKind::InvalidInput => {
                    Error::format(path, format!("the gzip stream is corrupt ({e}); copy or download the file again"))
                }
                _ => Error::file(path, e),
            };
            Idx::parse(MultiGzDecoder::new(whole), path, explain)
        } else {
            Idx::parse(whole, path, |e| Error::file(path, e))
        }
    }

    fn parse(mut source: impl Read, path: &Path, explain: impl Fn(std::io::Error) -> Error) -> Result<Idx> {
        let mut magic = [0; 4];
        let got = fill(&mut source, &mut magic).map_err(&explain)?;
        if got < 4 {
            return Err(Error::format(path, format!("the file ends after {got} bytes, expected an IDX header of at least 4")));
        }
        let [0, 0, code, rank] = magic else { return Err(not_idx(path, magic)) };
        let kind = Kind::from_code(code).ok_or_else(|| not_idx(path, magic))?;
        let mut extents = [0; 4 * u8::MAX as usize];
        let extents = &mut extents[..4 * rank as usize];
        let got = fill(&mut source, extents).map_err(&explain)?;
        if got < extents.len() {
            return Err(Error::format(path, format!("the header ends after {} bytes, expected {} for {rank} dimensions", 4 + got, 4 + extents.len())));
        }
        let dims: Vec<usize> = extents.as_chunks().0.iter().map(|&e| u32::from_be_bytes(e) as usize).collect();
        let shape = Shape::new(&dims).map_err(|e| Error::format(path, e.to_string()))?;

        let expected = shape.count() * kind.size();
        let mut bytes = Vec::new();
        source.by_ref().take(expected as u64).read_to_end(&mut bytes).map_err(&explain)?;
        if bytes.len() < expected {
            let held = bytes.len();
            return Err(Error::format(path, format!("cut short: the header promises {kind:?} {shape:?}, {expected} bytes, the file holds {held} of them")));
        }
        // The byte too many, or the end of the stream, where gzip compares its checksum.
        if fill(&mut source, &mut [0]).map_err(&explain)? > 0 {
            return Err(Error::format(path, format!("too long: bytes follow the {expected} that the header promises ({kind:?} {shape:?})")));
        }
        Ok(Idx { kind, shape, bytes })
    }

    fn into_tensor(self) -> Result<Tensor> {
        match self.kind {
            Kind::U8 => Ok(Tensor::from_slice(&self.bytes, &self.shape)?),
            Kind::I8 => self.convert(|b| i8::from_be_bytes(b) as i64),
            Kind::I16 => self.convert(|b| i16::from_be_bytes(b) as i64),
            Kind::I32 => self.convert(|b| i32::from_be_bytes(b) as i64),
            Kind::F32 => self.convert(f32::from_be_bytes),
            Kind::F64 => self.convert(f64::from_be_bytes),
        }
    }

    fn convert<const SIZE: usize, T: Element>(&self, value: impl Fn([u8; SIZE]) -> T) -> Result<Tensor> {
        let mut array = Array::zeros(&self.shape, T::DTYPE)?;
        for (x, &bytes) in array.as_mut_slice()?.iter_mut().zip(self.bytes.as_chunks().0) {
            *x = value(bytes);
        }
        Ok(array.into())
    }
}

#[cold]
fn not_idx(path: &Path, magic: [u8; 4]) -> Error {
    const EXPECTED: &str = "expected 00 00, an element type (08, 09, 0B, 0C, 0D or 0E) and the number of dimensions";
    Error::format(path, format!("not an IDX file: it starts with {magic:02X?}, {EXPECTED}"))
}

/// Reads until the buffer is full or the source ends; the number of bytes read.
fn fill(source: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}
