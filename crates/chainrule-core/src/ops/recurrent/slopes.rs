//! The slopes of a formula over pieces of rows, on the way back.

use super::cells::{Formula, Memory, Past};
use super::pieces::{Before, PIECE, load, pieces, store};
use crate::float::Float;
use crate::gemm::Panels;
use crate::simd::{Kernel, Real, Simd, Vector};
use std::marker::PhantomData;
use std::ops::Range;

/// The slopes of some units of some rows of a step. Whoever makes one vouches for the addresses, and that what is written belongs to it alone.
pub(super) struct Apply<F, T> {
    pub formula: PhantomData<F>,
    pub places: Range<usize>,
    pub units: Range<usize>,
    pub hidden: usize,
    pub gates: *const T,
    pub before: Before<T>,
    pub after: *const T,
    pub dy: Option<*const T>,
    pub by_hidden: *mut T,
    pub by_memory: *mut T,
    pub slopes: *mut T,
    pub sums: *mut T,
    /// How many rows further the next step's values lie.
    pub ahead: isize,
}

impl<F: Formula, T: Float> Kernel for Apply<F, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        // A block has few pieces, whose sums stay in the nearest cache.
        const PIECES: usize = Panels::<f32>::WIDTH / PIECE;
        let zero = [T::Real::<S>::zero(); PIECE];
        let mut sums = [[zero; 4]; PIECES];
        for row in self.places.clone() {
            for ((unit, width), sums) in pieces(self.units.clone()).zip(&mut sums) {
                // SAFETY: the maker's promise; a whole piece is compiled for its width.
                unsafe { if width == PIECE { self.piece::<S>(row, unit, PIECE, sums) } else { self.piece::<S>(row, unit, width, sums) } }
            }
        }
        for ((unit, width), sums) in pieces(self.units.clone()).zip(sums) {
            for (k, sum) in sums.into_iter().enumerate().take(F::COLUMNS) {
                let to = self.sums.wrapping_add(k * self.hidden + unit);
                // SAFETY: the maker's promise.
                unsafe {
                    let before = load::<S, T>(to, width);
                    store::<S, T>(std::array::from_fn(|i| before[i] + sum[i]), to, width);
                }
            }
        }
    }
}

impl<F: Formula, T: Float> Apply<F, T> {
    /// The slopes of a row's piece, also added to `sums`.
    ///
    /// # Safety
    /// The maker's promise holds, and the level is checked.
    #[inline(always)]
    unsafe fn piece<S: Simd>(&self, row: usize, unit: usize, width: usize, sums: &mut [[T::Real<S>; PIECE]; 4]) {
        let zero = [T::Real::<S>::zero(); PIECE];
        let ask = |at: *const T, columns: usize| T::Vector::<S>::prefetch(at.wrapping_offset(self.ahead * (columns * self.hidden) as isize));
        let column = |k: usize| (row * F::COLUMNS + k) * self.hidden + unit;
        let place = row * self.hidden + unit;
        let (mut gates, mut before, mut after, mut by_memory) = ([zero; 4], zero, zero, zero);
        // SAFETY: the caller's promise; rows and units lie inside the arrays.
        unsafe {
            for (k, gate) in gates.iter_mut().enumerate().take(F::COLUMNS) {
                *gate = load::<S, T>(self.gates.add(column(k)), width);
                ask(self.gates.wrapping_add(column(k)), F::COLUMNS);
            }
            let mut by_hidden = load::<S, T>(self.by_hidden.add(place), width);
            if let Some(dy) = self.dy {
                let by_output = load::<S, T>(dy.add(place), width);
                ask(dy.wrapping_add(place), 1);
                for i in 0..PIECE {
                    by_hidden[i] = by_hidden[i] + by_output[i];
                }
            }
            if F::MEMORY != Memory::None {
                let from = self.before.row(row).wrapping_add(unit);
                before = load::<S, T>(from, width);
                ask(from, 1);
                after = load::<S, T>(self.after.add(place), width);
                by_memory = load::<S, T>(self.by_memory.add(place), width);
            }
            for i in 0..PIECE {
                let gate = std::array::from_fn(|k| gates[k][i]);
                let slopes = F::slopes(Past { gates: gate, before: before[i], after: after[i], by_hidden: by_hidden[i], by_memory: by_memory[i] });
                by_memory[i] = slopes.memory;
                for (k, slope) in slopes.gates.into_iter().enumerate().take(F::COLUMNS) {
                    gates[k][i] = slope;
                    sums[k][i] = sums[k][i] + slope;
                }
            }
            for (k, slope) in gates.into_iter().enumerate().take(F::COLUMNS) {
                store::<S, T>(slope, self.slopes.add(column(k)), width);
            }
            if F::MEMORY != Memory::None {
                store::<S, T>(by_memory, self.by_memory.add(place), width);
            }
        }
    }
}
