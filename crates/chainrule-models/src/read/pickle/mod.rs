//! Python's pickles of tensors, read without running anything.
//!
//! A pickle is a program for a small stack machine, and Python's own reader lets it call any function by name. This [`Machine`] knows the names that
//! tensors need ([`Global`]) and gives each a meaning of its own; any other name is an error that says which, before anything comes of it.
//! Values lie in lists and know each other by index, so that no nesting is too deep to be dropped, and a value that is used a thousand times costs one.
//! Every instruction costs at least a byte of the file and makes a bounded amount of memory, and there is a limit on the bytes and on the values.
//!
//! Source: Python's `pickletools`, protocols 0 to 5.

mod bytes;
mod call;
mod global;
mod machine;
mod walk;

pub(super) use bytes::Bytes;
pub(super) use call::{Storage, View, last};
pub(super) use machine::Machine;
pub(super) use walk::tensors;

use global::Global;

/// Why a pickle is refused; the file's name is put before it.
pub(super) type Reason = String;

/// What stands on the machine's stack.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value {
    None,
    Bool(bool),
    Int(i64),
    /// The number by which PyTorch's old format begins, which is wider than 64 bits.
    Magic,
    Text(Span),
    /// An index into the machine's `nodes`.
    Tuple(u32),
    /// The same.
    List(u32),
    /// The same: key, value, key, value, …
    Dict(u32),
    Global(Global),
    /// An index into `storages`.
    Storage(u32),
    /// An index into `views`.
    Tensor(u32),
    /// A value that no tensor depends on: a float, bytes, a device, NumPy's scalars.
    Inert,
}

/// Where a text stands in the pickle.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Span {
    from: u32,
    length: u32,
}

/// A text of the file for a message: neither long nor unprintable.
pub(super) fn shown(text: &str) -> String {
    const MOST: usize = 80;
    let mut shown: String = text.chars().take(MOST).map(|c| if c.is_control() { '?' } else { c }).collect();
    if text.chars().nth(MOST).is_some() {
        shown.push('…');
    }
    shown
}
