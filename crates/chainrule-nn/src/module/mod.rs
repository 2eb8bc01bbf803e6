//! [`Module`]: whatever holds parameters and can be walked by path.

mod containers;

use crate::{AnyAdapter, AnyPrompt, BoxedPrompt, Buffer, Param, PromptSite, Site, SiteMut};
use chainrule_autograd::{Array, Device};
use std::fmt::{Display, Write};

/// A part of a model. `#[derive(Module)]` writes both walks.
///
/// Fields are walked in order; a field's path is its name, as in PyTorch's state dict. Of numbers, truth values and strings nothing is visited.
/// A field of a type that is no module needs `#[module(skip)]`; `#[module(flatten)]` puts a field's contents at the parent's path; `#[module(name = "…")]` names it otherwise.
/// An enum of alternatives can be a module too; the contents of `Alternative(layer)` stand at the enum's own path.
/// ```
/// use chainrule_autograd::{Array, DType};
/// use chainrule_nn::{Module, Param, params};
///
/// #[derive(Module, Clone)]
/// struct Gate { scale: Param, shift: Option<Param>, power: f64 }
///
/// #[derive(Module, Clone)]
/// struct Model { gates: Vec<Gate>, #[module(name = "last")] head: Param }
///
/// let param = || Ok::<_, chainrule_nn::Error>(Param::new(Array::zeros(&[2], DType::F32)?));
/// let model = Model { gates: vec![Gate { scale: param()?, shift: None, power: 2.0 }], head: param()? };
/// let mut paths = vec![];
/// params(&model, |path, _| paths.push(path.to_string()));
/// assert_eq!(paths, ["gates.0.scale", "last"]);
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a Module",
    label = "not a Module",
    note = "a field that holds no parameters is left out of the walk with #[module(skip)]",
    note = "a type that holds parameters becomes a Module with #[derive(Module)]"
)]
pub trait Module {
    /// Shows every parameter and buffer to the visitor, in order.
    fn visit(&self, path: &mut Path, visitor: &mut dyn Visitor);
    /// The same for writing.
    fn visit_mut(&mut self, path: &mut Path, visitor: &mut dyn VisitorMut);

    /// Moves all parameters, buffers and constants to a device: [`to_device`](crate::to_device).
    ///
    /// # Errors
    /// As [`to_device`](crate::to_device); then nothing was moved.
    fn to(&mut self, device: &Device) -> crate::Result<()>
    where
        Self: Sized,
    {
        crate::to_device(self, device)
    }
}

/// What a walk calls. Each method does nothing unless overridden.
pub trait Visitor {
    /// A module, before its contents.
    fn module(&mut self, path: &str, kind: Kind) {
        let _ = (path, kind);
    }
    /// A parameter.
    fn param(&mut self, path: &str, param: &Param) {
        let _ = (path, param);
    }
    /// A buffer.
    fn buffer(&mut self, path: &str, buffer: &Buffer) {
        let _ = (path, buffer);
    }
    /// Numbers that follow from the settings ([`Constant`](crate::Constant)).
    fn constant(&mut self, path: &str, value: &Array) {
        let _ = (path, value);
    }
    /// A layer's adapter slot, before the adapter's contents.
    fn adapter(&mut self, path: &str, site: Site<'_>, adapter: Option<&dyn AnyAdapter>) {
        let _ = (path, site, adapter);
    }
    /// A model's prompt slot, before the prompt's contents.
    fn prompt(&mut self, path: &str, site: PromptSite, prompt: Option<&dyn AnyPrompt>) {
        let _ = (path, site, prompt);
    }
}

/// What a walk for writing calls.
pub trait VisitorMut {
    /// A parameter.
    fn param(&mut self, path: &str, param: &mut Param) {
        let _ = (path, param);
    }
    /// A buffer.
    fn buffer(&mut self, path: &str, buffer: &mut Buffer) {
        let _ = (path, buffer);
    }
    /// Numbers that follow from the settings ([`Constant`](crate::Constant)).
    fn constant(&mut self, path: &str, value: &mut Array) {
        let _ = (path, value);
    }
    /// A layer's adapter slot, before the contents of the adapter that stands in it after this call.
    fn adapter(&mut self, path: &str, site: SiteMut<'_>) {
        let _ = (path, site);
    }
    /// A model's prompt slot, before the contents of the prompt that stands in it after this call.
    fn prompt(&mut self, path: &str, site: PromptSite, prompt: &mut Option<BoxedPrompt>) {
        let _ = (path, site, prompt);
    }
}

/// What a module is, and which one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Kind {
    name: &'static str,
    /// Modules of one kind that live at one time have different addresses, unless they hold nothing at all.
    address: usize,
}

impl Kind {
    /// This module.
    pub fn of<M: ?Sized>(module: &M) -> Kind {
        Kind { name: std::any::type_name::<M>(), address: std::ptr::from_ref(module).cast::<()>() as usize }
    }
    /// The type's name, without path and parameters: `Linear`.
    pub fn name(self) -> &'static str {
        let plain = self.name.split('<').next().unwrap_or(self.name);
        plain.rsplit("::").next().unwrap_or(plain)
    }
}

/// Where a walk stands: names joined by dots.
/// ```
/// let mut path = chainrule_nn::Path::default();
/// path.within("encoder", |path| path.within(2, |path| assert_eq!(path.as_str(), "encoder.2")));
/// assert_eq!(path.as_str(), "");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Path(String);

impl Path {
    /// Runs `f` one name further down.
    pub fn within(&mut self, name: impl Display, f: impl FnOnce(&mut Path)) {
        let before = self.0.len();
        if before > 0 {
            self.0.push('.');
        }
        // Writing to a string fails only if `Display` does; the path is then cut short, and restored all the same.
        let _ = write!(self.0, "{name}");
        f(self);
        self.0.truncate(before);
    }
    /// The path; empty at the root.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Display for Path {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
