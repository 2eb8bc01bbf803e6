//! Cross-entropy on the GPU.

use super::CrossEntropy;
use crate::array::Array;
use crate::cuda::{Argument, Gpu, Source};
use crate::error::Result;
use crate::ops::expect_f32_on_device;
use crate::ops::softmax::{grid_of_rows, row_length};
use crate::shape::Shape;

static KERNELS: Source = Source::new("cross_entropy", include_str!("cross_entropy.ptx"));

/// `Call` of cross_entropy.cu.
#[repr(C)]
struct Call {
    logits: u64,
    labels: u64,
    weight: u64,
    ignored: i64,
    smoothing: f64,
    rows: u64,
    classes: u32,
    has_ignored: u32,
    aligned: u32,
}
// SAFETY: `repr(C)`, field by field the struct of cross_entropy.cu.
unsafe impl Argument for Call {}

/// The checked arguments, dense.
pub(super) struct Arguments {
    logits: Array,
    labels: Array,
    weight: Option<Array>,
    ignore: Option<i64>,
    smoothing: f64,
}

impl Arguments {
    pub(super) fn new(op: &'static str, logits: &Array, labels: &Array, weight: Option<&Array>, ignore: Option<i64>, smoothing: f64) -> Result<Arguments> {
        expect_f32_on_device(op, logits)?;
        let weight = weight.map(|weight| weight.contiguous()).transpose()?;
        Ok(Arguments { logits: logits.contiguous()?, labels: labels.contiguous()?, weight, ignore, smoothing })
    }

    fn call(&self, op: &'static str) -> Result<Call> {
        let (rows, classes) = (self.logits.dims()[0], self.logits.dims()[1]);
        Ok(Call {
            logits: self.logits.address(),
            labels: self.labels.address(),
            weight: self.weight.as_ref().map_or(0, |weight| weight.address()),
            ignored: self.ignore.unwrap_or(0),
            smoothing: self.smoothing,
            rows: rows as u64,
            classes: row_length(op, classes)?,
            has_ignored: self.ignore.is_some() as u32,
            aligned: (classes.is_multiple_of(4) && self.logits.is_aligned()) as u32,
        })
    }

    pub(super) fn forward(&self, gpu: &'static Gpu, op: &'static str) -> Result<CrossEntropy> {
        let (rows, classes) = (self.logits.dims()[0], self.logits.dims()[1]);
        let vector = || Array::stale_on(gpu, Shape::trusted(&[rows]), self.logits.dtype());
        let out = CrossEntropy { losses: vector()?, log_normaliser: vector()?, weights: vector()? };
        if rows > 0 {
            let (place, grid) = grid_of_rows(rows, classes);
            let kernel = ["cross_entropy_octets", "cross_entropy_warps", "cross_entropy_blocks"][place];
            let to = [&out.losses, &out.log_normaliser, &out.weights].map(|array| array.address());
            KERNELS.launch(gpu, kernel, grid, &[&self.call(op)?, &to[0], &to[1], &to[2]])?;
        }
        Ok(out)
    }

    pub(super) fn backward(&self, gpu: &'static Gpu, op: &'static str, log_normaliser: &Array, row_scale: &Array) -> Result<Array> {
        let (rows, classes) = (self.logits.dims()[0], self.logits.dims()[1]);
        // The scale is often one number for all rows.
        let (log_normaliser, step) = (log_normaliser.contiguous()?, row_scale.strides().first().map_or(0, |&step| step as i64));
        let out = Array::stale_on(gpu, *self.logits.shape(), self.logits.dtype())?;
        if out.count() > 0 {
            let (place, grid) = grid_of_rows(rows, classes);
            let kernel = ["cross_entropy_backward_octets", "cross_entropy_backward_warps", "cross_entropy_backward_blocks"][place];
            KERNELS.launch(gpu, kernel, grid, &[&self.call(op)?, &log_normaliser.address(), &row_scale.address(), &step, &out.address()])?;
        }
        Ok(out)
    }
}
