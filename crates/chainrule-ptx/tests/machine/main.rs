//! The machine against Rust: instructions, faults, and kernels as the compiler writes them.
mod device;
mod kernels;
