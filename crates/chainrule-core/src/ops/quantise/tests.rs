//! Against sums by hand, at every level of the machine.

use super::*;
use crate::ops::testing::{at_every_level, doubles, noise};
use crate::random;

/// The table as the paper's appendix E prints it.
const PAPER: [f64; 16] = [
    -1.0,
    -0.6961928009986877,
    -0.5250730514526367,
    -0.39491748809814453,
    -0.28444138169288635,
    -0.18477343022823334,
    -0.09105003625154495,
    0.0,
    0.07958029955625534,
    0.16093020141124725,
    0.24611230194568634,
    0.33791524171829224,
    0.44070982933044434,
    0.5626170039176941,
    0.7229568362236023,
    1.0,
];

/// How far a number may be from what stands for it, as a part of its block's largest.
const HALF_GAP: f64 = (1.0 - 0.6961928009986877) / 2.0 + 1e-6;

#[test]
fn the_table_is_the_papers_and_its_values_are_met() {
    assert!(NF4.iter().zip(PAPER).all(|(own, paper)| *own == paper as f32));
    let values: Vec<f32> = (0..6 * 16).map(|i| NF4[i * 7 % 16] * if i < 64 { 3.0 } else { 0.5 }).collect();
    let weight = Array::from_slice(&values, &[3, 32]).unwrap();
    let packed = quantise(&weight, &Quantisation::nf4().block(32).double(false)).unwrap();
    assert_eq!((packed.codes.dims(), packed.scales.to_vec::<f32>().unwrap()), (&[3usize, 16][..], vec![3.0, 3.0, 0.5]));
    assert_eq!(packed.codes.to_vec::<u8>().unwrap()[..3], [7 << 4, 5 << 4 | 14, 3 << 4 | 12]);
    assert_eq!(packed.dequantise().unwrap().to_vec::<f32>().unwrap(), values);
}

#[test]
fn errors_keep_within_half_a_gap() {
    at_every_level(|dtype, _| {
        for (dims, block) in [(&[3, 64][..], 64), (&[5, 7], 4), (&[4, 3, 3, 3], 8), (&[1, 130], 64), (&[2, 1], 2), (&[0, 4], 2), (&[3, 0], 2)] {
            let weight = noise(dims, 5, dtype);
            let columns = dims[1..].iter().product::<usize>();
            for how in [Quantisation::nf4(), Quantisation::int8()] {
                for how in [how.block(block), Quantisation { block: None, ..how }] {
                    for how in [how.double(false), how.double(true)] {
                        let packed = quantise(&weight, &how).unwrap();
                        let back = packed.dequantise().unwrap();
                        assert_eq!((back.dims(), back.dtype()), (dims, dtype));
                        let (weight, back) = (doubles(&weight), doubles(&back));
                        let width = how.block.unwrap_or(columns).max(1);
                        let part = if how.code == Code::Nf4 { HALF_GAP } else { 0.5 / 127.0 + 1e-6 };
                        for (row, own) in weight.chunks(columns.max(1)).zip(back.chunks(columns.max(1))) {
                            for (block, own) in row.chunks(width).zip(own.chunks(width)) {
                                let largest = block.iter().fold(0.0, |m: f64, x| m.max(x.abs()));
                                // The scales lie in 0..1, and are rounded to 1/254 of their spread.
                                let allowed = part * largest + if how.double { 0.006 } else { 0.0 };
                                for (x, y) in block.iter().zip(own) {
                                    assert!((x - y).abs() <= allowed, "{how:?} {dims:?}: {x} {y} of {largest}");
                                }
                            }
                        }
                    }
                }
            }
        }
    });
}

#[test]
fn every_level_and_number_of_threads_gives_the_same_bits() {
    let weight = noise(&[70, 500], 3, DType::F32);
    let of = || {
        let packed = quantise(&weight, &Quantisation::nf4()).unwrap();
        (packed.codes.to_vec::<u8>().unwrap(), packed.scales.to_vec::<u8>().unwrap(), packed.dequantise().unwrap().to_vec::<f32>().unwrap())
    };
    let expected = of();
    for threads in [1, 2, 5] {
        at_every_level(|_, _| {
            parallel::set_threads(threads);
            assert!(of() == expected);
        });
    }
}

#[test]
fn normal_weights_lose_what_they_should() {
    let weight = random::normal(&[512, 512], 0.0, 1.0, DType::F32, &mut crate::Rng::seeded(1)).unwrap();
    let error = |how: Quantisation| {
        let back = quantise(&weight, &how).unwrap().dequantise().unwrap();
        doubles(&weight).iter().zip(doubles(&back)).map(|(x, y)| (x - y).abs()).sum::<f64>() / weight.count() as f64
    };
    // Means over five million numbers, by NumPy.
    for (block, known) in [(64, 0.07276), (256, 0.08028)] {
        let (single, double) = (error(Quantisation::nf4().block(block).double(false)), error(Quantisation::nf4().block(block)));
        assert!((single - known).abs() < 0.0005 && double < 1.01 * single, "{block}: {single} {double}");
    }
    assert!(error(Quantisation::int8()) < 0.0075);
    // Half a byte a code, 1/64 a scale, 4/(64 · 256) a step.
    let packed = quantise(&weight, &Quantisation::nf4()).unwrap();
    let bytes = packed.codes.count() + packed.scales.count() + 4 * packed.nested.unwrap().steps.count();
    assert!((bytes as f64 / weight.count() as f64 - 0.5159).abs() < 1e-4);
}

#[test]
fn rows_are_those_of_the_whole() {
    let weight = noise(&[9, 10], 2, DType::F32);
    for how in [Quantisation::nf4().block(4), Quantisation::int8()] {
        let packed = quantise(&weight, &how).unwrap();
        let whole = packed.dequantise().unwrap().to_vec::<f32>().unwrap();
        let picked = packed.rows(&Array::from_slice(&[8i64, 0, 3, 8], &[2, 2]).unwrap()).unwrap();
        assert_eq!(picked.dims(), [2, 2, 10]);
        assert_eq!(picked.to_vec::<f32>().unwrap(), [8, 0, 3, 8].map(|row| &whole[row * 10..][..10]).concat());
        assert!(packed.rows(&Array::from_slice(&[9i64], &[1]).unwrap()).unwrap_err().to_string().contains("index 9"));
    }
}

#[test]
fn half_types_zeros_and_extremes() {
    let half = noise(&[2, 8], 1, DType::F32).cast(DType::BF16).unwrap();
    assert_eq!(quantise(&half, &Quantisation::int8()).unwrap().dequantise().unwrap().dtype(), DType::F32);
    for how in [Quantisation::nf4(), Quantisation::int8().double(true), Quantisation::int8()] {
        let zeros = quantise(&Array::zeros(&[4, 70], DType::F32).unwrap(), &how).unwrap();
        assert_eq!(zeros.dequantise().unwrap().to_vec::<f32>().unwrap(), [0.0; 280]);
        let tiny = Array::full(&[1, 4], 1e-42, DType::F32).unwrap();
        assert!(quantise(&tiny, &how).unwrap().dequantise().unwrap().to_vec::<f32>().unwrap().iter().all(|x| x.is_finite() && *x < 1e-41));
        let large = Array::from_slice(&[f32::MAX, -f32::MAX, 0.0, 1.0], &[1, 4]).unwrap();
        let back = quantise(&large, &how).unwrap().dequantise().unwrap().to_vec::<f32>().unwrap();
        assert!(back[0] > 0.99 * f32::MAX && back[1] < -0.99 * f32::MAX && back[2] == 0.0, "{back:?}");
    }
}

#[test]
fn what_cannot_be_is_refused() {
    let refused = |weight: &Array, how: Quantisation, expected: &str| {
        let error = quantise(weight, &how).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    let good = noise(&[4, 6], 0, DType::F32);
    refused(&Array::scalar(1.0, DType::F32).unwrap(), Quantisation::nf4(), "the weight is a scalar");
    refused(&Array::zeros(&[2, 2], DType::I64).unwrap(), Quantisation::nf4(), "expected f32 or f64");
    refused(&Array::from_slice(&[1.0, f32::NAN], &[1, 2]).unwrap(), Quantisation::nf4(), "not finite");
    refused(&Array::from_slice(&[f32::INFINITY, 1.0], &[1, 2]).unwrap(), Quantisation::int8(), "not finite");
    for (code, block) in [(Quantisation::nf4(), 0), (Quantisation::nf4(), 3), (Quantisation::int8(), 0)] {
        refused(&good, code.block(block), "expected an even number, at least 2");
    }
    let packed = quantise(&good, &Quantisation::nf4().block(2)).unwrap();
    let broken = [
        Quantised { codes: Array::zeros(&[4, 2], DType::U8).unwrap(), ..packed.clone() },
        Quantised { scales: Array::zeros(&[4, 2], DType::U8).unwrap(), ..packed.clone() },
        Quantised { shape: Shape::new(&[4, 8]).unwrap(), ..packed.clone() },
        Quantised { nested: None, ..packed.clone() },
        Quantised { how: Quantisation::int8(), ..packed.clone() },
    ];
    assert!(broken.iter().all(|broken| broken.dequantise().unwrap_err().to_string().contains("do not make a weight")));
}
