//! RMS normalisation (PyTorch's `RMSNorm`).

use crate::{Layer, Module, Param, observed};
use chainrule_autograd::{Array, DType, Error, Result, Tensor};

/// `x / sqrt(mean(x²) + eps) · weight`, the mean being that of the last dimensions: `[.., D] -> [.., D]` (Zhang and Sennrich 2019).
/// ```
/// # use chainrule_autograd::{DType, Tensor};
/// # use chainrule_nn::{Layer, RmsNorm};
/// let norm = RmsNorm::new(&[4])?.eps(1e-6);
/// assert_eq!(norm.run(&Tensor::full(&[2, 3, 4], 5.0, DType::F32)?)?.to_vec::<f32>()?, [1.0; 24]);
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
#[derive(Module, Clone)]
pub struct RmsNorm {
    /// `[D]`
    pub weight: Option<Param>,
    /// The extents that are normalised together: D.
    pub dims: Vec<usize>,
    /// Keeps the divisor from 0; `None` for the distance from 1 to the next number of the input's element type.
    pub eps: Option<f64>,
}

impl RmsNorm {
    /// Over last dimensions of these extents; weight 1, eps as PyTorch's unless told otherwise, f32.
    ///
    /// # Errors
    /// No extents; no memory.
    pub fn new(dims: &[usize]) -> Result<RmsNorm> {
        if dims.is_empty() {
            return Err(Error::shape("rms_norm", "got no extents, expected those of the last dimensions"));
        }
        Ok(RmsNorm { weight: Some(Param::new(Array::ones(dims, DType::F32)?)), dims: dims.to_vec(), eps: None })
    }
    /// What is added to the mean square.
    pub fn eps(self, eps: f64) -> RmsNorm {
        RmsNorm { eps: Some(eps), ..self }
    }
    /// Without weight (PyTorch's `elementwise_affine=False`).
    pub fn without_affine(self) -> RmsNorm {
        RmsNorm { weight: None, ..self }
    }
}

impl Layer for RmsNorm {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let weight = self.weight.as_ref().map(|w| w.on(x)).transpose()?;
        let eps = self.eps.unwrap_or(if x.dtype() == DType::F64 { f64::EPSILON } else { f32::EPSILON as f64 });
        let y = if x.dims().ends_with(&self.dims) {
            x.rms_norm(self.dims.len(), weight.as_ref(), eps)
        } else {
            Err(Error::shape("rms_norm", format!("the input has shape {:?}, expected one that ends with {:?}", x.shape(), self.dims)))
        };
        let y = match &self.weight {
            Some(param) => param.at(y)?,
            None => y?,
        };
        Ok(observed(self, y))
    }
}
