//! The right-hand side of many products, copied once in the order in which kernels read it.

use super::{Matrix, Number, pack};
use crate::array::Array;
use crate::error::Result;
use crate::parallel::{self, Target};
use crate::shape::Shape;
use crate::simd::{Kernel, Simd, Vector};
use std::ops::Range;

/// B `[k, groups · n]` as panels of [`WIDTH`](Panels::WIDTH) columns, which start anew with each group: what a recurrent weight is to the steps of a sequence.
pub(crate) struct Panels<T> {
    first: Matrix<T>,
    /// Elements from one panel to the next, and from one group's first to the next one's.
    step: isize,
    group: isize,
    columns: usize,
    /// Holds the elements, if they were copied.
    copy: Option<Array>,
}

// SAFETY: it carries addresses of numbers that nobody writes; whoever multiplies vouches for that.
unsafe impl<T: Sync> Sync for Panels<T> {}

impl<T: Number> Panels<T> {
    /// Columns of a panel: one or more tiles of any level.
    pub(crate) const WIDTH: usize = 32;

    /// The panels of B where it lies, with groups of n columns; for few products.
    pub(crate) fn in_place(b: Matrix<T>, n: usize) -> Panels<T> {
        Panels { first: b, step: Self::WIDTH as isize * b.column, group: n as isize * b.column, columns: n, copy: None }
    }

    /// Copies B, each panel row by row; columns behind a group's last are zero.
    ///
    /// # Errors
    /// No memory.
    ///
    /// # Safety
    /// Every element of B `[k, groups · n]` must be readable.
    pub(crate) unsafe fn copy(b: Matrix<T>, k: usize, groups: usize, n: usize) -> Result<Panels<T>> {
        let (count, step) = (n.div_ceil(Self::WIDTH), k * Self::WIDTH);
        let mut copy = Array::stale(Shape::new(&[groups * count, step])?, T::DTYPE)?;
        let target = Target::new(copy.slice_mut::<T>());
        let source = Panels::in_place(b, n);
        parallel::ranges(groups * count, (parallel::GRAIN / step.max(1)).max(1), |start, end| {
            for index in start..end {
                let (group, panel) = (index / count, index % count);
                // SAFETY: panels of the copy do not overlap.
                let to = unsafe { target.slice(index * step, (index + 1) * step) };
                T::run(Copy { b: source.panel(group, panel), k, columns: source.columns(panel).len(), to });
            }
        });
        let first = Matrix { start: target.pointer(), row: Self::WIDTH as isize, column: 1 };
        Ok(Panels { first, step: step as isize, group: (count * step) as isize, columns: n, copy: Some(copy) })
    }

    /// Whether panels are copies: dense, and all of the same width.
    pub(crate) fn is_copied(&self) -> bool {
        self.copy.is_some()
    }
    /// How many a group has.
    pub(crate) fn count(&self) -> usize {
        self.columns.div_ceil(Self::WIDTH)
    }
    /// Which columns of its group a panel holds.
    pub(crate) fn columns(&self, panel: usize) -> Range<usize> {
        panel * Self::WIDTH..((panel + 1) * Self::WIDTH).min(self.columns)
    }
    /// A panel of a group, `[k, columns]`.
    #[inline]
    pub(crate) fn panel(&self, group: usize, panel: usize) -> Matrix<T> {
        Matrix { start: self.first.start.wrapping_offset(group as isize * self.group + panel as isize * self.step), ..self.first }
    }
}

/// The copy of one panel. Whoever makes one vouches that b is readable.
struct Copy<'a, T> {
    b: Matrix<T>,
    k: usize,
    columns: usize,
    to: &'a mut [T],
}

impl<T: Number> Kernel for Copy<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let Copy { b, k, columns, to } = self;
        let (lanes, width) = (T::Vector::<S>::LANES, Panels::<T>::WIDTH);
        if columns < width {
            to.fill(T::zero());
        }
        if b.column == 1 {
            // Row by row, because rows may lie pages apart.
            for p in 0..k {
                for left in (0..columns).step_by(lanes) {
                    // SAFETY: as below.
                    unsafe { T::Vector::<S>::load_first(b.from(p, left).start, (columns - left).min(lanes)).store(to[p * width + left..].as_mut_ptr()) };
                }
            }
            return;
        }
        for left in (0..columns).step_by(lanes) {
            let (b, count, to) = (b.from(0, left), (columns - left).min(lanes), to[left..].as_mut_ptr());
            // SAFETY: the level is checked, `to` has k rows of `width`, which whole registers divide, and the maker vouches for b.
            unsafe {
                match lanes {
                    _ if b.row != 1 => pack::scattered::<T, T::Vector<S>>(b, k, count, to, width),
                    16 => pack::turned::<T, T::Vector<S>, 16>(b, k, count, to, width),
                    8 => pack::turned::<T, T::Vector<S>, 8>(b, k, count, to, width),
                    4 => pack::turned::<T, T::Vector<S>, 4>(b, k, count, to, width),
                    _ => pack::turned::<T, T::Vector<S>, 2>(b, k, count, to, width),
                }
            }
        }
    }
}
