//! Recurrent cells: the parameters of one layer in one direction, which run one step at a time or a whole sequence (PyTorch's `RNNCell`, `LSTMCell`, `GRUCell`).

use crate::adapter::{BoxedAdapter, Operation, adapted_weight, held, visit_weight, visit_weight_mut};
use crate::init::Init;
use crate::{Kind, Module, Param, Path, Visitor, VisitorMut};
use chainrule_autograd::{DType, Error, Recurrence, RecurrentWeights, Result, Rng, Tensor};

/// A cell: its documentation, name, blocks of rows of its weights, states, further settings, and the tensor's method for all its steps.
macro_rules! cell {
    ($(#[$doc:meta])* $cell:ident $torch:literal, gates: $gates:literal, states: $states:literal, { $($(#[$about:meta])* $setting:ident: $type:ty = $default:expr)? }, $run:expr) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $cell {
            #[doc = concat!("`[", $gates, " H, D]`")]
            pub weight_ih: Param,
            #[doc = concat!("`[", $gates, " H, H]`")]
            pub weight_hh: Param,
            #[doc = concat!("`[", $gates, " H]`")]
            pub bias_ih: Option<Param>,
            #[doc = concat!("`[", $gates, " H]`")]
            pub bias_hh: Option<Param>,
            /// What changes `weight_ih`, once for all steps; its contents stand at that parameter's path.
            pub adapter_ih: Option<BoxedAdapter>,
            /// The same for `weight_hh`.
            pub adapter_hh: Option<BoxedAdapter>,
            $($(#[$about])* pub $setting: $type,)?
        }

        impl $cell {
            /// A cell of f32 for inputs of `inputs` features and a state of `hidden` units, all parameters uniform within `±1/sqrt(H)`.
            ///
            /// # Errors
            /// No units; no memory.
            pub fn new(inputs: usize, hidden: usize, rng: &mut Rng) -> Result<$cell> {
                if hidden == 0 {
                    return Err(Error::value($torch, "got 0 units, expected at least 1"));
                }
                let bound = 1.0 / (hidden as f64).sqrt();
                let rows = hidden.saturating_mul($gates);
                let mut param = |dims: &[usize]| -> Result<Param> { Ok(Param::new(Init::Uniform { low: -bound, high: bound }.array(dims, DType::F32, rng)?)) };
                Ok($cell {
                    weight_ih: param(&[rows, inputs])?,
                    weight_hh: param(&[rows, hidden])?,
                    bias_ih: Some(param(&[rows])?),
                    bias_hh: Some(param(&[rows])?),
                    adapter_ih: None,
                    adapter_hh: None,
                    $($setting: $default,)?
                })
            }

            /// Without biases.
            pub fn without_bias(self) -> $cell {
                $cell { bias_ih: None, bias_hh: None, ..self }
            }

            /// One step: `x [B, D]` and the states `[B, H]`, zero if there are none, to the states after it. The first is the output.
            ///
            /// # Errors
            /// Shapes that do not fit.
            pub fn step(&self, x: &Tensor, state: Option<&[Tensor; $states]>) -> Result<[Tensor; $states]> {
                if x.rank() != 2 {
                    return self.weight_ih.at(Err(Error::shape($torch, format!("the input has shape {:?}, expected [B, D]", x.shape()))));
                }
                Ok(self.sequence(&x.unsqueeze(1)?, state, Recurrence::default())?.1)
            }

            /// All steps as one operation: `[B, T, D] -> [B, T, H]`, and the states after the last.
            ///
            /// # Errors
            /// Shapes that do not fit; lengths beyond T.
            pub fn sequence(&self, x: &Tensor, state: Option<&[Tensor; $states]>, recurrence: Recurrence) -> Result<(Tensor, [Tensor; $states])> {
                let (weight_ih, weight_hh) = (adapted_weight(&self.weight_ih, &self.adapter_ih, x)?, adapted_weight(&self.weight_hh, &self.adapter_hh, x)?);
                let bias = |bias: &Option<Param>| bias.as_ref().map(|bias| bias.on(x)).transpose();
                let (bias_ih, bias_hh) = (bias(&self.bias_ih)?, bias(&self.bias_hh)?);
                let weights = RecurrentWeights { weight_ih: &weight_ih, weight_hh: &weight_hh, bias_ih: bias_ih.as_ref(), bias_hh: bias_hh.as_ref() };
                let run: fn(&$cell, &Tensor, Option<[&Tensor; $states]>, &RecurrentWeights, Recurrence) -> Result<(Tensor, [Tensor; $states])> = $run;
                self.weight_ih.at(run(self, x, state.map(|state| state.each_ref()), &weights, recurrence))
            }

            /// Its contents under PyTorch's names, each followed by `suffix`.
            pub(super) fn visit_named(&self, suffix: &str, path: &mut Path, visitor: &mut dyn Visitor) {
                for (name, weight, adapter) in [("weight_ih", &self.weight_ih, &self.adapter_ih), ("weight_hh", &self.weight_hh, &self.adapter_hh)] {
                    path.within(format_args!("{name}{suffix}"), |path| {
                        if !held(adapter) {
                            weight.visit(path, visitor);
                        }
                        visit_weight(path, visitor, Operation::Weight, weight, adapter);
                    });
                }
                for (name, bias) in [("bias_ih", &self.bias_ih), ("bias_hh", &self.bias_hh)] {
                    path.within(format_args!("{name}{suffix}"), |path| bias.visit(path, visitor));
                }
            }
            /// The same for writing.
            pub(super) fn visit_named_mut(&mut self, suffix: &str, path: &mut Path, visitor: &mut dyn VisitorMut) {
                let weights = [("weight_ih", &mut self.weight_ih, &mut self.adapter_ih), ("weight_hh", &mut self.weight_hh, &mut self.adapter_hh)];
                for (name, weight, adapter) in weights {
                    path.within(format_args!("{name}{suffix}"), |path| {
                        if !held(adapter) {
                            weight.visit_mut(path, visitor);
                        }
                        visit_weight_mut(path, visitor, Operation::Weight, weight, adapter);
                    });
                }
                for (name, bias) in [("bias_ih", &mut self.bias_ih), ("bias_hh", &mut self.bias_hh)] {
                    path.within(format_args!("{name}{suffix}"), |path| bias.visit_mut(path, visitor));
                }
            }
        }

        impl Module for $cell {
            fn visit(&self, path: &mut Path, visitor: &mut dyn Visitor) {
                visitor.module(path.as_str(), Kind::of(self));
                self.visit_named("", path, visitor);
            }
            fn visit_mut(&mut self, path: &mut Path, visitor: &mut dyn VisitorMut) {
                self.visit_named_mut("", path, visitor);
            }
        }
    };
}

cell! {
    /// `h' = tanh(W x + b + V h + d)`, or `max(.., 0)` (Elman 1990): x `[B, D]`, h `[B, H]`.
    /// ```
    /// # use chainrule_autograd::{DType, Rng, Tensor};
    /// # use chainrule_nn::RnnCell;
    /// let cell = RnnCell::new(3, 4, &mut Rng::seeded(0))?.relu();
    /// let [h] = cell.step(&Tensor::ones(&[2, 3], DType::F32)?, None)?;
    /// assert_eq!(h.dims(), [2, 4]);
    /// # Ok::<(), chainrule_nn::Error>(())
    /// ```
    RnnCell "rnn_cell", gates: 1, states: 1, {
        /// max(a, 0) in place of tanh(a).
        relu: bool = false
    },
    |cell, x, state, weights, recurrence| if cell.relu { x.rnn_relu(state, weights, recurrence) } else { x.rnn_tanh(state, weights, recurrence) }
}

impl RnnCell {
    /// With max(a, 0) in place of tanh(a).
    pub fn relu(self) -> RnnCell {
        RnnCell { relu: true, ..self }
    }
}

cell! {
    /// `c' = σ(f) c + σ(i) tanh(g)`, `h' = σ(o) tanh(c')` with `[i, f, g, o] = W x + b + V h + d` (Hochreiter and Schmidhuber 1997): x `[B, D]`, h and c `[B, H]`.
    /// ```
    /// # use chainrule_autograd::{DType, Rng, Tensor};
    /// # use chainrule_nn::LstmCell;
    /// let (cell, x) = (LstmCell::new(3, 4, &mut Rng::seeded(0))?, Tensor::ones(&[2, 3], DType::F32)?);
    /// let mut state = None;
    /// for _ in 0..5 {
    ///     state = Some(cell.step(&x, state.as_ref())?);
    /// }
    /// let Some([h, c]) = state else { unreachable!() };
    /// assert_eq!((h.dims(), c.dims()), (&[2, 4][..], &[2, 4][..]));
    /// # Ok::<(), chainrule_nn::Error>(())
    /// ```
    LstmCell "lstm_cell", gates: 4, states: 2, {}, |_, x, state, weights, recurrence| x.lstm(state, weights, recurrence)
}

cell! {
    /// `h' = (1 - z) n + z h`, `n = tanh(Wₙ x + bₙ + r (Vₙ h + dₙ))`, `r` and `z` being `σ(W x + b + V h + d)` of theirs (Cho et al. 2014): x `[B, D]`, h `[B, H]`.
    /// ```
    /// # use chainrule_autograd::{DType, Rng, Tensor};
    /// # use chainrule_nn::GruCell;
    /// let cell = GruCell::new(3, 4, &mut Rng::seeded(0))?.without_bias();
    /// let [h] = cell.step(&Tensor::ones(&[2, 3], DType::F32)?, None)?;
    /// assert_eq!(h.dims(), [2, 4]);
    /// # Ok::<(), chainrule_nn::Error>(())
    /// ```
    GruCell "gru_cell", gates: 3, states: 1, {}, |_, x, state, weights, recurrence| x.gru(state, weights, recurrence)
}
