//! `cuCtx…`: the thread's current context and waits for the whole of it.
use crate::call::{CONTEXTS, Needs, PRIMARY, answer, give};
use crate::status::{Outcome, Status};
use std::ffi::{c_int, c_uint};

fn expect_context(context: usize) -> Outcome {
    if context == PRIMARY { Ok(()) } else { Err(Status::INVALID_CONTEXT) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxGetCurrent(context: *mut usize) -> Status {
    let current = CONTEXTS.with_borrow(|contexts| contexts.last().copied().unwrap_or(0));
    // SAFETY: a place for the result, by the driver's contract.
    answer("cuCtxGetCurrent", Needs::Driver, |_| unsafe { give(context, current) })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxSetCurrent(context: usize) -> Status {
    answer("cuCtxSetCurrent", Needs::Driver, |_| {
        if context != 0 {
            expect_context(context)?;
        }
        CONTEXTS.with_borrow_mut(|contexts| {
            contexts.pop();
            if context != 0 {
                contexts.push(context);
            }
        });
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxPushCurrent_v2(context: usize) -> Status {
    answer("cuCtxPushCurrent", Needs::Driver, |_| {
        expect_context(context)?;
        CONTEXTS.with_borrow_mut(|contexts| contexts.push(context));
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxPopCurrent_v2(context: *mut usize) -> Status {
    answer("cuCtxPopCurrent", Needs::Driver, |_| {
        let popped = CONTEXTS.with_borrow_mut(Vec::pop).ok_or(Status::INVALID_CONTEXT)?;
        if context.is_null() {
            return Ok(());
        }
        // SAFETY: a place for the result, by the driver's contract.
        unsafe { give(context, popped) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxSynchronize() -> Status {
    answer("cuCtxSynchronize", Needs::Context, |machine| {
        machine.guard_whole_device()?;
        machine.counters.context_synchronisations += 1;
        machine.finish_all();
        machine.health()
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxGetDevice(device: *mut c_int) -> Status {
    // SAFETY: a place for the result, by the driver's contract.
    answer("cuCtxGetDevice", Needs::Context, |_| unsafe { give(device, 0) })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxGetFlags(flags: *mut c_uint) -> Status {
    // SAFETY: a place for the result, by the driver's contract.
    answer("cuCtxGetFlags", Needs::Context, |_| unsafe { give(flags, 0) })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxGetStreamPriorityRange(least: *mut c_int, greatest: *mut c_int) -> Status {
    // SAFETY: places for the results, by the driver's contract.
    answer("cuCtxGetStreamPriorityRange", Needs::Context, |_| unsafe { give(least, 0).and(give(greatest, -5)) })
}
