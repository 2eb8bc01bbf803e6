//! BERT with a classifier of sequences or of tokens; `features` and `head` apart.

use super::load::Weights;
use super::start::Start;
use super::{BertConfig, BertModel};
use crate::Tokens;
use chainrule_autograd::{Result, Rng, Tensor};
use chainrule_nn::{Layer, Linear, LoadReport, Module, observed};
use std::path::Path;

/// How a sequence's hidden states become one vector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pooling {
    /// The model's pooler, which reads the first token; dropout stands before the classifier, as in Hugging Face's `BertForSequenceClassification`.
    #[default]
    First,
    /// The mean over the real tokens, as in sentence-transformers; no dropout behind it.
    Mean,
}

/// A class for each sequence: i64 `[N, T] -> [N, V]`.
///
/// [`features`](BertForSequenceClassification::features) is what stands before the head, and can be computed once, off the tape, where only the head learns.
/// ```
/// # use chainrule_autograd::{Rng, Tape, Tensor};
/// # use chainrule_models::{BertConfig, BertForSequenceClassification, Pooling, Tokens};
/// # use chainrule_nn::freeze;
/// let rng = &mut Rng::seeded(0);
/// let mut model = BertForSequenceClassification::new(&BertConfig::new(100, 32, 2, 4, 64), 3, Pooling::Mean, rng)?;
/// let tokens = Tokens::padded(&[vec![5, 6, 7], vec![8, 9]], 0)?;
/// assert_eq!(model.logits(&tokens)?.dims(), [2, 3]);
///
/// freeze(&mut model, "bert.*")?;
/// let features = model.features(&tokens)?; // off the tape: nothing is kept
/// let tape = Tape::training(rng);
/// let loss = model.head(&tape.input(&features))?.cross_entropy(&Tensor::from_slice(&[0i64, 2], &[2])?)?;
/// assert_eq!(loss.backward()?.len(), 2);
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
#[derive(Module, Clone)]
pub struct BertForSequenceClassification {
    /// The base.
    pub bert: BertModel,
    /// The head, `[V, D]`.
    pub classifier: Linear,
    /// How a sequence becomes one vector.
    #[module(skip)]
    pub pooling: Pooling,
    /// The rate of dropout before the head.
    pub dropout: f64,
}

impl BertForSequenceClassification {
    /// A new model for so many classes; the head begins as any linear layer does.
    ///
    /// # Errors
    /// As for [`BertModel::new`].
    pub fn new(config: &BertConfig, classes: usize, pooling: Pooling, rng: &mut Rng) -> Result<Self> {
        let bert = BertModel::new(config, rng)?;
        Self::around(bert, config, classes, pooling, rng)
    }

    /// A head of so many classes on a base. Pooling by the mean has no use for the base's pooler, and leaves it out.
    ///
    /// # Errors
    /// No memory.
    pub fn around(bert: BertModel, config: &BertConfig, classes: usize, pooling: Pooling, rng: &mut Rng) -> Result<Self> {
        let pooler = if pooling == Pooling::First { bert.pooler } else { None };
        let dropout = if pooling == Pooling::First { config.classifier_dropout.unwrap_or(config.hidden_dropout_prob) } else { 0.0 };
        let classifier = Linear::new(config.hidden_size, classes, rng)?;
        Ok(BertForSequenceClassification { bert: BertModel { pooler, ..bert }, classifier, pooling, dropout })
    }

    /// A published model: its sizes, and the file of its numbers. A head, or a pooler where one is needed, that the file has not is new.
    ///
    /// # Errors
    /// As for [`BertModel::open`].
    pub fn open(config: &BertConfig, file: impl AsRef<Path>, classes: usize, pooling: Pooling, rng: &mut Rng) -> chainrule_nn::Result<Self> {
        let file = Weights::open(file.as_ref())?;
        file.expect_room_for(config)?;
        let mut bert = BertModel::starting(config, &mut Start::Zeros)?;
        if let (Some(pooler), false) = (&mut bert.pooler, file.has("pooler.")) {
            pooler.dense = Start::Drawn { deviation: config.initializer_range, rng }.linear(config.hidden_size, config.hidden_size)?;
        }
        let mut model = Self::around(bert, config, classes, pooling, rng)?;
        let _head_may_be_new = file.load(&mut model, "bert.", OPTIONAL)?;
        Ok(model)
    }

    /// Loads a file, as [`BertModel::load`] does; a head that the file has not stays as it is, and is reported as kept.
    ///
    /// # Errors
    /// As for [`BertModel::load`].
    pub fn load(&mut self, file: impl AsRef<Path>) -> chainrule_nn::Result<LoadReport> {
        Weights::open(file.as_ref())?.load(self, "bert.", OPTIONAL)
    }

    /// What stands before the head: i64 `[N, T] -> [N, D]`.
    ///
    /// # Errors
    /// As for [`BertModel::encode`].
    pub fn features(&self, tokens: &Tokens) -> Result<Tensor> {
        match self.pooling {
            Pooling::First => self.bert.pooled(&self.bert.encode_with_prompt(tokens)?),
            Pooling::Mean => mean_over_tokens(&self.bert.encode(tokens)?, tokens.mask.as_ref()),
        }
    }

    /// The head alone: `[N, D] -> [N, V]`.
    ///
    /// # Errors
    /// A shape that does not fit.
    pub fn head(&self, features: &Tensor) -> Result<Tensor> {
        self.classifier.forward(&features.dropout(self.dropout)?)
    }

    /// i64 `[N, T] -> [N, V]`.
    ///
    /// # Errors
    /// As for [`BertModel::encode`].
    pub fn logits(&self, tokens: &Tokens) -> Result<Tensor> {
        Ok(observed(self, self.head(&self.features(tokens)?)?))
    }
}

/// A class for each token: i64 `[N, T] -> [N, T, V]` (Hugging Face's `BertForTokenClassification`).
/// ```
/// # use chainrule_autograd::Rng;
/// # use chainrule_models::{BertConfig, BertForTokenClassification, Tokens};
/// let model = BertForTokenClassification::new(&BertConfig::new(100, 32, 2, 4, 64), 13, &mut Rng::seeded(0))?;
/// assert_eq!(model.logits(&Tokens::padded(&[[5, 6, 7]], 0)?)?.dims(), [1, 3, 13]);
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
#[derive(Module, Clone)]
pub struct BertForTokenClassification {
    /// The base, without a pooler.
    pub bert: BertModel,
    /// The head, `[V, D]`.
    pub classifier: Linear,
    /// The rate of dropout before the head.
    pub dropout: f64,
}

impl BertForTokenClassification {
    /// A new model for so many classes; the head begins as any linear layer does.
    ///
    /// # Errors
    /// As for [`BertModel::new`].
    pub fn new(config: &BertConfig, classes: usize, rng: &mut Rng) -> Result<Self> {
        let bert = BertModel::new(config, rng)?;
        Self::around(bert, config, classes, rng)
    }

    /// A head of so many classes on a base, whose pooler is left out.
    ///
    /// # Errors
    /// No memory.
    pub fn around(bert: BertModel, config: &BertConfig, classes: usize, rng: &mut Rng) -> Result<Self> {
        let dropout = config.classifier_dropout.unwrap_or(config.hidden_dropout_prob);
        Ok(BertForTokenClassification { bert: BertModel { pooler: None, ..bert }, classifier: Linear::new(config.hidden_size, classes, rng)?, dropout })
    }

    /// A published model: its sizes, and the file of its numbers. A head that the file has not is new.
    ///
    /// # Errors
    /// As for [`BertModel::open`].
    pub fn open(config: &BertConfig, file: impl AsRef<Path>, classes: usize, rng: &mut Rng) -> chainrule_nn::Result<Self> {
        let file = Weights::open(file.as_ref())?;
        file.expect_room_for(config)?;
        let mut model = Self::around(BertModel::starting(config, &mut Start::Zeros)?, config, classes, rng)?;
        let _head_may_be_new = file.load(&mut model, "bert.", OPTIONAL)?;
        Ok(model)
    }

    /// Loads a file, as [`BertForSequenceClassification::load`] does.
    ///
    /// # Errors
    /// As for [`BertModel::load`].
    pub fn load(&mut self, file: impl AsRef<Path>) -> chainrule_nn::Result<LoadReport> {
        Weights::open(file.as_ref())?.load(self, "bert.", OPTIONAL)
    }

    /// What stands before the head: i64 `[N, T] -> [N, T, D]`.
    ///
    /// # Errors
    /// As for [`BertModel::encode`].
    pub fn features(&self, tokens: &Tokens) -> Result<Tensor> {
        self.bert.encode(tokens)
    }

    /// The head alone: `[N, T, D] -> [N, T, V]`.
    ///
    /// # Errors
    /// A shape that does not fit.
    pub fn head(&self, features: &Tensor) -> Result<Tensor> {
        self.classifier.forward(&features.dropout(self.dropout)?)
    }

    /// i64 `[N, T] -> [N, T, V]`.
    ///
    /// # Errors
    /// As for [`BertModel::encode`].
    pub fn logits(&self, tokens: &Tokens) -> Result<Tensor> {
        Ok(observed(self, self.head(&self.features(tokens)?)?))
    }
}

/// What a file may lack.
const OPTIONAL: &[&str] = &["pooler.", "classifier."];

/// The replacement of heads, and both models as layers of ids without padding.
macro_rules! classifiers {
    ($($model:ident)*) => { $(
        impl $model {
            /// Puts a new head of so many classes in the place of the old one, which is handed back.
            ///
            /// # Errors
            /// No memory; the head is then the old one.
            pub fn replace_head(&mut self, classes: usize, rng: &mut Rng) -> Result<Linear> {
                let width = self.classifier.weight.value.dims().last().copied().unwrap_or(0);
                Ok(std::mem::replace(&mut self.classifier, Linear::new(width, classes, rng)?))
            }
        }

        impl Layer for $model {
            fn forward(&self, ids: &Tensor) -> Result<Tensor> {
                self.logits(&ids.into())
            }
        }
    )* };
}
classifiers! { BertForSequenceClassification BertForTokenClassification }

/// `sum_t m_t h_t / sum_t m_t`: `[N, T, D] -> [N, D]`, as one product, so that no masked copy of the states is made.
pub(super) fn mean_over_tokens(hidden: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    let Some(mask) = mask else { return hidden.mean_over(&[1], false) };
    let mask = mask.truth()?.cast(hidden.dtype())?;
    // A sequence without a real token has the mean 0.
    let weights = mask.div(&mask.sum_over(&[1], true)?.clamp(1.0, f64::INFINITY)?)?;
    weights.unsqueeze(1)?.matmul(hidden)?.squeeze(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chainrule_autograd::DType;

    #[test]
    fn the_mean_counts_real_tokens_only() -> Result<()> {
        let hidden = Tensor::arange(0.0, 12.0, 1.0, DType::F32)?.reshape(&[2, 3, 2])?;
        let mask = Tensor::from_slice(&[1u8, 1, 0, 0, 0, 0], &[2, 3])?;
        assert_eq!(mean_over_tokens(&hidden, Some(&mask))?.to_vec::<f32>()?, [1.0, 2.0, 0.0, 0.0]);
        assert_eq!(mean_over_tokens(&hidden, None)?.to_vec::<f32>()?, [2.0, 3.0, 8.0, 9.0]);
        Ok(())
    }
}
