//! What every entry point does first and last: the lock, the state it needs, panics turned into errors, and the pointers of the caller.
use crate::execute::panic_text;
use crate::machine::{Machine, lock};
use crate::status::{Outcome, Status};
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The handle of the one primary context.
pub const PRIMARY: usize = 0x0c00;

thread_local! {
    /// The contexts of this thread, the current one last.
    pub static CONTEXTS: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
    /// The thread's capture mode is relaxed (`cuThreadExchangeStreamCaptureMode`).
    pub static RELAXED: Cell<bool> = const { Cell::new(false) };
}

/// What must be there before a call can do its work.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing.
    Nothing,
    /// `cuInit`.
    Driver,
    /// A current context that no fault has broken.
    Context,
}

/// Runs the body of an entry point.
pub fn answer(name: &str, needs: Needs, body: impl FnOnce(&mut Machine) -> Outcome) -> Status {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let machine = &mut *lock();
        let outcome = expect(machine, needs).and_then(|()| body(machine));
        if let Err(status) = outcome {
            machine.trace(|| format!("{name}: {}", status.describe().map_or("?".into(), |(name, _)| name.to_string_lossy())));
        }
        outcome
    }));
    outcome
        .unwrap_or_else(|payload| {
            lock().break_down(Status::UNKNOWN, format!("{name}: panic: {}", panic_text(&*payload)));
            Err(Status::UNKNOWN)
        })
        .into()
}

/// The state a call needs, or the error it answers with.
pub fn expect(machine: &Machine, needs: Needs) -> Outcome {
    if needs == Needs::Nothing {
        return Ok(());
    }
    if !machine.initialised {
        return Err(Status::NOT_INITIALIZED);
    }
    if needs == Needs::Driver {
        return Ok(());
    }
    let current = CONTEXTS.with_borrow(|contexts| contexts.last().copied());
    if current != Some(PRIMARY) || machine.retained == 0 {
        return Err(Status::INVALID_CONTEXT);
    }
    machine.health()
}

/// Writes a result to where the caller wants it.
///
/// # Safety
/// `place` is null or good for writing a `T`.
pub unsafe fn give<T>(place: *mut T, value: T) -> Outcome {
    if place.is_null() {
        return Err(Status::INVALID_VALUE);
    }
    // SAFETY: not null, and good for writing by the contract.
    unsafe { place.write_unaligned(value) };
    Ok(())
}
