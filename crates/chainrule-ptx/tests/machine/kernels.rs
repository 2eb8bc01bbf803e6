//! Kernels as NVRTC writes them: right results in every order.
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
        let arguments = [Address(a_at), Address(b_at), Address(c_at), Word(m as u32), Word(n as u32), Word(k as u32)];
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
            .launch("softmax", [rows as u32, 1, 1], [128, 1, 1], &[Address(x_at), Address(y_at), Word(columns as u32)])
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
            .launch("histogram", [3, 1, 1], [128, 1, 1], &[Address(values_at), Address(counts), Address(sum), Address(wide), Address(greatest), Word(1000)])
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
        device.launch("calls", [2, 1, 1], [64, 1, 1], &[Address(x_at), Address(y_at), Bytes(&given), Word(n as u32)]).unwrap_or_else(|fault| panic!("{fault}"));
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
        device.launch("vectors", [2, 1, 1], [64, 1, 1], &[Address(x_at), Address(y_at), Word(n as u32)]).unwrap_or_else(|fault| panic!("{fault}"));
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
    device.launch("functions", [1, 1, 1], [128, 1, 1], &[Address(x_at), Address(y_at), Word(100)]).unwrap_or_else(|fault| panic!("{fault}"));
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
    device.launch("integers", [4, 1, 1], [32, 1, 1], &[Address(x_at), Address(y_at), Address(z_at), Word(100)]).unwrap_or_else(|fault| panic!("{fault}"));
    let (y, z) = (device.read_words(y_at, 600), device.read_doubles(z_at, 100));
    for (i, &v) in x.iter().enumerate() {
        let wide = v as u64;
        let first_set = if v == 0 { 0 } else { v.trailing_zeros() + 1 };
        let wanted = [
            (wide * 0xD2511F53 >> 32) as u32,
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
