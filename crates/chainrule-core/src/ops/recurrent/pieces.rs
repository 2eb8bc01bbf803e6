//! Pieces of rows: what the kernels of a step load, compute and store at once.

use crate::float::Float;
use crate::simd::{Real, Simd, Vector};
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
/// Runs inside [`crate::simd::run`]; the numbers must be readable, and nobody writes them meanwhile.
#[inline(always)]
pub(super) unsafe fn load<S: Simd, T: Float>(at: *const T, width: usize) -> [T::Real<S>; PIECE] {
    let lanes = T::Vector::<S>::LANES;
    let mut piece = [T::zero(); PIECE];
    for start in (0..PIECE).step_by(lanes) {
        let (from, to) = (at.wrapping_add(start), piece[start..].as_mut_ptr());
        let count = width.saturating_sub(start).min(lanes);
        // SAFETY: the caller's promise; a register of any level divides a piece. A copy of `width` numbers would be a call.
        unsafe { if count == lanes { T::Vector::<S>::load(from) } else { T::Vector::<S>::load_first(from, count) }.store(to) };
    }
    piece.map(T::Real::<S>::wrap)
}

/// Writes the first `width` numbers of a piece.
///
/// # Safety
/// Runs inside [`crate::simd::run`]; the places must be writable, and nobody else uses them meanwhile.
#[inline(always)]
pub(super) unsafe fn store<S: Simd, T: Float>(piece: [T::Real<S>; PIECE], at: *mut T, width: usize) {
    let lanes = T::Vector::<S>::LANES;
    let piece = piece.map(Real::number);
    for start in (0..PIECE).step_by(lanes) {
        let to = at.wrapping_add(start);
        let count = width.saturating_sub(start).min(lanes);
        // SAFETY: as in `load`.
        unsafe {
            let register = T::Vector::<S>::load(piece[start..].as_ptr());
            if count == lanes { register.store(to) } else { register.store_first(to, count) }
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
