//! Layers that attend to themselves (PyTorch's `TransformerEncoderLayer`, `TransformerEncoder`); with causal masks they are decoders without memory, as in GPT.

use super::cache::KeyValueCache;
use super::{LayerNorm, Linear, Masks, MultiheadAttention, Relu, RotaryPositions};
use crate::{AnyLayer, BoxedLayer, Layer, Module, observed};
use chainrule_autograd::{Error, Result, Rng, Tensor};

/// Attention of a sequence to itself, then two linear layers, each added to its input: `[N, T, D] -> [N, T, D]`.
///
/// `x = norm1(x + self_attn(x)); y = norm2(x + linear2(activation(linear1(x))))`, or with the norms first: `x = x + self_attn(norm1(x)); y = x + …(norm2(x))`. Dropout stands before each sum.
/// ```
/// # use chainrule_autograd::{DType, Rng, Tensor};
/// # use chainrule_nn::{Gelu, Layer, Masks, TransformerEncoderLayer};
/// let layer = TransformerEncoderLayer::new(8, 2, 32, &mut Rng::seeded(0))?.activation(Gelu).norm_first();
/// let x = Tensor::ones(&[3, 5, 8], DType::F32)?;
/// assert_eq!(layer.run(&x)?.dims(), [3, 5, 8]);
/// assert_eq!(layer.masked(&x, &Masks::causal())?.dims(), [3, 5, 8]);
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
#[derive(Module, Clone)]
pub struct TransformerEncoderLayer {
    /// Attention to itself.
    pub self_attn: MultiheadAttention,
    /// `[F, D]`
    pub linear1: Linear,
    /// `[D, F]`
    pub linear2: Linear,
    /// Of the attention's part.
    pub norm1: LayerNorm,
    /// Of the linear layers' part.
    pub norm2: LayerNorm,
    /// Between the linear layers.
    pub activation: BoxedLayer,
    /// The rate of dropout, but for that of the attention's weights, which is `self_attn`'s.
    pub dropout: f64,
    /// Whether a part's input is normalised, and not the sum.
    pub norm_first: bool,
}

impl TransformerEncoderLayer {
    /// A layer of f32 with D = `features` and F = `hidden`: ReLU, dropout 0.1, norms after the sums.
    ///
    /// # Errors
    /// Features that the heads do not divide; no memory.
    pub fn new(features: usize, heads: usize, hidden: usize, rng: &mut Rng) -> Result<TransformerEncoderLayer> {
        let norm = || LayerNorm::new(&[features]);
        Ok(TransformerEncoderLayer {
            self_attn: MultiheadAttention::new(features, heads, rng)?.dropout(0.1),
            linear1: Linear::new(features, hidden, rng)?,
            linear2: Linear::new(hidden, features, rng)?,
            norm1: norm()?,
            norm2: norm()?,
            activation: Box::new(Relu),
            dropout: 0.1,
            norm_first: false,
        })
    }
    /// What stands between the linear layers.
    pub fn activation(self, activation: impl AnyLayer) -> TransformerEncoderLayer {
        TransformerEncoderLayer { activation: Box::new(activation), ..self }
    }
    /// The rate of dropout everywhere.
    pub fn dropout(self, rate: f64) -> TransformerEncoderLayer {
        TransformerEncoderLayer { self_attn: self.self_attn.dropout(rate), dropout: rate, ..self }
    }
    /// Normalises the input of each part.
    pub fn norm_first(self) -> TransformerEncoderLayer {
        TransformerEncoderLayer { norm_first: true, ..self }
    }
    /// What keeps the norms' divisors from 0.
    pub fn eps(self, eps: f64) -> TransformerEncoderLayer {
        TransformerEncoderLayer { norm1: self.norm1.eps(eps), norm2: self.norm2.eps(eps), ..self }
    }
    /// Turns queries and keys by their position.
    pub fn rotary(self, rotary: RotaryPositions) -> TransformerEncoderLayer {
        TransformerEncoderLayer { self_attn: self.self_attn.rotary(rotary), ..self }
    }
    /// Without biases.
    pub fn without_bias(self) -> TransformerEncoderLayer {
        TransformerEncoderLayer {
            self_attn: self.self_attn.without_bias(),
            linear1: self.linear1.without_bias(),
            linear2: self.linear2.without_bias(),
            norm1: self.norm1.without_bias(),
            norm2: self.norm2.without_bias(),
            ..self
        }
    }

    /// `forward` where not every step sees every other.
    ///
    /// # Errors
    /// An input or masks that do not fit.
    pub fn masked(&self, x: &Tensor, masks: &Masks) -> Result<Tensor> {
        self.around(x, |x| self.self_attn.attend(x, x, x, masks))
    }

    /// `forward` of new steps, each of which sees itself and all earlier ones; see [`MultiheadAttention::continued`].
    ///
    /// # Errors
    /// As for [`MultiheadAttention::continued`].
    pub fn continued(&self, x: &Tensor, cache: &mut KeyValueCache) -> Result<Tensor> {
        self.around(x, |x| self.self_attn.continued(x, cache))
    }

    fn around(&self, x: &Tensor, attend: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
        let sum = Residual { norm_first: self.norm_first, dropout: self.dropout };
        let x = sum.of(x, &self.norm1, attend)?;
        let y = sum.of(&x, &self.norm2, |x| feed_forward(x, [&self.linear1, &self.linear2], &self.activation, self.dropout))?;
        Ok(observed(self, y))
    }
}

impl Layer for TransformerEncoderLayer {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.masked(x, &Masks::default())
    }
}

/// A part that is added to its input.
pub(super) struct Residual {
    pub norm_first: bool,
    pub dropout: f64,
}

impl Residual {
    pub fn of(&self, x: &Tensor, norm: &LayerNorm, part: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
        if self.norm_first {
            return x.add(&part(&norm.forward(x)?)?.dropout(self.dropout)?);
        }
        norm.forward(&x.add(&part(x)?.dropout(self.dropout)?)?)
    }
}

pub(super) fn feed_forward(x: &Tensor, [first, second]: [&Linear; 2], activation: &BoxedLayer, dropout: f64) -> Result<Tensor> {
    second.forward(&activation.forward(&first.forward(x)?)?.dropout(dropout)?)
}

/// Encoder layers in a row: `[N, T, D] -> [N, T, D]`.
/// ```
/// # use chainrule_autograd::{DType, Rng, Tensor};
/// # use chainrule_nn::{KeyValueCache, Masks, TransformerEncoder, TransformerEncoderLayer};
/// let rng = &mut Rng::seeded(0);
/// let model = TransformerEncoder::new(2, || TransformerEncoderLayer::new(8, 2, 32, rng))?;
/// let x = Tensor::uniform(&[1, 3, 8], -1.0, 1.0, DType::F32, rng)?;
/// let whole = model.masked(&x, &Masks::causal())?.narrow(1, 2, 1)?.to_vec::<f32>()?;
///
/// // Step by step: the last of three equals the last of the whole.
/// let mut caches = vec![KeyValueCache::new(); 2];
/// let mut last = vec![];
/// for step in 0..3 {
///     last = model.continued(&x.narrow(1, step, 1)?, &mut caches)?.to_vec::<f32>()?;
/// }
/// assert!(whole.iter().zip(&last).all(|(a, b)| (a - b).abs() < 1e-5));
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
#[derive(Module, Clone)]
pub struct TransformerEncoder {
    /// One after the other.
    pub layers: Vec<TransformerEncoderLayer>,
    /// After the last.
    pub norm: Option<LayerNorm>,
}

impl TransformerEncoder {
    /// `count` layers, each as `layer` makes it, without a norm after the last.
    ///
    /// # Errors
    /// Those of `layer`.
    pub fn new(count: usize, mut layer: impl FnMut() -> Result<TransformerEncoderLayer>) -> Result<TransformerEncoder> {
        Ok(TransformerEncoder { layers: (0..count).map(|_| layer()).collect::<Result<_>>()?, norm: None })
    }
    /// With a norm after the last layer, as layers with their norms first need it.
    pub fn norm(self, norm: LayerNorm) -> TransformerEncoder {
        TransformerEncoder { norm: Some(norm), ..self }
    }

    /// `forward` where not every step sees every other.
    ///
    /// # Errors
    /// An input or masks that do not fit.
    pub fn masked(&self, x: &Tensor, masks: &Masks) -> Result<Tensor> {
        self.finish(self.layers.iter().try_fold(x.clone(), |x, layer| layer.masked(&x, masks))?)
    }

    /// `forward` of new steps, each of which sees itself and all earlier ones, with a cache for each layer; see [`MultiheadAttention::continued`].
    ///
    /// # Errors
    /// Another number of caches than of layers; as for [`MultiheadAttention::continued`]. The caches then stay as they were.
    pub fn continued(&self, x: &Tensor, caches: &mut [KeyValueCache]) -> Result<Tensor> {
        if caches.len() != self.layers.len() {
            return Err(Error::value("transformer_encoder", format!("got {} caches, expected one for each of the {} layers", caches.len(), self.layers.len())));
        }
        let lengths: Vec<usize> = caches.iter().map(KeyValueCache::len).collect();
        let layers = self.layers.iter().zip(caches.iter_mut());
        let y = layers.into_iter().try_fold(x.clone(), |x, (layer, cache)| layer.continued(&x, cache)).and_then(|y| self.finish(y));
        if y.is_err() {
            caches.iter_mut().zip(lengths).for_each(|(cache, length)| cache.truncate(length));
        }
        y
    }

    fn finish(&self, x: Tensor) -> Result<Tensor> {
        Ok(observed(self, self.norm.as_ref().map_or(Ok(x.clone()), |norm| norm.forward(&x))?))
    }
}

impl Layer for TransformerEncoder {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.masked(x, &Masks::default())
    }
}
