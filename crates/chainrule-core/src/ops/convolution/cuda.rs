//! Convolution of images on the GPU: `correlation.cu`, `weight_gradient.cu`, `depthwise.cu`, and matrix products for 1×1 kernels.

use crate::array::Array;
use crate::convolution::Geometry;
use crate::cuda::blas::{BiasSide, Cut, Finish, Operand, Product, Tile};
use crate::cuda::{Argument, Gpu, Grid, Source};
use crate::error::{Error, Result};
use crate::gemm::Activation;
use crate::ops::expect_f32_on_device;
use crate::shape::Shape;

static CORRELATION: Source = Source::new("correlation", include_str!("correlation.ptx"));
static WEIGHT_GRADIENT: Source = Source::new("weight_gradient", include_str!("weight_gradient.ptx"));
static DEPTHWISE: Source = Source::new("depthwise", include_str!("depthwise.ptx"));

/// One axis of a convolution; `Axis` of `window.cuh`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Axis {
    input: i32,
    output: i32,
    kernel: i32,
    stride: i32,
    padding: i32,
    dilation: i32,
}

/// A launch; `Images` of `window.cuh`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Images {
    from: u64,
    weight: u64,
    to: u64,
    batch: u32,
    groups: u32,
    from_channels: u32,
    to_channels: u32,
    rows: Axis,
    columns: Axis,
    k_part: u32,
    parts: u32,
    part_step: i64,
    first_block: u32,
    weight_vector: u32,
    to_vector: u32,
    unused: u32,
    finish: Finish,
}

// SAFETY: `repr(C)`, field by field the struct of `window.cuh`.
unsafe impl Argument for Images {}

/// Blocks along the second and third extent of a grid.
const MOST_BLOCKS: usize = 65535;

impl Images {
    /// Of a convolution whose numbers kernels can count; `from`, `weight` and `to` are what is read, multiplied and written.
    fn new(op: &'static str, g: &Geometry, [from, weight, to]: [&Array; 3]) -> Result<Images> {
        let too_large = || Error::shape(op, format!("{g:?} is larger than the GPU's kernels count (2^30 numbers an array); cut the batch in parts"));
        let group_k = (g.in_channels / g.groups.max(1)).checked_mul(g.kernel[0]).and_then(|k| k.checked_mul(g.kernel[1])).ok_or_else(too_large)?;
        let reach = |at: usize| g.kernel[at].saturating_mul(g.dilation[at]).saturating_add(g.padding[at]);
        let sizes = [from.count(), weight.count(), to.count(), group_k, reach(0), reach(1), g.stride[0], g.stride[1]];
        // Twice as far below 2^31 lies what a window reads past the rim.
        if sizes.into_iter().any(|size| size >= 1 << 30) {
            return Err(too_large());
        }
        let axis = |at: usize, input: usize, output: usize| Axis {
            input: input as i32,
            output: output as i32,
            kernel: g.kernel[at] as i32,
            stride: g.stride[at] as i32,
            padding: g.padding[at] as i32,
            dilation: g.dilation[at] as i32,
        };
        Ok(Images {
            from: from.address(),
            weight: weight.address(),
            to: to.address(),
            batch: g.batch as u32,
            groups: g.groups as u32,
            from_channels: (g.in_channels / g.groups) as u32,
            to_channels: (g.out_channels / g.groups) as u32,
            rows: axis(0, g.height, g.out_height),
            columns: axis(1, g.width, g.out_width),
            k_part: 0,
            parts: 1,
            part_step: 0,
            first_block: 0,
            weight_vector: 0,
            to_vector: 0,
            unused: 0,
            finish: Finish::NONE,
        })
    }

    /// Launches over tiles of columns and rows, and as many blocks of each as `depth` says; then adds up the parts of k, if there are several. The bias of number i is that of `(i / inner) % channels`.
    fn run_cut(
        mut self,
        gpu: &'static Gpu,
        (source, kernel): (&'static Source, &'static str),
        (tile, [rows, columns], depth): (Tile, [usize; 2], usize),
        cut: Cut,
        out: &Array,
        bias_of: [usize; 2],
    ) -> Result<()> {
        let (count, finish) = (out.count(), self.finish);
        let parts = cut.workspace(gpu, count)?;
        (self.k_part, self.parts) = (cut.part as u32, cut.parts as u32);
        if let Some(parts) = &parts {
            (self.to, self.part_step, self.finish) = (parts.address(), count as i64, Finish::NONE);
            self.to_vector &= u32::from(count.is_multiple_of(4));
        }
        let [tile_rows, tile_columns, _] = tile.sizes();
        let depth = depth * cut.parts;
        for first in (0..depth).step_by(MOST_BLOCKS) {
            self.first_block = first as u32;
            let blocks = [columns.div_ceil(tile_columns), rows.div_ceil(tile_rows), (depth - first).min(MOST_BLOCKS)].map(|blocks| blocks as u32);
            source.launch(gpu, kernel, Grid { blocks, threads: [tile.threads(), 1, 1], shared: 0 }, &[&self])?;
        }
        match parts {
            Some(parts) => cut.sum(gpu, &parts, out.address(), count, bias_of, &finish),
            None => Ok(()),
        }
    }
}

fn in_fours(x: &Array, step: usize) -> u32 {
    u32::from(x.is_aligned() && step.is_multiple_of(4))
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Every group has one input channel.
fn is_depthwise(g: &Geometry) -> bool {
    g.groups > 1 && g.in_channels == g.groups
}

/// Nothing but a product of the channels at each place.
fn is_product(g: &Geometry) -> bool {
    g.groups == 1 && g.kernel == [1, 1] && g.stride == [1, 1] && g.padding == [0, 0] && g.in_channels > 0
}

/// `to` ← the weight `[rows, k]`, whose elements stand so, times every image of `from`.
fn multiply(op: &'static str, gpu: &'static Gpu, g: &Geometry, [rows, k]: [usize; 2], weight: Operand, from: &Array, to: &Array) -> Result<()> {
    let n = g.height * g.width;
    let images = |x: &Array, channels: usize| Operand { address: x.address(), row: n as isize, column: 1, batch: (channels * n) as isize };
    Product { sizes: [rows, n, k], count: g.batch, a: weight, b: images(from, k), c: images(to, rows), finish: Finish::NONE }.run(op, gpu)
}

/// `activation(x ⋆ weight + bias)` in an array of this shape.
pub(super) fn forward(
    op: &'static str,
    gpu: &'static Gpu,
    g: &Geometry,
    [x, weight]: [&Array; 2],
    bias: Option<&Array>,
    activation: Activation,
    shape: Shape,
) -> Result<Array> {
    expect_f32_on_device(op, x)?;
    let (x, weight, bias) = (x.contiguous()?, weight.contiguous()?, bias.map(|bias| bias.contiguous()).transpose()?);
    let y = Array::stale_on(gpu, shape, x.dtype())?;
    if y.count() == 0 {
        return Ok(y);
    }
    if is_product(g) && bias.is_none() && activation == Activation::None {
        let steps = Operand { address: weight.address(), row: g.in_channels as isize, column: 1, batch: 0 };
        multiply(op, gpu, g, [g.out_channels, g.in_channels], steps, &x, &y)?;
        return Ok(y);
    }
    let mut call = Images::new(op, g, [&x, &weight, &y])?;
    call.finish = activation.after(Finish::NONE.biased(BiasSide::PerRow, bias.as_ref().map(Array::address)));
    if is_depthwise(g) {
        DEPTHWISE.launch(gpu, "depthwise_forward", Grid::over(y.count(), 4), &[&call])?;
        return Ok(y);
    }
    let (rows, plane) = (g.out_channels / g.groups, g.out_height * g.out_width);
    let k = g.in_channels / g.groups * g.kernel[0] * g.kernel[1];
    call.weight_vector = in_fours(&weight, k);
    call.to_vector = in_fours(&y, plane);
    let tiles = tiles([rows, g.batch * plane, k], g.groups);
    let kernel = match tiles.0 {
        Tile::Wide => "forward_wide",
        Tile::Middle => "forward_middle",
        Tile::Small => "forward_small",
        Tile::Flat => "forward_flat",
    };
    call.run_cut(gpu, (&CORRELATION, kernel), tiles, cut(tiles, k), &y, [plane, g.out_channels])?;
    Ok(y)
}

/// The tile for a result, and how many results there are.
type Tiles = (Tile, [usize; 2], usize);

fn tiles([rows, columns, k]: [usize; 3], depth: usize) -> Tiles {
    (forced().unwrap_or_else(|| Tile::choose([rows, columns, k], depth)), [rows, columns], depth)
}

fn cut((tile, [rows, columns], depth): Tiles, k: usize) -> Cut {
    Cut::new(tile.count(rows, columns).saturating_mul(depth), k, tile.sizes()[2])
}

/// The tile that a test asks for.
#[cfg(not(test))]
fn forced() -> Option<Tile> {
    None
}
#[cfg(test)]
use tests::forced;

/// What [`forward`] did to its input, undone: `Σ weight · dy + bias` in an array of this shape.
pub(super) fn input_gradient(
    op: &'static str,
    gpu: &'static Gpu,
    g: &Geometry,
    [dy, weight]: [&Array; 2],
    bias: Option<&Array>,
    shape: Shape,
) -> Result<Array> {
    expect_f32_on_device(op, dy)?;
    let (dy, weight, bias) = (dy.contiguous()?, weight.contiguous()?, bias.map(|bias| bias.contiguous()).transpose()?);
    let dx = Array::stale_on(gpu, shape, dy.dtype())?;
    if dx.count() == 0 {
        return Ok(dx);
    }
    if is_product(g) && bias.is_none() && g.out_channels > 0 {
        let steps = Operand { address: weight.address(), row: 1, column: g.in_channels as isize, batch: 0 };
        multiply(op, gpu, g, [g.in_channels, g.out_channels], steps, &dy, &dx)?;
        return Ok(dx);
    }
    let mut call = Images::new(op, g, [&dy, &weight, &dx])?;
    (call.from_channels, call.to_channels) = (call.to_channels, call.from_channels);
    call.finish = Finish::NONE.biased(BiasSide::PerRow, bias.as_ref().map(Array::address));
    if is_depthwise(g) {
        DEPTHWISE.launch(gpu, "depthwise_backward", Grid::over(dx.count(), 4), &[&call])?;
        return Ok(dx);
    }
    let plane = g.height * g.width;
    if g.stride == [1, 1] {
        call.to_vector = in_fours(&dx, plane);
    }
    // Places by their remainder by the stride, each with its share of the taps.
    let remainders = g.stride[0].min(g.height) * g.stride[1].min(g.width);
    let positions = g.height.div_ceil(g.stride[0]) * g.width.div_ceil(g.stride[1]);
    let taps = |at: usize| g.kernel[at].div_ceil(g.stride[at] / gcd(g.stride[at], g.dilation[at]));
    let k = g.out_channels / g.groups * taps(0) * taps(1);
    let tiles = tiles([g.in_channels / g.groups, g.batch * positions, k], g.groups * remainders);
    let kernel = match tiles.0 {
        Tile::Wide => "backward_wide",
        Tile::Middle => "backward_middle",
        Tile::Small => "backward_small",
        Tile::Flat => "backward_flat",
    };
    call.run_cut(gpu, (&CORRELATION, kernel), tiles, cut(tiles, k), &dx, [plane, g.in_channels])?;
    Ok(dx)
}

/// The gradient of [`forward`] by its weight, in an array of this shape.
pub(super) fn weight_gradient(op: &'static str, gpu: &'static Gpu, g: &Geometry, [x, dy]: [&Array; 2], shape: Shape) -> Result<Array> {
    expect_f32_on_device(op, x)?;
    let (x, dy) = (x.contiguous()?, dy.contiguous()?);
    let dw = Array::stale_on(gpu, shape, x.dtype())?;
    if dw.count() == 0 {
        return Ok(dw);
    }
    let mut call = Images::new(op, g, [&x, &dy, &dw])?;
    let (plane, taps) = (g.out_height * g.out_width, g.kernel[0] * g.kernel[1]);
    let k = g.batch * plane;
    if is_depthwise(g) {
        // A block a weight; enough of them to fill a GPU.
        const BLOCKS: usize = 1024;
        let cut = Cut::into_parts((BLOCKS / dw.count()).min(k / 1024), k, Grid::THREADS as usize);
        let parts = cut.workspace(gpu, dw.count())?;
        (call.k_part, call.part_step) = (cut.part as u32, dw.count() as i64);
        call.to = parts.as_ref().map_or(dw.address(), |parts| parts.address());
        let blocks = [dw.count() as u32, cut.parts as u32, 1];
        DEPTHWISE.launch(gpu, "depthwise_weight_gradient", Grid { blocks, threads: [Grid::THREADS, 1, 1], shared: 0 }, &[&call])?;
        if let Some(parts) = parts {
            cut.sum(gpu, &parts, dw.address(), dw.count(), [1, 1], &Finish::NONE)?;
        }
        return Ok(dw);
    }
    let columns = g.in_channels / g.groups * taps;
    call.weight_vector = in_fours(&dy, plane);
    call.to_vector = in_fours(&dw, columns);
    let (tile, sizes, depth) = tiles([g.out_channels / g.groups, columns, k], g.groups);
    let (tile, kernel) = match tile {
        Tile::Wide => (tile, "weight_gradient_wide"),
        Tile::Middle => (tile, "weight_gradient_middle"),
        Tile::Small | Tile::Flat => (Tile::Small, "weight_gradient_small"),
    };
    let tiles = (tile, sizes, depth);
    call.run_cut(gpu, (&WEIGHT_GRADIENT, kernel), tiles, cut(tiles, k), &dw, [1, 1])?;
    Ok(dw)
}

#[cfg(test)]
mod tests;
