//! cuBLASLt's descriptors: attributes, descriptors in the caller's memory, handles that are none, factors on the device.
mod client;

use client::{allocate, download, finish, good, in_own_process, start, status, stream, upload};
use cudarc::cublaslt::sys::{self, cublasLtMatmulDescAttributes_t as Desc, cublasLtMatrixLayoutAttribute_t as Layout, cublasStatus_t as Status};
use std::ffi::c_void;

const SINGLE: sys::cudaDataType = sys::cudaDataType::CUDA_R_32F;
const COMPUTE: sys::cublasComputeType_t = sys::cublasComputeType_t::CUBLAS_COMPUTE_32F;

fn place<T>(value: &T) -> (*const c_void, usize) {
    (std::ptr::from_ref(value).cast(), size_of::<T>())
}

fn description() -> sys::cublasLtMatmulDesc_t {
    let mut description = std::ptr::null_mut();
    good!(sys::cublasLtMatmulDescCreate(&mut description, COMPUTE, SINGLE));
    description
}

fn layout(rows: u64, columns: u64) -> sys::cublasLtMatrixLayout_t {
    let mut layout = std::ptr::null_mut();
    good!(sys::cublasLtMatrixLayoutCreate(&mut layout, SINGLE, rows, columns, rows as i64));
    layout
}

#[test]
fn attributes_are_kept() {
    in_own_process("attributes_are_kept", || {
        let description = description();
        let ((value, bytes), mut read, mut written) = (place(&1_i32), 0_i32, 0);
        good!(sys::cublasLtMatmulDescSetAttribute(description, Desc::CUBLASLT_MATMUL_DESC_TRANSB, value, bytes));
        good!(sys::cublasLtMatmulDescGetAttribute(description, Desc::CUBLASLT_MATMUL_DESC_TRANSB, (&raw mut read).cast(), 4, &mut written));
        assert_eq!((read, written), (1, 4));
        good!(sys::cublasLtMatmulDescGetAttribute(description, Desc::CUBLASLT_MATMUL_DESC_BIAS_POINTER, std::ptr::null_mut(), 0, &mut written));
        assert_eq!(written, 8);
        let invalid = Status::CUBLAS_STATUS_INVALID_VALUE;
        let wrong_size = status!(sys::cublasLtMatmulDescSetAttribute(description, Desc::CUBLASLT_MATMUL_DESC_BIAS_POINTER, value, 4));
        let no_value = status!(sys::cublasLtMatmulDescSetAttribute(description, Desc::CUBLASLT_MATMUL_DESC_TRANSB, std::ptr::null(), 4));
        let other_kind = status!(sys::cublasLtMatrixLayoutSetAttribute(description.cast(), Layout::CUBLASLT_MATRIX_LAYOUT_LD, value, 4));
        assert_eq!([wrong_size, no_value, other_kind], [invalid; 3]);
        good!(sys::cublasLtMatmulDescDestroy(description));
        let destroyed = status!(sys::cublasLtMatmulDescSetAttribute(description, Desc::CUBLASLT_MATMUL_DESC_TRANSB, value, 4));
        assert_eq!([destroyed, status!(sys::cublasLtMatmulDescDestroy(description))], [invalid; 2]);
        let fast = status!(sys::cublasLtMatmulDescSetAttribute(layout(1, 1).cast(), Desc::CUBLASLT_MATMUL_DESC_FAST_ACCUM, value, 1));
        assert_eq!(fast, invalid);
    });
}

#[test]
fn handles_need_a_context_and_end() {
    in_own_process("handles_need_a_context_and_end", || {
        let mut handle = std::ptr::null_mut();
        assert_eq!(status!(sys::cublasLtCreate(&mut handle)), Status::CUBLAS_STATUS_NOT_INITIALIZED);
        start();
        good!(sys::cublasLtCreate(&mut handle));
        good!(sys::cublasLtDestroy(handle));
        assert_eq!(status!(sys::cublasLtDestroy(handle)), Status::CUBLAS_STATUS_NOT_INITIALIZED);
        // SAFETY: takes nothing.
        assert!(unsafe { sys::cublasLtGetVersion() } >= 120_000);
    });
}

/// `2 · 3 · factor` by descriptors of one element.
fn multiply(description: sys::cublasLtMatmulDesc_t, layout: sys::cublasLtMatrixLayout_t, alpha: *const c_void, beta: *const c_void) -> Result<f32, Status> {
    let mut handle = std::ptr::null_mut();
    good!(sys::cublasLtCreate(&mut handle));
    let (stream, [a, b, d]) = (stream(), [upload(&[2_f32]), upload(&[3_f32]), allocate(4)]);
    let [pa, pb, pd] = [a, b, d].map(|address| address as *mut c_void);
    let (none, null) = (std::ptr::null(), std::ptr::null_mut());
    match status!(sys::cublasLtMatmul(handle, description, alpha, pa, layout, pb, layout, beta, pd, layout, pd, layout, none, null, 0, stream.cast())) {
        Status::CUBLAS_STATUS_SUCCESS => finish(stream),
        error => return Err(error),
    }
    Ok(download::<f32>(d, 1)[0])
}

#[test]
fn factors_may_lie_on_the_device() {
    in_own_process("factors_may_lie_on_the_device", || {
        start();
        let (description, layout, one, zero) = (description(), layout(1, 1), 1_f32, 0_f32);
        assert_eq!(multiply(description, layout, place(&one).0, place(&zero).0), Ok(6.0));
        assert_eq!(multiply(description, layout, std::ptr::null(), place(&zero).0), Err(Status::CUBLAS_STATUS_INVALID_VALUE));
        let (mode, bytes) = place(&1_i32);
        good!(sys::cublasLtMatmulDescSetAttribute(description, Desc::CUBLASLT_MATMUL_DESC_POINTER_MODE, mode, bytes));
        let (alpha, beta) = (upload(&[0.5_f32]), upload(&[0_f32]));
        assert_eq!(multiply(description, layout, alpha as _, beta as _), Ok(3.0));
    });
}

#[test]
fn descriptors_in_the_callers_memory() {
    in_own_process("descriptors_in_the_callers_memory", || {
        start();
        let (mut description, mut layout) = ([0_u64; 32], [0_u64; 8]);
        let (in_place, layout_in_place) = (description.as_mut_ptr().cast(), layout.as_mut_ptr().cast());
        let (one, zero) = (1_f32, 0_f32);
        let plain = status!(sys::cublasLtMatmulDescGetAttribute(in_place, Desc::CUBLASLT_MATMUL_DESC_TRANSA, std::ptr::null_mut(), 0, &mut 0));
        assert_eq!(plain, Status::CUBLAS_STATUS_INVALID_VALUE, "nothing was made there yet");
        good!(sys::cublasLtMatmulDescInit_internal(in_place, 256, COMPUTE, SINGLE));
        good!(sys::cublasLtMatrixLayoutInit_internal(layout_in_place, 64, SINGLE, 1, 1, 1));
        let short = status!(sys::cublasLtMatrixLayoutInit_internal(layout_in_place, 32, SINGLE, 1, 1, 1));
        assert_eq!(short, Status::CUBLAS_STATUS_INVALID_VALUE);
        assert_eq!(multiply(in_place, layout_in_place, place(&one).0, place(&zero).0), Ok(6.0));
        let (relu, bytes) = place(&2_u32);
        good!(sys::cublasLtMatmulDescSetAttribute(in_place, Desc::CUBLASLT_MATMUL_DESC_EPILOGUE, relu, bytes));
        let minus = -1_f32;
        assert_eq!(multiply(in_place, layout_in_place, place(&minus).0, place(&zero).0), Ok(0.0));
    });
}
