//! What the layers of a model give while it runs, by path.

use crate::{Kind, Module, Path, Visitor};
use chainrule_autograd::Tensor;
use std::cell::RefCell;
use std::collections::HashMap;

thread_local! {
    /// What layers report while [`activations`] runs on this thread. It is looked at, never acted upon: no result depends on it.
    static REPORTS: RefCell<Option<Vec<(Kind, Tensor)>>> = const { RefCell::new(None) };
}

/// Reports a layer's output to [`activations`], when it runs, and returns it. The library's layers do so; a layer of one's own may.
pub fn observed<M: ?Sized>(layer: &M, output: Tensor) -> Tensor {
    REPORTS.with_borrow_mut(|reports| {
        if let Some(reports) = reports {
            reports.push((Kind::of(layer), output.clone()));
        }
    });
    output
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
    /// Puts back what an outer call has gathered, also when `f` panics.
    struct Restore(Option<Vec<(Kind, Tensor)>>);
    impl Drop for Restore {
        fn drop(&mut self) {
            REPORTS.set(self.0.take());
        }
    }
    let outer = Restore(REPORTS.replace(Some(Vec::new())));
    let result = f();
    let reports = REPORTS.take().unwrap_or_default();
    drop(outer);

    let mut paths: HashMap<Kind, Vec<String>> = HashMap::new();
    modules(model, |path, kind| paths.entry(kind).or_default().push(path.to_string()));
    let mut turn: HashMap<Kind, usize> = HashMap::new();
    let mut found = Vec::new();
    for (kind, output) in reports {
        // Several layers without contents may share one address; they are then told apart by their order.
        if let Some(candidates) = paths.get(&kind) {
            let next = turn.entry(kind).or_default();
            found.push((candidates[*next % candidates.len()].clone(), output));
            *next += 1;
        }
    }
    (result, found)
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
