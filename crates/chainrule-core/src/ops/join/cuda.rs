//! Concatenation on the GPU.

use crate::array::Array;
use crate::cuda::{Argument, Gpu, Grid, Source};
use crate::error::Result;
use crate::ops::expect_countable;
use crate::shape::Shape;

static KERNELS: Source = Source::new("join", include_str!("join.ptx"));

/// Arrays that one launch joins.
const MOST: usize = 16;

/// `Parts` of `join.cu`.
#[repr(C)]
#[derive(Default)]
struct Parts {
    from: [u64; MOST],
    ends: [u32; MOST],
    count: u32,
}
// SAFETY: `repr(C)`, field by field the struct of `join.cu`.
unsafe impl Argument for Parts {}

/// As [`super::concatenate`]: a launch for every 16 arrays, and one for each that is not dense.
pub(super) fn concatenate(gpu: &'static Gpu, arrays: &[&Array], axis: usize, shape: Shape) -> Result<Array> {
    const OP: &str = "concatenate";
    let out = Array::stale_on(gpu, shape, arrays[0].dtype())?;
    if out.count() == 0 {
        return Ok(out);
    }
    let arrays = arrays.iter().filter(|a| a.count() > 0).map(|a| a.contiguous()).collect::<Result<Vec<_>>>()?;
    let outer: usize = out.dims()[..axis].iter().product();
    let row = |a: &Array| a.count() / outer * a.dtype().size();
    // Rows are moved in the largest units that all of them and the arrays' beginnings allow.
    let fits = |unit: &usize| arrays.iter().chain([&out]).all(|a| row(a).is_multiple_of(*unit) && a.address().is_multiple_of(*unit as u64));
    let unit = [16, 8, 4, 2].into_iter().find(fits).unwrap_or(1);
    let kernel = match unit {
        16 => "concatenate_16",
        8 => "concatenate_8",
        4 => "concatenate_4",
        2 => "concatenate_2",
        _ => "concatenate_1",
    };
    let stride = expect_countable(OP, row(&out) / unit)?;
    let mut start = 0u32;
    for chunk in arrays.chunks(MOST) {
        let (mut parts, mut columns) = (Parts::default(), 0);
        for (k, part) in chunk.iter().enumerate() {
            columns += (row(part) / unit) as u32;
            (parts.from[k], parts.ends[k], parts.count) = (part.address(), columns, k as u32 + 1);
        }
        let units = expect_countable(OP, outer * columns as usize)?;
        KERNELS.launch(gpu, kernel, Grid::over(units as usize, 1), &[&parts, &out.address(), &start, &stride, &columns, &units])?;
        start += columns;
    }
    Ok(out)
}
