//! `cuEvent…`.
use crate::call::{Needs, RELAXED, answer, give};
use crate::event::{DISABLE_TIMING, Event};
use crate::machine::Machine;
use crate::operation::Operation;
use crate::status::{Outcome, Status};
use std::ffi::c_uint;
use std::time::Instant;

impl Machine {
    /// An event that no running capture has recorded, as waits of the host need it.
    fn uncaptured_event(&mut self, handle: u64) -> Outcome<&mut Event> {
        if let Some((capture, _)) = self.event(handle)?.captured {
            self.invalidate(capture);
            return Err(Status::CAPTURED_EVENT);
        }
        self.event(handle)
    }

    fn timed(&mut self, handle: u64) -> Outcome<Instant> {
        let event = self.uncaptured_event(handle)?;
        if event.flags & DISABLE_TIMING != 0 || event.last.is_none() {
            return Err(Status::INVALID_HANDLE);
        }
        event.finished.ok_or(Status::NOT_READY)
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventCreate(event: *mut u64, flags: c_uint) -> Status {
    answer("cuEventCreate", Needs::Context, |machine| {
        if flags & !7 != 0 {
            return Err(Status::INVALID_VALUE);
        }
        let handle = machine.new_handle();
        machine.events.insert(handle, Event { flags, ..Event::default() });
        // SAFETY: a place for the result, by the driver's contract.
        unsafe { give(event, handle) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventDestroy_v2(event: u64) -> Status {
    answer("cuEventDestroy", Needs::Context, |machine| machine.events.remove(&event).map(|_| ()).ok_or(Status::INVALID_HANDLE))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventRecord(event: u64, stream: u64) -> Status {
    answer("cuEventRecord", Needs::Context, |machine| {
        machine.event(event)?;
        if machine.streams.get(stream)?.capture.is_some() {
            return machine.capture_record(stream, event);
        }
        machine.guard_legacy(stream)?;
        let ticket = machine.streams.ticket();
        let target = machine.event(event)?;
        (target.last, target.finished, target.captured) = (Some(ticket), None, None);
        machine.streams.pending_records.insert(ticket);
        machine.enqueue(stream, Operation::Record { event, ticket })
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventRecordWithFlags(event: u64, stream: u64, _flags: c_uint) -> Status {
    // SAFETY: the same contract.
    unsafe { cuEventRecord(event, stream) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventQuery(event: u64) -> Status {
    answer("cuEventQuery", Needs::Context, |machine| {
        machine.uncaptured_event(event)?;
        machine.guard_unsafe_call(RELAXED.get())?;
        machine.run_a_little();
        machine.health()?;
        if machine.event(event)?.is_finished() { Ok(()) } else { Err(Status::NOT_READY) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventSynchronize(event: u64) -> Status {
    answer("cuEventSynchronize", Needs::Context, |machine| {
        machine.uncaptured_event(event)?;
        machine.guard_unsafe_call(RELAXED.get())?;
        machine.counters.event_synchronisations += 1;
        machine.finish_event(event)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventElapsedTime(milliseconds: *mut f32, start: u64, end: u64) -> Status {
    answer("cuEventElapsedTime", Needs::Context, |machine| {
        let (start, end) = (machine.timed(start)?, machine.timed(end)?);
        let sign = if end < start { -1.0 } else { 1.0 };
        let span = end.max(start) - end.min(start);
        // SAFETY: a place for the result, by the driver's contract.
        unsafe { give(milliseconds, sign * span.as_secs_f32() * 1e3) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventElapsedTime_v2(milliseconds: *mut f32, start: u64, end: u64) -> Status {
    // SAFETY: the same contract.
    unsafe { cuEventElapsedTime(milliseconds, start, end) }
}
