//! Recurrent layers, one on top of the other, in one direction or both (PyTorch's `RNN`, `LSTM`, `GRU` with `batch_first`).

use super::{GruCell, LstmCell, RnnCell};
use crate::{Kind, Layer, Module, Path, Visitor, VisitorMut, observed};
use chainrule_autograd::{Error, Recurrence, Result, Rng, Tensor};

/// A stack of cells: its documentation, name, cell and number of states.
macro_rules! recurrent {
    ($(#[$doc:meta])* $layer:ident $torch:literal, $cell:ident, states: $states:literal) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $layer {
            /// The parameters of each layer; if bidirectional, of its forward and then of its backward direction. The state dict has them as `weight_ih_l0`, `weight_ih_l0_reverse`, …
            pub cells: Vec<$cell>,
            /// Whether each layer also runs from the end to the start, and gives both outputs side by side.
            pub bidirectional: bool,
            /// The rate of dropout on what a layer hands to the next.
            pub dropout: f64,
        }

        impl $layer {
            /// Layers of f32 for inputs of `inputs` features, each with `hidden` units, all parameters uniform within `±1/sqrt(H)`.
            ///
            /// # Errors
            /// No layers or no units; no memory.
            pub fn new(inputs: usize, hidden: usize, layers: usize, rng: &mut Rng) -> Result<$layer> {
                $layer::of(inputs, hidden, layers, false, rng)
            }

            /// The same in both directions: each layer gives `2 H` features.
            ///
            /// # Errors
            /// No layers or no units; no memory.
            pub fn bidirectional(inputs: usize, hidden: usize, layers: usize, rng: &mut Rng) -> Result<$layer> {
                $layer::of(inputs, hidden, layers, true, rng)
            }

            fn of(inputs: usize, hidden: usize, layers: usize, bidirectional: bool, rng: &mut Rng) -> Result<$layer> {
                if layers == 0 {
                    return Err(Error::value($torch, "got 0 layers, expected at least 1"));
                }
                let directions = 1 + bidirectional as usize;
                let inputs = |layer: usize| if layer == 0 { inputs } else { directions * hidden };
                let cells = (0..layers * directions).map(|i| $cell::new(inputs(i / directions), hidden, rng)).collect::<Result<_>>()?;
                Ok($layer { cells, bidirectional, dropout: 0.0 })
            }

            /// Dropout at this rate on what a layer hands to the next.
            pub fn dropout(self, dropout: f64) -> $layer {
                $layer { dropout, ..self }
            }
            /// Without biases.
            pub fn without_bias(mut self) -> $layer {
                self.cells = self.cells.into_iter().map($cell::without_bias).collect();
                self
            }

            /// `[B, T, D] -> [B, T, H]` (`2 H` if bidirectional), and the last states, `[L, B, H]` with an L for each of `cells`; `[T, D]` alike, without B.
            ///
            /// It starts from `state`, or from zeros. With `lengths`, each sequence ends after its own number of steps: behind it the output is zero, the last states are those of its own last step,
            /// and the backward direction starts at its own end.
            ///
            /// # Errors
            /// Shapes that do not fit; other than one length for each sequence, or lengths beyond T.
            pub fn sequence(&self, x: &Tensor, state: Option<&[Tensor; $states]>, lengths: Option<&[usize]>) -> Result<(Tensor, [Tensor; $states])> {
                if let Some(cell) = self.cells.first().filter(|cell| !matches!(x.rank(), 2 | 3) || x.dims().last() != cell.weight_ih.value.dims().last()) {
                    let (got, weight) = (x.shape(), cell.weight_ih.value.shape());
                    return cell.weight_ih.at(Err(Error::shape($torch, format!("the input has shape {got:?}, expected [B, T, D] or [T, D] for a weight of {weight:?}"))));
                }
                if x.rank() == 2 {
                    let state = state.map(|state| each(|i| state[i].unsqueeze(1))).transpose()?;
                    let (y, last) = self.batched(&x.unsqueeze(0)?, state.as_ref(), lengths)?;
                    return Ok((observed(self, y.squeeze(0)?), each(|i| last[i].squeeze(1))?));
                }
                let (y, last) = self.batched(x, state, lengths)?;
                Ok((observed(self, y), last))
            }

            fn batched(&self, x: &Tensor, state: Option<&[Tensor; $states]>, lengths: Option<&[usize]>) -> Result<(Tensor, [Tensor; $states])> {
                for state in state.into_iter().flatten() {
                    if state.rank() != 3 || state.dims()[0] != self.cells.len() {
                        let (got, count) = (state.shape(), self.cells.len());
                        return Err(Error::shape($torch, format!("a state has shape {got:?}, expected [{count}, B, H]")));
                    }
                }
                let mut y = x.clone();
                let mut last: Vec<[Tensor; $states]> = Vec::with_capacity(self.cells.len());
                for cells in self.cells.chunks(1 + self.bidirectional as usize) {
                    if !last.is_empty() {
                        y = y.dropout(self.dropout)?;
                    }
                    let mut outputs = Vec::with_capacity(cells.len());
                    for (direction, cell) in cells.iter().enumerate() {
                        let own = state.map(|state| each(|i| state[i].select(0, last.len()))).transpose()?;
                        let (output, states) = cell.sequence(&y, own.as_ref(), Recurrence { lengths, reverse: direction == 1 })?;
                        outputs.push(output);
                        last.push(states);
                    }
                    y = match &outputs[..] {
                        [one] => one.clone(),
                        both => Tensor::concatenate(&both.iter().collect::<Vec<_>>(), -1)?,
                    };
                }
                let stacked = |i: usize| Tensor::stack(&last.iter().map(|states| &states[i]).collect::<Vec<_>>(), 0);
                Ok((y, each(stacked)?))
            }

            /// One step of all layers, for streams: `x [B, D]` and the states `[L, B, H]` to the output `[B, H]` and the states after the step.
            ///
            /// # Errors
            /// Shapes that do not fit; a bidirectional layer, which needs the whole sequence.
            pub fn step(&self, x: &Tensor, state: Option<&[Tensor; $states]>) -> Result<(Tensor, [Tensor; $states])> {
                if self.bidirectional {
                    return Err(Error::value($torch, "a step of a bidirectional layer: its backward direction needs the whole sequence"));
                }
                if x.rank() != 2 {
                    return Err(Error::shape($torch, format!("the input of a step has shape {:?}, expected [B, D]", x.shape())));
                }
                let (y, last) = self.batched(&x.unsqueeze(1)?, state, None)?;
                Ok((y.squeeze(1)?, last))
            }
        }

        impl Module for $layer {
            fn visit(&self, path: &mut Path, visitor: &mut dyn Visitor) {
                visitor.module(path.as_str(), Kind::of(self));
                for (i, cell) in self.cells.iter().enumerate() {
                    cell.visit_named(&suffix(i, self.bidirectional), path, visitor);
                }
            }
            fn visit_mut(&mut self, path: &mut Path, visitor: &mut dyn VisitorMut) {
                for (i, cell) in self.cells.iter_mut().enumerate() {
                    cell.visit_named_mut(&suffix(i, self.bidirectional), path, visitor);
                }
            }
        }

        impl Layer for $layer {
            fn forward(&self, x: &Tensor) -> Result<Tensor> {
                Ok(self.sequence(x, None, None)?.0)
            }
        }
    };
}

/// What PyTorch's names of the i-th cell's parameters end with.
fn suffix(i: usize, bidirectional: bool) -> String {
    match (bidirectional, i % 2) {
        (false, _) => format!("_l{i}"),
        (true, 0) => format!("_l{}", i / 2),
        (true, _) => format!("_l{}_reverse", i / 2),
    }
}

recurrent! {
    /// Simple recurrent layers (Elman 1990): `h' = tanh(W x + b + V h + d)` for each step, `[B, T, D] -> [B, T, H]`.
    /// ```
    /// # use chainrule_autograd::{DType, Rng, Tensor};
    /// # use chainrule_nn::{Layer, Rnn};
    /// let rnn = Rnn::new(3, 4, 2, &mut Rng::seeded(0))?.relu();
    /// assert_eq!(rnn.run(&Tensor::ones(&[2, 5, 3], DType::F32)?)?.dims(), [2, 5, 4]);
    /// # Ok::<(), chainrule_nn::Error>(())
    /// ```
    Rnn "rnn", RnnCell, states: 1
}

impl Rnn {
    /// With max(a, 0) in place of tanh(a).
    pub fn relu(mut self) -> Rnn {
        self.cells = self.cells.into_iter().map(RnnCell::relu).collect();
        self
    }
}

recurrent! {
    /// Long short-term memory (Hochreiter and Schmidhuber 1997): the formula of [`LstmCell`] for each step, `[B, T, D] -> [B, T, H]`. The states are h and c.
    /// ```
    /// # use chainrule_autograd::{DType, Rng, Tensor};
    /// # use chainrule_nn::{Layer, Lstm};
    /// let lstm = Lstm::bidirectional(3, 4, 2, &mut Rng::seeded(0))?.dropout(0.1);
    /// let x = Tensor::ones(&[2, 5, 3], DType::F32)?;
    /// assert_eq!(lstm.run(&x)?.dims(), [2, 5, 8]);
    /// let (y, [h, c]) = lstm.sequence(&x, None, Some(&[5, 3]))?;
    /// assert_eq!((h.dims(), c.dims()), (&[4, 2, 4][..], &[4, 2, 4][..]));
    /// assert_eq!(y.select(0, 1)?.select(0, 3)?.to_vec::<f32>()?, [0.0; 8]);
    /// # Ok::<(), chainrule_nn::Error>(())
    /// ```
    Lstm "lstm", LstmCell, states: 2
}

recurrent! {
    /// Gated recurrent units (Cho et al. 2014): the formula of [`GruCell`] for each step, `[B, T, D] -> [B, T, H]`.
    /// ```
    /// # use chainrule_autograd::{DType, Rng, Tensor};
    /// # use chainrule_nn::Gru;
    /// let gru = Gru::new(3, 4, 2, &mut Rng::seeded(0))?;
    /// let x = Tensor::ones(&[2, 3], DType::F32)?;
    /// let mut state = None;
    /// for _ in 0..5 {
    ///     let (y, next) = gru.step(&x, state.as_ref())?; // a stream, step by step
    ///     assert_eq!(y.dims(), [2, 4]);
    ///     state = Some(next);
    /// }
    /// # Ok::<(), chainrule_nn::Error>(())
    /// ```
    Gru "gru", GruCell, states: 1
}

/// N states, made one by one.
fn each<const N: usize>(make: impl FnMut(usize) -> Result<Tensor>) -> Result<[Tensor; N]> {
    let made = (0..N).map(make).collect::<Result<Vec<_>>>()?;
    made.try_into().map_err(|made: Vec<Tensor>| Error::value("recurrent", format!("made {} states, expected {N}", made.len())))
}
