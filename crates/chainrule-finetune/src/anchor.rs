//! Penalties that hold a model near what it was: Σ w (θ - θ*)².

use chainrule_autograd::{Array, DType, ParamId, Result, Tensor};
use chainrule_nn::{Module, Param, params};
use std::collections::HashMap;

/// Where parameters stood, by identity: clones of a model share it, a replaced head has a new one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Anchors(pub HashMap<ParamId, Array>);

impl Anchors {
    /// The values of a model as it is. The arrays are shared, not copied.
    pub fn of(model: &dyn Module) -> Anchors {
        let mut anchors = HashMap::new();
        params(model, |_, param| drop(anchors.insert(param.id, param.value.clone())));
        Anchors(anchors)
    }

    /// The sum of what `term` gives for every trainable parameter, with its anchor, in the element type of `at`. `term` may pass one over.
    ///
    /// # Errors
    /// Those of `term`, at the parameter's path; a model none of whose parameters has an anchor.
    pub fn sum(
        &self,
        op: &'static str,
        model: &dyn Module,
        at: &Tensor,
        mut term: impl FnMut(&Param, &Tensor, Option<&Array>) -> Result<Option<Tensor>>,
    ) -> chainrule_nn::Result<Tensor> {
        let dtype = if at.dtype().is_float() { at.dtype() } else { DType::F32 };
        let (mut sum, mut known): (Result<Option<Tensor>>, bool) = (Ok(None), false);
        params(model, |_, param| {
            let anchor = self.0.get(&param.id);
            known |= anchor.is_some();
            if let (true, Ok(so_far)) = (param.trainable, &sum) {
                let next = param.at(param.on(at).and_then(|value| term(param, &value, anchor)));
                sum = next.and_then(|next| match (so_far, next) {
                    (Some(so_far), Some(next)) => Ok(Some(so_far.add(&next.cast(dtype)?)?)),
                    (None, Some(next)) => Ok(Some(next.cast(dtype)?)),
                    (so_far, None) => Ok(so_far.clone()),
                });
            }
        });
        if !known {
            let message = "none of the model's parameters is one of those that were taken down; a copy made by independent(), or one that was read anew, has other identities";
            return Err(chainrule_autograd::Error::value(op, message).into());
        }
        match sum.map_err(|error| chainrule_nn::locate(model, error))? {
            Some(sum) => Ok(sum),
            None => Ok(Tensor::zeros(&[], dtype)?),
        }
    }
}

/// `Σ (θ - θ*)²`
pub(crate) fn squared_distance(value: &Tensor, anchor: &Array) -> Result<Tensor> {
    wide(value)?.sub(&wide(&Tensor::from(anchor.to(&value.device())?))?)?.square()?.sum()
}

/// At least f32, in which squares of small numbers do not vanish.
pub(crate) fn wide(x: &Tensor) -> Result<Tensor> {
    if matches!(x.dtype(), DType::F16 | DType::BF16) { x.cast(DType::F32) } else { Ok(x.clone()) }
}

/// An error unless the strength is a number of at least 0.
pub(crate) fn expect_strength(op: &'static str, name: &str, strength: f64) -> Result<()> {
    if strength >= 0.0 && strength.is_finite() {
        return Ok(());
    }
    Err(chainrule_autograd::Error::value(op, format!("{name} is {strength}, expected a number of at least 0")))
}
