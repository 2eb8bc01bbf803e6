//! Matrix products and linear layers, through cuBLASLt and through kernels of ours.

use crate::support::*;
use chainrule_core::cuda::set_own_products;
use chainrule_core::ops::matmul::{Activation, linear, linear_onto, matmul};
use chainrule_core::{Array, DType, Device};
use std::sync::Mutex;

/// Runs the test with the library's products, if it is there, and with ours. The choice is the process's, so one test at a time makes it.
pub fn on_both_products(test: impl Fn()) {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    for own in [false, true] {
        set_own_products(own);
        test();
    }
    set_own_products(false);
}

/// For sums of `k` products of normal numbers: 1e-6 of the sum of their sizes, about, and ten times that for the shortest.
pub fn rounding(k: usize) -> f64 {
    1e-6 * k.max(10) as f64
}

#[test]
fn matrices_of_all_sizes_and_layouts() {
    on_both_products(|| {
        for [m, n, k] in
            [[1, 1, 1], [3, 5, 7], [31, 33, 4], [33, 32, 31], [1, 65, 31], [65, 1, 31], [17, 10, 64], [10, 130, 16], [64, 64, 32], [5, 3, 0], [0, 3, 4]]
        {
            let (a, b) = (noise(&[m, k], 1), noise(&[k, n], 2));
            let (at, bt) = (noise(&[k, m], 3), noise(&[n, k], 4));
            agree(&format!("{m} {n} {k}"), rounding(k), [&a, &b, &at, &bt], |[a, b, at, bt]| {
                let (at, bt) = (at.transpose(0, 1)?, bt.transpose(0, 1)?);
                Ok(vec![matmul(a, b)?, matmul(&at, b)?, matmul(a, &bt)?, matmul(&at, &bt)?])
            });
        }
    });
}

#[test]
fn a_long_sum_is_cut() {
    on_both_products(|| {
        let (a, b, bias) = (noise(&[7, 1500], 1), noise(&[1500, 9], 2), noise(&[9], 3));
        agree("long", rounding(1500), [&a, &b, &bias], |[a, b, bias]| {
            let weight = b.transpose(0, 1)?;
            // Either side of the result may be the flat one.
            let turned = matmul(&weight, &a.transpose(0, 1)?)?;
            Ok(vec![
                matmul(a, b)?,
                turned,
                linear(a, &weight, Some(bias), Activation::Relu)?,
                linear_onto(Array::ones(&[7, 9], DType::F32)?.to(&a.device())?, a, &weight)?,
            ])
        });
        let (tall, wide) = (noise(&[70, 600], 4), noise(&[600, 10], 5));
        agree("tall and long", rounding(600), [&tall, &wide, &bias], |[a, b, _]| Ok(vec![matmul(a, b)?, matmul(&b.transpose(0, 1)?, &a.transpose(0, 1)?)?]));
    });
}

#[test]
fn views_with_gaps_steps_and_offsets() {
    on_both_products(|| {
        let (a, b) = (noise(&[20, 24], 1), noise(&[24, 28], 2));
        agree("views", rounding(24), [&a, &b], |[a, b]| {
            let inside = |x: &Array, row: usize, column: usize| x.narrow(0, row, 13)?.narrow(1, column, 13);
            let stepped = a.stepped(1, 0, 24, 2)?;
            let flipped = b.flip(&[0])?;
            let alike = a.narrow(0, 0, 1)?.broadcast_to(&[6, 24])?;
            Ok(vec![
                matmul(&inside(a, 1, 3)?, &inside(b, 2, 4)?)?,
                matmul(&inside(a, 1, 3)?.transpose(0, 1)?, &inside(b, 2, 4)?)?,
                matmul(&stepped, &b.narrow(0, 3, 12)?)?,
                matmul(a, &flipped)?,
                matmul(&alike, b)?,
            ])
        });
    });
}

#[test]
fn what_stands_beside_a_view_is_not_read() {
    on_both_products(|| {
        let a = Array::from_index(&[9, 12], DType::F32, |i| if i % 12 == 11 { f64::NAN } else { i as f64 / 50.0 }).unwrap();
        agree("beside", rounding(11), [&a], |[a]| {
            let part = a.narrow(1, 0, 11)?;
            let turned = part.transpose(0, 1)?;
            Ok(vec![matmul(&part, &turned)?, matmul(&turned, &part)?])
        });
    });
}

#[test]
fn vectors_and_batches() {
    on_both_products(|| {
        let (v, a, b) = (noise(&[9], 1), noise(&[4, 3, 5, 9], 2), noise(&[3, 9, 6], 3));
        agree("batches", rounding(9), [&v, &a, &b], |[v, a, b]| {
            let one = b.select(0, 1)?;
            let swapped = a.transpose(0, 1)?;
            Ok(vec![
                matmul(v, v)?,
                matmul(v, &one)?,
                matmul(&a.select(0, 0)?.select(0, 0)?, v)?,
                matmul(a, v)?,
                matmul(v, b)?,
                matmul(a, b)?,
                matmul(a, &one)?,
                matmul(&swapped, &b.unsqueeze(1)?)?,
                matmul(&a.narrow(0, 1, 1)?, &b.narrow(0, 1, 1)?)?,
                matmul(&a.select(0, 2)?.narrow(0, 0, 1)?, b)?,
                matmul(&a.transpose(2, 3)?, &a.narrow(1, 0, 1)?)?,
                matmul(&a.narrow(1, 0, 0)?, &one)?,
                matmul(v, &b.select(0, 0)?.stepped(1, 0, 6, 2)?)?,
                matmul(&a.select(0, 1)?.flip(&[0])?, b)?,
            ])
        });
        // Neither batch is a row of matrices at even steps.
        let (a, b) = (noise(&[2, 1, 4, 3], 4), noise(&[1, 3, 3, 2], 5));
        agree("crossed", rounding(3), [&a, &b], |[a, b]| Ok(vec![matmul(a, b)?]));
    });
}

#[test]
fn linear_layers() {
    on_both_products(|| {
        for [inputs, outputs] in [[5, 3], [33, 17], [64, 10], [12, 130]] {
            let (x, weight, bias) = (noise(&[2, 3, inputs], 1), noise(&[outputs, inputs], 2), noise(&[outputs], 3));
            agree(&format!("linear {inputs} {outputs}"), rounding(inputs), [&x, &weight, &bias], |[x, weight, bias]| {
                let mut made = Vec::new();
                for activation in [Activation::None, Activation::Relu, Activation::LeakyRelu(0.125)] {
                    made.push(linear(x, weight, None, activation)?);
                    made.push(linear(x, weight, Some(bias), activation)?);
                }
                made.push(linear(&x.select(0, 0)?.select(0, 1)?, weight, Some(bias), Activation::None)?);
                made.push(linear(&x.transpose(0, 1)?, weight, Some(&bias.flip(&[0])?), Activation::None)?);
                let start = linear(x, weight, Some(bias), Activation::None)?;
                made.push(linear_onto(start.clone(), x, weight)?);
                made.push(start);
                Ok(made)
            });
        }
    });
}

#[test]
fn relu_of_ours_keeps_nan_and_infinity() {
    on_both_products(|| {
        let x = Array::from_slice(&[1e38f32, -1e38, 0.0, -0.5], &[4, 1]).unwrap();
        let weight = Array::from_slice(&[10f32, -10.0], &[2, 1]).unwrap();
        agree("infinite", 0.0, [&x, &weight], |[x, weight]| Ok(vec![linear(x, weight, None, Activation::Relu)?, linear(x, weight, None, Activation::None)?]));
    });
    let Some(gpu) = gpu() else { return };
    on_both_products(|| {
        let x = Array::from_slice(&[f32::NAN, 1.0], &[2, 1]).unwrap().to(&gpu).unwrap();
        let y = matmul(&x, &x.transpose(0, 1).unwrap()).unwrap().to(&Device::Cpu).unwrap().to_vec::<f32>().unwrap();
        assert!(y[0].is_nan() && y[1].is_nan() && y[2].is_nan() && y[3] == 1.0);
    });
}

#[test]
fn what_has_no_kernel_is_an_error() {
    let Some(gpu) = gpu() else { return };
    let x = noise(&[2, 2], 1);
    let there = x.to(&gpu).unwrap();
    let double = x.cast(DType::F64).unwrap().to(&gpu).unwrap();
    assert!(matmul(&double, &double).unwrap_err().to_string().contains("f32"));
    assert!(linear(&double, &double, None, Activation::None).unwrap_err().to_string().contains("f32"));
    assert!(chainrule_core::ops::matmul::matmul_bf16(&there, &there).unwrap_err().to_string().contains("kernel"));
    assert!(matmul(&there, &x).unwrap_err().to_string().contains("different devices"));
}
