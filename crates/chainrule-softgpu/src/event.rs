//! Events: recorded in a stream, finished when the stream has come that far.
use crate::machine::Machine;
use crate::status::{Outcome, Status};
use std::time::Instant;

/// `CU_EVENT_DISABLE_TIMING`.
pub const DISABLE_TIMING: u32 = 2;

/// An event.
#[derive(Default)]
pub struct Event {
    /// As given at creation.
    pub flags: u32,
    /// The ticket of its last record.
    pub last: Option<u64>,
    /// When the last record was run.
    pub finished: Option<Instant>,
    /// Recorded in a capture: which one, and the nodes it stands behind.
    pub captured: Option<(u64, Vec<usize>)>,
}

impl Event {
    /// Whether nothing is left to wait for.
    pub fn is_finished(&self) -> bool {
        self.last.is_none() || self.finished.is_some()
    }
}

impl Machine {
    /// The event of a handle.
    pub fn event(&mut self, handle: u64) -> Outcome<&mut Event> {
        self.events.get_mut(&handle).ok_or(Status::INVALID_HANDLE)
    }

    /// Runs work until an event's last record has been run.
    pub fn finish_event(&mut self, handle: u64) -> Outcome {
        while !self.event(handle)?.is_finished() {
            if !self.step(None) {
                break;
            }
        }
        self.health()
    }
}
