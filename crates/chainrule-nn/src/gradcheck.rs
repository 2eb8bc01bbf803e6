//! The gradients of a model's parameters against central differences.

use crate::{Module, params, params_mut};
use chainrule_autograd::{Array, DType, Error, GradCheck, ParamId, Result, Rng, Tape, Tensor};

/// Checks the gradient of `f` by every number of the model's trainable parameters, which must be f64. `f` runs the model on the tape it gets.
/// ```
/// # use chainrule_autograd::{DType, GradCheck, Rng, Tensor};
/// # use chainrule_nn::{Layer, Linear, gradcheck_model, to_dtype};
/// let mut linear = Linear::new(3, 2, &mut Rng::seeded(0))?;
/// to_dtype(&mut linear, DType::F64)?;
/// let x = Tensor::linspace(-1.0, 1.0, 6, DType::F64)?.reshape(&[2, 3])?;
/// gradcheck_model(&GradCheck::default(), &linear, |linear, tape| linear.forward(&tape.input(&x))?.tanh())?;
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
///
/// # Errors
/// [`Error::Mismatch`], which names path, element, analytic and numeric value; those of `f`; parameters of another type.
pub fn gradcheck_model<M: Module + Clone>(settings: &GradCheck, model: &M, f: impl Fn(&M, &Tape) -> Result<Tensor>) -> Result<()> {
    let project = |model: &M| -> Result<(Tape, Tensor)> {
        let mut rng = Rng::seeded(settings.seed);
        let tape = if settings.training { Tape::training(&mut rng) } else { Tape::inference(&mut rng) };
        let y = f(model, &tape)?;
        let direction = Tensor::uniform(y.dims(), 0.5, 1.5, DType::F64, &mut rng)?;
        let sum = y.mul(&direction)?.sum()?;
        Ok((tape, sum))
    };
    let mut trained: Vec<(String, ParamId, Array)> = Vec::new();
    params(model, |path, param| {
        if param.trainable {
            trained.push((path.to_string(), param.id, param.value.clone()));
        }
    });
    let (_tape, sum) = project(model)?;
    let gradients = if sum.needs_gradient() { sum.backward()? } else { Default::default() };
    for (path, id, value) in trained {
        let analytic = match gradients.get(id) {
            Some(gradient) => gradient.to_vec::<f64>()?,
            None => vec![0.0; value.count()],
        };
        let values = value.to_vec::<f64>()?;
        for (element, &analytic) in analytic.iter().enumerate() {
            let at = |shift: f64| {
                let mut values = values.clone();
                values[element] += shift;
                let (mut changed, array) = (model.clone(), Array::from_slice(&values, value.dims())?);
                params_mut(&mut changed, |_, param| {
                    if param.id == id {
                        param.value = array.clone();
                    }
                });
                project(&changed)?.1.item()
            };
            let numeric = (at(settings.step)? - at(-settings.step)?) / (2.0 * settings.step);
            // Also false when either is no number.
            let near = (analytic - numeric).abs() <= settings.tolerance * (1.0 + numeric.abs());
            if !near {
                return Err(Error::Mismatch(format!("{path}, element {element}: the rule gives {analytic}, differences give {numeric}")));
            }
        }
    }
    Ok(())
}
