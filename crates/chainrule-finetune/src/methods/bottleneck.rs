//! Bottleneck adapters (Houlsby et al. 2019, "Parameter-Efficient Transfer Learning for NLP"; Pfeiffer et al. 2020, "AdapterFusion"; He et al. 2022, "Towards a Unified View of Parameter-Efficient Transfer Learning").

use super::{expect_finite, refused, selecting};
use crate::peft::Config;
use crate::{Method, Selection};
use chainrule_autograd::{Array, Error, Result, Rng, Tensor};
use chainrule_nn::init::Init;
use chainrule_nn::{Adapter, BoxedAdapter, Module, Operation, Param, Site};

/// `y' = y + up(f(down(norm(y))))` behind a linear layer, or beside it, from its input: `y' = y + s · up(f(down(norm(x))))`.
///
/// | | targets by default | place |
/// |---|---|---|
/// | [`houlsby`](Bottleneck::houlsby) | `attention.output.dense`, `output.dense` | behind |
/// | [`pfeiffer`](Bottleneck::pfeiffer) | `output.dense` of the feed-forward part | behind |
/// | [`parallel`](Bottleneck::parallel) | the same | beside, s = 4 |
///
/// The names are BERT's: the layers that end a block's two parts, before their residual connections. `down` goes to a sixteenth of the features unless told otherwise, f is GELU, and there is no norm.
/// `up` begins as zero, so a new adapter changes nothing. What stands behind a non-linearity is no change of a weight: it cannot be merged.
/// ```
/// # use chainrule_autograd::Rng;
/// # use chainrule_finetune::{Adapted, Bottleneck};
/// # use chainrule_nn::{Linear, Sequential, count};
/// let rng = &mut Rng::seeded(0);
/// let mut model = Adapted::new(Sequential::new().add(Linear::new(8, 32, rng)?));
/// model.add("mine", Bottleneck::houlsby().targets(["0"]).width(4), rng)?;
/// assert_eq!(count(&model).trainable, (32 * 4 + 4) + (4 * 32 + 32));
/// # Ok::<(), chainrule_finetune::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Bottleneck {
    /// What is adapted, and what is trained whole.
    pub selection: Selection,
    /// How many features there are in the middle.
    pub width: BottleneckWidth,
    /// f
    pub activation: BottleneckActivation,
    /// Whether what goes in is normalised, with weight and bias of the adapter's own.
    pub norm: bool,
    /// s, of an adapter beside the layer; `None` behind it.
    pub beside: Option<f64>,
}

/// How many features a bottleneck has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BottleneckWidth {
    /// So many.
    Features(usize),
    /// The layer's output features by this, and at least one.
    Reduction(usize),
}

/// What follows `down`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BottleneckActivation {
    /// x Φ(x)
    #[default]
    Gelu,
    /// max(x, 0)
    Relu,
    /// x σ(x)
    Silu,
    /// tanh(x)
    Tanh,
}

impl Bottleneck {
    fn of(selection: Selection, beside: Option<f64>) -> Bottleneck {
        Bottleneck { selection, width: BottleneckWidth::Reduction(16), activation: BottleneckActivation::Gelu, norm: false, beside }
    }
    fn feed_forward() -> Selection {
        Selection { exclude: Some(["attention.output.dense"].into()), ..Selection::of(["output.dense"]) }
    }

    /// Behind attention and behind the feed-forward part.
    pub fn houlsby() -> Bottleneck {
        Bottleneck::of(Selection::of(["attention.output.dense", "output.dense"]), None)
    }
    /// Behind the feed-forward part.
    pub fn pfeiffer() -> Bottleneck {
        Bottleneck::of(Bottleneck::feed_forward(), None)
    }
    /// Beside the linear layer that ends the feed-forward part.
    pub fn parallel() -> Bottleneck {
        Bottleneck::of(Bottleneck::feed_forward(), Some(4.0))
    }
    /// With so many features in the middle.
    pub fn width(self, features: usize) -> Bottleneck {
        Bottleneck { width: BottleneckWidth::Features(features), ..self }
    }
    /// With the layer's output features by this in the middle.
    pub fn reduction(self, factor: usize) -> Bottleneck {
        Bottleneck { width: BottleneckWidth::Reduction(factor), ..self }
    }
    /// With this between `down` and `up`.
    pub fn activation(self, activation: BottleneckActivation) -> Bottleneck {
        Bottleneck { activation, ..self }
    }
    /// With what goes in normalised.
    pub fn norm(self) -> Bottleneck {
        Bottleneck { norm: true, ..self }
    }
    /// Beside the layer, times this.
    pub fn beside(self, scale: f64) -> Bottleneck {
        Bottleneck { beside: Some(scale), ..self }
    }
}

selecting!(Bottleneck);

impl Method for Bottleneck {
    fn name(&self) -> &'static str {
        "bottleneck"
    }
    fn selection(&self) -> &Selection {
        &self.selection
    }
    fn adapter(&self, _: &str, site: &Site, rng: &mut Rng) -> Result<Option<BoxedAdapter>> {
        const OP: &str = "bottleneck";
        let (weight, dtype) = (&site.weight.value, site.weight.value.dtype());
        if site.operation != Operation::Linear {
            return Err(refused(OP, site.operation, "a linear layer"));
        }
        let &[outputs, inputs] = weight.dims() else { return Err(Error::shape(OP, format!("the weight has shape {:?}, expected [Out, In]", weight.dims()))) };
        expect_finite(OP, "the scale", self.beside.unwrap_or(1.0))?;
        let width = match self.width {
            BottleneckWidth::Features(features) => features,
            BottleneckWidth::Reduction(factor) => outputs.checked_div(factor).map_or(0, |features| features.max(1)),
        };
        if width == 0 {
            return Err(Error::value(OP, format!("got a width of {:?}, expected at least one feature", self.width)));
        }
        let seen = if self.beside.is_some() { inputs } else { outputs };
        let param = |array: Result<Array>| array.map(Param::new);
        Ok(Some(Box::new(BottleneckAdapter {
            norm_weight: if self.norm { Some(param(Ok(Array::ones(&[seen], dtype)?))?) } else { None },
            norm_bias: if self.norm { Some(param(Ok(Array::zeros(&[seen], dtype)?))?) } else { None },
            down_weight: param(Init::layer_default().array(&[width, seen], dtype, rng))?,
            down_bias: Param::new(Array::zeros(&[width], dtype)?),
            up_weight: Param::new(Array::zeros(&[outputs, width], dtype)?),
            up_bias: Param::new(Array::zeros(&[outputs], dtype)?),
            activation: self.activation,
            beside: self.beside,
        })))
    }
    fn to_peft(&self, _: &[(String, Operation)], config: &mut Config) -> crate::Result<()> {
        crate::peft::write::bottleneck(self, config);
        Ok(())
    }
}

/// What stands in a slot. F is the number of the layer's output features, beside the layer that of its inputs.
#[derive(Module, Clone)]
pub struct BottleneckAdapter {
    /// `[F]`
    #[module(name = "adapter_norm.weight")]
    pub norm_weight: Option<Param>,
    /// `[F]`
    #[module(name = "adapter_norm.bias")]
    pub norm_bias: Option<Param>,
    /// `[width, F]`
    #[module(name = "adapter_down.weight")]
    pub down_weight: Param,
    /// `[width]`
    #[module(name = "adapter_down.bias")]
    pub down_bias: Param,
    /// `[Out, width]`
    #[module(name = "adapter_up.weight")]
    pub up_weight: Param,
    /// `[Out]`
    #[module(name = "adapter_up.bias")]
    pub up_bias: Param,
    /// f
    #[module(skip)]
    pub activation: BottleneckActivation,
    /// s, beside the layer.
    #[module(skip)]
    pub beside: Option<f64>,
}

impl Adapter for BottleneckAdapter {
    fn adapt(&self, x: &Tensor, site: &Site) -> Result<Tensor> {
        let y = site.forward(x)?;
        let seen = if self.beside.is_some() { x } else { &y };
        let normed = match (&self.norm_weight, &self.norm_bias) {
            (None, None) => None,
            (weight, bias) => {
                let on = |param: &Option<Param>| param.as_ref().map(|param| param.on(x)).transpose();
                Some(seen.layer_norm(1, on(weight)?.as_ref(), on(bias)?.as_ref(), 1e-5)?)
            }
        };
        let low = normed.as_ref().unwrap_or(seen).linear(&self.down_weight.on(x)?, Some(&self.down_bias.on(x)?))?;
        let low = match self.activation {
            BottleneckActivation::Gelu => low.gelu(),
            BottleneckActivation::Relu => low.relu(),
            BottleneckActivation::Silu => low.silu(),
            BottleneckActivation::Tanh => low.tanh(),
        }?;
        let up = low.linear(&self.up_weight.on(x)?, Some(&self.up_bias.on(x)?))?;
        y.add(&match self.beside {
            Some(scale) if scale != 1.0 => up.mul_scalar(scale)?,
            _ => up,
        })
    }

    fn merged(&self, _: &Tensor) -> Result<Tensor> {
        Err(Error::value("merge", "a bottleneck adapter has a non-linearity, so it is no change of the weight and cannot be merged; keep it beside the layer"))
    }
}
