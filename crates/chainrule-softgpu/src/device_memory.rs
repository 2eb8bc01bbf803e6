//! The device's memory with what the driver adds to it: a size, failures on order, and which ranges are its own.
use crate::status::{Outcome, Status};
use chainrule_ptx::{Fault, Memory};
use std::collections::BTreeSet;

/// Which allocations fail by order of a test.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failing {
    /// None.
    Never,
    /// The allocation after this many more.
    Once(u64),
    /// Every allocation after this many more.
    From(u64),
}

impl Failing {
    /// Whether the allocation being made fails.
    fn strikes(&mut self) -> bool {
        match self {
            Failing::Never => false,
            Failing::Once(0) => {
                *self = Failing::Never;
                true
            }
            Failing::From(0) => true,
            Failing::Once(left) | Failing::From(left) => {
                *left -= 1;
                false
            }
        }
    }
}

/// Bytes of the device unless a test sets others.
const CAPACITY: u64 = 8 << 30;

/// Memory of the device.
pub struct DeviceMemory {
    /// The checked bytes.
    pub bytes: Memory,
    /// Size of the device.
    pub capacity: u64,
    /// Failures on order.
    pub failing: Failing,
    /// First addresses of what `allocate` gave.
    given: BTreeSet<u64>,
}

impl Default for DeviceMemory {
    fn default() -> DeviceMemory {
        let mut bytes = Memory::new();
        bytes.set_capacity(CAPACITY);
        DeviceMemory { bytes, capacity: CAPACITY, failing: Failing::Never, given: BTreeSet::new() }
    }
}

impl DeviceMemory {
    /// Whether the next allocation fails by order; to be asked once an allocation.
    pub fn fails_now(&mut self) -> bool {
        self.failing.strikes()
    }

    /// New memory, poisoned, or nothing where the device is full.
    pub fn allocate(&mut self, bytes: usize) -> Option<u64> {
        let address = self.bytes.allocate(bytes)?;
        self.given.insert(address);
        Some(address)
    }

    /// Gives an allocation back.
    pub fn free(&mut self, address: u64) -> Result<(), Fault> {
        self.given.remove(&address);
        self.bytes.free(address)
    }

    /// Changes the device's size.
    pub fn set_capacity(&mut self, bytes: u64) {
        self.capacity = bytes;
        self.bytes.set_capacity(bytes);
    }

    /// Whether `address` begins a live allocation.
    pub fn begins(&self, address: u64) -> bool {
        self.given.contains(&address)
    }

    /// A range must lie in one live allocation, as the driver asks of a copy when it is called.
    pub fn expect_range(&self, address: u64, bytes: usize) -> Outcome {
        let holds =
            self.bytes.allocation_of(address).is_some_and(|(start, size)| (address - start).checked_add(bytes as u64).is_some_and(|end| end <= size as u64));
        if holds { Ok(()) } else { Err(Status::INVALID_VALUE) }
    }

    /// Gives everything back.
    pub fn free_all(&mut self) {
        for address in std::mem::take(&mut self.given) {
            // An address of `given` is one that the memory gave out: nothing is left to report.
            let _ = self.bytes.free(address);
        }
    }
}
