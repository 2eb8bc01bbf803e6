//! [`Gpu`]: a device that was started, its stream and memory.

use super::driver::{self, During};
use super::lane;
use super::staging::Staging;
use crate::error::{Error, Result};
use crate::memory::{Pool, Source};
use cudarc::driver::{result, sys};
use std::ptr::NonNull;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard};

/// GPUs that one process may use.
pub(super) const MOST: usize = 16;

/// A GPU that was started. It stays so until the process ends.
pub struct Gpu {
    ordinal: usize,
    name: String,
    capability: (i32, i32),
    multiprocessors: u32,
    total_memory: usize,
    context: sys::CUcontext,
    stream: sys::CUstream,
    pool: Pool,
    staging: Mutex<Staging>,
    /// Pools of captured steps that are over, for the next ones.
    spare_pools: Mutex<Vec<&'static Pool>>,
    /// Pinned words of mirrors that are gone. A graph may still write there, so they are used again and never freed.
    spare_mirrors: Mutex<Vec<(usize, usize)>>,
    counts: Counts,
    /// The kernel that was launched last, for messages.
    latest: AtomicUsize,
    /// Whether every launch is waited for, so that an error names its kernel.
    patient: bool,
}

// SAFETY: context and stream are handles that the driver lets any thread use.
unsafe impl Send for Gpu {}
// SAFETY: as above; all other parts are synchronised.
unsafe impl Sync for Gpu {}

#[derive(Default)]
struct Counts {
    launches: AtomicU64,
    graph_launches: AtomicU64,
    synchronisations: AtomicU64,
    uploads: AtomicU64,
    downloads: AtomicU64,
}

/// How often what was asked of a GPU since it was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Kernels, matrix products, fills and copies on the device, captured ones included when they are captured.
    pub launches: u64,
    /// Captured steps that were replayed.
    pub graph_launches: u64,
    /// Waits of the program for the GPU.
    pub synchronisations: u64,
    /// Copies to the GPU.
    pub uploads: u64,
    /// Copies from the GPU.
    pub downloads: u64,
    /// Blocks of memory asked of the driver, for arrays.
    pub allocations: u64,
}

impl Gpu {
    /// The GPU of this number, started at the first call.
    ///
    /// # Errors
    /// No driver, one that fails, or no such GPU.
    pub fn get(ordinal: usize) -> Result<&'static Gpu> {
        static GPUS: [OnceLock<Result<Gpu>>; MOST] = [const { OnceLock::new() }; MOST];
        driver::start()?;
        let Some(place) = GPUS.get(ordinal) else { return Err(Error::device("cuda", format!("GPU {ordinal} is out of range, at most {MOST} are supported"))) };
        place.get_or_init(|| Gpu::start(ordinal)).as_ref().map_err(Error::clone)
    }

    fn start(ordinal: usize) -> Result<Gpu> {
        const OP: &str = "cuda";
        let count = result::device::get_count().during(OP)?;
        if ordinal >= count.max(0) as usize {
            return Err(Error::device(OP, format!("GPU {ordinal} does not exist, this machine has {count}")));
        }
        let device = result::device::get(ordinal as i32).during(OP)?;
        let attribute = |which| {
            // SAFETY: the device is valid.
            unsafe { result::device::get_attribute(device, which) }.during(OP)
        };
        use sys::CUdevice_attribute_enum::*;
        let capability = (attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?, attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?);
        let name = result::device::get_name(device).during(OP)?;
        if capability < (8, 0) {
            return Err(Error::device(OP, format!("GPU {ordinal} ({name}) has compute capability {}.{}, expected 8.0 or higher", capability.0, capability.1)));
        }
        let multiprocessors = attribute(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?.max(1) as u32;
        // SAFETY: the device is valid; the primary context is never released, so the handle stays good.
        let (context, total_memory) = unsafe { (result::primary_ctx::retain(device).during(OP)?, result::device::total_mem(device).during(OP)?) };
        // SAFETY: the context is alive.
        unsafe { result::ctx::set_current(context) }.during(OP)?;
        let stream = result::stream::create(result::stream::StreamKind::NonBlocking).during(OP)?;
        let gpu = Gpu {
            ordinal,
            name,
            capability,
            multiprocessors,
            total_memory,
            context,
            stream,
            pool: Pool::new(Source::Cuda(ordinal), usize::MAX),
            staging: Mutex::default(),
            spare_pools: Mutex::default(),
            spare_mirrors: Mutex::default(),
            counts: Counts::default(),
            latest: AtomicUsize::new(0),
            patient: flag("CHAINRULE_CUDA_SYNC"),
        };
        gpu.pool.set_exact(flag("CHAINRULE_CUDA_EXACT"));
        Ok(gpu)
    }

    /// Its number.
    pub fn ordinal(&self) -> usize {
        self.ordinal
    }
    /// What its maker calls it.
    pub fn name(&self) -> &str {
        &self.name
    }
    /// Its compute capability, major and minor.
    pub fn capability(&self) -> (i32, i32) {
        self.capability
    }
    /// The number of its multiprocessors.
    pub fn multiprocessors(&self) -> u32 {
        self.multiprocessors
    }
    /// The size of its memory in bytes.
    pub fn total_memory(&self) -> usize {
        self.total_memory
    }

    /// The figures so far.
    pub fn counters(&self) -> Counters {
        let Counts { launches, graph_launches, synchronisations, uploads, downloads } = &self.counts;
        Counters {
            launches: launches.load(Relaxed),
            graph_launches: graph_launches.load(Relaxed),
            synchronisations: synchronisations.load(Relaxed),
            uploads: uploads.load(Relaxed),
            downloads: downloads.load(Relaxed),
            allocations: self.pool.statistics().system_allocations as u64 + lane::allocations(self.ordinal),
        }
    }

    /// The memory of arrays outside captured steps.
    pub(crate) fn shared_pool(&'static self) -> &'static Pool {
        &self.pool
    }

    /// The pool that arrays of this thread come from now.
    pub(crate) fn pool(&'static self) -> &'static Pool {
        lane::pool(self.ordinal).unwrap_or(&self.pool)
    }

    /// The stream that this thread's work goes to now.
    pub(crate) fn stream(&self) -> sys::CUstream {
        lane::stream(self.ordinal).unwrap_or(self.stream)
    }

    /// The stream of all work that is not being captured.
    pub(super) fn main_stream(&self) -> sys::CUstream {
        self.stream
    }

    /// Makes this GPU the one that the driver's calls of this thread mean.
    pub(super) fn enter(&self) -> Result<()> {
        // Each time, because another library of the program may have set its own.
        // SAFETY: the context is never released.
        unsafe { result::ctx::set_current(self.context) }.during("cuda")
    }

    /// Waits until everything asked so far is done.
    ///
    /// # Errors
    /// What a kernel did wrong since the last wait; a step is being captured.
    pub fn synchronize(&self) -> Result<()> {
        self.expect_not_capturing("synchronize", "it cannot wait for its own results; read numbers after the step")?;
        self.enter()?;
        self.counts.synchronisations.fetch_add(1, Relaxed);
        // SAFETY: the stream lives as long as the process.
        unsafe { result::stream::synchronize(self.stream) }.map_err(|error| {
            let kernel = super::kernel::name(self.latest.load(Relaxed));
            Error::device(
                "synchronize",
                format!("{}; something launched since the last wait failed, the latest was {kernel}; CHAINRULE_CUDA_SYNC=1 finds which", driver::text(error)),
            )
        })
    }

    /// An error while this thread captures a step.
    pub(crate) fn expect_not_capturing(&self, op: &'static str, reason: &str) -> Result<()> {
        match lane::stream(self.ordinal) {
            Some(_) => Err(Error::device(op, format!("a step is being captured: {reason}"))),
            None => Ok(()),
        }
    }

    /// After a launch: counted, and waited for where that was asked.
    pub(super) fn launched(&self, op: &'static str, kernel: usize) -> Result<()> {
        self.counts.launches.fetch_add(1, Relaxed);
        self.latest.store(kernel, Relaxed);
        if self.patient && lane::stream(self.ordinal).is_none() {
            // SAFETY: the stream lives as long as the process.
            return unsafe { result::stream::synchronize(self.stream) }
                .map_err(|error| Error::device(op, format!("kernel {}: {}", super::kernel::name(kernel), driver::text(error))));
        }
        Ok(())
    }

    /// A pool for a captured step.
    pub(super) fn own_pool(&self) -> &'static Pool {
        let spare = self.spare_pools.lock().unwrap_or_else(|p| p.into_inner()).pop();
        // Never freed, because blocks name their pool; there are as many as captured steps at one time.
        spare.unwrap_or_else(|| Box::leak(Box::new(Pool::recorded(Source::Cuda(self.ordinal)))))
    }

    /// Takes back the pool of a captured step, whose arrays may live on.
    pub(super) fn return_pool(&self, pool: &'static Pool) {
        pool.release_cached();
        self.spare_pools.lock().unwrap_or_else(|p| p.into_inner()).push(pool);
    }

    /// Pinned memory of `words` words that a mirror left behind, as an address.
    pub(super) fn spare_mirror(&self, words: usize) -> Option<usize> {
        let mut spare = self.spare_mirrors.lock().unwrap_or_else(|p| p.into_inner());
        let at = spare.iter().position(|(_, length)| *length == words)?;
        Some(spare.swap_remove(at).0)
    }

    /// Takes back the pinned memory of a mirror.
    pub(super) fn return_mirror(&self, address: usize, words: usize) {
        self.spare_mirrors.lock().unwrap_or_else(|p| p.into_inner()).push((address, words));
    }

    /// Waits for the main stream whatever this thread does.
    pub(super) fn drain(&self) -> Result<()> {
        self.enter()?;
        self.counts.synchronisations.fetch_add(1, Relaxed);
        // SAFETY: the stream lives as long as the process.
        unsafe { result::stream::synchronize(self.stream) }.during("synchronize")
    }

    pub(super) fn count_graph_launch(&self) {
        self.counts.graph_launches.fetch_add(1, Relaxed);
    }
    pub(super) fn count_upload(&self) {
        self.counts.uploads.fetch_add(1, Relaxed);
    }
    pub(super) fn count_download(&self) {
        self.counts.downloads.fetch_add(1, Relaxed);
    }

    pub(super) fn staging(&self) -> MutexGuard<'_, Staging> {
        // Its buffers are whole at every moment.
        self.staging.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub(super) fn reserve(&self, bytes: usize) -> Result<NonNull<u8>, String> {
        self.enter().map_err(|e| e.to_string())?;
        // SAFETY: plain allocation in the current context.
        let address =
            unsafe { result::malloc_sync(bytes) }.map_err(|error| format!("{}; GPU {} has {} bytes", driver::text(error), self.ordinal, self.total_memory))?;
        NonNull::new(std::ptr::without_provenance_mut(address as usize)).ok_or_else(|| "the CUDA driver gave an empty address".into())
    }

    pub(super) fn give_back(&self, start: NonNull<u8>) {
        if self.enter().is_ok() {
            // SAFETY: the address came from `reserve`, and no array holds it. An error is one of earlier work, which the next call shows.
            let _ = unsafe { result::free_sync(start.as_ptr().addr() as u64) };
        }
    }
}

impl std::fmt::Debug for Gpu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Gpu({} {}, {}.{})", self.ordinal, self.name, self.capability.0, self.capability.1)
    }
}

/// Whether an environment variable is set to something but 0.
fn flag(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| value != "0" && !value.is_empty())
}
