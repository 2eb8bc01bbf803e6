//! [`LowRank`]: a change of a weight as a product of two thin matrices, which LoRA and DoRA share.

use super::{LoraInit, expect_rate, refused};
use chainrule_autograd::{self as options, Array, Error, Result, Rng, Tensor};
use chainrule_nn::init::Init;
use chainrule_nn::{Module, Operation, Param, Site};

/// A pair of matrices for a layer's weight, by what the layer computes. The names of the contents are PEFT's.
#[derive(Module, Clone)]
pub enum LowRank {
    /// Of a linear layer, a convolution, a recurrent weight.
    Matrices(Matrices),
    /// Of an embedding.
    Rows(Rows),
}

/// `ΔW = B A`
#[derive(Module, Clone)]
pub struct Matrices {
    /// A: `[r, In]`; for convolutions `[r, IC, K..]`, with the layer's kernel.
    #[module(name = "lora_A.weight")]
    pub lora_a: Param,
    /// B: `[Out, r]`; for convolutions `[OC, r/groups, 1..]`.
    #[module(name = "lora_B.weight")]
    pub lora_b: Param,
    /// A bias behind B, `[Out]`.
    #[module(name = "lora_B.bias")]
    pub lora_b_bias: Option<Param>,
}

impl Matrices {
    /// The bias times the factor.
    fn bias(&self, x: &Tensor, scale: f64) -> Result<Option<Tensor>> {
        self.lora_b_bias.as_ref().map(|bias| scaled(bias, x, scale)).transpose()
    }
}

/// `ΔW = Aᵀ Bᵀ`
#[derive(Module, Clone)]
pub struct Rows {
    /// A: `[r, V]`
    #[module(name = "lora_embedding_A")]
    pub lora_embedding_a: Param,
    /// B: `[D, r]`
    #[module(name = "lora_embedding_B")]
    pub lora_embedding_b: Param,
}

impl LowRank {
    /// A pair for this place whose product is zero.
    pub(super) fn new(op: &'static str, site: &Site, rank: usize, init: LoraInit, rng: &mut Rng) -> Result<LowRank> {
        let (dims, dtype) = (site.weight.value.dims(), site.weight.value.dtype());
        if rank == 0 {
            return Err(Error::value(op, "got rank 0, expected at least 1"));
        }
        let groups = match site.operation {
            Operation::Linear | Operation::Weight => 1,
            Operation::Conv1d(window) => window.groups,
            Operation::Conv2d(window) => window.groups,
            Operation::Conv3d(window) => window.groups,
            Operation::Embedding { .. } => {
                let &[count, features] = dims else { return Err(Error::shape(op, format!("the weight has shape {dims:?}, expected [V, D]"))) };
                // The other way round than elsewhere: a row of zeros for each index.
                let (a, b) = (Array::zeros(&[rank, count], dtype)?, Init::Normal { mean: 0.0, deviation: 1.0 }.array(&[features, rank], dtype, rng)?);
                return Ok(LowRank::Rows(Rows { lora_embedding_a: Param::new(a), lora_embedding_b: Param::new(b) }));
            }
            other => return Err(refused(op, other, "a linear layer, an embedding, a convolution or a recurrent weight")),
        };
        let &[outputs, inputs, ref kernel @ ..] = dims else { return Err(Error::shape(op, format!("the weight has shape {dims:?}, expected [Out, In, ..]"))) };
        if groups == 0 || !rank.is_multiple_of(groups) {
            let message =
                format!("got rank {rank} for a convolution of {groups} groups, expected a multiple of {groups}; choose another rank, or leave the layer out");
            return Err(Error::value(op, message));
        }
        let (a, b) = ([&[rank, inputs.saturating_mul(groups)], kernel].concat(), [&[outputs, rank / groups][..], &vec![1; kernel.len()]].concat());
        let init = match init {
            LoraInit::Kaiming => Init::layer_default(),
            LoraInit::Gaussian => Init::Normal { mean: 0.0, deviation: 1.0 / rank as f64 },
        };
        Ok(LowRank::Matrices(Matrices { lora_a: Param::new(init.array(&a, dtype, rng)?), lora_b: Param::new(Array::zeros(&b, dtype)?), lora_b_bias: None }))
    }

    /// `y + scale · ΔW` applied to x: through the r numbers in the middle, ΔW being never formed.
    pub(super) fn added(&self, y: Tensor, x: &Tensor, operation: Operation, scale: f64) -> Result<Tensor> {
        match (self, operation) {
            (LowRank::Matrices(pair), Operation::Linear) => {
                let y = y.add_linear(&x.linear(&pair.lora_a.on(x)?, None)?, &scaled(&pair.lora_b, x, scale)?)?;
                match pair.bias(x, scale)? {
                    Some(bias) => y.add(&bias),
                    None => Ok(y),
                }
            }
            (LowRank::Matrices(pair), Operation::Conv1d(window)) => {
                let low = x.conv1d(&pair.lora_a.on(x)?, None, &options::Conv1d { groups: 1, ..window })?;
                y.add(&low.conv1d(
                    &scaled(&pair.lora_b, x, scale)?,
                    pair.bias(x, scale)?.as_ref(),
                    &options::Conv1d { groups: window.groups, ..Default::default() },
                )?)
            }
            (LowRank::Matrices(pair), Operation::Conv2d(window)) => {
                let low = x.conv2d(&pair.lora_a.on(x)?, None, &options::Conv2d { groups: 1, ..window })?;
                y.add(&low.conv2d(
                    &scaled(&pair.lora_b, x, scale)?,
                    pair.bias(x, scale)?.as_ref(),
                    &options::Conv2d { groups: window.groups, ..Default::default() },
                )?)
            }
            (LowRank::Matrices(pair), Operation::Conv3d(window)) => {
                let low = x.conv3d(&pair.lora_a.on(x)?, None, &options::Conv3d { groups: 1, ..window })?;
                y.add(&low.conv3d(
                    &scaled(&pair.lora_b, x, scale)?,
                    pair.bias(x, scale)?.as_ref(),
                    &options::Conv3d { groups: window.groups, ..Default::default() },
                )?)
            }
            (LowRank::Rows(pair), Operation::Embedding { padding }) => {
                let low = pair.lora_embedding_a.on(x)?.transpose(0, 1)?.embedding(x, padding)?;
                y.add_linear(&low, &scaled(&pair.lora_embedding_b, x, scale)?)
            }
            (_, other) => Err(Error::value("lora", format!("these matrices do not fit a layer of {other:?}"))),
        }
    }

    /// With a bias behind B, which begins as zero. Merged it is a change of the layer's bias.
    pub(super) fn with_bias(mut self, op: &'static str, site: &Site) -> Result<LowRank> {
        match (&mut self, site.bias, site.operation) {
            (LowRank::Matrices(pair), Some(bias), operation) if operation != Operation::Weight => {
                pair.lora_b_bias = Some(Param::new(Array::zeros(bias.value.dims(), bias.value.dtype())?));
                Ok(self)
            }
            (_, _, operation) => {
                let message = format!("got a bias behind B for a layer of {operation:?}, expected a linear layer or a convolution with a bias of its own");
                Err(Error::value(op, message))
            }
        }
    }

    /// The layer's bias with `scale` times that behind B.
    pub(super) fn merged_bias(&self, bias: &Tensor, scale: f64) -> Result<Tensor> {
        match self {
            LowRank::Matrices(pair) => pair.bias(bias, scale)?.map_or(Ok(bias.clone()), |own| bias.add(&own)),
            LowRank::Rows(_) => Ok(bias.clone()),
        }
    }

    /// `scale · ΔW`, in the shape of the weight.
    pub(super) fn delta(&self, weight: &Tensor, scale: f64) -> Result<Tensor> {
        let product = match self {
            LowRank::Matrices(pair) => {
                let (a, b) = (pair.lora_a.on(weight)?, scaled(&pair.lora_b, weight, scale)?);
                self.expect_ungrouped(weight.dims())?;
                b.flatten(1, -1)?.matmul(&a.flatten(1, -1)?)?
            }
            LowRank::Rows(pair) => {
                let (a, b) = (pair.lora_embedding_a.on(weight)?, scaled(&pair.lora_embedding_b, weight, scale)?);
                a.transpose(0, 1)?.matmul(&b.transpose(0, 1)?)?
            }
        };
        product.reshape(weight.dims())
    }

    /// The norm of each output's part of `W + scale ΔW`, `[Out]`, without a gradient: `|w|² + 2 s w·(b A) + s² b (A Aᵀ) b` for its rows w and b. The dense ΔW is not formed.
    pub(super) fn norms(&self, weight: &Tensor, scale: f64) -> Result<Tensor> {
        let weight = weight.detach();
        let (squares, products, a, b) = match self {
            LowRank::Matrices(pair) => {
                self.expect_ungrouped(weight.dims())?;
                let (weight, a) = (weight.flatten(1, -1)?, Tensor::from(&pair.lora_a.value).flatten(1, -1)?);
                let squares = blocks(&weight)?.iter().map(|rows| rows.square()?.sum_over(&[1], false)).collect::<Result<Vec<_>>>()?;
                (Tensor::concatenate(&squares.iter().collect::<Vec<_>>(), 0)?, weight.linear(&a, None)?, a, &pair.lora_b)
            }
            LowRank::Rows(pair) => {
                let a = Tensor::from(&pair.lora_embedding_a.value);
                let zero = Tensor::from(weight.array().new_full(&weight.dims()[1..], 0.0)?);
                let squares = blocks(&weight)?.iter().try_fold(zero, |sum, rows| sum.add(&rows.square()?.sum_over(&[0], false)?))?;
                (squares, a.matmul(&weight)?.transpose(0, 1)?, a, &pair.lora_embedding_b)
            }
        };
        let b = Tensor::from(&b.value).flatten(1, -1)?;
        let own = b.matmul(&a.linear(&a, None)?)?.mul_scalar(scale * scale)?;
        let changed = products.mul_scalar(2.0 * scale)?.add(&own)?.mul(&b)?.sum_over(&[1], false)?;
        // A row of zeros keeps a norm to be divided by.
        squares.add(&changed)?.clamp(1e-24, f64::INFINITY)?.sqrt()
    }

    fn expect_ungrouped(&self, weight: &[usize]) -> Result<()> {
        let LowRank::Matrices(pair) = self else { return Ok(()) };
        if pair.lora_a.value.dims().get(1) != weight.get(1) {
            let message = "the low-rank path of a convolution in groups reads all channels, so it is no change of that weight and cannot be merged; keep it beside the layer";
            return Err(Error::value("merge", message));
        }
        Ok(())
    }
}

/// The rows in blocks that fit a cache, so that their squares need no memory of the weight's size.
fn blocks(weight: &Tensor) -> Result<Vec<Tensor>> {
    const NUMBERS: usize = 1 << 16;
    weight.chunk(weight.count().div_ceil(NUMBERS).max(1), 0)
}

/// B times the factor: the smallest place to put it.
fn scaled(b: &Param, x: &Tensor, scale: f64) -> Result<Tensor> {
    let b = b.on(x)?;
    if scale == 1.0 { Ok(b) } else { b.mul_scalar(scale) }
}

/// The input of a low-rank path: dropout leaves indices as they are, and has no place inside a recurrence.
pub(super) fn expect_dropout(op: &'static str, site: &Site, rate: f64) -> Result<()> {
    expect_rate(op, rate)?;
    if rate > 0.0 && site.operation == Operation::Weight {
        let message = format!("got a dropout of {rate} for a weight inside a larger operation, whose inputs cannot be dropped for one path alone; expected 0");
        return Err(Error::value(op, message));
    }
    Ok(())
}
