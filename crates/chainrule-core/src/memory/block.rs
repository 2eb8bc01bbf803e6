//! One block of aligned memory, and the counted handle that arrays share.

use super::{Pool, Source};
use std::alloc::{Layout, alloc, dealloc};
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// The alignment of every block: a cache line, and the widest register.
const ALIGNMENT: usize = 64;

/// A huge page of the common systems, and the size from which blocks begin on one and ask for them: walks through large arrays are then not held up by the translation of addresses.
const HUGE_PAGE: usize = 2 << 20;
const LARGE: usize = 2 * HUGE_PAGE;

fn alignment(bytes: usize) -> usize {
    if bytes >= LARGE { HUGE_PAGE } else { ALIGNMENT }
}

/// Asks the system to back a block by huge pages where it can; nothing is lost if it cannot.
fn advise_huge_pages(start: NonNull<u8>, bytes: usize) {
    #[cfg(target_os = "linux")]
    {
        const MADV_HUGEPAGE: i32 = 14;
        unsafe extern "C" {
            fn madvise(start: *mut u8, length: usize, advice: i32) -> i32;
        }
        // SAFETY: the range is that of a live block, which begins on a page; advice changes no contents.
        unsafe { madvise(start.as_ptr(), bytes / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE) };
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (start, bytes);
}

/// Aligned memory of one size class.
pub(crate) struct Block {
    /// An address of the pool's source: only the processor's may be followed here.
    start: NonNull<u8>,
    bytes: usize,
    class: usize,
    /// What its arrays asked for, in whole classes, which may be less than it has.
    asked: usize,
    pool: &'static Pool,
}

// SAFETY: a block is plain memory with one owner; who may write is settled by `Shared::is_unique` and `&mut`.
unsafe impl Send for Block {}
// SAFETY: as above.
unsafe impl Sync for Block {}

impl Block {
    /// A block from the pool's source, or why there is none.
    pub(super) fn new(pool: &'static Pool, bytes: usize, class: usize) -> Result<Block, String> {
        let start = match pool.source() {
            Source::System => from_system(bytes).ok_or("the system has no more; use smaller batches, or checkpointing")?,
            #[cfg(feature = "cuda")]
            Source::Cuda(ordinal) => crate::cuda::memory_of(ordinal, bytes)?,
        };
        Ok(Block { start, bytes, class, asked: bytes, pool })
    }
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
    pub(super) fn class(&self) -> usize {
        self.class
    }
    pub(super) fn ask(&mut self, bytes: usize) {
        self.asked = bytes;
    }
    #[inline]
    pub(crate) fn start(&self) -> *mut u8 {
        self.start.as_ptr()
    }
}

/// Zeroed memory of the processor.
fn from_system(bytes: usize) -> Option<NonNull<u8>> {
    let layout = Layout::from_size_align(bytes, alignment(bytes)).ok()?;
    // SAFETY: the size is at least 64 bytes.
    let start = NonNull::new(unsafe { alloc(layout) })?;
    if bytes >= LARGE {
        advise_huge_pages(start, bytes);
    }
    // SAFETY: the block is that long. Zeroed once, so that it never holds uninitialised memory.
    unsafe { start.write_bytes(0, bytes) };
    Some(start)
}

impl Drop for Block {
    fn drop(&mut self) {
        match self.pool.source() {
            // SAFETY: allocated in `from_system` with this very layout.
            Source::System => unsafe { dealloc(self.start.as_ptr(), Layout::from_size_align_unchecked(self.bytes, alignment(self.bytes))) },
            #[cfg(feature = "cuda")]
            Source::Cuda(ordinal) => crate::cuda::give_back(ordinal, self.start),
        }
    }
}

/// A counted handle on a block; the last one to go returns the block to its free list.
pub(crate) struct Shared(ManuallyDrop<Arc<Block>>);

impl Shared {
    pub(super) fn new(block: Arc<Block>) -> Shared {
        Shared(ManuallyDrop::new(block))
    }
    #[inline]
    pub(crate) fn start(&self) -> *mut u8 {
        self.0.start()
    }
    /// Where the block stands.
    #[inline]
    pub(crate) fn source(&self) -> Source {
        self.0.pool.source()
    }
    /// Whether this is the only handle, so that the memory may be written through `&mut`.
    #[inline]
    pub(crate) fn is_unique(&mut self) -> bool {
        Arc::get_mut(&mut self.0).is_some()
    }
    #[inline]
    pub(crate) fn is_same(&self, other: &Shared) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Clone for Shared {
    #[inline]
    fn clone(&self) -> Shared {
        Shared(self.0.clone())
    }
}

impl Drop for Shared {
    #[inline]
    fn drop(&mut self) {
        let last = self.is_unique();
        // SAFETY: `self` is not used again.
        let block = unsafe { ManuallyDrop::take(&mut self.0) };
        let pool = block.pool;
        if last {
            pool.live.fetch_sub(block.asked, Relaxed);
            pool.recycle(block);
        } else if let Some(block) = Arc::into_inner(block) {
            // Another thread let go between the two looks.
            pool.live.fetch_sub(block.asked, Relaxed);
        }
    }
}
