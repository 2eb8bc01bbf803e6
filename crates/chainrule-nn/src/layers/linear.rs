//! Fully connected layer (PyTorch's `Linear`).

use crate::adapter::{Operation, adapted};
use crate::init::Init;
use crate::{BoxedAdapter, Param};
use chainrule_autograd::{Array, DType, Result, Rng};

/// `y = x Wᵀ + b`: `[.., In] -> [.., Out]`.
/// ```
/// # use chainrule_autograd::{DType, Rng, Tensor};
/// # use chainrule_nn::{Layer, Linear};
/// let linear = Linear::new(4, 3, &mut Rng::seeded(0))?;
/// assert_eq!(linear.run(&Tensor::ones(&[2, 5, 4], DType::F32)?)?.dims(), [2, 5, 3]);
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
#[derive(Clone)]
pub struct Linear {
    /// `[Out, In]`
    pub weight: Param,
    /// `[Out]`
    pub bias: Option<Param>,
    /// What changes the result without touching the weight.
    pub adapter: Option<BoxedAdapter>,
}

impl Linear {
    /// A layer of f32, weight and bias uniform within `±1/sqrt(In)`.
    ///
    /// # Errors
    /// No memory.
    pub fn new(inputs: usize, outputs: usize, rng: &mut Rng) -> Result<Linear> {
        let weight = Init::layer_default().array(&[outputs, inputs], DType::F32, rng)?;
        let bias = bias(outputs, inputs, rng)?;
        Ok(Linear { weight: Param::new(weight), bias: Some(Param::new(bias)), adapter: None })
    }

    /// Without bias.
    pub fn without_bias(self) -> Linear {
        Linear { bias: None, ..self }
    }
}

/// Uniform within `±1/sqrt(fan_in)`.
pub(super) fn bias(outputs: usize, fan_in: usize, rng: &mut Rng) -> Result<Array> {
    let bound = 1.0 / (fan_in.max(1) as f64).sqrt();
    Init::Uniform { low: -bound, high: bound }.array(&[outputs], DType::F32, rng)
}

adapted!(Linear, self, Operation::Linear, bias: bias);
