//! A post-norm encoder of BERT's shape (Devlin et al. 2018).

use crate::kernels::integers;
use crate::training::train_on;
use crate::workload::Step;
use chainrule::finetune::{Adapted, Lora};
use chainrule::nn::{Embedding, Gelu, Layer, LayerNorm, Linear, Module, TransformerEncoder, TransformerEncoderLayer};
use chainrule::options::Attention;
use chainrule::{Result, Rng, Tensor, TensorError};

const VOCABULARY: usize = 8192;
const POSITIONS: usize = 512;
const FEATURES: usize = 256;
const HEADS: usize = 4;
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
            enc: TransformerEncoder::new(4, || Ok(TransformerEncoderLayer::new(FEATURES, HEADS, 4 * FEATURES, rng)?.activation(Gelu)))?,
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

/// A layer of the same shape with the projections apart, LoRA of rank 8 on query and value, and no dropout.
#[derive(Module, Clone)]
struct LoraLayer {
    q: Linear,
    k: Linear,
    v: Linear,
    o: Linear,
    f1: Linear,
    f2: Linear,
    n1: LayerNorm,
    n2: LayerNorm,
}

impl LoraLayer {
    fn new(rng: &mut Rng) -> Result<LoraLayer> {
        let mut square = || Linear::new(FEATURES, FEATURES, rng);
        let (q, k, v, o) = (square()?, square()?, square()?, square()?);
        Ok(LoraLayer {
            q,
            k,
            v,
            o,
            f1: Linear::new(FEATURES, 4 * FEATURES, rng)?,
            f2: Linear::new(4 * FEATURES, FEATURES, rng)?,
            n1: LayerNorm::new(&[FEATURES])?,
            n2: LayerNorm::new(&[FEATURES])?,
        })
    }
}

impl Layer for LoraLayer {
    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        let (batch, steps) = (x.dims()[0], x.dims()[1]);
        let heads = |x: Tensor| x.reshape(&[batch, steps, HEADS, FEATURES / HEADS])?.transpose(1, 2);
        let (q, k, v) = (heads(self.q.forward(x)?)?, heads(self.k.forward(x)?)?, heads(self.v.forward(x)?)?);
        let seen = q.scaled_dot_product_attention(&k, &v, &Attention::default())?.transpose(1, 2)?.reshape(&[batch, steps, FEATURES])?;
        let x = self.n1.forward(&x.add(&self.o.forward(&seen)?)?)?;
        self.n2.forward(&x.add(&self.f2.forward(&self.f1.forward(&x)?.gelu()?)?)?)
    }
}

/// The same as [`Encoder`], of those layers.
#[derive(Module, Clone)]
struct LoraEncoder {
    tok: Embedding,
    pos: Embedding,
    norm: LayerNorm,
    layers: Vec<LoraLayer>,
    cls: Linear,
}

impl LoraEncoder {
    /// All but the adapters and the classifier frozen.
    fn new(rng: &mut Rng) -> Result<Adapted<LoraEncoder>> {
        let model = LoraEncoder {
            tok: Embedding::new(VOCABULARY, FEATURES, rng)?,
            pos: Embedding::new(POSITIONS, FEATURES, rng)?,
            norm: LayerNorm::new(&[FEATURES])?,
            layers: (0..4).map(|_| LoraLayer::new(rng)).collect::<Result<_>>()?,
            cls: Linear::new(FEATURES, CLASSES, rng)?,
        };
        let mut model = Adapted::new(model);
        model.add("lora", Lora::rank(8).alpha(16.0).targets(["q", "v"]).saving(["cls"]), rng)?;
        Ok(model)
    }
}

impl Layer for LoraEncoder {
    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        let positions = self.pos.weight.on(x)?.narrow(0, 0, x.dims()[1])?;
        let embedded = self.norm.forward(&self.tok.forward(x)?.add(&positions)?)?;
        let x = self.layers.iter().try_fold(embedded, |x, layer| layer.forward(&x))?;
        self.cls.forward(&x.select(1, 0)?)
    }
}

/// `encoder_lora_train_b16_t128`
pub fn train_lora(rng: &mut Rng) -> Result<Step> {
    train_on(LoraEncoder::new(rng)?, integers(&[16, 128], VOCABULARY, rng)?, integers(&[16], CLASSES, rng)?, rng)
}

/// `encoder_train_b16_t128`
pub fn train(rng: &mut Rng) -> Result<Step> {
    train_on(Encoder::new(rng)?, integers(&[16, 128], VOCABULARY, rng)?, integers(&[16], CLASSES, rng)?, rng)
}

/// `encoder_infer_b1_t128`
pub fn infer(rng: &mut Rng) -> Result<Step> {
    let (model, x) = (Encoder::new(rng)?, integers(&[1, 128], VOCABULARY, rng)?);
    Ok(Box::new(move |show| {
        show(model.run(&x)?.array());
        Ok(())
    }))
}
