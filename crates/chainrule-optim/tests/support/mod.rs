//! What the tests share: a table of all rules, a small model, gradients from a formula.
#![allow(dead_code, reason = "every test program uses a part")]

use chainrule_autograd::{Array, DType, Gradients};
use chainrule_nn::{Buffer, Module, Param, buffers, params};
use chainrule_optim::{Adadelta, Adafactor, Adagrad, Adam, AdamW, Adamax, Asgd, Lamb, Lion, NAdam, Optimize, RAdam, RmsProp, Rprop, Sgd, StepReport};

/// Every rule, in all its forms.
pub fn rules(rate: f64) -> Vec<(&'static str, Box<dyn Optimize>)> {
    vec![
        ("sgd", Box::new(Sgd::new(rate))),
        ("sgd, L2", Box::new(Sgd::new(rate).weight_decay(0.01))),
        ("sgd, momentum", Box::new(Sgd::new(rate).momentum(0.9).clip_norm(1.0))),
        ("sgd, dampening", Box::new(Sgd::new(rate).momentum(0.8).dampening(0.3))),
        ("sgd, nesterov", Box::new(Sgd::new(rate).momentum(0.9).nesterov(true).clip_value(0.2))),
        ("adam", Box::new(Adam::new(rate))),
        ("adam, L2", Box::new(Adam::new(rate).betas(0.8, 0.9).weight_decay(0.01).clip_norm(0.5))),
        ("adam, amsgrad", Box::new(Adam::new(rate).amsgrad(true))),
        ("adam_w", Box::new(AdamW::new(rate))),
        ("adam_w, amsgrad", Box::new(AdamW::new(rate).amsgrad(true).eps(1e-6))),
        ("rms_prop", Box::new(RmsProp::new(rate / 2.0))),
        ("rms_prop, momentum", Box::new(RmsProp::new(rate / 4.0).momentum(0.5).weight_decay(0.01))),
        ("rms_prop, centred", Box::new(RmsProp::new(rate / 4.0).alpha(0.9).eps(0.01).centered(true))),
        ("rms_prop, both", Box::new(RmsProp::new(rate / 4.0).alpha(0.9).eps(0.01).centered(true).momentum(0.5))),
        ("adagrad", Box::new(Adagrad::new(20.0 * rate).initial_accumulator(0.1).rate_decay(1e-4))),
        ("adadelta", Box::new(Adadelta::new(25.0 * rate).eps(1e-3))),
        ("adamax", Box::new(Adamax::new(rate))),
        ("n_adam", Box::new(NAdam::new(rate).weight_decay(0.01))),
        ("n_adam, decoupled", Box::new(NAdam::new(rate).decoupled(true).momentum_decay(0.01).weight_decay(0.01))),
        ("r_adam", Box::new(RAdam::new(rate).betas(0.9, 0.99).weight_decay(0.01))),
        ("r_adam, decoupled", Box::new(RAdam::new(rate).decoupled(true).weight_decay(0.01))),
        ("lion", Box::new(Lion::new(rate / 10.0).weight_decay(0.01))),
        ("asgd", Box::new(Asgd::new(rate).start(2.0))),
        ("rprop", Box::new(Rprop::new(rate))),
        ("lamb", Box::new(Lamb::new(rate).weight_decay(0.01).clip_norm(1.0))),
        ("adafactor", Box::new(Adafactor::new(rate))),
        ("adafactor, decay", Box::new(Adafactor::new(rate).eps1(Some(1e-6)).eps2(0.01).clip(2.0).weight_decay(0.01))),
    ]
}

#[derive(Module, Clone)]
pub struct Layer {
    pub weight: Param,
    pub bias: Param,
}

#[derive(Module, Clone)]
pub struct Model {
    pub first: Layer,
    pub second: Layer,
    pub mean: Buffer,
}

pub fn numbers(dims: &[usize], seed: usize, dtype: DType) -> Array {
    Array::from_index(dims, dtype, |i| (((i + 1) * (seed + 3) * 2_654_435_761) % 1021) as f64 / 510.0 - 1.0).unwrap()
}

fn layer(inputs: usize, outputs: usize, seed: usize, dtype: DType) -> Layer {
    Layer { weight: Param::new(numbers(&[outputs, inputs], seed, dtype)), bias: Param::new(numbers(&[outputs], seed + 1, dtype)) }
}

pub fn model(dtype: DType) -> Model {
    Model { first: layer(5, 4, 1, dtype), second: layer(4, 3, 7, dtype), mean: Buffer::new(numbers(&[4], 9, dtype)) }
}

/// Gradients for all parameters, other ones for every step.
pub fn gradients(model: &dyn Module, step: usize) -> Gradients {
    let mut gradients = Gradients::default();
    let mut place = 0;
    params(model, |_, param| {
        place += 1;
        gradients.insert(param.id, numbers(param.value.dims(), 31 * step + place, param.value.dtype()));
    });
    gradients
}

/// A step with the gradients of that number.
pub fn advance(optimizer: &mut dyn Optimize, model: &mut dyn Module, step: usize) -> StepReport {
    let gradients = gradients(model, step);
    optimizer.step(model, &gradients).unwrap()
}

/// All numbers of a model, bit by bit, with their paths.
pub fn bits(model: &dyn Module) -> Vec<(String, Vec<u64>)> {
    let mut all = Vec::new();
    params(model, |path, param| all.push((path.to_string(), array_bits(&param.value))));
    buffers(model, |path, buffer| all.push((path.to_string(), array_bits(&buffer.value))));
    all
}

/// All that an optimizer remembers, bit by bit.
pub fn state_bits(optimizer: &dyn Optimize, model: &dyn Module) -> Vec<(String, Vec<u64>)> {
    optimizer.state(model).to_arrays().unwrap().into_iter().map(|(name, array)| (name, array_bits(&array))).collect()
}

fn array_bits(array: &Array) -> Vec<u64> {
    match array.dtype() {
        DType::U8 => array.to_vec::<u8>().unwrap().into_iter().map(u64::from).collect(),
        DType::I64 => array.to_vec::<i64>().unwrap().into_iter().map(|x| x as u64).collect(),
        DType::F32 => array.to_vec::<f32>().unwrap().into_iter().map(|x| x.to_bits().into()).collect(),
        _ => array.cast(DType::F64).unwrap().to_vec::<f64>().unwrap().into_iter().map(f64::to_bits).collect(),
    }
}
