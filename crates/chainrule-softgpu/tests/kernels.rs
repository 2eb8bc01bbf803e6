//! Kernels through the driver: modules, launches, findings, graphs, counts.
mod client;

use chainrule_softgpu::control;
use client::{allocate, download, finish, good, in_own_process, start, status, stream, upload};
use cudarc::driver::sys::{self, CUfunction, CUfunction_attribute as Attribute, CUmodule, CUresult, CUstream};
use std::ffi::{CString, c_void};

const PTX: &str = include_str!("kernels.ptx");

fn load(ptx: &str) -> Result<CUmodule, CUresult> {
    let (mut module, text) = (std::ptr::null_mut(), CString::new(ptx).unwrap());
    match status!(sys::cuModuleLoadData(&mut module, text.as_ptr().cast())) {
        CUresult::CUDA_SUCCESS => Ok(module),
        error => Err(error),
    }
}

fn function(module: CUmodule, name: &str) -> Result<CUfunction, CUresult> {
    let (mut function, name) = (std::ptr::null_mut(), CString::new(name).unwrap());
    match status!(sys::cuModuleGetFunction(&mut function, module, name.as_ptr())) {
        CUresult::CUDA_SUCCESS => Ok(function),
        error => Err(error),
    }
}

fn kernel(name: &str) -> CUfunction {
    function(load(PTX).unwrap(), name).unwrap()
}

fn launch(function: CUfunction, blocks: u32, threads: u32, shared: u32, stream: CUstream, parameters: &[*const c_void]) -> CUresult {
    let mut parameters: Vec<*mut c_void> = parameters.iter().map(|parameter| parameter.cast_mut()).collect();
    status!(sys::cuLaunchKernel(function, blocks, 1, 1, threads, 1, 1, shared, stream, parameters.as_mut_ptr(), std::ptr::null_mut()))
}

fn pointer<T>(value: &T) -> *const c_void {
    std::ptr::from_ref(value).cast()
}

#[test]
fn a_kernel_runs_when_something_waits_for_it() {
    in_own_process("a_kernel_runs_when_something_waits_for_it", || {
        start();
        let (scale, stream) = (kernel("scale"), stream());
        let data = upload(&(0..300).map(|index| index as f32).collect::<Vec<_>>());
        let (mut factor, count) = (0.5_f32, 299_u32);
        assert_eq!(launch(scale, 3, 128, 0, stream, &[pointer(&data), pointer(&factor), pointer(&count)]), client::SUCCESS);
        factor += 1.0;
        assert_eq!(control::read(data + 4, 4).unwrap(), 1_f32.to_le_bytes(), "it has not run yet");
        finish(stream);
        let result = download::<f32>(data, 300);
        assert!((0..299).all(|index| result[index] == index as f32 / 2.0) && result[299] == 299.0, "parameters are those of the launch: {factor}");
        let (counters, kernels) = (control::counters().unwrap(), control::kernels().unwrap());
        assert_eq!((counters.kernel_launches, kernels["scale"].runs), (1, 1));
        assert!(counters.thread_instructions > 299 * 10 && counters.thread_instructions == kernels["scale"].instructions);
        assert_eq!((counters.global_bytes_read, counters.global_bytes_written), (4 * 299, 4 * 299));
    });
}

#[test]
fn modules_and_names() {
    in_own_process("modules_and_names", || {
        start();
        let module = load(PTX).unwrap();
        assert_eq!(function(module, "scale").unwrap(), function(module, "scale").unwrap());
        assert_eq!(function(module, "scales").err(), Some(CUresult::CUDA_ERROR_NOT_FOUND));
        let (mut address, mut bytes) = (0, 0);
        good!(sys::cuModuleGetGlobal_v2(&mut address, &mut bytes, module, c"answer".as_ptr()));
        assert_eq!((download::<u32>(address, 1)[0], bytes), (42, 4));
        let mut missing = 0;
        assert_eq!(status!(sys::cuModuleGetGlobal_v2(&mut missing, &mut bytes, module, c"question".as_ptr())), CUresult::CUDA_ERROR_NOT_FOUND);
        let scale = function(module, "scale").unwrap();
        good!(sys::cuModuleUnload(module));
        assert_eq!(launch(scale, 1, 1, 0, std::ptr::null_mut(), &[]), CUresult::CUDA_ERROR_INVALID_HANDLE);
        assert_eq!(load("no PTX at all").err(), Some(CUresult::CUDA_ERROR_INVALID_PTX));
        assert_eq!(load(&PTX.replace("mul.f32", "mumble.f32")).err(), Some(CUresult::CUDA_ERROR_INVALID_PTX));
        let findings = control::take_findings().unwrap();
        assert!(findings[1].contains("mumble") && findings[1].contains("line"), "{findings:?}");
    });
}

#[test]
fn launches_that_no_device_can_hold() {
    in_own_process("launches_that_no_device_can_hold", || {
        start();
        let (reverse, data) = (kernel("reverse"), allocate(256));
        let with = |blocks, threads, shared| launch(reverse, blocks, threads, shared, std::ptr::null_mut(), &[pointer(&data)]);
        let invalid = CUresult::CUDA_ERROR_INVALID_VALUE;
        assert_eq!([with(0, 64, 256), with(1, 0, 256), with(1, 1025, 256), with(1, 64, 49153)], [invalid; 4]);
        assert_eq!(launch(reverse, 1, 64, 256, std::ptr::null_mut(), &[std::ptr::null()]), invalid);
        let shared = Attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        assert_eq!(status!(sys::cuFuncSetAttribute(reverse, shared, 164 << 10)), invalid);
        good!(sys::cuFuncSetAttribute(reverse, shared, 100 << 10));
        assert_eq!(with(1, 64, 100 << 10), client::SUCCESS);
        assert_eq!(download::<u32>(data, 64), (0..64).rev().collect::<Vec<_>>());
        let (mut value, mut blocks) = (0, 0);
        good!(sys::cuFuncGetAttribute(&mut value, shared, reverse));
        good!(sys::cuOccupancyMaxActiveBlocksPerMultiprocessor(&mut blocks, reverse, 256, 0));
        assert_eq!((value, blocks), (100 << 10, 8));
        good!(sys::cuOccupancyMaxActiveBlocksPerMultiprocessor(&mut blocks, reverse, 256, 60 << 10));
        assert_eq!(blocks, 2);
    });
}

/// Runs a kernel over one pointer, and gives the driver's answer with what was found.
fn fault(name: &str, blocks: u32, threads: u32, shared: u32, data: u64, ptx: &str) -> (CUresult, Vec<String>) {
    let (kernel, stream) = (function(load(ptx).unwrap(), name).unwrap(), stream());
    assert_eq!(launch(kernel, blocks, threads, shared, stream, &[pointer(&data)]), client::SUCCESS);
    let answer = status!(sys::cuStreamSynchronize(stream));
    let findings = control::take_findings().unwrap();
    control::reset().unwrap();
    (answer, findings)
}

#[test]
fn memory_faults_and_races_are_found() {
    in_own_process("memory_faults_and_races_are_found", || {
        start();
        let (data, freed) = (allocate(256), allocate(256));
        good!(sys::cuMemFree_v2(freed));
        assert_eq!(fault("ones", 1, 64, 0, data, PTX), (client::SUCCESS, vec![]));
        assert_eq!(fault("reverse", 1, 64, 256, data, PTX), (client::SUCCESS, vec![]));
        let (illegal, failed) = (CUresult::CUDA_ERROR_ILLEGAL_ADDRESS, CUresult::CUDA_ERROR_LAUNCH_FAILED);
        // A race, or a read of what nobody has written yet: the order of the warps decides.
        let unsynchronised = PTX.replace("bar.sync 0;", "");
        for (name, blocks, shared, address, ptx, answer, finding) in [
            ("ones", 2, 0, data, PTX, illegal, "out of bounds"),
            ("ones", 1, 0, freed, PTX, illegal, "freed"),
            ("ones", 1, 0, data + 2, PTX, CUresult::CUDA_ERROR_MISALIGNED_ADDRESS, "misaligned"),
            ("collide", 2, 0, data, PTX, failed, "race"),
            ("reverse", 1, 256, data, &unsynchronised, failed, "shared memory"),
        ] {
            for seed in 0..3 {
                control::seed(seed).unwrap();
                let (got, findings) = fault(name, blocks, 64, shared, address, ptx);
                assert_eq!(got, answer, "{findings:?}");
                assert!(findings.len() == 1 && findings[0].contains(finding) && findings[0].contains(name), "{findings:?}");
            }
        }
    });
}

#[test]
fn a_captured_kernel_runs_at_each_launch_of_its_graph() {
    in_own_process("a_captured_kernel_runs_at_each_launch_of_its_graph", || {
        start();
        let (scale, stream, data) = (kernel("scale"), stream(), upload(&[1_f32; 4]));
        let (factor, count) = (2_f32, 4_u32);
        good!(sys::cuStreamBeginCapture_v2(stream, sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_GLOBAL));
        for _ in 0..3 {
            assert_eq!(launch(scale, 1, 32, 0, stream, &[pointer(&data), pointer(&factor), pointer(&count)]), client::SUCCESS);
        }
        let (mut graph, mut executable) = (std::ptr::null_mut(), std::ptr::null_mut());
        good!(sys::cuStreamEndCapture(stream, &mut graph));
        good!(sys::cuGraphInstantiateWithFlags(&mut executable, graph, 0));
        for _ in 0..4 {
            good!(sys::cuGraphLaunch(executable, stream));
        }
        finish(stream);
        assert_eq!(download::<f32>(data, 4), [4096.0; 4]);
        let counters = control::counters().unwrap();
        assert_eq!((counters.kernel_launches, counters.graph_launches, counters.graph_kernels), (0, 4, 12));
    });
}
