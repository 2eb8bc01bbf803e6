//! Indices on the GPU. One that is outside cannot be an error of the call, which does not wait for it: what is picked by it has all bits set (NaN, -1), what is put by it is left out.

use crate::array::Array;
use crate::array::strided::Strided;
use crate::cuda::{Argument, Gpu, Grid, Source};
use crate::dtype::{DType, Element, with_element};
use crate::error::{Error, Result};
use crate::ops::expect_countable;
use crate::ops::gather::Join;
use crate::shape::{MAX_RANK, Shape};

static KERNELS: Source = Source::new("index", include_str!("index.ptx"));

/// Dense i64 indices.
pub(super) fn dense(op: &'static str, indices: &Array) -> Result<Array> {
    if indices.dtype() != DType::I64 {
        return Err(Error::DType { op, got: indices.dtype(), expected: "i64 indices" });
    }
    indices.contiguous()
}

/// As [`super::index_select`]: one launch.
pub(super) fn index_select(gpu: &'static Gpu, op: &'static str, x: &Array, at: usize, indices: &Array) -> Result<Array> {
    let indices = dense(op, indices)?;
    let out = Array::stale_on(gpu, Shape::joined([&x.dims()[..at], indices.dims(), &x.dims()[at + 1..]])?, x.dtype())?;
    if out.count() == 0 {
        return Ok(out);
    }
    let x = x.contiguous()?;
    let row = super::sides(x.shape(), at).1 * x.dtype().size();
    // Rows are moved in the largest units that they and the arrays' beginnings allow.
    let fits = |unit: &usize| row.is_multiple_of(*unit) && [&x, &out].iter().all(|a| a.address().is_multiple_of(*unit as u64));
    let unit = [16, 8, 4, 2].into_iter().find(fits).unwrap_or(1);
    let kernel = match unit {
        16 => "index_select_16",
        8 => "index_select_8",
        4 => "index_select_4",
        2 => "index_select_2",
        _ => "index_select_1",
    };
    let units = expect_countable(op, out.count() * x.dtype().size() / unit)?;
    let (extent, count, inner) = (x.dims()[at] as u64, indices.count() as u32, (row / unit) as u32);
    KERNELS.launch(gpu, kernel, Grid::over(units as usize, 1), &[&x.address(), &indices.address(), &out.address(), &extent, &count, &inner, &units])?;
    Ok(out)
}

/// `base[.., indices[k], ..]` joins `source[.., k, ..]` in the order of k, in place: two launches, three for more than 1024 indices. The base is dense and nothing else holds it.
pub(super) fn join(gpu: &'static Gpu, op: &'static str, mut base: Array, at: usize, indices: &Array, source: &Array, join: Join) -> Result<Array> {
    let indices = dense(op, indices)?;
    let (outer, inner) = super::sides(base.shape(), at);
    let rows = Rows { extent: base.dims()[at], inner, columns: outer * inner };
    base.own()?;
    let nowhere = indices.flattened()?;
    // The place of an index is the row that it names.
    let layout = Strided::new(op, [&nowhere.narrow(0, 0, nowhere.count().min(1))?.broadcast_to(nowhere.dims())?, &nowhere])?;
    join_in_order(gpu, op, &base, Places { layout, indices: &nowhere, stride: 1, extent: rows.extent }, rows, source, join)?;
    Ok(base)
}

/// Where indices lead: to the place that the layout's first array has for them, plus the index times the stride.
pub(crate) struct Places<'a> {
    pub(crate) layout: Strided<2>,
    pub(crate) indices: &'a Array,
    pub(crate) stride: isize,
    pub(crate) extent: usize,
}

/// What lies at a place: a number of each column, the columns being pairs of an outer and an inner index.
pub(crate) struct Rows {
    pub(crate) extent: usize,
    pub(crate) inner: usize,
    pub(crate) columns: usize,
}

/// Joins the rows of `source` with those of `base` at the places of the indices. Indices are sorted by place, those of one place in their order; so sums have the same bits as on the CPU.
pub(crate) fn join_in_order(gpu: &'static Gpu, op: &'static str, base: &Array, places: Places, rows: Rows, source: &Array, join: Join) -> Result<()> {
    let count = expect_countable(op, places.indices.count())?;
    let columns = expect_countable(op, rows.columns)?;
    if count == 0 || columns == 0 || base.count() == 0 {
        return Ok(());
    }
    expect_countable(op, rows.extent.max(rows.inner))?;
    let name = kernel(op, base.dtype(), join, JOIN_ROWS)?;
    let source = source.contiguous()?;
    const SEGMENT: usize = 1024;
    let keys = || Array::stale_on(gpu, Shape::new(&[count as usize])?, DType::I64);
    let mut sorted = keys()?;
    let size = (count as usize).next_power_of_two().clamp(2, SEGMENT) as u32;
    let (stride, extent) = (places.stride as i64, places.extent as u64);
    let segments = Grid::blocks(count.div_ceil(SEGMENT as u32), (size / 2).clamp(32, Grid::THREADS));
    KERNELS.launch(gpu, "sort_segments", segments, &[&places.layout, &places.indices.address(), &sorted.address(), &stride, &extent, &count, &size])?;
    if count as usize > SEGMENT {
        let merged = keys()?;
        KERNELS.launch(gpu, "merge_segments", Grid::over(count as usize, 1), &[&sorted.address(), &merged.address(), &count])?;
        sorted = merged;
    }
    KERNELS.launch(
        gpu,
        name,
        Grid::over(count as usize * columns as usize, 1),
        &[&sorted.address(), &source.address(), &base.address(), &(rows.extent as u64), &count, &(rows.inner as u32), &columns],
    )
}

/// Kernels of every way of joining: `write` by size 1, 2, 4 and 8; sum, product, max and min of f32, and of i64.
pub(crate) type Names = [&'static str; 12];
macro_rules! names {
    ($before:literal) => {
        [
            concat!($before, "write_1"),
            concat!($before, "write_2"),
            concat!($before, "write_4"),
            concat!($before, "write_8"),
            concat!($before, "sum_f32"),
            concat!($before, "product_f32"),
            concat!($before, "max_f32"),
            concat!($before, "min_f32"),
            concat!($before, "sum_i64"),
            concat!($before, "product_i64"),
            concat!($before, "max_i64"),
            concat!($before, "min_i64"),
        ]
    };
}
pub(crate) use names;
const JOIN_ROWS: Names = names!("join_rows_");

/// The one that joins numbers of this type.
pub(crate) fn kernel(op: &'static str, dtype: DType, join: Join, names: Names) -> Result<&'static str> {
    let rule = |join| match join {
        Join::Write | Join::Sum => 0,
        Join::Product => 1,
        Join::Max => 2,
        Join::Min => 3,
    };
    let place = match (join, dtype) {
        (Join::Write, dtype) => dtype.size().ilog2() as usize,
        (join, DType::F32) => 4 + rule(join),
        (join, DType::I64) => 8 + rule(join),
        (_, got) => return Err(Error::DType { op, got, expected: "f32 or i64 on a GPU" }),
    };
    Ok(names[place])
}

/// As [`super::one_hot`]: one launch.
pub(super) fn one_hot(gpu: &'static Gpu, op: &'static str, indices: &Array, classes: usize, dtype: DType) -> Result<Array> {
    let indices = dense(op, indices)?;
    let out = Array::stale_on(gpu, Shape::joined([indices.dims(), &[classes], &[]])?, dtype)?;
    if out.count() == 0 {
        return Ok(out);
    }
    let count = expect_countable(op, out.count())?;
    let kernel = match dtype.size() {
        1 => "one_hot_1",
        2 => "one_hot_2",
        4 => "one_hot_4",
        _ => "one_hot_8",
    };
    let one = with_element!(dtype, T => crate::array::bits(T::from_f64(1.0)));
    KERNELS.launch(gpu, kernel, Grid::over(count as usize, 1), &[&indices.address(), &out.address(), &one, &(classes as u32), &count])?;
    Ok(out)
}

/// Index arrays and the extents of the dimensions that they are of; `Indices` of `index.cu`.
#[repr(C)]
struct Indices {
    arrays: [u64; MAX_RANK],
    extents: [i64; MAX_RANK],
}
// SAFETY: `repr(C)`, field by field the struct of `index.cu`.
unsafe impl Argument for Indices {}

/// As [`super::flat_positions`], for indices that were broadcast: one launch.
pub(super) fn flat_positions(gpu: &'static Gpu, op: &'static str, dims: &[usize], indices: &[Array]) -> Result<Array> {
    let out = Array::stale_on(gpu, *indices[0].shape(), DType::I64)?;
    if out.count() == 0 {
        return Ok(out);
    }
    // Places that are not used repeat the first array.
    let all: [&Array; MAX_RANK] = std::array::from_fn(|k| indices.get(k).unwrap_or(&indices[0]));
    let extents = std::array::from_fn(|k| dims.get(k).map_or(1, |extent| *extent as i64));
    let named = Indices { arrays: all.map(Array::address), extents };
    let layout = Strided::new(op, all)?;
    KERNELS.launch(gpu, "flat_positions", Grid::over(out.count(), 1), &[&layout, &named, &out.address(), &(indices.len() as u32), &(out.count() as u32)])?;
    Ok(out)
}
