//! The three kinds of descriptors: named attributes with numbers, in a table of the library or in the caller's memory.
use super::Refusal;

/// Attributes a descriptor has at most.
const SLOTS: usize = 12;

/// A kind of descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Matmul,
    Layout,
    Preference,
}

/// Numbers of the attributes that are kept, in the library's own numbering.
pub mod attribute {
    pub const COMPUTE_TYPE: u32 = 0;
    pub const SCALE_TYPE: u32 = 1;
    pub const POINTER_MODE: u32 = 2;
    pub const TRANSA: u32 = 3;
    pub const TRANSB: u32 = 4;
    pub const EPILOGUE: u32 = 7;
    pub const BIAS_POINTER: u32 = 8;
    pub const BIAS_BATCH_STRIDE: u32 = 10;
    pub const AUX_POINTER: u32 = 11;
    pub const AUX_LD: u32 = 12;
    pub const AUX_BATCH_STRIDE: u32 = 13;
    pub const BIAS_DATA_TYPE: u32 = 26;

    pub const LAYOUT_TYPE: u32 = 0;
    pub const LAYOUT_ORDER: u32 = 1;
    pub const LAYOUT_ROWS: u32 = 2;
    pub const LAYOUT_COLS: u32 = 3;
    pub const LAYOUT_LD: u32 = 4;
    pub const LAYOUT_BATCH_COUNT: u32 = 5;
    pub const LAYOUT_BATCH_OFFSET: u32 = 6;

    pub const PREFERENCE_SEARCH_MODE: u32 = 0;
    pub const PREFERENCE_WORKSPACE: u32 = 1;
    /// Of A; B, C and D follow.
    pub const PREFERENCE_ALIGNMENT: u32 = 5;
}

use attribute::*;

/// The type is that of D unless it is set.
pub const BIAS_TYPE_UNSET: u64 = u32::MAX as u64;

/// Attribute, its bytes, its first value.
type Attributes = &'static [(u32, usize, u64)];

const MATMUL: Attributes = &[
    (COMPUTE_TYPE, 4, 0),
    (SCALE_TYPE, 4, 0),
    (POINTER_MODE, 4, 0),
    (TRANSA, 4, 0),
    (TRANSB, 4, 0),
    (EPILOGUE, 4, 1),
    (BIAS_POINTER, 8, 0),
    (BIAS_BATCH_STRIDE, 8, 0),
    (AUX_POINTER, 8, 0),
    (AUX_LD, 8, 0),
    (AUX_BATCH_STRIDE, 8, 0),
    (BIAS_DATA_TYPE, 4, BIAS_TYPE_UNSET),
];

const LAYOUT: Attributes = &[
    (LAYOUT_TYPE, 4, 0),
    (LAYOUT_ORDER, 4, 0),
    (LAYOUT_ROWS, 8, 0),
    (LAYOUT_COLS, 8, 0),
    (LAYOUT_LD, 8, 0),
    (LAYOUT_BATCH_COUNT, 4, 1),
    (LAYOUT_BATCH_OFFSET, 8, 0),
];

/// Where nothing is said, pointers are taken to be aligned as an allocation is.
const FULL_ALIGNMENT: u64 = 256;

const PREFERENCE: Attributes = &[
    (PREFERENCE_SEARCH_MODE, 4, 0),
    (PREFERENCE_WORKSPACE, 8, 0),
    (PREFERENCE_ALIGNMENT, 4, FULL_ALIGNMENT),
    (PREFERENCE_ALIGNMENT + 1, 4, FULL_ALIGNMENT),
    (PREFERENCE_ALIGNMENT + 2, 4, FULL_ALIGNMENT),
    (PREFERENCE_ALIGNMENT + 3, 4, FULL_ALIGNMENT),
];

impl Kind {
    fn attributes(self) -> Attributes {
        match self {
            Kind::Matmul => MATMUL,
            Kind::Layout => LAYOUT,
            Kind::Preference => PREFERENCE,
        }
    }

    /// What marks a descriptor in the caller's memory.
    pub fn mark(self) -> u64 {
        0x736f_6674_6770_7500 + self as u64
    }

    /// Words that a descriptor takes in the caller's memory, the mark included.
    pub fn words(self) -> usize {
        self.attributes().len() + 1
    }
}

/// A descriptor.
#[derive(Clone, Copy, Debug)]
pub struct Descriptor {
    pub kind: Kind,
    values: [u64; SLOTS],
}

impl Descriptor {
    /// With the values that the library gives at first.
    pub fn new(kind: Kind) -> Descriptor {
        let mut values = [0; SLOTS];
        for (value, (_, _, first)) in values.iter_mut().zip(kind.attributes()) {
            *value = *first;
        }
        Descriptor { kind, values }
    }

    /// From the caller's memory, behind the mark.
    pub fn from_words(kind: Kind, words: &[u64]) -> Descriptor {
        let mut descriptor = Descriptor::new(kind);
        descriptor.values.iter_mut().zip(words).for_each(|(value, word)| *value = *word);
        descriptor
    }

    /// For the caller's memory, behind the mark.
    pub fn words(&self) -> &[u64] {
        &self.values[..self.kind.attributes().len()]
    }

    fn slot(&self, attribute: u32) -> Option<(usize, usize)> {
        let found = self.kind.attributes().iter().position(|(known, _, _)| *known == attribute)?;
        Some((found, self.kind.attributes()[found].1))
    }

    /// An attribute's bytes in the caller's memory.
    pub fn width(&self, attribute: u32) -> Result<usize, Refusal> {
        self.slot(attribute).map(|(_, bytes)| bytes).ok_or_else(|| Refusal::unsupported(format!("{:?} attribute {attribute}", self.kind)))
    }

    /// Sets an attribute; narrow ones are taken without sign.
    pub fn set(&mut self, attribute: u32, value: u64) {
        if let Some((slot, _)) = self.slot(attribute) {
            self.values[slot] = value;
        }
    }

    /// An attribute that the kind has; 0 otherwise.
    pub fn get(&self, attribute: u32) -> u64 {
        self.slot(attribute).map_or(0, |(slot, _)| self.values[slot])
    }
}
