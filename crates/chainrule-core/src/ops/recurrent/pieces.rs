//! Pieces of rows: what the kernels of a step load, compute and store at once.

use crate::float::Float;
use crate::simd::{Real, Simd};
use std::ops::Range;

/// The width of a piece: a register of the widest level.
pub(super) const PIECE: usize = 16;

/// The pieces of a block of units: where each starts and how many numbers it has.
pub(super) fn pieces(units: Range<usize>) -> impl Iterator<Item = (usize, usize)> {
    let end = units.end;
    units.step_by(PIECE).map(move |start| (start, PIECE.min(end - start)))
}

/// `width <= PIECE` numbers from `at` on, then zeros.
///
/// # Safety
/// The numbers must be readable, and nobody writes them meanwhile.
#[inline(always)]
pub(super) unsafe fn load<S: Simd, T: Float>(at: *const T, width: usize) -> [T::Real<S>; PIECE] {
    let mut piece = [T::zero(); PIECE];
    // SAFETY: the caller's promise.
    unsafe {
        if width == PIECE {
            piece = at.cast::<[T; PIECE]>().read_unaligned();
        } else {
            std::ptr::copy_nonoverlapping(at, piece.as_mut_ptr(), width);
        }
    }
    piece.map(T::Real::<S>::wrap)
}

/// Writes the first `width` numbers of a piece.
///
/// # Safety
/// Their places must be writable, and nobody else uses them meanwhile.
#[inline(always)]
pub(super) unsafe fn store<S: Simd, T: Float>(piece: [T::Real<S>; PIECE], at: *mut T, width: usize) {
    let piece = piece.map(Real::number);
    // SAFETY: the caller's promise.
    unsafe {
        if width == PIECE {
            at.cast::<[T; PIECE]>().write_unaligned(piece);
        } else {
            std::ptr::copy_nonoverlapping(piece.as_ptr(), at, width);
        }
    }
}

/// The state before a step, row by row: its first `count` rows are an earlier step's, the others initial ones.
#[derive(Clone, Copy)]
pub(super) struct Before<T> {
    pub earlier: *const T,
    pub count: usize,
    pub initial: *const T,
    pub width: usize,
}

impl<T> Before<T> {
    #[inline(always)]
    pub(super) fn row(self, row: usize) -> *const T {
        let from = if row < self.count { self.earlier } else { self.initial };
        from.wrapping_add(row * self.width)
    }
}
