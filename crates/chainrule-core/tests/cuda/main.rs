//! Operations on the GPU against the same operations on the CPU.
//!
//! They run on whatever the CUDA driver offers: a GPU, or the one made of software. Without a driver they say so and pass. The recommended way, in which every array has a block of exactly its size, so that each step beyond an end is seen:
//!
//! ```text
//! CHAINRULE_CUDA_EXACT=1 scripts/soft-gpu cargo test -p chainrule-core --features cuda --test cuda
//! ```
//!
//! and once more with `CHAINRULE_CUDA_BLOCKS=1`: then kernels walk on over arrays as small as these.

mod convolution;
mod copies;
mod elementwise;
mod index;
mod loss;
mod matmul;
mod norm;
mod pool;
mod random;
mod reduce;
mod softmax;
mod support;
