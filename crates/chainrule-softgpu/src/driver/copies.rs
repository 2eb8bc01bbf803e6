//! Copies and fills. Pinned host memory is read and written when the copy is run; pageable memory is read when it is asked for, and waited for when it
//! is written.
use crate::call::{Needs, RELAXED, answer};
use crate::machine::Machine;
use crate::operation::{HostSource, HostTarget, Operation};
use crate::queue::LEGACY;
use crate::status::{Outcome, Status};
use std::ffi::{c_uchar, c_uint, c_ushort, c_void};

impl Machine {
    /// The range of a copy or a fill, which the driver checks when it is asked for one.
    fn expect_range(&mut self, what: &str, address: u64, bytes: usize) -> Outcome {
        let checked = self.memory.expect_range(address, bytes);
        if checked.is_err() {
            self.report(format!("{what}: {bytes} bytes at {address:#x} do not lie in one live allocation"));
        }
        checked
    }

    /// # Safety
    /// `from` is good for reading `bytes` bytes.
    unsafe fn copy_to_device(&mut self, to: u64, from: *const c_void, bytes: usize, stream: u64) -> Outcome {
        if bytes == 0 {
            return self.streams.get(stream).map(|_| ());
        }
        if from.is_null() {
            return Err(Status::INVALID_VALUE);
        }
        self.expect_range("copy to the device", to, bytes)?;
        let source = if self.pinned.holds(from as usize, bytes) {
            HostSource::Pinned { address: from as usize, bytes }
        } else {
            // SAFETY: good for reading by the contract.
            HostSource::Snapshot(unsafe { std::slice::from_raw_parts(from.cast::<u8>(), bytes) }.into())
        };
        self.enqueue(stream, Operation::CopyIn { to, source })
    }

    /// # Safety
    /// `to` is good for writing `bytes` bytes, for as long as the copy is queued where it is pinned.
    unsafe fn copy_to_host(&mut self, to: *mut c_void, from: u64, bytes: usize, stream: u64) -> Outcome {
        if bytes == 0 {
            return self.streams.get(stream).map(|_| ());
        }
        if to.is_null() {
            return Err(Status::INVALID_VALUE);
        }
        self.expect_range("copy to the host", from, bytes)?;
        if self.pinned.holds(to as usize, bytes) {
            return self.enqueue(stream, Operation::CopyOut { to: HostTarget::Pinned(to as usize), from, bytes });
        }
        if self.streams.get(stream)?.capture.is_some() {
            self.spoil(stream);
            return Err(Status::STREAM_CAPTURE_UNSUPPORTED);
        }
        self.enqueue(stream, Operation::CopyOut { to: HostTarget::Waiting(to as usize), from, bytes })?;
        self.counters.implicit_synchronisations += 1;
        self.finish_stream(stream)
    }

    fn copy_inside(&mut self, to: u64, from: u64, bytes: usize, stream: u64) -> Outcome {
        if bytes == 0 {
            return self.streams.get(stream).map(|_| ());
        }
        self.expect_range("copy within the device, target", to, bytes)?;
        self.expect_range("copy within the device, source", from, bytes)?;
        self.enqueue(stream, Operation::CopyInside { to, from, bytes })
    }

    fn fill(&mut self, address: u64, value: u32, width: usize, count: usize, stream: u64) -> Outcome {
        if count == 0 {
            return self.streams.get(stream).map(|_| ());
        }
        if !address.is_multiple_of(width as u64) {
            return Err(Status::INVALID_VALUE);
        }
        self.expect_range("fill", address, count.checked_mul(width).ok_or(Status::INVALID_VALUE)?)?;
        self.enqueue(stream, Operation::Fill { address, value, width, count })
    }

    /// The end of a copy that the host waits for.
    fn wait_for_legacy(&mut self) -> Outcome {
        self.counters.implicit_synchronisations += 1;
        self.finish_stream(LEGACY)
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyHtoD_v2(to: u64, from: *const c_void, bytes: usize) -> Status {
    answer("cuMemcpyHtoD", Needs::Context, |machine| {
        machine.guard_unsafe_call(RELAXED.get())?;
        // SAFETY: a readable range, by the driver's contract.
        unsafe { machine.copy_to_device(to, from, bytes, LEGACY)? };
        machine.wait_for_legacy()
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyHtoDAsync_v2(to: u64, from: *const c_void, bytes: usize, stream: u64) -> Status {
    // SAFETY: a readable range, by the driver's contract.
    answer("cuMemcpyHtoDAsync", Needs::Context, |machine| unsafe { machine.copy_to_device(to, from, bytes, stream) })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyDtoH_v2(to: *mut c_void, from: u64, bytes: usize) -> Status {
    answer("cuMemcpyDtoH", Needs::Context, |machine| {
        machine.guard_unsafe_call(RELAXED.get())?;
        // SAFETY: a writable range, by the driver's contract.
        unsafe { machine.copy_to_host(to, from, bytes, LEGACY)? };
        machine.wait_for_legacy()
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyDtoHAsync_v2(to: *mut c_void, from: u64, bytes: usize, stream: u64) -> Status {
    // SAFETY: a writable range, by the driver's contract.
    answer("cuMemcpyDtoHAsync", Needs::Context, |machine| unsafe { machine.copy_to_host(to, from, bytes, stream) })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyDtoD_v2(to: u64, from: u64, bytes: usize) -> Status {
    answer("cuMemcpyDtoD", Needs::Context, |machine| {
        machine.guard_unsafe_call(RELAXED.get())?;
        machine.copy_inside(to, from, bytes, LEGACY)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyDtoDAsync_v2(to: u64, from: u64, bytes: usize, stream: u64) -> Status {
    answer("cuMemcpyDtoDAsync", Needs::Context, |machine| machine.copy_inside(to, from, bytes, stream))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemsetD8_v2(address: u64, value: c_uchar, count: usize) -> Status {
    answer("cuMemsetD8", Needs::Context, |machine| {
        machine.guard_unsafe_call(RELAXED.get())?;
        machine.fill(address, value.into(), 1, count, LEGACY)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemsetD8Async(address: u64, value: c_uchar, count: usize, stream: u64) -> Status {
    answer("cuMemsetD8Async", Needs::Context, |machine| machine.fill(address, value.into(), 1, count, stream))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemsetD16Async(address: u64, value: c_ushort, count: usize, stream: u64) -> Status {
    answer("cuMemsetD16Async", Needs::Context, |machine| machine.fill(address, value.into(), 2, count, stream))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemsetD32_v2(address: u64, value: c_uint, count: usize) -> Status {
    answer("cuMemsetD32", Needs::Context, |machine| {
        machine.guard_unsafe_call(RELAXED.get())?;
        machine.fill(address, value, 4, count, LEGACY)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemsetD32Async(address: u64, value: c_uint, count: usize, stream: u64) -> Status {
    answer("cuMemsetD32Async", Needs::Context, |machine| machine.fill(address, value, 4, count, stream))
}
