//! The driver's library: whether it is there and whole, and its errors as ours.

use crate::error::{Error, Result};
use cudarc::driver::result::DriverError;
use cudarc::driver::sys;
use std::sync::OnceLock;

/// What this crate calls. cudarc looks a function up at its first call and panics where it is missing, so they are all looked up before.
const FUNCTIONS: &[&str] = &[
    "cuInit",
    "cuDeviceGetCount",
    "cuDeviceGet",
    "cuDeviceGetName",
    "cuDeviceGetAttribute",
    "cuDeviceTotalMem_v2",
    "cuDevicePrimaryCtxRetain",
    "cuCtxSetCurrent",
    "cuStreamCreate",
    "cuStreamDestroy_v2",
    "cuStreamSynchronize",
    "cuStreamBeginCapture_v2",
    "cuStreamEndCapture",
    "cuStreamIsCapturing",
    "cuMemAlloc_v2",
    "cuMemFree_v2",
    "cuMemHostAlloc",
    "cuMemFreeHost",
    "cuMemcpyHtoDAsync_v2",
    "cuMemcpyDtoHAsync_v2",
    "cuMemcpyDtoDAsync_v2",
    "cuMemsetD8Async",
    "cuMemsetD32Async",
    "cuModuleLoadData",
    "cuModuleGetFunction",
    "cuFuncSetAttribute",
    "cuLaunchKernel",
    "cuGraphInstantiateWithFlags",
    "cuGraphLaunch",
    "cuGraphExecDestroy",
    "cuGraphDestroy",
    "cuGraphGetNodes",
    "cuEventCreate",
    "cuEventRecord",
    "cuEventQuery",
    "cuEventSynchronize",
    "cuEventElapsedTime",
    "cuEventDestroy_v2",
    "cuGetErrorName",
    "cuGetErrorString",
];

/// Ready when the driver is there, whole and started; looked at once.
pub(super) fn start() -> Result<()> {
    static STARTED: OnceLock<Result<()>> = OnceLock::new();
    STARTED.get_or_init(look).clone()
}

fn look() -> Result<()> {
    let missing = |message: String| Error::device("cuda", message);
    // SAFETY: opens a library of that name, which runs the driver's own start-up code.
    if !unsafe { sys::is_culib_present() } {
        return Err(missing("no CUDA driver on this machine (libcuda.so.1 is not found); install NVIDIA's driver, or use Device::Cpu".into()));
    }
    // SAFETY: the library is there.
    let library = unsafe { sys::culib() };
    for name in FUNCTIONS {
        // SAFETY: only looks for the symbol; the type is not used.
        if unsafe { library.get::<unsafe extern "C" fn()>(name.as_bytes()) }.is_err() {
            return Err(missing(format!("the CUDA driver on this machine has no {name}; install a driver of CUDA 12 or later")));
        }
    }
    cudarc::driver::result::init().during("cuda")
}

/// A driver's answer as a result of ours.
pub(super) trait During<T> {
    /// With the operation that asked.
    fn during(self, op: &'static str) -> Result<T>;
}

impl<T> During<T> for std::result::Result<T, DriverError> {
    #[inline]
    fn during(self, op: &'static str) -> Result<T> {
        self.map_err(|error| Error::device(op, text(error)))
    }
}

/// The driver's name and text of an error.
#[cold]
pub(super) fn text(error: DriverError) -> String {
    let shown = |text: std::result::Result<&std::ffi::CStr, DriverError>| text.map_or("?".into(), |t| t.to_string_lossy().into_owned());
    format!("the CUDA driver says {} ({})", shown(error.error_name()), shown(error.error_string()))
}
