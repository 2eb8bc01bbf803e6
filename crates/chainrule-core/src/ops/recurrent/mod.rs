//! Recurrent layers: all steps of one layer in one direction as one operation, and its backward pass through time (PyTorch's `RNN`, `LSTM`, `GRU`).
//!
//! With `x_t [B, D]`, the state `h [B, H]` and, of the LSTM, the cell state `c [B, H]`:
//!
//! - RNN: `h' = tanh(a)` or `max(a, 0)`, `a = W x + b + V h + d`; Elman 1990.
//! - LSTM: `c' = f c + i g`, `h' = o tanh(c')`; `i`, `f`, `o` are `σ` and `g` is `tanh` of a gate's `W x + b + V h + d`; Hochreiter and Schmidhuber 1997, Gers et al. 2000.
//! - GRU: `h' = (1 - z) n + z h`, `n = tanh(W x + b + r (V h + d))`; `r` and `z` are `σ` of theirs; Cho et al. 2014 in PyTorch's form.
//!
//! The products with the inputs of all steps are one product. A step multiplies the state with the weight, which lies in panels, and applies the formula block by block of units:
//! a block's gates are in the nearest cache when they are activated, and a step costs one hand-over to the threads. Backward works alike, and sums the weights' gradients over all steps in one product.

mod backward;
mod cells;
mod few;
mod forward;
mod pieces;
mod schedule;
mod sequences;
mod slopes;
#[cfg(test)]
mod tests;

use crate::array::Array;
use crate::error::{Error, Result};
use crate::float::with_float;
use crate::ops::on_cpu;
use crate::ops::{expect_shape, same_dtype};
use sequences::Sequences;

pub use backward::recurrent_backward;

/// A kind of recurrent layer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cell {
    /// `h' = tanh(a)`
    RnnTanh,
    /// `h' = max(a, 0)`
    RnnRelu,
    /// Gates i, f, g, o; states h and c.
    Lstm,
    /// Gates r, z, n.
    Gru,
}

impl Cell {
    /// The name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Cell::RnnTanh | Cell::RnnRelu => "rnn",
            Cell::Lstm => "lstm",
            Cell::Gru => "gru",
        }
    }
    /// How many blocks of H rows its weights have.
    pub fn gates(self) -> usize {
        match self {
            Cell::RnnTanh | Cell::RnnRelu => 1,
            Cell::Lstm => 4,
            Cell::Gru => 3,
        }
    }
    /// How many states it carries from step to step.
    pub fn states(self) -> usize {
        if self == Cell::Lstm { 2 } else { 1 }
    }
}

/// Runs the body with `$f` standing for the formula of a cell.
macro_rules! with_cell {
    ($cell:expr, $f:ident => $body:expr) => {
        match $cell {
            $crate::ops::recurrent::Cell::RnnTanh => {
                type $f = $crate::ops::recurrent::cells::Tanh;
                $body
            }
            $crate::ops::recurrent::Cell::RnnRelu => {
                type $f = $crate::ops::recurrent::cells::Relu;
                $body
            }
            $crate::ops::recurrent::Cell::Lstm => {
                type $f = $crate::ops::recurrent::cells::Lstm;
                $body
            }
            $crate::ops::recurrent::Cell::Gru => {
                type $f = $crate::ops::recurrent::cells::Gru;
                $body
            }
        }
    };
}
use with_cell;

/// The parameters of one layer in one direction; G is the number of gates.
#[derive(Clone, Copy, Debug)]
pub struct Weights<'a> {
    /// W, `[G · H, D]`.
    pub input: &'a Array,
    /// V, `[G · H, H]`.
    pub hidden: &'a Array,
    /// b, `[G · H]`.
    pub input_bias: Option<&'a Array>,
    /// d, `[G · H]`.
    pub hidden_bias: Option<&'a Array>,
}

/// What [`recurrent`] computes.
#[derive(Clone, Debug)]
pub struct Recurrent {
    /// The hidden state after each step, `[B, T, H]`; zero where a sequence has ended. It may be a strided view.
    pub y: Array,
    /// The states after each sequence's last step, `[B, H]`: h and, of the LSTM, c.
    pub last: Vec<Array>,
    /// What the backward pass needs.
    pub saved: Saved,
}

/// What [`recurrent_backward`] needs of the forward pass beside its inputs.
#[derive(Clone, Debug)]
pub struct Saved {
    cell: Cell,
    reverse: bool,
    sequences: Sequences,
    states: States,
}

/// What happened in each step, packed.
#[derive(Clone, Debug)]
struct States {
    /// Activated gates, `[rows, columns · H]`.
    gates: Array,
    /// Hidden states, `[rows, H]`.
    hidden: Array,
    /// Cell states, `[rows, H]`.
    cells: Option<Array>,
}

/// All steps of one layer in one direction: `x [B, T, D]`, states `[B, H]` -> `y [B, T, H]` and the last states.
///
/// With `lengths`, a sequence ends after its own number of steps: its states stay from there on, and `y` is zero. With `reverse`, each sequence runs from its own end to its start, and its last state is that of step 0.
///
/// # Errors
/// Shapes that do not belong together; other than the cell's number of states; lengths beyond T; element types that differ, or other ones than f32 and f64.
pub fn recurrent(cell: Cell, x: &Array, initial: &[&Array], weights: &Weights, lengths: Option<&[usize]>, reverse: bool) -> Result<Recurrent> {
    let op = cell.name();
    on_cpu!(op, [x, weights.input, weights.hidden; initial.first().copied(), initial.get(1).copied(), weights.input_bias, weights.hidden_bias]);
    let &[batch, steps, _] = x.dims() else {
        return Err(Error::shape(op, format!("the input has shape {:?}, expected [B, T, D]", x.shape())));
    };
    let hidden = check(cell, x, weights)?;
    if initial.len() != cell.states() {
        return Err(Error::value(op, format!("got {} initial states, expected {}", initial.len(), cell.states())));
    }
    for state in initial {
        same_dtype(op, x, state)?;
        expect_shape(op, "an initial state", state, &[batch, hidden])?;
    }
    let sequences = Sequences::new(op, batch, steps, lengths)?;
    let x = sequences.pack(x)?;
    let initial = initial.iter().map(|state| sequences.sort(state)).collect::<Result<Vec<_>>>()?;
    let states = with_float!(op, x.dtype(), T => with_cell!(cell, F => forward::forward::<F, T>(&sequences, reverse, &x, &initial, weights)))?;
    let last = |packed: &Array, initial: &Array| sequences.restore(&sequences.last(packed, initial, reverse)?);
    let packed = [Some(&states.hidden), states.cells.as_ref()];
    let last = packed.into_iter().flatten().zip(&initial).map(|(packed, initial)| last(packed, initial)).collect::<Result<Vec<_>>>()?;
    let y = sequences.unpack(&states.hidden)?;
    Ok(Recurrent { y, last, saved: Saved { cell, reverse, sequences, states } })
}

/// H, if the parameters fit one another and the input.
fn check(cell: Cell, x: &Array, weights: &Weights) -> Result<usize> {
    let (op, gates) = (cell.name(), cell.gates());
    let &[rows, hidden] = weights.hidden.dims() else {
        return Err(Error::shape(op, format!("the weight of the state has shape {:?}, expected [{gates} H, H]", weights.hidden.shape())));
    };
    if rows != gates * hidden {
        return Err(Error::shape(op, format!("the weight of the state has shape [{rows}, {hidden}], expected [{gates} H, H]")));
    }
    same_dtype(op, x, weights.hidden)?;
    same_dtype(op, x, weights.input)?;
    let features = x.dims()[x.rank() - 1];
    if weights.input.dims() != [rows, features] {
        let (input, weight) = (x.shape(), weights.input.shape());
        return Err(Error::shape(
            op,
            format!("the input has shape {input:?}, the weight of the input {weight:?}, expected [{gates} H, D] = [{rows}, {features}]"),
        ));
    }
    for (what, bias) in [("the bias of the input", weights.input_bias), ("the bias of the state", weights.hidden_bias)] {
        if let Some(bias) = bias {
            same_dtype(op, x, bias)?;
            expect_shape(op, what, bias, &[rows])?;
        }
    }
    Ok(hidden)
}
