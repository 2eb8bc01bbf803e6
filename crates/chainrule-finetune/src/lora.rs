//! LoRA (Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models"; PEFT's `LoraConfig`).

use crate::{Method, Selection, Targets};
use chainrule_autograd::{Array, Error, Result, Rng, Tensor};
use chainrule_nn::init::Init;
use chainrule_nn::{Adapter, BoxedAdapter, Module, Operation, Param, Site};

/// `y = x Wᵀ + b + (alpha / r) · dropout(x) Aᵀ Bᵀ` around a linear layer, for A `[r, In]` and B `[Out, r]`.
///
/// The product B A is never formed: the path goes through the r numbers in the middle, and the frozen weight gets no gradient. B begins as zero, so a new adapter changes nothing.
/// ```
/// # use chainrule_autograd::{DType, Rng, Tensor};
/// # use chainrule_finetune::{Adapted, Lora};
/// # use chainrule_nn::{Layer, Linear, Sequential, count};
/// let rng = &mut Rng::seeded(0);
/// let mut model = Adapted::new(Sequential::new().add(Linear::new(64, 32, rng)?));
/// model.add("mine", Lora::rank(8).alpha(16.0).targets("all-linear"), rng)?;
/// assert_eq!(count(&model).trainable, 8 * 64 + 32 * 8);
/// assert_eq!(model.run(&Tensor::ones(&[1, 64], DType::F32)?)?.dims(), [1, 32]);
/// # Ok::<(), chainrule_finetune::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Lora {
    /// What is adapted, and what is trained whole.
    pub selection: Selection,
    /// r
    pub rank: usize,
    /// alpha; the path's factor is alpha / r.
    pub alpha: f64,
    /// The probability with which a number of the input is left out of the low-rank path in training.
    pub dropout: f64,
}

impl Lora {
    /// Of this rank, on all linear layers, with alpha = r and without dropout.
    pub fn rank(rank: usize) -> Lora {
        Lora { selection: Selection::of(Targets::AllLinear), rank, alpha: rank as f64, dropout: 0.0 }
    }
    /// The factor of the path times r.
    pub fn alpha(self, alpha: f64) -> Lora {
        Lora { alpha, ..self }
    }
    /// With dropout of the low-rank path's input.
    pub fn dropout(self, probability: f64) -> Lora {
        Lora { dropout: probability, ..self }
    }
    /// On these layers.
    pub fn targets(mut self, targets: impl Into<Targets>) -> Lora {
        self.selection.targets = Some(targets.into());
        self
    }
    /// Trains these modules whole and stores them with the adapter: a new head.
    pub fn saving<const N: usize>(mut self, modules: [&str; N]) -> Lora {
        self.selection.save = modules.map(str::to_string).to_vec();
        self
    }
}

impl Method for Lora {
    fn name(&self) -> &'static str {
        "lora"
    }
    fn selection(&self) -> &Selection {
        &self.selection
    }
    fn adapter(&self, _: &str, site: &Site, rng: &mut Rng) -> Result<Option<BoxedAdapter>> {
        const OP: &str = "lora";
        let &[outputs, inputs] = site.weight.value.dims() else {
            return Err(Error::shape(OP, format!("the weight has shape {:?}, expected [out, in]", site.weight.value.shape())));
        };
        if site.operation != Operation::Linear {
            return Err(Error::value(OP, format!("got a layer of {:?}, expected a linear one", site.operation)));
        }
        if self.rank == 0 {
            return Err(Error::value(OP, "got rank 0, expected at least 1".to_string()));
        }
        if !self.alpha.is_finite() {
            return Err(Error::value(OP, format!("got alpha {}, expected a finite number", self.alpha)));
        }
        let dtype = site.weight.value.dtype();
        Ok(Some(Box::new(LoraAdapter {
            lora_a: Param::new(Init::layer_default().array(&[self.rank, inputs], dtype, rng)?),
            lora_b: Param::new(Array::zeros(&[outputs, self.rank], dtype)?),
            scale: self.alpha / self.rank as f64,
            dropout: self.dropout,
        })))
    }
}

/// What LoRA puts into a slot.
#[derive(Module, Clone)]
pub struct LoraAdapter {
    /// A, `[r, In]`
    #[module(name = "lora_A.weight")]
    pub lora_a: Param,
    /// B, `[Out, r]`
    #[module(name = "lora_B.weight")]
    pub lora_b: Param,
    /// alpha / r
    pub scale: f64,
    /// The probability with which a number of the input is left out of the low-rank path in training.
    pub dropout: f64,
}

impl Adapter for LoraAdapter {
    fn adapt(&self, x: &Tensor, site: &Site) -> Result<Tensor> {
        let seen = if self.dropout == 0.0 { x } else { &x.dropout(self.dropout)? };
        let low = seen.linear(&self.lora_a.on(x)?, None)?;
        // The factor meets the r numbers in the middle, not all outputs.
        let low = if self.scale == 1.0 { low } else { low.mul_scalar(self.scale)? };
        site.forward(x)?.add(&low.linear(&self.lora_b.on(x)?, None)?)
    }

    fn merged(&self, weight: &Tensor) -> Result<Tensor> {
        weight.add(&self.lora_b.on(weight)?.matmul(&self.lora_a.on(weight)?)?.mul_scalar(self.scale)?)
    }
}
