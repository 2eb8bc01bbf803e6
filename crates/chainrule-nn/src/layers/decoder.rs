//! Layers that attend to themselves and to a memory (PyTorch's `TransformerDecoderLayer`, `TransformerDecoder`), and the whole transformer.

use super::cache::KeyValueCache;
use super::encoder::{Residual, feed_forward};
use super::{LayerNorm, Linear, Masks, MultiheadAttention, Relu, TransformerEncoder, TransformerEncoderLayer};
use crate::init::Init;
use crate::{AnyLayer, BoxedLayer, Layer, Module, observed, params_mut};
use chainrule_autograd::{Error, Result, Rng, Tensor};

/// Attention of a sequence to itself, attention to a memory, then two linear layers, each added to its input: `[N, T, D], [N, S, D] -> [N, T, D]`.
///
/// As [`TransformerEncoderLayer`], with `x = norm2(x + multihead_attn(x, memory))` between both parts, and `norm3` for the linear layers.
/// ```
/// # use chainrule_autograd::{DType, Rng, Tensor};
/// # use chainrule_nn::{Masks, TransformerDecoderLayer};
/// let layer = TransformerDecoderLayer::new(8, 2, 32, &mut Rng::seeded(0))?;
/// let (x, memory) = (Tensor::ones(&[3, 5, 8], DType::F32)?, Tensor::ones(&[3, 7, 8], DType::F32)?);
/// assert_eq!(layer.decode(&x, &memory, &Masks::causal(), &Masks::default())?.dims(), [3, 5, 8]);
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
#[derive(Module, Clone)]
pub struct TransformerDecoderLayer {
    /// Attention to itself.
    pub self_attn: MultiheadAttention,
    /// Attention to the memory.
    pub multihead_attn: MultiheadAttention,
    /// `[F, D]`
    pub linear1: Linear,
    /// `[D, F]`
    pub linear2: Linear,
    /// Of the part that attends to itself.
    pub norm1: LayerNorm,
    /// Of the part that attends to the memory.
    pub norm2: LayerNorm,
    /// Of the linear layers' part.
    pub norm3: LayerNorm,
    /// Between the linear layers.
    pub activation: BoxedLayer,
    /// The rate of dropout, but for that of weights of attention.
    pub dropout: f64,
    /// Whether a part's input is normalised, and not the sum.
    pub norm_first: bool,
}

impl TransformerDecoderLayer {
    /// A layer of f32 with D = `features` and F = `hidden`: ReLU, dropout 0.1, norms after the sums.
    ///
    /// # Errors
    /// Features that the heads do not divide; no memory.
    pub fn new(features: usize, heads: usize, hidden: usize, rng: &mut Rng) -> Result<TransformerDecoderLayer> {
        let norm = || LayerNorm::new(&[features]);
        Ok(TransformerDecoderLayer {
            self_attn: MultiheadAttention::new(features, heads, rng)?.dropout(0.1),
            multihead_attn: MultiheadAttention::new(features, heads, rng)?.dropout(0.1),
            linear1: Linear::new(features, hidden, rng)?,
            linear2: Linear::new(hidden, features, rng)?,
            norm1: norm()?,
            norm2: norm()?,
            norm3: norm()?,
            activation: Box::new(Relu),
            dropout: 0.1,
            norm_first: false,
        })
    }
    /// What stands between the linear layers.
    pub fn activation(self, activation: impl AnyLayer) -> TransformerDecoderLayer {
        TransformerDecoderLayer { activation: Box::new(activation), ..self }
    }
    /// The rate of dropout everywhere.
    pub fn dropout(self, rate: f64) -> TransformerDecoderLayer {
        TransformerDecoderLayer { self_attn: self.self_attn.dropout(rate), multihead_attn: self.multihead_attn.dropout(rate), dropout: rate, ..self }
    }
    /// Normalises the input of each part.
    pub fn norm_first(self) -> TransformerDecoderLayer {
        TransformerDecoderLayer { norm_first: true, ..self }
    }
    /// What keeps the norms' divisors from 0.
    pub fn eps(self, eps: f64) -> TransformerDecoderLayer {
        TransformerDecoderLayer { norm1: self.norm1.eps(eps), norm2: self.norm2.eps(eps), norm3: self.norm3.eps(eps), ..self }
    }
    /// Without biases.
    pub fn without_bias(self) -> TransformerDecoderLayer {
        TransformerDecoderLayer {
            self_attn: self.self_attn.without_bias(),
            multihead_attn: self.multihead_attn.without_bias(),
            linear1: self.linear1.without_bias(),
            linear2: self.linear2.without_bias(),
            norm1: self.norm1.without_bias(),
            norm2: self.norm2.without_bias(),
            norm3: self.norm3.without_bias(),
            ..self
        }
    }

    /// The layer's output; `masks` say what steps see of each other, `memory_masks` what they see of the memory.
    ///
    /// # Errors
    /// Inputs or masks that do not fit.
    pub fn decode(&self, x: &Tensor, memory: &Tensor, masks: &Masks, memory_masks: &Masks) -> Result<Tensor> {
        self.around(x, memory, memory_masks, |x| self.self_attn.attend(x, x, x, masks))
    }

    /// The output of new steps, each of which sees itself and all earlier ones; see [`MultiheadAttention::continued`].
    ///
    /// # Errors
    /// As for [`MultiheadAttention::continued`]; a memory that does not fit.
    pub fn continued(&self, x: &Tensor, memory: &Tensor, memory_masks: &Masks, cache: &mut KeyValueCache) -> Result<Tensor> {
        self.around(x, memory, memory_masks, |x| self.self_attn.continued(x, cache))
    }

    fn around(&self, x: &Tensor, memory: &Tensor, memory_masks: &Masks, attend: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
        let sum = Residual { norm_first: self.norm_first, dropout: self.dropout };
        let x = sum.of(x, &self.norm1, attend)?;
        let x = sum.of(&x, &self.norm2, |x| self.multihead_attn.attend(x, memory, memory, memory_masks))?;
        let y = sum.of(&x, &self.norm3, |x| feed_forward(x, [&self.linear1, &self.linear2], &self.activation, self.dropout))?;
        Ok(observed(self, y))
    }
}

/// Decoder layers in a row, with one memory: `[N, T, D], [N, S, D] -> [N, T, D]`.
/// ```
/// # use chainrule_autograd::{DType, Rng, Tensor};
/// # use chainrule_nn::{Masks, TransformerDecoder, TransformerDecoderLayer};
/// let rng = &mut Rng::seeded(0);
/// let decoder = TransformerDecoder::new(2, || TransformerDecoderLayer::new(8, 2, 32, rng))?;
/// let (x, memory) = (Tensor::ones(&[3, 5, 8], DType::F32)?, Tensor::ones(&[3, 7, 8], DType::F32)?);
/// assert_eq!(decoder.decode(&x, &memory, &Masks::causal(), &Masks::default())?.dims(), [3, 5, 8]);
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
#[derive(Module, Clone)]
pub struct TransformerDecoder {
    /// One after the other.
    pub layers: Vec<TransformerDecoderLayer>,
    /// After the last.
    pub norm: Option<LayerNorm>,
}

impl TransformerDecoder {
    /// `count` layers, each as `layer` makes it, without a norm after the last.
    ///
    /// # Errors
    /// Those of `layer`.
    pub fn new(count: usize, mut layer: impl FnMut() -> Result<TransformerDecoderLayer>) -> Result<TransformerDecoder> {
        Ok(TransformerDecoder { layers: (0..count).map(|_| layer()).collect::<Result<_>>()?, norm: None })
    }
    /// With a norm after the last layer, as layers with their norms first need it.
    pub fn norm(self, norm: LayerNorm) -> TransformerDecoder {
        TransformerDecoder { norm: Some(norm), ..self }
    }

    /// The last layer's output; `masks` say what steps see of each other, `memory_masks` what they see of the memory.
    ///
    /// # Errors
    /// Inputs or masks that do not fit.
    pub fn decode(&self, x: &Tensor, memory: &Tensor, masks: &Masks, memory_masks: &Masks) -> Result<Tensor> {
        self.finish(self.layers.iter().try_fold(x.clone(), |x, layer| layer.decode(&x, memory, masks, memory_masks))?)
    }

    /// The output of new steps, with a cache for each layer; see [`MultiheadAttention::continued`].
    ///
    /// # Errors
    /// Another number of caches than of layers; as for [`TransformerDecoderLayer::continued`]. The caches then stay as they were.
    pub fn continued(&self, x: &Tensor, memory: &Tensor, memory_masks: &Masks, caches: &mut [KeyValueCache]) -> Result<Tensor> {
        if caches.len() != self.layers.len() {
            return Err(Error::value("transformer_decoder", format!("got {} caches, expected one for each of the {} layers", caches.len(), self.layers.len())));
        }
        let lengths: Vec<usize> = caches.iter().map(KeyValueCache::len).collect();
        let mut layers = self.layers.iter().zip(caches.iter_mut());
        let y = layers.try_fold(x.clone(), |x, (layer, cache)| layer.continued(&x, memory, memory_masks, cache)).and_then(|y| self.finish(y));
        if y.is_err() {
            caches.iter_mut().zip(lengths).for_each(|(cache, length)| cache.truncate(length));
        }
        y
    }

    fn finish(&self, x: Tensor) -> Result<Tensor> {
        Ok(observed(self, self.norm.as_ref().map_or(Ok(x.clone()), |norm| norm.forward(&x))?))
    }
}

/// What each part of a [`Transformer`] sees.
#[derive(Clone, Debug, Default)]
pub struct TransformerMasks {
    /// The source of itself.
    pub source: Masks,
    /// The target of itself.
    pub target: Masks,
    /// The target of the encoded source.
    pub memory: Masks,
}

/// An encoder, and a decoder whose memory is the encoder's output: `[N, S, D], [N, T, D] -> [N, T, D]` (PyTorch's `Transformer`; Vaswani et al. 2017).
/// ```
/// # use chainrule_autograd::{DType, Rng, Tensor};
/// # use chainrule_nn::{Masks, Transformer, TransformerMasks};
/// let model = Transformer::new(8, 2, [1, 1], 32, &mut Rng::seeded(0))?;
/// let (source, target) = (Tensor::ones(&[3, 7, 8], DType::F32)?, Tensor::ones(&[3, 5, 8], DType::F32)?);
/// let masks = TransformerMasks { target: Masks::causal(), ..TransformerMasks::default() };
/// assert_eq!(model.translate(&source, &target, &masks)?.dims(), [3, 5, 8]);
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
#[derive(Module, Clone)]
pub struct Transformer {
    /// Of the source.
    pub encoder: TransformerEncoder,
    /// Of the target.
    pub decoder: TransformerDecoder,
}

impl Transformer {
    /// So many layers of encoder and decoder with D = `features` and F = `hidden`, and a norm after the last of each: ReLU, dropout 0.1, norms after the sums, all matrices uniform after Xavier.
    /// For other settings make both parts and put them together.
    ///
    /// # Errors
    /// Features that the heads do not divide; no memory.
    pub fn new(features: usize, heads: usize, [encoders, decoders]: [usize; 2], hidden: usize, rng: &mut Rng) -> Result<Transformer> {
        let encoder = TransformerEncoder::new(encoders, || TransformerEncoderLayer::new(features, heads, hidden, rng))?;
        let decoder = TransformerDecoder::new(decoders, || TransformerDecoderLayer::new(features, heads, hidden, rng))?;
        let norm = || LayerNorm::new(&[features]);
        let mut model = Transformer { encoder: encoder.norm(norm()?), decoder: decoder.norm(norm()?) };
        let mut drawn = Ok(());
        params_mut(&mut model, |_, param| {
            if param.value.rank() > 1 && drawn.is_ok() {
                drawn = param.initialise(Init::XavierUniform { gain: 1.0 }, rng);
            }
        });
        drawn.map(|()| model)
    }

    /// The decoder's output for the target, with the encoded source as its memory.
    ///
    /// # Errors
    /// Inputs or masks that do not fit.
    pub fn translate(&self, source: &Tensor, target: &Tensor, masks: &TransformerMasks) -> Result<Tensor> {
        let memory = self.encoder.masked(source, &masks.source)?;
        Ok(observed(self, self.decoder.decode(target, &memory, &masks.target, &masks.memory)?))
    }
}
