//! The GPU: found at run time, its memory, its kernels.
//!
//! Nothing of CUDA is needed to build. The driver's library is looked for when the first [`Device::cuda`](crate::Device::cuda) is asked for, cuBLASLt's when the first matrix product is; what is missing is named in the error.
//! Kernels stand as `.cu` files beside the operations that launch them, compiled ahead to PTX, which the driver compiles for the GPU at hand when a kernel is first used.
//!
//! All work of a GPU goes to one stream, in order; so memory is used again as soon as its array is gone, and a result that is asked for waits for what comes before. A step that is being captured ([`capture`]) has a stream and memory of its own, and other threads do not notice.

pub(crate) mod blas;
mod capture;
mod driver;
mod gpu;
mod kernel;
pub(crate) mod lane;
mod mirror;
mod staging;
mod transfer;

pub use blas::{allow_tf32, set_own_products};
pub use capture::{Graph, capture};
pub use gpu::{Counters, Gpu};
pub(crate) use kernel::{Argument, Grid, Source};
pub(crate) use mirror::Mirror;

use std::ptr::NonNull;

/// Memory of a GPU, or why there is none.
pub(crate) fn memory_of(ordinal: usize, bytes: usize) -> Result<NonNull<u8>, String> {
    Gpu::get(ordinal).map_err(|e| e.to_string())?.reserve(bytes)
}

/// Gives back what a GPU's arrays outside recorded steps keep for reuse.
pub(crate) fn release_cached(ordinal: usize) {
    if let Ok(gpu) = Gpu::get(ordinal) {
        gpu.shared_pool().release_cached();
    }
}

/// Gives memory of a GPU back to the driver.
pub(crate) fn give_back(ordinal: usize, start: NonNull<u8>) {
    if let Ok(gpu) = Gpu::get(ordinal) {
        gpu.give_back(start);
    }
}
