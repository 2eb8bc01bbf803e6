//! What the driver counts: calls, bytes, and time by kernel.
use std::collections::BTreeMap;
use std::time::Duration;

macro_rules! counters {
    ($($(#[$text:meta])* $name:ident,)*) => {
        /// Numbers of things done since the start or the last reset.
        #[repr(C)]
        #[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
        pub struct Counters {
            $($(#[$text])* pub $name: u64,)*
        }

        impl Counters {
            /// What was added since an earlier reading.
            pub fn since(&self, earlier: &Counters) -> Counters {
                Counters { $($name: self.$name.wrapping_sub(earlier.$name),)* }
            }
        }
    };
}

counters! {
    /// Kernels launched one by one, outside graphs and captures.
    kernel_launches,
    /// Calls of `cuGraphLaunch`.
    graph_launches,
    /// Kernels run as nodes of graphs.
    graph_kernels,
    /// `cuStreamSynchronize`.
    stream_synchronisations,
    /// `cuEventSynchronize`.
    event_synchronisations,
    /// `cuCtxSynchronize`.
    context_synchronisations,
    /// Waits inside another call: a synchronous copy, a copy to pageable memory, a free of memory that is not ordered by a stream.
    implicit_synchronisations,
    /// Device allocations that were given.
    allocations,
    /// Device allocations that were refused.
    refused_allocations,
    /// Bytes of the device allocations that were given.
    allocated_bytes,
    /// Device allocations given back.
    frees,
    /// Allocations of pinned host memory.
    host_allocations,
    /// Copies from host to device that were run.
    copies_in,
    /// Their bytes.
    copied_in_bytes,
    /// Copies from device to host that were run.
    copies_out,
    /// Their bytes.
    copied_out_bytes,
    /// Copies within the device that were run.
    copies_inside,
    /// Their bytes.
    copied_inside_bytes,
    /// Fills that were run.
    fills,
    /// Products of cuBLASLt that were run.
    matmuls,
    /// Instructions of single threads that kernels ran.
    thread_instructions,
    /// Bytes that kernels read from global memory.
    global_bytes_read,
    /// Bytes that kernels wrote to global memory.
    global_bytes_written,
    /// Faults found.
    faults,
}

impl Counters {
    /// Waits of all explicit kinds.
    pub fn synchronisations(&self) -> u64 {
        self.stream_synchronisations + self.event_synchronisations + self.context_synchronisations
    }
}

/// What one kernel came to.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct KernelCount {
    /// Times it ran.
    pub runs: u64,
    /// Instructions of single threads.
    pub instructions: u64,
    /// Bytes that it read from global memory.
    pub bytes_read: u64,
    /// Bytes that it wrote to global memory.
    pub bytes_written: u64,
    /// Time on the wall in the interpreter.
    pub time: Duration,
}

/// Counts by kernel's name; the product of cuBLASLt stands under `cublasLtMatmul`.
pub type KernelCounts = BTreeMap<String, KernelCount>;
