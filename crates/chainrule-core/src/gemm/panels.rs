//! The right-hand side of many products, copied once in the order in which the micro-kernel reads it.

use super::Matrix;
use crate::array::Array;
use crate::dtype::Element;
use crate::error::Result;
use crate::parallel::{self, Target};
use crate::shape::Shape;
use std::ops::Range;

/// B `[k, n]` as panels of [`WIDTH`](Panels::WIDTH) columns: what a recurrent weight is to the steps of a sequence.
pub(crate) struct Panels<T> {
    first: Matrix<T>,
    /// Elements from one panel to the next.
    step: isize,
    columns: usize,
    /// Holds the elements, if they were copied.
    _copy: Option<Array>,
}

// SAFETY: it carries addresses of numbers that nobody writes; whoever multiplies vouches for that.
unsafe impl<T: Sync> Sync for Panels<T> {}

impl<T: Element> Panels<T> {
    /// Columns of a panel: one or two tiles of any level.
    pub(crate) const WIDTH: usize = 32;

    /// The panels of B where it lies; for few products.
    pub(crate) fn in_place(b: Matrix<T>, n: usize) -> Panels<T> {
        Panels { first: b, step: Self::WIDTH as isize * b.column, columns: n, _copy: None }
    }

    /// Copies B, each panel row by row.
    ///
    /// # Errors
    /// No memory.
    ///
    /// # Safety
    /// Every element of B `[k, n]` must be readable.
    pub(crate) unsafe fn copy(b: Matrix<T>, k: usize, n: usize) -> Result<Panels<T>> {
        let (count, step) = (n.div_ceil(Self::WIDTH), k * Self::WIDTH);
        let mut copy = Array::stale(Shape::new(&[count, step])?, T::DTYPE)?;
        let target = Target::new(copy.slice_mut::<T>());
        let source = Panels::in_place(b, n);
        parallel::ranges(count, (parallel::GRAIN / step.max(1)).max(1), |start, end| {
            for panel in start..end {
                let (from, width) = (source.panel(panel), source.columns(panel).len());
                // SAFETY: panels of the copy do not overlap, and the caller vouches for B.
                unsafe {
                    for (p, row) in target.slice(panel * step, (panel + 1) * step).chunks_exact_mut(Self::WIDTH).enumerate() {
                        row.iter_mut().take(width).enumerate().for_each(|(j, x)| *x = *from.at(p, j));
                    }
                }
            }
        });
        Ok(Panels { first: Matrix { start: target.pointer(), row: Self::WIDTH as isize, column: 1 }, step: step as isize, columns: n, _copy: Some(copy) })
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.columns.div_ceil(Self::WIDTH)
    }
    /// Which columns of B a panel holds.
    pub(crate) fn columns(&self, panel: usize) -> Range<usize> {
        panel * Self::WIDTH..((panel + 1) * Self::WIDTH).min(self.columns)
    }
    /// A panel, `[k, columns]`.
    pub(crate) fn panel(&self, panel: usize) -> Matrix<T> {
        Matrix { start: self.first.start.wrapping_offset(panel as isize * self.step), ..self.first }
    }
}
