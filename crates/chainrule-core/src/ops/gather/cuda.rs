//! Gather and scatter on the GPU.

use super::Join;
use crate::array::Array;
use crate::array::strided::Strided;
use crate::cuda::{Argument, Gpu, Grid, Source};
use crate::error::{Error, Result};
use crate::ops::expect_countable;
use crate::ops::index::cuda::{Names, Places, Rows, join_in_order, kernel, names};

static KERNELS: Source = Source::new("gather", include_str!("gather.ptx"));

/// A view of the indices' shape on `x`: its element 0 along `axis`, whatever the index.
fn beginning(op: &'static str, x: &Array, axis: usize, indices: &Array) -> Result<Array> {
    if x.dims()[axis] == 0 {
        return Err(Error::value(op, format!("dimension {axis} of {:?} is empty, no index fits", x.shape())));
    }
    let mut view = x.narrow(axis as isize, 0, 1)?;
    for (i, &extent) in indices.dims().iter().enumerate().filter(|(i, _)| *i != axis) {
        view = view.narrow(i as isize, 0, extent)?;
    }
    view.broadcast_to(indices.dims())
}

/// As [`super::gather`]: one launch.
pub(super) fn gather(gpu: &'static Gpu, op: &'static str, x: &Array, axis: usize, indices: &Array) -> Result<Array> {
    let out = Array::stale_on(gpu, *indices.shape(), x.dtype())?;
    if out.count() == 0 {
        return Ok(out);
    }
    let kernel = match x.dtype().size() {
        1 => "gather_1",
        2 => "gather_2",
        4 => "gather_4",
        _ => "gather_8",
    };
    let layout = Strided::new(op, [&beginning(op, x, axis, indices)?, indices])?;
    let (stride, extent) = (x.strides()[axis] as i64, x.dims()[axis] as u64);
    KERNELS.launch(
        gpu,
        kernel,
        Grid::over(out.count(), 1),
        &[&layout, &x.address(), &indices.address(), &out.address(), &stride, &extent, &(out.count() as u32)],
    )?;
    Ok(out)
}

const SCATTER: Names = names!("scatter_lines_");

/// `Along` of `gather.cu`.
#[repr(C)]
struct Along {
    length: u32,
    strides: [i64; 3],
}
// SAFETY: `repr(C)`, field by field the struct of `gather.cu`.
unsafe impl Argument for Along {}

/// As [`super::scatter`], into a base that is dense and held by nobody else, of a source cut to the indices: one launch, or the two or three of indices that are sorted.
pub(super) fn scatter(gpu: &'static Gpu, op: &'static str, base: Array, axis: usize, indices: &Array, source: &Array, join: Join) -> Result<Array> {
    let (length, count) = (indices.dims()[axis], indices.count());
    let name = kernel(op, base.dtype(), join, SCATTER)?;
    if count == 0 {
        return Ok(base);
    }
    let view = beginning(op, &base, axis, indices)?;
    let lines = count / length;
    let stride = base.strides()[axis];
    // A line takes some thousand cycles an index, which only few may cost; sorting makes count² / 1024 · 10 steps on the whole GPU.
    if length > 64 && lines.saturating_mul(lines).saturating_mul(length) < 1 << 30 {
        let layout = Strided::new(op, [&view, indices])?;
        let rows = Rows { extent: expect_countable(op, base.count())? as usize, inner: 1, columns: 1 };
        join_in_order(gpu, op, &base, Places { layout, indices, stride, extent: base.dims()[axis] }, rows, source, join)?;
        return Ok(base);
    }
    let strides = [stride, indices.strides()[axis], source.strides()[axis]].map(|stride| stride as i64);
    let first = |a: &Array| a.select(axis as isize, 0);
    let layout = Strided::new(op, [&first(&view)?, &first(indices)?, &first(source)?])?;
    KERNELS.launch(
        gpu,
        name,
        Grid::over(lines, 1),
        &[
            &layout,
            &Along { length: expect_countable(op, length)?, strides },
            &base.address(),
            &indices.address(),
            &source.address(),
            &(base.dims()[axis] as u64),
            &expect_countable(op, lines)?,
        ],
    )?;
    Ok(base)
}
