//! Words of the program's memory that the GPU keeps up to date by itself.

use super::Gpu;
use super::driver::During;
use crate::error::Result;
use cudarc::driver::result;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Pinned words into which a stream copies; they can be read at any time, and may be some steps old.
pub(crate) struct Mirror {
    gpu: &'static Gpu,
    start: *mut u64,
    words: usize,
}

// SAFETY: pinned memory belongs to no thread, and is read as atomic words.
unsafe impl Send for Mirror {}
// SAFETY: as above.
unsafe impl Sync for Mirror {}

impl Mirror {
    /// Zeros.
    pub(crate) fn new(gpu: &'static Gpu, words: usize) -> Result<Mirror> {
        gpu.enter()?;
        let words = words.max(1);
        let start = match gpu.spare_mirror(words) {
            Some(address) => std::ptr::with_exposed_provenance_mut::<u64>(address),
            // SAFETY: plain allocation, of at least a word.
            None => unsafe { result::malloc_host(words * 8, 0) }.during("step")?.cast::<u64>(),
        };
        for i in 0..words {
            // SAFETY: inside the memory, which is aligned to a page.
            unsafe { AtomicU64::from_ptr(start.add(i)) }.store(0, Relaxed);
        }
        Ok(Mirror { gpu, start, words })
    }

    /// Lets the stream copy what stands at the address when it comes to this point; a captured step does so at each replay.
    pub(crate) fn follow(&self, from: u64) -> Result<()> {
        self.gpu.enter()?;
        // SAFETY: the memory is that long and never freed (see `drop`); the program looks at it as atomic words alone.
        unsafe {
            let words = std::slice::from_raw_parts_mut(self.start, self.words);
            result::memcpy_dtoh_async(words, from, self.gpu.stream()).during("step")
        }
    }

    /// The words as they are now.
    pub(crate) fn read(&self) -> Vec<u64> {
        // SAFETY: inside the memory, which is aligned to a page.
        (0..self.words).map(|i| unsafe { AtomicU64::from_ptr(self.start.add(i)) }.load(Relaxed)).collect()
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        // A copy may still be on its way, and a graph may send more.
        self.gpu.return_mirror(self.start.expose_provenance(), self.words);
    }
}
