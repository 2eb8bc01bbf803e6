//! The same program on both devices: the losses of 20 steps.

use crate::support::*;
use chainrule::nn::{Layer, Linear, Module, Sequential, state_dict};
use chainrule::optim::{Adam, AdamW, Optimize, Sgd};
use chainrule::{DType, Device, Result, Rng, Tape, Tensor};

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

#[test]
fn more_groups_than_a_warp_has_lanes() {
    let Some(turn) = gpu() else { return };
    let run = |device: &Device| {
        let mut model = (0..40).map(|k| Linear::new(3, 3, &mut Rng::seeded(k)).unwrap()).collect::<Vec<_>>();
        for layer in &mut model {
            layer.to(device).unwrap();
        }
        // A setting for each layer, and a norm that is clipped for all.
        let adam = (0..40).fold(Adam::new(1e-3).clip_norm(0.5), |adam, k| adam.group(&format!("{k}.*"), move |g| g.learning_rate_scale(1.0 + k as f64)));
        let mut adam = adam.group("*.bias", |g| g.weight_decay(0.1));
        for step in 0..3 {
            let tape = Tape::training(&mut Rng::seeded(step));
            let x = tape.input(Tensor::full(&[2, 3], 0.5 + step as f64, DType::F32).unwrap().to(device).unwrap());
            let losses = model.iter().map(|layer| layer.forward(&x).unwrap().square().unwrap().sum().unwrap());
            let loss = losses.reduce(|a, b| a.add(&b).unwrap()).unwrap();
            adam.step(&mut model, &loss.backward().unwrap()).unwrap();
        }
        state_dict(&model).unwrap().values().flat_map(|array| array.to_vec::<f32>().unwrap()).collect::<Vec<_>>()
    };
    let expected = run(&Device::Cpu);
    for s in seeds() {
        seed(s);
        let worst =
            run(&turn.device).iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, |m: f32, d| if d.is_nan() { f32::INFINITY } else { m.max(d) });
        assert!(worst <= 1e-5, "seed {s}: off by {worst:e}");
    }
}
