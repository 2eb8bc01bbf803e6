//! Moves, copies of views, conversions.

use crate::support::*;
use chainrule_core::{Array, DType, Device};

#[test]
fn numbers_arrive_and_come_back() {
    let Some(gpu) = gpu() else { return };
    for dtype in [DType::F32, DType::F64, DType::I64, DType::U8, DType::BF16, DType::F16] {
        for count in [0, 1, 3, 1000] {
            let x = Array::from_index(&[count], dtype, |i| i as f64 * 0.5).unwrap();
            let there = x.to(&gpu).unwrap();
            assert_eq!((there.device(), there.dtype(), there.dims()), (gpu, dtype, x.dims()));
            let back = there.to(&Device::Cpu).unwrap().cast(DType::F64).unwrap();
            assert_eq!(back.to_vec::<f64>().unwrap(), x.cast(DType::F64).unwrap().to_vec::<f64>().unwrap(), "{dtype} {count}");
        }
    }
    assert_eq!(Array::scalar(3.5, DType::F32).unwrap().to(&gpu).unwrap().item().unwrap(), 3.5);
}

#[test]
fn views_are_copied_as_on_the_cpu() {
    for dtype in [DType::F32, DType::F64, DType::U8, DType::BF16] {
        let x = Array::from_index(&[3, 5, 7], dtype, |i| i as f64).unwrap();
        agree("transposed", 0.0, [&x], |[x]| Ok(vec![x.transpose(0, 2)?.contiguous()?, x.permute(&[1, 2, 0])?.contiguous()?]));
        agree("stepped", 0.0, [&x], |[x]| Ok(vec![x.stepped(1, 1, 5, 2)?.contiguous()?, x.flip(&[0, 2])?.contiguous()?, x.narrow(2, 3, 4)?.contiguous()?]));
        agree("broadcast", 0.0, [&x], |[x]| {
            Ok(vec![x.select(1, 2)?.unsqueeze(1)?.broadcast_to(&[2, 3, 4, 7])?.contiguous()?, x.diagonal(1, 0, 2)?.contiguous()?])
        });
    }
}

#[test]
fn many_numbers_are_copied_converted_and_filled() {
    let Some(gpu) = gpu() else { return };
    // More than a block or two take, so that one block must walk on more than once.
    let x = Array::from_index(&[43, 61], DType::F32, |i| i as f64 - 700.0).unwrap();
    agree("transposed", 0.0, [&x], |[x]| Ok(vec![x.transpose(0, 1)?.contiguous()?]));
    for to in [DType::F64, DType::I64, DType::U8, DType::BF16] {
        agree(&format!("{to}"), 0.0, [&x], |[x]| Ok(vec![x.cast(to)?]));
    }
    for dtype in [DType::F32, DType::I64, DType::U8, DType::BF16] {
        let threes = Array::full_on(&[2623], 3.0, dtype, &gpu).unwrap();
        assert!(threes.to(&Device::Cpu).unwrap().cast(DType::F64).unwrap().to_vec::<f64>().unwrap().iter().all(|x| *x == 3.0), "{dtype}");
    }
}

#[test]
fn conversions_are_the_cpus() {
    let mut edges =
        vec![0.0, -0.0, 0.5, -0.5, 1.5, 254.6, 255.4, 256.0, -1.0, 3e9, -3e9, 1e30, -1e30, 1e-40, 65504.0, 65520.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
    // Halfway between two of 16 bits, and beside it: to the even one.
    edges.extend([0x3f80_8000, 0x3f81_8000, 0x3f80_8001, 0x3f81_7fff, 0xbf81_8000, 0x3f80_1000, 0x3f80_3000, 0x3f81_0001u32].map(f32::from_bits));
    let x = Array::from_slice(&edges, &[edges.len()]).unwrap();
    for to in [DType::F64, DType::I64, DType::U8, DType::BF16, DType::F16] {
        agree(&format!("f32 to {to}"), 0.0, [&x], |[x]| Ok(vec![x.cast(to)?]));
        let y = x.cast(to).unwrap();
        for back in [DType::F32, DType::F64, DType::I64, DType::U8] {
            agree(&format!("{to} to {back}"), 0.0, [&y], |[y]| Ok(vec![y.cast(back)?]));
        }
    }
}

#[test]
fn a_missing_gpu_is_an_error_that_says_so() {
    let error = Device::cuda(99).unwrap_err().to_string();
    assert!(error.contains("driver") || error.contains("out of range") || error.contains("does not exist"), "{error}");
}
