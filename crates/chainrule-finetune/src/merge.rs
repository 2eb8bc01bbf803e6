//! Merging: what an adapter does, taken into the layers' own weights, checked on outputs before it counts.

use crate::adapted::State;
use crate::{Adapted, Error, Result};
use chainrule_autograd::{Array, DType, Tensor};
use chainrule_nn::{AnyAdapter, BoxedAdapter, Module, Param, Path, Site, SiteMut, Visitor, VisitorMut, params_mut};
use std::collections::BTreeSet;

/// How far outputs may differ, as a part of one and the largest of them.
const ALLOWED: f64 = 1e-5;

impl<M: Module> Adapted<M> {
    /// Takes the active adapter, or mixture, into the weights, so that the model runs as fast as the base. It is final only if `outputs`, what the model gives for some inputs, differ by no more than
    /// `1e-5 (1 + max |y|)` after it; returns by how much they do.
    ///
    /// The base's own weights stay beside the merged ones, and [`unmerge`](Adapted::unmerge) puts them back to the bit. So does all that switches: `activate`, `deactivate`, `add`, …
    /// While it is merged, an adapter's own parameters are out of reach of training; those that it has in place of the base's (a head) count as merged as they stand.
    /// A weight that a quantised base holds becomes a dense one.
    /// ```
    /// # use chainrule_autograd::{DType, Rng, Tensor};
    /// # use chainrule_finetune::{Adapted, Lora};
    /// # use chainrule_nn::{Layer, Linear, Sequential};
    /// # let rng = &mut Rng::seeded(0);
    /// let mut model = Adapted::new(Sequential::new().add(Linear::new(8, 4, rng)?));
    /// model.add("mine", Lora::rank(2), rng)?;
    /// let x = Tensor::normal(&[16, 8], 0.0, 1.0, DType::F32, rng)?;
    /// let difference = model.merge(|model| model.forward(&x))?;
    /// assert!(model.is_merged() && difference < 1e-5);
    /// model.unmerge();
    /// # Ok::<(), chainrule_finetune::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Merge`] when outputs differ; no active adapter, or one that is merged already; one that cannot be merged, such as a prompt or a bottleneck; errors of `outputs`. Nothing is changed then.
    pub fn merge<E: Into<Error>>(&mut self, outputs: impl Fn(&M) -> Result<Tensor, E>) -> Result<f64> {
        let mut layers = self.merged_layers()?;
        let before = outputs(&self.model).map_err(Into::into)?;
        swap(&mut self.model, &mut layers);
        let of = std::mem::replace(&mut self.state, State::Base);
        self.state = State::Merged(Box::new(of), layers);
        let compared = outputs(&self.model).map_err(Into::into).and_then(|after| difference(before.array(), after.array()));
        if compared.is_err() {
            self.unmerge();
        }
        compared
    }

    /// Puts the weights back as they were before [`merge`](Adapted::merge), to the bit; the adapter works beside them again. Nothing happens when nothing is merged.
    pub fn unmerge(&mut self) {
        match std::mem::replace(&mut self.state, State::Base) {
            State::Merged(of, mut layers) => {
                swap(&mut self.model, &mut layers);
                self.state = *of;
            }
            other => self.state = other,
        }
    }

    /// Whether an adapter is merged.
    pub fn is_merged(&self) -> bool {
        matches!(self.state, State::Merged(..))
    }

    /// The model with the active adapter merged for good. Adapters and the base's weights are dropped; each parameter is as trainable as it was in the base, and those that a quantised base held are.
    ///
    /// # Errors
    /// As for [`merge`](Adapted::merge), and the model is lost then: merge first where that matters, after which nothing is checked again.
    pub fn into_merged<E: Into<Error>>(mut self, outputs: impl Fn(&M) -> Result<Tensor, E>) -> Result<M> {
        if !self.is_merged() {
            self.merge(outputs)?;
        }
        params_mut(&mut self.model, |path, param| param.trainable = self.trainable.get(path).copied().unwrap_or(true));
        Ok(self.model)
    }

    /// What the layers come to under what is active.
    fn merged_layers(&self) -> Result<Vec<Merged>> {
        const OP: &str = "merge";
        let (names, parts) = match &self.state {
            State::Base => return Err(Error::adapter(OP, format!("no adapter is active, expected one of {:?} to be", self.names()))),
            State::Merged(..) => return Err(Error::adapter(OP, format!("{:?} is merged already; unmerge first", self.active()))),
            State::Active(name) => (self.active(), &self.member(OP, name)?.parts),
            State::Mixed(_, parts) => (self.active(), &**parts),
        };
        let refused = |why: String| Error::adapter(OP, format!("{names:?} cannot be merged: {why}"));
        if !parts.prompts.is_empty() {
            return Err(refused("a prompt is no change of a weight".to_string()));
        }
        let mut merging = Merging { paths: parts.slots.iter().map(|(path, _)| path.as_str()).collect(), layers: Vec::new(), error: None };
        self.model.visit(&mut Path::default(), &mut merging);
        match merging.error {
            Some((path, error)) => Err(refused(format!("{path}: {error}"))),
            None => Ok(merging.layers),
        }
    }
}

/// What changes places with what stands in a layer: a merged weight with the base's and the adapter.
#[derive(Clone)]
pub(crate) struct Merged {
    path: String,
    pub weight: Param,
    /// `None` where the bias stays.
    pub bias: Option<Param>,
    pub adapter: Option<BoxedAdapter>,
}

struct Merging<'a> {
    paths: BTreeSet<&'a str>,
    layers: Vec<Merged>,
    error: Option<(String, chainrule_autograd::Error)>,
}

impl Visitor for Merging<'_> {
    fn adapter(&mut self, path: &str, site: Site<'_>, adapter: Option<&dyn AnyAdapter>) {
        let Some(adapter) = adapter.filter(|_| self.error.is_none() && self.paths.contains(path)) else { return };
        match merged(&site, adapter) {
            Ok([weight, bias]) => {
                // A weight is there whatever the layer, so that the first is never missing.
                let weight = weight.unwrap_or_else(|| site.weight.clone());
                self.layers.push(Merged { path: path.to_string(), weight, bias, adapter: None });
            }
            Err(error) => self.error = Some((path.to_string(), error)),
        }
    }
}

/// A layer's weight and bias under this adapter; `None` where one stays as it is.
fn merged(site: &Site, adapter: &dyn AnyAdapter) -> chainrule_autograd::Result<[Option<Param>; 2]> {
    let held = adapter.held_weight()?;
    let constant = |before: &Param, value: Tensor| {
        if value.dims() != before.value.dims() {
            let message = format!("a merged parameter has shape {:?}, expected {:?}", value.shape(), before.value.shape());
            return Err(chainrule_autograd::Error::shape("merge", message));
        }
        let same = value.array().is_same(&before.value);
        // Another parameter than the base's, which a layer elsewhere may share.
        Ok((!same).then(|| Param { trainable: false, loaded: before.loaded, ..Param::new(value.into_array()) }))
    };
    let weight = constant(site.weight, adapter.merged(&Tensor::from(held.as_ref().unwrap_or(&site.weight.value)))?)?;
    let bias = site.bias.map(|bias| constant(bias, adapter.merged_bias(&Tensor::from(&bias.value))?)).transpose()?.flatten();
    Ok([weight, bias])
}

/// Lets the layers and what is in the list change places.
pub(crate) fn swap(model: &mut dyn Module, layers: &mut [Merged]) {
    struct Swap<'a>(std::slice::IterMut<'a, Merged>);
    impl VisitorMut for Swap<'_> {
        fn adapter(&mut self, path: &str, site: SiteMut<'_>) {
            if self.0.as_slice().first().is_none_or(|next| next.path != path) {
                return;
            }
            if let Some(own) = self.0.next() {
                std::mem::swap(&mut own.weight, site.weight);
                std::mem::swap(&mut own.adapter, site.adapter);
                if let (Some(own), Some(bias)) = (&mut own.bias, site.bias) {
                    std::mem::swap(own, bias);
                }
            }
        }
    }
    model.visit_mut(&mut Path::default(), &mut Swap(layers.iter_mut()));
}

/// The largest difference between outputs, an error if it is too large. What cannot be compared is no proof.
fn difference(before: &Array, after: &Array) -> Result<f64> {
    let numbers = |array: &Array| Ok::<_, Error>(Tensor::from(array).cast(DType::F64)?.to_vec::<f64>()?);
    let (y, z) = (numbers(before)?, numbers(after)?);
    if y.is_empty() || before.dims() != after.dims() {
        let message = format!("the outputs have shapes {:?} and {:?}, expected one shape, and some numbers to compare", before.shape(), after.shape());
        return Err(Error::adapter("merge", message));
    }
    let largest = |numbers: &mut dyn Iterator<Item = f64>| numbers.fold(0.0, |largest: f64, x| if x <= largest || largest.is_nan() { largest } else { x });
    let difference = largest(&mut y.iter().zip(&z).map(|(y, z)| (y - z).abs()));
    let allowed = ALLOWED * (1.0 + largest(&mut y.iter().map(|y| y.abs())));
    if difference <= allowed && difference.is_finite() { Ok(difference) } else { Err(Error::Merge { difference, allowed }) }
}
