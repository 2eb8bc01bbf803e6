//! Bilinear map of two inputs (PyTorch's `Bilinear`).

use super::linear::bias;
use crate::init::Init;
use crate::{Module, Param, observed};
use chainrule_autograd::{DType, Result, Rng, Tensor};

/// `y_o = aᵀ W_o b + bias_o`: `[.., A]` and `[.., B]` give `[.., Out]`.
/// ```
/// # use chainrule_autograd::{DType, Rng, Tensor};
/// # use chainrule_nn::Bilinear;
/// let bilinear = Bilinear::new(4, 3, 2, &mut Rng::seeded(0))?;
/// let (a, b) = (Tensor::ones(&[5, 4], DType::F32)?, Tensor::ones(&[5, 3], DType::F32)?);
/// assert_eq!(bilinear.forward(&a, &b)?.dims(), [5, 2]);
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
#[derive(Module, Clone)]
pub struct Bilinear {
    /// `[Out, A, B]`
    pub weight: Param,
    /// `[Out]`
    pub bias: Option<Param>,
}

impl Bilinear {
    /// A map of f32, weight and bias uniform within `±1/sqrt(A)`.
    ///
    /// # Errors
    /// No memory.
    pub fn new(first: usize, second: usize, outputs: usize, rng: &mut Rng) -> Result<Bilinear> {
        let bound = 1.0 / (first.max(1) as f64).sqrt();
        let weight = Init::Uniform { low: -bound, high: bound }.array(&[outputs, first, second], DType::F32, rng)?;
        Ok(Bilinear { weight: Param::new(weight), bias: Some(Param::new(bias(outputs, first, rng)?)) })
    }

    /// Without bias.
    pub fn without_bias(self) -> Bilinear {
        Bilinear { bias: None, ..self }
    }

    /// The map of `a` `[.., A]` and `b` `[.., B]`.
    ///
    /// # Errors
    /// Inputs that do not fit.
    pub fn forward(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        let (weight, bias) = (self.weight.on(a)?, self.bias.as_ref().map(|b| b.on(a)).transpose()?);
        Ok(observed(self, self.weight.at(a.bilinear(b, &weight, bias.as_ref()))?))
    }
}
