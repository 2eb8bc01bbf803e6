//! A GPU made of software: what stands in for the driver and cuBLASLt in tests.
//!
//! The library is opened under the names `libcuda.so` and `libcublasLt.so` (`scripts/soft-gpu` lays the links) by a program that knows nothing of it.
//! Kernels are the PTX that the program loads, run by `chainrule-ptx` with every access checked. Work is deferred until something waits for it, and
//! streams that nothing orders are interleaved by a seed. A test steers and reads the device through [`control`].
//!
//! Standing under those names it is one device of compute capability 8.0. It does not model time, caches or the memory order of real hardware.

mod blaslt;
mod call;
pub mod control;
pub mod counters;
mod device_memory;
mod driver;
mod event;
mod execute;
mod graph;
mod host;
mod machine;
mod module;
mod operation;
mod queue;
mod random;
mod status;
