//! Backward through time: step by step, block by block of units, the later step's products with the weight and the formula's slopes; then one product over all steps for each weight and for the inputs.

use super::cells::{Formula, FromState, Memory, Past};
use super::forward::{FEW, grain, rows_of};
use super::pieces::{Before, PIECE, load, pieces, store};
use super::sequences::Sequences;
use super::{Cell, Saved, States, Weights, with_cell};
use crate::array::Array;
use crate::error::{Error, Result};
use crate::float::{Float, with_float};
use crate::gemm::{Epilogue, Matrix, MatrixMut, Number, Panels, gemm};
use crate::ops::join::concatenate;
use crate::ops::matmul::matmul;
use crate::ops::{expect_shape, reduce, same_dtype};
use crate::parallel::{self, Target};
use crate::simd::{Kernel, Real, Simd};
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

fn backward<F: Formula, T: Number>(
    Saved { sequences, reverse, states, .. }: &Saved,
    x: &Array,
    initial: &[&Array],
    weights: &Weights,
    dy: Option<&Array>,
    last: [Option<&Array>; 2],
    needs: [bool; 7],
) -> Result<[Option<Array>; 7]> {
    let (hidden, state) = (states.hidden.dims()[1], weights.hidden.contiguous()?);
    let initial = initial.iter().map(|state| sequences.sort(state)).collect::<Result<Vec<_>>>()?;
    let dy = dy.map(|dy| sequences.pack(dy)).transpose()?;
    let mut carried = Vec::with_capacity(2);
    for (state, last) in initial.iter().zip(last) {
        let mut gradient = last.map_or_else(|| Array::zeros(state.dims(), x.dtype()), |last| sequences.sort(last))?;
        gradient.own()?;
        carried.push(gradient);
    }
    let mut slopes = Array::stale(*states.gates.shape(), x.dtype())?;
    let through = Through { sequences, reverse: *reverse, states, initial: &initial, weight: &state, dy: dy.as_ref() };
    through.time::<F, T>(&mut carried, &mut slopes, needs[5])?;

    let columns = |block: usize, count: usize| slopes.narrow(1, block * hidden, count * hidden);
    let mut out: [Option<Array>; 7] = Default::default();
    let of_inputs = columns(0, F::GATES)?;
    if needs[0] {
        out[0] = Some(sequences.unpack(&matmul(&of_inputs, weights.input)?)?);
    }
    if needs[1] {
        out[1] = Some(matmul(&of_inputs.transpose(0, 1)?, &sequences.pack(x)?)?);
    }
    if needs[2] {
        let before = sequences.states_before(&states.hidden, &initial[0], *reverse)?;
        let part = |part: &FromState| matmul(&columns(part.column, part.count)?.transpose(0, 1)?, &before);
        out[2] = Some(joined(F::FROM_STATE.iter().map(part).collect::<Result<_>>()?)?);
    }
    if needs[3] || needs[4] {
        let sums = reduce::sum(&slopes, &[0], false)?;
        let part = |part: &FromState| sums.narrow(0, part.column * hidden, part.count * hidden);
        out[3] = Some(sums.narrow(0, 0, F::GATES * hidden)?);
        out[4] = Some(joined(F::FROM_STATE.iter().map(part).collect::<Result<_>>()?)?);
    }
    for (i, state) in carried.iter().enumerate().filter(|(i, _)| needs[5 + i]) {
        out[5 + i] = Some(sequences.restore(state)?);
    }
    Ok(out)
}

/// The parts below each other.
fn joined(mut parts: Vec<Array>) -> Result<Array> {
    if parts.len() == 1 { Ok(parts.remove(0)) } else { concatenate(&parts.iter().collect::<Vec<_>>(), 0) }
}

/// The inputs of the walk back through the steps, sorted and packed.
struct Through<'a> {
    sequences: &'a Sequences,
    reverse: bool,
    states: &'a States,
    initial: &'a [Array],
    weight: &'a Array,
    dy: Option<&'a Array>,
}

impl Through<'_> {
    /// The slopes by the gates of all steps. `carried` are the gradients by the last states, and become, with `to_start`, those by the initial ones.
    fn time<F: Formula, T: Number>(&self, carried: &mut [Array], slopes: &mut Array, to_start: bool) -> Result<()> {
        let Through { sequences, reverse, states, initial, weight, dy } = *self;
        let hidden = initial[0].dims()[1];
        let (width, inputs) = (F::COLUMNS * hidden, F::GATES * hidden);
        let steps = sequences.directed(reverse);
        let weight = rows_of(hidden, weight.pointer::<T>());
        // SAFETY: the weight is a dense [G · H, H].
        let panels = if steps.len() < FEW { Panels::in_place(weight, hidden) } else { unsafe { Panels::copy(weight, inputs, hidden)? } };
        let [gates, after, remembered] =
            [&states.gates, states.cells.as_ref().unwrap_or(&states.hidden), &initial[initial.len() - 1]].map(|array| array.slice::<T>());
        let dy = dy.map(|dy| dy.slice::<T>());
        let slopes = Target::new(slopes.slice_mut::<T>());
        let by_hidden = Target::new(carried[0].slice_mut::<T>());
        let by_memory = carried.get_mut(1).map_or(by_hidden, |cells| Target::new(cells.slice_mut::<T>()));

        // The gradient by the states before a step, of some units: from the slopes of its rows.
        let step_back = |rows: &Range<usize>, block: usize| {
            let panel = panels.panel(block);
            let units = panels.columns(block);
            for (i, part) in F::FROM_STATE.iter().enumerate() {
                let a = rows_of(width, slopes.pointer().wrapping_add(rows.start * width + part.column * hidden).cast_const());
                let b = Matrix { start: panel.start.wrapping_offset((part.gate * hidden) as isize * panel.row), ..panel };
                let c = MatrixMut { start: by_hidden.pointer().wrapping_add(units.start), row: hidden as isize, column: 1 };
                // The formula has left there what reaches the state past the weight.
                let beta = if i > 0 || F::MEMORY == Memory::Hidden { T::one() } else { T::zero() };
                // SAFETY: the slopes of these rows are complete, and the gradients by these units are this task's alone.
                unsafe { gemm([rows.len(), units.len(), part.count * hidden], a, b, beta, c, &Epilogue::NONE) };
            }
        };
        let mut later = 0..0;
        for step in steps.into_iter().rev() {
            let (at, previous) = (sequences.step(step), sequences.previous(step, reverse));
            let work = (at.len() + later.len()) / 2 * inputs * Panels::<T>::WIDTH;
            parallel::ranges(panels.count(), grain(work), |start, end| {
                for block in start..end {
                    step_back(&later, block);
                    T::run(Apply {
                        formula: PhantomData::<F>,
                        rows: at.len(),
                        units: panels.columns(block),
                        hidden,
                        gates: &gates[at.start * width..],
                        before: Before {
                            earlier: after.as_ptr().wrapping_add(previous.start * hidden),
                            count: previous.count,
                            initial: remembered.as_ptr(),
                            width: hidden,
                        },
                        after: &after[at.start * hidden..],
                        dy: dy.map(|dy| &dy[at.start * hidden..]),
                        by_hidden: by_hidden.pointer(),
                        by_memory: by_memory.pointer(),
                        slopes: slopes.pointer().wrapping_add(at.start * width),
                    });
                }
            });
            later = at;
        }
        if to_start {
            parallel::ranges(panels.count(), grain(later.len() * inputs * Panels::<T>::WIDTH), |start, end| {
                (start..end).for_each(|block| step_back(&later, block))
            });
        }
        Ok(())
    }
}

/// The slopes of some units of all rows of a step. Whoever makes one vouches that what is written belongs to it alone.
struct Apply<'a, F, T> {
    formula: PhantomData<F>,
    rows: usize,
    units: Range<usize>,
    hidden: usize,
    gates: &'a [T],
    before: Before<T>,
    after: &'a [T],
    dy: Option<&'a [T]>,
    by_hidden: *mut T,
    by_memory: *mut T,
    slopes: *mut T,
}

impl<F: Formula, T: Float> Kernel for Apply<'_, F, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let zero = [T::Real::<S>::zero(); PIECE];
        for row in 0..self.rows {
            for (unit, width) in pieces(self.units.clone()) {
                let column = |k: usize| (row * F::COLUMNS + k) * self.hidden + unit;
                let place = row * self.hidden + unit;
                let (mut gates, mut before, mut after, mut by_memory) = ([zero; 4], zero, zero, zero);
                // SAFETY: the maker's promise; rows and units lie inside the arrays.
                unsafe {
                    for (k, gate) in gates.iter_mut().enumerate().take(F::COLUMNS) {
                        *gate = load::<S, T>(self.gates.as_ptr().add(column(k)), width);
                    }
                    let mut by_hidden = load::<S, T>(self.by_hidden.add(place), width);
                    if let Some(dy) = self.dy {
                        let dy = load::<S, T>(dy.as_ptr().add(place), width);
                        for i in 0..PIECE {
                            by_hidden[i] = by_hidden[i] + dy[i];
                        }
                    }
                    if F::MEMORY != Memory::None {
                        before = load::<S, T>(self.before.row(row).add(unit), width);
                        after = load::<S, T>(self.after.as_ptr().add(place), width);
                        by_memory = load::<S, T>(self.by_memory.add(place), width);
                    }
                    for i in 0..PIECE {
                        let gate = std::array::from_fn(|k| gates[k][i]);
                        let slopes = F::slopes(Past { gates: gate, before: before[i], after: after[i], by_hidden: by_hidden[i], by_memory: by_memory[i] });
                        by_memory[i] = slopes.memory;
                        for (gate, slope) in gates.iter_mut().zip(slopes.gates) {
                            gate[i] = slope;
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
    }
}
