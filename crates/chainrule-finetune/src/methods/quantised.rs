//! Quantised bases (Dettmers et al. 2023, "QLoRA: Efficient Finetuning of Quantized LLMs"): frozen weights in 4 or 8 bits, adapters of full precision above them.

use crate::layered::Above;
use crate::{Result, Targets};
use chainrule_autograd::{Array, Error, Nested, Quantisation, Quantised, Shape, Tensor};
use chainrule_nn::{Adapter, AnyAdapter, BoxedAdapter, Buffer, Module, Operation, Path, Site, SiteMut, SpectralNorm, Visitor, VisitorMut, WeightNorm};
use std::any::Any;

/// Brings the weights of these layers into few bits (see [`Quantisation`]); returns how many layers there are.
///
/// A layer then holds its weight in its adapter slot, below all adapters, and computes with it made dense for a moment; biases stay as they are. The weight gets no gradient any more.
/// State dicts show the packed arrays, `weight.codes`, `weight.scales`, …, so that saving and loading work between models that are quantised alike; dense weights do not load into a quantised model.
/// Convolutions run a second time on the way back, as under a checkpoint. Weights inside recurrent layers stay dense.
/// ```
/// use chainrule_autograd::{DType, Quantisation, Rng, Tensor};
/// use chainrule_finetune::{Adapted, Lora, dequantise, quantise};
/// use chainrule_nn::{Layer, Linear, Relu, Sequential, count};
/// let rng = &mut Rng::seeded(0);
/// let mut base = Sequential::new().add(Linear::new(64, 128, rng)?).add(Relu).add(Linear::new(128, 2, rng)?);
/// assert_eq!(quantise(&mut base, Quantisation::nf4(), ["0"])?, 1);
///
/// let mut model = Adapted::new(base);
/// model.add("mine", Lora::rank(4), rng)?; // QLoRA
/// assert_eq!(count(&model).trainable, 4 * (64 + 128) + 4 * (128 + 2));
/// let mut base = model.into_base();
/// assert_eq!(dequantise(&mut base)?, 1);
/// # assert_eq!(base.forward(&Tensor::ones(&[1, 64], DType::F32)?)?.dims(), [1, 2]);
/// # Ok::<(), chainrule_finetune::Error>(())
/// ```
///
/// # Errors
/// Targets that mean no layer with a weight of its own; a weight that is held in another form already, is normalised as it is read, is not of floats, or not finite; no memory. Nothing is changed then.
pub fn quantise(model: &mut dyn Module, how: Quantisation, targets: impl Into<Targets>) -> Result<usize> {
    let mut packing = Packing { how, targets: targets.into(), layers: Vec::new(), packed: Vec::new(), error: None };
    model.visit(&mut Path::default(), &mut packing);
    let Packing { targets, layers, packed, error, .. } = packing;
    if let Some(error) = error {
        return Err(error.into());
    }
    let meant: Vec<String> = packed.iter().map(|(path, _)| path.clone()).collect();
    targets.check("quantise", "layer with a weight of its own", &meant, &layers)?;
    place(model, packed, |site, (weight, place)| {
        site.weight.value = place;
        // A frozen place, and frozen it stays: what has few bits cannot be trained.
        site.weight.trainable = false;
        *site.adapter = Some(below(site.adapter.take(), weight));
    });
    Ok(meant.len())
}

/// The weight at the bottom of what stands in the slot.
fn below(slot: Option<BoxedAdapter>, weight: QuantisedWeight) -> BoxedAdapter {
    let Some(adapter) = slot else { return Box::new(weight) };
    if !(&*adapter as &dyn Any).is::<Above>() {
        return Box::new(Above { below: Box::new(weight), above: adapter });
    }
    match (adapter as Box<dyn Any>).downcast::<Above>() {
        Ok(both) => Box::new(Above { below: below(Some(both.below), weight), above: both.above }),
        Err(_) => Box::new(weight),
    }
}

/// Makes all weights dense that an adapter holds in another form, and takes that adapter out; others above it stay. Returns how many layers there are.
///
/// # Errors
/// No memory. Nothing is changed then.
pub fn dequantise(model: &mut dyn Module) -> Result<usize> {
    #[derive(Default)]
    struct Unpacking {
        dense: Vec<(String, Array)>,
        error: Option<chainrule_nn::Error>,
    }
    impl Visitor for Unpacking {
        fn adapter(&mut self, path: &str, _: Site<'_>, adapter: Option<&dyn AnyAdapter>) {
            match adapter.map_or(Ok(None), |adapter| adapter.held_weight()) {
                Ok(dense) => self.dense.extend(dense.map(|dense| (path.to_string(), dense))),
                Err(source) => _ = self.error.get_or_insert(chainrule_nn::Error::Located { path: path.to_string(), source }),
            }
        }
    }
    let mut unpacking = Unpacking::default();
    model.visit(&mut Path::default(), &mut unpacking);
    if let Some(error) = unpacking.error {
        return Err(error.into());
    }
    let count = unpacking.dense.len();
    place(model, unpacking.dense, |site, dense| {
        site.weight.value = dense;
        *site.adapter = site.adapter.take().and_then(without_holder);
    });
    Ok(count)
}

/// What is left of an adapter without the one at the bottom that holds the weight.
fn without_holder(adapter: BoxedAdapter) -> Option<BoxedAdapter> {
    if !adapter.holds_weight() {
        return Some(adapter);
    }
    let Above { below, above } = *(adapter as Box<dyn Any>).downcast::<Above>().ok()?;
    Some(match without_holder(below) {
        Some(below) => Box::new(Above { below, above }),
        None => above,
    })
}

/// Gives each layer in the list, which is in the order of a walk, what is there for it.
fn place<T>(model: &mut dyn Module, list: Vec<(String, T)>, put: impl FnMut(SiteMut<'_>, T)) {
    struct Place<T, F>(std::iter::Peekable<std::vec::IntoIter<(String, T)>>, F);
    impl<T, F: FnMut(SiteMut<'_>, T)> VisitorMut for Place<T, F> {
        fn adapter(&mut self, path: &str, site: SiteMut<'_>) {
            if let Some((_, own)) = self.0.next_if(|(next, _)| next == path) {
                (self.1)(site, own);
            }
        }
    }
    model.visit_mut(&mut Path::default(), &mut Place(list.into_iter().peekable(), put));
}

struct Packing {
    how: Quantisation,
    targets: Targets,
    layers: Vec<String>,
    /// The weight in few bits, and what stands in its place.
    packed: Vec<(String, (QuantisedWeight, Array))>,
    error: Option<chainrule_nn::Error>,
}

impl Packing {
    fn pack(&self, path: &str, site: &Site, adapter: Option<&dyn AnyAdapter>) -> chainrule_nn::Result<Option<(QuantisedWeight, Array)>> {
        if !self.targets.match_path(path, Some(site.operation))? {
            return Ok(None);
        }
        if adapter.is_some_and(|adapter| adapter.holds_weight()) {
            return Err(Error::value("quantise", "the weight is held in another form already; dequantise it first").into());
        }
        if adapter.is_some_and(|adapter| (adapter as &dyn Any).is::<WeightNorm>() || (adapter as &dyn Any).is::<SpectralNorm>()) {
            return Err(Error::value("quantise", "the weight is normalised whenever it is read; merge the norm first, or leave the layer out").into());
        }
        let weight = &site.weight.value;
        // Of NaN, so that whoever reads it sees at once that it is not there.
        let place = Array::full(&[1], f64::NAN, weight.dtype())?.broadcast_to(weight.dims())?;
        Ok(Some((QuantisedWeight::new(Tensor::from(weight).quantise(&self.how)?), place)))
    }
}

impl Visitor for Packing {
    fn adapter(&mut self, path: &str, site: Site<'_>, adapter: Option<&dyn AnyAdapter>) {
        // Recurrent layers read their weights as they are.
        if self.error.is_some() || site.operation == Operation::Weight {
            return;
        }
        self.layers.push(path.to_string());
        match self.pack(path, &site, adapter) {
            Ok(packed) => self.packed.extend(packed.map(|packed| (path.to_string(), packed))),
            Err(chainrule_nn::Error::Autograd(source)) => self.error = Some(chainrule_nn::Error::Located { path: path.to_string(), source }),
            Err(error) => self.error = Some(error),
        }
    }
}

/// What stands in a layer's slot in place of its weight.
#[derive(Module, Clone)]
pub struct QuantisedWeight {
    /// Bytes, a row of them for each row of the weight.
    #[module(name = "weight.codes")]
    pub codes: Buffer,
    /// One for each block.
    #[module(name = "weight.scales")]
    pub scales: Buffer,
    /// With double quantisation.
    #[module(name = "weight.scale_offset")]
    pub offset: Option<Buffer>,
    /// With double quantisation.
    #[module(name = "weight.scale_steps")]
    pub steps: Option<Buffer>,
    #[module(skip)]
    how: Quantisation,
    #[module(skip)]
    shape: Shape,
}

impl QuantisedWeight {
    /// For a slot.
    pub fn new(weight: Quantised) -> QuantisedWeight {
        let Quantised { how, shape, codes, scales, nested } = weight;
        let [offset, steps] = nested.map_or([None, None], |Nested { offset, steps }| [Some(Buffer::new(offset)), Some(Buffer::new(steps))]);
        QuantisedWeight { codes: Buffer::new(codes), scales: Buffer::new(scales), offset, steps, how, shape }
    }

    /// The weight, sharing its arrays.
    pub fn weight(&self) -> Quantised {
        let nested = self.offset.as_ref().zip(self.steps.as_ref()).map(|(offset, steps)| Nested { offset: offset.value.clone(), steps: steps.value.clone() });
        Quantised { how: self.how, shape: self.shape, codes: self.codes.value.clone(), scales: self.scales.value.clone(), nested }
    }

    fn apply(&self, x: &Tensor, site: &Site) -> chainrule_autograd::Result<Tensor> {
        let weight = self.weight();
        match site.operation {
            Operation::Linear => x.linear_quantised(&weight, site.bias.map(|bias| bias.on(x)).transpose()?.as_ref()),
            Operation::Embedding { .. } => x.embedding_quantised(&weight),
            operation => {
                let bias = site.bias.cloned();
                x.checkpoint(move |x| {
                    let bias = bias.as_ref().map(|bias| bias.on(x)).transpose()?;
                    operation.apply(x, &Tensor::from(weight.dequantise()?), bias.as_ref())
                })
            }
        }
    }
}

impl Adapter for QuantisedWeight {
    fn adapt(&self, x: &Tensor, site: &Site) -> chainrule_autograd::Result<Tensor> {
        self.apply(x, site).map_err(|error| match error {
            Error::At { .. } => error,
            error => error.at(self.codes.id),
        })
    }
    /// It is the weight that it holds, and changes none.
    fn merged(&self, weight: &Tensor) -> chainrule_autograd::Result<Tensor> {
        Ok(weight.clone())
    }
    fn holds_weight(&self) -> bool {
        true
    }
    fn held_weight(&self) -> chainrule_autograd::Result<Option<Array>> {
        Ok(Some(self.weight().dequantise()?))
    }
}
