//! Array memory: aligned blocks that are recycled, counted and limited.
//!
//! A block comes from a free list of its size class, or of one somewhat larger; when its last array is gone it goes back whole, reference count included.
//! So a training step in steady state asks the system for nothing. Blocks are zeroed once, when the system gives them, and hold stale numbers afterwards: never uninitialised memory.

mod block;

pub(crate) use block::{Block, Shared};

use crate::error::{Error, Result};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};

/// Bytes are handed out in classes of 2^k · {1, 1¼, 1½, 1¾}, from 64 bytes on.
const CLASSES: usize = 4 * 42;
const SMALLEST: usize = 64;

/// How many classes above its own a free block is looked for, before the system is asked: up to twice the size.
/// Batches of several lengths then share their blocks, where otherwise each length would keep its own.
const REACH: usize = 4;

static FREE: [Mutex<Vec<Arc<Block>>>; CLASSES] = [const { Mutex::new(Vec::new()) }; CLASSES];
static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
static CACHED: AtomicUsize = AtomicUsize::new(0);
static SYSTEM: AtomicUsize = AtomicUsize::new(0);
static LIMIT: AtomicUsize = AtomicUsize::new(usize::MAX);
static CACHE_LIMIT: AtomicUsize = AtomicUsize::new(1 << 30);

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
    /// How often the system was asked for a block.
    pub system_allocations: usize,
}

/// The present figures of the whole process.
pub fn statistics() -> Statistics {
    Statistics { live: LIVE.load(Relaxed), peak: PEAK.load(Relaxed), cached: CACHED.load(Relaxed), system_allocations: SYSTEM.load(Relaxed) }
}

/// Starts the peak anew from what is live.
pub fn reset_peak() {
    PEAK.store(LIVE.load(Relaxed), Relaxed);
}

/// The most bytes that arrays may ask for; beyond it operations return [`Error::Memory`]. `None`: no limit but the system's.
pub fn set_limit(bytes: Option<usize>) {
    LIMIT.store(bytes.unwrap_or(usize::MAX), Relaxed);
}

/// The most bytes kept for reuse (1 GiB unless set).
pub fn set_cache_limit(bytes: usize) {
    CACHE_LIMIT.store(bytes, Relaxed);
    if CACHED.load(Relaxed) > bytes {
        release_cached();
    }
}

/// Gives all kept blocks back to the system.
pub fn release_cached() {
    for class in &FREE {
        let blocks = std::mem::take(&mut *lock(class));
        let bytes: usize = blocks.iter().map(|b| b.bytes()).sum();
        CACHED.fetch_sub(bytes, Relaxed);
    }
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

/// A block of at least `bytes`, 64-byte aligned, holding anything.
pub(crate) fn allocate(bytes: usize) -> Result<Shared> {
    let (class, size) = class_of(bytes);
    let refuse = |reason: &str| Error::Memory { requested: bytes, live: LIVE.load(Relaxed), reason: reason.into() };
    if class >= CLASSES {
        return Err(refuse("no machine has that much"));
    }
    let live = LIVE.fetch_add(size, Relaxed) + size;
    if live > LIMIT.load(Relaxed) {
        LIVE.fetch_sub(size, Relaxed);
        return Err(refuse(&format!("the limit is {} (memory::set_limit)", LIMIT.load(Relaxed))));
    }
    if live > PEAK.load(Relaxed) {
        PEAK.fetch_max(live, Relaxed);
    }
    if let Some(block) = recycled(class, size) {
        return Ok(Shared::new(block));
    }
    SYSTEM.fetch_add(1, Relaxed);
    let block = Block::from_system(size, class).or_else(|| {
        release_cached();
        Block::from_system(size, class)
    });
    match block {
        Some(block) => Ok(Shared::new(Arc::new(block))),
        None => {
            LIVE.fetch_sub(size, Relaxed);
            Err(refuse("the system has no more; use smaller batches, or checkpointing"))
        }
    }
}

/// A free block of the class, or of one up to `REACH` above.
fn recycled(class: usize, size: usize) -> Option<Arc<Block>> {
    let classes = &FREE[class..CLASSES.min(class + REACH + 1)];
    let mut block = classes.iter().find_map(|class| lock(class).pop())?;
    CACHED.fetch_sub(block.bytes(), Relaxed);
    // A free block has one handle.
    Arc::get_mut(&mut block)?.ask(size);
    Some(block)
}

/// Takes back a block whose last array is gone.
fn recycle(block: Arc<Block>) {
    let size = block.bytes();
    if CACHED.fetch_add(size, Relaxed) + size > CACHE_LIMIT.load(Relaxed) {
        CACHED.fetch_sub(size, Relaxed);
        return;
    }
    lock(&FREE[block.class()]).push(block);
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
