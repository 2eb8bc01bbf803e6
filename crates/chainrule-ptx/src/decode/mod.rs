//! From statements to programs: names become registers, opcodes become operations.
mod arithmetic;
mod collective;
mod control;
mod convert;
mod data;
mod float;
mod flow;
mod link;
mod modifiers;
mod names;
mod variables;

pub(crate) use link::module;

/// Why a statement cannot be decoded; the line is added by the caller.
type Result<T> = std::result::Result<T, String>;
