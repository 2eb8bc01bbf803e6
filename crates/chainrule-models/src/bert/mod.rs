//! BERT (Devlin et al. 2018, "BERT: Pre-training of Deep Bidirectional Transformers"; Hugging Face's `BertModel`), with Hugging Face's names.

mod config;
mod embeddings;
mod heads;
mod layer;
mod load;
mod sentence;
mod start;

pub use config::{BertConfig, HiddenActivation};
pub use embeddings::BertEmbeddings;
pub use heads::{BertForSequenceClassification, BertForTokenClassification, Pooling};
pub use layer::{BertAttention, BertIntermediate, BertLayer, BertOutput, BertSelfAttention};
pub use sentence::SentenceEncoder;

use crate::Tokens;
use chainrule_autograd::{DType, Error, Result, Rng, Tensor};
use chainrule_nn::{Layer, Linear, LoadReport, Module, observed};
use start::Start;
use std::path::Path;

/// Token sequences to vectors: i64 `[N, T] -> [N, T, D]`.
///
/// As a [`Layer`] it takes ids of sequences without padding; [`encode`](BertModel::encode) takes masks, types and positions too.
/// Dropout acts on a training tape only.
/// ```
/// # use chainrule_autograd::Rng;
/// # use chainrule_models::{BertConfig, BertModel, Tokens};
/// let bert = BertModel::new(&BertConfig::new(100, 32, 2, 4, 64), &mut Rng::seeded(0))?;
/// let tokens = Tokens::padded(&[vec![5, 6, 7], vec![8, 9]], 0)?;
/// let hidden = bert.encode(&tokens)?;
/// assert_eq!(hidden.dims(), [2, 3, 32]);
/// assert_eq!(bert.pooled(&hidden)?.dims(), [2, 32]);
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
#[derive(Module, Clone)]
pub struct BertModel {
    /// What tokens mean alone.
    pub embeddings: BertEmbeddings,
    /// What they mean among each other.
    pub encoder: BertEncoder,
    /// What a sequence means as a whole.
    pub pooler: Option<BertPooler>,
}

/// The layers, one after the other.
#[derive(Module, Clone)]
pub struct BertEncoder {
    /// In order.
    pub layer: Vec<BertLayer>,
}

/// `tanh(dense(x))` of each sequence's first token: `[N, T, D] -> [N, D]`.
#[derive(Module, Clone)]
pub struct BertPooler {
    /// `[D, D]`
    pub dense: Linear,
}

impl BertModel {
    /// A new model of f32: weights normal around 0, biases 0.
    ///
    /// # Errors
    /// Heads that do not divide the width; no memory.
    pub fn new(config: &BertConfig, rng: &mut Rng) -> Result<BertModel> {
        BertModel::starting(config, &mut Start::Drawn { deviation: config.initializer_range, rng })
    }

    fn starting(config: &BertConfig, start: &mut Start) -> Result<BertModel> {
        if config.num_attention_heads == 0 || !config.hidden_size.is_multiple_of(config.num_attention_heads) {
            return Err(Error::value("bert", format!("{} features cannot be divided among {} heads", config.hidden_size, config.num_attention_heads)));
        }
        Ok(BertModel {
            embeddings: BertEmbeddings::new(config, start)?,
            encoder: BertEncoder { layer: (0..config.num_hidden_layers).map(|_| BertLayer::new(config, start)).collect::<Result<_>>()? },
            pooler: Some(BertPooler { dense: start.linear(config.hidden_size, config.hidden_size)? }),
        })
    }

    /// A published model: its sizes, and the safetensors file of its numbers. Without a pooler in the file the model has none.
    /// ```no_run
    /// # use chainrule_models::{BertConfig, BertModel};
    /// let config = BertConfig::from_file("minilm/config.json")?;
    /// let bert = BertModel::open(&config, "minilm/model.safetensors")?;
    /// # Ok::<(), chainrule_nn::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`load`](BertModel::load); sizes that the file cannot fill.
    pub fn open(config: &BertConfig, file: impl AsRef<Path>) -> chainrule_nn::Result<BertModel> {
        let file = load::File::read(file.as_ref())?;
        file.expect_room_for(config)?;
        let mut bert = BertModel::starting(config, &mut Start::Zeros)?;
        if !file.has("pooler.") {
            bert.pooler = None;
        }
        let _complete = file.load(&mut bert, "", &[])?;
        Ok(bert)
    }

    /// Loads a safetensors file with Hugging Face's names, be the model alone in it or below `bert.`. All or nothing.
    ///
    /// What other heads left in the file (`cls.*`, `classifier.*`), buffers of ids, and a pooler that the model has not are passed over; a pooler that the file has not stays as it is, and is reported as missing.
    ///
    /// # Errors
    /// A file that cannot be read or is damaged; names or shapes that do not fit.
    pub fn load(&mut self, file: impl AsRef<Path>) -> chainrule_nn::Result<LoadReport> {
        load::File::read(file.as_ref())?.load(self, "", &["pooler."])
    }

    /// What each token means among the others: i64 `[N, T] -> [N, T, D]`, the last hidden state.
    ///
    /// # Errors
    /// Tokens that are not there; shapes that do not fit; sequences that are too long.
    pub fn encode(&self, tokens: &Tokens) -> Result<Tensor> {
        let seen = tokens.mask.as_ref().map(|mask| seen(mask, tokens)).transpose()?;
        let x = self.embeddings.embed(tokens)?;
        let y = self.encoder.layer.iter().try_fold(x, |x, layer| layer.masked(&x, seen.as_ref()))?;
        Ok(observed(self, y))
    }

    /// What a sequence means as a whole, of its hidden state: `[N, T, D] -> [N, D]`.
    ///
    /// # Errors
    /// A model without pooler; a shape that does not fit.
    pub fn pooled(&self, hidden: &Tensor) -> Result<Tensor> {
        match &self.pooler {
            Some(pooler) => pooler.forward(hidden),
            None => Err(Error::value("bert", "the model has no pooler; take the mean over the tokens instead (Pooling::Mean)")),
        }
    }
}

/// The mask as attention takes it: u8 `[N, 1, 1, T]`.
fn seen(mask: &Tensor, tokens: &Tokens) -> Result<Tensor> {
    let [rows, length] = tokens.extents()?;
    if mask.dims() != [rows, length] {
        return Err(Error::shape("bert", format!("the mask has shape {:?}, the ids [{rows}, {length}], expected the same", mask.shape())));
    }
    let mask = if mask.dtype() == DType::U8 { mask.clone() } else { mask.truth()? };
    mask.reshape(&[rows, 1, 1, length])
}

impl Layer for BertModel {
    fn forward(&self, ids: &Tensor) -> Result<Tensor> {
        self.encode(&ids.into())
    }
}

impl Layer for BertPooler {
    fn forward(&self, hidden: &Tensor) -> Result<Tensor> {
        Ok(observed(self, self.dense.forward(&hidden.select(1, 0)?)?.tanh()?))
    }
}
