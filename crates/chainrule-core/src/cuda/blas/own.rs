//! Products on kernels of ours, `gemm.cu`.

use super::{BiasSide, Cut, Finish, Operand, Product, Tile};
use crate::cuda::{Argument, Gpu, Grid, Source};
use crate::error::Result;

pub(super) static KERNELS: Source = Source::new("gemm", include_str!("gemm.ptx"));

/// `Call` of `gemm.cu`.
#[repr(C)]
struct Call {
    a: u64,
    b: u64,
    c: u64,
    a_batch: i64,
    b_batch: i64,
    c_batch: i64,
    c_part: i64,
    a_steps: [i32; 2],
    b_steps: [i32; 2],
    c_steps: [i32; 2],
    sizes: [u32; 3],
    k_part: u32,
    a_along_k: u32,
    a_vector: u32,
    b_along_k: u32,
    b_vector: u32,
    c_vector: u32,
    unused: u32,
    finish: Finish,
}

// SAFETY: `repr(C)`, field by field the struct of `gemm.cu`.
unsafe impl Argument for Call {}

/// Blocks along the second and third extent of a grid.
const MOST_BLOCKS: usize = 65535;

pub(super) fn run(gpu: &'static Gpu, product: &Product) -> Result<()> {
    let [m, n, k] = product.sizes;
    // Few columns: the tile that is flat is the transposed one.
    let product = if n <= 16 && m > 16 { &product.transposed() } else { product };
    let [rows, columns, _] = product.sizes;
    let tile = Tile::choose([rows, columns, k], product.count);
    // Parts are added up in a dense result that is small enough to be numbered.
    let cuts = (product.is_dense() || product.transposed().is_dense()) && u32::try_from(m * n * product.count).is_ok();
    let blocks = if cuts { tile.count(rows, columns).saturating_mul(product.count) } else { usize::MAX };
    run_tiles(gpu, product, tile, Cut::new(blocks, k, tile.sizes()[2]))
}

/// With this tile, and k cut like this, for which the results must be dense.
pub(super) fn run_tiles(gpu: &'static Gpu, product: &Product, tile: Tile, cut: Cut) -> Result<()> {
    let [m, n, _] = product.sizes;
    let results = m * n * product.count;
    let Some(parts) = cut.workspace(gpu, results)? else { return launch(gpu, product, tile, cut, 0) };
    // Parts stand as the results do.
    let partial = Product { c: Operand { address: parts.address(), ..product.c }, finish: Finish::NONE, ..*product };
    launch(gpu, &partial, tile, cut, results)?;
    let along_rows = product.finish.side == BiasSide::PerRow;
    let bias = match (along_rows, product.is_dense()) {
        (false, true) => [1, n],
        (true, true) => [n, m],
        (false, false) => [m, n],
        (true, false) => [1, m],
    };
    cut.sum(gpu, &parts, product.c.address, results, bias, &product.finish)
}

fn launch(gpu: &'static Gpu, product: &Product, tile: Tile, cut: Cut, c_part: usize) -> Result<()> {
    let Product { sizes: [m, n, k], count, a, b, c, finish } = *product;
    let kernel = match tile {
        Tile::Wide => "gemm_wide",
        Tile::Middle => "gemm_middle",
        Tile::Small => "gemm_small",
        Tile::Flat => "gemm_flat",
    };
    // Threads walk along the side on which elements are closer together; `step` along it, `apart` across.
    let closer = |extent: usize, along_k: isize, across: isize| {
        let along = extent == 1 || along_k.abs() < across.abs();
        let (step, apart) = if along { (along_k, across) } else { (across, along_k) };
        (along, step, apart)
    };
    let ((a_along, a_step, a_apart), (b_along, b_step, b_apart)) = (closer(m, a.column, a.row), closer(n, b.row, b.column));
    let vector = |x: &Operand, step: isize, apart: isize| u32::from(step == 1 && x.is_in_fours([apart, if count == 1 { 0 } else { x.batch }]));
    let mut call = Call {
        a: 0,
        b: 0,
        c: 0,
        a_batch: a.batch as i64,
        b_batch: b.batch as i64,
        c_batch: c.batch as i64,
        c_part: c_part as i64,
        a_steps: [a.row as i32, a.column as i32],
        b_steps: [b.row as i32, b.column as i32],
        c_steps: [c.row as i32, c.column as i32],
        sizes: [m, n, k].map(|size| size as u32),
        k_part: cut.part as u32,
        a_along_k: a_along.into(),
        a_vector: vector(&a, a_step, a_apart),
        b_along_k: b_along.into(),
        b_vector: vector(&b, b_step, b_apart),
        c_vector: if c_part.is_multiple_of(4) { vector(&c, c.column, c.row) } else { 0 },
        unused: 0,
        finish,
    };
    for first in (0..count).step_by(MOST_BLOCKS) {
        let from = |x: &Operand| x.address.wrapping_add_signed(4 * first as i64 * x.batch as i64);
        (call.a, call.b, call.c) = (from(&a), from(&b), from(&c));
        let blocks = [tile.count(m, n) as u32, cut.parts as u32, (count - first).min(MOST_BLOCKS) as u32];
        KERNELS.launch(gpu, kernel, Grid { blocks, threads: [tile.threads(), 1, 1], shared: 0 }, &[&call])?;
    }
    Ok(())
}

/// Leaky ReLU of `count` numbers in place.
pub(super) fn leaky_relu(gpu: &'static Gpu, x: u64, count: usize, slope: f32) -> Result<()> {
    KERNELS.launch(gpu, "leaky_relu", Grid::over(count, 4), &[&x, &(count as u64), &slope])
}
