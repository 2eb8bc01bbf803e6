//! Layers without parameters that pass numbers on: `Identity`, `Flatten`, `Unflatten`, `Dropout`.

use crate::{Layer, Module, observed};
use chainrule_autograd::{Error, Result, Tensor};

/// Changes nothing: a place to put a layer (PyTorch's `Identity`).
/// ```
/// # use chainrule_autograd::{DType, Tensor};
/// # use chainrule_nn::{Identity, Layer};
/// assert_eq!(Identity.run(&Tensor::ones(&[2], DType::F32)?)?.to_vec::<f32>()?, [1.0, 1.0]);
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
#[derive(Module, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Identity;

impl Layer for Identity {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(observed(self, x.clone()))
    }
}

/// Takes dimensions together: `[N, C, H, W] -> [N, C · H · W]` unless told otherwise (PyTorch's `Flatten`).
/// ```
/// # use chainrule_autograd::{DType, Tensor};
/// # use chainrule_nn::{Flatten, Layer};
/// assert_eq!(Flatten::new().run(&Tensor::ones(&[2, 3, 4, 5], DType::F32)?)?.dims(), [2, 60]);
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
#[derive(Module, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flatten {
    /// The first of the dimensions; negative ones count from the end.
    pub first: isize,
    /// The last of them.
    pub last: isize,
}

impl Default for Flatten {
    fn default() -> Flatten {
        Flatten { first: 1, last: -1 }
    }
}

impl Flatten {
    /// All dimensions but the batch's.
    pub fn new() -> Flatten {
        Flatten::default()
    }
    /// The dimensions `first ..= last`.
    pub fn between(first: isize, last: isize) -> Flatten {
        Flatten { first, last }
    }
}

impl Layer for Flatten {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(observed(self, x.flatten(self.first, self.last)?))
    }
}

/// Divides a dimension into several (PyTorch's `Unflatten`).
/// ```
/// # use chainrule_autograd::{DType, Tensor};
/// # use chainrule_nn::{Layer, Unflatten};
/// assert_eq!(Unflatten::new(1, &[3, 4]).run(&Tensor::ones(&[2, 12], DType::F32)?)?.dims(), [2, 3, 4]);
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
#[derive(Module, Clone, Debug, PartialEq, Eq)]
pub struct Unflatten {
    /// The dimension; a negative one counts from the end.
    pub axis: isize,
    /// What it becomes.
    pub dims: Vec<usize>,
}

impl Unflatten {
    /// The dimension `axis` becomes `dims`.
    pub fn new(axis: isize, dims: &[usize]) -> Unflatten {
        Unflatten { axis, dims: dims.to_vec() }
    }
}

impl Layer for Unflatten {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let at = x.shape().axis("unflatten", self.axis)?;
        let product = self.dims.iter().try_fold(1usize, |p, &d| p.checked_mul(d));
        if product != Some(x.dims()[at]) {
            let message = format!("dimension {at} of {:?} does not divide into {:?}", x.shape(), self.dims);
            return Err(Error::shape("unflatten", message));
        }
        let dims = [&x.dims()[..at], &self.dims, &x.dims()[at + 1..]].concat();
        Ok(observed(self, x.reshape(&dims)?))
    }
}

/// In training each element becomes 0 at probability `rate`, and the others are divided by `1 - rate`; elsewhere nothing changes (Srivastava et al. 2014, PyTorch's `Dropout`).
/// ```
/// # use chainrule_autograd::{DType, Rng, Tape, Tensor};
/// # use chainrule_nn::{Dropout, Layer};
/// let (dropout, x) = (Dropout::new(0.5), Tensor::ones(&[4], DType::F32)?);
/// assert_eq!(dropout.run(&x)?.to_vec::<f32>()?, [1.0; 4]);
/// let tape = Tape::training(&mut Rng::seeded(0));
/// assert!(dropout.run(&tape.input(&x))?.to_vec::<f32>()?.iter().all(|&y| y == 0.0 || y == 2.0));
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
#[derive(Module, Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    /// The probability, 0 to 1.
    pub rate: f64,
}

impl Dropout {
    /// Drops at this probability.
    pub fn new(rate: f64) -> Dropout {
        Dropout { rate }
    }
}

impl Layer for Dropout {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(observed(self, x.dropout(self.rate)?))
    }
}
