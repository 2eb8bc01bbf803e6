//! Capture and replay, and what a capture forbids.
mod client;

use chainrule_softgpu::control;
use client::{allocate, download, event, finish, good, in_own_process, pinned, start, status, stream, upload};
use cudarc::driver::sys::{self, CUgraph, CUgraphExec, CUresult, CUstream, CUstreamCaptureMode as Mode, CUstreamCaptureStatus as State};

const GLOBAL: Mode = Mode::CU_STREAM_CAPTURE_MODE_GLOBAL;
const RELAXED: Mode = Mode::CU_STREAM_CAPTURE_MODE_RELAXED;
const INVALIDATED: CUresult = CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
const UNSUPPORTED: CUresult = CUresult::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;

fn end(stream: CUstream) -> Result<CUgraph, CUresult> {
    let mut graph = std::ptr::null_mut();
    match status!(sys::cuStreamEndCapture(stream, &mut graph)) {
        CUresult::CUDA_SUCCESS => Ok(graph),
        error => Err(error),
    }
}

fn instantiate(graph: CUgraph) -> CUgraphExec {
    let mut executable = std::ptr::null_mut();
    good!(sys::cuGraphInstantiateWithFlags(&mut executable, graph, 0));
    good!(sys::cuGraphDestroy(graph));
    executable
}

fn state(stream: CUstream) -> State {
    let mut state = State::CU_STREAM_CAPTURE_STATUS_NONE;
    good!(sys::cuStreamIsCapturing(stream, &mut state));
    state
}

#[test]
fn a_captured_step_is_replayed_with_what_its_buffers_hold_then() {
    in_own_process("a_captured_step_is_replayed_with_what_its_buffers_hold_then", || {
        start();
        let (stream, device, copy) = (stream(), allocate(4), allocate(4));
        let (input, output) = (pinned::<u32>(1), pinned::<u32>(1));
        good!(sys::cuStreamBeginCapture_v2(stream, GLOBAL));
        assert_eq!(state(stream), State::CU_STREAM_CAPTURE_STATUS_ACTIVE);
        good!(sys::cuMemcpyHtoDAsync_v2(device, input.as_ptr().cast(), 4, stream));
        good!(sys::cuMemcpyDtoDAsync_v2(copy, device, 4, stream));
        good!(sys::cuMemsetD32Async(device, 0, 1, stream));
        good!(sys::cuMemcpyDtoHAsync_v2(output.as_mut_ptr().cast(), copy, 4, stream));
        let graph = end(stream).unwrap();
        let mut nodes = 0;
        good!(sys::cuGraphGetNodes(graph, std::ptr::null_mut(), &mut nodes));
        assert_eq!((nodes, state(stream)), (4, State::CU_STREAM_CAPTURE_STATUS_NONE));
        let executable = instantiate(graph);
        good!(sys::cuGraphUpload(executable, stream));
        finish(stream);
        assert_eq!(control::counters().unwrap().copies_in, 0, "nothing was run by the capture");
        for value in [3, 4, 5] {
            input[0] = value;
            good!(sys::cuGraphLaunch(executable, stream));
            finish(stream);
            assert_eq!((output[0], download::<u32>(device, 1)[0]), (value, 0));
        }
        good!(sys::cuGraphExecDestroy(executable));
        let counters = control::counters().unwrap();
        assert_eq!((counters.graph_launches, counters.copies_in, counters.fills), (3, 3, 3));
        assert_eq!(status!(sys::cuGraphLaunch(executable, stream)), CUresult::CUDA_ERROR_INVALID_VALUE);
    });
}

#[test]
fn waiting_spoils_a_capture() {
    in_own_process("waiting_spoils_a_capture", || {
        start();
        let (stream, address) = (stream(), upload(&[1_u32]));
        let waits: [fn(CUstream) -> CUresult; 5] = [
            |stream| status!(sys::cuStreamSynchronize(stream)),
            |stream| status!(sys::cuStreamQuery(stream)),
            |_| status!(sys::cuCtxSynchronize()),
            |_| status!(sys::cuMemsetD8_v2(0, 0, 0)),
            |_| status!(sys::cuEventQuery(event())),
        ];
        for wait in waits {
            good!(sys::cuStreamBeginCapture_v2(stream, GLOBAL));
            good!(sys::cuMemsetD32Async(address, 2, 1, stream));
            assert_eq!(wait(stream), UNSUPPORTED);
            assert_eq!(state(stream), State::CU_STREAM_CAPTURE_STATUS_INVALIDATED);
            assert_eq!(status!(sys::cuMemsetD32Async(address, 2, 1, stream)), INVALIDATED);
            assert_eq!(end(stream).err(), Some(INVALIDATED));
            finish(stream);
        }
        let mut host = 0_u32;
        good!(sys::cuStreamBeginCapture_v2(stream, RELAXED));
        assert_eq!(status!(sys::cuMemcpyDtoHAsync_v2((&raw mut host).cast(), address, 4, stream)), UNSUPPORTED, "pageable memory");
        assert_eq!(end(stream).err(), Some(INVALIDATED));
        assert_eq!(download::<u32>(address, 1), [1], "none of the fills was run");
    });
}

#[test]
fn allocation_in_a_capture_needs_the_relaxed_mode() {
    in_own_process("allocation_in_a_capture_needs_the_relaxed_mode", || {
        start();
        let (stream, mut address) = (stream(), 0);
        good!(sys::cuStreamBeginCapture_v2(stream, GLOBAL));
        assert_eq!(status!(sys::cuMemAlloc_v2(&mut address, 4)), UNSUPPORTED);
        assert_eq!(end(stream).err(), Some(INVALIDATED));
        good!(sys::cuStreamBeginCapture_v2(stream, RELAXED));
        good!(sys::cuMemAlloc_v2(&mut address, 4));
        good!(sys::cuMemsetD32Async(address, 9, 1, stream));
        let executable = instantiate(end(stream).unwrap());
        good!(sys::cuGraphLaunch(executable, stream));
        finish(stream);
        assert_eq!(download::<u32>(address, 1), [9]);
        good!(sys::cuStreamBeginCapture_v2(stream, GLOBAL));
        let mut mode = RELAXED;
        good!(sys::cuThreadExchangeStreamCaptureMode(&mut mode));
        good!(sys::cuMemAlloc_v2(&mut address, 4));
        good!(sys::cuThreadExchangeStreamCaptureMode(&mut mode));
        assert_eq!((mode, end(stream).is_ok()), (RELAXED, true));
    });
}

#[test]
fn memory_freed_under_a_graph_is_found_when_it_is_launched() {
    in_own_process("memory_freed_under_a_graph_is_found_when_it_is_launched", || {
        start();
        let (stream, address, source) = (stream(), allocate(4), upload(&[1_u32]));
        good!(sys::cuStreamBeginCapture_v2(stream, GLOBAL));
        good!(sys::cuMemcpyDtoDAsync_v2(address, source, 4, stream));
        let executable = instantiate(end(stream).unwrap());
        good!(sys::cuMemFree_v2(source));
        good!(sys::cuGraphLaunch(executable, stream));
        assert_eq!(status!(sys::cuStreamSynchronize(stream)), CUresult::CUDA_ERROR_ILLEGAL_ADDRESS);
        let findings = control::take_findings().unwrap();
        assert!(findings[0].contains("in a graph") && findings[0].contains("freed"), "{findings:?}");
    });
}

#[test]
fn pinned_memory_freed_under_a_graph_is_found_when_it_is_launched() {
    in_own_process("pinned_memory_freed_under_a_graph_is_found_when_it_is_launched", || {
        start();
        let (stream, address, mut source) = (stream(), allocate(4), std::ptr::null_mut());
        good!(sys::cuMemHostAlloc(&mut source, 4, 0));
        good!(sys::cuStreamBeginCapture_v2(stream, GLOBAL));
        good!(sys::cuMemcpyHtoDAsync_v2(address, source, 4, stream));
        let executable = instantiate(end(stream).unwrap());
        good!(sys::cuMemFreeHost(source));
        good!(sys::cuGraphLaunch(executable, stream));
        assert_eq!(status!(sys::cuStreamSynchronize(stream)), CUresult::CUDA_ERROR_ILLEGAL_ADDRESS);
        assert!(control::take_findings().unwrap()[0].contains("not pinned any more"));
    });
}

#[test]
fn a_fork_must_join_and_orders_by_events() {
    in_own_process("a_fork_must_join_and_orders_by_events", || {
        start();
        let (main, side, forked, joined) = (stream(), stream(), event(), event());
        let (left, right, sum) = (allocate(4), allocate(4), allocate(8));
        let capture = |join: bool, ordered: bool| {
            good!(sys::cuStreamBeginCapture_v2(main, GLOBAL));
            good!(sys::cuEventRecord(forked, main));
            good!(sys::cuStreamWaitEvent(side, forked, 0));
            good!(sys::cuMemsetD32Async(left, 1, 1, main));
            good!(sys::cuMemsetD32Async(right, 2, 1, side));
            good!(sys::cuEventRecord(joined, side));
            if ordered {
                good!(sys::cuStreamWaitEvent(main, joined, 0));
            }
            good!(sys::cuMemcpyDtoDAsync_v2(sum, left, 4, main));
            good!(sys::cuMemcpyDtoDAsync_v2(sum + 4, right, 4, main));
            if join && !ordered {
                good!(sys::cuStreamWaitEvent(main, joined, 0));
            }
            end(main)
        };
        assert_eq!(capture(false, false).err(), Some(CUresult::CUDA_ERROR_STREAM_CAPTURE_UNJOINED));
        let replay = |executable: CUgraphExec| {
            let seen = (0..16).map(|seed| {
                control::seed(seed).unwrap();
                good!(sys::cuMemsetD32Async(right, 7, 1, main));
                good!(sys::cuGraphLaunch(executable, main));
                finish(main);
                download::<u32>(sum, 2)
            });
            seen.collect::<Vec<_>>()
        };
        let (ordered, beside) = (instantiate(capture(true, true).unwrap()), instantiate(capture(true, false).unwrap()));
        assert!(replay(ordered).iter().all(|sum| *sum == [1, 2]));
        let beside = replay(beside);
        assert!(beside.contains(&vec![1, 2]) && beside.contains(&vec![1, 7]), "{beside:?}");
    });
}

#[test]
fn captures_end_where_they_began() {
    in_own_process("captures_end_where_they_began", || {
        start();
        let (stream, other, outside) = (stream(), stream(), event());
        assert_eq!(end(stream).err(), Some(CUresult::CUDA_ERROR_ILLEGAL_STATE));
        assert_eq!(status!(sys::cuStreamBeginCapture_v2(std::ptr::null_mut(), GLOBAL)), UNSUPPORTED);
        good!(sys::cuEventRecord(outside, other));
        good!(sys::cuStreamBeginCapture_v2(stream, GLOBAL));
        assert_eq!(status!(sys::cuStreamBeginCapture_v2(stream, GLOBAL)), CUresult::CUDA_ERROR_ILLEGAL_STATE);
        assert_eq!(status!(sys::cuStreamWaitEvent(stream, outside, 0)), CUresult::CUDA_ERROR_STREAM_CAPTURE_ISOLATION);
        assert_eq!(end(stream).err(), Some(INVALIDATED));
        good!(sys::cuStreamBeginCapture_v2(stream, GLOBAL));
        good!(sys::cuStreamDestroy_v2(stream));
        good!(sys::cuCtxSynchronize());
        let (stream, captured) = (client::stream(), event());
        good!(sys::cuStreamBeginCapture_v2(stream, GLOBAL));
        good!(sys::cuEventRecord(captured, stream));
        assert_eq!(status!(sys::cuEventSynchronize(captured)), CUresult::CUDA_ERROR_CAPTURED_EVENT);
        assert_eq!(end(stream).err(), Some(INVALIDATED));
        let mut blocking = std::ptr::null_mut();
        good!(sys::cuStreamCreate(&mut blocking, 0));
        good!(sys::cuStreamBeginCapture_v2(blocking, RELAXED));
        let legacy = status!(sys::cuMemsetD8Async(allocate(4), 0, 4, std::ptr::null_mut()));
        assert_eq!((legacy, end(blocking).err()), (CUresult::CUDA_ERROR_STREAM_CAPTURE_IMPLICIT, Some(INVALIDATED)));
    });
}

#[test]
fn captures_keep_apart() {
    in_own_process("captures_keep_apart", || {
        start();
        let (first, second, in_first, in_second) = (stream(), stream(), event(), event());
        good!(sys::cuStreamBeginCapture_v2(first, RELAXED));
        good!(sys::cuStreamBeginCapture_v2(second, RELAXED));
        good!(sys::cuEventRecord(in_first, first));
        assert_eq!(status!(sys::cuStreamWaitEvent(second, in_first, 0)), CUresult::CUDA_ERROR_STREAM_CAPTURE_MERGE);
        assert_eq!((end(first).err(), end(second).err()), (Some(INVALIDATED), Some(INVALIDATED)));
        good!(sys::cuStreamBeginCapture_v2(first, GLOBAL));
        good!(sys::cuEventRecord(in_second, first));
        good!(sys::cuStreamWaitEvent(second, in_second, 0));
        assert_eq!(end(second).err(), Some(CUresult::CUDA_ERROR_STREAM_CAPTURE_UNMATCHED));
        assert_eq!(end(first).err(), Some(INVALIDATED));
        let outside = stream();
        assert_eq!(status!(sys::cuStreamWaitEvent(outside, in_second, 0)), CUresult::CUDA_ERROR_CAPTURED_EVENT, "its capture is over");
        good!(sys::cuStreamBeginCapture_v2(first, GLOBAL));
        let (address, mut context) = (first as usize, std::ptr::null_mut());
        good!(sys::cuCtxGetCurrent(&mut context));
        let context = context as usize;
        let elsewhere = std::thread::spawn(move || {
            good!(sys::cuCtxSetCurrent(context as _));
            end(address as CUstream).err()
        });
        assert_eq!(elsewhere.join().unwrap(), Some(CUresult::CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD));
        assert!(end(first).is_ok());
    });
}

#[test]
fn a_graph_never_runs_beside_itself() {
    in_own_process("a_graph_never_runs_beside_itself", || {
        start();
        let (first, second, sum, old) = (stream(), stream(), allocate(4), upload(&[0_u32]));
        // sum takes the place of old in two steps; two runs that mixed would leave sum unwritten in between.
        good!(sys::cuStreamBeginCapture_v2(first, GLOBAL));
        good!(sys::cuMemcpyDtoDAsync_v2(sum, old, 4, first));
        good!(sys::cuMemcpyDtoDAsync_v2(old, sum, 4, first));
        good!(sys::cuMemsetD32Async(sum, 1, 1, first));
        let executable = instantiate(end(first).unwrap());
        for seed in 0..16 {
            control::seed(seed).unwrap();
            good!(sys::cuMemsetD32Async(old, 0, 1, first));
            finish(first);
            good!(sys::cuGraphLaunch(executable, first));
            good!(sys::cuGraphLaunch(executable, second));
            good!(sys::cuCtxSynchronize());
            assert_eq!(download::<u32>(old, 1), [0], "the second run saw the middle of the first");
        }
    });
}
