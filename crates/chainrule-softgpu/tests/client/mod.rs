//! Runs each test in a process of its own that finds the library under the driver's names, and wraps cudarc's raw calls as far as tests repeat them.
#![allow(dead_code, reason = "each test file uses a part")]
use cudarc::driver::sys::{self, CUresult};
use std::path::{Path, PathBuf};
use std::process::Command;

pub const SUCCESS: CUresult = CUresult::CUDA_SUCCESS;

/// Set in the process that has the library in front.
const INSIDE: &str = "CHAINRULE_SOFTGPU_TEST_INSIDE";

/// Runs the body of the test `name` in a process in which the driver is the software GPU.
pub fn in_own_process(name: &str, body: impl FnOnce()) {
    run_again(name, links, body);
}

/// Runs the body of the test `name` in a process that finds no software GPU.
pub fn without_the_library(name: &str, body: impl FnOnce()) {
    run_again(name, |_| PathBuf::new(), body);
}

fn run_again(name: &str, folder: impl FnOnce(&Path) -> PathBuf, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    let executable = std::env::current_exe().expect("the test's own file");
    let folder = folder(executable.parent().expect("the folder of the test"));
    let test = Command::new(&executable).args([name, "--exact", "--nocapture", "--test-threads=1"]).env(INSIDE, "1").env("LD_LIBRARY_PATH", folder).output();
    let output = test.expect("the test starts again");
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

/// A folder in which the library has the names that a driver is looked for under.
fn links(deps: &Path) -> PathBuf {
    let (library, folder) = (deps.join("libchainrule_softgpu.so"), deps.join("softgpu-links"));
    std::fs::create_dir_all(&folder).expect("a folder for links");
    for name in ["libcuda.so", "libcublasLt.so"] {
        let link = folder.join(name);
        if !link.exists() {
            // Another test may be quicker.
            let _ = std::os::unix::fs::symlink(&library, &link);
        }
    }
    folder
}

/// The result of a raw call.
macro_rules! status {
    ($call:expr) => {{
        // SAFETY: the tests call with handles, places and ranges that are theirs; what is wrong on purpose is a number the driver looks up.
        unsafe { $call }
    }};
}
pub(crate) use status;

/// Asserts success, naming the call.
macro_rules! good {
    ($call:expr) => {{
        let status = $crate::client::status!($call);
        assert_eq!(status as u32, 0, "{}: {status:?}", stringify!($call));
    }};
}
pub(crate) use good;

/// Retains the primary context and makes it current.
pub fn start() {
    let (mut device, mut context) = (0, std::ptr::null_mut());
    good!(sys::cuInit(0));
    good!(sys::cuDeviceGet(&mut device, 0));
    good!(sys::cuDevicePrimaryCtxRetain(&mut context, device));
    good!(sys::cuCtxSetCurrent(context));
}

/// New device memory.
pub fn allocate(bytes: usize) -> u64 {
    let mut address = 0;
    good!(sys::cuMemAlloc_v2(&mut address, bytes));
    address
}

/// A stream that the legacy stream does not wait for.
pub fn stream() -> sys::CUstream {
    let mut stream = std::ptr::null_mut();
    good!(sys::cuStreamCreate(&mut stream, 1));
    stream
}

/// An event without timing.
pub fn event() -> sys::CUevent {
    let mut event = std::ptr::null_mut();
    good!(sys::cuEventCreate(&mut event, 2));
    event
}

/// Pinned memory that is never freed.
pub fn pinned<T>(length: usize) -> &'static mut [T] {
    let mut pointer = std::ptr::null_mut();
    good!(sys::cuMemHostAlloc(&mut pointer, length * size_of::<T>(), 0));
    // SAFETY: zeroed memory of that size, which stays; the element types of the tests are numbers.
    unsafe { std::slice::from_raw_parts_mut(pointer.cast(), length) }
}

/// A synchronous copy to the device.
pub fn upload<T>(values: &[T]) -> u64 {
    let address = allocate(size_of_val(values));
    good!(sys::cuMemcpyHtoD_v2(address, values.as_ptr().cast(), size_of_val(values)));
    address
}

/// A synchronous copy to the host.
pub fn download<T: Copy + Default>(address: u64, length: usize) -> Vec<T> {
    let mut values = vec![T::default(); length];
    good!(sys::cuMemcpyDtoH_v2(values.as_mut_ptr().cast(), address, size_of_val(&values[..])));
    values
}

/// Waits for a stream.
pub fn finish(stream: sys::CUstream) {
    good!(sys::cuStreamSynchronize(stream));
}
