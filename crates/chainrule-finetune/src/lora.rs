//! LoRA (Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models"; PEFT's `LoraConfig`).

use chainrule_autograd::{Array, Error, Result, Rng, Tensor};
use chainrule_nn::init::Init;
use chainrule_nn::{Adapter, Linear, Module, Operation, Param, Site};

/// `y = x Wᵀ + b + (alpha / r) · dropout(x) Aᵀ Bᵀ` around a linear layer, for A `[r, In]` and B `[Out, r]`.
///
/// The product B A is never formed: the path goes through the r numbers in the middle, and the frozen weight gets no gradient. B begins as zero, so a new adapter changes nothing.
/// ```
/// # use chainrule_autograd::{DType, Rng, Tensor};
/// # use chainrule_finetune::{Lora, freeze};
/// # use chainrule_nn::{Layer, Linear, params};
/// let rng = &mut Rng::seeded(0);
/// let mut linear = Linear::new(64, 32, rng)?;
/// freeze(&mut linear, "*")?;
/// linear.adapter = Some(Box::new(Lora::new(&linear, 8, 16.0, rng)?));
/// let mut trained = 0;
/// params(&linear, |_, param| trained += if param.trainable { param.value.count() } else { 0 });
/// assert_eq!(trained, 8 * 64 + 32 * 8);
/// assert_eq!(linear.run(&Tensor::ones(&[1, 64], DType::F32)?)?.dims(), [1, 32]);
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
#[derive(Module, Clone)]
pub struct Lora {
    /// A, `[r, In]`
    pub lora_a: Param,
    /// B, `[Out, r]`
    pub lora_b: Param,
    /// alpha / r
    #[module(skip)]
    pub scale: f64,
    /// The probability with which a number of the input is left out of the low-rank path in training.
    #[module(skip)]
    pub dropout: f64,
}

impl Lora {
    /// An adapter for a layer of this shape, without dropout; A is drawn as PEFT does (Kaiming uniform), B is zero.
    ///
    /// # Errors
    /// A rank of 0 or above the layer's smaller side; an alpha that is not finite; no memory.
    pub fn new(layer: &Linear, rank: usize, alpha: f64, rng: &mut Rng) -> Result<Lora> {
        const OP: &str = "lora";
        let &[outputs, inputs] = layer.weight.value.dims() else {
            return Err(Error::shape(OP, format!("the weight has shape {:?}, expected [out, in]", layer.weight.value.shape())));
        };
        if rank == 0 || rank > inputs.min(outputs) {
            return Err(Error::value(
                OP,
                format!("got rank {rank} for a layer of {inputs} inputs and {outputs} outputs, expected 1 to {}", inputs.min(outputs)),
            ));
        }
        if !alpha.is_finite() {
            return Err(Error::value(OP, format!("got alpha {alpha}, expected a finite number")));
        }
        let dtype = layer.weight.value.dtype();
        Ok(Lora {
            lora_a: Param::new(Init::layer_default().array(&[rank, inputs], dtype, rng)?),
            lora_b: Param::new(Array::zeros(&[outputs, rank], dtype)?),
            scale: alpha / rank as f64,
            dropout: 0.0,
        })
    }

    /// With dropout of the low-rank path's input.
    pub fn dropout(self, probability: f64) -> Lora {
        Lora { dropout: probability, ..self }
    }
}

impl Adapter for Lora {
    fn adapt(&self, x: &Tensor, site: &Site) -> Result<Tensor> {
        if site.operation != Operation::Linear {
            return Err(Error::value("lora", format!("got a site of {:?}, expected a linear layer", site.operation)));
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use chainrule_autograd::{DType, Tape};
    use chainrule_nn::{Layer, freeze};

    fn adapted(rng: &mut Rng) -> Result<Linear> {
        let mut linear = Linear::new(6, 4, rng)?;
        freeze(&mut linear, "*").map_err(|e| Error::value("freeze", e.to_string()))?;
        linear.adapter = Some(Box::new(Lora::new(&linear, 2, 3.0, rng)?));
        Ok(linear)
    }

    #[test]
    fn a_new_adapter_is_the_identity_and_a_trained_one_is_its_delta() -> Result<()> {
        let rng = &mut Rng::seeded(1);
        let mut linear = adapted(rng)?;
        let x = Tensor::normal(&[5, 6], 0.0, 1.0, DType::F32, rng)?;
        let plain = Linear { adapter: None, ..linear.clone() };
        assert_eq!(linear.forward(&x)?.to_vec::<f32>()?, plain.forward(&x)?.to_vec::<f32>()?);

        let mut lora = Lora::new(&plain, 2, 3.0, rng)?;
        lora.lora_b.value = Tensor::normal(&[4, 2], 0.0, 1.0, DType::F32, rng)?.into_array();
        let mut merged = plain.clone();
        merged.weight.value = lora.merged(&Tensor::from(&plain.weight.value))?.into_array();
        linear.adapter = Some(Box::new(lora));
        let (got, expected) = (linear.forward(&x)?.to_vec::<f32>()?, merged.forward(&x)?.to_vec::<f32>()?);
        assert!(got.iter().zip(&expected).all(|(g, e)| (g - e).abs() < 1e-5), "{got:?} {expected:?}");
        Ok(())
    }

    #[test]
    fn only_the_adapter_gets_gradients() -> Result<()> {
        let rng = &mut Rng::seeded(2);
        let linear = adapted(rng)?;
        let tape = Tape::training(rng);
        let x = tape.input(Tensor::normal(&[5, 6], 0.0, 1.0, DType::F32, rng)?);
        let gradients = linear.forward(&x)?.square()?.sum()?.backward()?;
        assert_eq!(gradients.len(), 2);
        assert!(gradients.get(linear.weight.id).is_none());
        Ok(())
    }

    #[test]
    fn what_does_not_fit_is_an_error() -> Result<()> {
        let rng = &mut Rng::seeded(3);
        let linear = Linear::new(6, 4, rng)?;
        for (rank, alpha) in [(0, 1.0), (5, 1.0), (2, f64::NAN)] {
            assert!(Lora::new(&linear, rank, alpha, rng).is_err());
        }
        assert!(Lora::new(&linear, 2, 1.0, rng)?.merged(&Tensor::zeros(&[6, 4], DType::F32)?).is_err());
        Ok(())
    }
}
