//! Rules, clipping, groups, schedules, states and averages on the GPU: the CPU's numbers, step by step.

use crate::support::*;
use chainrule::nn::{BatchNorm1d, Layer, Linear, Module, Sequential, Tanh, freeze, params, state_dict, unfreeze};
use chainrule::optim::{
    Adadelta, Adafactor, Adagrad, Adam, AdamW, Adamax, Asgd, AveragedModel, Lamb, Lbfgs, Lion, LossScale, NAdam, Optimize, RAdam, RmsProp, Rprop, Schedule,
    Sgd, State, StepReport, update_batch_norm,
};
use chainrule::{Array, DType, Device, Gradients, Rng, Tape, Tensor};

/// A linear layer before a batch norm has no bias, whose gradient would be nothing but rounding.
fn network(seed: u64) -> Sequential {
    let rng = &mut Rng::seeded(seed);
    Sequential::new().add(Linear::new(6, 5, rng).unwrap().without_bias()).add(BatchNorm1d::new(5).unwrap()).add(Tanh).add(Linear::new(5, 3, rng).unwrap())
}

fn on(mut model: Sequential, device: &Device) -> Sequential {
    model.to(device).unwrap();
    model
}

/// Gradients of a batch of its own for every step.
fn gradients(model: &Sequential, device: &Device, step: u64) -> Gradients {
    let rng = &mut Rng::seeded(100 + step);
    let x = Tensor::normal(&[7, 6], 0.0, 1.0, DType::F32, rng).unwrap().to(device).unwrap();
    let labels = Tensor::from_slice(&[0i64, 1, 2, 1, 0, 2, 1], &[7]).unwrap().to(device).unwrap();
    let tape = Tape::training(rng);
    model.forward(&tape.input(x)).unwrap().cross_entropy(&labels).unwrap().backward().unwrap()
}

fn steps(model: &mut Sequential, optimizer: &mut dyn Optimize, device: &Device, steps: std::ops::Range<u64>) -> Vec<StepReport> {
    let step = |step| {
        let gradients = gradients(model, device, step);
        optimizer.step(model, &gradients).unwrap()
    };
    steps.map(step).collect()
}

fn numbers(model: &Sequential) -> Vec<f64> {
    state_dict(model).unwrap().into_values().flat_map(|array| array.cast(DType::F64).unwrap().to_vec::<f64>().unwrap()).collect()
}

fn bits(model: &Sequential) -> Vec<u64> {
    numbers(model).into_iter().map(f64::to_bits).collect()
}

#[track_caller]
fn close(what: &str, got: &Sequential, expected: &Sequential) -> f64 {
    let (got, expected) = (numbers(got), numbers(expected));
    let worst = difference(&got, &expected);
    assert!(worst <= 1e-5, "{what}: off by {worst:e}\n{got:?}\n{expected:?}");
    worst
}

type Make = fn() -> Box<dyn Optimize>;

/// What a GPU has kernels for, in all its forms.
const RULES: [(&str, Make); 17] = [
    ("sgd", || Box::new(Sgd::new(0.05))),
    ("sgd, L2", || Box::new(Sgd::new(0.05).weight_decay(0.1))),
    ("sgd, momentum", || Box::new(Sgd::new(0.05).momentum(0.9).clip_norm(0.3))),
    ("sgd, dampening", || Box::new(Sgd::new(0.05).momentum(0.8).dampening(0.3).weight_decay(0.05))),
    ("sgd, nesterov", || Box::new(Sgd::new(0.05).momentum(0.9).nesterov(true).clip_value(0.02))),
    ("sgd, both clips", || Box::new(Sgd::new(0.05).clip_value(0.05).clip_norm(0.1))),
    ("sgd, maximize", || Box::new(Sgd::new(0.01).momentum(0.5).maximize().weight_decay(0.1))),
    ("sgd, one cycle", || Box::new(Sgd::new(0.1).schedule(Schedule::one_cycle(10)))),
    ("adam", || Box::new(Adam::new(1e-2))),
    ("adam, L2", || Box::new(Adam::new(1e-2).betas(0.8, 0.9).weight_decay(0.01).clip_norm(0.5))),
    ("adam, amsgrad", || Box::new(Adam::new(1e-2).amsgrad(true).eps(1e-6))),
    ("adam, maximize", || Box::new(Adam::new(1e-3).maximize())),
    ("adam, cosine", || Box::new(Adam::new(1e-2).schedule(Schedule::cosine(10)))),
    ("adam_w", || Box::new(AdamW::new(1e-2))),
    ("adam_w, amsgrad", || Box::new(AdamW::new(1e-2).amsgrad(true).weight_decay(0.2))),
    ("adam_w, groups", || Box::new(AdamW::new(1e-2).group("*.bias", |g| g.weight_decay(0.0).learning_rate_scale(2.0)).group("0.*", |g| g.learning_rate(1e-3)))),
    ("adam_w, groups of other rules", || {
        let group = |g: chainrule::optim::Group<chainrule::optim::AdamWRule>| {
            let mut g = g;
            g.rule.amsgrad = true;
            g
        };
        Box::new(AdamW::new(1e-2).skip_non_finite().group("3.*", group))
    }),
];

#[test]
fn ten_steps_of_every_rule_are_the_cpus() {
    let Some(turn) = gpu() else { return };
    let mut worst = 0.0f64;
    for (what, make) in RULES {
        let run = |device: &Device| {
            let (mut model, mut optimizer) = (on(network(1), device), make());
            let reports = steps(&mut model, &mut *optimizer, device, 0..10);
            (model, reports)
        };
        let (expected, reports) = run(&Device::Cpu);
        for s in seeds() {
            seed(s);
            let (got, there) = run(&turn.device);
            worst = worst.max(close(what, &got, &expected));
            for (got, expected) in there.iter().zip(&reports) {
                assert_eq!((got.steps, got.learning_rate, &got.skipped), (expected.steps, expected.learning_rate, &expected.skipped), "{what}");
                assert!((got.norm - expected.norm).abs() <= 1e-4 * expected.norm, "{what}: {got:?}, expected {expected:?}");
                assert!((got.clipped - expected.clipped).abs() <= 1e-4, "{what}: {got:?}, expected {expected:?}");
            }
        }
    }
    println!("10 steps of {} rules, for {} seeds: numbers off by at most {worst:.1e}", RULES.len(), seeds().count());
}

#[test]
fn a_state_goes_on_on_the_other_device() {
    let Some(turn) = gpu() else { return };
    for (what, make) in RULES {
        let (mut expected, mut optimizer) = (on(network(1), &Device::Cpu), make());
        steps(&mut expected, &mut *optimizer, &Device::Cpu, 0..8);
        for (first, second) in [(Device::Cpu, turn.device), (turn.device, Device::Cpu)] {
            let (mut model, mut optimizer) = (on(network(1), &first), make());
            steps(&mut model, &mut *optimizer, &first, 0..4);
            let state = optimizer.state(&model).to_arrays().unwrap();
            model.to(&second).unwrap();
            let mut fresh = make();
            fresh.load_state(&model, &State::from_arrays(&state).unwrap()).unwrap();
            steps(&mut model, &mut *fresh, &second, 4..8);
            close(what, &model, &expected);
            assert!(fresh.state(&model).parameters.values().flat_map(|p| p.arrays.values()).all(|a| a.device() == second), "{what}");
        }
        // The model moves while it is trained, and the optimizer follows.
        let (mut model, mut optimizer) = (network(1), make());
        for (device, range) in [(Device::Cpu, 0..2), (turn.device, 2..5), (Device::Cpu, 5..7), (turn.device, 7..8)] {
            model.to(&device).unwrap();
            steps(&mut model, &mut *optimizer, &device, range);
        }
        close(what, &model, &expected);
    }
}

#[test]
fn missing_gradients_are_zeros_where_that_is_said() {
    let Some(turn) = gpu() else { return };
    let run = |device: &Device| {
        let (mut model, mut adam) = (on(network(1), device), Adam::new(1e-2).weight_decay(0.1).missing_as_zero("3.*"));
        for step in 0..3 {
            let x = Tensor::normal(&[7, 6], 0.0, 1.0, DType::F32, &mut Rng::seeded(step)).unwrap().to(device).unwrap();
            let tape = Tape::training(&mut Rng::seeded(0));
            let mut hidden = tape.input(x);
            for layer in 0..3 {
                hidden = model[layer].forward(&hidden).unwrap();
            }
            let gradients = hidden.square().unwrap().mean().unwrap().backward().unwrap();
            adam.step(&mut model, &gradients).unwrap();
            let error = Adam::new(1e-2).step(&mut model, &gradients).unwrap_err().to_string();
            assert!(error.contains("3.weight"), "{error}");
        }
        model
    };
    close("missing as zero", &run(&turn.device), &run(&Device::Cpu));
}

/// All bits of a model, and what an optimizer remembers of it.
fn remembered(model: &Sequential, optimizer: &dyn Optimize) -> (Vec<u64>, Vec<(String, Vec<u64>)>) {
    let state = optimizer.state(model).to_arrays().unwrap();
    (bits(model), state.into_iter().map(|(name, array)| (name, array_bits(&array))).collect())
}

fn array_bits(array: &Array) -> Vec<u64> {
    array.cast(DType::F64).unwrap().to_vec::<f64>().unwrap().into_iter().map(f64::to_bits).collect()
}

#[test]
fn what_is_not_finite_changes_nothing() {
    let Some(turn) = gpu() else { return };
    let mut model = on(network(1), &turn.device);
    let poisoned = |model: &Sequential| {
        let mut gradients = gradients(model, &turn.device, 1);
        params(model, |path, param| {
            if path == "3.weight" {
                gradients.insert(param.id, Array::full(param.value.dims(), f64::NAN, DType::F32).unwrap().to(&turn.device).unwrap());
            }
        });
        gradients
    };
    let (mut strict, mut lenient) = (Adam::new(1e-2), Adam::new(1e-2).skip_non_finite());
    for adam in [&mut strict, &mut lenient] {
        steps(&mut model, adam, &turn.device, 0..1);
    }
    let before = (remembered(&model, &strict), remembered(&model, &lenient));
    let bad = poisoned(&model);
    let error = strict.step(&mut model, &bad).unwrap_err().to_string();
    assert!(error.contains("3.weight") && error.contains("not finite"), "{error}");
    let report = lenient.step(&mut model, &bad).unwrap();
    assert_eq!((report.steps, report.skipped.as_deref(), report.norm.is_nan()), (1, Some("3.weight"), true));
    assert_eq!((remembered(&model, &strict), remembered(&model, &lenient)), before);
    // A loss scale halves itself and goes on.
    let mut scale = LossScale::new().initial(64.0);
    assert!(scale.step(&mut strict, &mut model, bad).unwrap().skipped.is_some());
    assert_eq!((scale.scale(), remembered(&model, &strict)), (32.0, before.0));
    let good = gradients(&model, &turn.device, 2).scale(32.0).unwrap();
    assert!(scale.step(&mut strict, &mut model, good).unwrap().skipped.is_none());
}

#[test]
fn an_update_of_buffers_is_applied_once() {
    let Some(turn) = gpu() else { return };
    let mut model = on(network(1), &turn.device);
    let (mut sgd, gradients) = (Sgd::new(0.1), gradients(&model, &turn.device, 0));
    sgd.step(&mut model, &gradients).unwrap();
    let before = remembered(&model, &sgd);
    let error = sgd.step(&mut model, &gradients).unwrap_err().to_string();
    assert!(error.contains("1.num_batches_tracked") || error.contains("1.running"), "{error}");
    assert_eq!(remembered(&model, &sgd), before);
    assert_eq!(state_dict(&model).unwrap()["1.num_batches_tracked"].to_vec::<i64>().unwrap(), [1]);
}

#[test]
fn a_model_without_trained_parameters_has_its_buffers_updated() {
    let Some(turn) = gpu() else { return };
    let run = |device: &Device| {
        let mut norm = BatchNorm1d::new(3).unwrap().without_affine();
        norm.to(device).unwrap();
        for seed in 0..3 {
            let tape = Tape::training(&mut Rng::seeded(0));
            let x = tape.watch(Tensor::normal(&[5, 3], 1.0, 2.0, DType::F32, &mut Rng::seeded(seed)).unwrap().to(device).unwrap());
            let gradients = norm.forward(&x).unwrap().sum().unwrap().backward().unwrap();
            Adam::new(0.1).step(&mut norm, &gradients).unwrap();
        }
        Sequential::new().add(norm)
    };
    let (got, expected) = (run(&turn.device), run(&Device::Cpu));
    close("statistics", &got, &expected);
    assert_eq!(state_dict(&got).unwrap()["0.num_batches_tracked"].to_vec::<i64>().unwrap(), [3]);
}

#[test]
fn a_rule_without_a_kernel_is_refused_by_name_and_changes_nothing() {
    let Some(turn) = gpu() else { return };
    let rules: [(&str, Box<dyn Optimize>); 11] = [
        ("rms_prop", Box::new(RmsProp::new(0.01))),
        ("adagrad", Box::new(Adagrad::new(0.01))),
        ("adadelta", Box::new(Adadelta::new(0.01))),
        ("adamax", Box::new(Adamax::new(0.01))),
        ("n_adam", Box::new(NAdam::new(0.01))),
        ("r_adam", Box::new(RAdam::new(0.01))),
        ("lion", Box::new(Lion::new(0.01))),
        ("asgd", Box::new(Asgd::new(0.01))),
        ("rprop", Box::new(Rprop::new(0.01))),
        ("lamb", Box::new(Lamb::new(0.01))),
        ("adafactor", Box::new(Adafactor::new(0.01))),
    ];
    for (name, mut rule) in rules {
        let mut model = network(1);
        // With a state from the CPU.
        steps(&mut model, &mut *rule, &Device::Cpu, 0..2);
        model.to(&turn.device).unwrap();
        let before = remembered(&model, &*rule);
        let gradients = gradients(&model, &turn.device, 2);
        let error = rule.step(&mut model, &gradients).unwrap_err().to_string();
        assert!(error.starts_with(name) && error.contains("there is no kernel for this rule"), "{name}: {error}");
        assert!(remembered(&model, &*rule) == before && rule.steps() == 2, "{name}");
        // Back on the CPU it goes on.
        model.to(&Device::Cpu).unwrap();
        steps(&mut model, &mut *rule, &Device::Cpu, 2..3);
    }
}

#[test]
fn lbfgs_walks_on_the_cpu_and_evaluates_on_the_gpu() {
    let Some(turn) = gpu() else { return };
    let run = |device: &Device| {
        let mut model = on(network(1), device);
        let x = Tensor::normal(&[7, 6], 0.0, 1.0, DType::F32, &mut Rng::seeded(3)).unwrap().to(device).unwrap();
        let report = Lbfgs::new().iterations(3).strong_wolfe().minimise(&mut model, |model| {
            let tape = Tape::training(&mut Rng::seeded(0));
            let loss = model.forward(&tape.input(&x))?.square()?.mean()?;
            Ok((loss.item()?, loss.backward()?))
        });
        report.unwrap();
        assert!(state_dict(&model).unwrap().values().all(|array| array.device() == *device));
        model
    };
    close("lbfgs", &run(&turn.device), &run(&Device::Cpu));
}

#[test]
fn averages_of_models_are_the_cpus() {
    let Some(turn) = gpu() else { return };
    type Average = fn(&Sequential) -> AveragedModel<Sequential>;
    let averages: [(&str, Average); 3] = [
        ("swa", |model| AveragedModel::swa(model)),
        ("ema", |model| AveragedModel::ema(model, 0.7).unwrap().warm_up(0.75)),
        ("ema with buffers", |model| AveragedModel::ema(model, 0.6).unwrap().average_buffers()),
    ];
    for (what, start) in averages {
        let run = |device: &Device, beside: &Device| {
            let (mut model, mut adam) = (on(network(1), device), Adam::new(1e-2));
            let mut average = start(&on(model.clone(), beside));
            for step in 0..4 {
                steps(&mut model, &mut adam, device, step..step + 1);
                average.update(&model).unwrap();
            }
            let held = state_dict(average.model()).unwrap();
            assert!(held.values().all(|array| array.device() == *beside), "{what}");
            update_batch_norm(average.model_mut(), 0..3, &mut Rng::seeded(0), |model, tape, seed| {
                let x = Tensor::normal(&[6, 6], 0.0, 1.0, DType::F32, &mut Rng::seeded(seed))?.to(beside)?;
                model.forward(&tape.input(x))
            })
            .unwrap();
            average.into_model()
        };
        let expected = run(&Device::Cpu, &Device::Cpu);
        for (device, beside) in [(turn.device, turn.device), (turn.device, Device::Cpu), (Device::Cpu, turn.device)] {
            close(what, &run(&device, &beside), &expected);
        }
    }
}

#[test]
fn what_is_frozen_for_a_while_joins_again() {
    let Some(turn) = gpu() else { return };
    let run = |device: &Device| {
        let (mut model, mut adam) = (on(network(1), device), Adam::new(1e-2));
        steps(&mut model, &mut adam, device, 0..2);
        let (state, before) = (adam.state(&model), state_dict(&model).unwrap()["0.weight"].to_vec::<f32>().unwrap());
        freeze(&mut model, "0.*").unwrap();
        steps(&mut model, &mut adam, device, 2..4);
        assert_eq!(state_dict(&model).unwrap()["0.weight"].to_vec::<f32>().unwrap(), before);
        unfreeze(&mut model, "0.*").unwrap();
        assert_eq!(adam.rejoin(&model, &state).unwrap(), 1);
        steps(&mut model, &mut adam, device, 4..6);
        model
    };
    close("frozen for a while", &run(&turn.device), &run(&Device::Cpu));
}
