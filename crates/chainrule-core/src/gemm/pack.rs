//! Copies of parts of A and B in the order in which the micro-kernel reads them.

use super::{Matrix, Number};
use crate::float::Float;
use crate::simd::{Kernel, Simd, Vector, transposed};
use std::cell::Cell;

/// A cache line, which aligns the buffer.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

thread_local! {
    /// Kept from call to call, so that products ask nothing of the system once they have run.
    static BUFFERS: [Cell<Vec<Line>>; 3] = const { [const { Cell::new(Vec::new()) }; 3] };
}

/// What a buffer holds.
#[derive(Clone, Copy)]
pub(crate) enum Use {
    /// Copies of A and B.
    Panels,
    /// Sums over parts of k, while those are computed with panels.
    Sums,
    /// Tiles of a kernel that multiplies them itself.
    Tiles,
}

/// This thread's buffer for a use, aligned to cache lines. It is taken out meanwhile: a product inside a product gets one of its own.
pub(crate) struct Buffer(Vec<Line>, Use);

impl Buffer {
    /// A buffer of at least `count` elements, which hold anything.
    pub(crate) fn take<T: Float>(count: usize, for_what: Use) -> Buffer {
        let mut lines = BUFFERS.with(|buffers| buffers[for_what as usize].take());
        let needed = (count * size_of::<T>()).div_ceil(size_of::<Line>());
        if lines.len() < needed {
            grow(&mut lines, needed);
        }
        Buffer(lines, for_what)
    }
    pub(crate) fn start<T>(&mut self) -> *mut T {
        self.0.as_mut_ptr().cast()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        BUFFERS.with(|buffers| buffers[self.1 as usize].set(std::mem::take(&mut self.0)));
    }
}

#[cold]
fn grow(lines: &mut Vec<Line>, needed: usize) {
    // The old contents are not worth a copy.
    lines.clear();
    lines.resize(needed, Line([0; 64]));
}

/// The copy of a strip of A, `rows` x `k`: `k` columns one after the other. It is made if `fresh`, else it lies there from before.
///
/// # Safety
/// A must be readable and `to` hold `rows` times `k` elements.
#[inline(always)]
pub(super) unsafe fn strip<T: Number>(a: Matrix<T>, rows: usize, k: usize, to: *mut T, fresh: bool) -> Matrix<T> {
    if fresh {
        for p in 0..k {
            for i in 0..rows {
                // SAFETY: the caller's promise.
                unsafe { *to.add(p * rows + i) = *a.at(i, p) };
            }
        }
    }
    Matrix { start: to, row: 1, column: rows as isize }
}

/// The copy of a panel of B, `k` x `columns`, at most `TILE_VECTORS` registers wide: `k` rows one after the other, filled up with zeros.
///
/// # Safety
/// The level of S must be checked; B must be readable and `to` hold `k` rows of `TILE_VECTORS` registers.
#[inline(always)]
pub(super) unsafe fn panel<S: Simd, T: Number>(b: Matrix<T>, k: usize, columns: usize, to: *mut T) -> Matrix<T> {
    // SAFETY: the caller's promise.
    unsafe { S::apart(Panel { b, k, columns, to }) };
    let width = T::Vector::<S>::TILE_VECTORS * T::Vector::<S>::LANES;
    Matrix { start: to, row: width as isize, column: 1 }
}

/// The work of [`panel`], whose promises hold for whoever makes one.
struct Panel<T> {
    b: Matrix<T>,
    k: usize,
    columns: usize,
    to: *mut T,
}

impl<T: Number> Kernel for Panel<T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let Panel { b, k, columns, to } = self;
        let lanes = T::Vector::<S>::LANES;
        let width = T::Vector::<S>::TILE_VECTORS * lanes;
        // SAFETY: each column of registers lies in `to`.
        unsafe {
            if b.column == 1 {
                return straight::<T, T::Vector<S>>(b, k, columns, to);
            }
            for left in (0..columns).step_by(lanes) {
                let (b, count, to) = (b.from(0, left), (columns - left).min(lanes), to.add(left));
                match lanes {
                    _ if b.row != 1 => scattered::<T, T::Vector<S>>(b, k, count, to, width),
                    16 => turned::<T, T::Vector<S>, 16>(b, k, count, to, width),
                    8 => turned::<T, T::Vector<S>, 8>(b, k, count, to, width),
                    4 => turned::<T, T::Vector<S>, 4>(b, k, count, to, width),
                    _ => turned::<T, T::Vector<S>, 2>(b, k, count, to, width),
                }
            }
        }
    }
}

/// A panel of a B whose rows have neighbouring elements.
#[inline(always)]
unsafe fn straight<T: Number, V: Vector<Element = T>>(b: Matrix<T>, k: usize, columns: usize, to: *mut T) {
    let width = V::TILE_VECTORS * V::LANES;
    for p in 0..k {
        let (from, to) = (b.at(p, 0), to.wrapping_add(p * width));
        // SAFETY: `panel` vouches for row p of both sides.
        unsafe {
            if columns == width {
                for v in 0..V::TILE_VECTORS {
                    V::load(from.add(v * V::LANES)).store(to.add(v * V::LANES));
                }
            } else {
                for left in (0..columns).step_by(V::LANES) {
                    V::load_first(from.add(left), (columns - left).min(V::LANES)).store(to.add(left));
                }
            }
        }
    }
}

/// One register a row of B, whose columns have neighbouring elements: squares are transposed in registers.
#[inline(always)]
pub(super) unsafe fn turned<T: Number, V: Vector<Element = T>, const LANES: usize>(b: Matrix<T>, k: usize, count: usize, to: *mut T, width: usize) {
    let whole = if count == LANES { k - k % LANES } else { 0 };
    // SAFETY: `panel` vouches for `k` rows of both sides and `count` columns of B.
    unsafe {
        for p in (0..whole).step_by(LANES) {
            let mut lines = [V::splat(T::zero()); LANES];
            for (j, line) in lines.iter_mut().enumerate() {
                *line = V::load(b.at(p, j));
            }
            for (i, row) in transposed(lines).into_iter().enumerate() {
                row.store(to.add((p + i) * width));
            }
        }
        for p in (whole..k).step_by(LANES) {
            let depth = (k - p).min(LANES);
            let mut lines = [V::splat(T::zero()); LANES];
            for (j, line) in lines.iter_mut().enumerate().take(count) {
                *line = V::load_first(b.at(p, j), depth);
            }
            for (i, row) in transposed(lines).into_iter().enumerate().take(depth) {
                row.store(to.add((p + i) * width));
            }
        }
    }
}

/// One register a row of B of any strides.
#[inline(always)]
pub(super) unsafe fn scattered<T: Number, V: Vector<Element = T>>(b: Matrix<T>, k: usize, count: usize, to: *mut T, width: usize) {
    for p in 0..k {
        for j in 0..V::LANES {
            // SAFETY: `panel` vouches for row p of both sides and `count` columns of B.
            unsafe { *to.add(p * width + j) = if j < count { *b.at(p, j) } else { T::zero() } };
        }
    }
}
