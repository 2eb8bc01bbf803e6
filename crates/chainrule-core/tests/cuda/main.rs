//! Operations on the GPU against the same operations on the CPU.
//!
//! They run on whatever the CUDA driver offers: a GPU, or the one made of software (`scripts/soft-gpu cargo test -p chainrule-core --features cuda --test cuda`). Without a driver they say so and pass.

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
