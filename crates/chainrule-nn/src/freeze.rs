//! Which parameters are trained, selected by path.

use crate::{Module, Pattern, Result, params, params_mut};

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
    let mut matched = 0;
    params_mut(model, |path, param| {
        if pattern.matches(path) {
            param.trainable = trainable;
            matched += 1;
        }
    });
    if matched > 0 {
        return Ok(matched);
    }
    let mut paths = Vec::new();
    params(model, |path, _| paths.push(path.to_string()));
    Err(pattern.no_match(op, "parameter", &paths))
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
