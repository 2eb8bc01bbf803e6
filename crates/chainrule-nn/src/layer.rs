//! [`Layer`]: a module with one input and one output.

use crate::{Error, Module, locate};
use chainrule_autograd::{Activation, Result, Tensor};
use std::any::Any;

/// A module that makes one tensor of another.
///
/// `forward` is the same function in training and inference: the mode is the input's.
/// ```
/// use chainrule_autograd::{DType, Result, Rng, Tensor};
/// use chainrule_nn::{Layer, Linear, Module};
///
/// #[derive(Module, Clone)]
/// struct Gated { value: Linear, gate: Linear }
/// impl Layer for Gated {
///     fn forward(&self, x: &Tensor) -> Result<Tensor> {
///         self.value.forward(x)?.mul(&self.gate.forward(x)?.sigmoid()?)
///     }
/// }
/// let mut rng = Rng::seeded(0);
/// let gated = Gated { value: Linear::new(4, 2, &mut rng)?, gate: Linear::new(4, 2, &mut rng)? };
/// assert_eq!(gated.run(&Tensor::ones(&[3, 4], DType::F32)?)?.dims(), [3, 2]);
/// let error = gated.run(&Tensor::ones(&[3, 5], DType::F32)?).unwrap_err();
/// assert!(error.to_string().starts_with("value: linear: "));
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
#[diagnostic::on_unimplemented(message = "`{Self}` is not a Layer", note = "implement Layer: fn forward(&self, x: &Tensor) -> Result<Tensor>")]
pub trait Layer: Module + Send + Sync {
    /// The layer's output for `x`.
    ///
    /// # Errors
    /// An input that does not fit.
    fn forward(&self, x: &Tensor) -> Result<Tensor>;

    /// `forward`, and then the activation; in one pass, where the layer ends in a product.
    ///
    /// # Errors
    /// As for [`forward`](Layer::forward).
    fn forward_activated(&self, x: &Tensor, activation: Activation) -> Result<Tensor> {
        self.forward(x)?.activated(activation)
    }

    /// What the layer is, if it is an activation in which the layer before it may end. Only for layers that compute nothing else.
    fn as_activation(&self) -> Option<Activation> {
        None
    }

    /// `forward`, whose errors name the path of the layer in which they arose. Call it at the root of a model.
    ///
    /// # Errors
    /// As for [`forward`](Layer::forward).
    fn run(&self, x: &Tensor) -> Result<Tensor, Error>
    where
        Self: Sized,
    {
        self.forward(x).map_err(|error| locate(self, error))
    }
}

/// A layer that can be cloned in a box. Implementing [`Layer`] and `Clone` is all it takes.
pub trait AnyLayer: Layer + Any {
    /// A copy in a box.
    fn clone_box(&self) -> BoxedLayer;
}

/// A layer of any type.
pub type BoxedLayer = Box<dyn AnyLayer>;

impl<L: Layer + Clone + Any> AnyLayer for L {
    fn clone_box(&self) -> BoxedLayer {
        Box::new(self.clone())
    }
}

impl Clone for BoxedLayer {
    fn clone(&self) -> BoxedLayer {
        (**self).clone_box()
    }
}

impl<L: Layer + ?Sized> Layer for Box<L> {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        (**self).forward(x)
    }
    fn forward_activated(&self, x: &Tensor, activation: Activation) -> Result<Tensor> {
        (**self).forward_activated(x, activation)
    }
    fn as_activation(&self) -> Option<Activation> {
        (**self).as_activation()
    }
}
