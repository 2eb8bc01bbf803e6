//! A launch: a grid of blocks over a kernel.
use crate::fault::Fault;
use crate::memory::Memory;
use crate::module::Kernel;

/// What to run, and in which order.
#[derive(Clone, Copy, Debug)]
pub struct Launch<'a> {
    /// The kernel.
    pub kernel: &'a Kernel,
    /// Blocks in x, y and z.
    pub grid: [u32; 3],
    /// Threads of a block in x, y and z.
    pub block: [u32; 3],
    /// Bytes of `extern .shared` memory.
    pub dynamic_shared: u32,
    /// The most shared memory that a block may have: 48 KiB unless the caller opted in to more (at most 227 KiB).
    pub shared_limit: u32,
    /// The parameters, laid out as [`Kernel::parameters`] says.
    pub parameters: &'a [u8],
    /// 0 is the plain order; other values shuffle blocks, warps and the sides of branches.
    pub seed: u64,
    /// Instructions (summed over threads) after which the launch counts as endless.
    pub instruction_bound: u64,
}

impl<'a> Launch<'a> {
    /// A launch without dynamic shared memory, in plain order.
    pub fn new(kernel: &'a Kernel, grid: [u32; 3], block: [u32; 3], parameters: &'a [u8]) -> Launch<'a> {
        Launch { kernel, grid, block, dynamic_shared: 0, shared_limit: 48 << 10, parameters, seed: 0, instruction_bound: 200_000_000_000 }
    }
}

/// What a launch did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Instructions, summed over threads.
    pub instructions: u64,
    /// Bytes read from global memory, summed over threads.
    pub global_bytes_read: u64,
    /// Bytes written to global memory, summed over threads.
    pub global_bytes_written: u64,
    /// Barriers that blocks completed.
    pub barriers: u64,
}

/// Runs a kernel to its end.
pub fn run(launch: &Launch, memory: &mut Memory) -> Result<Statistics, Fault> {
    crate::schedule::run(launch, memory)
}
