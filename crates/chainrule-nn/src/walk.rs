//! Walks over a model's parameters and buffers, as closures.

use crate::{Buffer, Error, Module, Param, Path, Visitor, VisitorMut};
use chainrule_autograd::ParamId;

/// Shows every parameter with its path to `f`, in order.
/// ```
/// # use chainrule_autograd::{Array, DType};
/// # use chainrule_nn::{Param, params};
/// let pair = vec![Param::new(Array::zeros(&[2], DType::F32)?), Param::new(Array::zeros(&[3], DType::F32)?)];
/// let mut count = 0;
/// params(&pair, |_path, param| count += param.value.count());
/// assert_eq!(count, 5);
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
pub fn params(model: &dyn Module, f: impl FnMut(&str, &Param)) {
    struct Each<F>(F);
    impl<F: FnMut(&str, &Param)> Visitor for Each<F> {
        fn param(&mut self, path: &str, param: &Param) {
            (self.0)(path, param);
        }
    }
    model.visit(&mut Path::default(), &mut Each(f));
}

/// The same for writing.
pub fn params_mut(model: &mut dyn Module, f: impl FnMut(&str, &mut Param)) {
    struct Each<F>(F);
    impl<F: FnMut(&str, &mut Param)> VisitorMut for Each<F> {
        fn param(&mut self, path: &str, param: &mut Param) {
            (self.0)(path, param);
        }
    }
    model.visit_mut(&mut Path::default(), &mut Each(f));
}

/// Shows every buffer with its path to `f`, in order.
pub fn buffers(model: &dyn Module, f: impl FnMut(&str, &Buffer)) {
    struct Each<F>(F);
    impl<F: FnMut(&str, &Buffer)> Visitor for Each<F> {
        fn buffer(&mut self, path: &str, buffer: &Buffer) {
            (self.0)(path, buffer);
        }
    }
    model.visit(&mut Path::default(), &mut Each(f));
}

/// The same for writing.
pub fn buffers_mut(model: &mut dyn Module, f: impl FnMut(&str, &mut Buffer)) {
    struct Each<F>(F);
    impl<F: FnMut(&str, &mut Buffer)> VisitorMut for Each<F> {
        fn buffer(&mut self, path: &str, buffer: &mut Buffer) {
            (self.0)(path, buffer);
        }
    }
    model.visit_mut(&mut Path::default(), &mut Each(f));
}

/// A copy with identities of its own, to be used beside the original on one tape. The numbers are shared until one of the two is changed.
/// ```
/// # use chainrule_autograd::{Array, DType};
/// # use chainrule_nn::{Param, independent};
/// let param = Param::new(Array::zeros(&[2], DType::F32)?);
/// assert_eq!(param.clone().id, param.id);
/// assert_ne!(independent(&param).id, param.id);
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
pub fn independent<M: Module + Clone>(model: &M) -> M {
    let mut copy = model.clone();
    params_mut(&mut copy, |_, param| param.id = ParamId::fresh());
    buffers_mut(&mut copy, |_, buffer| buffer.id = ParamId::fresh());
    copy
}

/// Puts the path into an error that knows only the parameter: the path of the layer that holds it.
/// ```
/// # use chainrule_autograd::{Array, DType, Error, Result, Tensor};
/// # use chainrule_nn::{Module, Param, locate};
/// #[derive(Module)]
/// struct Scale { weight: Param }
/// #[derive(Module)]
/// struct Model { first: Scale }
/// let model = Model { first: Scale { weight: Param::new(Array::zeros(&[2], DType::F32)?) } };
/// let x = Tensor::zeros(&[3], DType::F32)?;
/// let weight = &model.first.weight;
/// let error = weight.at(x.add(&weight.on(&x)?)).unwrap_err();
/// assert!(locate(&model, error).to_string().starts_with("first: add: "));
/// # Ok::<(), Error>(())
/// ```
pub fn locate(model: &dyn Module, error: chainrule_autograd::Error) -> Error {
    let chainrule_autograd::Error::At { id, source } = error else { return error.into() };
    let found = path_of(model, id);
    match found {
        Some(path) => Error::Located { path: path.rsplit_once('.').map_or(path.as_str(), |(layer, _)| layer).to_string(), source: *source },
        None => chainrule_autograd::Error::At { id, source }.into(),
    }
}

/// The path at which the model first shows this parameter or buffer.
pub fn path_of(model: &dyn Module, id: ParamId) -> Option<String> {
    let mut found = None;
    params(model, |path, param| {
        if param.id == id && found.is_none() {
            found = Some(path.to_string());
        }
    });
    buffers(model, |path, buffer| {
        if buffer.id == id && found.is_none() {
            found = Some(path.to_string());
        }
    });
    found
}
