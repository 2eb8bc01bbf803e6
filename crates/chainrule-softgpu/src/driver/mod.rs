//! The driver's entry points. They follow the signatures of `cuda.h`: handles are opaque numbers here, and only pointers for results, names, images
//! and host memory are followed.
//!
//! # Safety
//! Every function may be called with what its counterpart of the driver may be called with.
#![allow(clippy::missing_safety_doc, non_snake_case, reason = "names and contracts are the driver's own")]

mod context;
mod copies;
mod device;
mod events;
mod functions;
mod graphs;
mod launches;
mod memory;
mod modules;
mod pools;
mod streams;
