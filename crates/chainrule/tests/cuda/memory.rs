//! Memory that runs out: an error, nothing lost, and the next step works.

use crate::support::*;
use chainrule::nn::{Layer, Module, Sequential, state_dict};
use chainrule::optim::{Adam, CapturedStep};
use chainrule::{Device, Result, Rng, Tape, Tensor};
use chainrule_softgpu::control::{self, Failure};

fn step(model: &mut Sequential, adam: &mut Adam, device: &Device, n: usize) -> Result<f64> {
    let (images, labels) = batch(n, 0);
    let tape = Tape::training(&mut Rng::seeded(1));
    let loss = model.forward(&tape.input(images.to(device)?))?.cross_entropy(&labels.to(device)?)?;
    let value = loss.item()?;
    adam.step(model, &loss.backward()?)?;
    Ok(value)
}

#[test]
fn each_allocation_of_a_step_may_fail() {
    let Some(turn) = gpu() else { return };
    if !control::is_software() {
        return println!("SKIPPED: allocations fail by order on the software GPU alone");
    }
    let (device, mut rng) = (turn.device, Rng::seeded(3));
    let mut model = mlp(&mut rng).unwrap();
    model.to(&device).unwrap();
    let adam = Adam::new(1e-3);
    let expected = step(&mut model.clone(), &mut adam.clone(), &device, 4).unwrap();
    // Nothing is kept for reuse, so that a step asks for all it needs.
    let fresh = || device.release_cached().unwrap();
    fresh();
    let before = control::counters().unwrap();
    step(&mut model.clone(), &mut adam.clone(), &device, 4).unwrap();
    let asked = control::counters().unwrap().since(&before).allocations;
    assert!(asked > 20, "a step from nothing asks for {asked} blocks");
    let numbers = |model: &Sequential| state_dict(model).unwrap().values().flat_map(|a| a.to_vec::<f32>().unwrap()).collect::<Vec<_>>();
    let untouched = numbers(&model);
    let mut refused = 0;
    for n in 1..=asked {
        fresh();
        // All from the n-th on, because the allocator tries again after giving back what it kept.
        control::fail_allocation(Failure::From(n)).unwrap();
        let (mut model, mut adam) = (model.clone(), adam.clone());
        let failed = step(&mut model, &mut adam, &device, 4);
        control::fail_allocation(Failure::Never).unwrap();
        if let Err(error) = failed {
            refused += 1;
            assert!(error.to_string().contains("memory"), "allocation {n}: {error}");
            assert_eq!((numbers(&model), adam.steps()), (untouched.clone(), 0), "allocation {n}");
        }
        // The next step works, a smaller one, and the same one with the same loss.
        step(&mut model.clone(), &mut adam.clone(), &device, 2).unwrap();
        if adam.steps() == 0 {
            assert_eq!(step(&mut model, &mut adam, &device, 4).unwrap(), expected, "after allocation {n}");
        }
    }
    println!("{asked} allocations a step, {refused} refusals, each an error and nothing else");
    assert_eq!(refused, asked);
}

#[test]
fn each_allocation_of_a_captured_step_may_fail() {
    let Some(turn) = gpu() else { return };
    if !control::is_software() {
        return println!("SKIPPED: allocations fail by order on the software GPU alone");
    }
    let (device, mut rng) = (turn.device, Rng::seeded(3));
    let mut model = mlp(&mut rng).unwrap();
    model.to(&device).unwrap();
    let (mut adam, function) = (Adam::new(1e-3), |model: &Sequential, tape: &Tape, x: &[Tensor]| model.forward(&tape.input(&x[0]))?.cross_entropy(&x[1]));
    let (images, labels) = batch(4, 0);
    let small = batch(2, 0);
    // The first step as it is written, and then the one that is captured.
    CapturedStep::new(function).run(&mut model, &mut adam, &mut rng, &[&images, &labels]).unwrap();
    let numbers = |model: &Sequential| state_dict(model).unwrap().values().flat_map(|a| a.to_vec::<f32>().unwrap()).collect::<Vec<_>>();
    let untouched = numbers(&model);
    let attempt = |n: u64| {
        let (mut model, mut adam, mut rng) = (model.clone(), adam.clone(), rng.clone());
        let mut step = CapturedStep::new(function);
        step.run(&mut model, &mut adam, &mut rng, &[&images, &labels]).unwrap();
        let before = numbers(&model);
        device.release_cached().unwrap();
        control::fail_allocation(Failure::From(n)).unwrap();
        let captured = step.run(&mut model, &mut adam, &mut rng, &[&images, &labels]).map(drop);
        control::fail_allocation(Failure::Never).unwrap();
        if let Err(error) = &captured {
            assert!(error.to_string().contains("memory"), "allocation {n}: {error}");
            assert_eq!((numbers(&model), adam.steps(), step.captured()), (before, 2, 0), "allocation {n}");
        }
        step.run(&mut model, &mut adam, &mut rng, &[&small.0, &small.1]).unwrap();
        step.run(&mut model, &mut adam, &mut rng, &[&images, &labels]).unwrap();
        step.finish(&model, &mut adam).unwrap();
        (captured.is_err(), adam.steps())
    };
    let refused = (1..200).take_while(|&n| attempt(n) == (true, 4)).count();
    assert_eq!(attempt(refused as u64 + 1), (false, 5), "after {refused} refusals");
    println!("capturing asks for {refused} blocks; each refusal is an error and nothing else");
    assert!(refused > 20);
    assert_eq!(numbers(&model), untouched);
}

#[test]
fn one_refusal_is_overcome_by_giving_back_what_is_kept() {
    let Some(turn) = gpu() else { return };
    if !control::is_software() {
        return println!("SKIPPED: allocations fail by order on the software GPU alone");
    }
    let big = chainrule::Tensor::zeros(&[1 << 16], chainrule::DType::F32).unwrap();
    drop(big.to(&turn.device).unwrap());
    assert!(turn.device.memory().unwrap().cached > 0);
    control::fail_allocation(Failure::Once(1)).unwrap();
    let bigger = chainrule::Tensor::ones(&[1 << 20], chainrule::DType::F32).unwrap().to(&turn.device).unwrap();
    assert_eq!(bigger.device(), turn.device);
    assert_eq!(turn.device.memory().unwrap().cached, 0);
}

#[test]
fn a_limit_is_kept() {
    let Some(turn) = gpu() else { return };
    let live = turn.device.memory().unwrap().live;
    turn.device.set_memory_limit(Some(live + (1 << 20))).unwrap();
    let refused = chainrule::Tensor::zeros(&[1 << 20], chainrule::DType::F32).unwrap().to(&turn.device);
    turn.device.set_memory_limit(None).unwrap();
    assert!(refused.err().unwrap().to_string().contains("limit"));
}
