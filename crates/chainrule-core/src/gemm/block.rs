//! A block of C, computed by one thread: the loops around the micro-kernel.

use super::kernel::{self, Tile};
use super::{Epilogue, Finish, Matrix, MatrixMut, Number, Product, pack};
use crate::simd::{Level, Simd, Vector};
use std::ops::Range;

/// The most steps of k between two visits to a tile of C: a strip of A of this depth stays in the L1 cache.
const DEPTH: usize = 384;
/// From so many strips of A on, packing B pays.
const STRIPS: usize = 3;
/// From so many panels of B on, packing a strip of A pays whose elements along k are apart.
const PANELS: usize = 2;
/// Rows this many bytes apart fall on the same lines of the L1 cache.
const PAGE: isize = 4096;

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
    unsafe { loops::<T, T::Vector<S>>(product, rows, columns) }
}

#[inline(always)]
unsafe fn loops<T: Number, V: Vector<Element = T>>(product: &Product<T>, rows: Range<usize>, columns: Range<usize>) {
    let (m, n, k) = (rows.len(), columns.len(), product.sizes[2]);
    let width = V::TILE_VECTORS * V::LANES;
    let (strips, depths) = (m.div_ceil(V::TILE_ROWS), k.div_ceil(DEPTH).max(1));
    let deepest = k.div_ceil(depths);
    let height = m.div_ceil(strips);

    let pack_b = product.b.column != 1 || strips >= STRIPS;
    let pack_a = match (product.a.column, product.a.row) {
        (1, row) => height > 8 && row * size_of::<T>() as isize % PAGE == 0,
        _ => n > (PANELS - 1) * width,
    };
    // A ragged last panel is always packed, which spares the kernel masked loads.
    let packed_from = if pack_b { 0 } else { n - n % width };
    let b_size = (n - packed_from).next_multiple_of(width) * deepest;
    let a_size = if pack_a { pack::strip_size::<V>(height, deepest) } else { 0 };

    let mut buffer = pack::Buffer::take::<T>(a_size + b_size);
    let b_buffer: *mut T = buffer.start();
    let a_buffer = b_buffer.wrapping_add(b_size);
    // Loop 4: blocks of k.
    for depth in 0..depths {
        let (first, end) = (k * depth / depths, k * (depth + 1) / depths);
        let depth = end - first;
        let b = product.b.from(first, columns.start);
        let finish =
            Finish { beta: if first == 0 { product.finish.beta } else { T::one() }, epilogue: if end == k { product.finish.epilogue } else { Epilogue::NONE } };
        // SAFETY: the buffer holds panels from `packed_from` on; the part of B lies in B.
        unsafe { pack::panels::<T, V>(b.from(0, packed_from), depth, n - packed_from, b_buffer) };

        // Loop 2: strips of A.
        for strip in 0..strips {
            let (top, bottom) = (m * strip / strips, m * (strip + 1) / strips);
            let mut a = product.a.from(rows.start + top, first);
            if pack_a {
                // SAFETY: the strip lies in A and is at most `height` x `deepest`.
                a = unsafe { pack::strip::<T, V>(a, bottom - top, depth, a_buffer) };
            }
            // Loop 1: panels of B.
            let mut left = 0;
            while left < n {
                let in_place = if left < packed_from { kernel::widest::<V>(bottom - top) } else { 0 };
                let vectors = if left + in_place * V::LANES <= packed_from { in_place } else { V::TILE_VECTORS };
                let vectors = vectors.max(V::TILE_VECTORS).min((n - left).div_ceil(V::LANES));
                let size = (n - left).min(vectors * V::LANES);
                let panel = match left.checked_sub(packed_from) {
                    Some(packed) => Matrix { start: b_buffer.wrapping_add(packed * depth).cast_const(), row: width as isize, column: 1 },
                    None => b.from(0, left),
                };
                let (i, j) = (rows.start + top, columns.start + left);
                let at = Tile { c: product.c.from(i, j), i, j, columns: size };
                // SAFETY: strip and panel have `depth` steps, the tile lies in C, and the level is checked.
                unsafe { place::<T, V>((bottom - top, vectors), depth, a, panel, at, &finish) };
                left += size;
            }
        }
    }
}

/// A tile of C; one whose rows do not have neighbouring elements goes through a copy.
#[inline(always)]
unsafe fn place<T: Number, V: Vector<Element = T>>((rows, vectors): (usize, usize), k: usize, a: Matrix<T>, b: Matrix<T>, at: Tile<T>, finish: &Finish<T>) {
    const SIZE: usize = 14 * 32;
    let Tile { c, i, j, columns } = at;
    let mut copy = [const { std::mem::MaybeUninit::<T>::uninit() }; SIZE];
    let plain = Finish { beta: T::zero(), epilogue: Epilogue::NONE };
    let row = vectors * V::LANES;
    let spread = c.column != 1;
    let target = if spread { MatrixMut { start: copy.as_mut_ptr().cast(), row: row as isize, column: 1 } } else { c };
    // SAFETY: the caller's promises; the copy is as large as the largest tile.
    unsafe { kernel::exact::<T, V>((rows, vectors), k, a, b, Tile { c: target, ..at }, if spread { &plain } else { finish }) };
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
    let Product { sizes: [_, _, k], a, b, c, finish } = *product;
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
