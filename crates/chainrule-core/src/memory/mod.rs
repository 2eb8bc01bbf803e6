//! Array memory: aligned blocks that are recycled, counted and limited.
//!
//! Every place has a pool: the processor one, a GPU one, and a captured step one of its own.
//! A block comes from a free list of its size class, or of one somewhat larger; when its last array is gone it goes back whole, reference count included.
//! So a training step in steady state asks the system for nothing. Blocks are zeroed once, when the system gives them, and hold stale numbers afterwards: never uninitialised memory.

mod block;

pub(crate) use block::{Block, Shared};

use crate::error::{Error, Result};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};

/// Bytes are handed out in classes of 2^k · {1, 1¼, 1½, 1¾}, from 64 bytes on.
const CLASSES: usize = 4 * 42;
const SMALLEST: usize = 64;

/// How many classes above its own a free block is looked for, before the system is asked: up to twice the size.
/// Batches of several lengths then share their blocks, where otherwise each length would keep its own.
const REACH: usize = 4;

/// Where the blocks of a pool come from and go back to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Source {
    /// The processor's memory.
    System,
    /// The memory of the GPU of this number.
    #[cfg(feature = "cuda")]
    Cuda(usize),
}

/// Free blocks by class, and the figures of all blocks that came from here.
pub(crate) struct Pool {
    source: Source,
    free: [Mutex<Vec<Arc<Block>>>; CLASSES],
    live: AtomicUsize,
    peak: AtomicUsize,
    cached: AtomicUsize,
    system: AtomicUsize,
    limit: AtomicUsize,
    cache_limit: AtomicUsize,
    /// Whether recorded work knows its blocks by their addresses, so that none may be given back while it lives.
    #[cfg_attr(not(feature = "cuda"), allow(dead_code, reason = "only steps on a GPU are recorded"))]
    recorded: bool,
    /// Whether blocks are exactly as long as what was asked for and never used again, so that a checker of accesses sees the arrays' true ends.
    exact: AtomicBool,
}

static CPU: Pool = Pool::new(Source::System, 1 << 30);

/// What arrays asked for, in bytes of whole size classes. A block that is used again may be up to twice as large as what it is used for; the rest of it is in no figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// Asked for by arrays that are alive.
    pub live: usize,
    /// The most that was ever live, or since [`reset_peak`].
    pub peak: usize,
    /// Kept for reuse.
    pub cached: usize,
    /// How often the system, or the GPU's driver, was asked for a block.
    pub system_allocations: usize,
}

/// The present figures of the whole process, for arrays on the CPU; [`Device::memory`](crate::Device::memory) has those of a GPU.
pub fn statistics() -> Statistics {
    CPU.statistics()
}

/// Starts the peak anew from what is live.
pub fn reset_peak() {
    CPU.reset_peak();
}

/// The most bytes that arrays may ask for; beyond it operations return [`Error::Memory`]. `None`: no limit but the system's.
pub fn set_limit(bytes: Option<usize>) {
    CPU.set_limit(bytes);
}

/// The most bytes kept for reuse (1 GiB unless set).
pub fn set_cache_limit(bytes: usize) {
    CPU.cache_limit.store(bytes, Relaxed);
    if CPU.cached.load(Relaxed) > bytes {
        release_cached();
    }
}

/// Gives all kept blocks back to the system.
pub fn release_cached() {
    CPU.release_cached();
}

fn lock(class: &Mutex<Vec<Arc<Block>>>) -> MutexGuard<'_, Vec<Arc<Block>>> {
    // A list of blocks is whole at every moment, so one that a panicking thread held is good.
    class.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// The class that holds `bytes`, and its size.
fn class_of(bytes: usize) -> (usize, usize) {
    let bytes = bytes.max(SMALLEST);
    let power = usize::BITS - 1 - bytes.leading_zeros(); // 2^power <= bytes
    let quarter = 1usize << (power - 2);
    let steps = (bytes - (1 << power)).div_ceil(quarter);
    ((power as usize - 6) * 4 + steps, (1 << power) + steps * quarter)
}

/// The pool of the processor's memory.
pub(crate) fn cpu() -> &'static Pool {
    &CPU
}

/// A block of the CPU of at least `bytes`, 64-byte aligned, holding anything.
pub(crate) fn allocate(bytes: usize) -> Result<Shared> {
    CPU.allocate(bytes)
}

impl Pool {
    pub(crate) const fn new(source: Source, cache_limit: usize) -> Pool {
        Pool {
            source,
            free: [const { Mutex::new(Vec::new()) }; CLASSES],
            live: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
            cached: AtomicUsize::new(0),
            system: AtomicUsize::new(0),
            limit: AtomicUsize::new(usize::MAX),
            cache_limit: AtomicUsize::new(cache_limit),
            recorded: false,
            exact: AtomicBool::new(false),
        }
    }

    /// A pool of recorded work: its free blocks are used again, and given back only when the work is forgotten.
    #[cfg(feature = "cuda")]
    pub(crate) fn recorded(source: Source) -> Pool {
        let mut pool = Pool::new(source, usize::MAX);
        pool.recorded = true;
        pool
    }

    /// Gives back what is kept for reuse and may go.
    fn make_room(&self) {
        match self.source {
            #[cfg(feature = "cuda")]
            Source::Cuda(ordinal) if self.recorded => crate::cuda::release_cached(ordinal),
            _ => self.release_cached(),
        }
    }

    pub(crate) fn source(&self) -> Source {
        self.source
    }

    pub(crate) fn statistics(&self) -> Statistics {
        let Pool { live, peak, cached, system, .. } = self;
        Statistics { live: live.load(Relaxed), peak: peak.load(Relaxed), cached: cached.load(Relaxed), system_allocations: system.load(Relaxed) }
    }

    pub(crate) fn reset_peak(&self) {
        self.peak.store(self.live.load(Relaxed), Relaxed);
    }

    pub(crate) fn set_limit(&self, bytes: Option<usize>) {
        self.limit.store(bytes.unwrap_or(usize::MAX), Relaxed);
    }

    #[cfg(feature = "cuda")]
    pub(crate) fn set_exact(&self, exact: bool) {
        self.release_cached();
        self.exact.store(exact, Relaxed);
    }

    /// Gives all kept blocks back to where they came from.
    pub(crate) fn release_cached(&self) {
        for class in &self.free {
            let blocks = std::mem::take(&mut *lock(class));
            let bytes: usize = blocks.iter().map(|b| b.bytes()).sum();
            self.cached.fetch_sub(bytes, Relaxed);
        }
    }

    /// A block of at least `bytes`, holding anything.
    pub(crate) fn allocate(&'static self, bytes: usize) -> Result<Shared> {
        let exact = self.exact.load(Relaxed);
        let (class, size) = if exact { (0, bytes.max(1)) } else { class_of(bytes) };
        let refuse = |reason: &str| Error::Memory { requested: bytes, live: self.live.load(Relaxed), reason: reason.into() };
        if class >= CLASSES {
            return Err(refuse("no machine has that much"));
        }
        let live = self.live.fetch_add(size, Relaxed) + size;
        if live > self.limit.load(Relaxed) {
            self.live.fetch_sub(size, Relaxed);
            return Err(refuse(&format!("the limit is {} (memory::set_limit)", self.limit.load(Relaxed))));
        }
        if live > self.peak.load(Relaxed) {
            self.peak.fetch_max(live, Relaxed);
        }
        if !exact && let Some(block) = self.recycled(class, size) {
            return Ok(Shared::new(block));
        }
        self.system.fetch_add(1, Relaxed);
        let block = Block::new(self, size, class).or_else(|_| {
            self.make_room();
            Block::new(self, size, class)
        });
        match block {
            Ok(block) => Ok(Shared::new(Arc::new(block))),
            Err(reason) => {
                self.live.fetch_sub(size, Relaxed);
                Err(refuse(&reason))
            }
        }
    }

    /// A free block of the class, or of one up to `REACH` above.
    fn recycled(&self, class: usize, size: usize) -> Option<Arc<Block>> {
        let classes = &self.free[class..CLASSES.min(class + REACH + 1)];
        let mut block = classes.iter().find_map(|class| lock(class).pop())?;
        self.cached.fetch_sub(block.bytes(), Relaxed);
        // A free block has one handle.
        Arc::get_mut(&mut block)?.ask(size);
        Some(block)
    }

    /// Takes back a block whose last array is gone.
    fn recycle(&self, block: Arc<Block>) {
        let size = block.bytes();
        if self.exact.load(Relaxed) {
            return;
        }
        if self.cached.fetch_add(size, Relaxed) + size > self.cache_limit.load(Relaxed) {
            self.cached.fetch_sub(size, Relaxed);
            return;
        }
        lock(&self.free[block.class()]).push(block);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_hold_what_is_asked() {
        let mut last = 0;
        for bytes in (0..5000).chain([1 << 20, (1 << 20) + 1, 12_345_678]) {
            let (class, size) = class_of(bytes);
            assert!(size >= bytes && size <= bytes.max(64) * 5 / 4, "{bytes} -> {size}");
            assert!(class >= last);
            last = class;
        }
    }

    #[test]
    fn a_limit_is_an_error() {
        let error = allocate(usize::MAX / 4).err().unwrap();
        assert!(error.to_string().contains("memory"), "{error}");
    }
}
