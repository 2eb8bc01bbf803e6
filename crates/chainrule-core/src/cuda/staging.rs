//! Pinned memory through which numbers go to the GPU without waiting.

use super::driver::During;
use crate::error::Result;
use cudarc::driver::{result, sys};
use std::collections::VecDeque;
use std::ffi::c_void;

/// Buffers on their way, oldest first. A buffer is used again when the copy out of it has happened.
#[derive(Default)]
pub(super) struct Staging {
    buffers: VecDeque<Buffer>,
}

/// Copies that are larger go straight from where they are; the driver then waits.
pub(super) const LARGEST: usize = 4 << 20;

/// Buffers that are kept.
const KEPT: usize = 32;

struct Buffer {
    start: *mut c_void,
    bytes: usize,
    /// Recorded behind the latest copy out of it.
    copied: sys::CUevent,
}

// SAFETY: pinned memory and events belong to no thread.
unsafe impl Send for Buffer {}

impl Staging {
    /// Copies `data` to the address on the GPU when the stream comes to it; `data` may change at once.
    pub(super) fn upload(&mut self, data: &[u8], to: u64, stream: sys::CUstream) -> Result<()> {
        const OP: &str = "to";
        let buffer = self.free(data.len())?;
        // SAFETY: the buffer is at least that long, and no copy reads it any more.
        let sent = unsafe {
            std::ptr::copy_nonoverlapping(data.as_ptr(), buffer.start.cast::<u8>(), data.len());
            let source = std::slice::from_raw_parts(buffer.start.cast::<u8>(), data.len());
            result::memcpy_htod_async(to, source, stream).and_then(|()| result::event::record(buffer.copied, stream)).during(OP)
        };
        self.buffers.push_back(buffer);
        sent
    }

    /// A buffer that nothing reads: the oldest if its copy has happened, else a new one, or the oldest after a wait.
    fn free(&mut self, bytes: usize) -> Result<Buffer> {
        const OP: &str = "to";
        // SAFETY: events of buffers live as long as they.
        let done = |buffer: &Buffer| unsafe { result::event::query(buffer.copied) }.is_ok();
        if let Some(at) = self.buffers.iter().position(|buffer| buffer.bytes >= bytes && buffer.bytes <= 4 * bytes.max(1024) && done(buffer)) {
            return self.buffers.remove(at).ok_or_else(|| crate::error::Error::device(OP, "a staging buffer vanished"));
        }
        if self.buffers.len() >= KEPT
            && let Some(oldest) = self.buffers.pop_front()
        {
            // SAFETY: the event lives as long as the buffer, of which this is the only holder; freed after its last copy.
            unsafe {
                result::event::synchronize(oldest.copied).during(OP)?;
                result::event::destroy(oldest.copied).during(OP)?;
                result::free_host(oldest.start).during(OP)?;
            }
        }
        let bytes = bytes.next_power_of_two().max(1024);
        let copied = result::event::create(sys::CUevent_flags::CU_EVENT_DISABLE_TIMING).during(OP)?;
        // SAFETY: plain allocation.
        let start = unsafe { result::malloc_host(bytes, 0) }.during(OP)?;
        Ok(Buffer { start, bytes, copied })
    }
}
