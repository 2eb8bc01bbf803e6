//! Batch, layer and RMS normalisation, forward and backward.

use crate::support::*;
use chainrule_core::ops::norm::*;
use chainrule_core::{Array, DType, Result};

const CLOSE: f64 = 2e-6;
/// Sums of gradients over many numbers.
const SUMS: f64 = 2e-5;

fn outputs(BatchNorm { y, mean, rstd, variance }: BatchNorm) -> Vec<Array> {
    vec![y, mean, rstd, variance]
}
fn three((dx, dweight, dbias): (Array, Array, Array)) -> Vec<Array> {
    vec![dx, dweight, dbias]
}

/// Channels that stand side by side, planes of odd sizes and of fours, one channel, and those of several pieces.
const BATCHES: [&[usize]; 9] = [&[5, 3], &[40, 33], &[2, 3, 5, 7], &[4, 6, 4, 4], &[3, 2, 1, 31], &[1, 1, 1000], &[7, 1], &[2, 1, 129, 131], &[3, 2, 109, 124]];

#[test]
fn batches_by_their_own_statistics() {
    for dims in BATCHES {
        let channels = [dims[1]];
        let (x, dy, weight, bias) = (noise(dims, 1), noise(dims, 2), between(0.5, 1.5, &channels, 3), noise(&channels, 4));
        agree(&format!("batch_norm {dims:?}"), CLOSE, [&x, &weight, &bias], |[x, weight, bias]| {
            let plain = outputs(batch_norm(x, None, None, 1e-5)?);
            Ok([outputs(batch_norm(x, Some(weight), Some(bias), 1e-3)?), plain].concat())
        });
        let BatchNorm { mean, rstd, .. } = batch_norm(&x, None, None, 1e-5).unwrap();
        agree(&format!("batch_norm_backward {dims:?}"), SUMS, [&dy, &x, &mean, &rstd, &weight], |[dy, x, mean, rstd, weight]| {
            Ok([three(batch_norm_backward(dy, x, mean, rstd, Some(weight))?), three(batch_norm_backward(dy, x, mean, rstd, None)?)].concat())
        });
    }
}

#[test]
fn columns_of_several_pieces() {
    let (x, dy) = (noise(&[1100, 3], 1), noise(&[1100, 3], 2));
    agree("batch_norm", CLOSE, [&x], |[x]| Ok(outputs(batch_norm(x, None, None, 1e-5)?)));
    let BatchNorm { mean, rstd, .. } = batch_norm(&x, None, None, 1e-5).unwrap();
    agree("backward", SUMS, [&dy, &x, &mean, &rstd], |[dy, x, mean, rstd]| Ok(three(batch_norm_backward(dy, x, mean, rstd, None)?)));
}

#[test]
fn batches_by_given_statistics() {
    for dims in BATCHES {
        let channels = [dims[1]];
        let (x, dy, weight, bias) = (noise(dims, 1), noise(dims, 2), between(0.5, 1.5, &channels, 3), noise(&channels, 4));
        let (mean, variance) = (noise(&channels, 5), between(0.0, 2.0, &channels, 6));
        agree(&format!("inference {dims:?}"), CLOSE, [&x, &mean, &variance, &weight, &bias], |[x, mean, variance, weight, bias]| {
            Ok(vec![batch_norm_inference(x, mean, variance, Some(weight), Some(bias), 1e-2)?, batch_norm_inference(x, mean, variance, None, None, 1e-2)?])
        });
        agree(&format!("inference backward {dims:?}"), SUMS, [&dy, &x, &mean, &variance, &weight], |[dy, x, mean, variance, weight]| {
            let plain = three(batch_norm_inference_backward(dy, x, mean, variance, None, 1e-2)?);
            Ok([three(batch_norm_inference_backward(dy, x, mean, variance, Some(weight), 1e-2)?), plain].concat())
        });
    }
}

/// Short and long rows, odd ones and fours, few and many, one number a row.
const ROWS: [(&[usize], usize); 8] =
    [(&[3, 5], 1), (&[33, 64], 1), (&[2, 3, 4, 5], 2), (&[5, 1], 1), (&[2, 2051], 1), (&[2, 4096], 1), (&[600, 12], 1), (&[4, 3], 2)];

#[test]
fn rows_by_their_mean_and_variance() {
    for (dims, normalized) in ROWS {
        let extents = &dims[dims.len() - normalized..];
        let (x, dy, weight, bias) = (noise(dims, 1), noise(dims, 2), between(0.5, 1.5, extents, 3), noise(extents, 4));
        agree(&format!("layer_norm {dims:?}"), CLOSE, [&x, &weight, &bias], |[x, weight, bias]| {
            let (LayerNorm { y, mean, rstd }, plain) =
                (layer_norm(x, normalized, Some(weight), Some(bias), 1e-5)?, layer_norm(x, normalized, None, None, 1e-2)?);
            Ok(vec![y, mean, rstd, plain.y])
        });
        let LayerNorm { mean, rstd, .. } = layer_norm(&x, normalized, None, None, 1e-2).unwrap();
        agree(&format!("layer_norm_backward {dims:?}"), SUMS, [&dy, &x, &mean, &rstd, &weight], |[dy, x, mean, rstd, weight]| {
            Ok([three(layer_norm_backward(dy, x, mean, rstd, Some(weight))?), three(layer_norm_backward(dy, x, mean, rstd, None)?)].concat())
        });
        agree(&format!("rms_norm {dims:?}"), CLOSE, [&x, &weight], |[x, weight]| {
            let (RmsNorm { y, rstd }, plain) = (rms_norm(x, normalized, Some(weight), 1e-5)?, rms_norm(x, normalized, None, 0.1)?);
            Ok(vec![y, rstd, plain.y])
        });
        let RmsNorm { rstd, .. } = rms_norm(&x, normalized, None, 1e-2).unwrap();
        agree(&format!("rms_norm_backward {dims:?}"), SUMS, [&dy, &x, &rstd, &weight], |[dy, x, rstd, weight]| {
            let ((dx, dweight), (plain, flat)) = (rms_norm_backward(dy, x, rstd, Some(weight))?, rms_norm_backward(dy, x, rstd, None)?);
            Ok(vec![dx, dweight, plain, flat])
        });
    }
}

#[test]
fn groups_of_channels() {
    for (dims, groups) in [(&[2usize, 6, 5, 3][..], 2usize), (&[3, 4, 4, 4], 4), (&[5, 3], 1), (&[2, 4, 600], 2), (&[0, 4, 3], 2), (&[2, 4, 0], 2)] {
        let channels = [dims[1]];
        let (x, dy, weight, bias) = (noise(dims, 1), noise(dims, 2), between(0.5, 1.5, &channels, 3), noise(&channels, 4));
        agree(&format!("group_norm {dims:?}"), CLOSE, [&x, &weight, &bias], |[x, weight, bias]| {
            let all = |GroupNorm { y, mean, rstd, variance }| vec![y, mean, rstd, variance];
            Ok([all(group_norm(x, groups, Some(weight), Some(bias), 1e-5)?), all(group_norm(x, groups, None, None, 1e-2)?)].concat())
        });
        let GroupNorm { mean, rstd, .. } = group_norm(&x, groups, None, None, 1e-5).unwrap();
        agree(&format!("group_norm_backward {dims:?}"), SUMS, [&dy, &x, &mean, &rstd, &weight], |[dy, x, mean, rstd, weight]| {
            Ok([three(group_norm_backward(dy, x, mean, rstd, Some(weight))?), three(group_norm_backward(dy, x, mean, rstd, None)?)].concat())
        });
    }
}

#[test]
fn large_means_cost_no_digits() {
    // The variance is 1, about a mean of 4096: sums of squares in f32 would lose all of it.
    for dims in [&[8usize, 2, 33][..], &[300, 2], &[2, 1, 33000]] {
        let far: Vec<f32> = noise(dims, 1).to_vec::<f32>().unwrap().iter().map(|x| x + 4096.0).collect();
        let x = Array::from_slice(&far, dims).unwrap();
        agree(&format!("batch_norm {dims:?}"), CLOSE, [&x], |[x]| Ok(outputs(batch_norm(x, None, None, 1e-5)?)));
        agree(&format!("layer_norm {dims:?}"), CLOSE, [&x], |[x]| Ok(vec![layer_norm(x, 1, None, None, 1e-5)?.y]));
    }
}

#[test]
fn views_empty_arrays_and_nan() {
    let x = noise(&[6, 4, 5], 1);
    agree("views", SUMS, [&x], |[x]| {
        let x = x.transpose(0, 2)?;
        let y = batch_norm(&x, None, None, 1e-5)?;
        Ok(vec![batch_norm_backward(&x.flip(&[0])?, &x, &y.mean, &y.rstd, None)?.0, y.y, layer_norm(&x.narrow(2, 1, 4)?, 1, None, None, 1e-5)?.y])
    });
    for dims in [&[0usize, 3, 4][..], &[2, 3, 0], &[2, 0]] {
        let x = Array::zeros(dims, DType::F32).unwrap();
        agree(&format!("empty {dims:?}"), 1e-6, [&x], |[x]| -> Result<Vec<Array>> {
            let y = batch_norm(x, None, None, 1e-5)?;
            let LayerNorm { mean, rstd, .. } = layer_norm(x, 1, None, None, 1e-5)?;
            let slopes = three(batch_norm_backward(x, x, &y.mean, &y.rstd, None)?);
            Ok([outputs(y), slopes, three(layer_norm_backward(x, x, &mean, &rstd, None)?), vec![mean, rstd]].concat())
        });
    }
    let mut odd = x.to_vec::<f32>().unwrap();
    (odd[7], odd[40]) = (f32::NAN, f32::INFINITY);
    let odd = Array::from_slice(&odd, &[6, 4, 5]).unwrap();
    agree("NaN", CLOSE, [&odd], |[x]| Ok(vec![batch_norm(x, None, None, 1e-5)?.y, layer_norm(x, 1, None, None, 1e-5)?.y, rms_norm(x, 1, None, 1e-5)?.y]));
}
