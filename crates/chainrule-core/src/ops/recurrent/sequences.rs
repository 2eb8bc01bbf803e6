//! Sequences of different lengths as one packed block of rows, in which a step's rows are neighbours and no row is padding (PyTorch's `PackedSequence`).

use crate::array::Array;
use crate::error::{Error, Result};
use crate::float::with_float;
use crate::shape::Shape;
use std::ops::Range;
use std::sync::Arc;

/// Which sequences take part in which step. Packed rows are ordered by step, and inside a step by length, the longest sequence first: so the rows of a later step are always the first of an earlier one's.
#[derive(Clone, Debug)]
pub(super) struct Sequences {
    batch: usize,
    steps: usize,
    /// None if all sequences have all steps.
    ragged: Option<Arc<Ragged>>,
}

/// What differs from sequence to sequence.
#[derive(Debug)]
struct Ragged {
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
        let Some(given) = lengths else { return Ok(Sequences { batch, steps, ragged: None }) };
        if given.len() != batch {
            return Err(Error::shape(op, format!("got {} lengths, expected one for each of {batch} sequences", given.len())));
        }
        if let Some(length) = given.iter().find(|length| **length > steps) {
            return Err(Error::value(op, format!("a length is {length}, but the input has {steps} steps")));
        }
        if given.iter().all(|&length| length == steps) {
            return Ok(Sequences { batch, steps, ragged: None });
        }
        let mut order: Vec<usize> = (0..batch).collect();
        order.sort_by_key(|&sequence| std::cmp::Reverse(given[sequence]));
        let lengths: Vec<usize> = order.iter().map(|&sequence| given[sequence]).collect();
        let mut starts = vec![0];
        for step in 0..steps {
            starts.push(starts[step] + lengths.partition_point(|&length| length > step));
        }
        Ok(Sequences { batch, steps, ragged: Some(Arc::new(Ragged { order, lengths, starts })) })
    }

    pub(super) fn batch(&self) -> usize {
        self.batch
    }
    pub(super) fn steps(&self) -> usize {
        self.steps
    }
    /// The number of packed rows.
    pub(super) fn rows(&self) -> usize {
        self.start(self.steps)
    }
    fn start(&self, step: usize) -> usize {
        self.ragged.as_ref().map_or(step * self.batch, |ragged| ragged.starts[step])
    }
    /// The length of the sequence at a place.
    fn length(&self, place: usize) -> usize {
        self.ragged.as_ref().map_or(self.steps, |ragged| ragged.lengths[place])
    }
    /// The packed rows of a step.
    pub(super) fn step(&self, step: usize) -> Range<usize> {
        self.start(step)..self.start(step + 1)
    }
    /// How many steps have rows.
    pub(super) fn longest(&self) -> usize {
        if self.batch == 0 { 0 } else { self.length(0) }
    }
    /// The i-th step that has rows, in the direction's order.
    pub(super) fn directed(&self, index: usize, reverse: bool) -> usize {
        if reverse { self.longest() - 1 - index } else { index }
    }
    /// The steps that have rows in spans of about `rows` rows, each a range of indices in the direction's order.
    pub(super) fn spans(&self, rows: usize) -> impl DoubleEndedIterator<Item = Range<usize>> {
        let steps = self.longest();
        let count = steps.div_ceil((rows / self.batch.max(1)).max(1));
        (0..count).map(move |span| steps * span / count..steps * (span + 1) / count)
    }
    /// The packed rows of a span.
    pub(super) fn rows_of(&self, span: &Range<usize>, reverse: bool) -> Range<usize> {
        let last = self.longest();
        if reverse { self.start(last - span.end)..self.start(last - span.start) } else { self.start(span.start)..self.start(span.end) }
    }
    /// Where a step finds the state before it. Backward in time, sequences that end here start here, with the initial state.
    pub(super) fn previous(&self, step: usize, reverse: bool) -> Previous {
        let rows = match step.checked_sub(1) {
            _ if reverse && step + 1 < self.steps() => self.step(step + 1),
            Some(before) if !reverse => self.start(before)..self.start(before) + self.step(step).len(),
            _ => 0..0,
        };
        Previous { start: rows.start, count: rows.len() }
    }

    /// Whether all sequences have all steps.
    pub(super) fn is_full(&self) -> bool {
        self.ragged.is_none()
    }
    /// The sequence at each place, where they are not in the order of the batch.
    fn order(&self) -> Option<&[usize]> {
        self.ragged.as_ref().map(|ragged| &ragged.order[..]).filter(|order| !order.is_sorted())
    }

    /// `[B, T, F] -> [rows, F]`. Copies nothing if the steps' rows are neighbours already, as those of [`unpack`](Sequences::unpack) are.
    pub(super) fn pack(&self, x: &Array) -> Result<Array> {
        let width = x.dims()[2];
        let x = x.transpose(0, 1)?.contiguous()?;
        let Some(ragged) = &self.ragged else { return x.reshape(&[self.rows(), width]) };
        let mut packed = Array::stale(Shape::new(&[self.rows(), width])?, x.dtype())?;
        with_float!("recurrent", x.dtype(), T => {
            let (from, to) = (x.slice::<T>(), packed.slice_mut::<T>());
            for (at, row) in ragged.places() {
                to[at * width..(at + 1) * width].copy_from_slice(&from[row * width..(row + 1) * width]);
            }
            Ok(packed)
        })
    }

    /// `[rows, F] -> [B, T, F]`, zero where a sequence has ended. A view of an array in which the rows of a step are neighbours.
    pub(super) fn unpack(&self, packed: &Array) -> Result<Array> {
        let width = packed.dims()[1];
        let dims = [self.steps(), self.batch(), width];
        let Some(ragged) = &self.ragged else { return packed.reshape(&dims)?.transpose(0, 1) };
        let mut x = Array::zeros(&dims, packed.dtype())?;
        with_float!("recurrent", packed.dtype(), T => {
            let (from, to) = (packed.slice::<T>(), x.slice_mut::<T>());
            for (at, row) in ragged.places() {
                to[row * width..(row + 1) * width].copy_from_slice(&from[at * width..(at + 1) * width]);
            }
            x.transpose(0, 1)
        })
    }

    /// A state `[B, H]`, the longest sequence's first.
    pub(super) fn sort(&self, state: &Array) -> Result<Array> {
        let state = state.contiguous()?;
        let Some(order) = self.order() else { return Ok(state) };
        self.rearranged(&state, |place| (place, order[place]))
    }

    /// A sorted state, each sequence where it was.
    pub(super) fn restore(&self, state: &Array) -> Result<Array> {
        let Some(order) = self.order() else { return Ok(state.clone()) };
        self.rearranged(state, |place| (order[place], place))
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
                let last = self.length(place).checked_sub(1).map(|last| self.start(if reverse { 0 } else { last }));
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

impl Ragged {
    /// Packed rows, each with its row of `[T · B, F]`.
    fn places(&self) -> impl Iterator<Item = (usize, usize)> {
        let rows = |step: usize| self.starts[step]..self.starts[step + 1];
        (0..self.starts.len() - 1).flat_map(move |step| rows(step).zip(&self.order).map(move |(at, sequence)| (at, step * self.order.len() + sequence)))
    }
}
