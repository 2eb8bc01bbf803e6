//! Layer normalisation (PyTorch's `LayerNorm`).

use crate::{Layer, Module, Param, observed};
use chainrule_autograd::{Array, DType, Error, Result, Tensor};

/// `(x - mean) / sqrt(variance + eps) · weight + bias`, mean and variance being those of the last dimensions: `[.., D] -> [.., D]` (Ba, Kiros and Hinton 2016).
/// ```
/// # use chainrule_autograd::{DType, Tensor};
/// # use chainrule_nn::{Layer, LayerNorm};
/// let norm = LayerNorm::new(&[4])?.eps(1e-12);
/// assert_eq!(norm.run(&Tensor::ones(&[2, 3, 4], DType::F32)?)?.dims(), [2, 3, 4]);
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
#[derive(Module, Clone)]
pub struct LayerNorm {
    /// `[D]`
    pub weight: Option<Param>,
    /// `[D]`
    pub bias: Option<Param>,
    /// The extents that are normalised together: D.
    pub dims: Vec<usize>,
    /// Keeps the divisor from 0.
    pub eps: f64,
}

impl LayerNorm {
    /// Over last dimensions of these extents; weight 1, bias 0, eps 1e-5, f32.
    ///
    /// # Errors
    /// No extents; no memory.
    pub fn new(dims: &[usize]) -> Result<LayerNorm> {
        if dims.is_empty() {
            return Err(Error::shape("layer_norm", "got no extents, expected those of the last dimensions"));
        }
        let (weight, bias) = (Array::ones(dims, DType::F32)?, Array::zeros(dims, DType::F32)?);
        Ok(LayerNorm { weight: Some(Param::new(weight)), bias: Some(Param::new(bias)), dims: dims.to_vec(), eps: 1e-5 })
    }
    /// What is added to the variance.
    pub fn eps(self, eps: f64) -> LayerNorm {
        LayerNorm { eps, ..self }
    }
    /// Without bias.
    pub fn without_bias(self) -> LayerNorm {
        LayerNorm { bias: None, ..self }
    }
    /// Without weight and bias (PyTorch's `elementwise_affine=False`).
    pub fn without_affine(self) -> LayerNorm {
        LayerNorm { weight: None, bias: None, ..self }
    }
}

impl Layer for LayerNorm {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (weight, bias) = (self.weight.as_ref(), self.bias.as_ref());
        let (w, b) = (weight.map(|w| w.on(x)).transpose()?, bias.map(|b| b.on(x)).transpose()?);
        let fits = x.dims().ends_with(&self.dims);
        let y = if fits {
            x.layer_norm(self.dims.len(), w.as_ref(), b.as_ref(), self.eps)
        } else {
            Err(Error::shape("layer_norm", format!("the input has shape {:?}, expected one that ends with {:?}", x.shape(), self.dims)))
        };
        let y = match weight.or(bias) {
            Some(param) => param.at(y)?,
            None => y?,
        };
        Ok(observed(self, y))
    }
}
