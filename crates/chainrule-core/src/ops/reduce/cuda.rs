//! Sums and extremes on the GPU.

use crate::array::Array;
use crate::array::strided::Strided;
use crate::cuda::{Argument, Gpu, Grid, Source};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::shape::{MAX_RANK, Shape};

static SUMS: Source = Source::new("sum", include_str!("sum.ptx"));
static EXTREMES: Source = Source::new("extreme", include_str!("extreme.ptx"));

/// Threads of a warp.
const WARP: usize = 32;
/// The longest row that one warp reads.
const WARP_ROW: usize = 512;
/// Rows that interleave are read by lanes side by side, if they are at least so many.
const COLUMNS: usize = 8;
/// Blocks that fill a GPU; long rows are cut in parts until there are so many.
const BLOCKS: usize = 1024;

/// `Cut` of sum.cu.
#[repr(C)]
struct Cut {
    rows: u32,
    length: u32,
    parts: u32,
    part: u32,
}
// SAFETY: `repr(C)`, field by field the struct of sum.cu.
unsafe impl Argument for Cut {}

/// A view of one index of each reduced dimension, and one of one index of each other.
fn split(op: &'static str, x: &Array, reduced: &[bool; MAX_RANK]) -> Result<[Array; 2]> {
    let (mut kept, mut rest) = (x.clone(), x.clone());
    for axis in (0..x.rank()).rev() {
        let side = if reduced[axis] { &mut kept } else { &mut rest };
        *side = side.select(axis as isize, 0)?;
    }
    if x.count() > u32::MAX as usize {
        return Err(Error::shape(op, format!("{} elements are more than a kernel reduces (2^32 - 1); cut the array in parts", x.shape())));
    }
    Ok([kept, rest])
}

/// The step and the extent of the innermost dimension that has several numbers.
fn innermost(x: &Array) -> (isize, usize) {
    let inner = (0..x.rank()).rev().find(|&axis| x.dims()[axis] > 1);
    inner.map_or((1, 1), |axis| (x.strides()[axis], x.dims()[axis]))
}

/// Whether every step is a multiple of four, but for the `inner` innermost dimensions that have several numbers.
fn multiples_of_four(x: &Array, inner: usize) -> bool {
    let steps = x.dims().iter().zip(x.strides()).rev().filter(|(extent, _)| **extent > 1);
    steps.skip(inner).all(|(_, stride)| stride % 4 == 0)
}

/// The sum over the dimensions that are marked, of f32, or of i64 and u8 as i64.
pub(super) fn sum(gpu: &'static Gpu, op: &'static str, x: &Array, reduced: &[bool; MAX_RANK], shape: Shape) -> Result<Array> {
    let (dtype, partial, [by_warps, by_blocks, by_columns, of_parts]) = match x.dtype() {
        DType::F32 => (DType::F32, DType::F64, ["sum_warps_f32", "sum_blocks_f32", "sum_columns_f32", "sum_parts_f32"]),
        DType::I64 => (DType::I64, DType::I64, ["sum_warps_i64", "sum_blocks_i64", "sum_columns_i64", "sum_parts_i64"]),
        DType::U8 => (DType::I64, DType::I64, ["sum_warps_u8", "sum_blocks_u8", "sum_columns_u8", "sum_parts_i64"]),
        got => return Err(Error::DType { op, got, expected: "f32, i64 or u8 on the GPU" }),
    };
    let rows = shape.count();
    if x.count() == 0 {
        let out = Array::stale_on(gpu, shape, dtype)?;
        gpu.clear(out.address(), rows * dtype.size())?;
        return Ok(out);
    }
    let length = x.count() / rows;
    if length == 1 {
        return x.cast(dtype)?.reshape(&shape);
    }
    let [kept, rest] = split(op, x, reduced)?;
    let ((kept_step, side_by_side), (step, run)) = (innermost(&kept), innermost(&rest));
    let columns = kept_step == 1 && step.unsigned_abs() > 1 && side_by_side >= COLUMNS;
    // A row that is cut costs a second launch, so short ones are not.
    let bundles = if columns { rows.div_ceil(WARP) } else { rows };
    let least = if columns { 512 } else { 8192 };
    let parts = length.div_ceil(least).min(BLOCKS.div_ceil(bundles));
    let part = length.div_ceil(parts).next_multiple_of(4);
    let parts = length.div_ceil(part);
    let out = Array::stale_on(gpu, shape, dtype)?;
    let between = (parts > 1).then(|| Array::stale_on(gpu, Shape::trusted(&[rows * parts]), partial)).transpose()?;
    let fours = x.dtype() == DType::F32 && step == 1 && run.is_multiple_of(4) && x.is_aligned() && multiples_of_four(&kept, 0) && multiples_of_four(&rest, 1);
    let (kernel, threads, blocks) = if columns {
        (by_columns, [WARP as u32, WARP as u32, 1], bundles * parts)
    } else if part <= WARP_ROW {
        (by_warps, [Grid::THREADS, 1, 1], (rows * parts).div_ceil(Grid::THREADS as usize / WARP))
    } else {
        (by_blocks, [Grid::THREADS, 1, 1], rows * parts)
    };
    let grid = Grid { threads, ..Grid::blocks(blocks as u32, Grid::THREADS) };
    let cut = Cut { rows: rows as u32, length: length as u32, parts: parts as u32, part: part as u32 };
    let partial = between.as_ref().map_or(0, |array| array.address());
    let layouts = [Strided::new(op, [&kept])?, Strided::new(op, [&rest])?];
    SUMS.launch(gpu, kernel, grid, &[&layouts[0], &layouts[1], &x.address(), &partial, &out.address(), &cut, &(fours as u32)])?;
    if parts > 1 {
        SUMS.launch(gpu, of_parts, Grid::over(rows * WARP, 1), &[&partial, &out.address(), &(rows as u32), &(parts as u32)])?;
    }
    Ok(out)
}

/// `Rows` of extreme.cu.
#[repr(C)]
struct Rows {
    kept: Strided<1>,
    stride: i64,
    rows: u32,
    extent: u32,
    smallest: u32,
}
// SAFETY: `repr(C)`, field by field the struct of extreme.cu.
unsafe impl Argument for Rows {}

/// The largest numbers along `axis`, or the smallest, and their places.
pub(super) fn extreme(gpu: &'static Gpu, op: &'static str, x: &Array, axis: usize, shape: Shape) -> Result<(Array, Array)> {
    let [by_warps, by_blocks, by_columns] = match x.dtype() {
        DType::F32 => ["extreme_warps_f32", "extreme_blocks_f32", "extreme_columns_f32"],
        DType::I64 => ["extreme_warps_i64", "extreme_blocks_i64", "extreme_columns_i64"],
        got => return Err(Error::DType { op, got, expected: "f32 or i64 on the GPU" }),
    };
    let (values, places) = (Array::stale_on(gpu, shape, x.dtype())?, Array::stale_on(gpu, shape, DType::I64)?);
    let (count, extent) = (shape.count(), x.dims()[axis]);
    if count == 0 {
        return Ok((values, places));
    }
    let mut reduced = [false; MAX_RANK];
    reduced[axis] = true;
    let [kept, _] = split(op, x, &reduced)?;
    let stride = x.strides()[axis] as i64;
    let (kept_step, side_by_side) = innermost(&kept);
    let rows = Rows { kept: Strided::new(op, [&kept])?, stride, rows: count as u32, extent: extent as u32, smallest: (op == "min") as u32 };
    let (kernel, grid) = if kept_step == 1 && stride != 1 && side_by_side >= WARP {
        (by_columns, Grid::over(count, 1))
    } else if extent <= WARP_ROW {
        (by_warps, Grid::over(count * WARP, 1))
    } else {
        (by_blocks, Grid::blocks(count as u32, Grid::THREADS))
    };
    EXTREMES.launch(gpu, kernel, grid, &[&rows, &x.address(), &values.address(), &places.address()])?;
    Ok((values, places))
}
