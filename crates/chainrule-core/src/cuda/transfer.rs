//! Bytes to, from and on the GPU.

use super::Gpu;
use super::driver::During;
use super::staging::LARGEST;
use crate::error::Result;
use cudarc::driver::{result, sys};

/// The number that messages of launches know copies and fills by.
const COPY: usize = usize::MAX;

impl Gpu {
    /// Copies `data` to the address, behind all that was asked before; `data` may change at once.
    pub(crate) fn upload(&self, data: &[u8], to: u64) -> Result<()> {
        if data.is_empty() {
            return Ok(());
        }
        self.enter()?;
        self.count_upload();
        if data.len() <= LARGEST {
            return self.staging().upload(data, to, self.main_stream());
        }
        // SAFETY: `data` is alive until the wait is over.
        unsafe { result::memcpy_htod_async(to, data, self.main_stream()) }.during("to")?;
        self.drain()
    }

    /// Waits for all that was asked before, and copies what stands at the address.
    pub(crate) fn download(&self, from: u64, data: &mut [u8]) -> Result<()> {
        if data.is_empty() {
            return Ok(());
        }
        // A failure of a kernel comes to light here, with its message.
        self.synchronize()?;
        self.count_download();
        // SAFETY: `data` is borrowed until the wait is over.
        unsafe { result::memcpy_dtoh_async(data, from, self.main_stream()) }.during("to")?;
        // SAFETY: the stream lives as long as the process.
        unsafe { result::stream::synchronize(self.main_stream()) }.during("to")
    }

    /// Copies `bytes` on the GPU; the ranges do not overlap.
    pub(crate) fn copy(&self, from: u64, to: u64, bytes: usize) -> Result<()> {
        if bytes == 0 {
            return Ok(());
        }
        self.enter()?;
        // SAFETY: memory of the GPU alone is touched.
        unsafe { result::memcpy_dtod_async(to, from, bytes, self.stream()) }.during("copy")?;
        self.launched("copy", COPY)
    }

    /// Writes zeros.
    pub(crate) fn clear(&self, to: u64, bytes: usize) -> Result<()> {
        if bytes == 0 {
            return Ok(());
        }
        self.enter()?;
        // SAFETY: memory of the GPU alone is touched.
        unsafe { result::memset_d8_async(to, 0, bytes, self.stream()) }.during("zeros")?;
        self.launched("zeros", COPY)
    }

    /// Writes `count` words of 32 bits.
    pub(crate) fn fill_words(&self, to: u64, word: u32, count: usize) -> Result<()> {
        if count == 0 {
            return Ok(());
        }
        self.enter()?;
        // SAFETY: memory of the GPU alone is touched.
        unsafe { sys::cuMemsetD32Async(to, word, count, self.stream()) }.result().during("full")?;
        self.launched("full", COPY)
    }
}
