//! A task's own memory, and copies of parts of the operands there, in the order in which products read them.

use crate::float::Float;
use crate::gemm::{Buffer, Matrix, MatrixMut, Use};
use crate::simd::{Kernel, Simd, Vector, transposed};

/// Rows in scratch memory have a multiple of so many numbers: whole registers at any level.
pub(super) const REGISTERS: usize = 16;

/// `columns` rounded up to whole registers.
pub(super) fn padded(columns: usize) -> usize {
    columns.next_multiple_of(REGISTERS)
}

/// Memory that one thread keeps from task to task, handed out matrix by matrix.
pub(super) struct Scratch<T> {
    /// Holds the elements.
    _buffer: Buffer,
    next: *mut T,
    left: usize,
}

impl<T: Float> Scratch<T> {
    /// Room for `count` elements, in matrices of [`padded`] rows.
    pub fn take(count: usize) -> Scratch<T> {
        let mut buffer = Buffer::take::<T>(count, Use::Tiles);
        Scratch { next: buffer.start(), left: count, _buffer: buffer }
    }

    /// A matrix that holds anything.
    pub fn matrix(&mut self, rows: usize, columns: usize) -> MatrixMut<T> {
        let (start, row) = (self.next, padded(columns));
        assert!(rows * row <= self.left, "a task has taken room for all its matrices");
        self.left -= rows * row;
        self.next = start.wrapping_add(rows * row);
        MatrixMut { start, row: row as isize, column: 1 }
    }
}

/// For reading.
pub(super) fn read<T>(x: MatrixMut<T>) -> Matrix<T> {
    Matrix { start: x.start, row: x.row, column: x.column }
}

/// Whether products can read this matrix as B where it lies: rows of whole registers, one right after the other.
pub(super) fn is_ready<T>(x: Matrix<T>, columns: usize) -> bool {
    columns.is_multiple_of(REGISTERS) && x.row == columns as isize
}

/// Copies `x`, `rows` x `columns` with neighbouring elements in rows, to `to`, filled up with zeros.
///
/// # Safety
/// `x` must be readable, and `to` writable, [`padded`] columns wide, and nobody else's.
pub(super) unsafe fn copy<T: Float>(x: Matrix<T>, [rows, columns]: [usize; 2], to: MatrixMut<T>) {
    T::run(Copy { x, rows, columns, to });
}

struct Copy<T> {
    x: Matrix<T>,
    rows: usize,
    columns: usize,
    to: MatrixMut<T>,
}

impl<T: Float> Kernel for Copy<T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let lanes = T::Vector::<S>::LANES;
        for i in 0..self.rows {
            let (from, to) = (self.x.from(i, 0).start, self.to.from(i, 0).start);
            for left in (0..padded(self.columns)).step_by(lanes) {
                let count = self.columns.saturating_sub(left).min(lanes);
                // SAFETY: the promises of `copy`, which alone makes a `Copy`; the level is checked.
                unsafe { T::Vector::<S>::load_first(from.wrapping_add(left), count).store(to.add(left)) };
            }
        }
    }
}

/// Writes `x`, `rows` x `columns`, times `factors`, one a row or one for all, to `to`, or adds it there. Rows whose factor is 0 become 0, whatever they were.
///
/// # Safety
/// `x` must be readable, [`padded`] columns wide, and `to` writable, readable if it is added to, and nobody else's; both have neighbouring elements in rows.
pub(super) unsafe fn put<T: Float>(x: MatrixMut<T>, [rows, columns]: [usize; 2], factors: &[T], add: bool, to: MatrixMut<T>) {
    T::run(Put { x, rows, columns, factors, add, to });
}

struct Put<'a, T> {
    x: MatrixMut<T>,
    rows: usize,
    columns: usize,
    factors: &'a [T],
    add: bool,
    to: MatrixMut<T>,
}

impl<T: Float> Kernel for Put<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let Put { x, rows, columns, factors, add, to } = self;
        let lanes = T::Vector::<S>::LANES;
        for i in 0..rows {
            let (from, to) = (x.from(i, 0).start, to.from(i, 0).start);
            let factor = if factors.len() == 1 { factors[0] } else { factors[i] };
            for left in (0..columns).step_by(lanes) {
                let count = (columns - left).min(lanes);
                // SAFETY: the promises of `put`, which alone makes a `Put`; the level is checked.
                unsafe {
                    let (from, to) = (from.add(left), to.add(left));
                    let mut x = T::Vector::<S>::splat(T::zero());
                    if factor != T::zero() {
                        x = T::Vector::<S>::load(from).mul(T::Vector::<S>::splat(factor));
                    }
                    if add {
                        x = x.add(T::Vector::<S>::load_first(to, count));
                    }
                    if count == lanes { x.store(to) } else { x.store_first(to, count) }
                }
            }
        }
    }
}

/// Copies the transpose of `x`, `rows` x `columns` with neighbouring elements in rows, times `factor` to `to`; rows of the copy are filled up to whole registers with zeros.
///
/// # Safety
/// `x` must be readable, and `to` writable for `columns` rows of [`padded`] `rows`, and nobody else's.
pub(super) unsafe fn turn<T: Float>(x: Matrix<T>, [rows, columns]: [usize; 2], factor: T, to: MatrixMut<T>) {
    T::run(Turn { x, rows, columns, factor, to });
}

struct Turn<T> {
    x: Matrix<T>,
    rows: usize,
    columns: usize,
    factor: T,
    to: MatrixMut<T>,
}

impl<T: Float> Kernel for Turn<T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        // SAFETY: the promises of `turn`, which alone makes a `Turn`; the level is checked.
        unsafe {
            match T::Vector::<S>::LANES {
                16 => self.squares::<T::Vector<S>, 16>(),
                8 => self.squares::<T::Vector<S>, 8>(),
                4 => self.squares::<T::Vector<S>, 4>(),
                _ => self.squares::<T::Vector<S>, 2>(),
            }
        }
    }
}

impl<T: Float> Turn<T> {
    /// # Safety
    /// As for [`turn`]; the level of V must be checked, and LANES be its number of lanes.
    #[inline(always)]
    unsafe fn squares<V: Vector<Element = T>, const LANES: usize>(self) {
        let Turn { x, rows, columns, factor, to } = self;
        // SAFETY: the caller's promises; a load of no lanes reads nothing.
        unsafe {
            let factor = V::splat(factor);
            for left in (0..rows).step_by(LANES) {
                for top in (0..columns).step_by(LANES) {
                    let (height, width) = ((rows - left).min(LANES), (columns - top).min(LANES));
                    let mut square = [V::splat(T::zero()); LANES];
                    for (i, line) in square.iter_mut().enumerate().take(height) {
                        let from = x.from(left + i, top).start;
                        *line = if width == LANES { V::load(from) } else { V::load_first(from, width) }.mul(factor);
                    }
                    for (i, row) in transposed(square).into_iter().enumerate().take(width) {
                        row.store(to.from(top + i, left).start);
                    }
                }
            }
        }
    }
}
