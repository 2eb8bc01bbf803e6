//! The same program on both devices: the losses of 20 steps.

use crate::support::*;
use chainrule::nn::{Layer, Module, Sequential, state_dict};
use chainrule::optim::{Adam, AdamW, Optimize, Sgd};
use chainrule::{Device, Result, Rng, Tape};

const STEPS: u64 = 20;

/// The losses of the steps, and the model's numbers after them.
fn trained(device: &Device, make: fn(&mut Rng) -> Result<Sequential>, optimizer: &mut dyn Optimize, n: usize) -> (Vec<f64>, Vec<f32>) {
    let mut rng = Rng::seeded(7);
    let mut model = make(&mut rng).unwrap();
    model.to(device).unwrap();
    let mut losses = vec![];
    for step in 0..STEPS {
        let (images, labels) = batch(n, step % 4);
        let tape = Tape::training(&mut rng);
        let x = tape.input(images.to(device).unwrap());
        let loss = model.forward(&x).unwrap().cross_entropy(&labels.to(device).unwrap()).unwrap();
        losses.push(loss.item().unwrap());
        optimizer.step(&mut model, &loss.backward().unwrap()).unwrap();
    }
    let numbers = state_dict(&model).unwrap().values().flat_map(|array| array.to_vec::<f32>().unwrap()).collect();
    (losses, numbers)
}

#[track_caller]
fn same_losses(what: &str, make: fn(&mut Rng) -> Result<Sequential>, optimizer: impl Fn() -> Box<dyn Optimize>, n: usize) {
    let Some(turn) = gpu() else { return };
    let (expected, numbers) = trained(&Device::Cpu, make, &mut *optimizer(), n);
    assert!(expected.last() < expected.first(), "{what} learns nothing: {expected:?}");
    for s in seeds() {
        seed(s);
        let (got, there) = trained(&turn.device, make, &mut *optimizer(), n);
        let worst = difference(&got, &expected);
        let moved = there.iter().zip(&numbers).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        println!("{what}, seed {s}: losses off by at most {worst:.1e}, numbers after {STEPS} steps by {moved:.1e}");
        assert!(worst <= 1e-4, "{what}, seed {s}: losses off by {worst:e}\n{got:?}\n{expected:?}");
    }
}

#[test]
fn mlp_with_dropout_and_sgd() {
    same_losses("mlp", mlp, || Box::new(Sgd::new(0.1).momentum(0.9).nesterov(true).weight_decay(1e-3)), 16);
}

#[test]
fn lenet_and_adam() {
    same_losses("lenet", lenet, || Box::new(Adam::new(1e-3).clip_norm(1.0)), 8);
}

#[test]
fn mlp_and_adam_w_with_groups() {
    same_losses("mlp, adam_w", mlp, || Box::new(AdamW::new(2e-3).clip_value(0.05).group("*.bias", |g| g.weight_decay(0.0).learning_rate_scale(2.0))), 16);
}
