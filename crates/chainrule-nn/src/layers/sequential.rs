//! Layers one after the other (PyTorch's `Sequential`).

use crate::activations::is_observed;
use crate::{AnyLayer, BoxedLayer, Layer, Module, observed};
use chainrule_autograd::{Result, Tensor};
use std::ops::{Index, IndexMut};

/// Each layer gets what the one before gives. A ReLU or leaky ReLU behind a linear layer or convolution is computed with it, in one pass. Paths are `0.weight`, `1.weight`, …
/// ```
/// # use chainrule_autograd::{DType, Rng, Tensor};
/// # use chainrule_nn::{Layer, Linear, Relu, Sequential};
/// let mut rng = Rng::seeded(0);
/// let model = Sequential::new().add(Linear::new(4, 8, &mut rng)?).add(Relu).add(Linear::new(8, 2, &mut rng)?);
/// assert_eq!(model.run(&Tensor::ones(&[1, 4], DType::F32)?)?.dims(), [1, 2]);
/// let error = model.run(&Tensor::ones(&[1, 5], DType::F32)?).unwrap_err();
/// assert!(error.to_string().starts_with("0: linear: "));
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
#[derive(Module, Clone, Default)]
pub struct Sequential {
    /// The layers, in order.
    #[module(flatten)]
    pub layers: Vec<BoxedLayer>,
}

impl Sequential {
    /// No layers: the identity.
    pub fn new() -> Sequential {
        Sequential::default()
    }
    /// Puts a layer behind the others.
    #[expect(clippy::should_implement_trait, reason = "this appends; layers have no sum")]
    pub fn add(mut self, layer: impl AnyLayer) -> Sequential {
        self.layers.push(Box::new(layer));
        self
    }
}

impl Layer for Sequential {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut x = x.clone();
        let mut layers = self.layers.iter().peekable();
        while let Some(layer) = layers.next() {
            // Who looks at layers sees each of them.
            x = match layers.next_if(|next| next.as_activation().is_some() && !is_observed()).and_then(|next| next.as_activation()) {
                Some(activation) => layer.forward_activated(&x, activation)?,
                None => layer.forward(&x)?,
            };
        }
        Ok(observed(self, x))
    }
}

impl FromIterator<BoxedLayer> for Sequential {
    fn from_iter<I: IntoIterator<Item = BoxedLayer>>(layers: I) -> Sequential {
        Sequential { layers: layers.into_iter().collect() }
    }
}

impl Index<usize> for Sequential {
    type Output = dyn AnyLayer;
    fn index(&self, i: usize) -> &dyn AnyLayer {
        &*self.layers[i]
    }
}
impl IndexMut<usize> for Sequential {
    fn index_mut(&mut self, i: usize) -> &mut dyn AnyLayer {
        &mut *self.layers[i]
    }
}
