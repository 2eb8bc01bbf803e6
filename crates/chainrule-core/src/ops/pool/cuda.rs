//! Pooling on the GPU: one launch each.

use super::{Planes, Pool2d};
use crate::array::Array;
use crate::cuda::{Argument, Gpu, Grid, Source};
use crate::dtype::DType;
use crate::error::Result;
use crate::ops::gather::{self, Join};
use crate::ops::{expect_countable, expect_f32_on_device};
use crate::shape::Shape;

static KERNELS: Source = Source::new("pool", include_str!("pool.ptx"));

/// `Windows` of `pool.cu`.
#[repr(C)]
struct Windows {
    kernel: [u32; 2],
    stride: [u32; 2],
    padding: [u32; 2],
    dilation: [u32; 2],
    input: [u32; 2],
    output: [u32; 2],
}
// SAFETY: `repr(C)`, field by field the struct of `pool.cu`.
unsafe impl Argument for Windows {}

impl Windows {
    fn new(op: &'static str, pool: &Pool2d, planes: &Planes) -> Result<Windows> {
        // What kernels compute with 32 bits: places in windows, positions in padded planes.
        expect_countable(op, pool.kernel[0].saturating_mul(pool.kernel[1]))?;
        for d in 0..2 {
            expect_countable(op, planes.input[d] + 2 * pool.padding[d] + pool.stride[d] + pool.dilation[d].saturating_mul(pool.kernel[d]))?;
        }
        let [kernel, stride, padding, dilation, input, output] =
            [pool.kernel, pool.stride, pool.padding, pool.dilation, planes.input, planes.output].map(|sizes| sizes.map(|size| size as u32));
        Ok(Windows { kernel, stride, padding, dilation, input, output })
    }
}

/// As [`super::max_pool2d`].
pub(super) fn max(gpu: &'static Gpu, op: &'static str, x: &Array, pool: &Pool2d, planes: &Planes, shape: Shape, place_type: DType) -> Result<(Array, Array)> {
    expect_f32_on_device(op, x)?;
    let x = x.contiguous()?;
    let (y, places) = (Array::stale_on(gpu, shape, DType::F32)?, Array::stale_on(gpu, shape, place_type)?);
    let (windows, count) = (Windows::new(op, pool, planes)?, expect_countable(op, y.count())?);
    if count == 0 {
        return Ok((y, places));
    }
    let grid = Grid::over(y.count(), 1);
    if super::max::halves(pool, planes) {
        let aligned = (planes.input[1].is_multiple_of(2) && x.address().is_multiple_of(8)) as u32;
        KERNELS.launch(gpu, "max_pool2d_halves", grid, &[&x.address(), &y.address(), &places.address(), &windows, &count, &aligned])?;
    } else {
        let kernel = if place_type == DType::U8 { "max_pool2d_u8" } else { "max_pool2d_i64" };
        KERNELS.launch(gpu, kernel, grid, &[&x.address(), &y.address(), &places.address(), &windows, &count])?;
    }
    Ok((y, places))
}

/// As [`super::max_pool2d_backward`].
pub(super) fn max_backward(gpu: &'static Gpu, op: &'static str, dy: &Array, places: &Array, pool: &Pool2d, planes: &Planes, input: &[usize]) -> Result<Array> {
    expect_f32_on_device(op, dy)?;
    let dy = dy.contiguous()?;
    let dx = Array::stale_on(gpu, Shape::new(input)?, DType::F32)?;
    let (windows, count) = (Windows::new(op, pool, planes)?, expect_countable(op, dx.count())?);
    if count > 0 {
        let kernel = if places.dtype() == DType::U8 { "max_pool2d_backward_u8" } else { "max_pool2d_backward_i64" };
        KERNELS.launch(gpu, kernel, Grid::over(dx.count(), 1), &[&dy.address(), &places.address(), &dx.address(), &windows, &count])?;
    }
    Ok(dx)
}

/// As [`super::max_pool2d_gather`].
pub(super) fn max_gather(gpu: &'static Gpu, op: &'static str, x: &Array, places: &Array, pool: &Pool2d, planes: &Planes) -> Result<Array> {
    expect_f32_on_device(op, x)?;
    let x = x.contiguous()?;
    let y = Array::stale_on(gpu, *places.shape(), DType::F32)?;
    let (windows, count) = (Windows::new(op, pool, planes)?, expect_countable(op, y.count())?);
    if count > 0 {
        let kernel = if places.dtype() == DType::U8 { "max_pool2d_gather_u8" } else { "max_pool2d_gather_i64" };
        KERNELS.launch(gpu, kernel, Grid::over(y.count(), 1), &[&x.address(), &places.address(), &y.address(), &windows, &count])?;
    }
    Ok(y)
}

/// As [`super::max_pool2d_positions`].
pub(super) fn max_positions(gpu: &'static Gpu, op: &'static str, places: &Array, pool: &Pool2d, planes: &Planes) -> Result<Array> {
    let out = Array::stale_on(gpu, *places.shape(), DType::I64)?;
    let (windows, count) = (Windows::new(op, pool, planes)?, expect_countable(op, out.count())?);
    if count > 0 {
        let kernel = if places.dtype() == DType::U8 { "max_pool2d_positions_u8" } else { "max_pool2d_positions_i64" };
        KERNELS.launch(gpu, kernel, Grid::over(out.count(), 1), &[&places.address(), &out.address(), &windows, &count])?;
    }
    Ok(out)
}

/// How [`super::avg_pool2d`] divides, and whether it goes from planes of the input to planes of the output or, backward, from the gradient of the output to that of the input.
pub(super) struct Means {
    pub(super) count_include_pad: bool,
    pub(super) divisor: Option<usize>,
    pub(super) backward: bool,
}

/// As [`super::avg_pool2d`] or its backward pass; the result has this shape.
pub(super) fn average(gpu: &'static Gpu, op: &'static str, from: &Array, pool: &Pool2d, planes: &Planes, shape: Shape, how: Means) -> Result<Array> {
    expect_f32_on_device(op, from)?;
    let from = from.contiguous()?;
    let to = Array::stale_on(gpu, shape, DType::F32)?;
    let (windows, count) = (Windows::new(op, pool, planes)?, expect_countable(op, to.count())?);
    let (with_padding, divisor) = (how.count_include_pad as u32, expect_countable(op, how.divisor.unwrap_or(0))?);
    if count > 0 {
        let kernel = if how.backward { "avg_pool2d_backward" } else { "avg_pool2d" };
        KERNELS.launch(gpu, kernel, Grid::over(to.count(), 1), &[&from.address(), &to.address(), &windows, &with_padding, &divisor, &count])?;
    }
    Ok(to)
}

/// `Adaptive` of `pool.cu`.
#[repr(C)]
struct Adaptive {
    input: [u32; 2],
    output: [u32; 2],
}
// SAFETY: `repr(C)`, field by field the struct of `pool.cu`.
unsafe impl Argument for Adaptive {}

impl Adaptive {
    fn new(op: &'static str, planes: &Planes) -> Result<Adaptive> {
        for d in 0..2 {
            expect_countable(op, (planes.input[d] + 1).saturating_mul(planes.output[d] + 1))?;
        }
        Ok(Adaptive { input: planes.input.map(|size| size as u32), output: planes.output.map(|size| size as u32) })
    }
}

/// As [`super::adaptive_avg_pool2d`]; a warp takes a window where windows are large.
pub(super) fn adaptive_average(gpu: &'static Gpu, op: &'static str, x: &Array, planes: &Planes, shape: Shape) -> Result<Array> {
    expect_f32_on_device(op, x)?;
    let x = x.contiguous()?;
    let y = Array::stale_on(gpu, shape, DType::F32)?;
    let (windows, count) = (Adaptive::new(op, planes)?, expect_countable(op, y.count())?);
    if count > 0 {
        let lanes: u32 = if planes.input_size() >= 16 * planes.output_size() { 32 } else { 1 };
        let grid = Grid::over(y.count() * lanes as usize, 1);
        KERNELS.launch(gpu, "adaptive_avg_pool2d", grid, &[&x.address(), &y.address(), &windows, &lanes, &count])?;
    }
    Ok(y)
}

/// As [`super::adaptive_avg_pool2d_backward`].
pub(super) fn adaptive_average_backward(gpu: &'static Gpu, op: &'static str, dy: &Array, planes: &Planes, input: &[usize]) -> Result<Array> {
    expect_f32_on_device(op, dy)?;
    let dy = dy.contiguous()?;
    if dy.count() == 0 {
        return Array::full_on(input, 0.0, DType::F32, &dy.device());
    }
    let dx = Array::stale_on(gpu, Shape::new(input)?, DType::F32)?;
    let (windows, count) = (Adaptive::new(op, planes)?, expect_countable(op, dx.count())?);
    if count > 0 {
        KERNELS.launch(gpu, "adaptive_avg_pool2d_backward", Grid::over(dx.count(), 1), &[&dy.address(), &dx.address(), &windows, &count])?;
    }
    Ok(dx)
}

/// As [`super::adaptive_max_pool2d`].
pub(super) fn adaptive_max(gpu: &'static Gpu, op: &'static str, x: &Array, planes: &Planes, shape: Shape) -> Result<(Array, Array)> {
    expect_f32_on_device(op, x)?;
    let x = x.contiguous()?;
    let (y, positions) = (Array::stale_on(gpu, shape, DType::F32)?, Array::stale_on(gpu, shape, DType::I64)?);
    let (windows, count) = (Adaptive::new(op, planes)?, expect_countable(op, y.count())?);
    if count > 0 {
        KERNELS.launch(gpu, "adaptive_max_pool2d", Grid::over(y.count(), 1), &[&x.address(), &y.address(), &positions.address(), &windows, &count])?;
    }
    Ok((y, positions))
}

/// Puts numbers at their positions in planes of zeros, of shape `[count, size]` before it is made `dims`: two launches.
pub(super) fn put(numbers: &Array, positions: &Array, [count, size]: [usize; 2], dims: &[usize], join: Join) -> Result<Array> {
    let zeros = Array::full_on(&[count, size], 0.0, numbers.dtype(), &numbers.device())?;
    if zeros.count() == 0 || numbers.count() == 0 {
        return zeros.reshape(dims);
    }
    let each = [count, numbers.count() / count];
    gather::scatter(zeros, 1, &positions.reshape(&each)?, &numbers.reshape(&each)?, join)?.reshape(dims)
}

/// The numbers at positions in `count` planes: one launch.
pub(super) fn pick(x: &Array, positions: &Array, count: usize) -> Result<Array> {
    if positions.count() == 0 {
        return Array::full_on(positions.dims(), 0.0, x.dtype(), &x.device());
    }
    let planes = [x, positions].map(|a| a.reshape(&[count, a.count() / count]));
    let [x, at] = planes;
    gather::gather(&x?, 1, &at?)?.reshape(positions.dims())
}

/// As [`super::volume_positions`], of `depth` planes with `windows` windows each.
pub(super) fn volume_positions(
    gpu: &'static Gpu,
    op: &'static str,
    within: &Array,
    across: &Array,
    area: usize,
    [depth, windows]: [usize; 2],
) -> Result<Array> {
    let (within, across) = (within.contiguous()?, across.contiguous()?);
    let out = Array::stale_on(gpu, *across.shape(), DType::I64)?;
    let count = expect_countable(op, out.count())?;
    if count > 0 {
        let of_volume = (out.count() / across.dims()[0]) as u32;
        KERNELS.launch(
            gpu,
            "volume_positions",
            Grid::over(out.count(), 1),
            &[
                &within.address(),
                &across.address(),
                &out.address(),
                &(area as i64),
                &((depth * windows) as i64),
                &expect_countable(op, windows)?,
                &of_volume,
                &count,
            ],
        )?;
    }
    Ok(out)
}
