//! cuBLASLt: whether it is there, a handle and workspace for each GPU, and plans for products that were seen.

use super::plan::{Key, Plan};
use super::{Product, TF32, own};
use crate::cuda::Gpu;
use crate::cuda::gpu::MOST;
use crate::cuda::kernel;
use crate::error::{Error, Result};
use crate::memory::Shared;
use cudarc::cublaslt::{
    result::{self, CublasError},
    sys,
};
use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, OnceLock};

/// What this crate calls. cudarc looks a function up at its first call and panics where it is missing, so they are all looked up before.
const FUNCTIONS: &[&str] = &[
    "cublasLtCreate",
    "cublasLtMatmul",
    "cublasLtMatmulAlgoGetHeuristic",
    "cublasLtMatmulDescCreate",
    "cublasLtMatmulDescDestroy",
    "cublasLtMatmulDescSetAttribute",
    "cublasLtMatmulPreferenceCreate",
    "cublasLtMatmulPreferenceDestroy",
    "cublasLtMatmulPreferenceSetAttribute",
    "cublasLtMatrixLayoutCreate",
    "cublasLtMatrixLayoutDestroy",
    "cublasLtMatrixLayoutSetAttribute",
];

/// Whether the library is there and whole; looked at once.
pub(super) fn is_present() -> bool {
    static PRESENT: OnceLock<bool> = OnceLock::new();
    *PRESENT.get_or_init(|| {
        // SAFETY: opens a library of that name, which runs its own start-up code.
        if !unsafe { sys::is_culib_present() } {
            return false;
        }
        // SAFETY: the library is there.
        let library = unsafe { sys::culib() };
        // SAFETY: only looks for the symbol; the type is not used.
        FUNCTIONS.iter().all(|name| unsafe { library.get::<unsafe extern "C" fn()>(name.as_bytes()) }.is_ok())
    })
}

/// The library's part for one GPU.
struct Library {
    handle: sys::cublasLtHandle_t,
    /// Used by the work of one stream, in order; replayed steps run on that stream too.
    workspace: Shared,
    workspace_bytes: usize,
    /// None for forms that the library has no algorithm for.
    plans: HashMap<Key, Option<Plan>>,
    /// The number that messages of launches know its products by.
    number: usize,
}

// SAFETY: the library lets any thread use the handle; all else is used under a lock.
unsafe impl Send for Library {}

/// Plans that are kept. A program with more forms than that makes some of them again.
const KEPT: usize = 4096;

static LIBRARIES: [Mutex<Option<Library>>; MOST] = [const { Mutex::new(None) }; MOST];

fn failed(op: &'static str, error: CublasError) -> Error {
    Error::device(op, format!("cuBLASLt says {error}; CHAINRULE_CUBLAS=0 uses the kernels of chainrule instead"))
}

impl Library {
    fn start(op: &'static str, gpu: &'static Gpu) -> Result<Library> {
        // What NVIDIA advises: Hopper's kernels want more.
        let workspace_bytes = if gpu.capability().0 == 9 { 32 << 20 } else { 4 << 20 };
        let workspace = gpu.shared_pool().allocate(workspace_bytes)?;
        let handle = result::create_handle().map_err(|error| failed(op, error))?;
        Ok(Library { handle, workspace, workspace_bytes, plans: HashMap::new(), number: kernel::number("cublasLtMatmul") })
    }

    /// The plan for a form, made at its first product.
    fn plan(&mut self, op: &'static str, key: Key) -> Result<Option<&Plan>> {
        if self.plans.len() >= KEPT && !self.plans.contains_key(&key) {
            self.plans.clear();
        }
        use std::collections::hash_map::Entry;
        match self.plans.entry(key) {
            Entry::Occupied(known) => Ok(known.into_mut().as_ref()),
            Entry::Vacant(place) => {
                let plan = match Plan::new(self.handle, &key, self.workspace_bytes) {
                    Ok(plan) => Some(plan),
                    Err(CublasError(sys::cublasStatus_t::CUBLAS_STATUS_NOT_SUPPORTED | sys::cublasStatus_t::CUBLAS_STATUS_INVALID_VALUE)) => None,
                    Err(error) => return Err(failed(op, error)),
                };
                Ok(place.insert(plan).as_ref())
            }
        }
    }
}

/// Computes the product where the library is there and takes it; false otherwise.
pub(super) fn run(op: &'static str, gpu: &'static Gpu, product: &Product) -> Result<bool> {
    let leaky = product.finish.activation == 2;
    let (Some(key), true) = (Key::of(product, TF32.load(Relaxed)), is_present() && (!leaky || product.is_dense())) else { return Ok(false) };
    gpu.enter()?;
    // A thread that panicked here left whole plans.
    let mut library = LIBRARIES[gpu.ordinal()].lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let library = match &mut *library {
        Some(library) => library,
        // Not kept where it fails, so that it starts when there is memory again.
        missing => missing.insert(Library::start(op, gpu)?),
    };
    let (handle, number) = (library.handle, library.number);
    let workspace = (library.workspace.start().addr() as u64, library.workspace_bytes);
    let Some(plan) = library.plan(op, key)? else { return Ok(false) };
    // SAFETY: the workspace is the library's own, and all work of the GPU's streams is done in order.
    unsafe { plan.run(handle, product, workspace, gpu.stream().cast()) }.map_err(|error| failed(op, error))?;
    gpu.launched(op, number)?;
    if leaky {
        let [m, n, _] = product.sizes;
        own::leaky_relu(gpu, product.c.address, m * n * product.count, product.finish.slope)?;
    }
    Ok(true)
}
