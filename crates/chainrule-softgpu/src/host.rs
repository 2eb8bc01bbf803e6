//! Host memory that the device may reach: allocated by the driver or registered with it, known by its range.
use crate::status::{Outcome, Status};
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::collections::BTreeMap;

const PAGE: usize = 4096;

struct Block {
    bytes: usize,
    /// Memory that the driver allocated, and not the caller.
    layout: Option<Layout>,
}

/// All pinned ranges, by first address.
#[derive(Default)]
pub struct Pinned {
    blocks: BTreeMap<usize, Block>,
}

impl Pinned {
    /// New pinned memory, zeroed, on a page's boundary.
    pub fn allocate(&mut self, bytes: usize) -> Outcome<usize> {
        if bytes == 0 {
            return Err(Status::INVALID_VALUE);
        }
        let layout = Layout::from_size_align(bytes, PAGE).map_err(|_| Status::OUT_OF_MEMORY)?;
        // SAFETY: the layout has a size above zero.
        let pointer = unsafe { alloc_zeroed(layout) };
        if pointer.is_null() {
            return Err(Status::OUT_OF_MEMORY);
        }
        self.blocks.insert(pointer as usize, Block { bytes, layout: Some(layout) });
        Ok(pointer as usize)
    }

    /// Gives memory of `allocate` back.
    pub fn free(&mut self, address: usize) -> Outcome {
        let layout = self.blocks.get(&address).and_then(|block| block.layout).ok_or(Status::INVALID_VALUE)?;
        self.blocks.remove(&address);
        // SAFETY: `allocate` took this address with this layout, and the entry that allowed it is gone now.
        unsafe { dealloc(address as *mut u8, layout) };
        Ok(())
    }

    /// Makes the caller's own memory pinned.
    pub fn register(&mut self, address: usize, bytes: usize) -> Outcome {
        let end = address.checked_add(bytes).ok_or(Status::INVALID_VALUE)?;
        if address == 0 || bytes == 0 {
            return Err(Status::INVALID_VALUE);
        }
        let before = self.blocks.range(..end).next_back();
        if before.is_some_and(|(start, block)| start + block.bytes > address) {
            return Err(Status::HOST_MEMORY_ALREADY_REGISTERED);
        }
        self.blocks.insert(address, Block { bytes, layout: None });
        Ok(())
    }

    /// Ends what `register` began.
    pub fn unregister(&mut self, address: usize) -> Outcome {
        match self.blocks.get(&address) {
            Some(Block { layout: None, .. }) => self.blocks.remove(&address).map(|_| ()).ok_or(Status::HOST_MEMORY_NOT_REGISTERED),
            _ => Err(Status::HOST_MEMORY_NOT_REGISTERED),
        }
    }

    /// Whether all of a range is pinned now.
    pub fn holds(&self, address: usize, bytes: usize) -> bool {
        let Some((start, block)) = self.blocks.range(..=address).next_back() else { return false };
        address.checked_add(bytes).is_some_and(|end| end <= start + block.bytes)
    }
}
