//! A step as one launch: the numbers of the step as it is written, and what it asks of the driver.

use crate::support::*;
use chainrule::nn::{Layer, Module, Sequential, freeze, state_dict};
use chainrule::optim::{Adam, CapturedStep, Schedule, Sgd};
use chainrule::{DType, Device, Result, Rng, Tape, Tensor};
use chainrule_softgpu::control;

fn loss(model: &Sequential, tape: &Tape, inputs: &[Tensor]) -> Result<Tensor, chainrule::TensorError> {
    model.forward(&tape.input(&inputs[0]))?.cross_entropy(&inputs[1])
}

/// Losses and final numbers with `sizes` as the batches' sizes.
fn trained(device: &Device, make: fn(&mut Rng) -> Result<Sequential>, sizes: &[usize]) -> (Vec<f64>, Vec<f32>, usize) {
    let mut rng = Rng::seeded(3);
    let mut model = make(&mut rng).unwrap();
    model.to(device).unwrap();
    let mut adam = Adam::new(2e-3).clip_norm(1.0).schedule(Schedule::cosine(sizes.len() as u64));
    let mut step = CapturedStep::new(loss);
    let mut losses = vec![];
    for (i, &n) in sizes.iter().enumerate() {
        let (images, labels) = batch(n, i as u64 % 3);
        losses.push(step.run(&mut model, &mut adam, &mut rng, &[&images, &labels]).unwrap());
    }
    step.finish(&model, &mut adam).unwrap();
    assert_eq!(adam.steps(), sizes.len() as u64);
    let losses = losses.iter().map(|loss| loss.item().unwrap()).collect();
    let numbers = state_dict(&model).unwrap().values().flat_map(|array| array.to_vec::<f32>().unwrap()).collect();
    (losses, numbers, step.captured())
}

#[test]
fn captured_steps_are_the_written_ones() {
    let Some(turn) = gpu() else { return };
    // A ragged last batch in each of three epochs.
    let sizes = [8, 8, 8, 5, 8, 8, 8, 5, 8, 8, 8, 5];
    for (what, make) in [("mlp", mlp as fn(&mut Rng) -> Result<Sequential>), ("lenet", lenet)] {
        let (expected, numbers, _) = trained(&Device::Cpu, make, &sizes);
        for s in seeds().take(2) {
            seed(s);
            let (got, there, captured) = trained(&turn.device, make, &sizes);
            assert_eq!(captured, 2, "one for each size");
            let worst = difference(&got, &expected);
            let moved = there.iter().zip(&numbers).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            println!("{what} captured, seed {s}: losses off by at most {worst:.1e}, numbers by {moved:.1e}");
            assert!(worst <= 1e-4, "{what}: {got:?}, expected {expected:?}");
        }
    }
}

#[test]
fn in_steady_state_a_step_is_one_launch() {
    let Some(turn) = gpu() else { return };
    let mut rng = Rng::seeded(3);
    let mut model = lenet(&mut rng).unwrap();
    model.to(&turn.device).unwrap();
    let mut adam = Adam::new(1e-3);
    let mut step = CapturedStep::new(loss);
    let batches: Vec<_> = (0..3).map(|i| batch(8, i)).collect();
    let mut run = |count: usize| {
        for i in 0..count {
            let (images, labels) = &batches[i % 3];
            drop(step.run(&mut model, &mut adam, &mut rng, &[images, labels]).unwrap());
        }
    };
    run(4);
    turn.device.synchronize().unwrap();
    let gpu = chainrule::core::cuda::Gpu::get(0).unwrap();
    let (before, driver) = (gpu.counters(), control::counters());
    run(10);
    let after = gpu.counters();
    let told = |what: &str, before: u64, after: u64, expected: u64| assert_eq!(after - before, expected, "{what} in 10 steps");
    told("graph launches", before.graph_launches, after.graph_launches, 10);
    told("launches beside the graph", before.launches, after.launches, 0);
    told("allocations", before.allocations, after.allocations, 0);
    told("synchronisations", before.synchronisations, after.synchronisations, 0);
    if let (Ok(before), Ok(after)) = (driver, control::counters()) {
        // What the driver itself has seen.
        let seen = after.since(&before);
        assert_eq!((seen.graph_launches, seen.kernel_launches, seen.allocations), (10, 0, 0), "{seen:?}");
        assert_eq!((seen.stream_synchronisations, seen.context_synchronisations, seen.implicit_synchronisations), (0, 0, 0), "{seen:?}");
    }
}

#[test]
fn whatever_changes_is_captured_again() {
    let Some(turn) = gpu() else { return };
    let run = |device: &Device| {
        let mut rng = Rng::seeded(5);
        let mut model = mlp(&mut rng).unwrap();
        model.to(device).unwrap();
        let mut sgd = Sgd::new(0.05).momentum(0.9);
        let mut step = CapturedStep::new(loss);
        let (images, labels) = batch(6, 1);
        let mut losses = vec![];
        let mut snapshot = None;
        for i in 0..12 {
            match i {
                4 => sgd.set_learning_rate(0.02),
                6 => drop(freeze(&mut model, "1.*").unwrap()),
                9 => snapshot = Some((model.clone(), state_dict(&model).unwrap().values().map(|a| a.to_vec::<f32>().unwrap()).collect::<Vec<_>>())),
                _ => {}
            }
            losses.push(step.run(&mut model, &mut sgd, &mut rng, &[&images, &labels]).unwrap().item().unwrap());
        }
        step.finish(&model, &mut sgd).unwrap();
        // A clone is what it was when it was taken.
        let (clone, numbers) = snapshot.unwrap();
        assert_eq!(state_dict(&clone).unwrap().values().map(|a| a.to_vec::<f32>().unwrap()).collect::<Vec<_>>(), numbers);
        losses
    };
    let (expected, got) = (run(&Device::Cpu), run(&turn.device));
    let worst = difference(&got, &expected);
    assert!(worst <= 1e-4, "{got:?}, expected {expected:?}");
}

#[test]
fn a_gradient_that_is_not_finite_stops_the_steps_and_is_told() {
    let Some(turn) = gpu() else { return };
    let mut rng = Rng::seeded(5);
    let mut model = mlp(&mut rng).unwrap();
    model.to(&turn.device).unwrap();
    let mut adam = Adam::new(1e-3);
    let mut step = CapturedStep::new(loss);
    let (good, labels) = batch(6, 1);
    for _ in 0..4 {
        step.run(&mut model, &mut adam, &mut rng, &[&good, &labels]).unwrap();
    }
    step.finish(&model, &mut adam).unwrap();
    let numbers = |model: &Sequential| state_dict(model).unwrap().values().flat_map(|a| a.to_vec::<f32>().unwrap()).collect::<Vec<_>>();
    let before = numbers(&model);
    let bad = good.mul_scalar(f64::INFINITY).unwrap();
    step.run(&mut model, &mut adam, &mut rng, &[&bad, &labels]).unwrap();
    let error = step.finish(&model, &mut adam).unwrap_err().to_string();
    assert!(error.contains("not finite") && error.contains("1.weight"), "{error}");
    assert_eq!((adam.steps(), numbers(&model)), (4, before));
    step.run(&mut model, &mut adam, &mut rng, &[&good, &labels]).unwrap();
    step.finish(&model, &mut adam).unwrap();
    assert_eq!(adam.steps(), 5);
}

#[test]
fn what_cannot_be_captured_is_an_error_and_changes_nothing() {
    let Some(turn) = gpu() else { return };
    let mut rng = Rng::seeded(5);
    let mut model = mlp(&mut rng).unwrap();
    model.to(&turn.device).unwrap();
    let mut adam = Adam::new(1e-3);
    let mut step = CapturedStep::new(|model: &Sequential, tape: &Tape, inputs: &[Tensor]| {
        let loss = loss(model, tape, inputs)?;
        // Reads a number back.
        loss.mul_scalar(1.0 / (1.0 + loss.item()?.abs()))
    });
    let (images, labels) = batch(6, 1);
    step.run(&mut model, &mut adam, &mut rng, &[&images, &labels]).unwrap();
    let (before, state) = (state_dict(&model).unwrap()["1.weight"].to_vec::<f32>().unwrap(), rng.clone());
    let error = step.run(&mut model, &mut adam, &mut rng, &[&images, &labels]).err().unwrap().to_string();
    assert!(error.contains("captured"), "{error}");
    assert_eq!((state_dict(&model).unwrap()["1.weight"].to_vec::<f32>().unwrap(), adam.steps()), (before, 1));
    assert_eq!(rng, state);
    // And the GPU goes on.
    let x = Tensor::ones(&[3], DType::F32).unwrap().to(&turn.device).unwrap();
    assert_eq!(x.add(&x).unwrap().to_vec::<f32>().unwrap(), [2.0; 3]);
}

#[test]
fn threads_do_not_disturb_each_other() {
    let Some(turn) = gpu() else { return };
    let sizes = [6, 4, 6, 4, 6, 4, 6];
    let alone = trained(&turn.device, mlp, &sizes);
    // Four threads: two capture and replay, two compute as they go.
    let together: Vec<_> = std::thread::scope(|scope| {
        let captured: Vec<_> = (0..2).map(|_| scope.spawn(|| trained(&turn.device, mlp, &sizes))).collect();
        let computed: Vec<_> = (0..2)
            .map(|k| {
                let device = turn.device;
                scope.spawn(move || {
                    let x = Tensor::full(&[64], 1.0 + k as f64, DType::F32).unwrap().to(&device).unwrap();
                    for _ in 0..200 {
                        let y = x.square().unwrap().add(&x).unwrap().sum().unwrap();
                        assert_eq!(y.item().unwrap(), 64.0 * (1.0 + k as f64) * (2.0 + k as f64));
                    }
                })
            })
            .collect();
        computed.into_iter().for_each(|thread| thread.join().unwrap());
        captured.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for result in together {
        assert!(result == alone, "other bits beside other threads");
    }
}
