//! What instructions do to memory.
use super::{Register, Slot};
use crate::types::Type;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Space {
    Generic,
    Global,
    Shared,
    Local,
    Parameter,
}

/// An address of 32 lanes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub space: Space,
    pub base: Slot,
    pub offset: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AtomicKind {
    Add,
    Minimum,
    Maximum,
    And,
    Or,
    Xor,
    Exchange,
    CompareAndSwap,
    Increment,
    Decrement,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Atomic {
    pub kind: AtomicKind,
    pub ty: Type,
    pub place: Place,
    pub to: Option<Register>,
    pub b: Register,
    pub c: Option<Register>,
}
