//! Adapters made of adapters: one above another, several mixed by weights.

use chainrule_autograd::{Array, Error, Result, Tensor};
use chainrule_nn::{Adapter, BoxedAdapter, Module, Operation, Path, Site, Visitor, VisitorMut};

/// An adapter above one that belongs to the base, such as a quantised weight; what stands below keeps its paths.
#[derive(Module, Clone)]
pub(crate) struct Above {
    #[module(flatten)]
    pub below: BoxedAdapter,
    #[module(flatten)]
    pub above: BoxedAdapter,
}

impl Adapter for Above {
    fn adapt(&self, x: &Tensor, site: &Site) -> Result<Tensor> {
        self.above.adapt(x, &Site { below: Some(&*self.below), ..*site })
    }
    fn merged(&self, weight: &Tensor) -> Result<Tensor> {
        self.above.merged(&self.below.merged(weight)?)
    }
    fn merged_bias(&self, bias: &Tensor) -> Result<Tensor> {
        self.above.merged_bias(&self.below.merged_bias(bias)?)
    }
    fn holds_weight(&self) -> bool {
        self.below.holds_weight()
    }
    fn held_weight(&self) -> Result<Option<Array>> {
        self.below.held_weight()
    }
}

/// `y + Σ wᵢ (adaptᵢ(x) - y)`, y being what the layer gives without them; for changes of the weight this is the weighted sum of the changes.
#[derive(Clone, Default)]
pub(crate) struct Mix {
    pub parts: Vec<(String, f64, BoxedAdapter)>,
}

impl Mix {
    fn mixed(&self, base: &Tensor, each: impl Fn(&BoxedAdapter) -> Result<Tensor>) -> Result<Tensor> {
        let mut sum = base.clone();
        for (_, weight, adapter) in &self.parts {
            sum = sum.add(&each(adapter)?.sub(base)?.mul_scalar(*weight)?)?;
        }
        Ok(sum)
    }
}

impl Adapter for Mix {
    fn adapt(&self, x: &Tensor, site: &Site) -> Result<Tensor> {
        if site.operation == Operation::Weight {
            return Err(Error::value("adapt", "a weight inside a larger operation is changed by merging only"));
        }
        self.mixed(&site.forward(x)?, |adapter| adapter.adapt(x, site))
    }
    fn merged(&self, weight: &Tensor) -> Result<Tensor> {
        self.mixed(weight, |adapter| adapter.merged(weight))
    }
    fn merged_bias(&self, bias: &Tensor) -> Result<Tensor> {
        self.mixed(bias, |adapter| adapter.merged_bias(bias))
    }
}

/// Each part's contents stand under its name.
impl Module for Mix {
    fn visit(&self, path: &mut Path, visitor: &mut dyn Visitor) {
        for (name, _, adapter) in &self.parts {
            path.within(name, |path| adapter.visit(path, visitor));
        }
    }
    fn visit_mut(&mut self, path: &mut Path, visitor: &mut dyn VisitorMut) {
        for (name, _, adapter) in &mut self.parts {
            path.within(name, |path| adapter.visit_mut(path, visitor));
        }
    }
}
