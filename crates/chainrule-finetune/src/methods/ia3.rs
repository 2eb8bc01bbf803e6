//! (IA)³ (Liu et al. 2022, "Few-Shot Parameter-Efficient Fine-Tuning is Better and Cheaper than In-Context Learning"; PEFT's `IA3Config`).

use super::{refused, selecting};
use crate::peft::Config;
use crate::{Method, Selection, Targets};
use chainrule_autograd::{Array, Error, Result, Rng, Tensor};
use chainrule_nn::{Adapter, BoxedAdapter, Module, Operation, Param, Site};

/// `y = l ∘ (W x + b)`, and `y = W (l ∘ x) + b` on feed-forward layers: one factor for each output or input, all of them 1 at the start.
///
/// For linear layers, attention's projections and convolutions. The paper scales keys, values and what goes into the second feed-forward layer.
/// ```
/// # use chainrule_autograd::Rng;
/// # use chainrule_finetune::{Adapted, Ia3};
/// # use chainrule_nn::{Linear, Relu, Sequential, count};
/// let rng = &mut Rng::seeded(0);
/// let base = Sequential::new().add(Linear::new(8, 32, rng)?).add(Relu).add(Linear::new(32, 8, rng)?);
/// let mut model = Adapted::new(base);
/// model.add("mine", Ia3::new(["0", "2"], ["2"]), rng)?;
/// assert_eq!(count(&model).trainable, 32 + 32); // the outputs of the first, the inputs of the second
/// # Ok::<(), chainrule_finetune::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Ia3 {
    /// What is adapted, and what is trained whole.
    pub selection: Selection,
    /// Which of these layers have their inputs scaled (PEFT's `feedforward_modules`).
    pub feedforward: Option<Targets>,
}

impl Ia3 {
    /// On these layers, and by their inputs on those of them that `feedforward` means.
    pub fn new(targets: impl Into<Targets>, feedforward: impl Into<Targets>) -> Ia3 {
        Ia3 { selection: Selection::of(targets), feedforward: Some(feedforward.into()) }
    }
    /// By the outputs of these layers.
    pub fn outputs(targets: impl Into<Targets>) -> Ia3 {
        Ia3 { selection: Selection::of(targets), feedforward: None }
    }
}

selecting!(Ia3);

impl Method for Ia3 {
    fn name(&self) -> &'static str {
        "ia3"
    }
    fn selection(&self) -> &Selection {
        &self.selection
    }
    fn prepare(&self, layers: &[(String, Vec<usize>)]) -> chainrule_nn::Result<()> {
        let Some(feedforward) = &self.feedforward else { return Ok(()) };
        let all: Vec<String> = layers.iter().map(|(path, _)| path.clone()).collect();
        let meant = all.iter().filter(|path| feedforward.match_path(path, Some(Operation::Linear)).unwrap_or(false)).cloned().collect::<Vec<_>>();
        feedforward.check("ia3", "feedforward layer among those that are adapted", &meant, &all)
    }
    fn adapter(&self, path: &str, site: &Site, _: &mut Rng) -> Result<Option<BoxedAdapter>> {
        const OP: &str = "ia3";
        let groups = match site.operation {
            Operation::Linear => 1,
            Operation::Conv1d(window) => window.groups,
            Operation::Conv2d(window) => window.groups,
            Operation::Conv3d(window) => window.groups,
            other => return Err(refused(OP, other, "a linear layer or a convolution")),
        };
        let dims = site.weight.value.dims();
        let &[outputs, inputs, ..] = dims else { return Err(Error::shape(OP, format!("the weight has shape {dims:?}, expected [Out, In, ..]"))) };
        let feedforward = match &self.feedforward {
            Some(targets) => targets.match_path(path, Some(site.operation)).map_err(|error| Error::value(OP, error.to_string()))?,
            None => false,
        };
        let count = if feedforward { inputs.saturating_mul(groups) } else { outputs };
        let mut shape = vec![1; dims.len()];
        // PEFT has a column for a matrix's outputs, and channels in their own place.
        shape[if site.operation == Operation::Linear && !feedforward { 0 } else { 1 }] = count;
        Ok(Some(Box::new(Ia3Adapter { ia3_l: Param::new(Array::ones(&shape, site.weight.value.dtype())?), feedforward })))
    }
    fn to_peft(&self, layers: &[(String, Operation)], config: &mut Config) -> crate::Result<()> {
        crate::peft::write::ia3(self, layers, config)
    }
}

/// What (IA)³ puts into a slot.
#[derive(Module, Clone)]
pub struct Ia3Adapter {
    /// l: `[Out, 1]`, or `[1, In]` on feed-forward layers; of a convolution `[1, C, 1..]`.
    pub ia3_l: Param,
    /// Whether it scales the input.
    pub feedforward: bool,
}

impl Adapter for Ia3Adapter {
    fn adapt(&self, x: &Tensor, site: &Site) -> Result<Tensor> {
        let l = self.ia3_l.on(x)?;
        let l = match site.operation {
            Operation::Linear => l.flatten(0, -1)?,
            // A single sample, without N.
            _ if x.rank() < l.rank() => l.squeeze(0)?,
            _ => l,
        };
        if self.feedforward { site.forward(&x.mul(&l)?) } else { site.forward(x)?.mul(&l) }
    }

    fn merged(&self, weight: &Tensor) -> Result<Tensor> {
        let (l, dims) = (self.ia3_l.on(weight)?, weight.dims());
        let &[outputs, inputs, ..] = dims else { return Err(Error::shape("ia3", format!("the weight has shape {dims:?}, expected [Out, In, ..]"))) };
        let mut shape = vec![1; dims.len()];
        if !self.feedforward {
            shape[0] = outputs;
            return weight.mul(&l.reshape(&shape)?);
        }
        // Each group of a convolution has its own inputs: [groups, OC/groups, IC/groups, K..] times [groups, 1, IC/groups, 1..].
        let groups = l.count() / inputs.max(1);
        let (apart, mut own) = ([&[groups, outputs / groups.max(1)], &dims[1..]].concat(), vec![1; dims.len() + 1]);
        (own[0], own[2]) = (groups, inputs);
        weight.reshape(&apart)?.mul(&l.reshape(&own)?)?.reshape(dims)
    }

    fn merged_bias(&self, bias: &Tensor) -> Result<Tensor> {
        if self.feedforward { Ok(bias.clone()) } else { bias.mul(&self.ia3_l.on(bias)?.flatten(0, -1)?) }
    }
}
