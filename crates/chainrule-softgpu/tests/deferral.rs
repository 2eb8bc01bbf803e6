//! Work is deferred until something waits for it; pinned memory is read and written when a copy is run; streams meet at events alone.
mod client;

use chainrule_softgpu::control;
use client::{allocate, download, event, finish, good, in_own_process, pinned, start, status, stream, upload, without_the_library};
use cudarc::driver::sys::{self, CUresult};

const NULL: sys::CUstream = std::ptr::null_mut();

#[test]
fn the_device_is_the_software_one() {
    in_own_process("the_device_is_the_software_one", || {
        assert!(control::is_software());
        start();
        let mut name = [0; 64];
        let (mut major, mut minor, mut free, mut total) = (0, 0, 0, 0);
        good!(sys::cuDeviceGetName(name.as_mut_ptr(), 64, 0));
        good!(sys::cuDeviceGetAttribute(&mut major, sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, 0));
        good!(sys::cuDeviceGetAttribute(&mut minor, sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, 0));
        good!(sys::cuMemGetInfo_v2(&mut free, &mut total));
        assert!(name.starts_with(&b"chainrule".map(|byte| byte as _)));
        assert_eq!((major, minor, free), (8, 0, total));
    });
}

#[test]
fn without_the_library_the_control_says_so() {
    without_the_library("without_the_library_the_control_says_so", || {
        assert!(!control::is_software());
        let error = control::counters().unwrap_err().to_string();
        assert!(error.contains("no driver") || error.contains("a real one"), "{error}");
    });
}

#[test]
fn copies_wait_for_a_synchronisation() {
    in_own_process("copies_wait_for_a_synchronisation", || {
        start();
        let (stream, address) = (stream(), allocate(16));
        let (source, target) = (pinned::<u32>(4), pinned::<u32>(4));
        source.copy_from_slice(&[1, 2, 3, 4]);
        good!(sys::cuMemcpyHtoDAsync_v2(address, source.as_ptr().cast(), 16, stream));
        good!(sys::cuMemcpyDtoHAsync_v2(target.as_mut_ptr().cast(), address, 16, stream));
        assert!(control::read(address, 16).is_err(), "nothing was written yet");
        assert_eq!((target[3], control::pending().unwrap()), (0, 2));
        finish(stream);
        assert_eq!((&*target, control::pending().unwrap()), (&[1, 2, 3, 4][..], 0));
        let counters = control::counters().unwrap();
        assert_eq!((counters.copies_in, counters.copies_out, counters.copied_in_bytes, counters.synchronisations()), (1, 1, 16, 1));
    });
}

#[test]
fn a_pinned_buffer_reused_early_shows() {
    in_own_process("a_pinned_buffer_reused_early_shows", || {
        start();
        let (stream, first, second) = (stream(), allocate(4), allocate(4));
        let buffer = pinned::<u32>(1);
        buffer[0] = 7;
        good!(sys::cuMemcpyHtoDAsync_v2(first, buffer.as_ptr().cast(), 4, stream));
        buffer[0] = 8;
        good!(sys::cuMemcpyHtoDAsync_v2(second, buffer.as_ptr().cast(), 4, stream));
        finish(stream);
        assert_eq!((download::<u32>(first, 1), download::<u32>(second, 1)), (vec![8], vec![8]));
    });
}

#[test]
fn pageable_memory_is_read_at_once() {
    in_own_process("pageable_memory_is_read_at_once", || {
        start();
        let (stream, address) = (stream(), allocate(4));
        let mut value = [7_u32];
        good!(sys::cuMemcpyHtoDAsync_v2(address, value.as_ptr().cast(), 4, stream));
        value[0] = 8;
        let mut back = [0_u32];
        good!(sys::cuMemcpyDtoHAsync_v2(back.as_mut_ptr().cast(), address, 4, stream));
        assert_eq!((back, value), ([7], [8]));
        assert_eq!(control::counters().unwrap().implicit_synchronisations, 1);
    });
}

/// What a second stream reads of a buffer that the first one fills, by seed.
fn read_beside(ordered: bool) -> Vec<u32> {
    let seen = (0..24).map(|seed| {
        control::seed(seed).unwrap();
        let (writer, reader, done) = (stream(), stream(), event());
        let (source, target) = (upload(&[1_u32]), upload(&[0_u32]));
        good!(sys::cuMemsetD32Async(source, 2, 1, writer));
        good!(sys::cuEventRecord(done, writer));
        if ordered {
            good!(sys::cuStreamWaitEvent(reader, done, 0));
        }
        good!(sys::cuMemcpyDtoDAsync_v2(target, source, 4, reader));
        finish(reader);
        good!(sys::cuCtxSynchronize());
        download::<u32>(target, 1)[0]
    });
    seen.collect()
}

#[test]
fn streams_are_ordered_by_events_alone() {
    in_own_process("streams_are_ordered_by_events_alone", || {
        start();
        assert!(read_beside(true).iter().all(|value| *value == 2));
        let beside = read_beside(false);
        assert!(beside.contains(&1) && beside.contains(&2), "some seed shows each order: {beside:?}");
        assert_eq!(beside, read_beside(false), "a seed repeats itself");
    });
}

#[test]
fn the_legacy_stream_waits_for_blocking_streams() {
    in_own_process("the_legacy_stream_waits_for_blocking_streams", || {
        start();
        for seed in 0..16 {
            control::seed(seed).unwrap();
            let mut blocking = std::ptr::null_mut();
            good!(sys::cuStreamCreate(&mut blocking, 0));
            let address = upload(&[1_u32]);
            good!(sys::cuMemsetD32Async(address, 2, 1, blocking));
            good!(sys::cuMemsetD32Async(address, 3, 1, NULL));
            good!(sys::cuMemsetD32Async(address, 4, 1, blocking));
            assert_eq!(download::<u32>(address, 1), [4]);
        }
    });
}

#[test]
fn events_tell_when_work_is_done() {
    in_own_process("events_tell_when_work_is_done", || {
        start();
        let (stream, address) = (stream(), allocate(4));
        let (mut start_event, mut end_event, mut milliseconds) = (std::ptr::null_mut(), std::ptr::null_mut(), -1.0);
        good!(sys::cuEventCreate(&mut start_event, 0));
        good!(sys::cuEventCreate(&mut end_event, 0));
        good!(sys::cuEventRecord(start_event, stream));
        for value in 0..40 {
            good!(sys::cuMemsetD32Async(address, value, 1, stream));
        }
        good!(sys::cuEventRecord(end_event, stream));
        let early = status!(sys::cuEventElapsedTime_v2(&mut milliseconds, start_event, end_event));
        assert_eq!(early, CUresult::CUDA_ERROR_NOT_READY);
        let mut queries = 0;
        while status!(sys::cuEventQuery(end_event)) == CUresult::CUDA_ERROR_NOT_READY {
            queries += 1;
            assert!(queries < 1000, "asking lets work go on");
        }
        good!(sys::cuEventElapsedTime_v2(&mut milliseconds, start_event, end_event));
        assert!(queries > 1 && milliseconds >= 0.0);
        assert_eq!(download::<u32>(address, 1), [39]);
    });
}

#[test]
fn a_long_queue_is_run_without_a_wait() {
    in_own_process("a_long_queue_is_run_without_a_wait", || {
        start();
        let (stream, address) = (stream(), allocate(4));
        for _ in 0..1000 {
            good!(sys::cuMemsetD32Async(address, 5, 1, stream));
        }
        assert!(control::pending().unwrap() < 200);
        assert_eq!(control::read(address, 4).unwrap(), [5, 0, 0, 0]);
    });
}
