//! Mixing a tuned model with the one it came from: θ = θ_p + α (θ_n - θ_p) (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models").

use chainrule_autograd::{Array, Tensor};
use chainrule_nn::{Module, Result, StateDict, load_state_dict, params, params_mut, state_dict};

/// Sets `model` between `pretrained` (`alpha` 0) and itself (`alpha` 1); outside 0..1 it extrapolates. Integer buffers stay the model's own.
///
/// ```
/// use chainrule_autograd::Rng;
/// use chainrule_finetune::interpolate;
/// use chainrule_nn::{Linear, independent};
/// let mut rng = Rng::seeded(0);
/// let (before, mut model) = (Linear::new(2, 2, &mut rng)?, Linear::new(2, 2, &mut rng)?);
/// interpolate(&mut model, &before, 0.0)?;
/// assert_eq!(model.weight.value.to_vec::<f32>()?, before.weight.value.to_vec::<f32>()?);
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
///
/// # Errors
/// Models whose paths or shapes differ; an alpha that is not finite. Then nothing is changed.
pub fn interpolate(model: &mut dyn Module, pretrained: &dyn Module, alpha: f64) -> Result<()> {
    if !alpha.is_finite() {
        return Err(chainrule_autograd::Error::value("interpolate", format!("got alpha {alpha}, expected a finite number")).into());
    }
    let (tuned, base) = (state_dict(model)?, state_dict(pretrained)?);
    let mut mixed = StateDict::new();
    for (path, before) in base {
        let value = match tuned.get(&path) {
            Some(after) if after.dtype().is_float() && after.dims() == before.dims() => mix(&before, after, alpha)?,
            Some(after) if !after.dtype().is_float() => after.clone(),
            // The loader says what does not fit.
            _ => before,
        };
        mixed.insert(path, value);
    }
    let mut loaded = Vec::new();
    params(model, |_, param| loaded.push(param.loaded));
    let _complete = load_state_dict(model, &mixed)?;
    // The numbers come from two models, not from a file.
    let mut loaded = loaded.into_iter();
    params_mut(model, |_, param| param.loaded = loaded.next().unwrap_or(param.loaded));
    Ok(())
}

fn mix(before: &Array, after: &Array, alpha: f64) -> Result<Array> {
    let before = before.to(&after.device())?.cast(after.dtype())?;
    Ok(Tensor::from(before).lerp(&Tensor::from(after.clone()), alpha)?.into_array())
}

#[cfg(test)]
mod tests {
    use super::*;
    use chainrule_autograd::Rng;
    use chainrule_nn::{BatchNorm1d, Linear, Sequential};

    #[test]
    fn between_and_beyond() -> Result<()> {
        let mut rng = Rng::seeded(1);
        let (before, after) = (Linear::new(3, 2, &mut rng)?, Linear::new(3, 2, &mut rng)?);
        for alpha in [0.0, 0.25, 1.0, 1.5] {
            let mut model = after.clone();
            interpolate(&mut model, &before, alpha)?;
            let numbers = |l: &Linear| l.weight.value.to_vec::<f32>();
            for ((m, b), a) in numbers(&model)?.iter().zip(numbers(&before)?).zip(numbers(&after)?) {
                assert!((m - (b + alpha as f32 * (a - b))).abs() < 1e-6);
            }
        }
        Ok(())
    }

    #[test]
    fn other_models_are_refused_and_nothing_changes() -> Result<()> {
        let mut rng = Rng::seeded(1);
        let mut model = Sequential::new().add(Linear::new(3, 2, &mut rng)?).add(BatchNorm1d::new(2)?);
        let other = Sequential::new().add(Linear::new(3, 4, &mut rng)?).add(BatchNorm1d::new(2)?);
        let before = state_dict(&model)?["0.weight"].to_vec::<f32>()?;
        assert!(interpolate(&mut model, &other, 0.5).is_err());
        assert_eq!(state_dict(&model)?["0.weight"].to_vec::<f32>()?, before);
        Ok(())
    }
}
