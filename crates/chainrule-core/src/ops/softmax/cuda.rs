//! Softmax on the GPU.

use super::Form;
use crate::array::Array;
use crate::cuda::{Gpu, Grid, Source};
use crate::error::{Error, Result};
use crate::ops::expect_f32_on_device;

static KERNELS: Source = Source::new("softmax", include_str!("softmax.ptx"));

/// The longest rows that 8 lanes take, and that a warp takes; a block takes longer ones.
const OCTET_ROW: usize = 32;
const WARP_ROW: usize = 1024;

/// Which threads take one of `rows` rows, as the place of the kernel in a list of octets, warps and blocks, and the grid.
pub(crate) fn grid_of_rows(rows: usize, length: usize) -> (usize, Grid) {
    if length <= OCTET_ROW {
        (0, Grid::over(rows * 8, 1))
    } else if length <= WARP_ROW {
        (1, Grid::over(rows * 32, 1))
    } else {
        (2, Grid::blocks(rows as u32, Grid::THREADS))
    }
}

/// An error unless a kernel can count the numbers of a row.
pub(crate) fn row_length(op: &'static str, length: usize) -> Result<u32> {
    // Threads count on by up to four times their number behind the end.
    u32::try_from(length)
        .ok()
        .filter(|&length| length < 1 << 31)
        .ok_or_else(|| Error::shape(op, format!("rows of {length} numbers are longer than a kernel counts (2^31 - 1)")))
}

/// One form along an axis. `inputs` are x twice, or y and dy.
pub(super) fn along(gpu: &'static Gpu, op: &'static str, form: Form, inputs: [&Array; 2], axis: usize) -> Result<Array> {
    let kernels = match form {
        Form::Softmax => ["softmax_octets", "softmax_warps", "softmax_blocks", "softmax_columns"],
        Form::LogSoftmax => ["log_softmax_octets", "log_softmax_warps", "log_softmax_blocks", "log_softmax_columns"],
        Form::SoftmaxBackward => ["softmax_backward_octets", "softmax_backward_warps", "softmax_backward_blocks", "softmax_backward_columns"],
        Form::LogSoftmaxBackward => {
            ["log_softmax_backward_octets", "log_softmax_backward_warps", "log_softmax_backward_blocks", "log_softmax_backward_columns"]
        }
    };
    let [a, b] = inputs;
    inputs.iter().try_for_each(|x| expect_f32_on_device(op, x))?;
    let out = Array::stale_on(gpu, *a.shape(), a.dtype())?;
    if a.count() == 0 {
        return Ok(out);
    }
    let dense = a.contiguous()?;
    let other = if a.is_same(b) { dense.clone() } else { b.contiguous()? };
    let (length, inner) = (a.dims()[axis], a.dims()[axis + 1..].iter().product::<usize>());
    let (rows, n) = (a.count() / length, row_length(op, length)?);
    let (from, and, to) = (dense.address(), other.address(), out.address());
    if inner == 1 {
        let (place, grid) = grid_of_rows(rows, length);
        let aligned = length.is_multiple_of(4) && dense.is_aligned() && other.is_aligned();
        KERNELS.launch(gpu, kernels[place], grid, &[&from, &and, &to, &(rows as u64), &n, &(aligned as u32)])?;
    } else {
        let inner = row_length(op, inner)?;
        let grid = Grid { threads: [32, 8, 1], ..Grid::blocks(rows.div_ceil(32) as u32, 0) };
        KERNELS.launch(gpu, kernels[3], grid, &[&from, &and, &to, &(rows as u64), &n, &inner])?;
    }
    Ok(out)
}
