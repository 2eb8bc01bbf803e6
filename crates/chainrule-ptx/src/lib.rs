//! PTX, read and run on the processor with every access checked.
//!
//! [`parse`] decodes a PTX text once; [`run`] executes a kernel of it over a [`Memory`], warp by warp with 32 lanes at a time, and stops at
//! the first mistake: a [`Fault`] names the kind, the kernel, the line, the block, the thread and the address.
#![forbid(unsafe_code)]

mod block;
mod decode;
mod execute;
mod fault;
mod launch;
mod memory;
mod module;
mod parse;
mod program;
mod random;
mod registers;
mod schedule;
mod shared;
mod types;
mod warp;

pub use fault::{Fault, FaultKind, ParseError};
pub use launch::{Launch, Statistics, run};
pub use memory::Memory;
pub use module::{Kernel, Module, Parameter, parse};
