//! How a product is cut into tasks: by its sizes and strides alone.

use super::{Batch, Finish, Number, Product, block, dot, split};
use crate::parallel;
use crate::simd::{Kernel, Simd};
use std::ops::Range;

/// Multiplications that are worth a task of their own, some microseconds of work.
const GRAIN: usize = 1 << 18;
/// More tasks than this are made only where blocks would be too large.
const TASKS: usize = 8;
/// The largest block of C. Its part of B, `COLUMNS` wide and a block of k deep, stays in the L2 cache.
const ROWS: usize = 512;
const COLUMNS: usize = 256;
/// Blocks are cut at multiples of these, so that only the last one has ragged edges.
const ROW_UNIT: usize = 4;
const COLUMN_UNIT: usize = 32;
/// The fewest rows of a block that is not all of C.
const LOWEST: usize = 24;
const LOWEST_TURNED: usize = 96;

/// What computes the elements of a block.
#[derive(Clone, Copy, PartialEq)]
enum Method {
    /// Tiles of C in registers, rows of B as vectors.
    Tiles,
    /// Dot products along k, for few rows against a transposed B.
    Dots,
}

/// The part of a product that is one task.
struct Block<'a, T> {
    product: &'a Product<'a, T>,
    method: Method,
    rows: Range<usize>,
    columns: Range<usize>,
}

impl<T: Number> Block<'_, T> {
    fn compute(self) {
        if self.product.pairs { T::run_pairs(self) } else { T::run(self) }
    }
}

impl<T: Number> Kernel for Block<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        // SAFETY: `simd::run` has checked the level, and the block lies in the product.
        unsafe {
            match self.method {
                Method::Tiles => block::compute::<S, T>(self.product, self.rows, self.columns),
                Method::Dots => dot::compute::<S, T>(self.product, self.rows, self.columns),
            }
        }
    }
}

/// The range of part `index` when `size` is cut into `parts` at multiples of `unit`.
fn part(size: usize, parts: usize, index: usize, unit: usize) -> Range<usize> {
    let units = size.div_ceil(unit);
    let cut = |i: usize| (units * i / parts * unit).min(size);
    cut(index)..cut(index + 1)
}

/// How C is cut into blocks, and what computes them.
#[derive(Clone, Copy)]
pub(super) struct Cut {
    method: Method,
    down: usize,
    across: usize,
}

impl Cut {
    /// For about `wanted` tasks.
    fn new<T>(product: &Product<T>, wanted: usize) -> Cut {
        let [m, n, _] = product.sizes;
        let widths = n.div_ceil(COLUMN_UNIT);
        if m <= dot::ROWS && product.a.column == 1 && product.b.row == 1 && product.b.column != 1 {
            return Cut { method: Method::Dots, down: 1, across: wanted.clamp(1, widths) };
        }
        // Every block of rows packs B again: nearly for nothing where the rows of B can be copied, at a price where they must be transposed.
        let lowest = if product.b.column == 1 { LOWEST } else { LOWEST_TURNED };
        let (mut down, mut across) = (m.div_ceil(ROWS), n.div_ceil(COLUMNS));
        while down * across < wanted {
            let (height, width) = (m / down, n / across);
            if across < widths && (2 * width > height || height < 2 * lowest) {
                across = (2 * across).min(widths);
            } else if height >= 2 * lowest {
                down *= 2;
            } else {
                break;
            }
        }
        Cut { method: Method::Tiles, down, across }
    }

    pub(super) fn blocks(&self) -> usize {
        self.down * self.across
    }

    /// Computes block `index` of a product of the sizes for which this was made.
    ///
    /// # Safety
    /// As for [`super::gemm`]; no two threads may compute the same block.
    pub(super) unsafe fn compute<T: Number>(&self, product: &Product<T>, index: usize) {
        let [m, n, _] = product.sizes;
        let rows = part(m, self.down, index / self.across, ROW_UNIT);
        let columns = part(n, self.across, index % self.across, COLUMN_UNIT);
        if !rows.is_empty() && !columns.is_empty() {
            Block { product, method: self.method, rows, columns }.compute();
        }
    }
}

/// Whether the product is better read the other way round, Cᵀ = Bᵀ·Aᵀ: that gives C rows of neighbouring elements, or leaves few rows for dot products.
fn better_transposed<T>(product: &Product<T>) -> bool {
    let [m, n, _] = product.sizes;
    let few = n <= dot::ROWS && n < m && product.a.column == 1 && product.b.row == 1;
    n == 1 || few || (m > 1 && product.c.row == 1 && product.c.column != 1)
}

fn transposed<T>(product: Product<T>) -> Product<T> {
    let Product { sizes: [m, n, k], a, b, c, finish, pairs } = product;
    let finish = Finish { epilogue: finish.epilogue.transposed(), ..finish };
    Product { sizes: [n, m, k], a: b.transposed(), b: a.transposed(), c: c.transposed(), finish, pairs }
}

/// Computes a batch of products.
///
/// # Safety
/// As for [`super::gemm_batched`]; no size of C is zero.
pub(super) unsafe fn run<T: Number>(mut batch: Batch, mut product: Product<T>) {
    if better_transposed(&product) {
        product = transposed(product);
        (batch.a, batch.b) = (batch.b, batch.a);
    }
    let [m, n, k] = product.sizes;
    let work = m.saturating_mul(n).saturating_mul(k);
    let wanted = (work / GRAIN).min(TASKS);
    let cut = Cut::new(&product, wanted);
    let blocks = cut.blocks();
    if batch.count == 1 {
        let parts = split::parts(k, blocks, wanted);
        // SAFETY: the caller's promise.
        unsafe {
            if parts > 1 {
                return split::run(&product, cut, parts);
            }
            if blocks == 1 {
                return cut.compute(&product, 0);
            }
        }
    }
    // Small products share a task.
    let group = if blocks > 1 { 1 } else { (GRAIN / work.max(1)).max(1) };
    let total = batch.count * blocks;
    let whole = &product;
    parallel::run(total.div_ceil(group), |task| {
        for index in task * group..((task + 1) * group).min(total) {
            let which = (index / blocks) as isize;
            let mut product = *whole;
            product.a.start = product.a.start.wrapping_offset(which * batch.a);
            product.b.start = product.b.start.wrapping_offset(which * batch.b);
            product.c.start = product.c.start.wrapping_offset(which * batch.c);
            // SAFETY: the caller's promise; every block of every product is one task's.
            unsafe { cut.compute(&product, index % blocks) };
        }
    });
}

/// Computes one product as a single block.
///
/// # Safety
/// As for [`super::gemm`]; no size of C is zero.
pub(super) unsafe fn run_whole<T: Number>(product: Product<T>) {
    let [m, n, _] = product.sizes;
    Block { product: &product, method: Method::Tiles, rows: 0..m, columns: 0..n }.compute();
}
