//! Activations of more than one number: PReLU, and halves that gate each other.

use crate::{Layer, Module, Param, observed};
use chainrule_autograd::{Array, DType, Error, Result, Tensor};

/// x above 0, `weight · x` below, the weight being learned: `[N, C, ..] -> [N, C, ..]` (He et al. 2015, PyTorch's `PReLU`).
/// ```
/// # use chainrule_autograd::Tensor;
/// # use chainrule_nn::{Layer, Prelu};
/// let y = Prelu::new(1)?.run(&Tensor::from_slice(&[-2f32, 3.0], &[1, 2])?)?;
/// assert_eq!(y.to_vec::<f32>()?, [-0.5, 3.0]);
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
#[derive(Module, Clone)]
pub struct Prelu {
    /// `[1]`, or `[C]`
    pub weight: Param,
}

impl Prelu {
    /// One weight for all channels, or one each; 0.25 at the start, f32.
    ///
    /// # Errors
    /// No memory.
    pub fn new(channels: usize) -> Result<Prelu> {
        Ok(Prelu { weight: Param::new(Array::full(&[channels], 0.25, DType::F32)?) })
    }
}

impl Layer for Prelu {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let weight = self.weight.on(x)?;
        Ok(observed(self, self.weight.at(x.prelu(&weight))?))
    }
}

/// A gate a line.
macro_rules! gates {
    ($($layer:ident $method:ident $formula:literal $source:literal;)*) => { $(
        #[doc = concat!("`", $formula, "`, a and b being the halves of dimension `axis`: `[.., 2D] -> [.., D]` (", $source, ").")]
        #[doc = "```"]
        #[doc = "# use chainrule_autograd::{DType, Tensor};"]
        #[doc = concat!("# use chainrule_nn::{", stringify!($layer), ", Layer};")]
        #[doc = concat!("assert_eq!(", stringify!($layer), "::default().run(&Tensor::ones(&[2, 6], DType::F32)?)?.dims(), [2, 3]);")]
        #[doc = "# Ok::<(), chainrule_nn::Error>(())"]
        #[doc = "```"]
        #[derive(Module, Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $layer {
            /// The dimension; a negative one counts from the end.
            pub axis: isize,
        }

        impl $layer {
            /// Along this dimension; the last one by default.
            pub fn new(axis: isize) -> $layer {
                $layer { axis }
            }
        }
        impl Default for $layer {
            fn default() -> $layer {
                $layer { axis: -1 }
            }
        }

        impl Layer for $layer {
            fn forward(&self, x: &Tensor) -> Result<Tensor> {
                Ok(observed(self, x.$method(self.axis)?))
            }
        }
    )* };
}

gates! {
    Glu glu "a σ(b)" "Dauphin et al. 2017, PyTorch's `GLU`";
    SwiGlu swiglu "a b σ(b)" "Shazeer 2020";
    GeGlu geglu "a b Φ(b)" "Shazeer 2020";
    ReGlu reglu "a max(b, 0)" "Shazeer 2020";
}

/// The softmax over the channels of each pixel: `[N, C, H, W]` or `[C, H, W]`, result alike (PyTorch's `Softmax2d`).
/// ```
/// # use chainrule_autograd::{DType, Tensor};
/// # use chainrule_nn::{Layer, Softmax2d};
/// assert_eq!(Softmax2d.run(&Tensor::ones(&[2, 1, 1], DType::F32)?)?.to_vec::<f32>()?, [0.5, 0.5]);
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
#[derive(Module, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Softmax2d;

impl Layer for Softmax2d {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        if !matches!(x.rank(), 3 | 4) {
            return Err(Error::shape("softmax2d", format!("the input has shape {:?}, expected [N, C, H, W] or [C, H, W]", x.shape())));
        }
        Ok(observed(self, x.softmax(-3)?))
    }
}
