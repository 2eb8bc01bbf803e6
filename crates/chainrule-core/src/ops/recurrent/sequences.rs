//! Sequences of different lengths as one packed block of rows, in which a step's rows are neighbours and no row is padding (PyTorch's `PackedSequence`).

use crate::array::Array;
use crate::error::{Error, Result};
use crate::float::with_float;
use crate::shape::Shape;
use std::ops::Range;

/// Which sequences take part in which step. Packed rows are ordered by step, and inside a step by length, the longest sequence first: so the rows of a later step are always the first of an earlier one's.
#[derive(Clone, Debug)]
pub(super) struct Sequences {
    /// The sequence that stands at each place, and its length.
    order: Vec<usize>,
    lengths: Vec<usize>,
    /// Where each step's rows start; the last number is that of all rows.
    starts: Vec<usize>,
}

/// Where a step finds the state before it: for its first `count` rows in the packed rows from `start` on, for the others in the initial state.
#[derive(Clone, Copy)]
pub(super) struct Previous {
    pub start: usize,
    pub count: usize,
}

impl Sequences {
    /// `batch` sequences of `steps` steps, or of these lengths.
    pub(super) fn new(op: &'static str, batch: usize, steps: usize, lengths: Option<&[usize]>) -> Result<Sequences> {
        let full = vec![steps; batch];
        let given = lengths.unwrap_or(&full);
        if given.len() != batch {
            return Err(Error::shape(op, format!("got {} lengths, expected one for each of {batch} sequences", given.len())));
        }
        if let Some(length) = given.iter().find(|length| **length > steps) {
            return Err(Error::value(op, format!("a length is {length}, but the input has {steps} steps")));
        }
        let mut order: Vec<usize> = (0..batch).collect();
        order.sort_by_key(|&sequence| std::cmp::Reverse(given[sequence]));
        let lengths: Vec<usize> = order.iter().map(|&sequence| given[sequence]).collect();
        let mut starts = vec![0];
        for step in 0..steps {
            starts.push(starts[step] + lengths.partition_point(|&length| length > step));
        }
        Ok(Sequences { order, lengths, starts })
    }

    pub(super) fn batch(&self) -> usize {
        self.order.len()
    }
    pub(super) fn steps(&self) -> usize {
        self.starts.len() - 1
    }
    /// The number of packed rows.
    pub(super) fn rows(&self) -> usize {
        self.starts[self.steps()]
    }
    /// The packed rows of a step.
    pub(super) fn step(&self, step: usize) -> Range<usize> {
        self.starts[step]..self.starts[step + 1]
    }
    /// How many steps have rows.
    pub(super) fn longest(&self) -> usize {
        self.lengths.first().copied().unwrap_or(0)
    }
    /// The i-th step that has rows, in the direction's order.
    pub(super) fn directed(&self, index: usize, reverse: bool) -> usize {
        if reverse { self.longest() - 1 - index } else { index }
    }
    /// Where a step finds the state before it. Backward in time, sequences that end here start here, with the initial state.
    pub(super) fn previous(&self, step: usize, reverse: bool) -> Previous {
        let rows = match step.checked_sub(1) {
            _ if reverse && step + 1 < self.steps() => self.step(step + 1),
            Some(before) if !reverse => self.starts[before]..self.starts[before] + self.step(step).len(),
            _ => 0..0,
        };
        Previous { start: rows.start, count: rows.len() }
    }

    fn is_full(&self) -> bool {
        self.rows() == self.batch() * self.steps()
    }
    fn is_sorted(&self) -> bool {
        self.order.is_sorted()
    }

    /// `[B, T, F] -> [rows, F]`. Copies nothing if the steps' rows are neighbours already, as those of [`unpack`](Sequences::unpack) are.
    pub(super) fn pack(&self, x: &Array) -> Result<Array> {
        let width = x.dims()[2];
        let x = x.transpose(0, 1)?.contiguous()?;
        if self.is_full() {
            return x.reshape(&[self.rows(), width]);
        }
        let mut packed = Array::stale(Shape::new(&[self.rows(), width])?, x.dtype())?;
        with_float!("recurrent", x.dtype(), T => {
            let (from, to) = (x.slice::<T>(), packed.slice_mut::<T>());
            for (at, row) in self.places() {
                to[at * width..(at + 1) * width].copy_from_slice(&from[row * width..(row + 1) * width]);
            }
            Ok(packed)
        })
    }

    /// `[rows, F] -> [B, T, F]`, zero where a sequence has ended. A view of an array in which the rows of a step are neighbours.
    pub(super) fn unpack(&self, packed: &Array) -> Result<Array> {
        let width = packed.dims()[1];
        let dims = [self.steps(), self.batch(), width];
        if self.is_full() {
            return packed.reshape(&dims)?.transpose(0, 1);
        }
        let mut x = Array::zeros(&dims, packed.dtype())?;
        with_float!("recurrent", packed.dtype(), T => {
            let (from, to) = (packed.slice::<T>(), x.slice_mut::<T>());
            for (at, row) in self.places() {
                to[row * width..(row + 1) * width].copy_from_slice(&from[at * width..(at + 1) * width]);
            }
            x.transpose(0, 1)
        })
    }

    /// Packed rows, each with its row of `[T · B, F]`.
    fn places(&self) -> impl Iterator<Item = (usize, usize)> {
        (0..self.steps()).flat_map(move |step| self.step(step).zip(&self.order).map(move |(at, sequence)| (at, step * self.batch() + sequence)))
    }

    /// A state `[B, H]`, the longest sequence's first.
    pub(super) fn sort(&self, state: &Array) -> Result<Array> {
        let state = state.contiguous()?;
        if self.is_sorted() { Ok(state) } else { self.rearranged(&state, |place| (place, self.order[place])) }
    }

    /// A sorted state, each sequence where it was.
    pub(super) fn restore(&self, state: &Array) -> Result<Array> {
        if self.is_sorted() { Ok(state.clone()) } else { self.rearranged(state, |place| (self.order[place], place)) }
    }

    /// A state whose rows are copied from place to place: (to, from).
    fn rearranged(&self, state: &Array, places: impl Fn(usize) -> (usize, usize)) -> Result<Array> {
        let width = state.dims()[1];
        let mut out = Array::stale(*state.shape(), state.dtype())?;
        with_float!("recurrent", state.dtype(), T => {
            let (from, to) = (state.slice::<T>(), out.slice_mut::<T>());
            for (at, row) in (0..self.batch()).map(places) {
                to[at * width..(at + 1) * width].copy_from_slice(&from[row * width..(row + 1) * width]);
            }
            Ok(out)
        })
    }

    /// The state of each sequence after its last step in the direction, `[B, H]`, sorted; the initial one of a sequence without steps.
    pub(super) fn last(&self, packed: &Array, initial: &Array, reverse: bool) -> Result<Array> {
        let width = packed.dims()[1];
        let mut out = Array::stale(*initial.shape(), initial.dtype())?;
        with_float!("recurrent", initial.dtype(), T => {
            let (packed, initial) = (packed.slice::<T>(), initial.slice::<T>());
            for (place, to) in out.slice_mut::<T>().chunks_exact_mut(width.max(1)).enumerate() {
                let last = self.lengths[place].checked_sub(1).map(|last| self.starts[if reverse { 0 } else { last }]);
                let (from, row) = last.map_or((initial, place), |start| (packed, start + place));
                to.copy_from_slice(&from[row * width..(row + 1) * width]);
            }
            Ok(out)
        })
    }

    /// The state before each step, `[rows, H]`.
    pub(super) fn states_before(&self, packed: &Array, initial: &Array, reverse: bool) -> Result<Array> {
        let width = packed.dims()[1];
        let mut out = Array::stale(*packed.shape(), packed.dtype())?;
        with_float!("recurrent", packed.dtype(), T => {
            let (packed, initial) = (packed.slice::<T>(), initial.slice::<T>());
            let to = out.slice_mut::<T>();
            for step in 0..self.longest() {
                let (rows, Previous { start, count }) = (self.step(step), self.previous(step, reverse));
                let (earlier, fresh) = to[rows.start * width..rows.end * width].split_at_mut(count * width);
                earlier.copy_from_slice(&packed[start * width..(start + count) * width]);
                fresh.copy_from_slice(&initial[count * width..rows.len() * width]);
            }
            Ok(out)
        })
    }
}
