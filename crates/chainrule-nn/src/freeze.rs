//! Which parameters are trained, selected by path, by number of layer, or by a function.

use crate::activations::modules;
use crate::{Error, Module, Param, Pattern, Result, nearest, params, params_mut};
use std::collections::BTreeMap;
use std::ops::{Bound, RangeBounds};

/// Makes the matching parameters constants: they get no gradient, nothing is recorded for them, and optimizers keep no state. Returns how many there are.
///
/// Of a batch norm whose parameters are all frozen the running statistics are frozen too: it infers, also in training.
/// ```
/// # use chainrule_autograd::{Array, DType};
/// # use chainrule_nn::{Module, Param, freeze};
/// #[derive(Module)]
/// struct Model { encoder: [Param; 2], head: Param }
/// let param = || Ok::<_, chainrule_nn::Error>(Param::new(Array::zeros(&[2], DType::F32)?));
/// let mut model = Model { encoder: [param()?, param()?], head: param()? };
/// assert_eq!(freeze(&mut model, "encoder.*")?, 2);
/// assert!(model.head.trainable && !model.encoder[1].trainable);
/// let error = freeze(&mut model, "haed").unwrap_err().to_string();
/// assert_eq!(error, "freeze: the pattern \"haed\" matches no parameter; near it are \"head\"");
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
///
/// # Errors
/// A [`Pattern`] that cannot be read, or that matches no parameter.
pub fn freeze(model: &mut dyn Module, pattern: &str) -> Result<usize> {
    set_trainable("freeze", model, pattern, false)
}

/// Makes the matching parameters trainable. Returns how many there are. Buffers are never trained.
///
/// # Errors
/// As for [`freeze`].
pub fn unfreeze(model: &mut dyn Module, pattern: &str) -> Result<usize> {
    set_trainable("unfreeze", model, pattern, true)
}

fn set_trainable(op: &'static str, model: &mut dyn Module, pattern: &str, trainable: bool) -> Result<usize> {
    let pattern = Pattern::new(pattern)?;
    match set_where(model, |path, _| pattern.matches(path), trainable) {
        0 => Err(pattern.no_match(op, "parameter", &paths(model))),
        matched => Ok(matched),
    }
}

/// Makes those parameters constants for which `chosen` says so, as [`freeze`] does. Returns how many there are.
/// ```
/// # use chainrule_autograd::Rng;
/// # use chainrule_nn::{Linear, count, freeze_where};
/// let mut linear = Linear::new(4, 3, &mut Rng::seeded(0))?;
/// assert_eq!(freeze_where(&mut linear, |_, param| param.value.rank() == 2)?, 1);
/// assert_eq!(count(&linear).trainable, 3);
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
///
/// # Errors
/// None was chosen.
pub fn freeze_where(model: &mut dyn Module, chosen: impl FnMut(&str, &Param) -> bool) -> Result<usize> {
    choose("freeze_where", model, chosen, false)
}

/// Makes those parameters trainable for which `chosen` says so. Returns how many there are.
///
/// # Errors
/// None was chosen.
pub fn unfreeze_where(model: &mut dyn Module, chosen: impl FnMut(&str, &Param) -> bool) -> Result<usize> {
    choose("unfreeze_where", model, chosen, true)
}

fn choose(op: &'static str, model: &mut dyn Module, chosen: impl FnMut(&str, &Param) -> bool, trainable: bool) -> Result<usize> {
    match set_where(model, chosen, trainable) {
        0 => Err(value(op, format!("none of the {} parameters was chosen", paths(model).len()))),
        matched => Ok(matched),
    }
}

/// Makes constants of the parameters of some of the numbered layers below a path: of `encoder.layer.0`, `encoder.layer.1`, … for `"encoder.layer"`, of a [`Sequential`](crate::Sequential) for `""`. Returns how many there are.
/// ```
/// # use chainrule_autograd::Rng;
/// # use chainrule_nn::{Linear, Relu, Sequential, freeze_layers};
/// let rng = &mut Rng::seeded(0);
/// let mut model = Sequential::new().add(Linear::new(4, 8, rng)?).add(Relu).add(Linear::new(8, 2, rng)?);
/// assert_eq!(freeze_layers(&mut model, "", ..2)?, 2);
/// let error = freeze_layers(&mut model, "", 2..9).unwrap_err().to_string();
/// assert_eq!(error, "freeze_layers: got the layers 2..9 of \"\", which are 0..3");
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
///
/// # Errors
/// A path without numbered layers; layers that are not there, or that hold no parameters.
pub fn freeze_layers(model: &mut dyn Module, path: &str, layers: impl RangeBounds<usize>) -> Result<usize> {
    set_layers("freeze_layers", model, path, (layers.start_bound().cloned(), layers.end_bound().cloned()), false)
}

/// Makes the parameters of some of the numbered layers below a path trainable. Returns how many there are.
///
/// # Errors
/// As for [`freeze_layers`].
pub fn unfreeze_layers(model: &mut dyn Module, path: &str, layers: impl RangeBounds<usize>) -> Result<usize> {
    set_layers("unfreeze_layers", model, path, (layers.start_bound().cloned(), layers.end_bound().cloned()), true)
}

fn set_layers(op: &'static str, model: &mut dyn Module, path: &str, (start, end): (Bound<usize>, Bound<usize>), trainable: bool) -> Result<usize> {
    let stacks = stacks(model);
    let Some(&count) = stacks.get(path) else {
        let names: Vec<String> = stacks.into_keys().collect();
        let near = nearest::paths(&[path.to_string()], &names).into_iter().filter(|near| names.contains(near)).collect::<Vec<_>>();
        let near = if near.is_empty() { names.into_iter().take(3).collect() } else { near };
        return Err(Error::NoMatch { op, pattern: path.to_string(), what: "path of numbered layers", near });
    };
    let start = match start {
        Bound::Included(start) => start,
        Bound::Excluded(before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match end {
        Bound::Included(last) => last.saturating_add(1),
        Bound::Excluded(end) => end,
        Bound::Unbounded => count,
    };
    if start >= end || end > count {
        return Err(value(op, format!("got the layers {start}..{end} of \"{path}\", which are 0..{count}")));
    }
    let chosen = |at: &str| numbered(at).any(|(above, layer)| above == path && (start..end).contains(&layer));
    match set_where(model, |path, _| chosen(path), trainable) {
        0 => Err(value(op, format!("the layers {start}..{end} of \"{path}\" hold no parameters"))),
        matched => Ok(matched),
    }
}

/// The paths below which layers are numbered, and how many there are.
fn stacks(model: &dyn Module) -> BTreeMap<String, usize> {
    let mut stacks: BTreeMap<String, usize> = BTreeMap::new();
    let mut see = |path: &str| {
        for (above, layer) in numbered(path) {
            let count = stacks.entry(above.to_string()).or_default();
            *count = (*count).max(layer.saturating_add(1));
        }
    };
    params(model, |path, _| see(path));
    // Layers without parameters are counted too.
    modules(model, |path, _| see(path));
    stacks
}

/// The numbers in a path, each with the path above it.
fn numbered(path: &str) -> impl Iterator<Item = (&str, usize)> {
    let mut from = 0;
    path.split('.').filter_map(move |name| {
        let above = path[..from].trim_end_matches('.');
        from += name.len() + 1;
        name.parse().ok().map(|layer| (above, layer))
    })
}

fn set_where(model: &mut dyn Module, mut chosen: impl FnMut(&str, &Param) -> bool, trainable: bool) -> usize {
    let mut matched = 0;
    params_mut(model, |path, param| {
        if chosen(path, param) {
            param.trainable = trainable;
            matched += 1;
        }
    });
    matched
}

fn paths(model: &dyn Module) -> Vec<String> {
    let mut paths = Vec::new();
    params(model, |path, _| paths.push(path.to_string()));
    paths
}

fn value(op: &'static str, message: String) -> Error {
    chainrule_autograd::Error::value(op, message).into()
}

/// The same model, all of whose parameters are constants: a critic through which the generator learns, a teacher. It keeps identities and shares numbers.
/// ```
/// # use chainrule_autograd::{Array, DType};
/// # use chainrule_nn::{Param, frozen};
/// let critic = Param::new(Array::zeros(&[2], DType::F32)?);
/// assert!(!frozen(&critic).trainable && critic.trainable);
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
pub fn frozen<M: Module + Clone>(model: &M) -> M {
    let mut copy = model.clone();
    params_mut(&mut copy, |_, param| param.trainable = false);
    copy
}

/// How many numbers a model's parameters hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// In all parameters.
    pub all: usize,
    /// In those that are trained.
    pub trainable: usize,
}

/// Counts the numbers in a model's parameters. Buffers do not count.
/// ```
/// # use chainrule_autograd::{Array, DType};
/// # use chainrule_nn::{Param, count};
/// let param = Param::new(Array::zeros(&[2, 3], DType::F32)?);
/// assert_eq!(count(&param).trainable, 6);
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
pub fn count(model: &dyn Module) -> Count {
    let mut count = Count::default();
    params(model, |_, param| {
        count.all += param.value.count();
        count.trainable += if param.trainable { param.value.count() } else { 0 };
    });
    count
}
