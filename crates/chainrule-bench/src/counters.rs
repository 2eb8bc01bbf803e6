//! What a step asks of the machine beyond its arithmetic.

use crate::workload::Step;
use chainrule::Result;
use chainrule::core::{memory, parallel};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;

#[global_allocator]
static HEAP: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Steps that settle free lists and helpers.
const SETTLE: usize = 8;
/// Steps that are counted.
const COUNTED: usize = 10;

/// Figures per step, in steady state.
#[derive(Clone, Copy, Debug)]
pub struct Counts {
    /// Allocations on the heap, and reallocations.
    pub heap: f64,
    /// Their bytes.
    pub heap_bytes: f64,
    /// Blocks for arrays that the system was asked for.
    pub blocks: f64,
    /// Jobs handed to other threads.
    pub handed_out: f64,
    /// Threads woken for them.
    pub woken: f64,
}

/// Counts over some steps, after others that settle free lists and threads. The counters are the whole process's: nothing else may run.
///
/// # Errors
/// Those of the step.
pub fn count(step: &mut Step) -> Result<Counts> {
    let show = &mut |_: &_| ();
    for _ in 0..SETTLE {
        step(show)?;
    }
    let (blocks, threads, heap) = (memory::statistics(), parallel::statistics(), Region::new(HEAP));
    for _ in 0..COUNTED {
        step(show)?;
    }
    let (heap, after, threads_after) = (heap.change(), memory::statistics(), parallel::statistics());
    let per_step = |before: usize, after: usize| (after - before) as f64 / COUNTED as f64;
    Ok(Counts {
        heap: per_step(0, heap.allocations + heap.reallocations),
        heap_bytes: per_step(0, heap.bytes_allocated),
        blocks: per_step(blocks.system_allocations, after.system_allocations),
        handed_out: per_step(threads.handed_out, threads_after.handed_out),
        woken: per_step(threads.woken, threads_after.woken),
    })
}
