//! Recurrent layers: all steps of one layer in one direction as one operation. Backward through time is one fused kernel; when the pass is recorded, it is written step by step in operations on tensors.

use crate::rules::precision::precision;
use crate::rules::recurrent_steps::{Steps, gradients};
use crate::{Array, Error, Keep, Result, Tensor};
use chainrule_core::ops::recurrent::{Cell, Weights, recurrent, recurrent_backward};

/// The parameters of one recurrent layer in one direction, under PyTorch's names; G is the number of gates: 1 of an RNN, 4 of an LSTM, 3 of a GRU.
#[derive(Clone, Copy, Debug)]
pub struct RecurrentWeights<'a> {
    /// `[G · H, D]`
    pub weight_ih: &'a Tensor,
    /// `[G · H, H]`
    pub weight_hh: &'a Tensor,
    /// `[G · H]`
    pub bias_ih: Option<&'a Tensor>,
    /// `[G · H]`
    pub bias_hh: Option<&'a Tensor>,
}

/// How a recurrent layer walks over its sequences. The default: all steps of all of them, from the first on.
/// ```
/// # use chainrule_autograd::Recurrence;
/// let backward = Recurrence { lengths: Some(&[5, 2, 3]), reverse: true };
/// assert!(!Recurrence::default().reverse && backward.lengths.is_some());
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Recurrence<'a> {
    /// The number of steps of each sequence; behind them the output is zero, and the states stay.
    pub lengths: Option<&'a [usize]>,
    /// From each sequence's end to its start.
    pub reverse: bool,
}

impl Tensor {
    /// `h' = tanh(W x + b + V h + d)` for each step: `[B, T, D] -> [B, T, H]`, and the last h `[B, H]` (PyTorch's `rnn_tanh` of one layer; Elman 1990). Without `initial` h starts from zero.
    /// ```
    /// # use chainrule_autograd::{DType, Recurrence, RecurrentWeights, Tensor};
    /// let (x, weight_ih, weight_hh) = (Tensor::zeros(&[2, 5, 3], DType::F32)?, Tensor::ones(&[4, 3], DType::F32)?, Tensor::ones(&[4, 4], DType::F32)?);
    /// let weights = RecurrentWeights { weight_ih: &weight_ih, weight_hh: &weight_hh, bias_ih: None, bias_hh: None };
    /// let (y, [h]) = x.rnn_tanh(None, &weights, Recurrence::default())?;
    /// assert_eq!((y.dims(), h.dims()), (&[2, 5, 4][..], &[2, 4][..]));
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Shapes that do not belong together; lengths beyond T; different element types, or other ones than f32 and f64.
    pub fn rnn_tanh(&self, initial: Option<[&Tensor; 1]>, weights: &RecurrentWeights, recurrence: Recurrence) -> Result<(Tensor, [Tensor; 1])> {
        self.recurrent(Cell::RnnTanh, initial, weights, recurrence)
    }

    /// `h' = max(W x + b + V h + d, 0)` for each step; else as [`rnn_tanh`](Tensor::rnn_tanh) (PyTorch's `rnn_relu`).
    /// ```
    /// # use chainrule_autograd::{DType, Recurrence, RecurrentWeights, Tensor};
    /// let (x, weight_ih, weight_hh) = (Tensor::ones(&[1, 3, 1], DType::F32)?, Tensor::ones(&[1, 1], DType::F32)?, Tensor::ones(&[1, 1], DType::F32)?);
    /// let weights = RecurrentWeights { weight_ih: &weight_ih, weight_hh: &weight_hh, bias_ih: None, bias_hh: None };
    /// let (y, [h]) = x.rnn_relu(None, &weights, Recurrence::default())?;
    /// assert_eq!((y.to_vec::<f32>()?, h.to_vec::<f32>()?), (vec![1.0, 2.0, 3.0], vec![3.0]));
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`rnn_tanh`](Tensor::rnn_tanh).
    pub fn rnn_relu(&self, initial: Option<[&Tensor; 1]>, weights: &RecurrentWeights, recurrence: Recurrence) -> Result<(Tensor, [Tensor; 1])> {
        self.recurrent(Cell::RnnRelu, initial, weights, recurrence)
    }

    /// `c' = σ(f) c + σ(i) tanh(g)`, `h' = σ(o) tanh(c')` for each step, where `[i, f, g, o] = W x + b + V h + d`: `[B, T, D] -> [B, T, H]`, and the last h and c, `[B, H]` (PyTorch's `lstm` of one layer; Hochreiter and Schmidhuber 1997).
    /// Without `initial` h and c start from zero.
    /// ```
    /// # use chainrule_autograd::{DType, Recurrence, RecurrentWeights, Rng, Tensor};
    /// let mut random = |dims: &[usize]| Tensor::uniform(dims, -0.5, 0.5, DType::F32, &mut Rng::seeded(0));
    /// let (x, weight_ih, weight_hh) = (random(&[2, 5, 3])?, random(&[16, 3])?, random(&[16, 4])?);
    /// let weights = RecurrentWeights { weight_ih: &weight_ih, weight_hh: &weight_hh, bias_ih: None, bias_hh: None };
    /// let (y, [h, c]) = x.lstm(None, &weights, Recurrence { lengths: Some(&[5, 2]), ..Recurrence::default() })?;
    /// assert_eq!((y.dims(), h.dims(), c.dims()), (&[2, 5, 4][..], &[2, 4][..], &[2, 4][..]));
    /// assert_eq!(y.select(0, 1)?.select(0, 1)?.to_vec::<f32>()?, h.select(0, 1)?.to_vec::<f32>()?);
    /// assert_eq!(y.select(0, 1)?.select(0, 2)?.to_vec::<f32>()?, [0.0; 4]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`rnn_tanh`](Tensor::rnn_tanh).
    pub fn lstm(&self, initial: Option<[&Tensor; 2]>, weights: &RecurrentWeights, recurrence: Recurrence) -> Result<(Tensor, [Tensor; 2])> {
        self.recurrent(Cell::Lstm, initial, weights, recurrence)
    }

    /// `h' = (1 - z) n + z h` for each step, with `n = tanh(Wₙ x + bₙ + r (Vₙ h + dₙ))` and `r`, `z` being `σ(W x + b + V h + d)` of theirs, the weights in the order r, z, n:
    /// `[B, T, D] -> [B, T, H]`, and the last h `[B, H]` (PyTorch's `gru` of one layer; Cho et al. 2014). Without `initial` h starts from zero.
    /// ```
    /// # use chainrule_autograd::{DType, Recurrence, RecurrentWeights, Tensor};
    /// let (x, weight_ih, weight_hh) = (Tensor::zeros(&[2, 5, 3], DType::F32)?, Tensor::ones(&[12, 3], DType::F32)?, Tensor::ones(&[12, 4], DType::F32)?);
    /// let weights = RecurrentWeights { weight_ih: &weight_ih, weight_hh: &weight_hh, bias_ih: None, bias_hh: None };
    /// let (y, [h]) = x.gru(None, &weights, Recurrence::default())?;
    /// assert_eq!((y.dims(), h.to_vec::<f32>()?), (&[2, 5, 4][..], vec![0.0; 8]));
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`rnn_tanh`](Tensor::rnn_tanh).
    pub fn gru(&self, initial: Option<[&Tensor; 1]>, weights: &RecurrentWeights, recurrence: Recurrence) -> Result<(Tensor, [Tensor; 1])> {
        self.recurrent(Cell::Gru, initial, weights, recurrence)
    }

    fn recurrent<const N: usize>(
        &self,
        cell: Cell,
        initial: Option<[&Tensor; N]>,
        weights: &RecurrentWeights,
        Recurrence { lengths, reverse }: Recurrence,
    ) -> Result<(Tensor, [Tensor; N])> {
        // What is left out is a constant zero.
        let zeros = |dims: &[usize]| Ok::<Tensor, Error>(self.array.new_full(dims, 0.0)?.into());
        let (rows, hidden) = (weights.weight_hh.dims().first().copied().unwrap_or(0), weights.weight_hh.dims().last().copied().unwrap_or(0));
        let (no_bias, no_state) = (zeros(&[rows])?, zeros(&[self.dims().first().copied().unwrap_or(0), hidden])?);
        let initial = initial.unwrap_or([&no_state; N]);
        let mut inputs = vec![self, weights.weight_ih, weights.weight_hh, weights.bias_ih.unwrap_or(&no_bias), weights.bias_hh.unwrap_or(&no_bias)];
        inputs.extend(initial);
        let Some(narrow) = precision(&inputs) else { return record(cell, &inputs, lengths, reverse) };
        // The states stay as they are: they are carried on.
        let rounded = inputs[..5].iter().map(|input| input.round_to(narrow)).collect::<Result<Vec<_>>>()?;
        let (y, last) = record(cell, &rounded.iter().chain(initial).collect::<Vec<_>>(), lengths, reverse)?;
        Ok((y.round_to(narrow)?, last))
    }
}

/// The operation on x, the parameters and N states.
fn record<const N: usize>(cell: Cell, inputs: &[&Tensor], lengths: Option<&[usize]>, reverse: bool) -> Result<(Tensor, [Tensor; N])> {
    let arrays: Vec<&Array> = inputs.iter().map(|input| &input.array).collect();
    let out = recurrent(cell, arrays[0], &arrays[5..], &weights_of(&arrays), lengths, reverse)?;
    let outputs = [vec![out.y], out.last].concat();
    let (saved, lengths, name) = (out.saved, lengths.map(<[usize]>::to_vec), cell.name());
    let outputs = Tensor::record_outputs(name, inputs, Keep::INPUTS, outputs, move |pass, by, out| {
        let places = 0..out.len();
        if pass.recorded() {
            let inputs = places.map(|i| pass.input(i)).collect::<Result<Vec<_>>>()?;
            let steps = Steps::new(inputs[0].dims(), lengths.as_deref(), reverse)?;
            let found = gradients(pass, cell, &inputs, &steps, by)?;
            out.iter_mut().zip(found).for_each(|(slot, gradient)| *slot = Some(gradient));
            return Ok(());
        }
        let inputs = places.map(|i| pass.input_array(i)).collect::<Result<Vec<_>>>()?;
        let by = |i: usize| by.get(i).and_then(|gradient| gradient.as_ref()).map(|gradient| &gradient.array);
        let needs = std::array::from_fn(|i| pass.needs(i));
        let found = recurrent_backward(&saved, inputs[0], &inputs[5..], &weights_of(&inputs), by(0), [by(1), by(2)], needs)?;
        out.iter_mut().zip(found).for_each(|(slot, gradient)| *slot = gradient.map(Tensor::off));
        Ok(())
    })?;
    let mut last = outputs;
    let y = last.remove(0);
    let last = last.try_into().map_err(|last: Vec<Tensor>| Error::value(name, format!("got {} states, expected {N}", last.len())))?;
    Ok((y, last))
}

/// The parameters among the inputs: they follow x.
fn weights_of<'a>(inputs: &[&'a Array]) -> Weights<'a> {
    Weights { input: inputs[1], hidden: inputs[2], input_bias: Some(inputs[3]), hidden_bias: Some(inputs[4]) }
}
