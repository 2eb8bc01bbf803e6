//! Copies of parts of A and B in the order in which the micro-kernel reads them.

use super::{Matrix, Number};
use crate::simd::Vector;
use std::cell::Cell;

/// A cache line, which aligns the buffer.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

thread_local! {
    /// Kept from call to call, so that products ask nothing of the system once they have run.
    static BUFFER: Cell<Vec<Line>> = const { Cell::new(Vec::new()) };
}

/// This thread's buffer, aligned to cache lines. It is taken out while in use: a product inside a product gets one of its own.
pub(super) struct Buffer(Vec<Line>);

impl Buffer {
    /// A buffer of at least `count` elements, which hold anything.
    pub(super) fn take<T: Number>(count: usize) -> Buffer {
        let mut lines = BUFFER.take();
        let needed = (count * size_of::<T>()).div_ceil(size_of::<Line>());
        if lines.len() < needed {
            grow(&mut lines, needed);
        }
        Buffer(lines)
    }
    pub(super) fn start<T: Number>(&mut self) -> *mut T {
        self.0.as_mut_ptr().cast()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        BUFFER.set(std::mem::take(&mut self.0));
    }
}

#[cold]
fn grow(lines: &mut Vec<Line>, needed: usize) {
    // The old contents are not worth a copy.
    lines.clear();
    lines.resize(needed, Line([0; 64]));
}

/// Copies `count` neighbouring elements.
///
/// # Safety
/// The level of V must be checked; both places must be valid for `count` elements.
#[inline(always)]
unsafe fn copy<T: Number, V: Vector<Element = T>>(from: *const T, to: *mut T, count: usize) {
    let mut i = 0;
    // SAFETY: both loops stay below `count`.
    unsafe {
        while i + V::LANES <= count {
            V::load(from.add(i)).store(to.add(i));
            i += V::LANES;
        }
        if i < count {
            V::load_first(from.add(i), count - i).store_first(to.add(i), count - i);
        }
    }
}

/// The elements that [`strip`] needs for `rows` x `k`.
pub(super) fn strip_size<V: Vector>(rows: usize, k: usize) -> usize {
    rows.next_multiple_of(V::LANES) * (k + 2 * V::LANES)
}

/// Copies a strip of A, `rows` x `k`, keeping its direction where one stride is 1; returns where it lies.
///
/// # Safety
/// The level of V must be checked; A must be readable and `to` hold [`strip_size`] elements.
#[inline(always)]
pub(super) unsafe fn strip<T: Number, V: Vector<Element = T>>(a: Matrix<T>, rows: usize, k: usize, to: *mut T) -> Matrix<T> {
    // SAFETY: `to` holds `rows` rows of k and some elements, or k columns of `rows` rounded up.
    unsafe {
        if a.column == 1 {
            // An odd number of registers from row to row: no two rows fall on the same cache lines.
            let row = (k.div_ceil(V::LANES) | 1) * V::LANES;
            for i in 0..rows {
                copy::<T, V>(a.at(i, 0), to.add(i * row), k);
            }
            return Matrix { start: to, row: row as isize, column: 1 };
        }
        let column = rows.next_multiple_of(V::LANES);
        for p in 0..k {
            let (from, to) = (a.at(0, p), to.add(p * column));
            if a.row == 1 {
                copy::<T, V>(from, to, rows);
            } else {
                for i in 0..rows {
                    *to.add(i) = *from.wrapping_offset(i as isize * a.row);
                }
            }
        }
        Matrix { start: to, row: 1, column: column as isize }
    }
}

/// Copies B, `k` x `columns`, into panels of `TILE_VECTORS` registers: a panel is `k` rows one after the other, the last panel is filled up with zeros.
///
/// # Safety
/// The level of V must be checked; B must be readable and `to` hold `k` times `columns` rounded up to panels.
#[inline(always)]
pub(super) unsafe fn panels<T: Number, V: Vector<Element = T>>(b: Matrix<T>, k: usize, columns: usize, to: *mut T) {
    let width = V::TILE_VECTORS * V::LANES;
    for left in (0..columns).step_by(V::LANES) {
        let (panel, count) = (left / width, (columns - left).min(V::LANES));
        // SAFETY: a column of registers of the panel lies in `to`.
        unsafe {
            let to = to.add(panel * width * k + left % width);
            let b = b.from(0, left);
            if b.column == 1 {
                straight::<T, V>(b, k, count, to, width);
            } else if b.row == 1 {
                match V::LANES {
                    16 => turned::<T, V, 16>(b, k, count, to, width),
                    8 => turned::<T, V, 8>(b, k, count, to, width),
                    4 => turned::<T, V, 4>(b, k, count, to, width),
                    _ => turned::<T, V, 2>(b, k, count, to, width),
                }
            } else {
                scattered::<T, V>(b, k, count, to, width);
            }
        }
    }
}

/// One register a row of B, whose rows have neighbouring elements.
#[inline(always)]
unsafe fn straight<T: Number, V: Vector<Element = T>>(b: Matrix<T>, k: usize, count: usize, to: *mut T, width: usize) {
    for p in 0..k {
        let from = b.at(p, 0);
        // SAFETY: `panels` vouches for row p of both sides.
        unsafe {
            let row = if count == V::LANES { V::load(from) } else { V::load_first(from, count) };
            row.store(to.add(p * width));
        }
    }
}

/// One register a row of B, whose columns have neighbouring elements: squares are transposed in registers.
#[inline(always)]
unsafe fn turned<T: Number, V: Vector<Element = T>, const LANES: usize>(b: Matrix<T>, k: usize, count: usize, to: *mut T, width: usize) {
    for p in (0..k).step_by(LANES) {
        let depth = (k - p).min(LANES);
        // SAFETY: `panels` vouches for rows p to p + depth of both sides and `count` columns of B.
        unsafe {
            let mut square = [V::splat(T::zero()); LANES];
            for (j, line) in square.iter_mut().enumerate() {
                if j < count {
                    *line = if depth == LANES { V::load(b.at(p, j)) } else { V::load_first(b.at(p, j), depth) };
                }
            }
            for (i, row) in transpose(square).into_iter().enumerate() {
                if i < depth {
                    row.store(to.add((p + i) * width));
                }
            }
        }
    }
}

/// One register a row of B of any strides.
#[inline(always)]
unsafe fn scattered<T: Number, V: Vector<Element = T>>(b: Matrix<T>, k: usize, count: usize, to: *mut T, width: usize) {
    for p in 0..k {
        for j in 0..V::LANES {
            // SAFETY: `panels` vouches for row p of both sides and `count` columns of B.
            unsafe { *to.add(p * width + j) = if j < count { *b.at(p, j) } else { T::zero() } };
        }
    }
}

/// The transpose of a square: after log₂ N rounds of zipping the registers of one half with those of the other, register i holds lane i of all.
///
/// # Safety
/// The level of V must be checked, and N must be its number of lanes.
#[inline(always)]
unsafe fn transpose<V: Vector, const N: usize>(mut square: [V; N]) -> [V; N] {
    let mut done = 1;
    while done < N {
        let before = square;
        for i in 0..N / 2 {
            // SAFETY: the caller's promise.
            let (low, high) = unsafe { before[i].zip(before[i + N / 2]) };
            (square[2 * i], square[2 * i + 1]) = (low, high);
        }
        done *= 2;
    }
    square
}
