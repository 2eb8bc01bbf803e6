//! Forward: one product for all inputs, then step by step, block by block of units, the state's products and the formula.

use super::cells::{Formula, Memory};
use super::pieces::{Before, PIECE, load, pieces, store};
use super::sequences::Sequences;
use super::{States, Weights};
use crate::array::Array;
use crate::error::Result;
use crate::float::Float;
use crate::gemm::{Activation, Bias, Epilogue, Matrix, MatrixMut, Number, Panels, gemm};
use crate::parallel::{self, Target};
use crate::shape::Shape;
use crate::simd::{Kernel, Real, Simd};
use std::marker::PhantomData;
use std::ops::Range;

/// With fewer steps than this, a weight is multiplied where it lies: copying it costs as much as a step.
pub(super) const FEW: usize = 3;

/// Multiplications that make a task of a step.
const GRAIN: usize = 1 << 18;

/// Blocks of units that make a task, where each takes `work` multiplications.
pub(super) fn grain(work: usize) -> usize {
    (GRAIN / work.max(1)).max(1)
}

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

    let weight = rows_of(features, input.pointer::<T>()).transposed();
    let epilogue = Epilogue { bias: Bias::PerColumn(&bias[..inputs]), activation: Activation::None };
    // SAFETY: x is [rows, D], the weight [G · H, D], both dense; the gates are new and at least G · H wide.
    unsafe { gemm([rows, inputs, features], rows_of(features, x.pointer()), weight, T::zero(), to.gates(0, 0, width), &epilogue) };

    let steps = sequences.directed(reverse);
    let gate = |gate: usize| {
        let weight = rows_of(hidden, state.pointer::<T>().wrapping_add(gate * hidden * hidden)).transposed();
        // SAFETY: the weight of a gate is a dense [H, H].
        if steps.len() < FEW { Ok(Panels::in_place(weight, hidden)) } else { unsafe { Panels::copy(weight, hidden, hidden) } }
    };
    let panels = (0..F::GATES).map(gate).collect::<Result<Vec<_>>>()?;
    let (first, remembered) = (initial[0].slice::<T>(), initial[initial.len() - 1].slice::<T>());
    for step in steps {
        let (at, previous) = (sequences.step(step), sequences.previous(step, reverse));
        let before = |packed: Target<T>, initial: &[T]| {
            let earlier = packed.pointer().wrapping_add(previous.start * hidden);
            Before { earlier, count: previous.count, initial: initial.as_ptr(), width: hidden }
        };
        parallel::ranges(panels[0].count(), grain(at.len() * inputs * Panels::<T>::WIDTH), |start, end| {
            for block in start..end {
                let units = panels[0].columns(block);
                let hidden_before = before(to.outputs, first);
                for part in F::FROM_STATE {
                    for k in 0..part.count {
                        let column = (part.column + k) * hidden + units.start;
                        let (beta, bias) = if part.added { (T::one(), Bias::None) } else { (T::zero(), Bias::PerColumn(&bias[column..column + units.len()])) };
                        for from in [0..previous.count, previous.count..at.len()] {
                            let sizes = [from.len(), units.len(), hidden];
                            let (a, c) = (rows_of(hidden, hidden_before.row(from.start)), to.gates(at.start + from.start, column, width));
                            let epilogue = Epilogue { bias, activation: Activation::None };
                            // SAFETY: the states before this step are complete: an earlier step's, or initial ones. The gates of this step and these units are this task's alone.
                            unsafe { gemm(sizes, a, panels[part.gate + k].panel(block), beta, c, &epilogue) };
                        }
                    }
                }
                T::run(Apply {
                    formula: PhantomData::<F>,
                    rows: at.len(),
                    units,
                    hidden,
                    gates: to.gates(at.start, 0, width).start,
                    outputs: to.outputs.pointer().wrapping_add(at.start * hidden),
                    cells: to.cells.map(|cells| cells.pointer().wrapping_add(at.start * hidden)),
                    before: before(to.cells.unwrap_or(to.outputs), remembered),
                });
            }
        });
    }
    Ok(States { gates, hidden: outputs, cells })
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

/// The formula for some units of all rows of a step. Whoever makes one vouches for the addresses: those that are written are its own.
struct Apply<F, T> {
    formula: PhantomData<F>,
    rows: usize,
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
        for row in 0..self.rows {
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
