//! BERT (Devlin et al. 2018, "BERT: Pre-training of Deep Bidirectional Transformers"; Hugging Face's `BertModel`), with Hugging Face's names.

mod config;
mod embeddings;
mod heads;
mod layer;
mod load;
mod packing;
mod sentence;
mod start;

pub use config::{BertConfig, HiddenActivation};
pub use embeddings::BertEmbeddings;
pub use heads::{BertForSequenceClassification, BertForTokenClassification, Pooling};
pub use layer::{BertAttention, BertIntermediate, BertLayer, BertOutput, BertSelfAttention};
pub use sentence::SentenceEncoder;

use crate::Tokens;
use chainrule_autograd::{DType, Error, Result, Rng, Tensor};
use chainrule_nn::{Layer, Linear, LoadReport, Module, PromptSite, PromptSlot, Virtual, observed};
use load::Weights;
use packing::Packing;
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
    /// What stands in front of every sequence: prompt tuning, P-tuning, prefix tuning.
    #[module(flatten)]
    pub prompt: PromptSlot,
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
            prompt: PromptSlot::new(PromptSite { layers: config.num_hidden_layers, heads: config.num_attention_heads, features: config.hidden_size }),
        })
    }

    /// A published model: its sizes, and the file of its numbers in any format that [`read`](crate::read) knows. Without a pooler in the file the model has none.
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
        let file = Weights::open(file.as_ref())?;
        file.expect_room_for(config)?;
        let mut bert = BertModel::starting(config, &mut Start::Zeros)?;
        if !file.has("pooler.") {
            bert.pooler = None;
        }
        let _complete = file.load(&mut bert, "", &[])?;
        Ok(bert)
    }

    /// Loads a file with Hugging Face's names, be the model alone in it or below `bert.`. All or nothing.
    ///
    /// What other heads left in the file (`cls.*`, `classifier.*`), buffers of ids, and a pooler that the model has not are passed over; a pooler that the file has not stays as it is, and is reported as kept.
    ///
    /// # Errors
    /// A file that cannot be read or is damaged; names or shapes that do not fit.
    pub fn load(&mut self, file: impl AsRef<Path>) -> chainrule_nn::Result<LoadReport> {
        Weights::open(file.as_ref())?.load(self, "", &["pooler."])
    }

    /// What each token means among the others: i64 `[N, T] -> [N, T, D]`, the last hidden state.
    ///
    /// # Errors
    /// Tokens that are not there; shapes that do not fit; sequences that are too long; a prompt that was made for another model.
    pub fn encode(&self, tokens: &Tokens) -> Result<Tensor> {
        let all = self.encode_with_prompt(tokens)?;
        let [_, length] = tokens.extents()?;
        match all.dims().get(1).and_then(|all| all.checked_sub(length)) {
            Some(front) if front > 0 => all.narrow(1, front, length),
            _ => Ok(all),
        }
    }

    /// The same with the states of P virtual tokens in front, where a prompt puts some there: i64 `[N, T] -> [N, P + T, D]`. The pooler reads the first of all.
    ///
    /// # Errors
    /// As for [`encode`](BertModel::encode).
    pub fn encode_with_prompt(&self, tokens: &Tokens) -> Result<Tensor> {
        let layers = &self.encoder.layer;
        let (front, states) = match self.prompt.virtual_tokens(&tokens.ids)? {
            Some(Virtual::Tokens(front)) => (Some(front), vec![]),
            Some(Virtual::States(states)) if states.len() == layers.len() => (None, states),
            Some(Virtual::States(states)) => {
                return Err(Error::value("bert", format!("the prompt has states for {} layers, expected {}", states.len(), layers.len())));
            }
            None => (None, vec![]),
        };
        let count = |x: &Tensor| x.dims().first().copied().unwrap_or(0);
        let past = states.first().map_or(0, |[keys, _]| count(keys));
        let seen = tokens.mask.as_ref().map(|mask| seen(mask, tokens, past + front.as_ref().map_or(0, count))).transpose()?;
        // Without a prompt, padding is left out.
        let packing = if front.is_none() && states.is_empty() { Packing::of(tokens)? } else { None };
        let mut x = match &packing {
            Some(packing) => self.embeddings.embed(&packing.tokens(tokens)?)?,
            None => self.embeddings.embed_behind(tokens, front.as_ref(), past)?,
        };
        for (i, layer) in layers.iter().enumerate() {
            x = layer.run(&x, seen.as_ref(), states.get(i), packing.as_ref())?;
        }
        Ok(observed(self, packing.map_or(Ok(x.clone()), |packing| packing.apart(&x))?))
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

/// The mask as attention takes it: u8 `[N, 1, 1, P + T]`, the first P of which all see.
fn seen(mask: &Tensor, tokens: &Tokens, front: usize) -> Result<Tensor> {
    let [rows, length] = tokens.extents()?;
    if mask.dims() != [rows, length] {
        return Err(Error::shape("bert", format!("the mask has shape {:?}, the ids [{rows}, {length}], expected the same", mask.shape())));
    }
    let mut mask = if mask.dtype() == DType::U8 { mask.clone() } else { mask.truth()? };
    if front > 0 {
        mask = Tensor::concatenate(&[&Tensor::ones(&[rows, front], DType::U8)?, &mask], 1)?;
    }
    mask.reshape(&[rows, 1, 1, front + length])
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
