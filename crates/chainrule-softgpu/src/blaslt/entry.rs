//! cuBLASLt's handle, the search for an algorithm, and the product.
use super::descriptor::Kind;
use super::element::Element;
use super::matmul::{Factor, Matmul};
use super::plan::{Algorithm, plan};
use super::{BlasStatus, Refusal};
use crate::call::{Needs, expect};
use crate::execute::panic_text;
use crate::machine::{Machine, lock};
use crate::operation::Operation;
use crate::status::Status;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// The version of cuBLASLt whose interface this is: 12.8.
const VERSION: usize = 120_804;
const CUDART_VERSION: usize = 12080;

/// Runs the body of an entry point; a refusal's reason is printed, as the library's log would say it.
pub fn answer(name: &str, body: impl FnOnce(&mut Machine) -> Result<(), Refusal>) -> BlasStatus {
    let outcome = catch_unwind(AssertUnwindSafe(|| body(&mut lock())));
    let refusal = match outcome {
        Ok(Ok(())) => return BlasStatus::SUCCESS,
        Ok(Err(refusal)) => refusal,
        Err(payload) => Refusal { status: BlasStatus::INTERNAL_ERROR, reason: format!("panic: {}", panic_text(&*payload)) },
    };
    eprintln!("softgpu: {name}: {}", refusal.reason);
    refusal.status
}

impl Machine {
    fn expect_blas(&self, handle: u64) -> Result<(), Refusal> {
        if self.blas_handles.contains(&handle) { Ok(()) } else { Err(Refusal { status: BlasStatus::NOT_INITIALIZED, reason: format!("handle {handle:#x}") }) }
    }

    /// # Safety
    /// All are handles of descriptors.
    unsafe fn plan(&self, description: u64, layouts: [u64; 4]) -> Result<Matmul, Refusal> {
        // SAFETY: descriptors by the contract.
        let layout = |number: usize| unsafe { self.descriptor(Kind::Layout, layouts[number]) };
        // SAFETY: a descriptor by the contract.
        let description = unsafe { self.descriptor(Kind::Matmul, description) }?;
        plan(&description, [&layout(0)?, &layout(1)?, &layout(2)?, &layout(3)?])
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasLtCreate(handle: *mut u64) -> BlasStatus {
    answer("cublasLtCreate", |machine| {
        expect(machine, Needs::Context).map_err(|status| Refusal { status: BlasStatus::NOT_INITIALIZED, reason: format!("driver error {}", status.0) })?;
        if handle.is_null() {
            return Err(Refusal::invalid("no place for the handle"));
        }
        let created = machine.new_handle();
        machine.blas_handles.insert(created);
        // SAFETY: not null, and good for writing by the library's contract.
        unsafe { handle.write(created) };
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasLtDestroy(handle: u64) -> BlasStatus {
    answer("cublasLtDestroy", |machine| {
        machine.expect_blas(handle)?;
        machine.blas_handles.remove(&handle);
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasLtGetVersion() -> usize {
    VERSION
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasLtGetCudartVersion() -> usize {
    CUDART_VERSION
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasLtGetStatusName(status: BlasStatus) -> *const c_char {
    let name: &CStr = match status {
        BlasStatus::SUCCESS => c"CUBLAS_STATUS_SUCCESS",
        BlasStatus::NOT_INITIALIZED => c"CUBLAS_STATUS_NOT_INITIALIZED",
        BlasStatus::INVALID_VALUE => c"CUBLAS_STATUS_INVALID_VALUE",
        BlasStatus::EXECUTION_FAILED => c"CUBLAS_STATUS_EXECUTION_FAILED",
        BlasStatus::INTERNAL_ERROR => c"CUBLAS_STATUS_INTERNAL_ERROR",
        BlasStatus::NOT_SUPPORTED => c"CUBLAS_STATUS_NOT_SUPPORTED",
        _ => c"CUBLAS_STATUS_UNKNOWN",
    };
    name.as_ptr()
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasLtGetStatusString(status: BlasStatus) -> *const c_char {
    // SAFETY: a status of any value may be given.
    unsafe { cublasLtGetStatusName(status) }
}

/// `cublasLtMatmulHeuristicResult_t`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct SearchResult {
    algorithm: Algorithm,
    workspace: usize,
    state: BlasStatus,
    waves: f32,
    reserved: [c_int; 4],
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasLtMatmulAlgoGetHeuristic(
    handle: u64,
    description: u64,
    a: u64,
    b: u64,
    c: u64,
    d: u64,
    preference: u64,
    wanted: c_int,
    results: *mut SearchResult,
    found: *mut c_int,
) -> BlasStatus {
    answer("cublasLtMatmulAlgoGetHeuristic", |machine| {
        machine.expect_blas(handle)?;
        if results.is_null() || found.is_null() || wanted < 1 {
            return Err(Refusal::invalid("no place for a result"));
        }
        // SAFETY: not null, and good for writing by the library's contract.
        unsafe { found.write(0) };
        // SAFETY: descriptors, by the library's contract.
        let matmul = unsafe { machine.plan(description, [a, b, c, d]) }?;
        // SAFETY: a descriptor, by the library's contract.
        let preference = unsafe { machine.descriptor(Kind::Preference, preference) }?;
        let algorithm = Algorithm::choose(&matmul, &preference);
        let (workspace, state) = (algorithm.workspace as usize, BlasStatus::SUCCESS);
        // SAFETY: room for at least one result, by the library's contract.
        unsafe {
            results.write(SearchResult { algorithm, workspace, state, waves: 1.0, reserved: [0; 4] });
            found.write(1);
        }
        Ok(())
    })
}

/// `alpha` or `beta` behind the caller's pointer.
///
/// # Safety
/// In host mode `pointer` is null or good for reading a number of the scale type.
unsafe fn factor(pointer: *const c_void, on_device: bool, double: bool) -> Result<Factor, Refusal> {
    if pointer.is_null() {
        return Err(Refusal::invalid("alpha or beta is null"));
    }
    if on_device {
        return Ok(Factor::Device(pointer as u64));
    }
    // SAFETY: a number of the scale type, by the contract.
    Ok(Factor::Host(unsafe { if double { pointer.cast::<f64>().read_unaligned() } else { f64::from(pointer.cast::<f32>().read_unaligned()) } }))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasLtMatmul(
    handle: u64,
    description: u64,
    alpha: *const c_void,
    a: u64,
    layout_a: u64,
    b: u64,
    layout_b: u64,
    beta: *const c_void,
    c: u64,
    layout_c: u64,
    d: u64,
    layout_d: u64,
    algorithm: *const Algorithm,
    workspace: u64,
    workspace_bytes: usize,
    stream: u64,
) -> BlasStatus {
    answer("cublasLtMatmul", |machine| {
        machine.expect_blas(handle)?;
        expect(machine, Needs::Context).map_err(failed)?;
        // SAFETY: descriptors, by the library's contract.
        let mut matmul = unsafe { machine.plan(description, [layout_a, layout_b, layout_c, layout_d]) }?;
        // SAFETY: a descriptor, by the library's contract.
        let mode = unsafe { machine.descriptor(Kind::Matmul, description) }?.get(super::descriptor::attribute::POINTER_MODE);
        if mode > 1 {
            return Err(Refusal::unsupported(format!("pointer mode {mode}")));
        }
        let double = matmul.a.element == Element::F64;
        // SAFETY: numbers of the scale type, by the library's contract.
        (matmul.alpha, matmul.beta) = unsafe { (factor(alpha, mode == 1, double)?, factor(beta, mode == 1, double)?) };
        (matmul.a.address, matmul.b.address, matmul.c.address, matmul.d.address) = (a, b, c, d);
        matmul.workspace = (workspace, workspace_bytes);
        matmul.expect_pointers()?;
        if workspace_bytes > 0 {
            let range = machine.memory.expect_range(workspace, workspace_bytes);
            range.map_err(|_| Refusal::invalid(format!("{workspace_bytes} bytes of workspace at {workspace:#x}")))?;
        }
        if !algorithm.is_null() {
            // SAFETY: not null, and an algorithm by the library's contract.
            let algorithm = unsafe { algorithm.read() };
            algorithm.expect(&matmul)?;
            matmul.workspace.1 = algorithm.workspace as usize;
        }
        machine.enqueue(stream, Operation::Matmul(Arc::new(matmul))).map_err(failed)
    })
}

fn failed(status: Status) -> Refusal {
    Refusal { status: BlasStatus::EXECUTION_FAILED, reason: format!("driver error {}", status.0) }
}
