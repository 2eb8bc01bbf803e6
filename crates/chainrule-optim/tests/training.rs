//! Optimizers with everything below them: layers, tape, buffer updates.

use chainrule_autograd::{Result, Rng, Tape, Tensor};
use chainrule_nn::{BatchNorm1d, Layer, Linear, Module, Param, buffers, params, params_mut};
use chainrule_optim::{AdamW, Schedule, Sgd, State};

#[derive(Module, Clone)]
struct Net {
    first: Linear,
    norm: BatchNorm1d,
    last: Linear,
}

impl Layer for Net {
    /// `[N, 2] -> [N, 2]`
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.last.forward(&self.norm.forward(&self.first.forward(x)?)?.relu()?)
    }
}

fn net(rng: &mut Rng) -> Net {
    Net { first: Linear::new(2, 16, rng).unwrap(), norm: BatchNorm1d::new(16).unwrap(), last: Linear::new(16, 2, rng).unwrap() }
}

/// Points on two rings, and which ring each is on.
fn rings(count: usize) -> (Tensor, Tensor) {
    let class = |i: usize| i % 2;
    let points: Vec<f32> = (0..count)
        .flat_map(|i| {
            let (angle, radius) = (i as f32 * 2.4, 0.5 + class(i) as f32);
            [radius * angle.cos(), radius * angle.sin()]
        })
        .collect();
    let labels: Vec<i64> = (0..count).map(|i| class(i) as i64).collect();
    (Tensor::from_slice(&points, &[count, 2]).unwrap(), Tensor::from_slice(&labels, &[count]).unwrap())
}

fn addresses(model: &Net) -> Vec<*const f32> {
    let mut all = Vec::new();
    params(model, |_, param| all.push(param.value.as_slice::<f32>().unwrap().as_ptr()));
    all
}

fn running_mean(model: &Net) -> Vec<f32> {
    let mut mean = Vec::new();
    buffers(model, |path, buffer| {
        if path == "norm.running_mean" {
            mean = buffer.value.to_vec::<f32>().unwrap();
        }
    });
    mean
}

fn bits(model: &Net) -> Vec<u32> {
    let mut all = Vec::new();
    let mut add = |param: &Param| all.extend(param.value.to_vec::<f32>().unwrap().into_iter().map(f32::to_bits));
    params(model, |_, param| add(param));
    all.extend(running_mean(model).into_iter().map(f32::to_bits));
    all
}

#[test]
fn a_network_learns_in_place_and_resumes_with_the_same_bits() {
    let mut rng = Rng::seeded(3);
    let mut model = net(&mut rng);
    let (x, labels) = rings(64);
    let optimizer = || AdamW::new(0.1).clip_norm(1.0).group("*.bias", |g| g.weight_decay(0.0)).schedule(Schedule::cosine(60).after_warm_up(5));
    let mut adam = optimizer();
    let step = |model: &mut Net, adam: &mut AdamW| {
        let tape = Tape::training(&mut Rng::seeded(0));
        let loss = model.forward(&tape.input(&x)).unwrap().cross_entropy(&labels).unwrap();
        let gradients = loss.backward().unwrap();
        let before = addresses(model);
        adam.step(model, &gradients).unwrap();
        assert_eq!(addresses(model), before, "a parameter was copied though only the spent tape had read it");
        loss.item().unwrap()
    };
    let mean = running_mean(&model);
    let first = step(&mut model, &mut adam);
    assert_ne!(running_mean(&model), mean);
    for _ in 1..30 {
        step(&mut model, &mut adam);
    }
    let arrays = adam.state(&model).to_arrays().unwrap();
    let mut copy = chainrule_nn::independent(&model);
    // Memory of its own, as after reading a file.
    params_mut(&mut copy, |_, param| assert!(param.value.as_mut_slice::<f32>().is_ok()));
    let last = (0..30).map(|_| step(&mut model, &mut adam)).last().unwrap();
    assert!(last < 0.1 && first > 0.5, "the loss went from {first} to {last}");

    let mut resumed = optimizer();
    resumed.load_state(&copy, &State::from_arrays(&arrays).unwrap()).unwrap();
    for _ in 0..30 {
        step(&mut copy, &mut resumed);
    }
    assert!(bits(&copy) == bits(&model));
}

#[test]
fn replicas_add_up() {
    let mut model = net(&mut Rng::seeded(4));
    let (x, labels) = rings(32);
    let replica = |model: &Net| {
        let tape = Tape::training(&mut Rng::seeded(0));
        model.forward(&tape.input(&x)).unwrap().cross_entropy(&labels).unwrap().backward().unwrap()
    };
    let one = replica(&model);
    let both = std::thread::scope(|scope| {
        let [a, b] = [(); 2].map(|()| scope.spawn(|| replica(&model)));
        a.join().unwrap().add(b.join().unwrap()).unwrap()
    });
    let mut single = model.clone();
    let mut sgd = Sgd::new(0.5);
    let report = sgd.step(&mut model, &both).unwrap();
    assert_eq!(report.norm, 2.0 * Sgd::new(1.0).step(&mut single, &one).unwrap().norm);
    // Twice the gradient at half the rate is the same step; the running mean has moved twice.
    let numbers = chainrule_nn::count(&model).all;
    assert_eq!(bits(&model)[..numbers], bits(&single)[..numbers]);
    assert_ne!(running_mean(&model), running_mean(&single));
    let error = sgd.step(&mut model, &both).unwrap_err().to_string();
    assert!(error.contains("norm.running_mean") && error.contains("applied before"), "{error}");
}
