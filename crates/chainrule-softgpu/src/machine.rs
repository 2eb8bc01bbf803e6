//! The one device of the process, behind one lock: everything the entry points work on.
use crate::blaslt::Descriptor;
use crate::counters::{Counters, KernelCounts};
use crate::device_memory::DeviceMemory;
use crate::event::Event;
use crate::graph::{Capture, Graph};
use crate::host::Pinned;
use crate::module::{Function, LoadedModule};
use crate::queue::Streams;
use crate::random::Random;
use crate::status::{Outcome, Status};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};

/// The state of the device and of the driver.
pub struct Machine {
    /// `cuInit` was called.
    pub initialised: bool,
    /// How often the primary context is retained.
    pub retained: usize,
    /// Memory of the device.
    pub memory: DeviceMemory,
    /// Host memory that the device may reach.
    pub pinned: Pinned,
    /// Streams with their queues.
    pub streams: Streams,
    /// Events by handle.
    pub events: BTreeMap<u64, Event>,
    /// Captures that have not ended.
    pub captures: BTreeMap<u64, Capture>,
    /// Captured graphs by handle.
    pub graphs: BTreeMap<u64, Arc<Graph>>,
    /// Graphs made ready to launch, by handle.
    pub executables: BTreeMap<u64, Arc<Graph>>,
    /// Modules by handle.
    pub modules: BTreeMap<u64, LoadedModule>,
    /// Descriptors of cuBLASLt by handle.
    pub descriptors: BTreeMap<u64, Descriptor>,
    /// Handles of cuBLASLt.
    pub blas_handles: BTreeSet<u64>,
    /// Functions by handle.
    pub functions: BTreeMap<u64, Function>,
    /// Attributes of the memory pool, as they were set.
    pub pool: BTreeMap<u32, u64>,
    /// The error that every call answers with since a fault.
    pub sticky: Option<Status>,
    /// The texts of all faults.
    pub findings: Vec<String>,
    /// Counts.
    pub counters: Counters,
    /// Counts by kernel.
    pub kernels: KernelCounts,
    /// The source of hostile choices.
    pub random: Random,
    /// Each operation is printed.
    pub trace: bool,
    next_handle: u64,
}

static MACHINE: LazyLock<Mutex<Machine>> = LazyLock::new(|| Mutex::new(Machine::from_environment()));

/// The machine, for the length of a call.
pub fn lock() -> MutexGuard<'static, Machine> {
    MACHINE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Machine {
    fn from_environment() -> Machine {
        let seed = std::env::var("CHAINRULE_SOFTGPU_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
        let trace = std::env::var("CHAINRULE_SOFTGPU_TRACE").is_ok_and(|text| !text.is_empty() && text != "0");
        Machine {
            initialised: false,
            retained: 0,
            memory: DeviceMemory::default(),
            pinned: Pinned::default(),
            streams: Streams::default(),
            events: BTreeMap::new(),
            captures: BTreeMap::new(),
            graphs: BTreeMap::new(),
            executables: BTreeMap::new(),
            modules: BTreeMap::new(),
            functions: BTreeMap::new(),
            descriptors: BTreeMap::new(),
            blas_handles: BTreeSet::new(),
            pool: BTreeMap::new(),
            sticky: None,
            findings: Vec::new(),
            counters: Counters::default(),
            kernels: KernelCounts::new(),
            random: Random::new(seed),
            trace,
            next_handle: 0x1000,
        }
    }

    /// A handle no other object has or had.
    pub fn new_handle(&mut self) -> u64 {
        self.next_handle += 0x10;
        self.next_handle
    }

    /// A number above all handles, and below all addresses of the host's memory.
    pub fn handles_end(&self) -> u64 {
        self.next_handle + 1
    }

    /// Keeps and prints what a fault says.
    pub fn report(&mut self, text: String) {
        eprintln!("softgpu: {text}");
        self.counters.faults += 1;
        self.findings.push(text);
    }

    /// A fault while work ran: from now on every call answers with it, and what was queued is lost.
    pub fn break_down(&mut self, status: Status, text: String) {
        self.report(text);
        self.sticky.get_or_insert(status);
        self.streams.drop_work();
    }

    /// The answer of a call that waited: the fault of what ran meanwhile, if one did.
    pub fn health(&self) -> Outcome {
        self.sticky.map_or(Ok(()), Err)
    }

    /// Prints a line where tracing is on.
    pub fn trace(&self, line: impl FnOnce() -> String) {
        if self.trace {
            eprintln!("softgpu: {}", line());
        }
    }

    /// The end of the primary context: what was queued is run, then everything it owned is gone.
    pub fn end_context(&mut self) {
        self.finish_all();
        let modules: Vec<u64> = self.modules.keys().copied().collect();
        for module in modules {
            // A module that a table holds can be unloaded; a fault of its memory has been reported.
            let _ = self.unload_module(module);
        }
        self.memory.free_all();
        self.streams = Streams::default();
        self.events.clear();
        self.captures.clear();
        self.graphs.clear();
        self.executables.clear();
        self.pool.clear();
        self.sticky = None;
    }
}
