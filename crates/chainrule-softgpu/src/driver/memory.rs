//! Allocation of device memory and of pinned host memory.
use crate::call::{Needs, RELAXED, answer, give};
use crate::machine::Machine;
use crate::operation::Operation;
use crate::status::{Outcome, Status};
use std::ffi::{c_uint, c_void};

impl Machine {
    /// New device memory; what is queued is run first where that may free enough.
    fn allocate(&mut self, bytes: usize) -> Outcome<u64> {
        if bytes == 0 {
            return Err(Status::INVALID_VALUE);
        }
        let mut given = None;
        if !self.memory.fails_now() {
            given = self.memory.allocate(bytes);
            if given.is_none() {
                self.finish_all();
                self.health()?;
                given = self.memory.allocate(bytes);
            }
        }
        self.trace(|| format!("allocation of {bytes} bytes: {}", given.map_or("refused".into(), |address| format!("{address:#x}"))));
        let Some(address) = given else {
            self.counters.refused_allocations += 1;
            return Err(Status::OUT_OF_MEMORY);
        };
        self.counters.allocations += 1;
        self.counters.allocated_bytes += bytes as u64;
        Ok(address)
    }

    fn expect_allocation(&mut self, address: u64) -> Outcome {
        if self.memory.begins(address) {
            return Ok(());
        }
        self.report(format!("free of {address:#x}, where no live allocation begins"));
        Err(Status::INVALID_VALUE)
    }

    /// Stream-ordered memory has no place in a capture here.
    fn expect_uncaptured(&mut self, stream: u64) -> Outcome {
        if self.streams.get(stream)?.capture.is_none() {
            return Ok(());
        }
        self.spoil(stream);
        Err(Status::STREAM_CAPTURE_UNSUPPORTED)
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemAlloc_v2(address: *mut u64, bytes: usize) -> Status {
    answer("cuMemAlloc", Needs::Context, |machine| {
        machine.guard_unsafe_call(RELAXED.get())?;
        let given = machine.allocate(bytes)?;
        // SAFETY: a place for the result, by the driver's contract.
        unsafe { give(address, given) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemFree_v2(address: u64) -> Status {
    answer("cuMemFree", Needs::Context, |machine| {
        if address == 0 {
            return Ok(());
        }
        machine.guard_unsafe_call(RELAXED.get())?;
        machine.expect_allocation(address)?;
        machine.counters.implicit_synchronisations += 1;
        machine.finish_all();
        machine.health()?;
        machine.counters.frees += 1;
        machine.trace(|| format!("free of {address:#x}"));
        machine.memory.free(address).map_err(|fault| {
            machine.report(fault.to_string());
            Status::INVALID_VALUE
        })
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemAllocAsync(address: *mut u64, bytes: usize, stream: u64) -> Status {
    answer("cuMemAllocAsync", Needs::Context, |machine| {
        machine.expect_uncaptured(stream)?;
        let given = machine.allocate(bytes)?;
        // SAFETY: a place for the result, by the driver's contract.
        unsafe { give(address, given) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemAllocFromPoolAsync(address: *mut u64, bytes: usize, _pool: u64, stream: u64) -> Status {
    // SAFETY: the same contract.
    unsafe { cuMemAllocAsync(address, bytes, stream) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemFreeAsync(address: u64, stream: u64) -> Status {
    answer("cuMemFreeAsync", Needs::Context, |machine| {
        machine.expect_uncaptured(stream)?;
        machine.expect_allocation(address)?;
        machine.counters.frees += 1;
        machine.enqueue(stream, Operation::Free(address))
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemGetInfo_v2(free: *mut usize, total: *mut usize) -> Status {
    answer("cuMemGetInfo", Needs::Context, |machine| {
        let capacity = machine.memory.capacity as usize;
        // SAFETY: places for the results, by the driver's contract.
        unsafe { give(free, capacity.saturating_sub(machine.memory.bytes.live())).and(give(total, capacity)) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemGetAddressRange_v2(start: *mut u64, bytes: *mut usize, address: u64) -> Status {
    answer("cuMemGetAddressRange", Needs::Context, |machine| {
        let (first, size) = machine.memory.bytes.allocation_of(address).ok_or(Status::NOT_FOUND)?;
        // SAFETY: each place is skipped where it is null, as the driver's contract allows.
        unsafe {
            if !start.is_null() {
                give(start, first)?;
            }
            if bytes.is_null() { Ok(()) } else { give(bytes, size) }
        }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemHostAlloc(pointer: *mut *mut c_void, bytes: usize, _flags: c_uint) -> Status {
    answer("cuMemHostAlloc", Needs::Context, |machine| {
        machine.guard_unsafe_call(RELAXED.get())?;
        let address = machine.pinned.allocate(bytes)?;
        machine.counters.host_allocations += 1;
        // SAFETY: a place for the result, by the driver's contract.
        unsafe { give(pointer, address as *mut c_void) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemAllocHost_v2(pointer: *mut *mut c_void, bytes: usize) -> Status {
    // SAFETY: the same contract.
    unsafe { cuMemHostAlloc(pointer, bytes, 0) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemFreeHost(pointer: *mut c_void) -> Status {
    answer("cuMemFreeHost", Needs::Context, |machine| {
        machine.guard_unsafe_call(RELAXED.get())?;
        machine.finish_all();
        machine.health()?;
        machine.pinned.free(pointer as usize)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemHostRegister_v2(pointer: *mut c_void, bytes: usize, _flags: c_uint) -> Status {
    answer("cuMemHostRegister", Needs::Context, |machine| machine.pinned.register(pointer as usize, bytes))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemHostUnregister(pointer: *mut c_void) -> Status {
    answer("cuMemHostUnregister", Needs::Context, |machine| {
        machine.finish_all();
        machine.health()?;
        machine.pinned.unregister(pointer as usize)
    })
}
