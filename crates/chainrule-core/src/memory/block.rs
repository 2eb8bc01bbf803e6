//! One block of aligned memory, and the counted handle that arrays share.

use super::{LIVE, recycle};
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// The alignment of every block: a cache line, and the widest register.
const ALIGNMENT: usize = 64;

/// Aligned memory of one size class.
pub(crate) struct Block {
    start: NonNull<u8>,
    bytes: usize,
    class: usize,
}

// SAFETY: a block is plain memory with one owner; who may write is settled by `Shared::is_unique` and `&mut`.
unsafe impl Send for Block {}
// SAFETY: as above.
unsafe impl Sync for Block {}

impl Block {
    pub(super) fn from_system(bytes: usize, class: usize) -> Option<Block> {
        let layout = Layout::from_size_align(bytes, ALIGNMENT).ok()?;
        // SAFETY: the size is at least 64 bytes. Zeroed once, so that a block never holds uninitialised memory.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        Some(Block { start, bytes, class })
    }
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
    pub(super) fn class(&self) -> usize {
        self.class
    }
    #[inline]
    pub(crate) fn start(&self) -> *mut u8 {
        self.start.as_ptr()
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: allocated in `from_system` with this very layout.
        unsafe { dealloc(self.start.as_ptr(), Layout::from_size_align_unchecked(self.bytes, ALIGNMENT)) }
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
        if last {
            LIVE.fetch_sub(block.bytes(), Relaxed);
            recycle(block);
        } else if let Some(block) = Arc::into_inner(block) {
            // Another thread let go between the two looks.
            LIVE.fetch_sub(block.bytes(), Relaxed);
        }
    }
}
