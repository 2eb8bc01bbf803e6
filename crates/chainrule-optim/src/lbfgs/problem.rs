//! A model's trainable parameters as one vector.

use crate::step::describe;
use crate::{Error, Result};
use chainrule_autograd::{Gradients, ParamId};
use chainrule_core::{Array, DType, Device};
use chainrule_nn::{Module, buffers_mut, locate, params, params_mut};
use std::ops::Range;

/// A model with its loss, as a function of one vector.
pub(super) struct Problem<'a, M, F> {
    pub(super) model: &'a mut M,
    evaluate: F,
    places: Vec<Place>,
    /// -1 to climb.
    sign: f64,
    pub(super) evaluations: usize,
}

struct Place {
    id: ParamId,
    path: String,
    dims: Vec<usize>,
    dtype: DType,
    device: Device,
    range: Range<usize>,
}

impl<'a, M: Module, F: FnMut(&M) -> chainrule_autograd::Result<(f64, Gradients)>> Problem<'a, M, F> {
    pub(super) fn new(model: &'a mut M, evaluate: F, maximize: bool) -> Result<Self> {
        let (mut places, mut end, mut error) = (Vec::<Place>::new(), 0, None);
        params(model, |path, param| {
            if !param.trainable {
                return;
            }
            if !matches!(param.value.dtype(), DType::F32 | DType::F64) {
                error.get_or_insert(Error::ElementType { path: path.to_string(), got: param.value.dtype() });
            }
            if let Some(first) = places.iter().find(|place| place.id == param.id) {
                error.get_or_insert(Error::Twice { what: "parameter", first: first.path.clone(), second: path.to_string() });
            }
            let range = end..end + param.value.count();
            end = range.end;
            places.push(Place {
                id: param.id,
                path: path.to_string(),
                dims: param.value.dims().to_vec(),
                dtype: param.value.dtype(),
                device: param.value.device(),
                range,
            });
        });
        let sign = if maximize { -1.0 } else { 1.0 };
        error.map_or(Ok(Problem { model, evaluate, places, sign, evaluations: 0 }), Err)
    }

    pub(super) fn len(&self) -> usize {
        self.places.last().map_or(0, |place| place.range.end)
    }

    /// Where the model stands.
    pub(super) fn position(&self) -> Result<Vec<f64>> {
        let mut x = Vec::with_capacity(self.len());
        let mut result = Ok(());
        params(&*self.model, |path, param| {
            if param.trainable && result.is_ok() {
                result = append(&mut x, &param.value).map_err(|source| Error::At { path: path.to_string(), source });
            }
        });
        result.map(|()| x)
    }

    /// Puts the model there.
    pub(super) fn place(&mut self, x: &[f64]) -> Result<()> {
        let mut arrays = Vec::with_capacity(self.places.len());
        for place in &self.places {
            let array = Array::from_slice(&x[place.range.clone()], &place.dims).and_then(|array| array.cast(place.dtype)?.to(&place.device));
            arrays.push(array.map_err(|source| Error::At { path: place.path.clone(), source })?);
        }
        let mut arrays = arrays.into_iter();
        params_mut(self.model, |_, param| {
            if param.trainable
                && let Some(array) = arrays.next()
            {
                param.value = array;
            }
        });
        Ok(())
    }

    /// The loss and its gradient where the model stands; negative to climb. Buffers are updated as by any training step.
    pub(super) fn evaluate(&mut self) -> Result<(f64, Vec<f64>)> {
        let (loss, gradients) = (self.evaluate)(self.model).map_err(|error| locate(self.model, error))?;
        self.evaluations += 1;
        let mut flat = Vec::with_capacity(self.len());
        for place in &self.places {
            let Some(gradient) = gradients.get(place.id) else {
                let missing = self.places.iter().filter(|place| gradients.get(place.id).is_none()).count();
                return Err(Error::NoGradient { path: place.path.clone(), missing, trainable: self.places.len() });
            };
            if gradient.dims() != place.dims || gradient.dtype() != place.dtype {
                let expected = format!("{} {:?}", place.dtype, place.dims);
                return Err(Error::Gradient { path: place.path.clone(), got: describe(gradient), expected });
            }
            append(&mut flat, gradient).map_err(|source| Error::At { path: place.path.clone(), source })?;
            if !flat[place.range.clone()].iter().all(|g| g.is_finite()) {
                return Err(Error::NonFinite { what: "the gradient", path: place.path.clone() });
            }
        }
        if !loss.is_finite() {
            return Err(Error::Setting {
                rule: "lbfgs",
                message: format!("the loss is {loss}, expected a finite number; lower the learning rate or search with strong_wolfe()"),
            });
        }
        let mut result = Ok(());
        buffers_mut(self.model, |path, buffer| {
            if let (true, Some(update)) = (result.is_ok(), gradients.update(buffer.id)) {
                match update.apply(&buffer.value) {
                    Ok(value) => buffer.value = value,
                    Err(source) => result = Err(Error::Update { path: path.to_string(), source }),
                }
            }
        });
        result?;
        flat.iter_mut().for_each(|g| *g *= self.sign);
        Ok((self.sign * loss, flat))
    }
}

fn append(to: &mut Vec<f64>, array: &Array) -> chainrule_core::Result<()> {
    to.extend(array.cast(DType::F64)?.to_vec::<f64>()?);
    Ok(())
}

/// x · y, in eight sums that don't wait for each other.
pub(super) fn dot(x: &[f64], y: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    for (x, y) in x.chunks(8).zip(y.chunks(8)) {
        for (sum, (x, y)) in sums.iter_mut().zip(x.iter().zip(y)) {
            *sum += x * y;
        }
    }
    sums.iter().sum()
}

/// y + a x
pub(super) fn moved(y: &[f64], a: f64, x: &[f64]) -> Vec<f64> {
    y.iter().zip(x).map(|(y, x)| y + a * x).collect()
}

pub(super) fn largest(x: &[f64]) -> f64 {
    x.iter().fold(0.0, |most, x| x.abs().max(most))
}
