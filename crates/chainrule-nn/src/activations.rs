//! A look at what happens inside a model, by path: what its layers give ([`activations`]), and the gradients that come back to them ([`gradient_hook`]).

use crate::{Kind, Module, Path, Visitor};
use chainrule_autograd::Tensor;
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

thread_local! {
    /// Who looks, while [`activations`] or [`gradient_hook`] runs on this thread. No result depends on it.
    static LOOKING: RefCell<Option<Looking>> = const { RefCell::new(None) };
}

struct Looking {
    paths: HashMap<Kind, Vec<String>>,
    /// Several layers without contents may share one address; they are then told apart by their order.
    turn: HashMap<Kind, usize>,
    what: What,
}

/// Sees a path and a gradient.
type Hook = dyn Fn(&str, &Tensor) + Send + Sync;

enum What {
    Outputs(Vec<(String, Tensor)>),
    Gradients(Arc<Hook>),
}

impl Looking {
    fn at(model: &dyn Module, what: What) -> Looking {
        let mut paths: HashMap<Kind, Vec<String>> = HashMap::new();
        modules(model, |path, kind| paths.entry(kind).or_default().push(path.to_string()));
        Looking { paths, turn: HashMap::new(), what }
    }

    /// The path of the layer that reports now; `None` for one of another model.
    fn path(&mut self, kind: Kind) -> Option<String> {
        let candidates = self.paths.get(&kind)?;
        let turn = self.turn.entry(kind).or_default();
        *turn += 1;
        Some(candidates[(*turn - 1) % candidates.len()].clone())
    }

    fn see(&mut self, kind: Kind, output: Tensor) -> Tensor {
        let Some(path) = self.path(kind) else { return output };
        match &mut self.what {
            What::Outputs(outputs) => outputs.push((path, output.clone())),
            What::Gradients(hook) => {
                let hook = hook.clone();
                return output.on_gradient(move |gradient| hook(&path, gradient)).unwrap_or(output);
            }
        }
        output
    }

    /// Runs `f` while this one looks; whoever looked before looks on afterwards, also when `f` panics.
    fn during<T>(self, f: impl FnOnce() -> T) -> (T, Option<Looking>) {
        struct Restore(Option<Looking>);
        impl Drop for Restore {
            fn drop(&mut self) {
                LOOKING.set(self.0.take());
            }
        }
        let outer = Restore(LOOKING.replace(Some(self)));
        let result = f();
        let own = LOOKING.take();
        drop(outer);
        (result, own)
    }
}

/// Whether somebody looks.
pub(crate) fn is_observed() -> bool {
    LOOKING.with_borrow(|looking| looking.is_some())
}

/// Shows a layer's output to whoever looks ([`activations`], [`gradient_hook`]), and returns it. The library's layers do so; a layer of one's own may.
pub fn observed<M: ?Sized>(layer: &M, output: Tensor) -> Tensor {
    LOOKING.with_borrow_mut(|looking| match looking {
        Some(looking) => looking.see(Kind::of(layer), output),
        None => output,
    })
}

/// Runs `f`, and returns beside its result what each layer of the model gave, by path, in the order in which they ran.
/// ```
/// # use chainrule_autograd::{DType, Error, Rng, Tensor};
/// # use chainrule_nn::{Layer, Linear, Relu, Sequential, activations};
/// let mut rng = Rng::seeded(0);
/// let model = Sequential::new().add(Linear::new(4, 3, &mut rng)?).add(Relu);
/// let x = Tensor::ones(&[2, 4], DType::F32)?;
/// let (y, layers) = activations(&model, || model.forward(&x));
/// assert_eq!(layers[0].0, "0");
/// assert_eq!(layers[0].1.dims(), [2, 3]);
/// assert_eq!(layers[1].1.to_vec::<f32>()?, y?.to_vec::<f32>()?);
/// # Ok::<(), Error>(())
/// ```
pub fn activations<T>(model: &dyn Module, f: impl FnOnce() -> T) -> (T, Vec<(String, Tensor)>) {
    let (result, looking) = Looking::at(model, What::Outputs(Vec::new())).during(f);
    match looking {
        Some(Looking { what: What::Outputs(outputs), .. }) => (result, outputs),
        _ => (result, Vec::new()),
    }
}

/// Runs `f`, a forward pass; whenever a backward pass over it comes to the output of a layer of the model, `hook` sees the layer's path and that gradient (PyTorch's `register_full_backward_hook`, to look through).
/// ```
/// # use chainrule_autograd::{DType, Error, Rng, Tape, Tensor};
/// # use chainrule_nn::{Layer, Linear, Relu, Sequential, gradient_hook};
/// use std::sync::{Arc, Mutex};
/// let mut rng = Rng::seeded(0);
/// let model = Sequential::new().add(Linear::new(4, 3, &mut rng)?).add(Relu);
/// let seen = Arc::new(Mutex::new(vec![]));
/// let hook = { let seen = seen.clone(); move |path: &str, gradient: &Tensor| seen.lock().unwrap().push((path.to_string(), gradient.dims().to_vec())) };
/// let tape = Tape::training(&mut rng);
/// let x = tape.input(Tensor::ones(&[2, 4], DType::F32)?);
/// gradient_hook(&model, hook, || model.forward(&x))?.sum()?.backward()?;
/// let seen = seen.lock().unwrap();
/// assert_eq!(seen.iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>(), ["", "1", "0"]); // the model, and its layers from the last on
/// assert_eq!(seen[2].1, [2, 3]);
/// # Ok::<(), Error>(())
/// ```
pub fn gradient_hook<T>(model: &dyn Module, hook: impl Fn(&str, &Tensor) + Send + Sync + 'static, f: impl FnOnce() -> T) -> T {
    Looking::at(model, What::Gradients(Arc::new(hook))).during(f).0
}

/// Shows every module with its path to `f`, in order.
pub(crate) fn modules(model: &dyn Module, f: impl FnMut(&str, Kind)) {
    struct Each<F>(F);
    impl<F: FnMut(&str, Kind)> Visitor for Each<F> {
        fn module(&mut self, path: &str, kind: Kind) {
            (self.0)(path, kind);
        }
    }
    model.visit(&mut Path::default(), &mut Each(f));
}
