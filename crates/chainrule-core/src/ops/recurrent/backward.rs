//! Backward through time: step by step, block by block of units, the later step's products with the weight and the formula's slopes; after some steps, while their slopes are in the cache, one product over them for each weight and for the inputs.

use super::cells::{Formula, FromState, Memory};
use super::few::{self, Few};
use super::forward::{FEW, rows_of};
use super::pieces::Before;
use super::schedule::{Schedule, Task};
use super::sequences::Sequences;
use super::slopes::Apply;
use super::{Cell, Saved, Weights, with_cell};
use crate::array::Array;
use crate::error::{Error, Result};
use crate::float::with_float;
use crate::gemm::{Epilogue, MatrixMut, Number, Panels, gemm};
use crate::ops::join::concatenate;
use crate::ops::on_cpu;
use crate::ops::{expect_shape, reduce, same_dtype};
use crate::parallel::Target;
use crate::shape::Shape;
use std::marker::PhantomData;
use std::ops::Range;

/// The gradients of [`recurrent`](super::recurrent) by input, both weights, both biases, h and c (the last of the LSTM only), where `needs` asks for them.
/// The inputs are those of the forward pass. `dy [B, T, H]` and `last`, by h and c, are the gradients by the results; one that is not there is zero.
///
/// # Errors
/// Shapes or element types that are not those of the forward pass.
pub fn recurrent_backward(
    saved: &Saved,
    x: &Array,
    initial: &[&Array],
    weights: &Weights,
    dy: Option<&Array>,
    last: [Option<&Array>; 2],
    needs: [bool; 7],
) -> Result<[Option<Array>; 7]> {
    let op = match saved.cell {
        Cell::RnnTanh | Cell::RnnRelu => "rnn_backward",
        Cell::Lstm => "lstm_backward",
        Cell::Gru => "gru_backward",
    };
    on_cpu!(op, [x, weights.input, weights.hidden; initial.first().copied(), initial.get(1).copied(), dy, last[0], last[1]]);
    let Saved { sequences, states, .. } = saved;
    let (batch, steps, hidden) = (sequences.batch(), sequences.steps(), states.hidden.dims()[1]);
    if x.rank() != 3 || x.dims()[..2] != [batch, steps] || initial.len() != saved.cell.states() {
        let (got, states) = (x.shape(), initial.len());
        return Err(Error::shape(op, format!("got an input of {got:?} and {states} states, expected those of the forward pass, [{batch}, {steps}, D]")));
    }
    if last[1].is_some() && initial.len() == 1 {
        return Err(Error::value(op, "got the gradient by a cell state, which this layer has not"));
    }
    let width = super::check(saved.cell, x, weights)?;
    if width != hidden {
        return Err(Error::shape(op, format!("the weight of the state is {:?}, expected that of the forward pass, [.., {hidden}]", weights.hidden.shape())));
    }
    for array in [&states.hidden].into_iter().chain(dy).chain(last.into_iter().flatten()).chain(initial.iter().copied()) {
        same_dtype(op, x, array)?;
    }
    if let Some(dy) = dy {
        expect_shape(op, "the gradient by the output", dy, &[batch, steps, hidden])?;
    }
    for state in last.into_iter().flatten().chain(initial.iter().copied()) {
        expect_shape(op, "a state or its gradient", state, &[batch, hidden])?;
    }
    with_float!(op, x.dtype(), T => with_cell!(saved.cell, F => backward::<F, T>(saved, x, initial, weights, dy, last, needs)))
}

/// Rows whose slopes are there at once, few enough to be in the cache still when they are multiplied, and enough for products that sum over them.
const ROWS: usize = 1024;

fn backward<F: Formula, T: Number>(
    Saved { sequences, reverse, states, .. }: &Saved,
    x: &Array,
    initial: &[&Array],
    weights: &Weights,
    dy: Option<&Array>,
    last: [Option<&Array>; 2],
    needs: [bool; 7],
) -> Result<[Option<Array>; 7]> {
    let (hidden, rows, dtype) = (states.hidden.dims()[1], sequences.rows(), x.dtype());
    let (input, state) = (weights.input.contiguous()?, weights.hidden.contiguous()?);
    let first = sequences.sort(initial[0])?;
    let remembered = initial.get(1).map(|state| sequences.sort(state)).transpose()?;
    let dy = dy.map(|dy| sequences.pack(dy)).transpose()?;
    let carry = |last: Option<&Array>| {
        let mut gradient = last.map_or_else(|| Array::zeros(first.dims(), dtype), |last| sequences.sort(last))?;
        gradient.own()?;
        Ok(gradient)
    };
    let mut by_hidden = carry(last[0])?;
    let mut by_memory = remembered.as_ref().map(|_| carry(last[1])).transpose()?;

    let (width, inputs, features) = (F::COLUMNS * hidden, F::GATES * hidden, x.dims()[2]);
    let new = |needed: bool, dims: &[usize]| needed.then(|| Array::stale(Shape::new(dims)?, dtype)).transpose();
    let (mut dx, mut by_input, mut by_state) = (new(needs[0], &[rows, features])?, new(needs[1], &[inputs, features])?, new(needs[2], &[inputs, hidden])?);
    let x = if needs[1] { Some(sequences.pack(x)?) } else { None };
    // Where all sequences have all steps, the states before lie one step off those after. To multiply the first ones apart takes another look at the whole gradient, to copy them all one at all rows.
    let copied = needs[2] && !(sequences.is_full() && rows > inputs);
    let copy = if copied { Some(sequences.states_before(&states.hidden, &first, *reverse)?) } else { None };
    let steps_before = Steps { after: states.hidden.pointer::<T>(), first: first.pointer(), copy: copy.as_ref().map(|copy| copy.pointer()), reverse: *reverse };

    let steps = sequences.longest();
    let longest = sequences.spans(ROWS).map(|span| sequences.rows_of(&span, *reverse).len()).max().unwrap_or(0);
    let mut slopes = Array::stale(Shape::new(&[longest, width])?, dtype)?;
    let weight = rows_of(hidden, state.pointer::<T>());
    // SAFETY: the weight is a dense [G · H, H].
    let panels = if steps < FEW { Panels::in_place(weight, hidden) } else { unsafe { Panels::copy(weight, inputs, 1, hidden)? } };
    let schedule = Schedule::new(sequences.batch(), panels.count(), inputs * Panels::<T>::WIDTH);
    let mut sums = Array::zeros(&[schedule.groups(), width], dtype)?;
    let slopes = slopes.slice_mut::<T>().as_mut_ptr();
    let by_hidden_at = Target::new(by_hidden.slice_mut::<T>());
    let mut walk = Walk::<F, T> {
        formula: PhantomData,
        sequences,
        reverse: *reverse,
        hidden,
        panels: &panels,
        gates: states.gates.slice(),
        after: states.cells.as_ref().unwrap_or(&states.hidden).slice(),
        remembered: remembered.as_ref().unwrap_or(&first).slice(),
        dy: dy.as_ref().map(|dy| dy.slice()),
        by_hidden: by_hidden_at,
        by_memory: by_memory.as_mut().map_or(by_hidden_at, |cells| Target::new(cells.slice_mut())),
        slopes: Slopes(slopes),
        sums: Target::new(sums.slice_mut()),
    };
    let mut beta = T::zero();
    for span in sequences.spans(ROWS).rev() {
        let rows = sequences.rows_of(&span, *reverse);
        walk.slopes = Slopes(slopes.wrapping_sub(rows.start * width));
        walk.span(&schedule, &span, span.start > 0 || needs[5]);

        let of_inputs = rows_of(width, slopes.cast_const());
        let part = |columns: usize, from: *const T| rows_of(columns, from.wrapping_add(rows.start * columns));
        let to = |array: &mut Array, row: usize, columns: usize| MatrixMut {
            start: array.slice_mut::<T>()[row * columns..].as_mut_ptr(),
            row: columns as isize,
            column: 1,
        };
        // SAFETY: slopes, inputs, states and weights are dense and have these rows; the gradients are new, and nobody else has them.
        unsafe {
            if let Some(dx) = &mut dx {
                gemm([rows.len(), features, inputs], of_inputs, rows_of(features, input.pointer()), T::zero(), to(dx, rows.start, features), &Epilogue::NONE);
            }
            if let (Some(gradient), Some(x)) = (&mut by_input, &x) {
                gemm([inputs, features, rows.len()], of_inputs.transposed(), part(features, x.pointer()), beta, to(gradient, 0, features), &Epilogue::NONE);
            }
            if let Some(gradient) = &mut by_state {
                let mut beta = beta;
                for (these, before) in steps_before.parts(&rows, sequences, hidden).into_iter().filter(|(these, _)| !these.is_empty()) {
                    for part in F::FROM_STATE {
                        let slopes = of_inputs.from(these.start - rows.start, part.column * hidden).transposed();
                        let sizes = [part.count * hidden, hidden, these.len()];
                        gemm(sizes, slopes, rows_of(hidden, before), beta, to(gradient, part.gate * hidden, hidden), &Epilogue::NONE);
                    }
                    beta = T::one();
                }
            }
        }
        beta = T::one();
    }
    if steps == 0 {
        for gradient in [&mut by_input, &mut by_state].into_iter().flatten() {
            gradient.slice_mut::<T>().fill(T::zero());
        }
    }

    let dx = dx.map(|dx| sequences.unpack(&dx)).transpose()?;
    let mut biases = [None, None];
    if needs[3] || needs[4] {
        let sums = reduce::sum(&sums, &[0], false)?;
        let part = |part: &FromState| sums.narrow(0, part.column * hidden, part.count * hidden);
        biases = [Some(sums.narrow(0, 0, inputs)?), Some(joined(F::FROM_STATE.iter().map(part).collect::<Result<_>>()?)?)];
    }
    let restored = |needed: bool, state: Option<&Array>| state.filter(|_| needed).map(|state| sequences.restore(state)).transpose();
    let [bias, state_bias] = biases;
    Ok([dx, by_input, by_state, bias, state_bias, restored(needs[5], Some(&by_hidden))?, restored(needs[6], by_memory.as_ref())?])
}

/// The parts below each other.
fn joined(mut parts: Vec<Array>) -> Result<Array> {
    if parts.len() == 1 { Ok(parts.remove(0)) } else { concatenate(&parts.iter().collect::<Vec<_>>(), 0) }
}

/// Where the states before steps lie.
struct Steps<T> {
    after: *const T,
    first: *const T,
    copy: Option<*const T>,
    reverse: bool,
}

impl<T> Steps<T> {
    /// Those before these rows, in two parts: rows, and where the states before them start.
    fn parts(&self, rows: &Range<usize>, sequences: &Sequences, width: usize) -> [(Range<usize>, *const T); 2] {
        let at = |start: *const T, row: usize| start.wrapping_add(row * width);
        if let Some(copy) = self.copy {
            return [(rows.clone(), at(copy, rows.start)), (0..0, self.first)];
        }
        let batch = sequences.batch();
        if self.reverse {
            let split = (sequences.rows() - batch).clamp(rows.start, rows.end);
            [(rows.start..split, at(self.after, rows.start + batch)), (split..rows.end, at(self.first, (split + batch).saturating_sub(sequences.rows())))]
        } else {
            let split = batch.clamp(rows.start, rows.end);
            [(split..rows.end, at(self.after, split.saturating_sub(batch))), (rows.start..split, at(self.first, rows.start))]
        }
    }
}

/// The slopes, as if those of all rows were there: a span's are.
#[derive(Clone, Copy)]
struct Slopes<T>(*mut T);

// SAFETY: it carries an address to tasks, which write parts of their own.
unsafe impl<T: Send> Sync for Slopes<T> {}

/// What all steps have in common on the way back.
struct Walk<'a, F, T> {
    formula: PhantomData<F>,
    sequences: &'a Sequences,
    reverse: bool,
    hidden: usize,
    panels: &'a Panels<T>,
    gates: &'a [T],
    after: &'a [T],
    remembered: &'a [T],
    dy: Option<&'a [T]>,
    by_hidden: Target<T>,
    by_memory: Target<T>,
    slopes: Slopes<T>,
    sums: Target<T>,
}

impl<F: Formula, T: Number> Walk<'_, F, T> {
    /// The slopes of a span's steps, the last first, and the sum of each column over all rows, which is there for the biases. With `to_start`, the gradients carried on are those by the states before the span.
    fn span(&self, schedule: &Schedule, span: &Range<usize>, to_start: bool) {
        schedule.run(span.len() + to_start as usize, |round, task| {
            // Counted from the span's end.
            let step = |round: usize| (round < span.len()).then(|| self.sequences.directed(span.end - 1 - round, self.reverse));
            let later = round.checked_sub(1).and_then(step).map_or(0..0, |step| self.sequences.step(step));
            for block in task.blocks.clone() {
                self.product(&later, &task.places, block);
                if let Some(at) = step(round) {
                    self.formula(at, step(round + 1), &task, block);
                }
            }
        });
    }

    /// The gradient by the states before the step of these rows, of a block of units: from the slopes of its rows.
    fn product(&self, rows: &Range<usize>, places: &Range<usize>, block: usize) {
        let (hidden, width) = (self.hidden, F::COLUMNS * self.hidden);
        let (panel, units) = (self.panels.panel(0, block), self.panels.columns(block));
        let places = places.start..places.end.min(rows.len());
        if places.is_empty() {
            return;
        }
        for (i, part) in F::FROM_STATE.iter().enumerate() {
            let slopes = |place: usize| self.slopes.0.wrapping_add((rows.start + place) * width + part.column * hidden).cast_const();
            let by_hidden = |place: usize| self.by_hidden.pointer().wrapping_add(place * hidden + units.start);
            let b = panel.from(part.gate * hidden, 0);
            // The formula has left there what reaches the state past the weight.
            let add = i > 0 || F::MEMORY == Memory::Hidden;
            let k = part.count * hidden;
            if places.len() <= few::ROWS && self.panels.is_copied() {
                let mut few = Few::<T, 1>::new(k, units.len(), places.len());
                few.panels[0] = b.start;
                for (i, place) in places.clone().enumerate() {
                    (few.a[i], few.c[i][0]) = (slopes(place), by_hidden(place));
                    few.plus[i][0] = if add { by_hidden(place) } else { std::ptr::null() };
                }
                T::run(few);
                continue;
            }
            let beta = if add { T::one() } else { T::zero() };
            let c = MatrixMut { start: by_hidden(places.start), row: hidden as isize, column: 1 };
            // SAFETY: the slopes of these rows are complete, and the gradients by these units are this task's alone.
            unsafe { gemm([places.len(), units.len(), k], rows_of(width, slopes(places.start)), b, beta, c, &Epilogue::NONE) };
        }
    }

    /// The slopes of a block of units; the values of the `next` step, which this thread will likely work at, are asked for on the way.
    fn formula(&self, step: usize, next: Option<usize>, task: &Task, block: usize) {
        let (hidden, width) = (self.hidden, F::COLUMNS * self.hidden);
        let (at, previous) = (self.sequences.step(step), self.sequences.previous(step, self.reverse));
        let places = task.places.start..task.places.end.min(at.len());
        T::run(Apply {
            formula: PhantomData::<F>,
            places,
            units: self.panels.columns(block),
            hidden,
            gates: self.gates[at.start * width..].as_ptr(),
            before: Before {
                earlier: self.after.as_ptr().wrapping_add(previous.start * hidden),
                count: previous.count,
                initial: self.remembered.as_ptr(),
                width: hidden,
            },
            after: self.after[at.start * hidden..].as_ptr(),
            dy: self.dy.map(|dy| dy[at.start * hidden..].as_ptr()),
            by_hidden: self.by_hidden.pointer(),
            by_memory: self.by_memory.pointer(),
            slopes: self.slopes.0.wrapping_add(at.start * width),
            sums: self.sums.pointer().wrapping_add(task.group * width),
            ahead: next.map_or(0, |next| self.sequences.step(next).start as isize - at.start as isize),
        });
    }
}
