//! Recurrent models of the workloads, under the names of PyTorch's side.

use crate::kernels::{integers, normal};
use crate::training::train_on;
use crate::workload::Step;
use chainrule::nn::{AnyLayer, BoxedLayer, Embedding, Gru, Layer, Linear, Lstm, Module};
use chainrule::{Result, Rng, Tensor, TensorError};

/// Symbols of the language model.
const SYMBOLS: usize = 96;

/// A character language model: embedding of 64, two recurrent layers of 256 units, logits: i64 `[B, T] -> [B · T, 96]`.
#[derive(Module, Clone)]
struct LanguageModel {
    emb: Embedding,
    rnn: BoxedLayer,
    out: Linear,
}

impl LanguageModel {
    fn new(rnn: impl AnyLayer, rng: &mut Rng) -> Result<LanguageModel> {
        Ok(LanguageModel { emb: Embedding::new(SYMBOLS, 64, rng)?, rnn: Box::new(rnn), out: Linear::new(256, SYMBOLS, rng)? })
    }
}

impl Layer for LanguageModel {
    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        self.out.forward(&self.rnn.forward(&self.emb.forward(x)?)?)?.flatten(0, 1)
    }
}

/// A bidirectional layer of 128 units, the mean over time, logits: `[B, T, 64] -> [B, 4]`.
#[derive(Module, Clone)]
struct Classifier {
    rnn: Lstm,
    out: Linear,
}

impl Layer for Classifier {
    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        self.out.forward(&self.rnn.forward(x)?.mean_over(&[1], false)?)
    }
}

/// `lstm_lm_train_b32_t64`
pub fn lstm_language_model(rng: &mut Rng) -> Result<Step> {
    let model = LanguageModel::new(Lstm::new(64, 256, 2, rng)?, rng)?;
    train_on(model, integers(&[32, 64], SYMBOLS, rng)?, integers(&[32 * 64], SYMBOLS, rng)?, rng)
}

/// `gru_lm_train_b32_t64`
pub fn gru_language_model(rng: &mut Rng) -> Result<Step> {
    let model = LanguageModel::new(Gru::new(64, 256, 2, rng)?, rng)?;
    train_on(model, integers(&[32, 64], SYMBOLS, rng)?, integers(&[32 * 64], SYMBOLS, rng)?, rng)
}

/// `bilstm_cls_train_b32_t100`
pub fn bidirectional_classifier(rng: &mut Rng) -> Result<Step> {
    let model = Classifier { rnn: Lstm::bidirectional(64, 128, 1, rng)?, out: Linear::new(256, 4, rng)? };
    train_on(model, normal(&[32, 100, 64], rng)?, integers(&[32], 4, rng)?, rng)
}

/// `lstm_infer_b1_t64`
pub fn infer_language_model(rng: &mut Rng) -> Result<Step> {
    let model = LanguageModel::new(Lstm::new(64, 256, 2, rng)?, rng)?;
    let x = integers(&[1, 64], SYMBOLS, rng)?;
    Ok(Box::new(move |show| {
        show(model.run(&x)?.array());
        Ok(())
    }))
}
