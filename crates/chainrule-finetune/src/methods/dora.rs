//! DoRA (Liu et al. 2024, "DoRA: Weight-Decomposed Low-Rank Adaptation"; PEFT's `use_dora`).

use super::{LoraAdapter, LowRank};
use chainrule_autograd::{Result, Tensor};
use chainrule_nn::{Adapter, Module, Operation, Param, Site, params_mut};

/// `W' = m · (W + s B A) / |W + s B A|`, one norm and one magnitude for each output; of an embedding `[V, D]` for each of the D features.
///
/// The path stays a low-rank one: `y = (m / n) (x Wᵀ + s x Aᵀ Bᵀ) + b`. The norms n are constants to the backward pass, as the paper proposes and PEFT does; they are taken from A and B as well, so that ΔW is not formed for them either.
/// They are read from the weight at every call, which costs about as much as r rows of input. With dropout the paths of A and of `m / n - 1` see the dropped input, and `x Wᵀ` the whole, as in PEFT, for one more product.
///
/// m begins as the norms, so a new adapter changes nothing. Made by [`Lora::dora`](crate::Lora::dora).
/// ```
/// # use chainrule_autograd::{DType, Rng, Tensor};
/// # use chainrule_finetune::{Adapted, Lora};
/// # use chainrule_nn::{Layer, Linear, Sequential, count};
/// let rng = &mut Rng::seeded(0);
/// let mut model = Adapted::new(Sequential::new().add(Linear::new(64, 32, rng)?));
/// model.add("mine", Lora::rank(8).dora().targets(["0"]), rng)?;
/// assert_eq!(count(&model).trainable, 8 * 64 + 32 * 8 + 32);
/// # Ok::<(), chainrule_finetune::Error>(())
/// ```
#[derive(Module, Clone)]
pub struct DoraAdapter {
    /// A, B and s.
    #[module(flatten)]
    pub lora: LoraAdapter,
    /// m: `[Out]`, of a convolution `[1, OC, 1..]`, of an embedding `[D]`.
    pub lora_magnitude_vector: Param,
}

impl DoraAdapter {
    /// Around a new low-rank pair.
    pub(super) fn new(mut lora: LoraAdapter, site: &Site) -> Result<DoraAdapter> {
        // The norms are those of both together.
        let (weight, mut moved) = (site.base_weight()?, Ok(()));
        params_mut(&mut lora, |_, param| match param.value.to(&weight.device()) {
            Ok(value) => param.value = value,
            Err(error) => moved = Err(error),
        });
        moved?;
        let norms = lora.low.norms(&weight, lora.scale)?;
        let norms = match (site.operation, site.weight.value.rank()) {
            (Operation::Conv1d(_) | Operation::Conv2d(_) | Operation::Conv3d(_), rank) => norms.reshape(&channels(norms.count(), rank))?,
            _ => norms,
        };
        Ok(DoraAdapter { lora, lora_magnitude_vector: Param::new(norms.into_array()) })
    }

    /// `m / n` as the output of a layer has its channels: with the batch, or without.
    fn factors_for(&self, x: &Tensor, site: &Site) -> Result<Tensor> {
        let factors = self.factors(x, &site.base_weight()?)?;
        let single = matches!(self.lora.low, LowRank::Matrices(_)) && x.rank() < factors.rank();
        if single { factors.squeeze(0) } else { Ok(factors) }
    }

    /// `m / n`, in the magnitude's shape.
    fn factors(&self, x: &Tensor, weight: &Tensor) -> Result<Tensor> {
        let norms = self.lora.low.norms(weight, self.lora.scale)?;
        self.lora_magnitude_vector.on(x)?.div(&norms.reshape(self.lora_magnitude_vector.value.dims())?)
    }
}

/// `[1, C, 1..]`
fn channels(count: usize, rank: usize) -> Vec<usize> {
    (0..rank).map(|axis| if axis == 1 { count } else { 1 }).collect()
}

impl Adapter for DoraAdapter {
    fn adapt(&self, x: &Tensor, site: &Site) -> Result<Tensor> {
        let factors = self.factors_for(x, site)?;
        if self.lora.dropout > 0.0 && x.is_training() && !matches!(site.operation, Operation::Embedding { .. }) {
            let dropped = self.lora.dropped(x, site)?;
            let plain = site.forward_without_bias(&dropped)?;
            let turned = self.lora.low.added(plain.clone(), &dropped, site.operation, self.lora.scale)?.mul(&factors)?;
            return site.forward(x)?.add(&turned.sub(&plain)?);
        }
        let y = self.lora.low.added(site.forward(x)?, x, site.operation, self.lora.scale)?.mul(&factors)?;
        let Some(bias) = site.bias else { return Ok(y) };
        // The bias, which stands inside the product, gets back what the factors took from it: nothing as long as they are 1.
        let bias = bias.on(x)?.reshape(factors.dims())?;
        y.add(&bias.mul(&factors.affine(-1.0, 1.0)?)?)
    }

    fn merged(&self, weight: &Tensor) -> Result<Tensor> {
        let factors = self.factors(weight, weight)?;
        let factors = match self.lora.low {
            LowRank::Rows(_) => factors,
            LowRank::Matrices(_) => factors.reshape(&(0..weight.rank()).map(|axis| if axis == 0 { factors.count() } else { 1 }).collect::<Vec<_>>())?,
        };
        self.lora.merged(weight)?.mul(&factors)
    }
}
