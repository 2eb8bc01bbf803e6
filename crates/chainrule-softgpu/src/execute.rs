//! Running one operation: the host's bytes move now, kernels are interpreted now, and a fault breaks the device down.
use crate::machine::Machine;
use crate::operation::{HostSource, HostTarget, KernelLaunch, Operation};
use crate::status::Status;
use chainrule_ptx::{Fault, FaultKind, Launch, Statistics};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

/// Why an operation could not be run.
pub struct Breakdown {
    /// What calls answer from then on.
    pub status: Status,
    /// What was found.
    pub text: String,
}

impl From<Fault> for Breakdown {
    fn from(fault: Fault) -> Breakdown {
        let status = match fault.kind {
            FaultKind::OutOfBounds | FaultKind::Freed => Status::ILLEGAL_ADDRESS,
            FaultKind::Misaligned => Status::MISALIGNED_ADDRESS,
            _ => Status::LAUNCH_FAILED,
        };
        Breakdown { status, text: fault.to_string() }
    }
}

/// The text of a panic.
pub fn panic_text(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_string());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no text".to_string())
}

impl Machine {
    /// Runs an operation of a stream.
    pub fn execute(&mut self, stream: u64, operation: &Operation, in_graph: bool) {
        self.trace(|| format!("stream {stream:#x}: runs {operation}"));
        let done = catch_unwind(AssertUnwindSafe(|| self.perform(operation, in_graph)));
        let done = done.unwrap_or_else(|payload| Err(Breakdown { status: Status::LAUNCH_FAILED, text: format!("panic: {}", panic_text(&*payload)) }));
        if let Err(Breakdown { status, text }) = done {
            self.break_down(status, format!("{operation}{}: {text}", if in_graph { " in a graph" } else { "" }));
        }
    }

    fn perform(&mut self, operation: &Operation, in_graph: bool) -> Result<(), Breakdown> {
        match operation {
            Operation::Launch(launch) => self.run_kernel(launch, in_graph)?,
            Operation::CopyIn { to, source } => self.copy_in(*to, source)?,
            Operation::CopyOut { to, from, bytes } => self.copy_out(*to, *from, *bytes)?,
            Operation::CopyInside { to, from, bytes } => {
                self.memory.bytes.copy(*to, *from, *bytes)?;
                self.counters.copies_inside += 1;
                self.counters.copied_inside_bytes += *bytes as u64;
            }
            Operation::Fill { address, value, width, count } => {
                self.memory.bytes.fill(*address, *value, *width, *count)?;
                self.counters.fills += 1;
            }
            Operation::Free(address) => self.memory.free(*address)?,
            Operation::Retire { address, bytes } => self.memory.bytes.retire(*address, *bytes)?,
            Operation::Matmul(matmul) => {
                let began = Instant::now();
                matmul.run(&mut self.memory.bytes)?;
                self.counters.matmuls += 1;
                self.count_run("cublasLtMatmul", &Statistics::default(), began);
            }
            Operation::Record { event, ticket } => {
                self.streams.pending_records.remove(ticket);
                if let Some(event) = self.events.get_mut(event).filter(|event| event.last == Some(*ticket)) {
                    event.finished = Some(Instant::now());
                }
            }
            Operation::Wait { .. } => {}
        }
        Ok(())
    }

    fn run_kernel(&mut self, launch: &KernelLaunch, in_graph: bool) -> Result<(), Breakdown> {
        let began = Instant::now();
        let KernelLaunch { kernel, grid, block, dynamic_shared, shared_limit, parameters } = launch;
        let plain = Launch::new(kernel, *grid, *block, parameters);
        let order = Launch { dynamic_shared: *dynamic_shared, shared_limit: *shared_limit, seed: self.random.bits(), ..plain };
        let statistics = chainrule_ptx::run(&order, &mut self.memory.bytes)?;
        self.counters.graph_kernels += u64::from(in_graph);
        self.counters.thread_instructions += statistics.instructions;
        self.counters.global_bytes_read += statistics.global_bytes_read;
        self.counters.global_bytes_written += statistics.global_bytes_written;
        self.count_run(kernel.name(), &statistics, began);
        Ok(())
    }

    fn count_run(&mut self, name: &str, statistics: &Statistics, began: Instant) {
        if !self.kernels.contains_key(name) {
            self.kernels.insert(name.to_string(), Default::default());
        }
        if let Some(count) = self.kernels.get_mut(name) {
            count.runs += 1;
            count.instructions += statistics.instructions;
            count.bytes_read += statistics.global_bytes_read;
            count.bytes_written += statistics.global_bytes_written;
            count.time += began.elapsed();
        }
    }

    fn copy_in(&mut self, to: u64, source: &HostSource) -> Result<(), Breakdown> {
        let bytes = match source {
            HostSource::Snapshot(bytes) => {
                self.memory.bytes.write(to, bytes)?;
                bytes.len()
            }
            HostSource::Pinned { address, bytes } => {
                self.expect_pinned(*address, *bytes)?;
                // SAFETY: the range was found in memory that is pinned now: it is alive, and no Rust reference of this crate covers it.
                let read = unsafe { std::slice::from_raw_parts(*address as *const u8, *bytes) };
                self.memory.bytes.write(to, read)?;
                *bytes
            }
        };
        self.counters.copies_in += 1;
        self.counters.copied_in_bytes += bytes as u64;
        Ok(())
    }

    fn copy_out(&mut self, to: HostTarget, from: u64, bytes: usize) -> Result<(), Breakdown> {
        let address = match to {
            HostTarget::Pinned(address) => {
                self.expect_pinned(address, bytes)?;
                address
            }
            HostTarget::Waiting(address) => address,
        };
        let mut staged = vec![0; bytes];
        self.memory.bytes.read(from, &mut staged)?;
        // SAFETY: pinned memory was just found alive; other memory belongs to the call that queued this copy and waits for it.
        unsafe { std::ptr::copy_nonoverlapping(staged.as_ptr(), address as *mut u8, bytes) };
        self.counters.copies_out += 1;
        self.counters.copied_out_bytes += bytes as u64;
        Ok(())
    }

    fn expect_pinned(&self, address: usize, bytes: usize) -> Result<(), Breakdown> {
        if self.pinned.holds(address, bytes) {
            return Ok(());
        }
        Err(Breakdown { status: Status::ILLEGAL_ADDRESS, text: format!("{bytes} bytes of host memory at {address:#x} are not pinned any more") })
    }
}
