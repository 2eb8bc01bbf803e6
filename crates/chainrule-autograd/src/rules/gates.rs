//! Activations of more than one number: halves that gate each other, slopes that are learned or drawn.

use crate::{Error, Result, Rng, Tensor};

/// One half of a dimension, through `gate`, times the other.
fn gated(op: &'static str, x: &Tensor, axis: isize, gate: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    let extent = x.dims()[x.shape().axis(op, axis)?];
    if !extent.is_multiple_of(2) {
        return Err(Error::shape(op, format!("dimension {axis} of {:?} has {extent} numbers, expected an even count", x.shape())));
    }
    let half = extent / 2;
    x.narrow(axis, 0, half)?.mul(&gate(&x.narrow(axis, half, half)?)?)
}

macro_rules! gates {
    ($($name:ident $gate:ident $formula:literal $source:literal $value:literal;)*) => {
        impl Tensor {
            $(#[doc = concat!("`", $formula, "`, a and b being the halves of dimension `axis`: `[.., 2D] -> [.., D]` (", $source, ").")]
            #[doc = "```"]
            #[doc = "# use chainrule_autograd::Tensor;"]
            #[doc = concat!("let y = Tensor::from_slice(&[2f64, 1.0], &[1, 2])?.", stringify!($name), "(-1)?;")]
            #[doc = concat!("assert!((y.item()? - ", stringify!($value), ").abs() < 1e-5);")]
            #[doc = "# Ok::<(), chainrule_autograd::Error>(())"]
            #[doc = "```"]
            #[doc = "\n# Errors\nA dimension out of range, or of an odd extent; an element type other than f32 and f64."]
            pub fn $name(&self, axis: isize) -> Result<Tensor> {
                gated(stringify!($name), self, axis, Tensor::$gate)
            })*
        }
    };
}

gates! {
    glu sigmoid "a σ(b)" "PyTorch's `glu`; Dauphin et al. 2017" 1.462117;
    swiglu silu "a b σ(b)" "Shazeer 2020" 1.462117;
    geglu gelu "a b Φ(b)" "Shazeer 2020" 1.682689;
    reglu relu "a max(b, 0)" "Shazeer 2020" 2.0;
}

impl Tensor {
    /// The probabilities `exp(-x) / sum exp(-x)` along `axis` (PyTorch's `softmin`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// assert_eq!(Tensor::from_slice(&[1f32, 1.0], &[2])?.softmin(-1)?.to_vec::<f32>()?, [0.5, 0.5]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// A dimension out of range; an element type other than f32 and f64.
    pub fn softmin(&self, axis: isize) -> Result<Tensor> {
        self.neg()?.softmax(axis)
    }

    /// x above 0, `weight · x` below: a weight for all, `[1]`, or one for each channel of `[N, C, ..]`, `[C]` (PyTorch's `prelu`; He et al. 2015).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let y = Tensor::from_slice(&[-2f64, 3.0], &[1, 2])?.prelu(&Tensor::from_slice(&[0.25f64, 0.5], &[2])?)?;
    /// assert_eq!(y.to_vec::<f64>()?, [-0.5, 3.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// A weight of another shape; different element types, or other ones than f32 and f64.
    pub fn prelu(&self, weight: &Tensor) -> Result<Tensor> {
        let channels = self.dims().get(1).copied().unwrap_or(1);
        if weight.rank() > 1 || (weight.count() != 1 && weight.count() != channels) {
            return Err(Error::shape("prelu", format!("the weight has shape {:?}, expected [1] or [{channels}] for input {:?}", weight.shape(), self.shape())));
        }
        let mut dims = vec![1; self.rank()];
        if weight.count() != 1 {
            dims[1] = channels;
        }
        let positive = self.greater(&Tensor::scalar(0.0, self.dtype())?)?;
        positive.where_(self, &self.mul(&weight.reshape(&dims)?)?)
    }

    /// x above 0; below, x times a slope: on a tape in training mode drawn uniformly from `lower..upper` for each number, elsewhere their middle (PyTorch's `rrelu`, whose bounds are 1/8 and 1/3 unless given; Xu et al. 2015).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// assert_eq!(Tensor::from_slice(&[-2f64], &[1])?.rrelu(0.2, 0.3)?.item()?, -0.5);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Bounds that are not finite or in order; an element type other than f32 and f64.
    pub fn rrelu(&self, lower: f64, upper: f64) -> Result<Tensor> {
        let in_order = lower.is_finite() && upper.is_finite() && lower <= upper;
        if !in_order {
            return Err(Error::value("rrelu", format!("the bounds are {lower} and {upper}, expected finite numbers in order")));
        }
        match self.random_stream() {
            Some(stream) if self.is_training() => {
                let slopes = Tensor::uniform(self.dims(), lower, upper, self.dtype(), &mut Rng::seeded(stream.word()))?.to(&self.device())?;
                let positive = self.greater(&Tensor::scalar(0.0, self.dtype())?)?;
                self.mul(&slopes.masked_fill(&positive, 1.0)?)
            }
            _ => self.leaky_relu((lower + upper) / 2.0),
        }
    }
}
