//! Ensembles: several models asked, their answers averaged (Hansen and Salamon 1990; Lakshminarayanan, Pritzel and Blundell 2017, "Deep Ensembles").

use chainrule_autograd::{Error, Result, Tensor};
use chainrule_nn::{Layer, Module};

/// The mean of several models' probabilities, `1/k Σ softmax(z_i)` over the last dimension, for their logits `[.., C]`.
/// ```
/// # use chainrule_autograd::Tensor;
/// # use chainrule_finetune::mean_probabilities;
/// let (a, b) = (Tensor::from_slice(&[0f64, 0.0], &[1, 2])?, Tensor::from_slice(&[3f64.ln(), 0.0], &[1, 2])?);
/// assert!((mean_probabilities(&[&a, &b])?.to_vec::<f64>()?[0] - 0.625).abs() < 1e-12);
/// # Ok::<(), chainrule_autograd::Error>(())
/// ```
///
/// # Errors
/// No logits; logits of different shapes.
pub fn mean_probabilities(logits: &[&Tensor]) -> Result<Tensor> {
    mean(logits, |logits| logits.softmax(-1))
}

/// The mean of several models' outputs as they are, `1/k Σ z_i`: for regression, or of logits (the geometric mean of the probabilities).
/// ```
/// # use chainrule_autograd::Tensor;
/// # use chainrule_finetune::mean_outputs;
/// let (a, b) = (Tensor::from_slice(&[1f64], &[1])?, Tensor::from_slice(&[2f64], &[1])?);
/// assert_eq!(mean_outputs(&[&a, &b])?.item()?, 1.5);
/// # Ok::<(), chainrule_autograd::Error>(())
/// ```
///
/// # Errors
/// No outputs; outputs of different shapes.
pub fn mean_outputs(outputs: &[&Tensor]) -> Result<Tensor> {
    mean(outputs, |output| Ok(output.clone()))
}

fn mean(outputs: &[&Tensor], of: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    const OP: &str = "ensemble";
    let Some((first, others)) = outputs.split_first() else { return Err(Error::value(OP, "got no outputs, expected at least 1")) };
    let mut sum = of(first)?;
    for (i, output) in others.iter().enumerate() {
        if output.dims() != first.dims() {
            return Err(Error::shape(OP, format!("output {} has shape {:?}, the first {:?}", i + 1, output.shape(), first.shape())));
        }
        sum = sum.add(&of(output)?)?;
    }
    sum.mul_scalar(1.0 / outputs.len() as f64)
}

/// Several models as one layer, which gives the mean of their probabilities, or of their outputs as they are.
///
/// Members trained together need identities of their own ([`independent`](chainrule_nn::independent)).
/// ```
/// # use chainrule_autograd::{DType, Rng, Tensor};
/// # use chainrule_finetune::Ensemble;
/// # use chainrule_nn::{Layer, Linear};
/// let mut rng = Rng::seeded(0);
/// let members = vec![Linear::new(4, 3, &mut rng)?, Linear::new(4, 3, &mut rng)?];
/// let ensemble = Ensemble { members, probabilities: true };
/// let sum = ensemble.run(&Tensor::ones(&[1, 4], DType::F32)?)?.sum()?.item()?;
/// assert!((sum - 1.0).abs() < 1e-6);
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
#[derive(Module, Clone)]
pub struct Ensemble<M> {
    /// The models.
    pub members: Vec<M>,
    /// Whether the mean is of `softmax` of their outputs.
    pub probabilities: bool,
}

impl<M: Layer> Layer for Ensemble<M> {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let outputs = self.members.iter().map(|member| member.forward(x)).collect::<Result<Vec<_>>>()?;
        let outputs: Vec<&Tensor> = outputs.iter().collect();
        if self.probabilities { mean_probabilities(&outputs) } else { mean_outputs(&outputs) }
    }
}
