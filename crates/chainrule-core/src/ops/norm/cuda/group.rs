//! Group normalisation, made of the rows of layer norm and the channels of batch norm.

use super::super::{GroupNorm, LayerNorm};
use super::{Given, Kept, Statistics, batch_norm_backward, batch_norm_inference, layer_norm, layer_norm_backward};
use crate::array::Array;
use crate::cuda::Gpu;
use crate::dtype::DType;
use crate::error::Result;
use crate::ops::expect_f32_on_device;
use crate::shape::Shape;

/// The groups as rows, `[N · G, C/G · L]`.
fn rows(x: &Array, groups: usize) -> Result<Array> {
    let count = x.dims()[0] * groups;
    x.contiguous()?.reshape(&[count, x.count() / count.max(1)])
}

/// As [`super::super::group_norm`]: one launch, and one for weight and bias.
pub(in super::super) fn group_norm(
    gpu: &'static Gpu,
    op: &'static str,
    x: &Array,
    groups: usize,
    [weight, bias]: [Option<&Array>; 2],
    eps: f64,
) -> Result<GroupNorm> {
    expect_f32_on_device(op, x)?;
    let (each, flat) = ([x.dims()[0], groups], rows(x, groups)?);
    let variance = if flat.count() == 0 { Array::full_on(&each, 0.0, DType::F32, &x.device())? } else { Array::stale_on(gpu, Shape::new(&each)?, DType::F32)? };
    let LayerNorm { y, mean, rstd } = layer_norm(gpu, op, &flat, &flat.dims()[1..], Kept::Variance(&variance), [None, None], eps)?;
    let z = y.reshape(x.dims())?;
    let y = if weight.is_some() || bias.is_some() { batch_norm_inference(gpu, op, &z, Given { mean: None, variance: None, weight, bias, eps })? } else { z };
    Ok(GroupNorm { y, mean: mean.reshape(&each)?, rstd: rstd.reshape(&each)?, variance })
}

/// As [`super::super::group_norm_backward`], of `mean` and `rstd` `[N, G]`: `z` made again, the sums of channels, the gradient times the weight, and rows; five launches, six or seven for large arrays.
pub(in super::super) fn group_norm_backward(
    gpu: &'static Gpu,
    op: &'static str,
    [dy, x]: [&Array; 2],
    [mean, rstd]: [&Array; 2],
    weight: Option<&Array>,
) -> Result<(Array, Array, Array)> {
    expect_f32_on_device(op, x)?;
    let (groups, flat) = (mean.dims()[1], rows(x, mean.dims()[1])?);
    let [mean, rstd] = [mean, rstd].map(|each| each.contiguous()?.reshape(&[each.count()]));
    let (mean, rstd) = (mean?, rstd?);
    // With the statistics of each row, batch norm over rows as channels makes z.
    let by_rows = flat.reshape(&[1, flat.dims()[0], flat.dims()[1]])?;
    let centred = batch_norm_inference(gpu, op, &by_rows, Given { mean: Some(&mean), variance: None, weight: Some(&rstd), bias: None, eps: 0.0 })?;
    let sums = Statistics { mean: None, rstd: None, weight: None, given: Some(0.0) };
    let (_, dweight, dbias) = batch_norm_backward(gpu, op, dy, &centred.reshape(x.dims())?, sums)?;
    let slopes = match weight {
        None => dy.clone(),
        Some(_) => batch_norm_inference(gpu, op, dy, Given { mean: None, variance: None, weight, bias: None, eps: 0.0 })?,
    };
    let size = Shape::new(&flat.dims()[1..])?;
    let (dx, ..) = layer_norm_backward(gpu, [&rows(&slopes, groups)?, &flat], Some(&mean), &rstd, None, size)?;
    Ok((dx.reshape(x.dims())?, dweight, dbias))
}
