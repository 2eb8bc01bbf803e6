//! A post-norm encoder of BERT's shape (Devlin et al. 2018).

use crate::kernels::integers;
use crate::training::train_on;
use crate::workload::Step;
use chainrule::nn::{Embedding, Gelu, Layer, LayerNorm, Linear, Module, TransformerEncoder, TransformerEncoderLayer};
use chainrule::{Result, Rng, Tensor, TensorError};
use std::hint::black_box;

const VOCABULARY: usize = 8192;
const POSITIONS: usize = 512;
const FEATURES: usize = 256;
const CLASSES: usize = 2;

/// Four layers of four heads, classified by the first step: i64 `[N, T] -> [N, 2]`.
#[derive(Module, Clone)]
struct Encoder {
    tok: Embedding,
    pos: Embedding,
    norm: LayerNorm,
    enc: TransformerEncoder,
    cls: Linear,
}

impl Encoder {
    fn new(rng: &mut Rng) -> Result<Encoder> {
        Ok(Encoder {
            tok: Embedding::new(VOCABULARY, FEATURES, rng)?,
            pos: Embedding::new(POSITIONS, FEATURES, rng)?,
            norm: LayerNorm::new(&[FEATURES])?,
            enc: TransformerEncoder::new(4, || Ok(TransformerEncoderLayer::new(FEATURES, 4, 4 * FEATURES, rng)?.activation(Gelu)))?,
            cls: Linear::new(FEATURES, CLASSES, rng)?,
        })
    }
}

impl Layer for Encoder {
    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        // Where the tokens stand are the positions read, on a tape or off it.
        let positions = self.pos.weight.on(x)?.narrow(0, 0, x.dims()[1])?;
        let x = self.norm.forward(&self.tok.forward(x)?.add(&positions)?)?;
        self.cls.forward(&self.enc.forward(&x)?.select(1, 0)?)
    }
}

/// `encoder_train_b16_t128`
pub fn train(rng: &mut Rng) -> Result<Step> {
    train_on(Encoder::new(rng)?, integers(&[16, 128], VOCABULARY, rng)?, integers(&[16], CLASSES, rng)?, rng)
}

/// `encoder_infer_b1_t128`
pub fn infer(rng: &mut Rng) -> Result<Step> {
    let (model, x) = (Encoder::new(rng)?, integers(&[1, 128], VOCABULARY, rng)?);
    Ok(Box::new(move || {
        black_box(model.run(&x)?);
        Ok(())
    }))
}
