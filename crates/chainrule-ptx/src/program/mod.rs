//! Decoded kernels: what the machine executes.
//!
//! All operands are registers: constants and special values such as `%tid.x` are registers that are filled before a warp starts. The
//! instructions of a kernel and of all functions that it calls stand in one row; jumps are indices into it.
mod access;
mod arithmetic;
mod operation;
mod together;

pub(crate) use access::*;
pub(crate) use arithmetic::*;
pub(crate) use operation::Operation;
pub(crate) use together::*;

use crate::types::Bank;

/// An index into the bank that the operation's type names.
pub(crate) type Register = u32;

/// A register together with its bank, where the type does not say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Slot {
    pub bank: Bank,
    pub index: Register,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Guard {
    pub predicate: Register,
    pub negated: bool,
}

#[derive(Debug)]
pub(crate) struct Instruction {
    pub line: u32,
    pub guard: Option<Guard>,
    pub operation: Operation,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Special {
    Thread(usize),
    BlockExtent(usize),
    Block(usize),
    GridExtent(usize),
    Lane,
    Warp,
    WarpCount,
    LaneMaskEqual,
    LaneMaskLess,
    LaneMaskLessEqual,
    LaneMaskGreater,
    LaneMaskGreaterEqual,
    DynamicShared,
    TotalShared,
    /// `%smid`, `%gridid` and others that are zero here.
    Zero,
    One,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Constant {
    Word(u32),
    Double(u64),
    /// The address of a module variable plus an offset.
    Variable(usize, u64),
}

/// A kernel's instructions with what they need.
#[derive(Debug, Default)]
pub(crate) struct Program {
    pub instructions: Vec<Instruction>,
    pub words: usize,
    pub doubles: usize,
    pub predicates: usize,
    pub constants: Vec<(Slot, Constant)>,
    pub specials: Vec<(Register, Special)>,
    /// The registers of every function, by number.
    pub function_registers: Vec<Vec<Slot>>,
    /// The module whose variables the constants name.
    pub module: u64,
    pub shared_bytes: usize,
    pub local_bytes: usize,
    pub max_threads: u32,
    /// Logarithm of the narrowest access to shared and to global memory: the granule of the race checks.
    pub shared_granule: u32,
    pub global_granule: u32,
    /// The text of the lines that the instructions stand on.
    pub lines: Vec<(u32, String)>,
}

/// Where lanes wait for each other when a branch has no common successor.
pub(crate) const NO_JOIN: usize = usize::MAX;
