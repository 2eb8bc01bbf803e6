//! The one memory pool: its attributes are kept, and memory is given out without it.
use crate::call::{Needs, answer, give};
use crate::status::{Outcome, Status};
use std::ffi::{c_int, c_uint, c_void};

const POOL: u64 = 0x0d00;
/// Attributes 1 to 3 are numbers of 32 bits, 4 to 8 of 64.
const LAST_NARROW: c_uint = 3;
const RESERVED_CURRENT: c_uint = 5;
const LAST: c_uint = 8;

fn expect_pool(pool: u64) -> Outcome {
    if pool == POOL { Ok(()) } else { Err(Status::INVALID_VALUE) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetDefaultMemPool(pool: *mut u64, device: c_int) -> Status {
    answer("cuDeviceGetDefaultMemPool", Needs::Driver, |_| {
        if device != 0 {
            return Err(Status::INVALID_DEVICE);
        }
        // SAFETY: a place for the result, by the driver's contract.
        unsafe { give(pool, POOL) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetMemPool(pool: *mut u64, device: c_int) -> Status {
    // SAFETY: the same contract.
    unsafe { cuDeviceGetDefaultMemPool(pool, device) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceSetMemPool(device: c_int, pool: u64) -> Status {
    answer("cuDeviceSetMemPool", Needs::Driver, |_| if device == 0 { expect_pool(pool) } else { Err(Status::INVALID_DEVICE) })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemPoolSetAttribute(pool: u64, attribute: c_uint, value: *mut c_void) -> Status {
    answer("cuMemPoolSetAttribute", Needs::Driver, |machine| {
        expect_pool(pool)?;
        if value.is_null() || !(1..=LAST).contains(&attribute) {
            return Err(Status::INVALID_VALUE);
        }
        // SAFETY: a number of the attribute's width, by the driver's contract.
        let number = unsafe { if attribute <= LAST_NARROW { u64::from(value.cast::<u32>().read_unaligned()) } else { value.cast::<u64>().read_unaligned() } };
        machine.pool.insert(attribute, number);
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemPoolGetAttribute(pool: u64, attribute: c_uint, value: *mut c_void) -> Status {
    answer("cuMemPoolGetAttribute", Needs::Driver, |machine| {
        expect_pool(pool)?;
        if !(1..=LAST).contains(&attribute) {
            return Err(Status::INVALID_VALUE);
        }
        if attribute <= LAST_NARROW {
            let number = machine.pool.get(&attribute).map_or(1, |number| *number as u32);
            // SAFETY: a place of the attribute's width, by the driver's contract.
            return unsafe { give(value.cast(), number) };
        }
        let live = if attribute >= RESERVED_CURRENT { machine.memory.bytes.live() as u64 } else { 0 };
        // SAFETY: a place of the attribute's width, by the driver's contract.
        unsafe { give(value.cast(), machine.pool.get(&attribute).copied().unwrap_or(live)) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemPoolTrimTo(pool: u64, _keep: usize) -> Status {
    answer("cuMemPoolTrimTo", Needs::Driver, |_| expect_pool(pool))
}
