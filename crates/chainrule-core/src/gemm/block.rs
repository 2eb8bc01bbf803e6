//! A block of C, computed by one thread: the loops around the micro-kernel.

use super::kernel::{self, Tile};
use super::{Epilogue, Finish, Matrix, MatrixMut, Number, Product, pack};
use crate::simd::{Level, Simd, Vector};
use std::ops::Range;

/// The most bytes along k between two visits to a tile of C. Deeper blocks visit C less often; a panel of B of this depth still comes from the L2 cache in time. (1024³ on one Zen 5 core: 87 % of peak at 2048, 91 % at 4096.)
const DEPTH: usize = 4096;
/// From so many strips of A on, a panel of B is copied while the first strip uses it.
const STRIPS: usize = 12;
/// The same where rows of B lie a multiple of `CROWDED` bytes apart, and so fall on few lines of the L1 cache.
const CROWDED_STRIPS: usize = 3;
const CROWDED: isize = 1024;
/// The bytes between the first and the last number of a row of A, where its columns fall on few lines of the caches: beyond it they push each other out before the next panel of B.
const REACH: usize = 1 << 21;

/// The most steps of k between two visits to a tile of C.
fn depth_limit<T>(product: &Product<T>) -> usize {
    let limit = DEPTH / size_of::<T>();
    let step = product.a.column.unsigned_abs() * size_of::<T>();
    if product.a.row == 1 && step > 0 && step.is_multiple_of(CROWDED as usize) { limit.min((REACH / step).max(64)) } else { limit }
}

/// The elements `rows` x `columns` of C. Loops 5 and 3 of the five, over blocks of columns and rows, are the tasks of the caller.
///
/// # Safety
/// The level of S must be checked; the ranges are not empty and lie in C.
#[inline(always)]
pub(super) unsafe fn compute<S: Simd, T: Number>(product: &Product<T>, rows: Range<usize>, columns: Range<usize>) {
    if S::LEVEL == Level::Scalar {
        // SAFETY: the caller's promises.
        return unsafe { portable(product, rows, columns) };
    }
    // SAFETY: the caller's promises.
    unsafe { loops::<S, T, T::Vector<S>>(product, rows, columns) }
}

#[inline(always)]
unsafe fn loops<S: Simd, T: Number<Vector<S> = V>, V: Vector<Element = T>>(product: &Product<T>, rows: Range<usize>, columns: Range<usize>) {
    let (m, n, k) = (rows.len(), columns.len(), product.sizes[2]);
    let width = V::TILE_VECTORS * V::LANES;
    let (strips, depths) = (m.div_ceil(V::TILE_ROWS), k.div_ceil(depth_limit(product)).max(1));
    let (height, deepest) = (m.div_ceil(strips), k.div_ceil(depths));

    // The kernel reads A number by number, which is as fast in place wherever neighbours along rows or columns share cache lines.
    let pack_a = product.a.column != 1 && product.a.row != 1 && n > width;
    let crowded = product.b.row * size_of::<T>() as isize % CROWDED == 0;
    let pack_b = product.b.column != 1 || strips >= if crowded { CROWDED_STRIPS } else { STRIPS };
    let strip_size = if pack_a { height * deepest } else { 0 };
    let mut buffer = pack::Buffer::take::<T>(width * deepest + strips * strip_size, pack::Use::Panels);
    let b_buffer: *mut T = buffer.start();
    let a_buffer = b_buffer.wrapping_add(width * deepest);

    // Loop 4: blocks of k.
    for depth in 0..depths {
        let (first, end) = (k * depth / depths, k * (depth + 1) / depths);
        let depth = end - first;
        let finish =
            Finish { beta: if first == 0 { product.finish.beta } else { T::one() }, epilogue: if end == k { product.finish.epilogue } else { Epilogue::NONE } };
        // Loop 2: panels of B, each used by all strips before the next.
        let mut left = 0;
        while left < n {
            let mut panel = product.b.from(first, columns.start + left);
            let mut vectors = if pack_b || strips > 1 { V::TILE_VECTORS } else { kernel::widest::<V>(m) };
            if n - left < vectors * V::LANES {
                vectors = (n - left).div_ceil(V::LANES).min(V::TILE_VECTORS);
            }
            let size = (n - left).min(vectors * V::LANES);
            let copied = pack_b && size == width && panel.column == 1;
            if pack_b && !copied {
                // SAFETY: the panel lies in B and the buffer holds `deepest` rows of `width`.
                panel = unsafe { pack::panel::<S, T>(panel, depth, size, b_buffer) };
            }
            // Loop 1: strips of A.
            for strip in 0..strips {
                let (top, bottom) = (m * strip / strips, m * (strip + 1) / strips);
                let mut a = product.a.from(rows.start + top, first);
                if pack_a {
                    let place = a_buffer.wrapping_add(strip * strip_size);
                    // SAFETY: the strip lies in A and is at most `height` x `deepest`; from the second panel on it is there.
                    a = unsafe { pack::strip(a, bottom - top, depth, place, left == 0) };
                }
                let (i, j) = (rows.start + top, columns.start + left);
                let at = Tile { c: product.c.from(i, j), i, j, columns: size };
                let copy = if copied && strip == 0 { b_buffer } else { std::ptr::null_mut() };
                // SAFETY: strip and panel have `depth` steps, the tile lies in C, and the level is checked.
                unsafe { place::<S, T>((bottom - top, vectors), depth, a, panel, copy, at, &finish) };
                if copied {
                    panel = Matrix { start: b_buffer, row: width as isize, column: 1 };
                }
            }
            left += size;
        }
    }
}

/// A tile of C; one whose rows do not have neighbouring elements goes through a copy.
#[inline(always)]
unsafe fn place<S: Simd, T: Number>((rows, vectors): (usize, usize), k: usize, a: Matrix<T>, b: Matrix<T>, b_copy: *mut T, at: Tile<T>, finish: &Finish<T>) {
    // 12 rows of two registers of 16, or 6 of four.
    const SIZE: usize = 12 * 32;
    let Tile { c, i, j, columns } = at;
    let mut copy = [const { std::mem::MaybeUninit::<T>::uninit() }; SIZE];
    let plain = Finish { beta: T::zero(), epilogue: Epilogue::NONE };
    let row = vectors * T::Vector::<S>::LANES;
    let spread = c.column != 1;
    let target = if spread { MatrixMut { start: copy.as_mut_ptr().cast(), row: row as isize, column: 1 } } else { c };
    // SAFETY: the caller's promises; the copy is as large as the largest tile.
    unsafe { kernel::exact::<S, T>((rows, vectors), k, a, b, b_copy, Tile { c: target, ..at }, if spread { &plain } else { finish }) };
    if spread {
        for y in 0..rows {
            for x in 0..columns {
                // SAFETY: the kernel has written the copy's `columns` of every row; the element lies in C.
                unsafe { finish.element(c.at(y, x), i + y, j + x, copy[y * row + x].assume_init()) };
            }
        }
    }
}

/// The block by `matrixmultiply`, then a pass for bias and activation.
#[inline(never)]
unsafe fn portable<T: Number>(product: &Product<T>, rows: Range<usize>, columns: Range<usize>) {
    let Product { sizes: [_, _, k], a, b, c, finish, .. } = *product;
    let (m, n) = (rows.len(), columns.len());
    let c_block = c.from(rows.start, columns.start);
    // SAFETY: the block lies in the product.
    unsafe { T::portable([m, n, k], a.from(rows.start, 0), b.from(0, columns.start), finish.beta, c_block) };
    if finish.epilogue.is_none() {
        return;
    }
    let after = Finish { beta: T::zero(), epilogue: finish.epilogue };
    for i in rows {
        for j in columns.clone() {
            let at = c.at(i, j);
            // SAFETY: the element lies in C and is written.
            unsafe { after.element(at, i, j, at.read()) };
        }
    }
}
