//! `cuStream…`: creation, waiting, and capture.
use crate::call::{Needs, RELAXED, answer, give};
use crate::graph::CaptureMode;
use crate::operation::Operation;
use crate::queue::NON_BLOCKING;
use crate::status::{Outcome, Status};
use std::ffi::{c_int, c_uint};

/// `CUstreamCaptureStatus`.
const CAPTURE_NONE: c_uint = 0;
const CAPTURE_ACTIVE: c_uint = 1;
const CAPTURE_INVALIDATED: c_uint = 2;

fn capture_mode(number: c_uint) -> Outcome<CaptureMode> {
    match number {
        0 => Ok(CaptureMode::Global),
        1 => Ok(CaptureMode::ThreadLocal),
        2 => Ok(CaptureMode::Relaxed),
        _ => Err(Status::INVALID_VALUE),
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamCreateWithPriority(stream: *mut u64, flags: c_uint, priority: c_int) -> Status {
    answer("cuStreamCreate", Needs::Context, |machine| {
        if flags & !NON_BLOCKING != 0 {
            return Err(Status::INVALID_VALUE);
        }
        let handle = machine.create_stream(flags, priority.clamp(-5, 0));
        // SAFETY: a place for the result, by the driver's contract.
        unsafe { give(stream, handle) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamCreate(stream: *mut u64, flags: c_uint) -> Status {
    // SAFETY: the same contract.
    unsafe { cuStreamCreateWithPriority(stream, flags, 0) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamDestroy_v2(stream: u64) -> Status {
    answer("cuStreamDestroy", Needs::Context, |machine| machine.destroy_stream(stream))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamSynchronize(stream: u64) -> Status {
    answer("cuStreamSynchronize", Needs::Context, |machine| {
        if machine.streams.get(stream)?.capture.is_some() {
            machine.spoil(stream);
            return Err(Status::STREAM_CAPTURE_UNSUPPORTED);
        }
        machine.guard_legacy(stream)?;
        machine.counters.stream_synchronisations += 1;
        machine.finish_stream(stream)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamQuery(stream: u64) -> Status {
    answer("cuStreamQuery", Needs::Context, |machine| {
        if machine.streams.get(stream)?.capture.is_some() {
            machine.spoil(stream);
            return Err(Status::STREAM_CAPTURE_UNSUPPORTED);
        }
        machine.run_a_little();
        machine.health()?;
        if machine.streams.get(stream)?.is_idle() { Ok(()) } else { Err(Status::NOT_READY) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamWaitEvent(stream: u64, event: u64, _flags: c_uint) -> Status {
    answer("cuStreamWaitEvent", Needs::Context, |machine| {
        if machine.capture_wait(stream, event)? {
            return Ok(());
        }
        match machine.event(event)?.last {
            Some(ticket) => machine.enqueue(stream, Operation::Wait { ticket }),
            None => Ok(()),
        }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamGetPriority(stream: u64, priority: *mut c_int) -> Status {
    answer("cuStreamGetPriority", Needs::Context, |machine| {
        let value = machine.streams.get(stream)?.priority;
        // SAFETY: a place for the result, by the driver's contract.
        unsafe { give(priority, value) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamGetFlags(stream: u64, flags: *mut c_uint) -> Status {
    answer("cuStreamGetFlags", Needs::Context, |machine| {
        let value = machine.streams.get(stream)?.flags;
        // SAFETY: a place for the result, by the driver's contract.
        unsafe { give(flags, value) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamBeginCapture_v2(stream: u64, mode: c_uint) -> Status {
    answer("cuStreamBeginCapture", Needs::Context, |machine| machine.begin_capture(stream, capture_mode(mode)?))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamEndCapture(stream: u64, graph: *mut u64) -> Status {
    answer("cuStreamEndCapture", Needs::Context, |machine| {
        let ended = machine.end_capture(stream);
        // SAFETY: a place for the result, by the driver's contract; a failed capture gives no graph.
        unsafe { give(graph, ended.unwrap_or(0))? };
        ended.map(|_| ())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamIsCapturing(stream: u64, status: *mut c_uint) -> Status {
    answer("cuStreamIsCapturing", Needs::Context, |machine| {
        let (value, _) = machine.capture_state(stream)?;
        // SAFETY: a place for the result, by the driver's contract.
        unsafe { give(status, value) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamGetCaptureInfo_v2(
    stream: u64,
    status: *mut c_uint,
    id: *mut u64,
    graph: *mut u64,
    dependencies: *mut *const u64,
    dependency_count: *mut usize,
) -> Status {
    answer("cuStreamGetCaptureInfo", Needs::Context, |machine| {
        let (value, capture) = machine.capture_state(stream)?;
        // SAFETY: a place for the status, and places or nulls for all else, by the driver's contract.
        unsafe {
            give(status, value)?;
            if !id.is_null() {
                give(id, capture)?;
            }
            // The graph in the making is not open to changes here.
            if !graph.is_null() {
                give(graph, 0)?;
            }
            if !dependencies.is_null() {
                give(dependencies, std::ptr::null())?;
            }
            if dependency_count.is_null() { Ok(()) } else { give(dependency_count, 0) }
        }
    })
}

impl crate::machine::Machine {
    /// Whether a stream is being captured, and the capture's number.
    fn capture_state(&mut self, stream: u64) -> Outcome<(c_uint, u64)> {
        let Some(handle) = self.streams.get(stream)?.capture else { return Ok((CAPTURE_NONE, 0)) };
        let invalid = self.captures.get(&handle).is_none_or(|capture| capture.invalid);
        Ok((if invalid { CAPTURE_INVALIDATED } else { CAPTURE_ACTIVE }, handle))
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuThreadExchangeStreamCaptureMode(mode: *mut c_uint) -> Status {
    answer("cuThreadExchangeStreamCaptureMode", Needs::Driver, |_| {
        if mode.is_null() {
            return Err(Status::INVALID_VALUE);
        }
        // SAFETY: not null, and good for reading by the driver's contract.
        let wanted = capture_mode(unsafe { mode.read_unaligned() })?;
        let before = RELAXED.replace(wanted == CaptureMode::Relaxed);
        // SAFETY: a place for the result, by the driver's contract.
        unsafe { give(mode, if before { 2 } else { 0 }) }
    })
}
