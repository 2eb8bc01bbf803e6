//! Decoded kernels.

/// A kernel's instructions with what they need.
#[derive(Debug, Default)]
pub(crate) struct Program {
    pub shared_bytes: usize,
    pub local_bytes: usize,
    pub max_threads: u32,
}
