//! What a token, its place and its type mean, added up and normalised.

use super::{BertConfig, Start};
use crate::Tokens;
use chainrule_autograd::{DType, Error, ParamId, Result, Tensor};
use chainrule_core::Array;
use chainrule_nn::{Embedding, Layer, LayerNorm, Module, observed};

/// `dropout(LayerNorm(word + position + type))`: i64 `[N, T] -> [N, T, D]`.
#[derive(Module, Clone)]
pub struct BertEmbeddings {
    /// `[V, D]`
    pub word_embeddings: Embedding,
    /// A row for each place.
    pub position_embeddings: Embedding,
    /// A row for each of two texts.
    pub token_type_embeddings: Embedding,
    /// Of the sum.
    #[module(name = "LayerNorm")]
    pub norm: LayerNorm,
    /// The rate of dropout.
    pub dropout: f64,
}

impl BertEmbeddings {
    pub(super) fn new(config: &BertConfig, start: &mut Start) -> Result<BertEmbeddings> {
        let d = config.hidden_size;
        let mut words = start.embedding(config.vocab_size, d)?;
        if let Some(row) = config.pad_token_id {
            words = words.padding(row)?;
        }
        Ok(BertEmbeddings {
            word_embeddings: words,
            position_embeddings: start.embedding(config.max_position_embeddings, d)?,
            token_type_embeddings: start.embedding(config.type_vocab_size, d)?,
            norm: LayerNorm::new(&[d])?.eps(config.layer_norm_eps),
            dropout: config.hidden_dropout_prob,
        })
    }

    /// i64 `[N, T] -> [N, T, D]`.
    ///
    /// # Errors
    /// A token, type or place that is not there; ids that are not `[N, T]`.
    pub fn embed(&self, tokens: &Tokens) -> Result<Tensor> {
        self.embed_behind(tokens, None, 0)
    }

    /// The same behind virtual tokens `[P, D]`, which give `[N, P + T, D]`; the first place is `first`.
    pub(super) fn embed_behind(&self, tokens: &Tokens, front: Option<&Tensor>, first: usize) -> Result<Tensor> {
        let [rows, _] = tokens.extents()?;
        let mut words = self.word_embeddings.forward(&tokens.ids)?;
        let mut types = tokens.types.clone();
        if let Some(front) = front {
            let [count, features] = *front.dims() else {
                return Err(Error::shape("bert", format!("the virtual tokens have shape {:?}, expected [P, D]", front.shape())));
            };
            words = Tensor::concatenate(&[&front.unsqueeze(0)?.broadcast_to(&[rows, count, features])?, &words], 1)?;
            types = types.map(|types| Tensor::concatenate(&[&Tensor::zeros(&[rows, count], DType::I64)?, &types], 1)).transpose()?;
        }
        if tokens.positions.is_some() && (front.is_some() || first > 0) {
            return Err(Error::value("bert", "positions were given to a model with a prompt, which places the tokens itself"));
        }
        // Without ids of their own, places and types are the same in all rows: one row is added to all.
        let places = match &tokens.positions {
            Some(positions) => self.position_embeddings.forward(positions)?,
            None => self.position_embeddings.forward(&self.places(&tokens.ids, first, words.dims().get(1).copied().unwrap_or(0))?)?,
        };
        let types = match &types {
            Some(types) => self.token_type_embeddings.forward(types)?,
            None => self.token_type_embeddings.forward(&beside(&tokens.ids, Array::zeros(&[1], DType::I64)?)?)?,
        };
        let y = self.norm.forward(&words.add(&places.add(&types)?)?)?;
        Ok(observed(self, y.dropout(self.dropout)?))
    }

    /// `first`, `first + 1`, … where the ids stand.
    fn places(&self, ids: &Tensor, first: usize, length: usize) -> Result<Tensor> {
        let most = self.position_embeddings.weight.value.dims().first().copied().unwrap_or(0);
        if first.saturating_add(length) > most {
            let message = format!("the sequences take the places {first} to {}, expected at most {most} places; cut them", first.saturating_add(length));
            return Err(Error::shape("bert", message));
        }
        beside(ids, Array::from_index(&[length], DType::I64, |i| (first + i) as f64)?)
    }
}

/// Numbers of the model's own as a constant where `x` stands.
pub(super) fn beside(x: &Tensor, array: Array) -> Result<Tensor> {
    x.parameter(ParamId::fresh(), &array, false)
}
