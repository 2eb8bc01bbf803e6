//! Steering and reading the software GPU from a test: safe calls into whatever library was loaded as the driver.
//!
//! Every function answers with an error where the loaded driver is a real one, or there is none.
mod entry;

pub use crate::counters::{Counters, KernelCount, KernelCounts};

use libloading::Library;
use std::ffi::c_void;
use std::fmt;
use std::sync::OnceLock;
use std::time::Duration;

/// Number of this interface: a library of another number is not spoken to.
pub const INTERFACE: u32 = 2;

/// Why the software GPU could not be asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ControlError(String);

impl fmt::Display for ControlError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "software GPU: {}", self.0)
    }
}

impl std::error::Error for ControlError {}

/// What a call of this module comes to.
pub type Result<T = ()> = std::result::Result<T, ControlError>;

/// Which device allocations fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// None fails by order.
    Never,
    /// The n-th from now (1 is the next) fails, once.
    Once(u64),
    /// The n-th from now and all that follow fail.
    From(u64),
}

/// Takes bytes from the library.
pub(crate) type Sink = extern "C" fn(*mut c_void, *const u8, usize);

macro_rules! interface {
    ($($field:ident = $symbol:literal: fn($($argument:ty),*) $(-> $result:ty)?;)*) => {
        struct Interface {
            $($field: unsafe extern "C" fn($($argument),*) $(-> $result)?,)*
        }

        impl Interface {
            fn find(library: &'static Library) -> std::result::Result<Interface, libloading::Error> {
                // SAFETY: the library's interface number is this crate's, so its symbols have these types.
                unsafe { Ok(Interface { $($field: *library.get(concat!($symbol, "\0").as_bytes())?,)* }) }
            }
        }
    };
}

interface! {
    seed = "softgpu_seed": fn(u64);
    fail_allocation = "softgpu_fail_allocation": fn(u32, u64);
    capacity = "softgpu_capacity": fn(u64);
    live_bytes = "softgpu_live_bytes": fn() -> u64;
    pending = "softgpu_pending": fn() -> u64;
    counters = "softgpu_counters": fn(*mut Counters);
    reset_counters = "softgpu_reset_counters": fn();
    kernels = "softgpu_kernels": fn(Sink, *mut c_void);
    take_findings = "softgpu_take_findings": fn(Sink, *mut c_void);
    reset = "softgpu_reset": fn();
    trace = "softgpu_trace": fn(u32);
    read = "softgpu_read": fn(u64, *mut u8, usize, Sink, *mut c_void) -> u32;
    retire = "softgpu_retire": fn(u64, u64, usize) -> u32;
}

/// The names under which a driver is looked for, in the order of those who open it.
const NAMES: [&str; 2] = ["libcuda.so", "libcuda.so.1"];

fn open() -> Result<Interface> {
    // SAFETY: a driver's library runs no code of its own that could harm when it is opened.
    let opened = NAMES.iter().find_map(|name| unsafe { Library::new(*name) }.ok());
    let library = opened.ok_or_else(|| ControlError("no driver was found under libcuda.so (run the test under scripts/soft-gpu)".into()))?;
    // It stays open, for the driver's users hold it as well.
    let library: &'static Library = Box::leak(Box::new(library));
    // SAFETY: this symbol has had this type in every version.
    let version = unsafe { library.get::<unsafe extern "C" fn() -> u32>(b"softgpu_interface\0") };
    let version = version.map_err(|_| ControlError("the loaded driver is a real one".into()))?;
    // SAFETY: it takes and touches nothing.
    let number = unsafe { version() };
    if number != INTERFACE {
        return Err(ControlError(format!("the loaded library has interface {number}, not {INTERFACE}: build it again")));
    }
    Interface::find(library).map_err(|error| ControlError(error.to_string()))
}

fn interface() -> Result<&'static Interface> {
    static FOUND: OnceLock<Result<Interface>> = OnceLock::new();
    FOUND.get_or_init(open).as_ref().map_err(Clone::clone)
}

extern "C" fn push_text(list: *mut c_void, bytes: *const u8, length: usize) {
    // SAFETY: the calls below hand over a list that lives until they return, and the library gives bytes that live as long as this call.
    let (list, bytes) = unsafe { (&mut *list.cast::<Vec<String>>(), std::slice::from_raw_parts(bytes, length)) };
    list.push(String::from_utf8_lossy(bytes).into_owned());
}

/// Whether the loaded driver is the software GPU.
pub fn is_software() -> bool {
    interface().is_ok()
}

/// Begins a new row of hostile choices; 0 is the seed of a fresh process.
pub fn seed(seed: u64) -> Result {
    // SAFETY: takes a number.
    interface().map(|interface| unsafe { (interface.seed)(seed) })
}

/// Orders device allocations to fail.
pub fn fail_allocation(failure: Failure) -> Result {
    let (kind, number) = match failure {
        Failure::Never => (0, 0),
        Failure::Once(number) => (1, number),
        Failure::From(number) => (2, number),
    };
    // SAFETY: takes numbers.
    interface().map(|interface| unsafe { (interface.fail_allocation)(kind, number) })
}

/// Sets the device's memory; allocations beyond it fail.
pub fn capacity(bytes: u64) -> Result {
    // SAFETY: takes a number.
    interface().map(|interface| unsafe { (interface.capacity)(bytes) })
}

/// Bytes of device memory that are allocated.
pub fn live_bytes() -> Result<u64> {
    // SAFETY: takes nothing.
    interface().map(|interface| unsafe { (interface.live_bytes)() })
}

/// Operations that are queued and have not been run; a launched graph is one.
pub fn pending() -> Result<u64> {
    // SAFETY: takes nothing.
    interface().map(|interface| unsafe { (interface.pending)() })
}

/// The counts since the start or the last reset.
pub fn counters() -> Result<Counters> {
    let mut counters = Counters::default();
    // SAFETY: a place for the result, of the type that the interface number stands for.
    interface().map(|interface| unsafe { (interface.counters)(&mut counters) })?;
    Ok(counters)
}

/// Sets all counts to 0, those by kernel too.
pub fn reset_counters() -> Result {
    // SAFETY: takes nothing.
    interface().map(|interface| unsafe { (interface.reset_counters)() })
}

/// Runs, instructions, bytes and time by kernel.
pub fn kernels() -> Result<KernelCounts> {
    let mut lines: Vec<String> = Vec::new();
    // SAFETY: the list lives until the call returns, as `push_text` needs.
    interface().map(|interface| unsafe { (interface.kernels)(push_text, (&raw mut lines).cast()) })?;
    let count = |line: &String| {
        let mut fields = line.split('\t');
        let (name, mut number) = (fields.next()?.to_string(), || fields.next()?.parse().ok());
        Some((
            name,
            KernelCount { runs: number()?, instructions: number()?, bytes_read: number()?, bytes_written: number()?, time: Duration::from_nanos(number()?) },
        ))
    };
    Ok(lines.iter().filter_map(count).collect())
}

/// Takes the texts of all faults found since the last time.
pub fn take_findings() -> Result<Vec<String>> {
    let mut findings: Vec<String> = Vec::new();
    // SAFETY: the list lives until the call returns, as `push_text` needs.
    interface().map(|interface| unsafe { (interface.take_findings)(push_text, (&raw mut findings).cast()) })?;
    Ok(findings)
}

/// Makes the device usable after a fault: drops queued work, ends captures, forgets the error and ordered failures. Memory stays.
pub fn reset() -> Result {
    // SAFETY: takes nothing.
    interface().map(|interface| unsafe { (interface.reset)() })
}

/// Prints each operation as it is queued and run.
pub fn trace(on: bool) -> Result {
    // SAFETY: takes a number.
    interface().map(|interface| unsafe { (interface.trace)(on.into()) })
}

/// Bytes of device memory as they are now, without waiting for what is queued; freed, foreign or unwritten bytes are an error.
pub fn read(address: u64, bytes: usize) -> Result<Vec<u8>> {
    let mut read = vec![0; bytes];
    let mut errors: Vec<String> = Vec::new();
    // SAFETY: a place of `bytes` bytes, and a list that lives until the call returns.
    let failed = interface().map(|interface| unsafe { (interface.read)(address, read.as_mut_ptr(), bytes, push_text, (&raw mut errors).cast()) })?;
    if failed == 0 { Ok(read) } else { Err(ControlError(errors.concat())) }
}

/// Marks a range of device memory as never written, in a stream's order: for an allocator that keeps freed memory to hand it out again.
pub fn retire(stream: u64, address: u64, bytes: usize) -> Result {
    // SAFETY: takes numbers.
    let status = interface().map(|interface| unsafe { (interface.retire)(stream, address, bytes) })?;
    if status == 0 { Ok(()) } else { Err(ControlError(format!("retiring {bytes} bytes at {address:#x}: driver error {status}"))) }
}
