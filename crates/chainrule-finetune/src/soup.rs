//! Model soups: one model whose weights are the mean of several fine-tuned ones' (Wortsman et al. 2022, "Model soups: averaging weights of multiple fine-tuned models improves accuracy without increasing inference time").

use chainrule_autograd::{Array, DType, Device, Error, Tensor};
use chainrule_nn::{Module, Result, StateDict, buffers_mut, params_mut, state_dict};

/// The uniform soup: `θ = 1/k Σ θ_i`, for models that were fine-tuned from one pretrained model. Buffers are averaged too, integers are the first's; a model with batch norm should see data again ([`update_batch_norm`](chainrule_optim::update_batch_norm)).
///
/// It has the first one's identities.
/// ```
/// # use chainrule_autograd::Rng;
/// # use chainrule_finetune::soup;
/// # use chainrule_nn::Linear;
/// let mut rng = Rng::seeded(0);
/// let (a, b) = (Linear::new(1, 1, &mut rng)?, Linear::new(1, 1, &mut rng)?);
/// let mean = (a.weight.value.item()? + b.weight.value.item()?) / 2.0;
/// assert!((soup([&a, &b])?.weight.value.item()? - mean).abs() < 1e-7);
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
///
/// # Errors
/// No models; models whose paths, shapes or element types differ; no memory.
pub fn soup<'a, M: Module + Clone + 'a>(models: impl IntoIterator<Item = &'a M>) -> Result<M> {
    let models: Vec<&M> = models.into_iter().collect();
    let Some(first) = models.first() else { return Err(Error::value(OP, "got no models, expected at least 1").into()) };
    let mut states = models.iter().map(|model| state_dict(*model));
    let Some(state) = states.next() else { return Ok((*first).clone()) };
    let mut sums: StateDict = state?;
    let own = sums.clone();
    for (array, _) in sums.values_mut().zip(own.values()).filter(|(array, _)| array.dtype().is_float()) {
        *array = wide(array)?;
    }
    for (i, state) in states.enumerate() {
        let state = state?;
        fits(&own, &state).map_err(|message| Error::value(OP, format!("model {}: {message}", i + 1)))?;
        for (sum, array) in sums.values_mut().zip(state.values()).filter(|(sum, _)| sum.dtype().is_float()) {
            *sum = Tensor::from(&*sum).add(&Tensor::from(wide(array)?))?.into_array();
        }
    }
    for sum in sums.values_mut().filter(|sum| sum.dtype().is_float()) {
        *sum = Tensor::from(&*sum).mul_scalar(1.0 / models.len() as f64)?.into_array();
    }
    for (sum, own) in sums.values_mut().zip(own.values()) {
        *sum = sum.cast(own.dtype())?.to(&own.device())?;
    }
    let mut soup = (*first).clone();
    params_mut(&mut soup, |path, param| param.value = sums.remove(path).unwrap_or_else(|| param.value.clone()));
    buffers_mut(&mut soup, |path, buffer| buffer.value = sums.remove(path).unwrap_or_else(|| buffer.value.clone()));
    Ok(soup)
}

const OP: &str = "soup";

/// In doubles, which a GPU has no kernels for.
fn wide(array: &Array) -> Result<Array> {
    Ok(array.to(&Device::Cpu)?.cast(DType::F64)?)
}

fn fits(own: &StateDict, other: &StateDict) -> std::result::Result<(), String> {
    if let Some(path) = own.keys().find(|path| !other.contains_key(*path)).or_else(|| other.keys().find(|path| !own.contains_key(*path))) {
        return Err(format!("\"{path}\" stands in only one of it and model 0"));
    }
    let form = |array: &Array| format!("{} {:?}", array.dtype(), array.shape());
    match own.iter().zip(other.values()).find(|((_, own), other)| own.dims() != other.dims() || own.dtype() != other.dtype()) {
        Some(((path, own), other)) => Err(format!("\"{path}\" is {}, in model 0 {}", form(other), form(own))),
        None => Ok(()),
    }
}

/// What [`greedy_soup`] came to.
#[derive(Clone, Debug)]
pub struct GreedySoup<M> {
    /// The mean of its members.
    pub model: M,
    /// What `evaluate` gave for it.
    pub score: f64,
    /// Which of the models are in it, the best first.
    pub members: Vec<usize>,
    /// What `evaluate` gave for every model alone.
    pub scores: Vec<f64>,
}

/// The greedy soup: the models in order of their scores, each joining where the mean with it scores no less than without. `evaluate` gives the score on held-out data, the higher the better; it is never below that of the best model.
/// ```
/// # use chainrule_autograd::{Array, DType};
/// # use chainrule_finetune::greedy_soup;
/// # use chainrule_nn::Param;
/// let at = |x: f64| Ok::<_, chainrule_autograd::Error>(Param::new(Array::full(&[1], x, DType::F32)?));
/// let near_one = |model: &Param| Ok::<_, chainrule_nn::Error>(-(model.value.item()? - 1.0).abs());
/// let soup = greedy_soup(&[at(9.0)?, at(0.5)?, at(1.75)?], near_one)?;
/// assert_eq!((soup.members, soup.model.value.item()?), (vec![1, 2], 1.125));
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
///
/// # Errors
/// Those of `evaluate`, and those of [`soup`]; a score that is NaN.
pub fn greedy_soup<M: Module + Clone, E: From<chainrule_nn::Error>>(models: &[M], mut evaluate: impl FnMut(&M) -> Result<f64, E>) -> Result<GreedySoup<M>, E> {
    let mut score_of = |model: &M| {
        let score = evaluate(model)?;
        if score.is_nan() { Err(chainrule_nn::Error::from(Error::value(OP, "evaluate gave NaN, expected a score")).into()) } else { Ok(score) }
    };
    let scores: Vec<f64> = models.iter().map(&mut score_of).collect::<Result<_, E>>()?;
    let mut order: Vec<usize> = (0..models.len()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    let Some((&best, others)) = order.split_first() else {
        return Err(chainrule_nn::Error::from(Error::value(OP, "got no models, expected at least 1")).into());
    };
    let mut found = GreedySoup { model: models[best].clone(), score: scores[best], members: vec![best], scores };
    for &candidate in others {
        let model = soup(found.members.iter().chain([&candidate]).map(|&i| &models[i]))?;
        let score = score_of(&model)?;
        if score >= found.score {
            (found.model, found.score) = (model, score);
            found.members.push(candidate);
        }
    }
    Ok(found)
}
