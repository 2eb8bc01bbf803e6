//! What is done wrong is answered with the driver's own error, and reported where it is a fault of memory.
mod client;

use chainrule_softgpu::control::{self, Failure};
use client::{SUCCESS, allocate, download, event, finish, good, in_own_process, pinned, start, status, stream, upload};
use cudarc::driver::sys::{self, CUresult};

const NULL: *mut std::ffi::c_void = std::ptr::null_mut();

#[test]
fn order_of_beginning() {
    in_own_process("order_of_beginning", || {
        let (mut count, mut address, mut context) = (0, 0, std::ptr::null_mut());
        assert_eq!(status!(sys::cuDeviceGetCount(&mut count)), CUresult::CUDA_ERROR_NOT_INITIALIZED);
        good!(sys::cuInit(0));
        good!(sys::cuDeviceGetCount(&mut count));
        assert_eq!(count, 1);
        assert_eq!(status!(sys::cuDeviceGet(&mut count, 1)), CUresult::CUDA_ERROR_INVALID_DEVICE);
        assert_eq!(status!(sys::cuMemAlloc_v2(&mut address, 4)), CUresult::CUDA_ERROR_INVALID_CONTEXT);
        start();
        good!(sys::cuMemAlloc_v2(&mut address, 4));
        std::thread::spawn(move || {
            assert_eq!(status!(sys::cuMemFree_v2(address)), CUresult::CUDA_ERROR_INVALID_CONTEXT, "a context is current by thread");
        })
        .join()
        .unwrap();
        good!(sys::cuCtxGetCurrent(&mut context));
        good!(sys::cuCtxPushCurrent_v2(context));
        good!(sys::cuCtxPopCurrent_v2(&mut context));
        let (mut flags, mut active) = (0, 0);
        good!(sys::cuDevicePrimaryCtxGetState(0, &mut flags, &mut active));
        assert_eq!((active, control::live_bytes().unwrap()), (1, 4));
        good!(sys::cuDevicePrimaryCtxRelease_v2(0));
        good!(sys::cuDevicePrimaryCtxGetState(0, &mut flags, &mut active));
        assert_eq!((active, control::live_bytes().unwrap()), (0, 0), "the context's memory went with it");
    });
}

#[test]
fn errors_have_names() {
    in_own_process("errors_have_names", || {
        for (error, name) in [(CUresult::CUDA_SUCCESS, "CUDA_SUCCESS"), (CUresult::CUDA_ERROR_ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS")] {
            assert_eq!(cudarc::driver::DriverError(error).error_name().unwrap().to_str().unwrap(), name);
            assert!(cudarc::driver::DriverError(error).error_string().is_ok());
        }
    });
}

#[test]
fn handles_that_are_none() {
    in_own_process("handles_that_are_none", || {
        start();
        let (stream, event) = (stream(), event());
        good!(sys::cuStreamDestroy_v2(stream));
        good!(sys::cuEventDestroy_v2(event));
        let invalid = CUresult::CUDA_ERROR_INVALID_HANDLE;
        assert_eq!(status!(sys::cuStreamSynchronize(stream)), invalid);
        assert_eq!(status!(sys::cuStreamDestroy_v2(stream)), invalid);
        assert_eq!(status!(sys::cuEventRecord(event, NULL.cast())), invalid);
        assert_eq!(status!(sys::cuEventSynchronize(event)), invalid);
        assert_eq!(status!(sys::cuMemsetD8Async(allocate(4), 0, 4, stream)), invalid);
        assert_eq!(status!(sys::cuModuleUnload(NULL.cast())), invalid);
        assert_eq!(status!(sys::cuGraphLaunch(NULL.cast(), NULL.cast())), CUresult::CUDA_ERROR_INVALID_VALUE);
        let unknown = CUresult::CUDA_ERROR_INVALID_VALUE;
        assert_eq!(status!(sys::cuMemFreeHost(8 as _)), unknown);
        let untimed = client::event();
        good!(sys::cuEventRecord(untimed, NULL.cast()));
        let mut milliseconds = 0.0;
        assert_eq!(status!(sys::cuEventElapsedTime_v2(&mut milliseconds, untimed, untimed)), invalid);
    });
}

#[test]
fn ranges_are_checked_when_a_copy_is_asked_for() {
    in_own_process("ranges_are_checked_when_a_copy_is_asked_for", || {
        start();
        let (address, other, mut host) = (allocate(64), allocate(64), [0_u8; 128]);
        let invalid = CUresult::CUDA_ERROR_INVALID_VALUE;
        assert_eq!(status!(sys::cuMemcpyHtoD_v2(address, host.as_ptr().cast(), 65)), invalid);
        assert_eq!(status!(sys::cuMemcpyDtoH_v2(host.as_mut_ptr().cast(), address + 64, 1)), invalid);
        assert_eq!(status!(sys::cuMemcpyDtoDAsync_v2(other + 60, address, 8, NULL.cast())), invalid);
        assert_eq!(status!(sys::cuMemsetD32Async(address, 0, 17, NULL.cast())), invalid);
        assert_eq!(status!(sys::cuMemsetD32Async(address + 2, 0, 1, NULL.cast())), invalid, "misaligned");
        assert_eq!(control::take_findings().unwrap().len(), 4);
        assert_eq!(status!(sys::cuMemFree_v2(address + 8)), invalid);
        good!(sys::cuMemFree_v2(address));
        assert_eq!(status!(sys::cuMemFree_v2(address)), invalid, "freed twice");
        assert!(control::take_findings().unwrap()[1].contains("no live allocation"));
        good!(sys::cuMemFree_v2(0));
        good!(sys::cuMemsetD32Async(other, 7, 16, NULL.cast()));
        assert_eq!(download::<u32>(other, 16), [7; 16], "none of these errors stays");
    });
}

#[test]
fn a_fault_stays_until_it_is_reset() {
    in_own_process("a_fault_stays_until_it_is_reset", || {
        start();
        let (stream, address, good_one, target) = (stream(), allocate(64), upload(&[5_u32]), pinned::<u8>(64));
        good!(sys::cuMemcpyDtoHAsync_v2(target.as_mut_ptr().cast(), address, 64, stream));
        let broken = status!(sys::cuStreamSynchronize(stream));
        assert_eq!(broken, CUresult::CUDA_ERROR_LAUNCH_FAILED, "bytes that nobody wrote");
        let mut other = 0;
        assert_eq!(status!(sys::cuMemAlloc_v2(&mut other, 4)), broken);
        assert_eq!(status!(sys::cuCtxSynchronize()), broken);
        assert_eq!(status!(sys::cuStreamQuery(stream)), broken);
        let findings = control::take_findings().unwrap();
        assert!(findings.len() == 1 && findings[0].contains("uninitialised") && findings[0].contains("offset 0 of 64"), "{findings:?}");
        control::reset().unwrap();
        good!(sys::cuCtxSynchronize());
        assert_eq!(download::<u32>(good_one, 1), [5]);
    });
}

#[test]
fn use_after_a_free_in_another_stream_is_found() {
    in_own_process("use_after_a_free_in_another_stream_is_found", || {
        start();
        let found = (0..16).filter(|seed| {
            control::seed(*seed).unwrap();
            let (user, owner, target) = (stream(), stream(), allocate(4));
            let source = upload(&[1_u32]);
            good!(sys::cuMemcpyDtoDAsync_v2(target, source, 4, user));
            good!(sys::cuMemFreeAsync(source, owner));
            let broken = status!(sys::cuCtxSynchronize()) == CUresult::CUDA_ERROR_ILLEGAL_ADDRESS;
            control::reset().unwrap();
            broken
        });
        let found = found.count();
        assert!(found > 0 && found < 16, "{found} of 16 seeds");
        assert!(control::take_findings().unwrap()[0].contains("freed"));
    });
}

#[test]
fn allocations_fail_by_order() {
    in_own_process("allocations_fail_by_order", || {
        start();
        let mut address = 0;
        let mut outcome = |bytes| status!(sys::cuMemAlloc_v2(&mut address, bytes));
        control::fail_allocation(Failure::Once(3)).unwrap();
        let full = CUresult::CUDA_ERROR_OUT_OF_MEMORY;
        assert_eq!([outcome(4), outcome(4), outcome(4), outcome(4)], [SUCCESS, SUCCESS, full, SUCCESS]);
        control::fail_allocation(Failure::From(2)).unwrap();
        assert_eq!([outcome(4), outcome(4), outcome(4)], [SUCCESS, full, full]);
        control::fail_allocation(Failure::Never).unwrap();
        assert_eq!(outcome(0), CUresult::CUDA_ERROR_INVALID_VALUE);
        control::capacity(control::live_bytes().unwrap() + 100).unwrap();
        assert_eq!([outcome(101), outcome(100), outcome(1)], [full, SUCCESS, full]);
        let counters = control::counters().unwrap();
        assert_eq!((counters.allocations, counters.refused_allocations), (5, 5));
    });
}

#[test]
fn a_queued_free_makes_room() {
    in_own_process("a_queued_free_makes_room", || {
        start();
        control::capacity(1000).unwrap();
        let (stream, first) = (stream(), allocate(800));
        good!(sys::cuMemFreeAsync(first, stream));
        let second = allocate(900);
        assert_ne!(first, second);
        let (mut free, mut total) = (0, 0);
        good!(sys::cuMemGetInfo_v2(&mut free, &mut total));
        assert_eq!((free, total), (100, 1000));
    });
}

#[test]
fn pinned_memory_comes_and_goes() {
    in_own_process("pinned_memory_comes_and_goes", || {
        start();
        let (stream, address) = (stream(), allocate(16));
        let mut own = vec![3_u8; 16];
        let pointer = own.as_mut_ptr();
        good!(sys::cuMemHostRegister_v2(pointer.cast(), 16, 0));
        assert_eq!(status!(sys::cuMemHostRegister_v2(pointer.wrapping_add(8).cast(), 4, 0)), CUresult::CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED);
        good!(sys::cuMemcpyHtoDAsync_v2(address, pointer.cast(), 16, stream));
        own.fill(4);
        finish(stream);
        assert_eq!(download::<u8>(address, 16), [4; 16], "registered memory is read late");
        good!(sys::cuMemHostUnregister(pointer.cast()));
        assert_eq!(status!(sys::cuMemHostUnregister(pointer.cast())), CUresult::CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED);
        let mut allocated = NULL;
        good!(sys::cuMemHostAlloc(&mut allocated, 16, 0));
        good!(sys::cuMemcpyHtoDAsync_v2(address, allocated, 16, stream));
        good!(sys::cuMemFreeHost(allocated));
        assert_eq!(download::<u8>(address, 16), [0; 16], "the free waited");
        assert_eq!(status!(sys::cuMemFreeHost(allocated)), CUresult::CUDA_ERROR_INVALID_VALUE);
    });
}

#[test]
fn retired_memory_counts_as_unwritten() {
    in_own_process("retired_memory_counts_as_unwritten", || {
        start();
        let (stream, address) = (stream(), upload(&[1_u32, 2]));
        control::retire(stream as u64, address + 4, 4).unwrap();
        assert!(control::read(address, 8).is_ok(), "in the stream's order");
        finish(stream);
        assert_eq!(control::read(address, 4).unwrap(), [1, 0, 0, 0]);
        assert!(control::read(address, 8).unwrap_err().to_string().contains("uninitialised"));
        assert!(control::retire(0, address, 9).is_err());
    });
}

#[test]
fn the_pool_keeps_its_attributes() {
    in_own_process("the_pool_keeps_its_attributes", || {
        start();
        let (mut pool, mut threshold, mut read) = (std::ptr::null_mut(), u64::MAX, 0_u64);
        use sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD as RELEASE_THRESHOLD;
        good!(sys::cuDeviceGetDefaultMemPool(&mut pool, 0));
        good!(sys::cuMemPoolSetAttribute(pool, RELEASE_THRESHOLD, (&raw mut threshold).cast()));
        good!(sys::cuMemPoolGetAttribute(pool, RELEASE_THRESHOLD, (&raw mut read).cast()));
        assert_eq!(read, u64::MAX);
    });
}
