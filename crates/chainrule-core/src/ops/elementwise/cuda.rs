//! Elementwise functions on the GPU.

use super::Unary;
use crate::array::Array;
use crate::cuda::{Argument, Gpu, Grid, Source};
use crate::error::Result;

/// Apart, so that a program that only infers has no slopes compiled, and one that only trains no bends.
static VALUES: Source = Source::new("unary_value", include_str!("unary_value.ptx"));
static SLOPES: Source = Source::new("unary_slope", include_str!("unary_slope.ptx"));
static BENDS: Source = Source::new("unary_bend", include_str!("unary_bend.ptx"));

/// `f(x)`
pub(super) fn unary(gpu: &'static Gpu, op: Unary, x: &Array) -> Result<Array> {
    dense(gpu, &VALUES, op, op.kernels()[0], &[x])
}

/// `gradient · f'`, times `other` and with the slope's slope in place of `f'` where there is one.
pub(super) fn slopes(gpu: &'static Gpu, op: Unary, gradient: &Array, other: Option<&Array>, kept: &Array) -> Result<Array> {
    let [_, slope, bend] = op.kernels();
    match other {
        None => dense(gpu, &SLOPES, op, slope, &[gradient, kept]),
        Some(other) => dense(gpu, &BENDS, op, bend, &[other, gradient, kept]),
    }
}

/// A kernel over dense arrays of one shape and the row's parameters.
fn dense(gpu: &'static Gpu, source: &Source, op: Unary, kernel: &'static str, arrays: &[&Array]) -> Result<Array> {
    for x in arrays {
        crate::ops::expect_f32_on_device(op.name(), x)?;
    }
    let (count, first) = (arrays[0].count(), arrays[0]);
    let out = Array::stale_on(gpu, *first.shape(), first.dtype())?;
    if count == 0 {
        return Ok(out);
    }
    let mut addresses = [0; 3];
    let mut dense = [const { None }; 3];
    for ((address, dense), x) in addresses.iter_mut().zip(&mut dense).zip(arrays) {
        *address = dense.insert(x.contiguous()?).address();
    }
    let parameters = op.parameters();
    let mut arguments: [&dyn Argument; 8] = [&0u8; 8];
    let (end, items) = (out.address(), count as u64);
    let all = addresses[..arrays.len()].iter().map(|a| a as &dyn Argument).chain([&end as &dyn Argument, &items]);
    let all = all.chain(parameters.iter().flatten().map(|p| p as &dyn Argument));
    let mut given = 0;
    for (place, argument) in arguments.iter_mut().zip(all) {
        *place = argument;
        given += 1;
    }
    source.launch(gpu, kernel, Grid::over(count, 4), &arguments[..given])?;
    Ok(out)
}
