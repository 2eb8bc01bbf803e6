//! State dicts: a model's parameters and buffers by path, as in PyTorch.

use super::report::{LoadReport, Mismatch, Unmatched};
use super::safetensors::{self, Safetensors};
use super::source::{Arrays, Source};
use crate::{Error, Module, Path, Pattern, Result, Visitor, VisitorMut, buffers, nearest, params};
use chainrule_autograd::{Array, DType, Device};
use std::collections::BTreeMap;

/// Arrays by path.
pub type StateDict = BTreeMap<String, Array>;

/// A model's parameters and buffers by path (PyTorch's `state_dict`). The arrays are shared, not copied.
/// ```
/// # use chainrule_autograd::Rng;
/// # use chainrule_nn::{Linear, load_state_dict, state_dict};
/// let mut rng = Rng::seeded(0);
/// let (one, mut other) = (Linear::new(3, 2, &mut rng)?, Linear::new(3, 2, &mut rng)?);
/// let state = state_dict(&one)?;
/// assert_eq!(state.keys().collect::<Vec<_>>(), ["bias", "weight"]);
/// let report = load_state_dict(&mut other, &state)?;
/// assert_eq!(report.loaded.len(), 2);
/// assert!(other.weight.value.is_same(&one.weight.value));
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
///
/// # Errors
/// Two parameters or buffers at one path, which `#[module(name)]` and `#[module(flatten)]` can bring about.
pub fn state_dict(model: &dyn Module) -> Result<StateDict> {
    let mut state = StateDict::new();
    let mut twice = None;
    let mut put = |path: &str, value: &Array| {
        if state.insert(path.to_string(), value.clone()).is_some() {
            twice = Some(path.to_string());
        }
    };
    params(model, |path, param| put(path, &param.value));
    buffers(model, |path, buffer| put(path, &buffer.value));
    match twice {
        Some(path) => Err(Error::TwoAtOnePath { path }),
        None => Ok(state),
    }
}

/// Puts arrays into the model by path, converted to the model's element types. All or nothing.
///
/// # Errors
/// A path that is missing, a name that the model lacks, a wrong shape: the error holds the [`LoadReport`], and nothing was changed.
pub fn load_state_dict(model: &mut dyn Module, state: &StateDict) -> Result<LoadReport> {
    load_from(model, &mut Arrays::of(state), &Loading::default())
}

/// Puts in what fits, and reports the rest.
///
/// # Errors
/// No memory for a conversion; then nothing was changed.
pub fn load_state_dict_partly(model: &mut dyn Module, state: &StateDict) -> Result<LoadReport> {
    load_from(model, &mut Arrays::of(state), &Loading::partly())
}

/// Saves a model's parameters and buffers as safetensors. The file appears whole or not at all.
/// ```no_run
/// # use chainrule_autograd::Rng;
/// # use chainrule_nn::{Linear, load, save};
/// let mut model = Linear::new(3, 2, &mut Rng::seeded(0))?;
/// save(&model, "model.safetensors")?;
/// println!("{}", load(&mut model, "model.safetensors")?);
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
///
/// # Errors
/// A file that cannot be written; two parameters at one path.
pub fn save(model: &dyn Module, file: impl AsRef<std::path::Path>) -> Result<()> {
    // Some Python readers ask for this entry: numbers and names are as PyTorch lays them out.
    safetensors::write(file, &state_dict(model)?, &[("format".to_string(), "pt".to_string())].into())
}

/// Loads a safetensors file into the model, like [`load_state_dict`]. Shapes are compared before any numbers are read.
///
/// # Errors
/// A file that cannot be read or is damaged; names or shapes that do not fit. Nothing was changed then.
pub fn load(model: &mut dyn Module, file: impl AsRef<std::path::Path>) -> Result<LoadReport> {
    load_from(model, &mut Safetensors::open(file)?, &Loading::default())
}

/// Loads what fits from a safetensors file, and reports the rest.
///
/// # Errors
/// A file that cannot be read or is damaged. Nothing was changed then.
pub fn load_partly(model: &mut dyn Module, file: impl AsRef<std::path::Path>) -> Result<LoadReport> {
    load_from(model, &mut Safetensors::open(file)?, &Loading::partly())
}

/// Converts all floating-point parameters and buffers; integers stay as they are. All or nothing.
/// ```
/// # use chainrule_autograd::{DType, Rng};
/// # use chainrule_nn::{Linear, to_dtype};
/// let mut linear = Linear::new(3, 2, &mut Rng::seeded(0))?;
/// to_dtype(&mut linear, DType::F64)?;
/// assert_eq!(linear.weight.value.dtype(), DType::F64);
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
///
/// # Errors
/// An element type that is not floating-point; two parameters at one path; no memory.
pub fn to_dtype(model: &mut dyn Module, dtype: DType) -> Result<()> {
    if !dtype.is_float() {
        return Err(chainrule_autograd::Error::value("to_dtype", format!("got {dtype}, expected a floating-point type")).into());
    }
    let mut converted = StateDict::new();
    for (path, value) in state_dict(model)? {
        if value.dtype().is_float() && value.dtype() != dtype {
            converted.insert(path, value.cast(dtype)?);
        }
    }
    assign(model, converted, false);
    Ok(())
}

/// Moves all parameters, buffers and constants to a device (PyTorch's `Module.to`). All or nothing. What the model computes with must stand there too.
/// ```
/// # use chainrule_autograd::{Device, DType, Rng, Tensor};
/// # use chainrule_nn::{Layer, Linear, to_device};
/// let device = Device::best();
/// let mut linear = Linear::new(3, 2, &mut Rng::seeded(0))?;
/// to_device(&mut linear, &device)?;
/// let y = linear.forward(&Tensor::ones(&[4, 3], DType::F32)?.to(&device)?)?;
/// assert_eq!(y.device(), device);
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
///
/// # Errors
/// A device that is missing or failed; no memory there; two parameters at one path.
pub fn to_device(model: &mut dyn Module, device: &Device) -> Result<()> {
    let mut moved = StateDict::new();
    for (path, value) in state_dict(model)? {
        if value.device() != *device {
            moved.insert(path, value.to(device)?);
        }
    }
    let constants = Constants::of(model, device)?;
    assign(model, moved, false);
    model.visit_mut(&mut Path::default(), &mut constants.into_iter());
    Ok(())
}

/// A model's constants, moved, in the order of a walk.
struct Constants<'a> {
    device: &'a Device,
    moved: chainrule_autograd::Result<Vec<Array>>,
}

impl Constants<'_> {
    fn of(model: &dyn Module, device: &Device) -> Result<Vec<Array>> {
        let mut constants = Constants { device, moved: Ok(Vec::new()) };
        model.visit(&mut Path::default(), &mut constants);
        Ok(constants.moved?)
    }
}

impl Visitor for Constants<'_> {
    fn constant(&mut self, _: &str, value: &Array) {
        if let Ok(moved) = &mut self.moved {
            match value.to(self.device) {
                Ok(there) => moved.push(there),
                Err(error) => self.moved = Err(error.into()),
            }
        }
    }
}

/// Puts the next array into each constant.
impl VisitorMut for std::vec::IntoIter<Array> {
    fn constant(&mut self, _: &str, value: &mut Array) {
        if let Some(there) = self.next() {
            *value = there;
        }
    }
}

/// How exactly a source and a model must fit. The default: every path of the model is loaded, and nothing else is there.
#[derive(Clone, Debug, Default)]
pub struct Loading {
    /// Whether whatever does not fit is reported only.
    pub partly: bool,
    /// Paths of the model that the source may lack; they keep their numbers.
    pub may_lack: Vec<Pattern>,
}

impl Loading {
    /// What fits is loaded, the rest reported.
    pub fn partly() -> Loading {
        Loading { partly: true, ..Loading::default() }
    }
}

/// Loads a model from any source, converted to the model's element types: the one function behind [`load`], [`load_state_dict`] and the readers of other formats. All or nothing.
///
/// # Errors
/// Names or shapes that do not fit, unless they may; a pattern that matches no path of the model; numbers that cannot be read. Nothing was changed then.
pub fn load_from(model: &mut dyn Module, source: &mut dyn Source, loading: &Loading) -> Result<LoadReport> {
    let own = state_dict(model)?;
    for pattern in &loading.may_lack {
        pattern.check_matches("allow_missing", "path of the model", own.keys())?;
    }
    let mut report = LoadReport::default();
    let contents = source.contents();
    for (path, value) in &own {
        match contents.get(path) {
            None if loading.may_lack.iter().any(|p| p.matches(path)) => report.kept.push(path.clone()),
            None => report.missing.push(Unmatched { name: path.clone(), nearest: None }),
            Some(entry) if entry.dims() != value.dims() || !entry.converts_to(value.dtype()) => {
                let (got, expected) = ((entry.type_name().to_string(), entry.dims().to_vec()), (value.dtype(), value.dims().to_vec()));
                report.mismatched.push(Mismatch { path: path.clone(), got, expected });
            }
            Some(_) => report.loaded.push(path.clone()),
        }
    }
    report.unexpected = contents.keys().filter(|name| !own.contains_key(*name)).map(|name| Unmatched { name: name.clone(), nearest: None }).collect();
    name_nearest(&mut report);
    if !loading.partly && !report.is_complete() {
        report.loaded.clear();
        return Err(Error::Load(Box::new(report)));
    }
    let mut arrays = StateDict::new();
    for path in &report.loaded {
        arrays.insert(path.clone(), source.read(path, own[path].dtype())?.to(&own[path].device())?);
    }
    assign(model, arrays, true);
    Ok(report)
}

/// Beyond so many a message names no nearest any more.
const MOST_NAMED: usize = 64;

fn name_nearest(report: &mut LoadReport) {
    let names = |list: &[Unmatched]| list.iter().map(|u| u.name.clone()).collect::<Vec<_>>();
    let (missing, unexpected) = (names(&report.missing), names(&report.unexpected));
    for (list, others) in [(&mut report.missing, unexpected), (&mut report.unexpected, missing)] {
        for entry in list.iter_mut().take(MOST_NAMED) {
            entry.nearest = nearest::name(&entry.name, others.iter().map(String::as_str));
        }
    }
}

/// Writes the arrays to their paths. Nothing here can fail.
fn assign(model: &mut dyn Module, arrays: StateDict, loaded: bool) {
    struct Assign(StateDict, bool);
    impl VisitorMut for Assign {
        fn param(&mut self, path: &str, param: &mut crate::Param) {
            if let Some(value) = self.0.remove(path) {
                param.value = value;
                param.loaded |= self.1;
            }
        }
        fn buffer(&mut self, path: &str, buffer: &mut crate::Buffer) {
            if let Some(value) = self.0.remove(path) {
                buffer.value = value;
            }
        }
    }
    model.visit_mut(&mut Path::default(), &mut Assign(arrays, loaded));
}
