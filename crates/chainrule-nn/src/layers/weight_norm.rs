//! Weight normalisation and spectral normalisation of a layer's weight (PyTorch's `weight_norm` and `spectral_norm`), in the layer's adapter slot.

use crate::{Adapter, Buffer, Module, Param, Site};
use chainrule_autograd::{Error, Result, Rng, Tensor};

/// Length and direction of the weight learned apart: `weight_g · v / |v|` stands for the weight, v being the layer's own (Salimans and Kingma 2016, PyTorch's `weight_norm`).
///
/// Beside the layer's parameters stands `weight_g`; what PyTorch's files call `weight_v` is the layer's `weight`. At the start the layer computes what it did before.
/// ```
/// # use chainrule_autograd::{DType, Rng, Tensor};
/// # use chainrule_nn::{Layer, Linear, WeightNorm, state_dict};
/// let mut linear = Linear::new(4, 3, &mut Rng::seeded(0))?;
/// linear.adapter = Some(Box::new(WeightNorm::of(&linear.weight, Some(0))?));
/// assert_eq!(linear.run(&Tensor::ones(&[2, 4], DType::F32)?)?.dims(), [2, 3]);
/// assert_eq!(state_dict(&linear)?.into_keys().collect::<Vec<_>>(), ["bias", "weight", "weight_g"]);
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
#[derive(Module, Clone)]
pub struct WeightNorm {
    /// The lengths: `[OC, 1, ..]` for axis 0, `[]` for the whole weight.
    pub weight_g: Param,
    /// The dimension whose slices have a length each; `None` for one of the whole weight.
    pub axis: Option<isize>,
}

impl WeightNorm {
    /// With the lengths that the weight has. PyTorch's axis is 0 unless given.
    ///
    /// # Errors
    /// A dimension that the weight has not; an element type other than f32 and f64.
    pub fn of(weight: &Param, axis: Option<isize>) -> Result<WeightNorm> {
        let kept = axis.map(|axis| weight.value.shape().axis("weight_norm", axis)).transpose()?;
        let others: Vec<isize> = (0..weight.value.rank()).filter(|&a| Some(a) != kept).map(|a| a as isize).collect();
        let value = Tensor::from(&weight.value);
        let lengths = if others.is_empty() { value.abs()? } else { value.norm(2.0, &others, kept.is_some())? };
        Ok(WeightNorm { weight_g: Param::new(lengths.into_array()), axis })
    }
}

impl Adapter for WeightNorm {
    fn adapt(&self, x: &Tensor, site: &Site) -> Result<Tensor> {
        apply(x, site, &self.merged(&site.weight.on(x)?)?)
    }
    fn merged(&self, weight: &Tensor) -> Result<Tensor> {
        weight.weight_norm(&self.weight_g.on(weight)?, self.axis)
    }
}

/// The weight over its largest singular value, which bounds how much the layer stretches its input (Miyato et al. 2018, PyTorch's `spectral_norm`).
///
/// The value is followed by power iteration, a step each time the layer runs in training: `v <- Wᵀ u / |Wᵀ u|`, `u <- W v / |W v|`, `σ = u · W v`, with the weight as a matrix `[OC, rest]`; u and v are constants.
/// ```
/// # use chainrule_autograd::{Rng, Tensor};
/// # use chainrule_nn::{Layer, Linear, SpectralNorm};
/// let rng = &mut Rng::seeded(0);
/// let mut linear = Linear::new(4, 3, rng)?.without_bias();
/// linear.adapter = Some(Box::new(SpectralNorm::of(&linear.weight, rng)?));
/// let x = Tensor::from_slice(&[0.5f32, 0.5, 0.5, 0.5], &[1, 4])?; // of length 1
/// assert!(linear.run(&x)?.norm(2.0, &[], false)?.item()? < 1.01);
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
#[derive(Module, Clone)]
pub struct SpectralNorm {
    /// The left singular vector, `[OC]`.
    pub weight_u: Buffer,
    /// The right singular vector, `[rest]`.
    pub weight_v: Buffer,
    /// Steps of the power iteration a run in training.
    pub iterations: usize,
    /// Keeps the divisor from 0.
    pub eps: f64,
}

impl SpectralNorm {
    /// With a random start and fifteen steps from there; a step a run, eps 1e-12.
    ///
    /// # Errors
    /// A weight of fewer than two dimensions; an element type other than f32 and f64.
    pub fn of(weight: &Param, rng: &mut Rng) -> Result<SpectralNorm> {
        let matrix = matrix(&Tensor::from(&weight.value))?;
        let mut start = |n: usize| Tensor::normal(&[n], 0.0, 1.0, weight.value.dtype(), rng)?.to(&weight.value.device());
        let mut vectors = [start(matrix.dims()[0])?, start(matrix.dims()[1])?];
        for _ in 0..15 {
            vectors = step(&matrix, &vectors[0], 1e-12)?;
        }
        let [u, v] = vectors.map(|x| Buffer::new(x.into_array()));
        Ok(SpectralNorm { weight_u: u, weight_v: v, iterations: 1, eps: 1e-12 })
    }

    /// The weight over σ for these singular vectors.
    fn normalised(weight: &Tensor, [u, v]: &[Tensor; 2]) -> Result<Tensor> {
        weight.div(&u.mul(&matrix(weight)?.matmul(v)?)?.sum()?)
    }
}

impl Adapter for SpectralNorm {
    fn adapt(&self, x: &Tensor, site: &Site) -> Result<Tensor> {
        let weight = site.weight.on(x)?;
        let mut vectors = [Tensor::from(&self.weight_u.value), Tensor::from(&self.weight_v.value)];
        // A frozen weight has the value that it had.
        if x.is_training() && site.weight.trainable {
            let constant = matrix(&Tensor::from(weight.array()))?;
            for _ in 0..self.iterations {
                vectors = step(&constant, &vectors[0], self.eps)?;
            }
            for (buffer, vector) in [&self.weight_u, &self.weight_v].into_iter().zip(&vectors) {
                buffer.update(x, 0.0, vector.array().clone())?;
            }
        }
        apply(x, site, &SpectralNorm::normalised(&weight, &vectors)?)
    }
    fn merged(&self, weight: &Tensor) -> Result<Tensor> {
        SpectralNorm::normalised(weight, &[Tensor::from(&self.weight_u.value), Tensor::from(&self.weight_v.value)])
    }
}

/// `[OC, rest]`
fn matrix(weight: &Tensor) -> Result<Tensor> {
    if weight.rank() < 2 {
        return Err(Error::shape("spectral_norm", format!("the weight has shape {:?}, expected [OC, ..]", weight.shape())));
    }
    weight.flatten(1, -1)
}

/// One step of the power iteration.
fn step(matrix: &Tensor, u: &Tensor, eps: f64) -> Result<[Tensor; 2]> {
    let v = matrix.transpose(0, 1)?.matmul(u)?.normalize(2.0, &[0], eps)?;
    Ok([matrix.matmul(&v)?.normalize(2.0, &[0], eps)?, v])
}

/// The layer's operation with another weight.
fn apply(x: &Tensor, site: &Site, weight: &Tensor) -> Result<Tensor> {
    let bias = site.bias.map(|b| b.on(x)).transpose()?;
    site.weight.at(site.operation.apply(x, weight, bias.as_ref()))
}
