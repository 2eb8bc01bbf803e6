//! Group normalisation (PyTorch's `GroupNorm`).

use crate::{Layer, Module, Param, observed};
use chainrule_autograd::{Array, DType, Error, Result, Tensor};

/// The channels in groups, each group of each sample by its own mean and variance, then `· weight + bias` channel by channel: `[N, C, ..] -> [N, C, ..]` (Wu and He 2018).
/// ```
/// # use chainrule_autograd::{DType, Tensor};
/// # use chainrule_nn::{GroupNorm, Layer};
/// let norm = GroupNorm::new(3, 6)?;
/// assert_eq!(norm.run(&Tensor::ones(&[2, 6, 4, 4], DType::F32)?)?.dims(), [2, 6, 4, 4]);
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
#[derive(Module, Clone)]
pub struct GroupNorm {
    /// `[C]`
    pub weight: Option<Param>,
    /// `[C]`
    pub bias: Option<Param>,
    /// The number of groups.
    pub groups: usize,
    /// C
    pub channels: usize,
    /// Keeps the divisor from 0.
    pub eps: f64,
}

impl GroupNorm {
    /// So many groups of so many channels: weight 1, bias 0, eps 1e-5, f32.
    ///
    /// # Errors
    /// Channels that do not divide into the groups; no memory.
    pub fn new(groups: usize, channels: usize) -> Result<GroupNorm> {
        if groups == 0 || !channels.is_multiple_of(groups) {
            return Err(Error::value("group_norm", format!("{channels} channels do not divide into {groups} groups")));
        }
        let (weight, bias) = (Array::ones(&[channels], DType::F32)?, Array::zeros(&[channels], DType::F32)?);
        Ok(GroupNorm { weight: Some(Param::new(weight)), bias: Some(Param::new(bias)), groups, channels, eps: 1e-5 })
    }
    /// What is added to the variance.
    pub fn eps(self, eps: f64) -> GroupNorm {
        GroupNorm { eps, ..self }
    }
    /// Without weight and bias (PyTorch's `affine=False`).
    pub fn without_affine(self) -> GroupNorm {
        GroupNorm { weight: None, bias: None, ..self }
    }
}

impl Layer for GroupNorm {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (weight, bias) = (self.weight.as_ref(), self.bias.as_ref());
        let (w, b) = (weight.map(|w| w.on(x)).transpose()?, bias.map(|b| b.on(x)).transpose()?);
        let y = if x.dims().get(1) == Some(&self.channels) {
            x.group_norm(self.groups, w.as_ref(), b.as_ref(), self.eps)
        } else {
            Err(Error::shape("group_norm", format!("the input has shape {:?}, expected [N, C, ..] with C = {}", x.shape(), self.channels)))
        };
        let y = match weight.or(bias) {
            Some(param) => param.at(y)?,
            None => y?,
        };
        Ok(observed(self, y))
    }
}
