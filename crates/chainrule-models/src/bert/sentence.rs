//! Sentences as vectors (Reimers and Gurevych 2019, "Sentence-BERT"; sentence-transformers).

use super::heads::mean_over_tokens;
use super::{BertConfig, BertModel};
use crate::Tokens;
use chainrule_autograd::{Result, Tensor};
use chainrule_nn::{Layer, Module, observed};
use std::path::Path;

/// The mean of a sequence's hidden states, made a unit vector: i64 `[N, T] -> [N, D]`. The product of two such vectors is the cosine of their angle.
/// ```
/// # use chainrule_autograd::Rng;
/// # use chainrule_models::{BertConfig, BertModel, SentenceEncoder, Tokens};
/// let encoder = SentenceEncoder::around(BertModel::new(&BertConfig::new(100, 32, 2, 4, 64), &mut Rng::seeded(0))?);
/// let vectors = encoder.embed(&Tokens::padded(&[vec![5, 6, 7], vec![8, 9]], 0)?)?;
/// let cosines = vectors.matmul(&vectors.transpose(0, 1)?)?.to_vec::<f32>()?;
/// assert!((cosines[0] - 1.0).abs() < 1e-5 && cosines[1] < 1.0);
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
#[derive(Module, Clone)]
pub struct SentenceEncoder {
    /// The base, whose names are the file's.
    #[module(flatten)]
    pub bert: BertModel,
    /// Whether the vectors have length 1.
    pub normalise: bool,
}

impl SentenceEncoder {
    /// Unit vectors by a base, whose pooler is left out.
    pub fn around(bert: BertModel) -> SentenceEncoder {
        SentenceEncoder { bert: BertModel { pooler: None, ..bert }, normalise: true }
    }

    /// Vectors of any length.
    pub fn without_normalisation(self) -> SentenceEncoder {
        SentenceEncoder { normalise: false, ..self }
    }

    /// A published model: its sizes, and the file of its numbers.
    ///
    /// # Errors
    /// As for [`BertModel::open`].
    pub fn open(config: &BertConfig, file: impl AsRef<Path>) -> chainrule_nn::Result<SentenceEncoder> {
        Ok(SentenceEncoder::around(BertModel::open(config, file)?))
    }

    /// i64 `[N, T] -> [N, D]`.
    ///
    /// # Errors
    /// As for [`BertModel::encode`].
    pub fn embed(&self, tokens: &Tokens) -> Result<Tensor> {
        let mean = mean_over_tokens(&self.bert.encode(tokens)?, tokens.mask.as_ref())?;
        Ok(observed(self, if self.normalise { mean.normalize(2.0, &[-1], 1e-12)? } else { mean }))
    }
}

impl Layer for SentenceEncoder {
    fn forward(&self, ids: &Tensor) -> Result<Tensor> {
        self.embed(&ids.into())
    }
}
