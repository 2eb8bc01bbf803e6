//! What can stand in a stream's queue or be a node of a graph.
use crate::blaslt::Matmul;
use chainrule_ptx::Kernel;
use std::fmt;
use std::sync::Arc;

/// A kernel with all that its launch gave it.
pub struct KernelLaunch {
    pub kernel: Arc<Kernel>,
    pub grid: [u32; 3],
    pub block: [u32; 3],
    pub dynamic_shared: u32,
    /// Shared memory that the function was granted.
    pub shared_limit: u32,
    pub parameters: Vec<u8>,
}

/// Where a copy to the device reads.
#[derive(Clone)]
pub enum HostSource {
    /// Bytes taken when the copy was asked for, as the driver stages pageable memory.
    Snapshot(Arc<[u8]>),
    /// Pinned memory, read when the copy is run.
    Pinned { address: usize, bytes: usize },
}

/// Where a copy from the device writes.
#[derive(Clone, Copy)]
pub enum HostTarget {
    /// Pinned memory, written when the copy is run.
    Pinned(usize),
    /// Pageable memory; the call that queued the copy waits for it.
    Waiting(usize),
}

/// Work for the device.
#[derive(Clone)]
pub enum Operation {
    Launch(Arc<KernelLaunch>),
    CopyIn {
        to: u64,
        source: HostSource,
    },
    CopyOut {
        to: HostTarget,
        from: u64,
        bytes: usize,
    },
    CopyInside {
        to: u64,
        from: u64,
        bytes: usize,
    },
    /// `count` elements of `width` bytes.
    Fill {
        address: u64,
        value: u32,
        width: usize,
        count: usize,
    },
    Free(u64),
    /// Marks a range as uninitialised again.
    Retire {
        address: u64,
        bytes: usize,
    },
    Matmul(Arc<Matmul>),
    /// An event's record; the ticket tells one record of it from the next.
    Record {
        event: u64,
        ticket: u64,
    },
    /// Holds its stream until the record of this ticket has been run.
    Wait {
        ticket: u64,
    },
}

impl fmt::Display for Operation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Operation::Launch(launch) => {
                write!(out, "kernel {} grid {:?} block {:?} shared {}", launch.kernel.name(), launch.grid, launch.block, launch.dynamic_shared)
            }
            Operation::CopyIn { to, source: HostSource::Snapshot(bytes) } => write!(out, "copy of {} bytes from the host to {to:#x}", bytes.len()),
            Operation::CopyIn { to, source: HostSource::Pinned { address, bytes } } => {
                write!(out, "copy of {bytes} bytes from pinned {address:#x} to {to:#x}")
            }
            Operation::CopyOut { to: HostTarget::Pinned(to), from, bytes } => write!(out, "copy of {bytes} bytes from {from:#x} to pinned {to:#x}"),
            Operation::CopyOut { from, bytes, .. } => write!(out, "copy of {bytes} bytes from {from:#x} to the host"),
            Operation::CopyInside { to, from, bytes } => write!(out, "copy of {bytes} bytes from {from:#x} to {to:#x}"),
            Operation::Fill { address, value, width, count } => write!(out, "fill of {count} times {width} bytes with {value:#x} at {address:#x}"),
            Operation::Free(address) => write!(out, "free of {address:#x}"),
            Operation::Retire { address, bytes } => write!(out, "retirement of {bytes} bytes at {address:#x}"),
            Operation::Matmul(matmul) => write!(out, "{matmul}"),
            Operation::Record { event, ticket } => write!(out, "record {ticket} of event {event:#x}"),
            Operation::Wait { ticket } => write!(out, "wait for record {ticket}"),
        }
    }
}
