//! VeRA (Kopiczko et al. 2023, "VeRA: Vector-based Random Matrix Adaptation"; PEFT's `VeraConfig`).

use super::{expect_finite, expect_rate, refused, selecting};
use crate::peft::Config;
use crate::{Method, Selection, Targets};
use chainrule_autograd::{Array, DType, Device, Error, Result, Rng, Tensor};
use chainrule_nn::init::{Fan, Init, Nonlinearity};
use chainrule_nn::{Adapter, BoxedAdapter, Constant, Module, Operation, Param, Site};
use std::sync::OnceLock;

/// `y = x Wᵀ + b + λ_b ∘ ((λ_d ∘ dropout(x) Aᵀ) Bᵀ)` with random A and B that all layers share and nothing trains: two vectors a layer.
///
/// A is `[r, In]` and B `[Out, r]` for the widest of the layers; the others use their first columns and rows, as in PEFT. Both are drawn from a seed, so an adapter is its vectors and that number;
/// PEFT draws other numbers from its own, so a file for it needs [`projections`](Vera::projections) too. λ_b begins as zero, so a new adapter changes nothing.
/// ```
/// # use chainrule_autograd::Rng;
/// # use chainrule_finetune::{Adapted, Vera};
/// # use chainrule_nn::{Linear, Relu, Sequential, count};
/// let rng = &mut Rng::seeded(0);
/// let base = Sequential::new().add(Linear::new(8, 32, rng)?).add(Relu).add(Linear::new(32, 8, rng)?);
/// let mut model = Adapted::new(base);
/// model.add("mine", Vera::rank(16), rng)?;
/// assert_eq!(count(&model).trainable, (32 + 16) + (8 + 16));
/// # Ok::<(), chainrule_finetune::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Vera {
    /// What is adapted, and what is trained whole.
    pub selection: Selection,
    /// r (PEFT's `r`); more than for LoRA.
    pub rank: usize,
    /// The probability with which a number of the input is left out of the path in training (PEFT's `vera_dropout`).
    pub dropout: f64,
    /// What λ_d begins with (PEFT's `d_initial`).
    pub initial: f64,
    /// From which A and B are drawn (PEFT's `projection_prng_key`).
    pub seed: u64,
    projections: OnceLock<[Array; 2]>,
    /// The same on the first GPU that a model was on, for all its layers.
    moved: OnceLock<[Array; 2]>,
}

impl Vera {
    /// Of this rank, on all linear layers, with λ_d = 0.1 and without dropout.
    pub fn rank(rank: usize) -> Vera {
        Vera { selection: Selection::of(Targets::AllLinear), rank, dropout: 0.0, initial: 0.1, seed: 0, projections: OnceLock::new(), moved: OnceLock::new() }
    }
    /// With dropout of the path's input.
    pub fn dropout(self, probability: f64) -> Vera {
        Vera { dropout: probability, ..self }
    }
    /// With this λ_d at the start.
    pub fn initial(self, initial: f64) -> Vera {
        Vera { initial, ..self }
    }
    /// With A and B drawn from this seed.
    pub fn seed(self, seed: u64) -> Vera {
        Vera { seed, projections: OnceLock::new(), moved: OnceLock::new(), ..self }
    }

    /// With these A `[r, In]` and B `[Out, r]` for the widest of the layers (PEFT's `vera_A` and `vera_B`), and their rank.
    ///
    /// # Errors
    /// Arrays that are not matrices, or whose ranks differ.
    pub fn with_projections(self, a: Array, b: Array) -> Result<Vera> {
        match (a.dims(), b.dims()) {
            (&[rank, _], &[_, other]) if rank == other => Ok(Vera { rank, projections: OnceLock::from([a, b]), moved: OnceLock::new(), ..self }),
            (a, b) => Err(Error::shape("vera", format!("got projections of shapes {a:?} and {b:?}, expected [r, In] and [Out, r]"))),
        }
    }

    /// A and B, as soon as there is an adapter of this method.
    pub fn projections(&self) -> Option<&[Array; 2]> {
        self.projections.get()
    }

    /// These there.
    fn on(&self, projections: &[Array; 2], device: Device) -> Result<[Array; 2]> {
        let [a, b] = projections;
        match self.moved.get() {
            Some(moved) if moved[0].device() == device => Ok(moved.clone()),
            _ if a.device() == device && b.device() == device => Ok(projections.clone()),
            _ => {
                let there = [a.to(&device)?, b.to(&device)?];
                // Another GPU than the first keeps nothing here.
                _ = self.moved.set(there.clone());
                Ok(there)
            }
        }
    }
}

selecting!(Vera);

impl Method for Vera {
    fn name(&self) -> &'static str {
        "vera"
    }
    fn selection(&self) -> &Selection {
        &self.selection
    }
    fn prepare(&self, layers: &[(String, Vec<usize>)]) -> chainrule_nn::Result<()> {
        let widest = |axis: usize| layers.iter().filter_map(|(_, dims)| dims.get(axis)).max().copied().unwrap_or(0);
        if self.rank == 0 {
            return Err(Error::value("vera", "got rank 0, expected at least 1").into());
        }
        if self.projections.get().is_none() {
            let (rng, kaiming) = (&mut Rng::seeded(self.seed), Init::KaimingUniform { fan: Fan::In, nonlinearity: Nonlinearity::Relu });
            let a = kaiming.array(&[self.rank, widest(1)], DType::F32, rng)?;
            let b = kaiming.array(&[widest(0), self.rank], DType::F32, rng)?;
            self.projections.get_or_init(|| [a, b]);
        }
        Ok(())
    }
    fn adapter(&self, _: &str, site: &Site, _: &mut Rng) -> Result<Option<BoxedAdapter>> {
        const OP: &str = "vera";
        expect_finite(OP, "the initial value", self.initial)?;
        expect_rate(OP, self.dropout)?;
        let (weight, dtype) = (&site.weight.value, site.weight.value.dtype());
        if site.operation != Operation::Linear {
            return Err(refused(OP, site.operation, "a linear layer"));
        }
        let &[outputs, inputs] = weight.dims() else { return Err(Error::shape(OP, format!("the weight has shape {:?}, expected [Out, In]", weight.dims()))) };
        let Some(projections @ [a, b]) = self.projections.get() else {
            return Err(Error::value(OP, "the method was not prepared; add it to an adapted model"));
        };
        if a.dims()[1] < inputs || b.dims()[0] < outputs {
            let (a, b) = (a.dims(), b.dims());
            let message = format!("got projections {a:?} and {b:?}, too small for a weight {:?}; make the method anew for this model", weight.dims());
            return Err(Error::shape(OP, message));
        }
        let [a, b] = self.on(projections, weight.device())?;
        Ok(Some(Box::new(VeraAdapter {
            vera_lambda_b: Param::new(Array::zeros(&[outputs], dtype)?),
            vera_lambda_d: Param::new(Array::full(&[self.rank], self.initial, dtype)?),
            a: Constant(Tensor::from(a).narrow(1, 0, inputs)?.into_array().cast(dtype)?),
            b: Constant(Tensor::from(b).narrow(0, 0, outputs)?.into_array().cast(dtype)?),
            dropout: self.dropout,
        })))
    }
    fn shared(&self) -> Vec<(&'static str, Array)> {
        self.projections.get().map_or_else(Vec::new, |[a, b]| vec![("base_model.vera_A", a.clone()), ("base_model.vera_B", b.clone())])
    }
    fn to_peft(&self, _: &[(String, Operation)], config: &mut Config) -> crate::Result<()> {
        crate::peft::write::vera(self, config);
        Ok(())
    }
}

/// What VeRA puts into a slot.
#[derive(Module, Clone)]
pub struct VeraAdapter {
    /// λ_b: `[Out]`
    pub vera_lambda_b: Param,
    /// λ_d: `[r]`
    pub vera_lambda_d: Param,
    /// A: `[r, In]`, a view of the shared one.
    pub a: Constant,
    /// B: `[Out, r]`, a view of the shared one.
    pub b: Constant,
    /// The probability with which a number of the input is left out of the path in training.
    pub dropout: f64,
}

impl Adapter for VeraAdapter {
    fn adapt(&self, x: &Tensor, site: &Site) -> Result<Tensor> {
        let seen = if self.dropout == 0.0 { x } else { &x.dropout(self.dropout)? };
        let low = seen.linear(&Tensor::from(&self.a.0), None)?.mul(&self.vera_lambda_d.on(x)?)?;
        site.forward(x)?.add(&low.linear(&Tensor::from(&self.b.0), None)?.mul(&self.vera_lambda_b.on(x)?)?)
    }

    fn merged(&self, weight: &Tensor) -> Result<Tensor> {
        let b = self.vera_lambda_b.on(weight)?.unsqueeze(1)?.mul(&Tensor::from(&self.b.0))?;
        weight.add(&b.mul(&self.vera_lambda_d.on(weight)?)?.matmul(&Tensor::from(&self.a.0))?)
    }
}
