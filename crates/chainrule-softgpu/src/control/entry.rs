//! The symbols by which a test in the same process reaches the loaded library.
use super::{INTERFACE, Sink};
use crate::call::{Needs, answer};
use crate::counters::{Counters, KernelCount};
use crate::device_memory::Failing;
use crate::machine::lock;
use crate::operation::Operation;
use crate::random::Random;
use std::ffi::c_void;

#[unsafe(no_mangle)]
extern "C" fn softgpu_interface() -> u32 {
    INTERFACE
}

#[unsafe(no_mangle)]
extern "C" fn softgpu_seed(seed: u64) {
    lock().random = Random::new(seed);
}

#[unsafe(no_mangle)]
extern "C" fn softgpu_fail_allocation(kind: u32, number: u64) {
    let before = number.saturating_sub(1);
    lock().memory.failing = match kind {
        1 => Failing::Once(before),
        2 => Failing::From(before),
        _ => Failing::Never,
    };
}

#[unsafe(no_mangle)]
extern "C" fn softgpu_capacity(bytes: u64) {
    lock().memory.set_capacity(bytes);
}

#[unsafe(no_mangle)]
extern "C" fn softgpu_live_bytes() -> u64 {
    lock().memory.bytes.live() as u64
}

#[unsafe(no_mangle)]
extern "C" fn softgpu_pending() -> u64 {
    lock().streams.pending()
}

/// # Safety
/// `counters` is good for writing.
#[unsafe(no_mangle)]
unsafe extern "C" fn softgpu_counters(counters: *mut Counters) {
    // SAFETY: by the contract.
    unsafe { counters.write(lock().counters) };
}

#[unsafe(no_mangle)]
extern "C" fn softgpu_reset_counters() {
    let mut machine = lock();
    machine.counters = Counters::default();
    machine.kernels.clear();
}

#[unsafe(no_mangle)]
extern "C" fn softgpu_kernels(sink: Sink, list: *mut c_void) {
    let kernels = lock().kernels.clone();
    for (name, count) in kernels {
        let KernelCount { runs, instructions, bytes_read, bytes_written, time } = count;
        let line = format!("{name}\t{runs}\t{instructions}\t{bytes_read}\t{bytes_written}\t{}", time.as_nanos());
        sink(list, line.as_ptr(), line.len());
    }
}

#[unsafe(no_mangle)]
extern "C" fn softgpu_take_findings(sink: Sink, list: *mut c_void) {
    let findings = std::mem::take(&mut lock().findings);
    findings.iter().for_each(|finding| sink(list, finding.as_ptr(), finding.len()));
}

#[unsafe(no_mangle)]
extern "C" fn softgpu_reset() {
    let mut machine = lock();
    machine.streams.drop_work();
    machine.streams.all().for_each(|(_, stream)| stream.capture = None);
    machine.captures.clear();
    machine.events.values_mut().for_each(|event| *event = crate::event::Event { flags: event.flags, ..Default::default() });
    machine.sticky = None;
    machine.memory.failing = Failing::Never;
}

#[unsafe(no_mangle)]
extern "C" fn softgpu_trace(on: u32) {
    lock().trace = on != 0;
}

/// # Safety
/// `place` is good for writing `bytes` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn softgpu_read(address: u64, place: *mut u8, bytes: usize, sink: Sink, errors: *mut c_void) -> u32 {
    let mut read = vec![0; bytes];
    if let Err(fault) = lock().memory.bytes.read(address, &mut read) {
        let text = fault.to_string();
        sink(errors, text.as_ptr(), text.len());
        return 1;
    }
    // SAFETY: by the contract.
    unsafe { std::ptr::copy_nonoverlapping(read.as_ptr(), place, bytes) };
    0
}

#[unsafe(no_mangle)]
extern "C" fn softgpu_retire(stream: u64, address: u64, bytes: usize) -> u32 {
    answer("softgpu_retire", Needs::Context, |machine| {
        machine.memory.expect_range(address, bytes)?;
        machine.enqueue(stream, Operation::Retire { address, bytes })
    })
    .0
}
