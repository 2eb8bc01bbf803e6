//! Running statistics, as PyTorch keeps them.

use chainrule_autograd::{Array, DType, Gradients, Rng, Tape, Tensor};
use chainrule_nn::*;

/// What an optimizer does with buffer updates.
fn apply(model: &mut dyn Module, gradients: &Gradients) {
    buffers_mut(model, |_, buffer| {
        if let Some(update) = gradients.update(buffer.id) {
            buffer.value = update.apply(&buffer.value).unwrap();
        }
    });
}

fn batch(seed: u64) -> Tensor {
    Tensor::normal(&[3, 2, 2, 2], 1.5, 2.0, DType::F64, &mut Rng::seeded(seed)).unwrap()
}

fn step(norm: &mut BatchNorm2d, x: &Tensor) {
    let tape = Tape::training(&mut Rng::seeded(0));
    let gradients = norm.forward(&tape.input(x)).unwrap().square().unwrap().sum().unwrap().backward().unwrap();
    apply(norm, &gradients);
}

/// Mean and unbiased variance of each channel, by the definition.
fn statistics(x: &Tensor) -> [[f64; 2]; 2] {
    let values = x.to_vec::<f64>().unwrap();
    let mut out = [[0.0; 2]; 2];
    for channel in [0, 1] {
        let own: Vec<f64> = values.chunks(4).skip(channel).step_by(2).flatten().copied().collect();
        let mean = own.iter().sum::<f64>() / 12.0;
        out[0][channel] = mean;
        out[1][channel] = own.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 11.0;
    }
    out
}

fn norm() -> BatchNorm2d {
    let mut norm = BatchNorm2d::new(2).unwrap();
    to_dtype(&mut norm, DType::F64).unwrap();
    norm
}

fn running(norm: &BatchNorm2d) -> [Vec<f64>; 2] {
    [&norm.running_mean, &norm.running_var].map(|b| b.as_ref().unwrap().value.to_vec::<f64>().unwrap())
}

fn assert_near(got: &[Vec<f64>; 2], expected: [[f64; 2]; 2]) {
    for (got, expected) in got.iter().flatten().zip(expected.iter().flatten()) {
        assert!((got - expected).abs() < 1e-12, "{got} {expected}");
    }
}

#[test]
fn they_follow_the_batches() {
    let mut norm = norm();
    let mut expected = [[0.0; 2], [1.0; 2]];
    for seed in 0..3 {
        let x = batch(seed);
        step(&mut norm, &x);
        for (old, new) in expected.iter_mut().flatten().zip(statistics(&x).iter().flatten()) {
            *old = 0.9 * *old + 0.1 * new;
        }
    }
    assert_near(&running(&norm), expected);
    assert_eq!(norm.num_batches_tracked.as_ref().unwrap().value.to_vec::<i64>().unwrap(), [3]);
}

#[test]
fn the_plain_mean_over_all_batches() {
    let mut norm = norm().cumulative();
    let mut expected = [[0.0; 2]; 2];
    for seed in 0..3 {
        let x = batch(seed);
        step(&mut norm, &x);
        expected.iter_mut().flatten().zip(statistics(&x).iter().flatten()).for_each(|(sum, new)| *sum += new / 3.0);
    }
    assert_near(&running(&norm), expected);
}

#[test]
fn two_uses_on_one_tape_compose() {
    let (mut once, mut twice) = (norm(), norm());
    let (a, b) = (batch(1), batch(2));
    step(&mut once, &a);
    step(&mut once, &b);
    let tape = Tape::training(&mut Rng::seeded(0));
    let first = twice.forward(&tape.input(&a)).unwrap();
    let second = twice.forward(&tape.input(&b)).unwrap();
    let gradients = first.add(&second).unwrap().sum().unwrap().backward().unwrap();
    apply(&mut twice, &gradients);
    assert_near(&running(&twice), running(&once).map(|v| [v[0], v[1]]));
    assert_eq!(twice.num_batches_tracked.unwrap().value.item().unwrap(), 2.0);
}

#[test]
fn inference_uses_them_and_leaves_them() {
    let mut norm = norm();
    step(&mut norm, &batch(1));
    let x = batch(2);
    let y = norm.forward(&x).unwrap().to_vec::<f64>().unwrap();
    let [mean, variance] = running(&norm);
    for (i, (y, x)) in y.iter().zip(x.to_vec::<f64>().unwrap()).enumerate() {
        let channel = i / 4 % 2;
        assert!((y - (x - mean[channel]) / (variance[channel] + 1e-5).sqrt()).abs() < 1e-12);
    }
    let tape = Tape::training(&mut Rng::seeded(0));
    let inferred = tape.input(&x).inferring(|x| norm.forward(x)).unwrap();
    assert_eq!(inferred.to_vec::<f64>().unwrap(), y);
    assert_eq!(inferred.sum().unwrap().backward().unwrap().updates().count(), 0);
}

#[test]
fn a_frozen_norm_infers_in_training_and_stays() {
    let mut norm = norm();
    step(&mut norm, &batch(1));
    let off = norm.forward(&batch(2)).unwrap().to_vec::<f64>().unwrap();
    freeze(&mut norm, "*").unwrap();
    let tape = Tape::training(&mut Rng::seeded(0));
    let x = tape.watch(batch(2));
    let y = norm.forward(&x).unwrap();
    assert_eq!(y.to_vec::<f64>().unwrap(), off);
    let gradients = y.sum().unwrap().backward().unwrap();
    assert_eq!((gradients.len(), gradients.updates().count()), (0, 0));
    assert!(gradients.wrt(&x).is_some());
    // With one of the two trainable it is in training again.
    unfreeze(&mut norm, "bias").unwrap();
    let tape = Tape::training(&mut Rng::seeded(0));
    let gradients = norm.forward(&tape.input(batch(2))).unwrap().sum().unwrap().backward().unwrap();
    assert_eq!((gradients.len(), gradients.updates().count()), (1, 3));
}

#[test]
fn one_number_a_channel_has_no_variance() {
    let norm = BatchNorm1d::new(3).unwrap();
    let x = Tensor::ones(&[1, 3], DType::F32).unwrap();
    assert!(norm.forward(&x).is_ok());
    for dims in [[1, 3], [0, 3]] {
        let tape = Tape::training(&mut Rng::seeded(0));
        let error = norm.run(&tape.input(Tensor::ones(&dims, DType::F32).unwrap())).unwrap_err().to_string();
        assert!(error.contains("expected at least 2"), "{error}");
    }
    let without = BatchNorm1d::new(3).unwrap().without_running_statistics();
    assert!(without.run(&x).is_err());
}

#[test]
fn statistics_of_another_type_are_an_error() {
    let norm = BatchNorm1d::new(2).unwrap();
    let x = Tensor::from(Array::ones(&[4, 2], DType::F64).unwrap());
    assert!(norm.run(&x).is_err());
    let tape = Tape::training(&mut Rng::seeded(0));
    assert!(norm.run(&tape.input(&x)).is_err());
}
