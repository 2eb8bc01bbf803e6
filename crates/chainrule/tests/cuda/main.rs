//! Training on the GPU: the CPU's losses, one launch a step, and what happens when memory is short.
//!
//! These tests run on whatever the CUDA driver offers: a GPU, or the one made of software (`scripts/soft-gpu cargo test -p chainrule --features cuda --test cuda`). Without a driver they say so and pass.

mod captured;
mod costs;
mod devices;
mod laws;
mod memory;
mod support;
mod training;
