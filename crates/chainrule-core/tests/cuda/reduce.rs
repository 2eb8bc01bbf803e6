//! Sums and extremes.

use crate::support::*;
use chainrule_core::ops::elementwise::{Comparison, Unary, compare, unary};
use chainrule_core::ops::reduce::{max, min, sum, sum_to};
use chainrule_core::{Array, DType, Device, Result};

/// Holds sums on the GPU to sums in double on the CPU: the error is below a rounding of the sum of magnitudes, however many numbers there are.
#[track_caller]
fn exact(what: &str, x: &Array, compute: impl Fn(&Array) -> Result<Vec<Array>>) {
    let Some(gpu) = gpu() else { return };
    let numbers = |x: &Array| x.to(&Device::Cpu).unwrap().cast(DType::F64).unwrap().to_vec::<f64>().unwrap();
    let wide = x.cast(DType::F64).unwrap();
    let (expected, magnitudes) = (compute(&wide).unwrap(), compute(&unary(Unary::Abs {}, &wide).unwrap()).unwrap());
    let got = compute(&x.to(&gpu).unwrap()).unwrap();
    for (place, ((e, m), g)) in expected.iter().zip(&magnitudes).zip(&got).enumerate() {
        assert_eq!((e.dims(), g.device(), g.dtype()), (g.dims(), gpu, DType::F32), "{what}: result {place}");
        for (i, ((e, m), g)) in numbers(e).into_iter().zip(numbers(m)).zip(numbers(g)).enumerate() {
            assert!((e - g).abs() <= 6e-8 * (e.abs() + m), "{what}: result {place}, element {i}: {g} on the GPU, expected {e}");
        }
    }
}

#[test]
fn sums_over_any_dimensions() {
    for (dims, axes) in [
        (&[7][..], &[0][..]),
        (&[1], &[0]),
        (&[], &[]),
        (&[3, 5], &[1]),
        (&[3, 5], &[0]),
        (&[3, 1], &[1]),
        (&[40, 9], &[0]),
        (&[33, 37], &[0]),
        (&[2, 3, 4, 5], &[0, 2, 3]),
        (&[2, 3, 4, 5], &[1, 3]),
        (&[2, 3, 4, 5], &[]),
        (&[5, 2, 64], &[2]),
        (&[5, 2, 700], &[0, 2]),
        (&[4, 3, 2, 12], &[1, 3]),
        (&[3, 1031], &[1]),
        (&[1300, 3], &[0]),
        (&[0, 3], &[0]),
        (&[3, 0], &[0]),
        (&[3, 0], &[1]),
    ] {
        let x = noise(dims, 1);
        exact(&format!("{dims:?} {axes:?}"), &x, |x| Ok(vec![sum(x, axes, false)?, sum(x, axes, true)?]));
    }
}

#[test]
fn long_sums_are_cut() {
    // Rows, whose last part is shorter, and columns.
    let (rows, columns) = (noise(&[2, 10_003], 1), noise(&[1030, 40], 2));
    exact("rows", &rows, |x| Ok(vec![sum(x, &[1], false)?, sum(x, &[], false)?]));
    exact("columns", &columns, |x| Ok(vec![sum(x, &[0], false)?, sum(&x.transpose(0, 1)?, &[1], true)?]));
    // Large numbers that go: little is left, and it is right.
    let x = Array::from_index(&[20_000], DType::F32, |i| if i % 2 == 0 { 1000.5 } else { -1000.0 }).unwrap();
    exact("cancelling", &x, |x| Ok(vec![sum(x, &[], false)?]));
}

#[test]
fn sums_of_views() {
    let x = noise(&[6, 5, 68], 3);
    exact("views", &x, |x| {
        Ok(vec![
            sum(&x.narrow(2, 1, 64)?, &[2], false)?,
            sum(&x.narrow(2, 4, 64)?, &[2], false)?,
            sum(&x.narrow(1, 1, 3)?, &[1, 2], false)?,
            sum(&x.flip(&[0, 2])?, &[0, 2], false)?,
            // Begins on 16 bytes, and runs backward.
            sum(&x.narrow(2, 1, 4)?.flip(&[2])?, &[2], false)?,
            sum(&x.permute(&[2, 0, 1])?, &[0, 2], false)?,
            sum(&x.select(1, 0)?.unsqueeze(1)?.broadcast_to(&[6, 4, 68])?, &[1], false)?,
            sum(&x.stepped(2, 1, 67, 3)?, &[2], true)?,
        ])
    });
}

#[test]
fn broadcasting_is_undone() {
    let x = noise(&[4, 3, 10], 4);
    for dims in [&[4, 3, 10][..], &[3, 10], &[10], &[4, 1, 10], &[1, 3, 1], &[1], &[]] {
        exact(&format!("to {dims:?}"), &x, |x| Ok(vec![sum_to(x, dims)?]));
    }
}

#[test]
fn truth_values_and_integers_are_counted() {
    let (i, j) = (indices(5, &[1000], 1), indices(5, &[1000], 2));
    agree("counts", 0.0, [&i, &j], |[i, j]| {
        let right = compare(Comparison::Equal, i, j)?;
        Ok(vec![sum(&right, &[], false)?, sum(&right.reshape(&[50, 20])?, &[0], true)?, sum(&i.reshape(&[50, 20])?, &[1], false)?, sum(i, &[], false)?])
    });
    let large = Array::full(&[20_000], 1e18, DType::I64).unwrap();
    agree("wrapping", 0.0, [&large], |[x]| Ok(vec![sum(x, &[], false)?]));
}

#[test]
fn extremes_and_their_places() {
    for dims in [[3usize, 100, 1], [2, 33, 1], [2, 7, 64], [1, 5, 45], [4, 31, 1], [1, 1, 3], [0, 3, 2], [3, 2, 0], [2, 3, 33], [2, 700, 1], [2, 600, 3]] {
        for nan in [false, true] {
            let x = Array::from_index(&dims, DType::F32, |i| if nan && i % 57 == 40 { f64::NAN } else { (i * 7919 % 23) as f64 }).unwrap();
            let i = Array::from_index(&dims, DType::I64, |i| (i * 7919 % 23) as f64 - 11.0).unwrap();
            agree(&format!("{dims:?} {nan}"), 0.0, [&x, &i], |[x, i]| {
                let ((a, b), (c, d), (e, f)) = (max(x, 1, false)?, min(x, -2, true)?, max(i, 1, false)?);
                Ok(vec![a, b, c, d, e, f])
            });
        }
    }
    let infinite = Array::from_slice(&[f32::NEG_INFINITY, f32::INFINITY, 0.0, f32::NEG_INFINITY], &[2, 2]).unwrap();
    let x = noise(&[6, 5, 40], 5);
    agree("views", 0.0, [&x, &infinite], |[x, y]| {
        let ((a, b), (c, d), (e, f)) = (max(&x.transpose(0, 2)?, 1, false)?, min(&x.flip(&[2])?, 2, false)?, max(&y.select(1, 0)?, 0, false)?);
        Ok(vec![a, b, c, d, e, f])
    });
}

/// More columns and rows than one block takes at once, or twice.
#[test]
fn many_results_are_walked() {
    let (x, narrow) = (noise(&[3, 700], 5), noise(&[90, 5], 6));
    agree("columns and rows", 1e-6, [&x, &narrow], |[x, narrow]| {
        let ((a, b), (c, d)) = (max(x, 0, false)?, min(narrow, 1, false)?);
        Ok(vec![a, b, c, d, sum(x, &[0], false)?, sum(narrow, &[1], false)?])
    });
}

#[test]
fn what_has_no_kernel_says_so() {
    let Some(gpu) = gpu() else { return };
    let x = Array::zeros(&[3], DType::F64).unwrap().to(&gpu).unwrap();
    for error in [sum(&x, &[], false).unwrap_err(), max(&x, 0, false).unwrap_err()] {
        assert!(error.to_string().contains("f64") && error.to_string().contains("f32"), "{error}");
    }
}
