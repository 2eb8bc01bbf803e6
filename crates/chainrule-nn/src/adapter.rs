//! [`Adapter`]: what changes a layer's result without touching its weight: LoRA and its kin.

use crate::{Module, Param};
use chainrule_autograd::{self as options, Activation, Array, Error, Result, Tensor};
use std::any::Any;

/// A small module in the slot of a layer, trained in place of the layer's own parameters.
///
/// It stands around the layer's operation, and so can change what goes in, what comes out, or add to it; the bias stays where the adapter puts it.
/// ```
/// use chainrule_autograd::{Array, DType, Error, Result, Rng, Tensor};
/// use chainrule_core::ops::{elementwise::{Unary, unary}, matmul::matmul};
/// use chainrule_nn::{Adapter, Layer, Linear, Module, Param, Site};
///
/// /// `y = W x + b + scale B A x` (Hu et al. 2021)
/// #[derive(Module, Clone)]
/// struct Lora { a: Param, b: Param, scale: f64 }
/// impl Adapter for Lora {
///     fn adapt(&self, x: &Tensor, site: &Site) -> Result<Tensor> {
///         let low = x.linear(&self.a.on(x)?, None)?.linear(&self.b.on(x)?, None)?;
///         site.forward(x)?.add(&low.mul_scalar(self.scale)?)
///     }
///     fn delta(&self, _weight: &Array) -> Result<Array> {
///         Ok(unary(Unary::Affine { scale: self.scale, shift: 0.0 }, &matmul(&self.b.value, &self.a.value)?)?)
///     }
/// }
/// let mut linear = Linear::new(4, 3, &mut Rng::seeded(0))?;
/// let x = Tensor::ones(&[1, 4], DType::F32)?;
/// let before = linear.forward(&x)?.to_vec::<f32>()?;
/// let (a, b) = (Array::ones(&[2, 4], DType::F32)?, Array::zeros(&[3, 2], DType::F32)?);
/// linear.adapter = Some(Box::new(Lora { a: Param::new(a), b: Param::new(b), scale: 2.0 }));
/// assert_eq!(linear.forward(&x)?.to_vec::<f32>()?, before); // B = 0: the identity
/// # Ok::<(), Error>(())
/// ```
pub trait Adapter: Module + Send + Sync {
    /// What the layer gives for `x` under this adapter; [`Site::forward`] is what it gives without.
    ///
    /// # Errors
    /// An input, or a site, that does not fit.
    fn adapt(&self, x: &Tensor, site: &Site) -> Result<Tensor>;

    /// What merging adds to the layer's weight.
    ///
    /// # Errors
    /// A method that cannot be merged; a weight that does not fit.
    fn delta(&self, weight: &Array) -> Result<Array>;

    /// What merging adds to the layer's bias; `None` for methods that leave it as it is.
    ///
    /// # Errors
    /// As for [`delta`](Adapter::delta).
    fn bias_delta(&self, bias: &Array) -> Result<Option<Array>> {
        let _ = bias;
        Ok(None)
    }
}

/// An adapter that can be cloned in a box. Implementing [`Adapter`] and `Clone` is all it takes.
pub trait AnyAdapter: Adapter + Any {
    /// A copy in a box.
    fn clone_box(&self) -> BoxedAdapter;
}

/// An adapter of any type; as `&dyn Any` it can be asked for its own.
pub type BoxedAdapter = Box<dyn AnyAdapter>;

impl<A: Adapter + Clone + Any> AnyAdapter for A {
    fn clone_box(&self) -> BoxedAdapter {
        Box::new(self.clone())
    }
}

impl Clone for BoxedAdapter {
    fn clone(&self) -> BoxedAdapter {
        (**self).clone_box()
    }
}

impl<A: Adapter + ?Sized> Adapter for Box<A> {
    fn adapt(&self, x: &Tensor, site: &Site) -> Result<Tensor> {
        (**self).adapt(x, site)
    }
    fn delta(&self, weight: &Array) -> Result<Array> {
        (**self).delta(weight)
    }
    fn bias_delta(&self, bias: &Array) -> Result<Option<Array>> {
        (**self).bias_delta(bias)
    }
}

/// What a layer with an adapter slot computes from its input, weight and bias.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Operation {
    /// Weight `[Out, In]`, input `[.., In]`.
    Linear,
    /// Weight `[V, D]`, input i64 `[..]`.
    Embedding {
        /// The row that gets no gradient.
        padding: Option<usize>,
    },
    /// Weight `[OC, IC/groups, K]`, input `[N, IC, L]`.
    Conv1d(options::Conv1d),
    /// Weight `[OC, IC/groups, KH, KW]`, input `[N, IC, H, W]`.
    Conv2d(options::Conv2d),
    /// Weight `[OC, IC/groups, KD, KH, KW]`, input `[N, IC, D, H, W]`.
    Conv3d(options::Conv3d),
    /// Weight `[IC, OC/groups, K]`, input `[N, IC, L]`.
    ConvTranspose1d(options::ConvTranspose1d),
    /// Weight `[IC, OC/groups, KH, KW]`, input `[N, IC, H, W]`.
    ConvTranspose2d(options::ConvTranspose2d),
    /// Weight `[IC, OC/groups, KD, KH, KW]`, input `[N, IC, D, H, W]`.
    ConvTranspose3d(options::ConvTranspose3d),
}

impl Operation {
    /// Computes.
    ///
    /// # Errors
    /// Shapes that do not fit; a bias where the operation has none.
    pub fn apply(&self, x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        self.apply_activated(x, weight, bias, Activation::None)
    }

    /// Computes, and then the activation; in one pass where there is such an operation.
    ///
    /// # Errors
    /// As for [`apply`](Operation::apply).
    pub fn apply_activated(&self, x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, activation: Activation) -> Result<Tensor> {
        match self {
            Operation::Linear => return x.linear_activated(weight, bias, activation),
            Operation::Conv1d(window) => return x.conv1d_activated(weight, bias, activation, window),
            Operation::Conv2d(window) => return x.conv2d_activated(weight, bias, activation, window),
            Operation::Conv3d(window) => return x.conv3d_activated(weight, bias, activation, window),
            Operation::ConvTranspose1d(spreading) => x.conv_transpose1d(weight, bias, spreading),
            Operation::ConvTranspose2d(spreading) => x.conv_transpose2d(weight, bias, spreading),
            Operation::ConvTranspose3d(spreading) => x.conv_transpose3d(weight, bias, spreading),
            Operation::Embedding { padding } => match bias {
                None => weight.embedding(x, *padding),
                Some(_) => Err(Error::value("embedding", "got a bias, which an embedding has not")),
            },
        }?
        .activated(activation)
    }
}

/// Where an adapter stands: the layer's operation and parameters.
#[derive(Clone, Copy, Debug)]
pub struct Site<'a> {
    /// What the layer computes.
    pub operation: Operation,
    /// Its weight.
    pub weight: &'a Param,
    /// Its bias.
    pub bias: Option<&'a Param>,
}

impl Site<'_> {
    /// What the layer gives without its adapter.
    ///
    /// # Errors
    /// An input that does not fit.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.forward_activated(x, Activation::None)
    }

    /// The same, and then the activation.
    ///
    /// # Errors
    /// An input that does not fit.
    pub fn forward_activated(&self, x: &Tensor, activation: Activation) -> Result<Tensor> {
        let (weight, bias) = (self.weight.on(x)?, self.bias.map(|b| b.on(x)).transpose()?);
        self.weight.at(self.operation.apply_activated(x, &weight, bias.as_ref(), activation))
    }

    /// The same, before the bias is added.
    ///
    /// # Errors
    /// An input that does not fit.
    pub fn forward_without_bias(&self, x: &Tensor) -> Result<Tensor> {
        Site { bias: None, ..*self }.forward(x)
    }
}

/// An adapter slot in a walk for writing: attach by filling it, merge by changing the weight.
pub struct SiteMut<'a> {
    /// What the layer computes.
    pub operation: Operation,
    /// Its weight.
    pub weight: &'a mut Param,
    /// Its bias.
    pub bias: Option<&'a mut Param>,
    /// Its slot.
    pub adapter: &'a mut Option<BoxedAdapter>,
}

/// A layer with an adapter slot: the walks (the adapter's contents stand at the layer's path), and `forward` around the slot, after what the layer does to its input.
macro_rules! adapted {
    ($layer:ident, $self:ident, $operation:expr, bias: $($bias:ident)? $(, input: $input:ident)?) => {
        impl crate::Module for $layer {
            fn visit(&$self, path: &mut crate::Path, visitor: &mut dyn crate::Visitor) {
                visitor.module(path.as_str(), crate::Kind::of($self));
                path.within("weight", |path| $self.weight.visit(path, visitor));
                $(path.within("bias", |path| $self.$bias.visit(path, visitor));)?
                visitor.adapter(path.as_str(), $self.site(), $self.adapter.as_deref());
                $self.adapter.visit(path, visitor);
            }
            fn visit_mut(&mut $self, path: &mut crate::Path, visitor: &mut dyn crate::VisitorMut) {
                path.within("weight", |path| $self.weight.visit_mut(path, visitor));
                $(path.within("bias", |path| $self.$bias.visit_mut(path, visitor));)?
                let operation = $operation;
                let bias = [$($self.$bias.as_mut())?].into_iter().next().flatten();
                visitor.adapter(path.as_str(), crate::SiteMut { operation, weight: &mut $self.weight, bias, adapter: &mut $self.adapter });
                $self.adapter.visit_mut(path, visitor);
            }
        }

        impl $layer {
            /// The operation and parameters, as an adapter sees them.
            pub fn site(&$self) -> crate::Site<'_> {
                let bias = [$($self.$bias.as_ref())?].into_iter().next().flatten();
                crate::Site { operation: $operation, weight: &$self.weight, bias }
            }
        }

        impl crate::Layer for $layer {
            fn forward(&$self, x: &chainrule_autograd::Tensor) -> chainrule_autograd::Result<chainrule_autograd::Tensor> {
                $self.forward_activated(x, chainrule_autograd::Activation::None)
            }
            fn forward_activated(
                &$self,
                x: &chainrule_autograd::Tensor,
                activation: chainrule_autograd::Activation,
            ) -> chainrule_autograd::Result<chainrule_autograd::Tensor> {
                $(let x = &$self.$input(x)?;)?
                let y = match &$self.adapter {
                    Some(adapter) => adapter.adapt(x, &$self.site())?.activated(activation)?,
                    None => $self.site().forward_activated(x, activation)?,
                };
                Ok(crate::observed($self, y))
            }
        }
    };
}
pub(crate) use adapted;
