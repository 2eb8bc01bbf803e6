//! Global memory: an address space of its own, every byte of which knows whether it was written.
mod allocation;
mod bits;
mod touches;

use std::collections::HashMap;

pub(crate) use allocation::Allocation;
pub(crate) use bits::Bits;
pub(crate) use touches::{Access, Toucher};

use crate::fault::{Fault, FaultKind, Problem};

/// The first address. No pointer of the host looks like it.
pub(crate) const GLOBAL_BASE: u64 = 0x7000_0000_0000;
const ALIGNMENT: u64 = 512;
/// Unmapped bytes behind each allocation, so that running over an end is found.
const GAP: u64 = 4096;

/// The global memory of a device.
///
/// Allocations are aligned to 512 bytes, with unmapped gaps between them; an address is never handed out twice, so that the use of freed
/// memory is told from an access out of bounds.
///
/// ```
/// let mut memory = chainrule_ptx::Memory::new();
/// let address = memory.allocate(16).unwrap();
/// memory.write(address, &[1, 2, 3, 4])?;
/// let mut bytes = [0; 4];
/// memory.read(address, &mut bytes)?;
/// assert_eq!(bytes, [1, 2, 3, 4]);
/// assert!(memory.read(address + 2, &mut bytes).is_err(), "two bytes were never written");
/// # Ok::<(), chainrule_ptx::Fault>(())
/// ```
#[derive(Clone, Debug)]
pub struct Memory {
    /// In the order of their addresses.
    allocations: Vec<Allocation>,
    next: u64,
    capacity: u64,
    live: usize,
    launches: u32,
    recent: usize,
    variables: HashMap<u64, Vec<u64>>,
}

impl Default for Memory {
    fn default() -> Memory {
        Memory::new()
    }
}

impl Memory {
    /// An empty memory of 64 GiB.
    pub fn new() -> Memory {
        Memory { allocations: Vec::new(), next: GLOBAL_BASE, capacity: 64 << 30, live: 0, launches: 0, recent: 0, variables: HashMap::new() }
    }

    /// The size of the device: allocations that would exceed it fail.
    pub fn set_capacity(&mut self, bytes: u64) {
        self.capacity = bytes;
    }

    /// The size of the device.
    pub fn capacity(&self) -> u64 {
        self.capacity
    }

    /// Bytes that are allocated now.
    pub fn live(&self) -> usize {
        self.live
    }

    /// New memory, marked as uninitialised; none if `bytes` is 0 or the device is full.
    pub fn allocate(&mut self, bytes: usize) -> Option<u64> {
        if bytes == 0 || (self.live as u64).checked_add(bytes as u64)? > self.capacity {
            return None;
        }
        let address = self.next;
        self.allocations.push(Allocation::new(address, bytes)?);
        self.live += bytes;
        self.next = (address + bytes as u64 + GAP).next_multiple_of(ALIGNMENT);
        Some(address)
    }

    /// Gives an allocation back; `address` is its first byte.
    pub fn free(&mut self, address: u64) -> Result<(), Fault> {
        let index = self.find(address, 1)?;
        let allocation = &mut self.allocations[index];
        if allocation.base() != address {
            return Err(Problem::at(FaultKind::OutOfBounds, address, "free of an address inside an allocation").into());
        }
        self.live -= allocation.len();
        allocation.free();
        Ok(())
    }

    /// The first address and the size of the live allocation that holds `address`.
    pub fn allocation_of(&self, address: u64) -> Option<(u64, usize)> {
        let index = self.find(address, 1).ok()?;
        Some((self.allocations[index].base(), self.allocations[index].len()))
    }

    /// A copy from the host.
    pub fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), Fault> {
        if bytes.is_empty() {
            return Ok(());
        }
        let index = self.find(address, bytes.len())?;
        self.allocations[index].write(address, bytes);
        Ok(())
    }

    /// A copy to the host; a byte that was never written is a fault.
    pub fn read(&self, address: u64, into: &mut [u8]) -> Result<(), Fault> {
        if into.is_empty() {
            return Ok(());
        }
        let allocation = &self.allocations[self.find(address, into.len())?];
        allocation.initialised(address, into.len())?;
        into.copy_from_slice(allocation.bytes(address, into.len()));
        Ok(())
    }

    /// A copy within the device; bytes that were never written stay marked so. The ranges may not overlap.
    pub fn copy(&mut self, to: u64, from: u64, bytes: usize) -> Result<(), Fault> {
        if bytes == 0 {
            return Ok(());
        }
        let (source, target) = (self.find(from, bytes)?, self.find(to, bytes)?);
        if from.abs_diff(to) < bytes as u64 {
            return Err(Problem::at(FaultKind::OutOfBounds, to, format!("copy of {bytes} bytes onto an overlapping range")).into());
        }
        let (data, marks) = self.allocations[source].cut(from, bytes);
        self.allocations[target].paste(to, &data, marks.as_deref());
        Ok(())
    }

    /// Writes the low `width` bytes (1, 2 or 4) of `value` `count` times.
    pub fn fill(&mut self, address: u64, value: u32, width: usize, count: usize) -> Result<(), Fault> {
        if !matches!(width, 1 | 2 | 4) || !address.is_multiple_of(width as u64) {
            return Err(Problem::at(FaultKind::Misaligned, address, format!("fill with values of {width} bytes")).into());
        }
        let value = value.to_le_bytes();
        self.write(address, &value[..width].repeat(count))
    }

    /// Marks a range inside an allocation as uninitialised again (poisoned with 0xA5), for allocators that keep memory.
    pub fn retire(&mut self, address: u64, bytes: usize) -> Result<(), Fault> {
        if bytes == 0 {
            return Ok(());
        }
        let index = self.find(address, bytes)?;
        self.allocations[index].poison(address, bytes);
        Ok(())
    }

    /// The allocation that holds the range.
    #[inline]
    pub(crate) fn find(&self, address: u64, bytes: usize) -> Result<usize, Problem> {
        if let Some(recent) = self.allocations.get(self.recent)
            && recent.holds(address, bytes)
        {
            return Ok(self.recent);
        }
        self.search(address, bytes)
    }

    fn search(&self, address: u64, bytes: usize) -> Result<usize, Problem> {
        let index = self.allocations.partition_point(|allocation| allocation.base() <= address);
        let Some(index) = index.checked_sub(1) else {
            return Err(Problem::at(FaultKind::OutOfBounds, address, format!("{bytes} bytes where nothing is allocated")));
        };
        self.allocations[index].check(address, bytes)?;
        Ok(index)
    }

    /// The allocation that holds the range, remembered for the next search.
    #[inline]
    pub(crate) fn locate(&mut self, address: u64, bytes: usize) -> Result<&mut Allocation, Problem> {
        self.recent = self.find(address, bytes)?;
        Ok(&mut self.allocations[self.recent])
    }

    /// A number for a new launch.
    pub(crate) fn next_launch(&mut self) -> u32 {
        self.launches = self.launches.wrapping_add(1).max(1);
        self.launches
    }

    pub(crate) fn place_variables(&mut self, module: u64, addresses: Vec<u64>) {
        self.variables.insert(module, addresses);
    }

    /// The addresses of a module's variables, if it was loaded.
    pub(crate) fn variables(&self, module: u64) -> Option<&[u64]> {
        self.variables.get(&module).map(Vec::as_slice)
    }

    pub(crate) fn remove_variables(&mut self, module: u64) -> Vec<u64> {
        self.variables.remove(&module).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
