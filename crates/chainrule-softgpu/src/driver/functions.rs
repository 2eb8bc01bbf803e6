//! `cuFunc…` and `cuOccupancy…`.
use crate::call::{Needs, answer, give};
use crate::module::{Function, RESERVED_SHARED, RESIDENT_SHARED, SHARED_ON_REQUEST};
use crate::status::{Outcome, Status};
use std::ffi::{c_int, c_uint};

const MAX_THREADS_PER_BLOCK: c_uint = 0;
const SHARED_SIZE_BYTES: c_uint = 1;
const CONST_SIZE_BYTES: c_uint = 2;
const LOCAL_SIZE_BYTES: c_uint = 3;
const NUM_REGS: c_uint = 4;
const PTX_VERSION: c_uint = 5;
const BINARY_VERSION: c_uint = 6;
const CACHE_MODE_CA: c_uint = 7;
const MAX_DYNAMIC_SHARED_SIZE_BYTES: c_uint = 8;
const PREFERRED_SHARED_MEMORY_CARVEOUT: c_uint = 9;

/// Registers are given out by ptxas, which is not here; a number as good as any.
const REGISTERS: c_int = 32;

fn read(function: &Function, attribute: c_uint) -> Outcome<c_int> {
    Ok(match attribute {
        MAX_THREADS_PER_BLOCK => function.most_threads() as c_int,
        SHARED_SIZE_BYTES => function.kernel.shared_bytes() as c_int,
        LOCAL_SIZE_BYTES => function.kernel.local_bytes() as c_int,
        CONST_SIZE_BYTES | CACHE_MODE_CA => 0,
        NUM_REGS => REGISTERS,
        PTX_VERSION | BINARY_VERSION => 80,
        MAX_DYNAMIC_SHARED_SIZE_BYTES => function.dynamic_shared as c_int,
        PREFERRED_SHARED_MEMORY_CARVEOUT => function.carveout,
        _ => return Err(Status::INVALID_VALUE),
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuFuncGetAttribute(value: *mut c_int, attribute: c_uint, function: u64) -> Status {
    answer("cuFuncGetAttribute", Needs::Context, |machine| {
        let number = read(machine.function(function)?, attribute)?;
        // SAFETY: a place for the result, by the driver's contract.
        unsafe { give(value, number) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuFuncSetAttribute(function: u64, attribute: c_uint, value: c_int) -> Status {
    answer("cuFuncSetAttribute", Needs::Context, |machine| {
        let function = machine.function(function)?;
        match attribute {
            MAX_DYNAMIC_SHARED_SIZE_BYTES => {
                let bytes = usize::try_from(value).map_err(|_| Status::INVALID_VALUE)?;
                if bytes + function.kernel.shared_bytes() > SHARED_ON_REQUEST {
                    return Err(Status::INVALID_VALUE);
                }
                function.dynamic_shared = bytes;
            }
            PREFERRED_SHARED_MEMORY_CARVEOUT if (-1..=100).contains(&value) => function.carveout = value,
            _ => return Err(Status::INVALID_VALUE),
        }
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuFuncSetCacheConfig(function: u64, _config: c_uint) -> Status {
    answer("cuFuncSetCacheConfig", Needs::Context, |machine| machine.function(function).map(|_| ()))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuOccupancyMaxActiveBlocksPerMultiprocessor(blocks: *mut c_int, function: u64, threads: c_int, dynamic_shared: usize) -> Status {
    answer("cuOccupancyMaxActiveBlocksPerMultiprocessor", Needs::Context, |machine| {
        let threads = u32::try_from(threads).ok().filter(|threads| *threads > 0).ok_or(Status::INVALID_VALUE)?;
        let count = machine.function(function)?.resident_blocks(threads, dynamic_shared);
        // SAFETY: a place for the result, by the driver's contract.
        unsafe { give(blocks, count as c_int) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
    blocks: *mut c_int,
    function: u64,
    threads: c_int,
    dynamic_shared: usize,
    _flags: c_uint,
) -> Status {
    // SAFETY: the same contract.
    unsafe { cuOccupancyMaxActiveBlocksPerMultiprocessor(blocks, function, threads, dynamic_shared) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuOccupancyAvailableDynamicSMemPerBlock(bytes: *mut usize, function: u64, blocks: c_int, _threads: c_int) -> Status {
    answer("cuOccupancyAvailableDynamicSMemPerBlock", Needs::Context, |machine| {
        let blocks = usize::try_from(blocks).ok().filter(|blocks| *blocks > 0).ok_or(Status::INVALID_VALUE)?;
        let fixed = machine.function(function)?.kernel.shared_bytes() + RESERVED_SHARED;
        // SAFETY: a place for the result, by the driver's contract.
        unsafe { give(bytes, (RESIDENT_SHARED / blocks).saturating_sub(fixed)) }
    })
}
