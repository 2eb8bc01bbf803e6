//! [`Source`]: arrays by name that can be told of before their numbers are read. Files of every format are one, so that one function loads them all.

use super::StateDict;
use crate::{Error, Result};
use chainrule_autograd::{Array, DType, Element, Shape};
use chainrule_core::{bf16, f16};
use std::collections::BTreeMap;
use std::io::{self, Read};

/// What a source holds, and how to get it.
/// ```
/// use chainrule_autograd::{Array, DType, Rng};
/// use chainrule_nn::source::{Entry, Source, Stored};
/// use chainrule_nn::{Linear, Loading, Result, load_from};
/// use std::collections::BTreeMap;
///
/// /// Arrays of ones.
/// struct Ones(BTreeMap<String, Entry>);
/// impl Source for Ones {
///     fn contents(&self) -> &BTreeMap<String, Entry> {
///         &self.0
///     }
///     fn read(&mut self, name: &str, dtype: DType) -> Result<Array> {
///         Ok(Array::ones(self.0[name].dims(), dtype)?)
///     }
/// }
///
/// let mut model = Linear::new(3, 2, &mut Rng::seeded(0))?;
/// let weight = Entry::new(Stored::F16, &[2, 3]);
/// let report = load_from(&mut model, &mut Ones([("weight".to_string(), weight)].into()), &Loading::partly())?;
/// assert_eq!(report.to_string(), "1 loaded, 1 missing, 0 unexpected, 0 of the wrong shape\n  missing: bias");
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
pub trait Source {
    /// What is there, by name.
    fn contents(&self) -> &BTreeMap<String, Entry>;
    /// Reads one array, converted to an element type.
    ///
    /// # Errors
    /// A name that is not there; numbers that cannot be read.
    fn read(&mut self, name: &str, dtype: DType) -> Result<Array>;
}

/// What a source says of an array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    type_name: String,
    dtype: Option<DType>,
    dims: Vec<usize>,
}

impl Entry {
    /// An array whose numbers can be read.
    pub fn new(stored: Stored, dims: &[usize]) -> Entry {
        Entry { type_name: stored.dtype().to_string(), dtype: Some(stored.dtype()), dims: dims.to_vec() }
    }
    /// An array of a type that cannot be read, by the type's name.
    pub fn unreadable(type_name: impl Into<String>, dims: &[usize]) -> Entry {
        Entry { type_name: type_name.into(), dtype: None, dims: dims.to_vec() }
    }
    /// The extents.
    pub fn dims(&self) -> &[usize] {
        &self.dims
    }
    /// The element type it is read as: smaller integers become i64, truth values u8. `None` for types that cannot be read.
    pub fn dtype(&self) -> Option<DType> {
        self.dtype
    }
    /// The element type's name: that of [`dtype`](Entry::dtype), or the file's own.
    pub fn type_name(&self) -> &str {
        &self.type_name
    }
    /// Whether it can become an array of this type: floating-point numbers of each other, integers of each other.
    pub fn converts_to(&self, dtype: DType) -> bool {
        self.dtype.is_some_and(|own| own.is_float() == dtype.is_float())
    }
}

/// Element types of files, all little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stored {
    /// IEEE double.
    F64,
    /// IEEE single.
    F32,
    /// IEEE half.
    F16,
    /// The upper half of a single.
    BF16,
    /// Signed, 64 bits.
    I64,
    /// Signed, 32 bits.
    I32,
    /// Signed, 16 bits.
    I16,
    /// Signed, 8 bits.
    I8,
    /// Unsigned, 32 bits.
    U32,
    /// Unsigned, 16 bits.
    U16,
    /// Unsigned, 8 bits.
    U8,
    /// A truth value in a byte: 0 is false, all else true.
    Bool,
}

impl Stored {
    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            Stored::F64 | Stored::I64 => 8,
            Stored::F32 | Stored::I32 | Stored::U32 => 4,
            Stored::F16 | Stored::BF16 | Stored::I16 | Stored::U16 => 2,
            Stored::I8 | Stored::U8 | Stored::Bool => 1,
        }
    }
    /// The element type that holds all its values.
    pub fn dtype(self) -> DType {
        match self {
            Stored::F64 => DType::F64,
            Stored::F32 => DType::F32,
            Stored::F16 => DType::F16,
            Stored::BF16 => DType::BF16,
            Stored::I64 | Stored::I32 | Stored::I16 | Stored::I8 | Stored::U32 | Stored::U16 => DType::I64,
            Stored::U8 | Stored::Bool => DType::U8,
        }
    }
}

/// So many bytes of a file are in memory at one time, beside the array that they go to.
const PIECE: usize = 1 << 20;

/// Reads an array's numbers, in row-major order, and converts them piece by piece. The caller has made sure that there are so many.
///
/// # Errors
/// A source that ends or fails, by way of `fail`; no memory; more than 8 dimensions.
pub fn read_numbers(from: &mut dyn Read, stored: Stored, dims: &[usize], dtype: DType, fail: &dyn Fn(io::Error) -> Error) -> Result<Array> {
    Shape::new(dims).map_err(|error| fail(io::Error::other(error)))?;
    let mut array = Array::zeros(dims, dtype)?;
    let count = array.count();
    let step = PIECE / stored.size();
    let mut bytes = vec![0; step.min(count) * stored.size()];
    for start in (0..count).step_by(step) {
        let bytes = &mut bytes[..step.min(count - start) * stored.size()];
        from.read_exact(bytes).map_err(fail)?;
        let piece = decode(stored, bytes)?.cast(dtype)?;
        match dtype {
            DType::F32 => put::<f32>(&mut array, start, &piece)?,
            DType::F64 => put::<f64>(&mut array, start, &piece)?,
            DType::F16 => put::<f16>(&mut array, start, &piece)?,
            DType::BF16 => put::<bf16>(&mut array, start, &piece)?,
            DType::I64 => put::<i64>(&mut array, start, &piece)?,
            DType::U8 => put::<u8>(&mut array, start, &piece)?,
            other => return Err(chainrule_autograd::Error::value("read", format!("numbers of a file do not become {other}")).into()),
        }
    }
    Ok(array)
}

fn put<T: Element>(array: &mut Array, start: usize, piece: &Array) -> Result<()> {
    array.as_mut_slice::<T>()?[start..start + piece.count()].copy_from_slice(piece.as_slice()?);
    Ok(())
}

fn decode(stored: Stored, bytes: &[u8]) -> Result<Array> {
    fn all<T: Element, const N: usize>(bytes: &[u8], number: impl Fn([u8; N]) -> T) -> Result<Array> {
        let mut array = Array::zeros(&[bytes.len() / N], T::DTYPE)?;
        array.as_mut_slice::<T>()?.iter_mut().zip(bytes.as_chunks::<N>().0).for_each(|(to, &from)| *to = number(from));
        Ok(array)
    }
    match stored {
        Stored::F64 => all(bytes, f64::from_le_bytes),
        Stored::F32 => all(bytes, f32::from_le_bytes),
        Stored::F16 => all(bytes, f16::from_le_bytes),
        Stored::BF16 => all(bytes, bf16::from_le_bytes),
        Stored::I64 => all(bytes, i64::from_le_bytes),
        Stored::I32 => all(bytes, |b| i32::from_le_bytes(b) as i64),
        Stored::I16 => all(bytes, |b| i16::from_le_bytes(b) as i64),
        Stored::I8 => all(bytes, |b| i8::from_le_bytes(b) as i64),
        Stored::U32 => all(bytes, |b| u32::from_le_bytes(b) as i64),
        Stored::U16 => all(bytes, |b| u16::from_le_bytes(b) as i64),
        Stored::U8 => all(bytes, u8::from_le_bytes),
        Stored::Bool => all(bytes, |[b]| (b != 0) as u8),
    }
}

/// A state dict as a source.
pub(super) struct Arrays<'a> {
    state: &'a StateDict,
    contents: BTreeMap<String, Entry>,
}

impl Arrays<'_> {
    pub(super) fn of(state: &StateDict) -> Arrays<'_> {
        let entry = |a: &Array| Entry { type_name: a.dtype().to_string(), dtype: Some(a.dtype()), dims: a.dims().to_vec() };
        Arrays { state, contents: state.iter().map(|(path, array)| (path.clone(), entry(array))).collect() }
    }
}

impl Source for Arrays<'_> {
    fn contents(&self) -> &BTreeMap<String, Entry> {
        &self.contents
    }
    fn read(&mut self, name: &str, dtype: DType) -> Result<Array> {
        match self.state.get(name) {
            Some(array) => Ok(array.cast(dtype)?),
            None => Err(chainrule_autograd::Error::value("read", format!("the state dict has no array \"{name}\"")).into()),
        }
    }
}
