//! Batch normalisation.

use super::super::BatchNorm;
use super::super::channels::Extents;
use super::{address, optional, wide};
use crate::array::Array;
use crate::cuda::{Argument, Gpu, Grid, Source};
use crate::dtype::DType;
use crate::error::Result;
use crate::ops::{expect_countable, expect_f32_on_device};
use crate::shape::Shape;

static KERNELS: Source = Source::new("batch", include_str!("../batch.ptx"));

/// `Extents` of `batch.cu`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Pieces {
    batch: u32,
    channels: u32,
    inner: u32,
    piece: u32,
    pieces: u32,
}
// SAFETY: `repr(C)`, field by field the struct of `batch.cu`.
unsafe impl Argument for Pieces {}

/// `Forward` of `batch.cu`.
#[repr(C)]
struct Forward {
    x: u64,
    weight: u64,
    bias: u64,
    y: u64,
    mean: u64,
    rstd: u64,
    variance: u64,
    eps: f64,
}
// SAFETY: as above.
unsafe impl Argument for Forward {}

/// `Backward` of `batch.cu`.
#[repr(C)]
struct Backward {
    dy: u64,
    x: u64,
    mean: u64,
    rstd: u64,
    weight: u64,
    dx: u64,
    dweight: u64,
    dbias: u64,
    eps: f64,
    given: u32,
}
// SAFETY: as above; the padding at the end has the compiler's size in both languages.
unsafe impl Argument for Backward {}

/// The way through `[N, C, L]`, whose names end the kernels'.
#[derive(Clone, Copy)]
enum Walk {
    /// Planes of a channel, a block each or for a piece of them.
    Planes,
    /// The same, four numbers at once.
    Wide,
    /// 32 channels a block where they stand side by side, as in `[N, C]`.
    Columns,
}

impl Walk {
    /// The kernel among those of the three walks.
    fn of(self, [planes, wide, columns]: [&'static str; 3]) -> &'static str {
        match self {
            Walk::Planes => planes,
            Walk::Wide => wide,
            Walk::Columns => columns,
        }
    }
}
macro_rules! kernels {
    ($name:literal) => {
        [concat!("batch_norm_", $name, "_planes"), concat!("batch_norm_", $name, "_planes_wide"), concat!("batch_norm_", $name, "_columns")]
    };
}

/// How a batch norm is spread over blocks.
struct Plan {
    walk: Walk,
    extents: Pieces,
    whole: Grid,
    pieces: Grid,
}

impl Plan {
    fn new(op: &'static str, extents: Extents, arrays: &[Option<&Array>]) -> Result<Plan> {
        let Extents { batch, channels, inner } = extents;
        expect_countable(op, batch * channels * inner)?;
        let (walk, length, kept) = match inner {
            1 if channels > 1 => (Walk::Columns, batch, 512),
            _ if wide(inner, arrays) => (Walk::Wide, batch * inner, 16384),
            _ => (Walk::Planes, batch * inner, 16384),
        };
        // A channel of up to two pieces is taken by one block in one launch; the pieces of others stay in the nearest cache for their second pass.
        let pieces = if length <= 2 * kept { 1 } else { length.div_ceil(kept).min(65535) };
        let piece = length.div_ceil(pieces).next_multiple_of(4);
        let pieces = length.div_ceil(piece);
        let (blocks, threads) = match walk {
            Walk::Columns => (channels.div_ceil(32), 32 * piece.clamp(1, 16)),
            Walk::Wide => (channels, (piece / 4).next_multiple_of(32).clamp(32, 512)),
            Walk::Planes => (channels, piece.next_multiple_of(32).clamp(32, 512)),
        };
        let whole = Grid::blocks(blocks as u32, threads as u32);
        Ok(Plan {
            walk,
            extents: Pieces { batch: batch as u32, channels: channels as u32, inner: inner as u32, piece: piece as u32, pieces: pieces as u32 },
            whole,
            pieces: Grid { blocks: [blocks as u32, pieces as u32, 1], ..whole },
        })
    }

    /// One launch for small channels; two for large ones, of which the first sums pieces.
    fn run(&self, gpu: &'static Gpu, argument: &dyn Argument, [whole, pieces, merge]: [[&'static str; 3]; 3]) -> Result<()> {
        if self.extents.pieces == 1 {
            return KERNELS.launch(gpu, self.walk.of(whole), self.whole, &[argument, &self.extents]);
        }
        let sums = Array::stale_on(gpu, Shape::new(&[self.extents.pieces as usize, self.extents.channels as usize, 3])?, DType::F64)?;
        KERNELS.launch(gpu, self.walk.of(pieces), self.pieces, &[argument, &sums.address(), &self.extents])?;
        KERNELS.launch(gpu, self.walk.of(merge), self.pieces, &[argument, &sums.address(), &self.extents])
    }
}

/// As [`super::super::batch_norm`]: one launch, two for channels of more than 2^15 numbers.
pub(in super::super) fn batch_norm(
    gpu: &'static Gpu,
    op: &'static str,
    x: &Array,
    weight: Option<&Array>,
    bias: Option<&Array>,
    eps: f64,
) -> Result<BatchNorm> {
    expect_f32_on_device(op, x)?;
    let extents = Extents::of(op, x)?;
    let channels = [extents.channels];
    let (weight, bias) = (optional(op, "the weight", weight, x, &channels)?, optional(op, "the bias", bias, x, &channels)?);
    let x = x.contiguous()?;
    let y = Array::stale_on(gpu, *x.shape(), DType::F32)?;
    if x.count() == 0 {
        let full = |value| Array::full_on(&channels, value, DType::F32, &x.device());
        return Ok(BatchNorm { y, mean: full(0.0)?, rstd: full(1.0 / eps.sqrt())?, variance: full(0.0)? });
    }
    let vector = || Array::stale_on(gpu, Shape::new(&channels)?, DType::F32);
    let out = BatchNorm { y, mean: vector()?, rstd: vector()?, variance: vector()? };
    let plan = Plan::new(op, extents, &[Some(&x), Some(&out.y)])?;
    let forward = Forward {
        x: x.address(),
        weight: address(weight.as_ref()),
        bias: address(bias.as_ref()),
        y: out.y.address(),
        mean: out.mean.address(),
        rstd: out.rstd.address(),
        variance: out.variance.address(),
        eps,
    };
    plan.run(gpu, &forward, [kernels!("whole"), kernels!("pieces"), kernels!("merge")])?;
    Ok(out)
}

/// Statistics that are given, or absent where the input is normalised already, and parameters that may be absent.
pub(in super::super) struct Given<'a> {
    pub(in super::super) mean: Option<&'a Array>,
    pub(in super::super) variance: Option<&'a Array>,
    pub(in super::super) weight: Option<&'a Array>,
    pub(in super::super) bias: Option<&'a Array>,
    pub(in super::super) eps: f64,
}

/// As [`super::super::batch_norm_inference`]: one launch.
pub(in super::super) fn batch_norm_inference(gpu: &'static Gpu, op: &'static str, x: &Array, given: Given) -> Result<Array> {
    expect_f32_on_device(op, x)?;
    let extents = Extents::of(op, x)?;
    let channels = [extents.channels];
    let (weight, bias) = (optional(op, "the weight", given.weight, x, &channels)?, optional(op, "the bias", given.bias, x, &channels)?);
    let (mean, variance) = (optional(op, "the mean", given.mean, x, &channels)?, optional(op, "the variance", given.variance, x, &channels)?);
    let x = x.contiguous()?;
    let y = Array::stale_on(gpu, *x.shape(), DType::F32)?;
    if x.count() > 0 {
        let plan = Plan::new(op, extents, &[Some(&x), Some(&y)])?;
        let forward = Forward {
            x: x.address(),
            weight: address(weight.as_ref()),
            bias: address(bias.as_ref()),
            y: y.address(),
            mean: address(mean.as_ref()),
            rstd: 0,
            variance: address(variance.as_ref()),
            eps: given.eps,
        };
        KERNELS.launch(gpu, plan.walk.of(kernels!("given")), plan.pieces, &[&forward, &plan.extents])?;
    }
    Ok(y)
}

/// What the backward pass of batch norm takes beside the gradient and the input.
pub(in super::super) struct Statistics<'a> {
    /// Absent, as is `rstd`, where x is normalised already.
    pub(in super::super) mean: Option<&'a Array>,
    /// The variance, where the statistics are given.
    pub(in super::super) rstd: Option<&'a Array>,
    pub(in super::super) weight: Option<&'a Array>,
    /// The `eps` of given statistics.
    pub(in super::super) given: Option<f64>,
}

/// As [`super::super::batch_norm_backward`], or [`super::super::batch_norm_inference_backward`] where the statistics are given: one launch, two for channels of more than 2^15 numbers.
pub(in super::super) fn batch_norm_backward(gpu: &'static Gpu, op: &'static str, dy: &Array, x: &Array, how: Statistics) -> Result<(Array, Array, Array)> {
    expect_f32_on_device(op, x)?;
    let extents = Extents::of(op, x)?;
    let channels = [extents.channels];
    let weight = optional(op, "the weight", how.weight, x, &channels)?;
    let what = if how.given.is_some() { "the variance" } else { "rstd" };
    let (mean, rstd) = (optional(op, "the mean", how.mean, x, &channels)?, optional(op, what, how.rstd, x, &channels)?);
    let (dy, x) = (dy.contiguous()?, x.contiguous()?);
    let dx = Array::stale_on(gpu, *x.shape(), DType::F32)?;
    if x.count() == 0 {
        let zeros = || Array::full_on(&channels, 0.0, DType::F32, &x.device());
        return Ok((dx, zeros()?, zeros()?));
    }
    let vector = || Array::stale_on(gpu, Shape::new(&channels)?, DType::F32);
    let (dweight, dbias) = (vector()?, vector()?);
    let plan = Plan::new(op, extents, &[Some(&dy), Some(&x), Some(&dx)])?;
    let backward = Backward {
        dy: dy.address(),
        x: x.address(),
        mean: address(mean.as_ref()),
        rstd: address(rstd.as_ref()),
        weight: address(weight.as_ref()),
        dx: dx.address(),
        dweight: dweight.address(),
        dbias: dbias.address(),
        eps: how.given.unwrap_or(0.0),
        given: how.given.is_some() as u32,
    };
    plan.run(gpu, &backward, [kernels!("backward_whole"), kernels!("backward_pieces"), kernels!("backward_merge")])?;
    Ok((dx, dweight, dbias))
}
