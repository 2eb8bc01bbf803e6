//! [`Adapter`]: what changes a layer's result without touching its weight: LoRA and its kin.

use crate::{Module, Param, Path, Visitor, VisitorMut};
use chainrule_autograd::{self as options, Activation, Array, Error, Result, Tensor};
use std::any::Any;
use std::fmt;

/// A small module in the slot of a layer, trained in place of the layer's own parameters.
///
/// It stands around the layer's operation, and so can change what goes in, what comes out, or add to it; the bias stays where the adapter puts it.
/// ```
/// use chainrule_autograd::{Array, DType, Error, Result, Rng, Tensor};
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
///     fn merged(&self, weight: &Tensor) -> Result<Tensor> {
///         weight.add(&self.b.on(weight)?.matmul(&self.a.on(weight)?)?.mul_scalar(self.scale)?)
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

    /// The weight that does alone what `weight` does under this adapter: what merging writes, and what a recurrent layer reads. It may be recorded.
    ///
    /// # Errors
    /// A weight that does not fit; a method that is no change of the weight, which is so unless this is implemented.
    fn merged(&self, weight: &Tensor) -> Result<Tensor> {
        let _ = weight;
        Err(Error::value("merge", "this adapter is not a change of the weight, so it cannot be merged; keep it beside the layer"))
    }

    /// The same for the bias; left as it is unless this is implemented.
    ///
    /// # Errors
    /// As for [`merged`](Adapter::merged).
    fn merged_bias(&self, bias: &Tensor) -> Result<Tensor> {
        Ok(bias.clone())
    }

    /// Whether the layer's weight stands in the adapter, in another form (a quantised base). The layer's own is then an empty place of the same shape, which walks pass over.
    fn holds_weight(&self) -> bool {
        false
    }

    /// The weight that the adapter holds in the layer's place.
    ///
    /// # Errors
    /// No memory.
    fn held_weight(&self) -> Result<Option<Array>> {
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
    fn merged(&self, weight: &Tensor) -> Result<Tensor> {
        (**self).merged(weight)
    }
    fn merged_bias(&self, bias: &Tensor) -> Result<Tensor> {
        (**self).merged_bias(bias)
    }
    fn holds_weight(&self) -> bool {
        (**self).holds_weight()
    }
    fn held_weight(&self) -> Result<Option<Array>> {
        (**self).held_weight()
    }
}

/// What a layer with an adapter slot computes from its input, weight and bias.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Operation {
    /// Weight `[Out, In]`, input `[.., In]`.
    Linear,
    /// A weight inside a larger operation, such as a recurrent layer, which an adapter changes by [`merged`](Adapter::merged) alone.
    Weight,
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
            Operation::Weight => Err(Error::value("adapter", "a weight inside a larger operation is not applied by itself")),
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
#[derive(Clone, Copy)]
pub struct Site<'a> {
    /// What the layer computes.
    pub operation: Operation,
    /// Its weight.
    pub weight: &'a Param,
    /// Its bias.
    pub bias: Option<&'a Param>,
    /// What stands between the adapter and the layer: another adapter, such as a quantised base.
    pub below: Option<&'a dyn AnyAdapter>,
}

impl<'a> Site<'a> {
    /// A layer's place, with nothing below the adapter.
    pub fn new(operation: Operation, weight: &'a Param, bias: Option<&'a Param>) -> Site<'a> {
        Site { operation, weight, bias, below: None }
    }

    /// The weight without this adapter, as numbers: the layer's, under what stands below.
    ///
    /// # Errors
    /// No memory; an adapter below that is no change of the weight.
    pub fn base_weight(&self) -> Result<Tensor> {
        let Some(below) = self.below else { return Ok(Tensor::from(&self.weight.value)) };
        let held = below.held_weight()?;
        below.merged(&Tensor::from(held.as_ref().unwrap_or(&self.weight.value)))
    }

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
        if let Some(below) = self.below {
            return below.adapt(x, &Site { below: None, ..*self })?.activated(activation);
        }
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

impl fmt::Debug for Site<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (weight, below) = (self.weight.value.shape(), self.below.is_some());
        f.debug_struct("Site").field("operation", &self.operation).field("weight", weight).field("bias", &self.bias.is_some()).field("below", &below).finish()
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

/// Whether the weight stands in the adapter.
pub(crate) fn held(adapter: &Option<BoxedAdapter>) -> bool {
    adapter.as_ref().is_some_and(|adapter| adapter.holds_weight())
}

/// The slot of a weight inside a larger operation: its place in a walk is `path`, which is also that of the adapter's contents.
pub(crate) fn visit_weight(path: &mut Path, visitor: &mut dyn Visitor, operation: Operation, weight: &Param, adapter: &Option<BoxedAdapter>) {
    visitor.adapter(path.as_str(), Site::new(operation, weight, None), adapter.as_deref());
    adapter.visit(path, visitor);
}

/// The same for writing.
pub(crate) fn visit_weight_mut(path: &mut Path, visitor: &mut dyn VisitorMut, operation: Operation, weight: &mut Param, adapter: &mut Option<BoxedAdapter>) {
    visitor.adapter(path.as_str(), SiteMut { operation, weight, bias: None, adapter });
    adapter.visit_mut(path, visitor);
}

/// A weight where `x` stands, as the adapter in its slot makes it.
pub(crate) fn adapted_weight(weight: &Param, adapter: &Option<BoxedAdapter>, x: &Tensor) -> Result<Tensor> {
    let Some(adapter) = adapter else { return weight.on(x) };
    let base = match adapter.held_weight()? {
        Some(held) => x.parameter(weight.id, &held, false)?,
        None => weight.on(x)?,
    };
    weight.at(adapter.merged(&base))
}

/// A layer with an adapter slot: the walks (the adapter's contents stand at the layer's path), and `forward` around the slot, after what the layer does to its input.
macro_rules! adapted {
    ($layer:ident, $self:ident, $operation:expr, bias: $($bias:ident)? $(, input: $input:ident)?) => {
        impl crate::Module for $layer {
            fn visit(&$self, path: &mut crate::Path, visitor: &mut dyn crate::Visitor) {
                visitor.module(path.as_str(), crate::Kind::of($self));
                if !crate::adapter::held(&$self.adapter) {
                    path.within("weight", |path| $self.weight.visit(path, visitor));
                }
                $(path.within("bias", |path| $self.$bias.visit(path, visitor));)?
                visitor.adapter(path.as_str(), $self.site(), $self.adapter.as_deref());
                $self.adapter.visit(path, visitor);
            }
            fn visit_mut(&mut $self, path: &mut crate::Path, visitor: &mut dyn crate::VisitorMut) {
                if !crate::adapter::held(&$self.adapter) {
                    path.within("weight", |path| $self.weight.visit_mut(path, visitor));
                }
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
                crate::Site::new($operation, &$self.weight, bias)
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
