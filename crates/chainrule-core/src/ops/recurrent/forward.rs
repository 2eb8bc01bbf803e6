//! Forward: one product for the inputs of some steps, then step by step, block by block of units, the state's products and the formula.

use super::cells::{Formula, Memory};
use super::few::{self, Few};
use super::pieces::{Before, PIECE, load, pieces, store};
use super::schedule::Schedule;
use super::sequences::Sequences;
use super::{States, Weights};
use crate::array::Array;
use crate::error::Result;
use crate::float::Float;
use crate::gemm::{Activation, Bias, Epilogue, Matrix, MatrixMut, Number, Panels, gemm};
use crate::parallel::Target;
use crate::shape::Shape;
use crate::simd::{Kernel, Real, Simd};
use std::marker::PhantomData;
use std::ops::Range;

/// With fewer steps than this, a weight is multiplied where it lies: copying it costs as much as a step.
pub(super) const FEW: usize = 3;

/// Rows whose products with the inputs are made at once, few enough to be in the cache still when their steps come.
const ROWS: usize = 512;

/// Rows of `columns` numbers from `start` on.
pub(super) fn rows_of<T>(columns: usize, start: *const T) -> Matrix<T> {
    Matrix { start, row: columns as isize, column: 1 }
}

/// The gates and states of all steps.
pub(super) fn forward<F: Formula, T: Number>(sequences: &Sequences, reverse: bool, x: &Array, initial: &[Array], weights: &Weights) -> Result<States> {
    let (rows, features, hidden) = (sequences.rows(), x.dims()[1], weights.hidden.dims()[1]);
    let (width, inputs) = (F::COLUMNS * hidden, F::GATES * hidden);
    let empty = |columns: usize| Array::stale(Shape::new(&[rows, columns])?, x.dtype());
    let (mut gates, mut outputs) = (empty(width)?, empty(hidden)?);
    let mut cells = if F::MEMORY == Memory::Cell { Some(empty(hidden)?) } else { None };
    let (input, state, bias) = (weights.input.contiguous()?, weights.hidden.contiguous()?, bias::<F, T>(weights)?);
    let bias = bias.slice::<T>();
    let to = To {
        gates: Target::new(gates.slice_mut::<T>()),
        outputs: Target::new(outputs.slice_mut::<T>()),
        cells: cells.as_mut().map(|cells| Target::new(cells.slice_mut::<T>())),
    };

    let steps = sequences.longest();
    let weight = rows_of(hidden, state.pointer::<T>()).transposed();
    // SAFETY: the weight is a dense [G · H, H].
    let panels = if steps < FEW { Panels::in_place(weight, hidden) } else { unsafe { Panels::copy(weight, hidden, F::GATES, hidden)? } };
    let layer = Layer::<F, T> {
        formula: PhantomData,
        sequences,
        reverse,
        hidden,
        panels: &panels,
        bias,
        to,
        first: initial[0].slice::<T>(),
        remembered: initial[initial.len() - 1].slice::<T>(),
    };
    let schedule = Schedule::new(sequences.batch(), panels.count(), inputs * Panels::<T>::WIDTH);
    let weight = rows_of(features, input.pointer::<T>()).transposed();
    let epilogue = Epilogue { bias: Bias::PerColumn(&bias[..inputs]), activation: Activation::None };
    for span in sequences.spans(ROWS) {
        let rows = sequences.rows_of(&span, reverse);
        let from = rows_of(features, x.pointer::<T>().wrapping_add(rows.start * features));
        // SAFETY: x is [rows, D], the weight [G · H, D], both dense; the gates are new and at least G · H wide.
        unsafe { gemm([rows.len(), inputs, features], from, weight, T::zero(), to.gates(rows.start, 0, width), &epilogue) };
        schedule.run(span.len(), |round, task| {
            let step = sequences.directed(span.start + round, reverse);
            task.blocks.for_each(|block| layer.step(step, &task.places, block));
        });
    }
    Ok(States { gates, hidden: outputs, cells })
}

/// What all steps have in common.
struct Layer<'a, F, T> {
    formula: PhantomData<F>,
    sequences: &'a Sequences,
    reverse: bool,
    hidden: usize,
    panels: &'a Panels<T>,
    bias: &'a [T],
    to: To<T>,
    /// The initial hidden states, and those of the formula's memory.
    first: &'a [T],
    remembered: &'a [T],
}

impl<F: Formula, T: Number> Layer<'_, F, T> {
    /// A block of units of the sequences at these places. Of a step's tasks no two write the same, and those of the step before are complete.
    fn step(&self, step: usize, places: &Range<usize>, block: usize) {
        let (hidden, to) = (self.hidden, self.to);
        let (at, previous) = (self.sequences.step(step), self.sequences.previous(step, self.reverse));
        let places = places.start..places.end.min(at.len());
        if places.is_empty() {
            return;
        }
        let before = |packed: Target<T>, initial: &[T]| {
            let earlier = packed.pointer().wrapping_add(previous.start * hidden);
            Before { earlier, count: previous.count, initial: initial.as_ptr(), width: hidden }
        };
        let units = self.panels.columns(block);
        let hidden_before = before(to.outputs, self.first);
        if places.len() <= few::ROWS && self.panels.is_copied() {
            match F::GATES {
                1 => self.few::<1>(&at, &places, block, hidden_before),
                3 => self.few::<3>(&at, &places, block, hidden_before),
                _ => self.few::<4>(&at, &places, block, hidden_before),
            }
        } else {
            let split = previous.count.clamp(places.start, places.end);
            for (gate, column, added) in gates::<F>() {
                let column = column * hidden + units.start;
                let (beta, bias) = if added { (T::one(), Bias::None) } else { (T::zero(), Bias::PerColumn(&self.bias[column..column + units.len()])) };
                for from in [places.start..split, split..places.end] {
                    let sizes = [from.len(), units.len(), hidden];
                    let (a, c) = (rows_of(hidden, hidden_before.row(from.start)), to.gates(at.start + from.start, column, F::COLUMNS * hidden));
                    // SAFETY: the states before this step are complete: an earlier step's, or initial ones. The gates of this step, these places and these units are this task's alone.
                    unsafe { gemm(sizes, a, self.panels.panel(gate, block), beta, c, &Epilogue { bias, activation: Activation::None }) };
                }
            }
        }
        T::run(Apply {
            formula: PhantomData::<F>,
            places,
            units,
            hidden,
            gates: to.gates(at.start, 0, F::COLUMNS * hidden).start,
            outputs: to.outputs.pointer().wrapping_add(at.start * hidden),
            cells: to.cells.map(|cells| cells.pointer().wrapping_add(at.start * hidden)),
            before: before(to.cells.unwrap_or(to.outputs), self.remembered),
        });
    }

    /// The products of few states with all gates' panels of a block.
    fn few<const GATES: usize>(&self, at: &Range<usize>, places: &Range<usize>, block: usize, before: Before<T>) {
        let units = self.panels.columns(block);
        let mut few = Few::<T, GATES>::new(self.hidden, units.len(), places.len());
        for (gate, column, added) in gates::<F>() {
            let column = column * self.hidden + units.start;
            few.panels[gate] = self.panels.panel(gate, block).start;
            for (i, place) in places.clone().enumerate() {
                let c = self.to.gates(at.start + place, column, F::COLUMNS * self.hidden).start;
                few.a[i] = before.row(place);
                few.c[i][gate] = c;
                few.plus[i][gate] = if added { c } else { self.bias[column..].as_ptr() };
            }
        }
        T::run(few);
    }
}

/// For each gate of the weight of the state: its number, the block of columns that its products go to, and whether the input's products stand there already.
fn gates<F: Formula>() -> impl Iterator<Item = (usize, usize, bool)> {
    F::FROM_STATE.iter().flat_map(|part| (0..part.count).map(|i| (part.gate + i, part.column + i, part.added)))
}

/// Where results go, packed.
#[derive(Clone, Copy)]
struct To<T> {
    gates: Target<T>,
    outputs: Target<T>,
    cells: Option<Target<T>>,
}

impl<T: Copy> To<T> {
    /// The gates from a row and a column on.
    fn gates(self, row: usize, column: usize, width: usize) -> MatrixMut<T> {
        MatrixMut { start: self.gates.pointer().wrapping_add(row * width + column), row: width as isize, column: 1 }
    }
}

/// What is added to each column of the gates: both biases where both products meet.
fn bias<F: Formula, T: Float>(weights: &Weights) -> Result<Array> {
    let hidden = weights.hidden.dims()[1];
    let mut sum = Array::zeros(&[F::COLUMNS * hidden], weights.hidden.dtype())?;
    let to = sum.slice_mut::<T>();
    if let Some(bias) = weights.input_bias {
        to[..F::GATES * hidden].copy_from_slice(bias.contiguous()?.slice::<T>());
    }
    if let Some(bias) = weights.hidden_bias {
        let bias = bias.contiguous()?;
        for part in F::FROM_STATE {
            let from = &bias.slice::<T>()[part.gate * hidden..(part.gate + part.count) * hidden];
            to[part.column * hidden..].iter_mut().zip(from).for_each(|(sum, bias)| *sum = *sum + *bias);
        }
    }
    Ok(sum)
}

/// The formula for some units of some rows of a step. Whoever makes one vouches for the addresses: those that are written are its own.
struct Apply<F, T> {
    formula: PhantomData<F>,
    places: Range<usize>,
    units: Range<usize>,
    hidden: usize,
    gates: *mut T,
    outputs: *mut T,
    cells: Option<*mut T>,
    before: Before<T>,
}

impl<F: Formula, T: Float> Kernel for Apply<F, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let zero = [T::Real::<S>::zero(); PIECE];
        for row in self.places.clone() {
            for (unit, width) in pieces(self.units.clone()) {
                let column = |k: usize| self.gates.wrapping_add((row * F::COLUMNS + k) * self.hidden + unit);
                let place = row * self.hidden + unit;
                let (mut gates, mut memory, mut outputs) = ([zero; 4], zero, zero);
                // SAFETY: the maker's promise.
                unsafe {
                    for (k, gate) in gates.iter_mut().enumerate().take(F::COLUMNS) {
                        *gate = load::<S, T>(column(k), width);
                    }
                    if F::MEMORY != Memory::None {
                        memory = load::<S, T>(self.before.row(row).wrapping_add(unit), width);
                    }
                    for i in 0..PIECE {
                        let step = F::step(std::array::from_fn(|k| gates[k][i]), memory[i]);
                        (outputs[i], memory[i]) = (step.hidden, step.memory);
                        for (gate, value) in gates.iter_mut().zip(step.gates) {
                            gate[i] = value;
                        }
                    }
                    for (k, gate) in gates.into_iter().enumerate().take(F::COLUMNS) {
                        store::<S, T>(gate, column(k), width);
                    }
                    store::<S, T>(outputs, self.outputs.wrapping_add(place), width);
                    if let Some(cells) = self.cells {
                        store::<S, T>(memory, cells.wrapping_add(place), width);
                    }
                }
            }
        }
    }
}
