//! `cuInit`, `cuDevice…` and the names of errors.
use crate::call::{Needs, answer, give};
use crate::module::{RESERVED_SHARED, RESIDENT_BLOCKS, RESIDENT_SHARED, RESIDENT_THREADS, SHARED, SHARED_ON_REQUEST, THREADS};
use crate::status::{Outcome, Status};
use std::ffi::{CStr, c_char, c_int, c_uint};

const VERSION: c_int = 12080;
const NAME: &CStr = c"chainrule software GPU";
const UUID: [u8; 16] = *b"chainrulesoftgpu";
/// Registers of a multiprocessor, and of a block.
const REGISTERS: c_int = 65536;

fn expect_device(device: c_int) -> Outcome {
    if device == 0 { Ok(()) } else { Err(Status::INVALID_DEVICE) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuInit(flags: c_uint) -> Status {
    answer("cuInit", Needs::Nothing, |machine| {
        if flags != 0 {
            return Err(Status::INVALID_VALUE);
        }
        machine.initialised = true;
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDriverGetVersion(version: *mut c_int) -> Status {
    // SAFETY: a place for the result, by the driver's contract.
    answer("cuDriverGetVersion", Needs::Nothing, |_| unsafe { give(version, VERSION) })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetCount(count: *mut c_int) -> Status {
    // SAFETY: a place for the result, by the driver's contract.
    answer("cuDeviceGetCount", Needs::Driver, |_| unsafe { give(count, 1) })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGet(device: *mut c_int, ordinal: c_int) -> Status {
    answer("cuDeviceGet", Needs::Driver, |_| {
        expect_device(ordinal)?;
        // SAFETY: a place for the result, by the driver's contract.
        unsafe { give(device, ordinal) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetName(name: *mut c_char, length: c_int, device: c_int) -> Status {
    answer("cuDeviceGetName", Needs::Driver, |_| {
        expect_device(device)?;
        let length = usize::try_from(length).unwrap_or(0);
        if name.is_null() || length == 0 {
            return Err(Status::INVALID_VALUE);
        }
        let count = NAME.count_bytes().min(length - 1);
        // SAFETY: the caller's buffer holds `length` bytes, of which `count + 1` are written.
        unsafe {
            std::ptr::copy_nonoverlapping(NAME.as_ptr(), name, count);
            name.add(count).write(0);
        }
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetUuid(uuid: *mut [u8; 16], device: c_int) -> Status {
    answer("cuDeviceGetUuid", Needs::Driver, |_| {
        expect_device(device)?;
        // SAFETY: a place for the result, by the driver's contract.
        unsafe { give(uuid, UUID) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetUuid_v2(uuid: *mut [u8; 16], device: c_int) -> Status {
    // SAFETY: the same contract.
    unsafe { cuDeviceGetUuid(uuid, device) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceTotalMem_v2(bytes: *mut usize, device: c_int) -> Status {
    answer("cuDeviceTotalMem", Needs::Driver, |machine| {
        expect_device(device)?;
        // SAFETY: a place for the result, by the driver's contract.
        unsafe { give(bytes, machine.memory.capacity as usize) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetAttribute(value: *mut c_int, attribute: c_uint, device: c_int) -> Status {
    answer("cuDeviceGetAttribute", Needs::Driver, |_| {
        expect_device(device)?;
        // SAFETY: a place for the result, by the driver's contract.
        unsafe { give(value, device_attribute(attribute).ok_or(Status::INVALID_VALUE)?) }
    })
}

/// Those of an A100, in the order of `CUdevice_attribute`; whatever this device does not have is 0.
fn device_attribute(attribute: c_uint) -> Option<c_int> {
    Some(match attribute {
        1..=3 => THREADS as c_int,
        4 => 64,
        5 => c_int::MAX,
        6 | 7 => 65535,
        8 => SHARED as c_int,
        9 => 65536,
        10 => 32,
        11 => c_int::MAX,
        12 | 82 => REGISTERS,
        13 => 1_410_000,
        14 => 512,
        15 | 31 => 1,
        16 => 108,
        19 => 1,
        36 => 1_215_000,
        37 => 5120,
        38 => 40 << 20,
        39 => RESIDENT_THREADS as c_int,
        40 => 3,
        41 => 1,
        75 => 8,
        78..=80 => 1,
        81 => RESIDENT_SHARED as c_int,
        87 => 2,
        90 => 1,
        97 => SHARED_ON_REQUEST as c_int,
        99 => 1,
        106 => RESIDENT_BLOCKS as c_int,
        111 => RESERVED_SHARED as c_int,
        115 => 1,
        0 => return None,
        other if other > 200 => return None,
        _ => 0,
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceComputeCapability(major: *mut c_int, minor: *mut c_int, device: c_int) -> Status {
    answer("cuDeviceComputeCapability", Needs::Driver, |_| {
        expect_device(device)?;
        // SAFETY: places for the results, by the driver's contract.
        unsafe { give(major, 8).and(give(minor, 0)) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGetErrorName(status: Status, text: *mut *const c_char) -> Status {
    // SAFETY: the same contract.
    unsafe { describe(status, text, |(name, _)| name) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGetErrorString(status: Status, text: *mut *const c_char) -> Status {
    // SAFETY: the same contract.
    unsafe { describe(status, text, |(_, description)| description) }
}

/// # Safety
/// `text` is null or good for writing a pointer.
unsafe fn describe(status: Status, text: *mut *const c_char, choose: fn((&'static CStr, &'static CStr)) -> &'static CStr) -> Status {
    let found = status.describe().map(choose);
    // SAFETY: by the contract.
    let given = unsafe { give(text, found.map_or(std::ptr::null(), CStr::as_ptr)) };
    given.and(found.map(|_| ()).ok_or(Status::INVALID_VALUE)).into()
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDevicePrimaryCtxGetState(device: c_int, flags: *mut c_uint, active: *mut c_int) -> Status {
    answer("cuDevicePrimaryCtxGetState", Needs::Driver, |machine| {
        expect_device(device)?;
        // SAFETY: places for the results, by the driver's contract.
        unsafe { give(flags, 0).and(give(active, c_int::from(machine.retained > 0))) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDevicePrimaryCtxRetain(context: *mut usize, device: c_int) -> Status {
    answer("cuDevicePrimaryCtxRetain", Needs::Driver, |machine| {
        expect_device(device)?;
        // SAFETY: a place for the result, by the driver's contract.
        unsafe { give(context, crate::call::PRIMARY)? };
        machine.retained += 1;
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDevicePrimaryCtxRelease_v2(device: c_int) -> Status {
    answer("cuDevicePrimaryCtxRelease", Needs::Driver, |machine| {
        expect_device(device)?;
        machine.retained = machine.retained.checked_sub(1).ok_or(Status::INVALID_CONTEXT)?;
        if machine.retained == 0 {
            machine.end_context();
        }
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDevicePrimaryCtxSetFlags_v2(device: c_int, _flags: c_uint) -> Status {
    answer("cuDevicePrimaryCtxSetFlags", Needs::Driver, |_| expect_device(device))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDevicePrimaryCtxReset_v2(device: c_int) -> Status {
    answer("cuDevicePrimaryCtxReset", Needs::Driver, |machine| {
        expect_device(device)?;
        machine.end_context();
        Ok(())
    })
}
