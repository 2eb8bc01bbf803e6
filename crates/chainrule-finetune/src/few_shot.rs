//! Heads from a few samples, on the features of a model that stays as it is: nearest class mean, and logistic regression.

use chainrule_autograd::{Array, DType, Device, Error, Result, Rng, Tape, Tensor};
use chainrule_nn::{Layer, Linear, Param, to_device, to_dtype};
use chainrule_optim::Lbfgs;

/// The mean of every class's features, a prototype: `c_k = 1/n_k Σ f(x)`. A sample belongs to the nearest (Snell, Swersky and Zemel 2017, "Prototypical Networks for Few-shot Learning").
///
/// Gradients flow through the means, so that features can be trained by episodes: prototypes of a support set, then the cross-entropy of [`logits`](Prototypes::logits) of a query set.
/// ```
/// # use chainrule_autograd::Tensor;
/// # use chainrule_finetune::Prototypes;
/// let features = Tensor::from_slice(&[0f32, 0.0, 0.0, 2.0, 8.0, 8.0], &[3, 2])?;
/// let prototypes = Prototypes::of(&features, &Tensor::from_slice(&[0i64, 0, 1], &[3])?, 2)?;
/// let logits = prototypes.logits(&Tensor::from_slice(&[1f32, 1.0, 7.0, 7.0], &[2, 2])?)?;
/// assert_eq!(logits.argmax(-1, false)?.to_vec::<i64>()?, [0, 1]);
/// # Ok::<(), chainrule_autograd::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Prototypes {
    /// `[C, D]`
    pub means: Tensor,
}

impl Prototypes {
    /// Those of features `[N, D]` with labels i64 `[N]` of so many classes.
    ///
    /// # Errors
    /// Shapes that do not fit; a label that is none; a class without samples.
    pub fn of(features: &Tensor, labels: &Tensor, classes: usize) -> Result<Prototypes> {
        const OP: &str = "prototypes";
        expect_labelled(OP, features, labels)?;
        // As many classes as there are samples at most, and so no more memory than the features' order of size.
        if classes == 0 || classes > labels.count() {
            return Err(Error::value(OP, format!("got {classes} classes and {} samples, expected at least one sample a class", labels.count())));
        }
        let member = labels.one_hot(classes, features.dtype())?.transpose(0, 1)?;
        let sizes = member.sum_over(&[1], true)?;
        if let Some(empty) = sizes.cast(DType::F64)?.to_vec::<f64>()?.iter().position(|size| *size == 0.0) {
            return Err(Error::value(OP, format!("class {empty} has no samples")));
        }
        Ok(Prototypes { means: member.matmul(features)?.div(&sizes)? })
    }

    /// `-|x - c_k|²` of features `[.., D]`: `[.., C]`. Their softmax is the probability of the classes.
    ///
    /// # Errors
    /// Features of another width.
    pub fn logits(&self, features: &Tensor) -> Result<Tensor> {
        let [_, width] = self.means.dims() else { return Err(Error::shape("prototypes", format!("the means are {:?}, expected [C, D]", self.means.shape()))) };
        if features.dims().last() != Some(width) {
            return Err(Error::shape("prototypes", format!("got features {:?}, expected [.., {width}]", features.shape())));
        }
        features.unsqueeze(-2)?.sub(&self.means)?.square()?.sum_over(&[-1], false)?.neg()
    }

    /// The same decisions as a linear layer: `-|x - c|² = 2 c·x - |c|² - |x|²`, the last part of which all classes share. A head to start from.
    ///
    /// # Errors
    /// No memory.
    pub fn to_linear(&self) -> Result<Linear> {
        let means = self.means.detach();
        let weight = means.mul_scalar(2.0)?.into_array();
        let bias = means.square()?.sum_over(&[1], false)?.neg()?.into_array();
        Ok(Linear { weight: Param::new(weight), bias: Some(Param::new(bias)), adapter: None })
    }
}

/// A linear probe: multinomial logistic regression on features `[N, D]` with labels i64 `[N]`, `mean cross-entropy + l2/2 |W|²`, the bias being free. scikit-learn's `LogisticRegression(C)` is `l2 = 1 / (C N)`.
///
/// It is found by L-BFGS in double precision from 0 on, and so deterministic; the layer has the features' element type.
/// ```
/// # use chainrule_autograd::Tensor;
/// # use chainrule_finetune::linear_probe;
/// # use chainrule_nn::Layer;
/// let features = Tensor::from_slice(&[0f32, 1.0, 4.0, 5.0], &[4, 1])?;
/// let head = linear_probe(&features, &Tensor::from_slice(&[0i64, 0, 1, 1], &[4])?, 2, 0.01)?;
/// assert_eq!(head.run(&features)?.argmax(-1, false)?.to_vec::<i64>()?, [0, 0, 1, 1]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// Shapes that do not fit; a label that is none; a strength below 0; features that are not finite.
pub fn linear_probe(features: &Tensor, labels: &Tensor, classes: usize, l2: f64) -> chainrule_optim::Result<Linear> {
    const OP: &str = "linear_probe";
    let model = |error: Error| chainrule_optim::Error::from(chainrule_nn::Error::from(error));
    let start = || -> Result<(Linear, Tensor, Tensor)> {
        let width = expect_labelled(OP, features, labels)?;
        crate::anchor::expect_strength(OP, "l2", l2)?;
        let zeros = |dims: &[usize]| Ok::<_, Error>(Param::new(Array::zeros(dims, DType::F64)?));
        let head = Linear { weight: zeros(&[classes, width])?, bias: Some(zeros(&[classes])?), adapter: None };
        // Doubles, which a GPU has no kernels for.
        Ok((head, features.detach().to(&Device::Cpu)?.cast(DType::F64)?, labels.to(&Device::Cpu)?))
    };
    let (mut head, x, labels) = start().map_err(model)?;
    let mut lbfgs = Lbfgs::new().iterations(500).history(20).tolerance_change(1e-15).strong_wolfe();
    lbfgs.minimise(&mut head, |head| {
        let tape = Tape::training(&mut Rng::seeded(0));
        let x = tape.input(&x);
        let mut loss = head.forward(&x)?.cross_entropy(&labels)?;
        if l2 > 0.0 {
            loss = loss.add(&head.weight.on(&x)?.square()?.sum()?.mul_scalar(l2 / 2.0)?)?;
        }
        Ok((loss.item()?, loss.backward()?))
    })?;
    to_dtype(&mut head, features.dtype())?;
    to_device(&mut head, &features.device())?;
    Ok(head)
}

/// The width of features `[N, D]` that have labels `[N]`.
fn expect_labelled(op: &'static str, features: &Tensor, labels: &Tensor) -> Result<usize> {
    match (features.dims(), labels.dims()) {
        (&[n, width], &[m]) if n == m && n > 0 && labels.dtype() == DType::I64 => Ok(width),
        _ => Err(Error::shape(
            op,
            format!("got features {:?} and labels {} {:?}, expected [N, D] and i64 [N]", features.shape(), labels.dtype(), labels.shape()),
        )),
    }
}
