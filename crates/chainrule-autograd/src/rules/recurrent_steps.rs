//! The backward pass of recurrent layers in operations on tensors, step by step, for passes that are recorded: the steps are computed again, so that their values can be differentiated once more.

use crate::{Array, Pass, Result, Tensor};
use chainrule_core::ops::recurrent::Cell;

/// The steps in their order, each with which sequences it concerns.
pub(super) struct Steps(Vec<Step>);

struct Step {
    t: usize,
    /// `[B, 1]`, 1 for the sequences that have this step; `None` if all have.
    alive: Option<Tensor>,
}

impl Steps {
    /// Those of an input `[B, T, D]`.
    pub(super) fn new(dims: &[usize], lengths: Option<&[usize]>, reverse: bool) -> Result<Steps> {
        let (batch, steps) = (dims[0], dims[1]);
        let step = |t: usize| {
            let mask = |lengths: &[usize]| Tensor::from_slice(&lengths.iter().map(|&length| (t < length) as u8).collect::<Vec<_>>(), &[batch, 1]);
            Ok(Step { t, alive: lengths.map(mask).transpose()? })
        };
        let steps = if reverse { (0..steps).rev().map(step).collect::<Result<_>>()? } else { (0..steps).map(step).collect::<Result<_>>()? };
        Ok(Steps(steps))
    }
}

impl Step {
    /// `yes` for the sequences that have this step, `no` for the others.
    fn choose(&self, yes: &Tensor, no: &Tensor) -> Result<Tensor> {
        self.alive.as_ref().map_or_else(|| Ok(yes.clone()), |alive| alive.where_(yes, no))
    }
}

/// What a step gives: its gates, of the GRU also the state's part of the third, and the states after it.
struct Outcome {
    gates: Vec<Tensor>,
    states: Vec<Tensor>,
}

/// The gradients by what enters a step: by its products with the input and with the state, `[B, G · H]`, and by the states on the ways beside the products.
struct Slopes {
    input: Tensor,
    state: Tensor,
    states: Vec<Tensor>,
}

/// The formula of a step: `[B, D]`, states `[B, H]`.
fn step(cell: Cell, x: &Tensor, states: &[Tensor], [weight_ih, weight_hh, bias_ih, bias_hh]: [&Tensor; 4]) -> Result<Outcome> {
    let (input, state) = (x.linear(weight_ih, Some(bias_ih))?, states[0].linear(weight_hh, Some(bias_hh))?);
    Ok(match cell {
        Cell::RnnTanh | Cell::RnnRelu => {
            let a = input.add(&state)?;
            let h = if cell == Cell::RnnTanh { a.tanh()? } else { a.relu()? };
            Outcome { gates: vec![], states: vec![h] }
        }
        Cell::Lstm => {
            let a = input.add(&state)?.chunk(4, 1)?;
            let gates = vec![a[0].sigmoid()?, a[1].sigmoid()?, a[2].tanh()?, a[3].sigmoid()?];
            let c = gates[1].mul(&states[1])?.add(&gates[0].mul(&gates[2])?)?;
            Outcome { states: vec![gates[3].mul(&c.tanh()?)?, c], gates }
        }
        Cell::Gru => {
            let (a, q) = (input.chunk(3, 1)?, state.chunk(3, 1)?);
            let (r, z) = (a[0].add(&q[0])?.sigmoid()?, a[1].add(&q[1])?.sigmoid()?);
            let n = a[2].add(&r.mul(&q[2])?)?.tanh()?;
            let h = n.add(&z.mul(&states[0].sub(&n)?)?)?;
            Outcome { gates: vec![r, z, n, q[2].clone()], states: vec![h] }
        }
    })
}

/// `1 - x`
fn rest(x: &Tensor) -> Result<Tensor> {
    x.affine(-1.0, 1.0)
}

/// The slopes of a step, from its outcome, the states before it and the gradients `by` the states after it.
fn slopes(cell: Cell, Outcome { gates, states }: &Outcome, before: &[Tensor], by: &[Tensor]) -> Result<Slopes> {
    let of_sigmoid = |y: &Tensor| y.mul(&rest(y)?);
    let of_tanh = |y: &Tensor| rest(&y.square()?);
    Ok(match cell {
        Cell::RnnTanh | Cell::RnnRelu => {
            let h = &states[0];
            let slope = if cell == Cell::RnnTanh { of_tanh(h)? } else { h.greater(&Tensor::scalar(0.0, h.dtype())?)?.cast(h.dtype())? };
            let slope = by[0].mul(&slope)?;
            Slopes { state: slope.clone(), input: slope, states: vec![by[0].mul_scalar(0.0)?] }
        }
        Cell::Lstm => {
            let [i, f, g, o] = &gates[..] else { return Err(crate::Error::value("lstm", "a step has four gates")) };
            let t = states[1].tanh()?;
            let by_cell = by[0].mul(o)?.mul(&of_tanh(&t)?)?.add(&by[1])?;
            let parts = [
                by_cell.mul(g)?.mul(&of_sigmoid(i)?)?,
                by_cell.mul(&before[1])?.mul(&of_sigmoid(f)?)?,
                by_cell.mul(i)?.mul(&of_tanh(g)?)?,
                by[0].mul(&t)?.mul(&of_sigmoid(o)?)?,
            ];
            let slope = Tensor::concatenate(&parts.each_ref(), 1)?;
            Slopes { state: slope.clone(), input: slope, states: vec![by[0].mul_scalar(0.0)?, by_cell.mul(f)?] }
        }
        Cell::Gru => {
            let [r, z, n, q] = &gates[..] else { return Err(crate::Error::value("gru", "a step has three gates")) };
            let by_n = by[0].mul(&rest(z)?)?.mul(&of_tanh(n)?)?;
            let by_r = by_n.mul(q)?.mul(&of_sigmoid(r)?)?;
            let by_z = by[0].mul(&before[0].sub(n)?)?.mul(&of_sigmoid(z)?)?;
            let by_q = by_n.mul(r)?;
            Slopes {
                input: Tensor::concatenate(&[&by_r, &by_z, &by_n], 1)?,
                state: Tensor::concatenate(&[&by_r, &by_z, &by_q], 1)?,
                states: vec![by[0].mul(z)?],
            }
        }
    })
}

/// The gradients by x, both weights, both biases and the initial states, from those by y and the last states.
pub(super) fn gradients(pass: &Pass, cell: Cell, inputs: &[Tensor], Steps(steps): &Steps, by: &[Option<Tensor>]) -> Result<Vec<Tensor>> {
    let [x, weight_ih, weight_hh, bias_ih, bias_hh, initial @ ..] = inputs else { return Ok(vec![]) };
    let zeros = |like: &Tensor| Ok(pass.constant(Array::zeros(like.dims(), like.dtype())?));
    let mut states = initial.to_vec();
    let mut outcomes = Vec::with_capacity(steps.len());
    for at in steps {
        let outcome = step(cell, &x.select(1, at.t)?, &states, [weight_ih, weight_hh, bias_ih, bias_hh])?;
        let after = outcome.states.iter().zip(&states).map(|(new, old)| at.choose(new, old)).collect::<Result<Vec<_>>>()?;
        outcomes.push((outcome, std::mem::replace(&mut states, after)));
    }

    let given = |i: usize, like: &Tensor| by.get(i).cloned().flatten().map_or_else(|| zeros(like), Ok);
    let mut carried = initial.iter().enumerate().map(|(i, state)| given(1 + i, state)).collect::<Result<Vec<_>>>()?;
    let nothing = Tensor::scalar(0.0, x.dtype())?;
    // By step of the sequence: slopes of both products, and the hidden state that one of them was with.
    let mut found: Vec<Option<[Tensor; 3]>> = vec![None; steps.len()];
    for (at, (outcome, before)) in steps.iter().zip(outcomes).rev() {
        if let Some(dy) = &by[0] {
            carried[0] = carried[0].add(&at.choose(&dy.select(1, at.t)?, &nothing)?)?;
        }
        let reaching = carried.iter().map(|by| at.choose(by, &nothing)).collect::<Result<Vec<_>>>()?;
        let slopes = slopes(cell, &outcome, &before, &reaching)?;
        let mut past = slopes.states;
        past[0] = past[0].add(&slopes.state.matmul(weight_hh)?)?;
        carried = past.iter().zip(&carried).map(|(new, old)| at.choose(new, old)).collect::<Result<Vec<_>>>()?;
        found[at.t] = Some([slopes.input, slopes.state, before[0].clone()]);
    }

    if steps.is_empty() {
        let none = inputs[..5].iter().map(zeros).collect::<Result<Vec<_>>>()?;
        return Ok([none, carried].concat());
    }
    let joined = |which: usize| Tensor::stack(&found.iter().flatten().map(|parts| &parts[which]).collect::<Vec<_>>(), 1);
    let rows = |x: &Tensor| x.reshape(&[x.dims()[0] * x.dims()[1], x.dims()[2]]);
    let (input, state, before) = (joined(0)?, joined(1)?, joined(2)?);
    let of_weight = |slope: &Tensor, with: &Tensor| rows(slope)?.transpose(0, 1)?.matmul(&rows(with)?);
    let parameters = [of_weight(&input, x)?, of_weight(&state, &before)?, input.sum_over(&[0, 1], false)?, state.sum_over(&[0, 1], false)?];
    Ok([vec![input.matmul(weight_ih)?], parameters.to_vec(), carried].concat())
}
