//! The machine against Rust: instructions, faults, and kernels as the compiler writes them.
mod collectives;
mod device;
mod faults;
mod floats;
mod integers;
mod kernels;
mod operands;
mod parsing;
