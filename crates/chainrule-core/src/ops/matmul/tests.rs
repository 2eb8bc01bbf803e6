use super::*;
use crate::dtype::DType;

fn waves(dims: &[usize]) -> Array {
    Array::from_index(dims, DType::F64, |i| ((i * 7919 % 1013) as f64 * 0.37).sin()).unwrap()
}

/// Every element as a sum over k, with indices broadcast by hand.
fn naive(a: &Array, b: &Array) -> Vec<f64> {
    let (a, b) = (if a.rank() == 1 { a.unsqueeze(0).unwrap() } else { a.clone() }, if b.rank() == 1 { b.unsqueeze(-1).unwrap() } else { b.clone() });
    let (left, right) = (Side::left(&a), Side::right(&b));
    let (m, k, n) = (left.rows, left.columns, right.columns);
    let batch = Shape::broadcast("", &Shape::trusted(&a.dims()[..a.rank() - 2]), &Shape::trusted(&b.dims()[..b.rank() - 2])).unwrap();
    let a = a.broadcast_to(&[&batch[..], &[m, k]].concat()).unwrap().to_vec::<f64>().unwrap();
    let b = b.broadcast_to(&[&batch[..], &[k, n]].concat()).unwrap().to_vec::<f64>().unwrap();
    let mut out = vec![];
    for s in 0..batch.count() {
        for i in 0..m {
            for j in 0..n {
                out.push((0..k).map(|p| a[(s * m + i) * k + p] * b[(s * k + p) * n + j]).sum());
            }
        }
    }
    out
}

#[test]
fn products_of_all_ranks_and_views() {
    for (a, b, shape) in [
        (&[3, 4][..], &[4, 5][..], &[3, 5][..]),
        (&[4], &[4], &[]),
        (&[3, 4], &[4], &[3]),
        (&[4], &[4, 5], &[5]),
        (&[2, 3, 4], &[2, 4, 5], &[2, 3, 5]),
        (&[2, 1, 3, 4], &[5, 4, 6], &[2, 5, 3, 6]),
        (&[2, 3, 4], &[4], &[2, 3]),
        (&[2, 3, 4], &[4, 5], &[2, 3, 5]),
        (&[4], &[3, 4, 2], &[3, 2]),
        (&[0, 4], &[4, 3], &[0, 3]),
        (&[3, 0], &[0, 2], &[3, 2]),
        (&[0, 3, 4], &[4, 2], &[0, 3, 2]),
        (&[33, 70], &[70, 49], &[33, 49]),
        (&[7, 1, 2, 3], &[1, 6, 3, 2], &[7, 6, 2, 2]),
    ] {
        let (x, y) = (waves(a), waves(b));
        let flipped = |z: &Array| if z.rank() < 2 { z.clone() } else { z.transpose(-1, -2).unwrap().contiguous().unwrap().transpose(-1, -2).unwrap() };
        for (x, y) in [(x.clone(), y.clone()), (flipped(&x), y.clone()), (x.clone(), flipped(&y))] {
            let out = matmul(&x, &y).unwrap();
            assert_eq!(out.dims(), shape);
            let (got, expected) = (out.to_vec::<f64>().unwrap(), naive(&x, &y));
            assert!(got.iter().zip(&expected).all(|(g, e)| (g - e).abs() < 1e-12), "{a:?} {b:?}");
            assert_eq!(got.len(), expected.len());
        }
    }
}

#[test]
fn linear_is_a_product_a_bias_and_an_activation() {
    let (w, b) = (waves(&[4, 7]), waves(&[8]).stepped(0, 0, 8, 2).unwrap());
    let bias = b.to_vec::<f64>().unwrap();
    for x in [waves(&[2, 3, 7]), waves(&[7]), waves(&[5, 7]), waves(&[7, 5]).transpose(0, 1).unwrap(), waves(&[2, 7, 3]).transpose(1, 2).unwrap()] {
        for activation in [Activation::None, Activation::Relu, Activation::LeakyRelu(0.1), Activation::LeakyRelu(-2.0)] {
            let got = linear(&x, &w, Some(&b), activation).unwrap();
            let product = matmul(&x, &w.transpose(0, 1).unwrap()).unwrap();
            assert_eq!(got.dims(), product.dims());
            let expected: Vec<f64> = product.to_vec::<f64>().unwrap().iter().enumerate().map(|(i, p)| activation.of(p + bias[i % 4])).collect();
            assert!(got.to_vec::<f64>().unwrap().iter().zip(&expected).all(|(g, e)| (g - e).abs() < 1e-12), "{:?} {activation:?}", x.shape());
        }
    }
    assert!(linear(&waves(&[7]), &w, None, Activation::LeakyRelu(f64::INFINITY)).is_err());
}

#[test]
fn a_product_is_added_to_what_is_there() {
    let w = waves(&[4, 7]);
    for x in
        [waves(&[2, 3, 7]), waves(&[7]), waves(&[5, 7]), waves(&[7, 5]).transpose(0, 1).unwrap(), waves(&[2, 7, 3]).transpose(1, 2).unwrap(), waves(&[0, 7])]
    {
        let product = linear(&x, &w, None, Activation::None).unwrap();
        let onto = waves(product.dims());
        let (shared, before) = (onto.clone(), onto.to_vec::<f64>().unwrap());
        let got = linear_onto(onto, &x, &w).unwrap();
        assert_eq!(shared.to_vec::<f64>().unwrap(), before);
        let at = shared.pointer::<f64>();
        let again = linear_onto(shared, &x, &w).unwrap();
        assert!(again.count() == 0 || again.pointer::<f64>() == at, "memory that nobody shares is used");
        for (i, (got, again)) in got.to_vec::<f64>().unwrap().iter().zip(again.to_vec::<f64>().unwrap()).enumerate() {
            let expected = before[i] + product.to_vec::<f64>().unwrap()[i];
            assert!(*got == again && (got - expected).abs() < 1e-12);
        }
    }
    assert!(linear_onto(waves(&[2, 4]), &waves(&[3, 7]), &w).is_err() && linear_onto(waves(&[4]).cast(DType::F32).unwrap(), &waves(&[7]), &w).is_err());
}

/// Products of rounded numbers in f64, rounded, up to what another order of summation makes of them.
#[test]
fn bf16_is_rounded_products_added_in_f32() {
    let _alone = simd::alone();
    let narrow = |x: &Array| rounded(x).unwrap().cast(DType::F64).unwrap();
    let close = |got: &Array, expected: &Array, size: f64| {
        assert_eq!(got.dims(), expected.dims());
        let (got, expected) = (got.cast(DType::F64).unwrap().to_vec::<f64>().unwrap(), expected.to_vec::<f64>().unwrap());
        for (g, e) in got.iter().zip(&expected) {
            assert!((g - e).abs() <= e.abs() / 256.0 + size * 1e-6, "{g} against {e}");
        }
    };
    for level in simd::Level::available() {
        simd::set_level(level);
        for (a, b) in [
            (&[3, 4][..], &[4, 5][..]),
            (&[4], &[4]),
            (&[5], &[5, 3]),
            (&[2, 3, 7], &[7]),
            (&[2, 1, 3, 9], &[5, 9, 6]),
            (&[2, 3, 8], &[8, 5]),
            (&[70, 301], &[301, 49]),
            (&[1, 333], &[333, 40]),
            (&[0, 3], &[3, 2]),
            (&[3, 0], &[0, 2]),
            (&[3, 1], &[1, 2]),
        ] {
            let (x, y) = (waves(a).cast(DType::F32).unwrap(), waves(b).cast(DType::F32).unwrap());
            let flipped = |z: &Array| if z.rank() < 2 { z.clone() } else { z.transpose(-1, -2).unwrap().contiguous().unwrap().transpose(-1, -2).unwrap() };
            let spread = |z: &Array| {
                z.broadcast_to(&[&[2], z.dims()].concat()).unwrap().permute(&(1..=z.rank()).chain([0]).collect::<Vec<_>>()).unwrap().contiguous().unwrap()
            };
            for (x, y) in [(x.clone(), y.clone()), (flipped(&x), y.clone()), (x.clone(), flipped(&y)), (flipped(&x), flipped(&y))] {
                let expected = matmul(&narrow(&x), &narrow(&y)).unwrap();
                let k = *x.dims().last().unwrap() as f64;
                close(&matmul_bf16(&x, &y).unwrap(), &expected, k);
                let half = |z: &Array| z.cast(DType::BF16).unwrap();
                close(&matmul(&half(&x), &half(&y)).unwrap(), &expected, k);
            }
            // Every second number of memory.
            let wide = spread(&x);
            let view = wide.narrow(-1, 0, 1).unwrap().reshape(x.dims()).unwrap();
            close(&matmul_bf16(&view, &y).unwrap(), &matmul(&narrow(&x), &narrow(&y)).unwrap(), *x.dims().last().unwrap() as f64);
        }
        let (x, w, b) = (waves(&[6, 33]).cast(DType::F32).unwrap(), waves(&[40, 33]).cast(DType::F32).unwrap(), waves(&[40]).cast(DType::F32).unwrap());
        let expected = linear(&narrow(&x), &narrow(&w), Some(&narrow(&b)), Activation::Relu).unwrap();
        close(&linear_bf16(&x, &w, Some(&b), Activation::Relu).unwrap(), &expected, 33.0);
        close(&linear_bf16(&x.reshape(&[2, 3, 33]).unwrap(), &w, Some(&b), Activation::Relu).unwrap(), &expected.reshape(&[2, 3, 40]).unwrap(), 33.0);
    }
    assert!(matmul_bf16(&waves(&[2, 2]), &waves(&[2, 2])).is_err());
}

#[test]
fn bf16_keeps_what_is_not_finite() {
    let _alone = simd::alone();
    for level in simd::Level::available() {
        simd::set_level(level);
        let x = Array::from_slice(&[f32::NAN, f32::INFINITY, -f32::INFINITY, 3.4e38, 1.0, 0.0], &[6, 1]).unwrap();
        let one = Array::ones(&[1, 1], DType::F32).unwrap();
        let y = matmul_bf16(&x, &one).unwrap().to_vec::<f32>().unwrap();
        assert!(y[0].is_nan(), "{level:?}");
        assert_eq!(y[1..], [f32::INFINITY, -f32::INFINITY, f32::INFINITY, 1.0, 0.0], "{level:?}");
    }
}

#[test]
fn errors_name_both_shapes() {
    let error = matmul(&waves(&[2, 3]), &waves(&[4, 5])).unwrap_err().to_string();
    assert!(error.contains("[2, 3]") && error.contains("[4, 5]") && error.contains("3 columns against 4 rows"), "{error}");
    let error = linear(&waves(&[2, 3]), &waves(&[4, 5]), None, Activation::None).unwrap_err().to_string();
    assert!(error.contains("[2, 3]") && error.contains("[4, 5]"), "{error}");
    assert!(matmul(&waves(&[]), &waves(&[4])).is_err());
}
