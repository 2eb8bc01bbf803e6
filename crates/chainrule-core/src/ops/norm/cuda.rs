//! Batch, layer and RMS normalisation on the GPU.

mod batch;
mod group;
mod layer;

pub(super) use batch::{Given, Statistics, batch_norm, batch_norm_backward, batch_norm_inference};
pub(super) use group::{group_norm, group_norm_backward};
pub(super) use layer::{Kept, layer_norm, layer_norm_backward};

use super::parameter;
use crate::array::Array;
use crate::error::Result;

/// A parameter that may be absent, dense.
fn optional(op: &'static str, what: &str, value: Option<&Array>, x: &Array, dims: &[usize]) -> Result<Option<Array>> {
    value.map(|value| parameter(op, what, Some(value), 0.0, x, dims)).transpose()
}
/// 0 stands for none.
fn address(array: Option<&Array>) -> u64 {
    array.map_or(0, Array::address)
}
/// Whether kernels may read four numbers at once.
fn wide(size: usize, arrays: &[Option<&Array>]) -> bool {
    size.is_multiple_of(4) && arrays.iter().flatten().all(|a| a.is_aligned())
}
