//! What a thread's work on a GPU goes to while it warms up or captures a step: memory of the step's own, and a stream that records.

use crate::memory::Pool;
use cudarc::driver::sys;
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// In place of the GPU's own pool and stream.
#[derive(Clone, Copy)]
pub(crate) struct Lane {
    pub(crate) ordinal: usize,
    pub(crate) pool: &'static Pool,
    /// The stream that records, while a step is captured.
    pub(crate) recording: Option<sys::CUstream>,
    /// Where the key of the step's random streams will stand in the GPU's memory at every replay.
    pub(crate) key: Option<u64>,
}

thread_local! {
    static LANE: Cell<Option<Lane>> = const { Cell::new(None) };
}

/// Blocks that pools of captured steps asked of the driver, by GPU.
static ALLOCATIONS: [AtomicU64; super::gpu::MOST] = [const { AtomicU64::new(0) }; super::gpu::MOST];

/// Runs `f` on this lane; the thread returns to its own whatever happens.
pub(crate) fn on<T>(lane: Lane, f: impl FnOnce() -> T) -> T {
    struct Back(Option<Lane>, &'static Pool, usize, usize);
    impl Drop for Back {
        fn drop(&mut self) {
            LANE.set(self.0);
            let asked = self.1.statistics().system_allocations - self.3;
            ALLOCATIONS[self.2].fetch_add(asked as u64, Relaxed);
        }
    }
    let before = lane.pool.statistics().system_allocations;
    let _back = Back(LANE.replace(Some(lane)), lane.pool, lane.ordinal, before);
    f()
}

fn here(ordinal: usize) -> Option<Lane> {
    LANE.get().filter(|lane| lane.ordinal == ordinal)
}

pub(super) fn pool(ordinal: usize) -> Option<&'static Pool> {
    here(ordinal).map(|lane| lane.pool)
}

pub(super) fn stream(ordinal: usize) -> Option<sys::CUstream> {
    here(ordinal).and_then(|lane| lane.recording)
}

/// Where a captured step's random key stands, while one is captured: kernels read it there, and the number of the stream alone from their arguments.
pub(crate) fn key(ordinal: usize) -> Option<u64> {
    here(ordinal).and_then(|lane| lane.key)
}

pub(super) fn allocations(ordinal: usize) -> u64 {
    ALLOCATIONS[ordinal].load(Relaxed)
}
