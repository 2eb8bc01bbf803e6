//! Normalisation against its definition in f64.

use super::*;
use crate::dtype::DType;
use crate::ops::testing::*;

/// Few and many channels; planes of one number, of a few, and large ones; more rows than a block holds.
const BATCHES: [&[usize]; 10] =
    [&[7, 3], &[300, 70], &[5, 9, 4], &[1, 2, 31], &[131, 3, 2, 3], &[4, 3, 5, 9], &[2, 10, 6, 8], &[3, 1, 70, 75], &[1, 4], &[3, 8, 33]];

fn parameters(channels: usize, dtype: DType) -> (Array, Array) {
    let weight = Array::from_index(&[channels], dtype, |c| 0.5 + (c % 5) as f64 * 0.25).unwrap();
    (weight, noise(&[channels], 9, dtype))
}

struct Expected {
    y: Vec<f64>,
    mean: Vec<f64>,
    rstd: Vec<f64>,
    variance: Vec<f64>,
    dx: Vec<f64>,
    dweight: Vec<f64>,
    dbias: Vec<f64>,
}

/// Groups of positions are normalised together; position `i` takes parameter `which(i)`. Given statistics are constants.
fn expected(
    x: &Array,
    dy: &Array,
    groups: &[Vec<usize>],
    which: impl Fn(usize) -> usize,
    (weight, bias): (&[f64], &[f64]),
    eps: f64,
    given: Option<(&[f64], &[f64])>,
) -> Expected {
    let (x, dy) = (doubles(x), doubles(dy));
    let zeros = |n: usize| vec![0.0; n];
    let mut out = Expected {
        y: zeros(x.len()),
        mean: vec![],
        rstd: vec![],
        variance: vec![],
        dx: zeros(x.len()),
        dweight: zeros(weight.len()),
        dbias: zeros(weight.len()),
    };
    for (g, group) in groups.iter().enumerate() {
        let count = group.len() as f64;
        let average = |f: &dyn Fn(usize) -> f64| group.iter().map(|&i| f(i)).sum::<f64>() / count;
        let mean = given.map_or_else(|| average(&|i| x[i]), |s| s.0[g]);
        let variance = given.map_or_else(|| average(&|i| (x[i] - mean).powi(2)), |s| s.1[g]);
        let rstd = 1.0 / (variance + eps).sqrt();
        let z = |i: usize| (x[i] - mean) * rstd;
        let (even, along) = (average(&|i| dy[i] * weight[which(i)]), average(&|i| dy[i] * weight[which(i)] * z(i)));
        for &i in group {
            out.y[i] = z(i) * weight[which(i)] + bias[which(i)];
            out.dweight[which(i)] += dy[i] * z(i);
            out.dbias[which(i)] += dy[i];
            out.dx[i] = rstd * (dy[i] * weight[which(i)] - if given.is_some() { 0.0 } else { even + z(i) * along });
        }
        out.mean.push(mean);
        out.rstd.push(rstd);
        out.variance.push(variance);
    }
    out
}

fn channels_of(dims: &[usize]) -> Vec<Vec<usize>> {
    let inner: usize = dims[2..].iter().product();
    (0..dims[1]).map(|c| (0..dims[0]).flat_map(|n| (0..inner).map(move |l| (n * dims[1] + c) * inner + l)).collect()).collect()
}

fn assert_all(what: &str, got: &(Array, Array, Array), want: &Expected, tolerance: f64) {
    assert_close(&format!("{what} dx"), &got.0, &want.dx, tolerance);
    assert_close(&format!("{what} dweight"), &got.1, &want.dweight, tolerance);
    assert_close(&format!("{what} dbias"), &got.2, &want.dbias, tolerance);
}

#[test]
fn batch_norm_agrees_with_the_definition() {
    at_every_level(|dtype, tolerance| {
        for dims in BATCHES {
            let (x, dy, eps) = (noise(dims, 1, dtype), noise(dims, 2, dtype), 1e-3);
            let (weight, bias) = parameters(dims[1], dtype);
            let inner: usize = dims[2..].iter().product();
            let groups = channels_of(dims);
            for affine in [true, false] {
                let what = format!("{dtype} {dims:?} {affine}");
                let (weight, bias) = (affine.then_some(&weight), affine.then_some(&bias));
                let values = (weight.map_or(vec![1.0; dims[1]], doubles), bias.map_or(vec![0.0; dims[1]], doubles));
                let values = (&values.0[..], &values.1[..]);
                let want = expected(&x, &dy, &groups, |i| i / inner % dims[1], values, eps, None);
                let out = batch_norm(&x, weight, bias, eps).unwrap();
                assert_close(&what, &out.y, &want.y, 4.0 * tolerance);
                assert_close(&what, &out.mean, &want.mean, tolerance);
                assert_close(&what, &out.variance, &want.variance, tolerance);
                assert_close(&what, &out.rstd, &want.rstd, tolerance);
                assert_all(&what, &batch_norm_backward(&dy, &x, &out.mean, &out.rstd, weight).unwrap(), &want, 4.0 * tolerance);

                let (mean, variance) = (noise(&[dims[1]], 3, dtype), Array::from_index(&[dims[1]], dtype, |c| 0.5 + c as f64 * 0.125).unwrap());
                let want = expected(&x, &dy, &groups, |i| i / inner % dims[1], values, eps, Some((&doubles(&mean), &doubles(&variance))));
                assert_close(&what, &batch_norm_inference(&x, &mean, &variance, weight, bias, eps).unwrap(), &want.y, 4.0 * tolerance);
                assert_all(&what, &batch_norm_inference_backward(&dy, &x, &mean, &variance, weight, eps).unwrap(), &want, 4.0 * tolerance);
            }
        }
    });
}

#[test]
fn layer_norm_agrees_with_the_definition() {
    at_every_level(|dtype, tolerance| {
        for (dims, normalized) in
            [(&[7usize, 10][..], 1), (&[3, 5, 64], 1), (&[2, 130, 3, 5], 2), (&[9, 1], 1), (&[2, 5003], 1), (&[33], 1), (&[0, 4], 1), (&[700, 40], 1)]
        {
            let (outer, extents) = dims.split_at(dims.len() - normalized);
            let size: usize = extents.iter().product();
            let (x, dy, eps) = (noise(dims, 4, dtype), noise(dims, 5, dtype), 1e-2);
            let groups: Vec<Vec<usize>> = (0..outer.iter().product()).map(|r| (r * size..(r + 1) * size).collect()).collect();
            let (weight, bias) = parameters(size, dtype);
            for affine in [true, false] {
                let what = format!("{dtype} {dims:?} {affine}");
                let (weight, bias) = (affine.then(|| weight.reshape(extents).unwrap()), affine.then(|| bias.reshape(extents).unwrap()));
                let values = (weight.as_ref().map_or(vec![1.0; size], doubles), bias.as_ref().map_or(vec![0.0; size], doubles));
                let want = expected(&x, &dy, &groups, |i| i % size, (&values.0, &values.1), eps, None);
                let out = layer_norm(&x, normalized, weight.as_ref(), bias.as_ref(), eps).unwrap();
                assert_close(&what, &out.y, &want.y, 4.0 * tolerance);
                assert_close(&what, &out.mean, &want.mean, tolerance);
                assert_close(&what, &out.rstd, &want.rstd, 4.0 * tolerance);
                assert_all(&what, &layer_norm_backward(&dy, &x, &out.mean, &out.rstd, weight.as_ref()).unwrap(), &want, 4.0 * tolerance);
            }
        }
    });
}

#[test]
fn gradients_are_slopes() {
    for dims in [&[4usize, 3][..], &[2, 3, 5], &[2, 3, 36], &[1, 9, 40]] {
        let (x, dy, (weight, bias)) = (noise(dims, 6, DType::F64), noise(dims, 7, DType::F64), parameters(dims[1], DType::F64));
        let out = batch_norm(&x, Some(&weight), Some(&bias), 1e-3).unwrap();
        let (dx, dweight, dbias) = batch_norm_backward(&dy, &x, &out.mean, &out.rstd, Some(&weight)).unwrap();
        assert_gradient("x", &x, &dx, |x| weighted(&batch_norm(x, Some(&weight), Some(&bias), 1e-3).unwrap().y, &dy));
        assert_gradient("weight", &weight, &dweight, |w| weighted(&batch_norm(&x, Some(w), Some(&bias), 1e-3).unwrap().y, &dy));
        assert_gradient("bias", &bias, &dbias, |b| weighted(&batch_norm(&x, Some(&weight), Some(b), 1e-3).unwrap().y, &dy));
        let infer = |x: &Array, weight: &Array, bias: &Array| {
            weighted(&batch_norm_inference(x, &out.mean, &out.variance, Some(weight), Some(bias), 1e-3).unwrap(), &dy)
        };
        let (dx, dweight, dbias) = batch_norm_inference_backward(&dy, &x, &out.mean, &out.variance, Some(&weight), 1e-3).unwrap();
        assert_gradient("inference x", &x, &dx, |x| infer(x, &weight, &bias));
        assert_gradient("inference weight", &weight, &dweight, |w| infer(&x, w, &bias));
        assert_gradient("inference bias", &bias, &dbias, |b| infer(&x, &weight, b));
    }
    let (x, dy) = (noise(&[3, 2, 6], 8, DType::F64), noise(&[3, 2, 6], 9, DType::F64));
    let (weight, bias) = (noise(&[2, 6], 10, DType::F64), noise(&[2, 6], 11, DType::F64));
    let out = layer_norm(&x, 2, Some(&weight), Some(&bias), 1e-3).unwrap();
    let (dx, dweight, dbias) = layer_norm_backward(&dy, &x, &out.mean, &out.rstd, Some(&weight)).unwrap();
    assert_gradient("x", &x, &dx, |x| weighted(&layer_norm(x, 2, Some(&weight), Some(&bias), 1e-3).unwrap().y, &dy));
    assert_gradient("weight", &weight, &dweight, |w| weighted(&layer_norm(&x, 2, Some(w), Some(&bias), 1e-3).unwrap().y, &dy));
    assert_gradient("bias", &bias, &dbias, |b| weighted(&layer_norm(&x, 2, Some(&weight), Some(b), 1e-3).unwrap().y, &dy));
}

#[test]
fn nan_makes_its_channel_nan() {
    for dtype in [DType::F32, DType::F64] {
        let x = Array::from_slice(&[f64::NAN, 1.0, 2.0, 3.0], &[2, 2]).unwrap().cast(dtype).unwrap();
        let norm = batch_norm(&x, None, None, 1e-5).unwrap();
        for (kept, finite) in [(&norm.mean, 2.0), (&norm.variance, 1.0)] {
            let kept = doubles(kept);
            assert!(kept[0].is_nan() && kept[1] == finite, "{kept:?}");
        }
    }
}

#[test]
fn variance_survives_a_large_mean() {
    let x = Array::from_index(&[40, 2, 50], DType::F32, |i| 1e4 + (i % 7) as f64 * 0.125).unwrap();
    let groups = channels_of(&[40, 2, 50]);
    let want = expected(&x, &x, &groups, |i| i / 50 % 2, (&[1.0; 2], &[0.0; 2]), 0.0, None);
    assert_close("planes", &batch_norm(&x, None, None, 0.0).unwrap().variance, &want.variance, 1e-6);
    let narrow = x.transpose(1, 2).unwrap().reshape(&[2000, 2]).unwrap();
    assert_close("rows", &batch_norm(&narrow, None, None, 0.0).unwrap().variance, &want.variance, 1e-6);
    let rows = layer_norm(&x, 2, None, None, 0.0).unwrap().rstd;
    let groups: Vec<Vec<usize>> = (0..40).map(|r| (r * 100..r * 100 + 100).collect()).collect();
    assert_close("layer", &rows, &expected(&x, &x, &groups, |_| 0, (&[1.0], &[0.0]), 0.0, None).rstd, 1e-6);
}

#[test]
fn views_and_threads_give_the_same_bits() {
    let inputs = [noise(&[40, 30, 900], 12, DType::F32).transpose(1, 2).unwrap(), noise(&[20, 3, 4000], 13, DType::F32), noise(&[12, 70, 200], 14, DType::F32)];
    assert_same_bits("norm", || {
        let mut all = vec![];
        for x in &inputs {
            let out = batch_norm(x, None, None, 1e-5).unwrap();
            let (a, b, c) = batch_norm_backward(&out.y, x, &out.mean, &out.rstd, None).unwrap();
            all.extend([out.y, out.mean, out.variance, a, b, c]);
            let out = layer_norm(x, 1, None, None, 1e-5).unwrap();
            let (a, b, c) = layer_norm_backward(x, &out.y, &out.mean, &out.rstd, None).unwrap();
            all.extend([out.y, a, b, c]);
            let out = rms_norm(x, 1, None, 1e-5).unwrap();
            let (a, b) = rms_norm_backward(x, &out.y, &out.rstd, None).unwrap();
            all.extend([out.y, a, b]);
            let out = group_norm(x, 1, None, None, 1e-5).unwrap();
            let (a, b, c) = group_norm_backward(x, &out.y, &out.mean, &out.rstd, None).unwrap();
            all.extend([out.y, a, b, c]);
        }
        all
    });
}

#[test]
fn nothing_to_normalise_and_misuse() {
    for dims in [&[0usize, 3][..], &[2, 3, 0], &[2, 0, 4]] {
        let x = noise(dims, 15, DType::F32);
        let out = batch_norm(&x, None, None, 1e-5).unwrap();
        assert_eq!((out.y.dims(), doubles(&out.mean), doubles(&out.variance)), (dims, vec![0.0; dims[1]], vec![0.0; dims[1]]));
        let (dx, dweight, dbias) = batch_norm_backward(&x, &x, &out.mean, &out.rstd, None).unwrap();
        assert_eq!((dx.dims(), doubles(&dweight), doubles(&dbias)), (dims, vec![0.0; dims[1]], vec![0.0; dims[1]]));
    }
    let x = noise(&[2, 0], 16, DType::F32);
    let out = layer_norm(&x, 1, None, None, 1e-5).unwrap();
    assert_eq!(layer_norm_backward(&x, &x, &out.mean, &out.rstd, None).unwrap().0.dims(), [2, 0]);
    let x = noise(&[4, 3], 17, DType::F32);
    let wrong = noise(&[4], 18, DType::F32);
    assert!(batch_norm(&x, Some(&wrong), None, 1e-5).unwrap_err().to_string().contains("the weight has shape [4], expected [3]"));
    assert!(batch_norm(&wrong, None, None, 1e-5).unwrap_err().to_string().contains("[N, C, ...]"));
    assert!(batch_norm(&x, None, None, f64::NAN).is_err() && layer_norm(&x, 1, None, None, -1.0).is_err());
    assert!(layer_norm(&x, 3, None, None, 1e-5).is_err() && layer_norm(&x, 0, None, None, 1e-5).is_err());
    assert!(layer_norm(&x, 1, Some(&wrong), None, 1e-5).is_err());
    assert!(layer_norm_backward(&x, &x, &noise(&[5], 1, DType::F32), &noise(&[5], 1, DType::F32), None).is_err());
}

#[test]
fn rms_norm_is_layer_norm_about_zero() {
    at_every_level(|dtype, tolerance| {
        for (dims, normalized) in
            [(&[7usize, 10][..], 1), (&[3, 5, 64], 1), (&[2, 130, 3, 5], 2), (&[9, 1], 1), (&[2, 5003], 1), (&[33], 1), (&[0, 4], 1), (&[700, 40], 1)]
        {
            let extents = &dims[dims.len() - normalized..];
            let size: usize = extents.iter().product();
            let (x, dy, eps, weight) = (noise(dims, 4, dtype), noise(dims, 5, dtype), 1e-2, parameters(size, dtype).0);
            for weight in [None, Some(weight.reshape(extents).unwrap())] {
                let what = format!("{dtype} {dims:?} {}", weight.is_some());
                let w = weight.as_ref().map_or(vec![1.0; size], doubles);
                let (mut y, mut rstd, mut dx, mut dweight) = (vec![], vec![], vec![], vec![0.0; size]);
                for (x, dy) in doubles(&x).chunks(size).zip(doubles(&dy).chunks(size)) {
                    let r = 1.0 / (x.iter().map(|x| x * x).sum::<f64>() / size as f64 + eps).sqrt();
                    let along = (0..size).map(|i| dy[i] * w[i] * x[i] * r).sum::<f64>() / size as f64;
                    rstd.push(r);
                    y.extend((0..size).map(|i| x[i] * r * w[i]));
                    dx.extend((0..size).map(|i| r * (dy[i] * w[i] - x[i] * r * along)));
                    (0..size).for_each(|i| dweight[i] += dy[i] * x[i] * r);
                }
                let out = rms_norm(&x, normalized, weight.as_ref(), eps).unwrap();
                assert_close(&what, &out.y, &y, 4.0 * tolerance);
                assert_close(&what, &out.rstd, &rstd, 4.0 * tolerance);
                let got = rms_norm_backward(&dy, &x, &out.rstd, weight.as_ref()).unwrap();
                assert_close(&what, &got.0, &dx, 4.0 * tolerance);
                assert_close(&what, &got.1, &dweight, 8.0 * tolerance);
            }
        }
    });
    let x = noise(&[2, 3], 1, DType::F32);
    assert!(rms_norm(&x, 0, None, 1e-5).is_err() && rms_norm(&x, 1, None, -1.0).is_err() && rms_norm(&x, 1, Some(&x), 1e-5).is_err());
}

#[test]
fn group_norm_agrees_with_the_definition() {
    at_every_level(|dtype, tolerance| {
        for (dims, groups) in [
            (&[2usize, 6, 4, 3][..], 3),
            (&[3, 4, 70], 1),
            (&[5, 4, 33], 4),
            (&[2, 6], 2),
            (&[1, 3, 70, 75], 3),
            (&[4, 1, 5], 1),
            (&[0, 4, 3], 2),
            (&[2, 4, 0], 2),
            (&[9, 32, 40], 8),
        ] {
            let inner: usize = dims[2..].iter().product();
            let size = dims[1] / groups * inner;
            let (x, dy, eps) = (noise(dims, 4, dtype), noise(dims, 5, dtype), 1e-2);
            let rows: Vec<Vec<usize>> = (0..dims[0] * groups).map(|r| (r * size..(r + 1) * size).collect()).collect();
            let (weight, bias) = parameters(dims[1], dtype);
            for affine in [true, false] {
                let what = format!("{dtype} {dims:?} {groups} {affine}");
                let (weight, bias) = (affine.then_some(&weight), affine.then_some(&bias));
                let values = (weight.map_or(vec![1.0; dims[1]], doubles), bias.map_or(vec![0.0; dims[1]], doubles));
                let out = group_norm(&x, groups, weight, bias, eps).unwrap();
                let got = group_norm_backward(&dy, &x, &out.mean, &out.rstd, weight).unwrap();
                if size == 0 {
                    assert_eq!((doubles(&out.mean), doubles(&got.1)), (vec![0.0; rows.len()], vec![0.0; dims[1]]), "{what}");
                    continue;
                }
                let want = expected(&x, &dy, &rows, |i| i / inner % dims[1], (&values.0, &values.1), eps, None);
                assert_close(&what, &out.y, &want.y, 4.0 * tolerance);
                assert_close(&what, &out.mean, &want.mean, tolerance);
                assert_close(&what, &out.rstd, &want.rstd, 4.0 * tolerance);
                assert_close(&what, &out.variance, &want.variance, 4.0 * tolerance);
                assert_all(&what, &got, &want, 8.0 * tolerance);
            }
        }
    });
    let x = noise(&[2, 6, 3], 1, DType::F32);
    for groups in [0, 4] {
        assert!(
            group_norm(&x, groups, None, None, 1e-5)
                .unwrap_err()
                .to_string()
                .contains(&format!("6 channels of input [2, 6, 3] do not divide into {groups} groups"))
        );
    }
    assert!(group_norm(&noise(&[6], 1, DType::F32), 2, None, None, 1e-5).is_err() && group_norm(&x, 2, Some(&x), None, 1e-5).is_err());
}
