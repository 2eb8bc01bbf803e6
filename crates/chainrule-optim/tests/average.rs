//! Averages of models: what they are, what they refuse, that they go on.

mod support;

use chainrule_autograd::{Array, DType, Rng, Tensor};
use chainrule_nn::{BatchNorm1d, Layer, Linear, Module, Param, load_state_dict, params_mut, state_dict};
use chainrule_optim::{AveragedModel, Sgd, update_batch_norm};
use support::{Model, advance, bits, model, numbers};

/// The models of a training, one after every step.
fn training(dtype: DType, steps: usize) -> Vec<Model> {
    let (mut model, mut sgd) = (model(dtype), Sgd::new(0.3));
    let mut all = Vec::new();
    for step in 0..steps {
        advance(&mut sgd, &mut model, step);
        model.mean.value = numbers(&[4], step, dtype);
        all.push(model.clone());
    }
    all
}

fn doubles(array: &Array) -> Vec<f64> {
    array.cast(DType::F64).unwrap().to_vec().unwrap()
}

fn assert_near(got: &Array, want: &[f64], tolerance: f64) {
    let got = doubles(got);
    assert!(got.iter().zip(want).all(|(g, w)| (g - w).abs() < tolerance), "{got:?}, expected {want:?}");
}

/// The weighted sum of one array of every model.
fn weighted(models: &[Model], weights: &[f64], of: impl Fn(&Model) -> &Array) -> Vec<f64> {
    let mut sum = vec![0.0; of(&models[0]).count()];
    for (model, weight) in models.iter().zip(weights) {
        sum.iter_mut().zip(doubles(of(model))).for_each(|(sum, x)| *sum += weight * x);
    }
    sum
}

#[test]
fn averages_are_the_weighted_sums_they_stand_for() {
    for (dtype, tolerance) in [(DType::F64, 1e-14), (DType::F32, 1e-6)] {
        let models = training(dtype, 4);
        let follow = |mut average: AveragedModel<Model>| {
            models.iter().for_each(|model| average.update(model).unwrap());
            average
        };
        let mean: fn(&Model) -> &Array = |model| &model.mean.value;
        let weight: fn(&Model) -> &Array = |model| &model.second.weight.value;
        let swa = follow(AveragedModel::swa(&model(dtype)));
        assert_near(weight(swa.model()), &weighted(&models, &[0.25; 4], weight), tolerance);
        assert_eq!(doubles(mean(swa.model())), doubles(mean(&models[3])));
        assert_eq!(swa.averaged(), 4);
        let swa = follow(AveragedModel::swa(&model(dtype)).average_buffers());
        assert_near(mean(swa.model()), &weighted(&models, &[0.25; 4], mean), tolerance);
        let ema = follow(AveragedModel::ema(&model(dtype), 0.8).unwrap());
        assert_near(weight(ema.model()), &weighted(&models, &[0.512, 0.128, 0.16, 0.2], weight), tolerance);
        // Decays of 1/2, 2/3 and, no longer growing, 0.7.
        let warm = follow(AveragedModel::ema(&model(dtype), 0.7).unwrap().warm_up(1.0));
        let first = 0.7 * 2.0 / 3.0 / 2.0;
        assert_near(weight(warm.model()), &weighted(&models, &[first, first, 0.7 / 3.0, 0.3], weight), tolerance);
    }
}

#[test]
fn the_model_that_is_followed_stays_as_it_is() {
    let mut models = training(DType::F32, 2);
    let mut ema = AveragedModel::ema(&models[0], 0.5).unwrap();
    let before = bits(&models[0]);
    ema.update(&models[0]).unwrap();
    assert_eq!(bits(ema.model()), before);
    ema.update(&models[1]).unwrap();
    assert_eq!(bits(&models[0]), before);
    // From here on the average's arrays are its own, and are written in place.
    let address = |ema: &AveragedModel<Model>| ema.model().first.weight.value.as_slice::<f32>().unwrap().as_ptr();
    let place = address(&ema);
    ema.update(&models[1]).unwrap();
    assert_eq!(address(&ema), place);
    // A clone is a point to return to.
    let (snapshot, kept) = (ema.clone(), bits(ema.model()));
    ema.update(&models.remove(0)).unwrap();
    assert_eq!(bits(snapshot.model()), kept);
    assert_ne!(bits(ema.model()), kept);
}

#[test]
fn an_average_goes_on_from_a_file() {
    let models = training(DType::F32, 6);
    let begin = || AveragedModel::ema(&models[0], 0.9).unwrap().warm_up(0.75);
    let (mut whole, mut resumed) = (begin(), begin());
    models[..3].iter().for_each(|model| whole.update(model).unwrap());
    assert!(load_state_dict(resumed.model_mut(), &state_dict(whole.model()).unwrap()).unwrap().is_complete());
    resumed.set_averaged(whole.averaged());
    for average in [&mut whole, &mut resumed] {
        models[3..].iter().for_each(|model| average.update(model).unwrap());
    }
    assert_eq!(bits(resumed.model()), bits(whole.model()));
}

#[test]
fn models_that_do_not_fit_change_nothing() {
    let refused = |average: &mut AveragedModel<Vec<Param>>, model: Vec<Param>, part: &str| {
        let before = bits(average.model());
        let error = average.update(&model).unwrap_err().to_string();
        assert!(error.contains(part), "\"{error}\" does not say \"{part}\"");
        assert_eq!(bits(average.model()), before);
    };
    let param = |dims: &[usize], dtype| Param::new(numbers(dims, 1, dtype));
    let mut average = AveragedModel::swa(&vec![param(&[2], DType::F32), param(&[3], DType::F32)]);
    refused(&mut average, vec![param(&[2], DType::F32)], "\"1\" is not in the model");
    refused(&mut average, vec![param(&[2], DType::F32), param(&[4], DType::F32)], "\"1\" is f32 [4] in the model, expected f32 [3]");
    refused(&mut average, vec![param(&[2], DType::F64), param(&[3], DType::F32)], "\"0\" is f64 [2]");
    refused(&mut average, (0..3).map(|i| param(&[2 + i.min(1)], DType::F32)).collect(), "has 3 parameters");
    for decay in [-0.1, 1.1, f64::NAN] {
        assert!(AveragedModel::ema(&param(&[1], DType::F32), decay).unwrap_err().to_string().contains("expected a number from 0 to 1"));
    }
}

#[derive(Module, Clone)]
struct Net {
    first: Linear,
    norm: BatchNorm1d,
}

#[test]
fn statistics_are_the_mean_over_the_batches() {
    let mut rng = Rng::seeded(5);
    let mut net = Net { first: Linear::new(3, 4, &mut rng).unwrap(), norm: BatchNorm1d::new(4).unwrap() };
    // Whatever they were before, and whatever the layer's momentum.
    net.norm.running_mean.as_mut().unwrap().value = Array::full(&[4], 9.0, DType::F32).unwrap();
    net.norm.momentum = Some(0.3);
    let batches: Vec<Tensor> = (0..3).map(|_| Tensor::uniform(&[6, 3], -1.0, 1.0, DType::F32, &mut rng).unwrap()).collect();
    let before = bits(&net);
    let count = update_batch_norm(&mut net, &batches, &mut rng, |net, tape, x| net.norm.forward(&net.first.forward(&tape.input(x))?)).unwrap();
    assert_eq!(count, 3);
    let (mut mean, mut variance) = (vec![0.0; 4], vec![0.0; 4]);
    for x in &batches {
        let y = net.first.forward(x).unwrap();
        mean.iter_mut().zip(doubles(y.mean_over(&[0], false).unwrap().array())).for_each(|(m, y)| *m += y / 3.0);
        variance.iter_mut().zip(doubles(y.var(&[0], 1, false).unwrap().array())).for_each(|(v, y)| *v += y / 3.0);
    }
    assert_near(&net.norm.running_mean.as_ref().unwrap().value, &mean, 1e-6);
    assert_near(&net.norm.running_var.as_ref().unwrap().value, &variance, 1e-6);
    // Parameters, and which of them train, are untouched.
    let after = bits(&net);
    let same = before.iter().zip(&after).filter(|(old, new)| old == new).map(|((path, _), _)| path.as_str()).collect::<Vec<_>>();
    assert_eq!(same, ["first.weight", "first.bias", "norm.weight", "norm.bias"]);
    params_mut(&mut net, |_, param| assert!(param.trainable));

    let failed = update_batch_norm(&mut net, [3, 2], &mut rng, |net, tape, width| net.first.forward(&tape.input(Tensor::zeros(&[1, width], DType::F32)?)));
    assert!(failed.unwrap_err().to_string().starts_with("first"));
    assert_eq!(bits(&net), after);
    assert_eq!(update_batch_norm(&mut net, [(); 0], &mut rng, |_, _, ()| Ok(())).unwrap(), 0);
    assert_eq!(bits(&net), after);
}

#[test]
fn statistics_of_momentum_0_stay() {
    use chainrule_nn::BatchNorm1d;
    let mut norm = BatchNorm1d::new(2).unwrap().momentum(0.0);
    let x = || Tensor::from_slice(&[1f32, 2.0, 5.0, 9.0], &[2, 2]).unwrap();
    assert_eq!(update_batch_norm(&mut norm, [x(), x()], &mut Rng::seeded(0), |norm, tape, x| norm.forward(&tape.input(x))).unwrap(), 2);
    assert_eq!(norm.running_var.as_ref().unwrap().value.to_vec::<f32>().unwrap(), [1.0, 1.0]);
    assert_eq!(norm.num_batches_tracked.as_ref().unwrap().value.item().unwrap(), 2.0);
}
