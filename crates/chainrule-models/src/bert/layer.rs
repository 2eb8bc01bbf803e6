//! A layer of BERT: attention of the sequence to itself, then two linear layers, each added to its input and normalised.

use super::packing::Packing;
use super::{BertConfig, HiddenActivation, Start};
use chainrule_autograd::{Attention, Result, Tensor};
use chainrule_nn::{Layer, LayerNorm, Linear, Module, observed};

/// `x = LayerNorm(x + attention(x)); y = LayerNorm(x + dense(activation(dense(x))))`: `[N, T, D] -> [N, T, D]`. Dropout stands before each sum.
#[derive(Module, Clone)]
pub struct BertLayer {
    /// Attention to itself.
    pub attention: BertAttention,
    /// The first linear layer.
    pub intermediate: BertIntermediate,
    /// The second.
    pub output: BertOutput,
}

/// Attention to itself, and what is done to its result.
#[derive(Module, Clone)]
pub struct BertAttention {
    /// Queries, keys and values.
    #[module(name = "self")]
    pub heads: BertSelfAttention,
    /// The linear layer behind the heads.
    pub output: BertOutput,
}

/// `concat_h softmax(Q_h K_hᵀ / sqrt(E)) V_h`, for H heads of E = D/H features: `[N, T, D] -> [N, T, D]`.
#[derive(Module, Clone)]
pub struct BertSelfAttention {
    /// `[D, D]`
    pub query: Linear,
    /// `[D, D]`
    pub key: Linear,
    /// `[D, D]`
    pub value: Linear,
    /// H
    pub count: usize,
    /// The rate at which weights of attention are dropped in training.
    pub dropout: f64,
}

/// `activation(dense(x))`: `[N, T, D] -> [N, T, F]`.
#[derive(Module, Clone)]
pub struct BertIntermediate {
    /// `[F, D]`
    pub dense: Linear,
    /// What comes behind it.
    #[module(skip)]
    pub activation: HiddenActivation,
}

/// `LayerNorm(dropout(dense(x)) + residual)`: `[N, T, F], [N, T, D] -> [N, T, D]`.
#[derive(Module, Clone)]
pub struct BertOutput {
    /// `[D, F]`
    pub dense: Linear,
    /// Of the sum.
    #[module(name = "LayerNorm")]
    pub norm: LayerNorm,
    /// The rate of dropout.
    pub dropout: f64,
}

impl BertLayer {
    pub(super) fn new(config: &BertConfig, start: &mut Start) -> Result<BertLayer> {
        let (d, f) = (config.hidden_size, config.intermediate_size);
        let heads = BertSelfAttention {
            query: start.linear(d, d)?,
            key: start.linear(d, d)?,
            value: start.linear(d, d)?,
            count: config.num_attention_heads,
            dropout: config.attention_probs_dropout_prob,
        };
        Ok(BertLayer {
            attention: BertAttention { heads, output: BertOutput::new(d, config, start)? },
            intermediate: BertIntermediate { dense: start.linear(d, f)?, activation: config.hidden_act },
            output: BertOutput::new(f, config, start)?,
        })
    }

    /// `[N, T, D] -> [N, T, D]`, where `mask` broadcasts to `[N, H, T, P + T]`; `front` are keys and values `[P, D]` that every token sees besides the tokens' own.
    ///
    /// # Errors
    /// An input or mask that does not fit.
    pub fn masked(&self, x: &Tensor, mask: Option<&Tensor>, front: Option<&[Tensor; 2]>) -> Result<Tensor> {
        self.run(x, mask, front, None)
    }

    /// The same; with a packing x and the result are `[1, M, D]`.
    pub(super) fn run(&self, x: &Tensor, mask: Option<&Tensor>, front: Option<&[Tensor; 2]>, packing: Option<&Packing>) -> Result<Tensor> {
        let attended = self.attention.heads.attend(x, mask, front, packing)?;
        let x = self.attention.output.add(&attended, x)?;
        drop(attended);
        let y = self.output.add(&self.intermediate.forward(&x)?, &x)?;
        Ok(observed(self, y))
    }
}

impl Layer for BertLayer {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.masked(x, None, None)
    }
}

impl BertSelfAttention {
    fn attend(&self, x: &Tensor, mask: Option<&Tensor>, front: Option<&[Tensor; 2]>, packing: Option<&Packing>) -> Result<Tensor> {
        let [query, key, value] = [&self.query, &self.key, &self.value].map(|linear| {
            let y = linear.forward(x)?;
            self.by_head(&packing.map_or(Ok(y.clone()), |packing| packing.apart(&y))?)
        });
        let (query, mut key, mut value) = (query?, key?, value?);
        if let Some([keys, values]) = front {
            (key, value) = (self.behind(keys, &key)?, self.behind(values, &value)?);
        }
        let how = Attention { mask: mask.cloned(), dropout: self.dropout, ..Attention::default() };
        let y = query.scaled_dot_product_attention(&key, &value, &how)?;
        let y = y.transpose(-2, -3)?.flatten(-2, -1)?;
        Ok(observed(self, packing.map_or(Ok(y.clone()), |packing| packing.together(&y))?))
    }

    /// `[P, D], [N, H, T, E] -> [N, H, P + T, E]`
    fn behind(&self, front: &Tensor, x: &Tensor) -> Result<Tensor> {
        let front = self.by_head(&front.unsqueeze(0)?)?;
        let mut dims = front.dims().to_vec();
        dims[0] = x.dims()[0];
        Tensor::concatenate(&[&front.broadcast_to(&dims)?, x], -2)
    }

    /// `[N, T, D] -> [N, H, T, E]`, a view.
    fn by_head(&self, x: &Tensor) -> Result<Tensor> {
        let features = x.dims().last().copied().unwrap_or(0);
        let leading = &x.dims()[..x.rank().saturating_sub(1)];
        x.reshape(&[leading, &[self.count, features.checked_div(self.count).unwrap_or(0)]].concat())?.transpose(-2, -3)
    }
}

impl Layer for BertIntermediate {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(observed(self, self.activation.after(&self.dense, x)?))
    }
}

impl BertOutput {
    fn new(inputs: usize, config: &BertConfig, start: &mut Start) -> Result<BertOutput> {
        let norm = LayerNorm::new(&[config.hidden_size])?.eps(config.layer_norm_eps);
        Ok(BertOutput { dense: start.linear(inputs, config.hidden_size)?, norm, dropout: config.hidden_dropout_prob })
    }

    fn add(&self, x: &Tensor, residual: &Tensor) -> Result<Tensor> {
        let y = self.dense.forward(x)?.dropout(self.dropout)?.add(residual)?;
        Ok(observed(self, self.norm.forward(&y)?))
    }
}
