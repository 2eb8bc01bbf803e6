//! Kernels as NVRTC writes them: right results in every order.
//!
//! Each `.ptx` in `tests/kernels` is what NVRTC 12.1 makes of the `.cu` beside it, with
//! `--gpu-architecture=compute_80 -std=c++17 --fmad=true`.
use crate::device::{Argument::*, Device, noise};

const SEEDS: [u64; 6] = [0, 1, 2, 3, 77, 12345];

fn close(got: f32, wanted: f64, tolerance: f64, what: &str) {
    let error = (got as f64 - wanted).abs() / wanted.abs().max(1.0);
    assert!(error <= tolerance || got.is_nan() && wanted.is_nan(), "{what}: {got} instead of {wanted}");
}

#[test]
fn matmul() {
    let (m, n, k) = (37, 45, 50);
    let (a, b) = (noise(m * k, 1), noise(k * n, 2));
    for seed in SEEDS {
        let mut device = Device { seed, ..Device::new(include_str!("../kernels/matmul.ptx")) };
        let (a_at, b_at, c_at) = (device.singles(&a), device.singles(&b), device.empty(m * n));
        let arguments = [Address(a_at), Address(b_at), Address(c_at), Word32(m as u32), Word32(n as u32), Word32(k as u32)];
        let statistics = device.launch("matmul", [3, 3, 1], [16, 16, 1], &arguments).unwrap_or_else(|fault| panic!("{fault}"));
        assert_eq!(statistics.barriers, 9 * 4 * 2);
        for (at, value) in device.read_singles(c_at, m * n).into_iter().enumerate() {
            let wanted = (0..k).fold(0f32, |sum, i| a[at / n * k + i].mul_add(b[i * n + at % n], sum));
            assert_eq!(value, wanted, "seed {seed}, element {at}");
        }
    }
}

#[test]
fn softmax() {
    let (rows, columns) = (5, 300);
    let x = noise(rows * columns, 3);
    for seed in SEEDS {
        let mut device = Device { seed, ..Device::new(include_str!("../kernels/softmax.ptx")) };
        let (x_at, y_at) = (device.singles(&x), device.empty(rows * columns));
        device
            .launch("softmax", [rows as u32, 1, 1], [128, 1, 1], &[Address(x_at), Address(y_at), Word32(columns as u32)])
            .unwrap_or_else(|fault| panic!("{fault}"));
        for (row, got) in x.chunks(columns).zip(device.read_singles(y_at, rows * columns).chunks(columns)) {
            let sum: f64 = row.iter().map(|&v| (v as f64).exp()).sum();
            for (&v, &got) in row.iter().zip(got) {
                close(got, (v as f64).exp() / sum, 1e-8, "softmax");
            }
        }
    }
}

#[test]
fn histogram() {
    let values: Vec<u32> = (0..1000u32).map(|i| i.wrapping_mul(2654435761) >> 20).collect();
    for seed in SEEDS {
        let mut device = Device { seed, ..Device::new(include_str!("../kernels/histogram.ptx")) };
        let (values_at, counts, sum) = (device.words(&values), device.words(&[0; 16]), device.singles(&[0.0]));
        let (wide, greatest) = (device.doubles(&[0]), device.words(&[0]));
        device
            .launch("histogram", [3, 1, 1], [128, 1, 1], &[Address(values_at), Address(counts), Address(sum), Address(wide), Address(greatest), Word32(1000)])
            .unwrap_or_else(|fault| panic!("{fault}"));
        let mut wanted = vec![0; 16];
        values.iter().for_each(|&value| wanted[value as usize & 15] += 1);
        assert_eq!(device.read_words(counts, 16), wanted);
        let total: u32 = values.iter().sum();
        assert_eq!(device.read_singles(sum, 1)[0], total as f32);
        assert_eq!(f64::from_bits(device.read_doubles(wide, 1)[0]), total as f64);
        assert_eq!(device.read_words(greatest, 1)[0], *values.iter().max().unwrap());
    }
}

#[test]
fn calls() {
    let n = 77;
    let x = noise(n, 4);
    let triangle = |n: i32| (0..=n).sum::<i32>();
    let given: Vec<u8> = 1.5f32.to_le_bytes().into_iter().chain([10i32, 20, 30].into_iter().flat_map(i32::to_le_bytes)).collect();
    for seed in SEEDS {
        let mut device = Device { seed, ..Device::new(include_str!("../kernels/calls.ptx")) };
        let (x_at, y_at) = (device.singles(&x), device.empty(n));
        device
            .launch("calls", [2, 1, 1], [64, 1, 1], &[Address(x_at), Address(y_at), Bytes(&given), Word32(n as u32)])
            .unwrap_or_else(|fault| panic!("{fault}"));
        for (i, got) in device.read_singles(y_at, n).into_iter().enumerate() {
            let index = i as i32;
            let mut value = 1.5 * index as f32 + x[i];
            if i & 1 == 1 {
                value += triangle(index % 11) as f32;
            }
            assert_eq!(got, value + ([10, 20, 30][(i % 3 + i) % 3] + triangle(index & 7)) as f32, "thread {i}");
        }
    }
}

#[test]
fn vectors_constants_and_dynamic_shared_memory() {
    let n = 100;
    let x = noise(n * 4, 5);
    for seed in SEEDS {
        let mut device = Device { seed, dynamic_shared: 64 * 16, ..Device::new(include_str!("../kernels/vectors.ptx")) };
        let (x_at, y_at) = (device.singles(&x), device.empty(n * 4));
        device.launch("vectors", [2, 1, 1], [64, 1, 1], &[Address(x_at), Address(y_at), Word32(n as u32)]).unwrap_or_else(|fault| panic!("{fault}"));
        let y = device.read_singles(y_at, n * 4);
        for i in 0..n {
            let v = &x[(i ^ 1) * 4..(i ^ 1) * 4 + 4];
            assert_eq!(y[i * 4..i * 4 + 4], [v[0], v[1] * 2.0, v[2] * 3.0, v[3].mul_add((i & 3) as f32 + 1.0, 7.0)]);
        }
        let (address, bytes) = device.module.variable("launches", &device.memory).unwrap();
        assert_eq!((device.read_words(address, 1), bytes), (vec![7], 4));
    }
}

#[test]
fn mathematical_functions() {
    let x: Vec<f32> = noise(100, 6).into_iter().map(|v| v * 5.0).collect();
    let mut device = Device::new(include_str!("../kernels/functions.ptx"));
    let (x_at, y_at) = (device.singles(&x), device.empty(100 * 12));
    device.launch("functions", [1, 1, 1], [128, 1, 1], &[Address(x_at), Address(y_at), Word32(100)]).unwrap_or_else(|fault| panic!("{fault}"));
    let y = device.read_singles(y_at, 100 * 12);
    for (&v, got) in x.iter().zip(y.chunks(12)) {
        let v = v as f64;
        let wanted = [
            v.exp(),
            v.abs().ln(),
            v.abs().powf(1.7f32 as f64),
            v.sin(),
            error_function(v),
            v.tanh(),
            v.cos(),
            v.abs().ln_1p(),
            v.exp_m1(),
            1.0 / v.abs().sqrt(),
            v % (0.7f32 as f64),
            v.round(),
        ];
        for (number, (&got, &wanted)) in got.iter().zip(&wanted).enumerate() {
            close(got, wanted, 4e-7, &format!("function {number} of {v}"));
        }
    }
}

/// The integral by its series, which converges for all arguments here.
fn error_function(x: f64) -> f64 {
    let (mut term, mut sum) = (x, x);
    for n in 1..200 {
        term *= -x * x / n as f64;
        sum += term / (2 * n + 1) as f64;
    }
    sum * 2.0 / std::f64::consts::PI.sqrt()
}

#[test]
fn integer_and_double_functions() {
    let x: Vec<u32> = (0..100u32).map(|i| i.wrapping_mul(2654435761).wrapping_add(12345)).collect();
    let mut device = Device::new(include_str!("../kernels/functions.ptx"));
    let (x_at, y_at, z_at) = (device.words(&x), device.empty(600), device.empty(200));
    device.launch("integers", [4, 1, 1], [32, 1, 1], &[Address(x_at), Address(y_at), Address(z_at), Word32(100)]).unwrap_or_else(|fault| panic!("{fault}"));
    let (y, z) = (device.read_words(y_at, 600), device.read_doubles(z_at, 100));
    for (i, &v) in x.iter().enumerate() {
        let wide = v as u64;
        let first_set = if v == 0 { 0 } else { v.trailing_zeros() + 1 };
        let wanted = [
            ((wide * 0xD2511F53) >> 32) as u32,
            v / 7 + v % 1000,
            v.count_ones() + v.leading_zeros() + first_set,
            v.reverse_bits(),
            (v as i32 / 13) as u32,
            (wide * wide / 12345) as u32,
        ];
        assert_eq!(y[i * 6..i * 6 + 6], wanted, "{v}");
        let v = v as f64;
        let wanted = (-v * 1e-9).exp() * v.sqrt() / 3.0 + (v + 1.0).ln();
        assert!((f64::from_bits(z[i]) - wanted).abs() <= 1e-14 * wanted.abs(), "{} instead of {wanted}", f64::from_bits(z[i]));
    }
}

#[test]
fn half_precision() {
    use half::bf16;
    let n = 50;
    let narrow = |values: Vec<f32>| values.into_iter().map(bf16::from_f32).collect::<Vec<bf16>>();
    let (a, b) = (narrow(noise(n * 2, 7)), narrow(noise(n * 2, 8)));
    let words = |values: &[bf16]| values.chunks(2).map(|pair| pair[0].to_bits() as u32 | (pair[1].to_bits() as u32) << 16).collect::<Vec<u32>>();
    let mut device = Device::new(include_str!("../kernels/bf16.ptx"));
    let (a_at, b_at, c_at, d_at) = (device.words(&words(&a)), device.words(&words(&b)), device.empty(n), device.empty(n));
    device
        .launch("bf16", [1, 1, 1], [64, 1, 1], &[Address(a_at), Address(b_at), Address(c_at), Address(d_at), Word32(n as u32)])
        .unwrap_or_else(|fault| panic!("{fault}"));
    let (c, d) = (device.read_words(c_at, n), device.read_singles(d_at, n));
    for i in 0..n {
        let product = |at: usize| bf16::from_f64(a[at].to_f64() * b[at].to_f64() + a[at].to_f64());
        let (low, high) = (product(2 * i), product(2 * i + 1));
        let (low, high) = if low > high { (low, high) } else { (high, low) };
        assert_eq!(c[i], low.to_bits() as u32 | (high.to_bits() as u32) << 16, "pair {i}");
        assert_eq!(d[i], low.to_f32() + bf16::from_f32(a[2 * i + 1].to_f32() * 3.0).to_f32());
    }
}

/// The positions of `bar.sync` in a text.
fn barriers(text: &str) -> Vec<usize> {
    text.match_indices("bar.sync").map(|(at, _)| at).collect()
}

/// Whether a run finds a race or a read of what was never written.
fn caught(text: &str, seed: u64, run: impl Fn(&mut Device) -> Result<(), chainrule_ptx::Fault>) -> bool {
    let mut device = Device { seed, ..Device::new(text) };
    run(&mut device).is_err_and(|fault| matches!(fault.kind, chainrule_ptx::FaultKind::SharedRace | chainrule_ptx::FaultKind::Uninitialised))
}

#[test]
fn every_missing_barrier_is_found() {
    let matmul = include_str!("../kernels/matmul.ptx");
    let softmax = include_str!("../kernels/softmax.ptx");
    let run_matmul = |device: &mut Device| {
        let (a, b, c) = (device.singles(&noise(32 * 32, 1)), device.singles(&noise(32 * 32, 2)), device.empty(32 * 32));
        device.launch("matmul", [2, 2, 1], [16, 16, 1], &[Address(a), Address(b), Address(c), Word32(32), Word32(32), Word32(32)]).map(|_| ())
    };
    let run_softmax = |device: &mut Device| {
        let (x, y) = (device.singles(&noise(256, 3)), device.empty(256));
        device.launch("softmax", [2, 1, 1], [64, 1, 1], &[Address(x), Address(y), Word32(128)]).map(|_| ())
    };
    for seed in SEEDS {
        let without = |text: &str, at: usize| format!("{}//{}", &text[..at], &text[at..]);
        assert_eq!(barriers(matmul).len(), 2);
        for at in barriers(matmul) {
            assert!(caught(&without(matmul, at), seed, run_matmul), "seed {seed}, barrier at byte {at}");
        }
        // The first of the four only protects what an earlier reduction left, of which there is none.
        assert_eq!(barriers(softmax).len(), 4);
        for (number, at) in barriers(softmax).into_iter().enumerate() {
            assert_eq!(caught(&without(softmax, at), seed, run_softmax), number > 0, "seed {seed}, barrier {number}");
        }
    }
}
