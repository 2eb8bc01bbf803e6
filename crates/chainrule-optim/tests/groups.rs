//! Groups, clipping, missing gradients, any optimizer by name.

mod support;

use chainrule_autograd::{Array, DType, Gradients};
use chainrule_nn::{Module, Param, params};
use chainrule_optim::{AdamW, Schedule, Sgd};
use support::{advance, bits, gradients, model, numbers};

/// How far every parameter moved from 0 under gradients of -1, by path.
fn moves(mut sgd: Sgd, steps: usize) -> Vec<(String, f64)> {
    let mut model = model(DType::F64);
    let mut gradients = Gradients::default();
    chainrule_nn::params_mut(&mut model, |_, param| {
        param.value = Array::zeros(param.value.dims(), DType::F64).unwrap();
        gradients.insert(param.id, Array::full(param.value.dims(), -1.0, DType::F64).unwrap());
    });
    for _ in 0..steps {
        sgd.step(&mut model, &gradients).unwrap();
    }
    let mut moved = Vec::new();
    params(&model, |path, param| moved.push((path.to_string(), param.value.to_vec::<f64>().unwrap()[0])));
    moved
}

fn assert_moves(sgd: Sgd, steps: usize, expected: [f64; 4]) {
    let moved = moves(sgd, steps);
    for ((path, moved), expected) in moved.iter().zip(expected) {
        assert!((moved - expected).abs() < 1e-12, "{path} moved by {moved}, expected {expected}");
    }
}

#[test]
fn groups_add_up_and_the_last_one_holds() {
    assert_moves(Sgd::new(0.5), 1, [0.5; 4]);
    assert_moves(Sgd::new(0.5).group("*.bias", |g| g.learning_rate(2.0)), 1, [0.5, 2.0, 0.5, 2.0]);
    let two = || Sgd::new(0.5).group("*.bias", |g| g.learning_rate(2.0)).group("first.{weight,bias}", |g| g.learning_rate_scale(0.1));
    assert_moves(two(), 1, [0.05, 0.2, 0.5, 2.0]);
    assert_moves(two().group("*", |g| g.learning_rate(1.0)), 1, [0.1, 0.1, 1.0, 1.0]);
    // What is set for all holds whether it is set before or after a group.
    let scheduled = two().schedule(Schedule::constant(0.5)).group("second.weight", |g| g.schedule(Schedule::multi_step(&[1], 0.0)));
    assert_moves(scheduled, 2, [0.05, 0.2, 0.5, 2.0]);
    let momentum = Sgd::new(1.0).group("first.*", |g| g.momentum(0.5)).weight_decay(0.0);
    assert_moves(momentum, 2, [2.5, 2.5, 2.0, 2.0]);
}

#[test]
fn a_learning_rate_set_while_running() {
    let mut sgd = Sgd::new(0.5).group("*.bias", |g| g.learning_rate(2.0)).schedule(Schedule::linear(1.0, 0.0, 2));
    assert_eq!(sgd.learning_rate(), 0.5);
    sgd.set_learning_rate(0.25);
    assert_eq!(sgd.learning_rate(), 0.25);
    assert_moves(sgd.clone(), 2, [0.375, 3.0, 0.375, 3.0]);
    sgd.set_factor(2.0);
    assert_moves(sgd, 1, [0.5, 4.0, 0.5, 4.0]);
}

#[test]
fn groups_that_join_later() {
    let mut adam = AdamW::new(0.1);
    let mut model = model(DType::F32);
    advance(&mut adam, &mut model, 0);
    let mut adam = adam.group("first.*", |g| g.learning_rate(0.0)).group("second.*", |g| g.amsgrad(true));
    let before = bits(&model);
    advance(&mut adam, &mut model, 1);
    for ((path, old), (_, new)) in before.iter().zip(&bits(&model)) {
        assert_eq!(path.starts_with("second"), old != new, "{path}");
    }
    let state = adam.state(&model);
    assert_eq!(state.parameters["second.bias"].arrays.keys().collect::<Vec<_>>(), ["exp_avg", "exp_avg_sq", "max_exp_avg_sq"]);
    assert_eq!((state.parameters["first.bias"].arrays.len(), state.parameters["second.bias"].step), (2, 2));
}

/// The gradients as they are after clipping, and the report.
fn clipped(sgd: Sgd, gradients: &[[f64; 2]]) -> (Vec<Vec<f64>>, chainrule_optim::StepReport) {
    let mut model: Vec<Param> = gradients.iter().map(|_| Param::new(Array::zeros(&[2], DType::F64).unwrap())).collect();
    let mut all = Gradients::default();
    gradients.iter().zip(&model).for_each(|(g, param)| all.insert(param.id, Array::from_slice(g, &[2]).unwrap()));
    let report = sgd.maximize().step(&mut model, &all).unwrap();
    (model.iter().map(|p| p.value.to_vec::<f64>().unwrap()).collect(), report)
}

#[test]
fn clipping() {
    let gradients = [[3.0, -4.0], [12.0, 0.0]];
    let (same, report) = clipped(Sgd::new(1.0).clip_norm(13.1), &gradients);
    assert_eq!((same, report.norm, report.clipped), (vec![vec![3.0, -4.0], vec![12.0, 0.0]], 13.0, 1.0));
    let (shorter, report) = clipped(Sgd::new(1.0).clip_norm(1.3), &gradients);
    assert!((report.clipped - 1.3 / 13.000001).abs() < 1e-15 && (shorter[1][0] - 1.2).abs() < 1e-6);
    let (limited, report) = clipped(Sgd::new(1.0).clip_value(3.5), &gradients);
    assert_eq!((limited, report.norm), (vec![vec![3.0, -3.5], vec![3.5, 0.0]], 13.0));
    let (both, _) = clipped(Sgd::new(1.0).clip_norm(1.0).clip_value(4.0), &[[4.0, 0.0], [0.0, 30.0]]);
    assert!((both[0][0] - 0.5f64.sqrt()).abs() < 1e-6 && (both[1][1] - 0.5f64.sqrt()).abs() < 1e-6);
    let (none, report) = clipped(Sgd::new(1.0).clip_norm(0.0), &gradients);
    assert_eq!((none, report.clipped), (vec![vec![0.0; 2]; 2], 0.0));
    // Gradients whose squares overflow are finite all the same.
    let (_, report) = clipped(Sgd::new(1.0).clip_norm(1.0), &[[1e200, 0.0]]);
    assert_eq!((report.norm, report.clipped), (f64::INFINITY, 0.0));
}

#[test]
fn missing_gradients_are_zero_where_allowed() {
    let mut model = model(DType::F32);
    let before = bits(&model);
    let mut part = gradients(&model, 0);
    part.remove(model.first.weight.id);
    part.remove(model.first.bias.id);
    Sgd::new(0.1).missing_as_zero("first.*").group("first.bias", |g| g.weight_decay(1.0)).step(&mut model, &part).unwrap();
    let after = bits(&model);
    let changed: Vec<&str> = before.iter().zip(&after).filter(|(old, new)| old != new).map(|((path, _), _)| path.as_str()).collect();
    assert_eq!(changed, ["first.bias", "second.weight", "second.bias"]);
}

#[test]
fn gradients_of_other_models_and_strided_ones() {
    let mut ours = Param::new(numbers(&[3, 2], 1, DType::F32));
    let mut other = ours.clone();
    let mut gradients = gradients(&model(DType::F32), 0);
    let gradient = numbers(&[2, 3], 2, DType::F32).transpose(0, 1).unwrap();
    gradients.insert(ours.id, gradient.clone());
    Sgd::new(0.1).step(&mut ours, &gradients).unwrap();
    gradients.insert(other.id, gradient.contiguous().unwrap());
    Sgd::new(0.1).step(&mut other, &gradients).unwrap();
    assert_eq!(bits(&ours), bits(&other));
    // A parameter that is itself a view.
    let mut view = Param::new(numbers(&[2, 3], 1, DType::F32).transpose(0, 1).unwrap());
    gradients.insert(view.id, gradient);
    Sgd::new(0.0).step(&mut view, &gradients).unwrap();
    assert_eq!(view.value.to_vec::<f32>().unwrap(), numbers(&[2, 3], 1, DType::F32).transpose(0, 1).unwrap().to_vec::<f32>().unwrap());
}

#[test]
fn empty_parameters_and_empty_models() {
    let mut empty = Param::new(Array::zeros(&[0, 3], DType::F32).unwrap());
    let gradients = gradients(&empty, 0);
    assert_eq!(AdamW::new(0.1).clip_norm(1.0).step(&mut empty, &gradients).unwrap().norm, 0.0);
    let mut nothing: Vec<Param> = Vec::new();
    let module: &mut dyn Module = &mut nothing;
    assert_eq!(AdamW::new(0.1).step(module, &gradients).unwrap().steps, 1);
}
