//! Layer and RMS normalisation.

use super::super::LayerNorm;
use super::{address, optional, wide};
use crate::array::Array;
use crate::cuda::{Argument, Gpu, Grid, Source};
use crate::dtype::DType;
use crate::error::Result;
use crate::ops::{expect_countable, expect_f32_on_device};
use crate::shape::Shape;

static KERNELS: Source = Source::new("layer", include_str!("../layer.ptx"));

/// `Forward` of `layer.cu`.
#[repr(C)]
struct RowsForward {
    x: u64,
    weight: u64,
    bias: u64,
    y: u64,
    mean: u64,
    rstd: u64,
    variance: u64,
    eps: f64,
    rows: u32,
    size: u32,
}
// SAFETY: `repr(C)`, field by field the struct of `layer.cu`.
unsafe impl Argument for RowsForward {}

/// `Backward` of `layer.cu`.
#[repr(C)]
struct RowsBackward {
    dy: u64,
    x: u64,
    mean: u64,
    rstd: u64,
    weight: u64,
    dx: u64,
    dweight: u64,
    dbias: u64,
    step: u64,
    rows: u32,
    size: u32,
    row_blocks: u32,
    height: u32,
}
// SAFETY: as above.
unsafe impl Argument for RowsBackward {}

/// Which of four kernels takes rows of this size, with how many blocks of how many threads: a warp a row, or a block a long one.
fn by_rows([warp, warp_wide, block, block_wide]: [&'static str; 4], rows: usize, size: usize, wide: bool) -> (&'static str, Grid) {
    match (size <= 2048, wide) {
        (true, false) => (warp, Grid::blocks(rows.div_ceil(8) as u32, Grid::THREADS)),
        (true, true) => (warp_wide, Grid::blocks(rows.div_ceil(8) as u32, Grid::THREADS)),
        (false, false) => (block, Grid::blocks(rows as u32, Grid::THREADS)),
        (false, true) => (block_wide, Grid::blocks(rows as u32, Grid::THREADS)),
    }
}

/// What is kept of a row.
pub(in super::super) enum Kept<'a> {
    /// About 0, the scale.
    Rstd,
    /// The mean and the scale.
    Mean,
    /// The variance too, here, but for empty rows.
    Variance(&'a Array),
}

/// As [`super::super::layer_norm`] over `rows` rows of `size` numbers, or [`super::super::rms_norm`], whose mean is empty: one launch.
pub(in super::super) fn layer_norm(
    gpu: &'static Gpu,
    op: &'static str,
    x: &Array,
    extents: &[usize],
    kept: Kept,
    [weight, bias]: [Option<&Array>; 2],
    eps: f64,
) -> Result<LayerNorm> {
    expect_f32_on_device(op, x)?;
    let (weight, bias) = (optional(op, "the weight", weight, x, extents)?, optional(op, "the bias", bias, x, extents)?);
    let size: usize = extents.iter().product();
    let rows: usize = x.dims()[..x.rank() - extents.len()].iter().product();
    let x = x.contiguous()?;
    let y = Array::stale_on(gpu, *x.shape(), DType::F32)?;
    let about_mean = !matches!(kept, Kept::Rstd);
    let means = [if about_mean { rows } else { 0 }];
    if x.count() == 0 {
        let full = |dims: &[usize], value| Array::full_on(dims, value, DType::F32, &x.device());
        return Ok(LayerNorm { y, mean: full(&means, 0.0)?, rstd: full(&[rows], 1.0 / eps.sqrt())? });
    }
    let vector = |dims: &[usize]| Array::stale_on(gpu, Shape::new(dims)?, DType::F32);
    let out = LayerNorm { y, mean: vector(&means)?, rstd: vector(&[rows])? };
    let wide = wide(size, &[Some(&x), Some(&out.y), weight.as_ref(), bias.as_ref()]);
    let (kernel, grid) = by_rows(["layer_norm_warp", "layer_norm_warp_wide", "layer_norm_block", "layer_norm_block_wide"], rows, size, wide);
    let forward = RowsForward {
        x: x.address(),
        weight: address(weight.as_ref()),
        bias: address(bias.as_ref()),
        y: out.y.address(),
        mean: if about_mean { out.mean.address() } else { 0 },
        rstd: out.rstd.address(),
        variance: if let Kept::Variance(variance) = kept { variance.address() } else { 0 },
        eps,
        rows: expect_countable(op, rows)?,
        size: expect_countable(op, size)?,
    };
    KERNELS.launch(gpu, kernel, grid, &[&forward])?;
    Ok(out)
}

/// As [`super::super::layer_norm_backward`], or [`super::super::rms_norm_backward`] without a mean: one launch, two for more than 256 rows. The parameters have these extents.
pub(in super::super) fn layer_norm_backward(
    gpu: &'static Gpu,
    [dy, x]: [&Array; 2],
    mean: Option<&Array>,
    rstd: &Array,
    weight: Option<&Array>,
    extents: Shape,
) -> Result<(Array, Array, Array)> {
    let (dy, x) = (dy.contiguous()?, x.contiguous()?);
    let (rows, size, kinds) = (rstd.count(), extents.count(), if mean.is_some() { 2 } else { 1 });
    let (dx, bias_extents) = (Array::stale_on(gpu, *x.shape(), DType::F32)?, if kinds == 2 { extents } else { Shape::new(&[0])? });
    if x.count() == 0 {
        let zeros = |shape: Shape| Array::full_on(shape.dims(), 0.0, DType::F32, &x.device());
        return Ok((dx, zeros(extents)?, zeros(bias_extents)?));
    }
    let (dweight, dbias) = (Array::stale_on(gpu, extents, DType::F32)?, Array::stale_on(gpu, bias_extents, DType::F32)?);
    let chunks = (rows / 256).clamp(1, 64);
    let height = rows.div_ceil(chunks);
    let chunks = rows.div_ceil(height);
    // One chunk of rows is the whole; several have shares, which a second launch adds up.
    let shares = if chunks > 1 { Some(Array::stale_on(gpu, Shape::new(&[chunks, kinds, size])?, DType::F32)?) } else { None };
    let columns = expect_countable("layer_norm_backward", kinds * size)?;
    let [to_weight, to_bias] = match &shares {
        Some(shares) => [shares.address(), shares.address() + 4 * size as u64],
        None => [dweight.address(), dbias.address()],
    };
    let wide = wide(size, &[Some(&dy), Some(&x), Some(&dx), weight]);
    let names = ["layer_norm_backward_warp", "layer_norm_backward_warp_wide", "layer_norm_backward_block", "layer_norm_backward_block_wide"];
    let (kernel, by_rows) = by_rows(names, rows, size, wide);
    let backward = RowsBackward {
        dy: dy.address(),
        x: x.address(),
        mean: address(mean),
        rstd: rstd.address(),
        weight: address(weight),
        dx: dx.address(),
        dweight: to_weight,
        dbias: to_bias,
        step: columns as u64,
        rows: expect_countable("layer_norm_backward", rows)?,
        size: expect_countable("layer_norm_backward", size)?,
        row_blocks: by_rows.blocks[0],
        height: height as u32,
    };
    let strips = size.div_ceil(32) * chunks;
    KERNELS.launch(gpu, kernel, Grid::blocks(by_rows.blocks[0] + strips as u32, Grid::THREADS), &[&backward])?;
    if let Some(shares) = shares {
        let parts = [&shares.address() as &dyn Argument, &dweight.address(), &dbias.address(), &(chunks as u32), &(size as u32), &columns];
        KERNELS.launch(gpu, "layer_norm_total", Grid::over(columns as usize, 1), &parts)?;
    }
    Ok((dx, dweight, dbias))
}
