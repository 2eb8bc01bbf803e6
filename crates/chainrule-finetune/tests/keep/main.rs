//! Freezing, and the means that keep what a model knew or learn with less: every formula against plain computations, and what each is for.

mod adversarial;
mod contrast;
mod distill;
mod few_shot;
mod freezing;
mod gradual;
mod mixtures;
mod penalties;
mod personalise;
mod samples;

use chainrule_autograd::{Array, DType, Rng, Tensor};
use chainrule_nn::{Linear, Module, Relu, Sequential, params, state_dict};

type Result<T = (), E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

fn noise(dims: &[usize], seed: u64) -> Tensor {
    Tensor::normal(dims, 0.0, 1.0, DType::F64, &mut Rng::seeded(seed)).unwrap()
}

fn numbers(x: &Tensor) -> Vec<f64> {
    x.cast(DType::F64).unwrap().to_vec().unwrap()
}

fn labels(labels: &[i64]) -> Tensor {
    Tensor::from_slice(labels, &[labels.len()]).unwrap()
}

fn assert_near(got: f64, expected: f64, tolerance: f64) {
    assert!((got - expected).abs() <= tolerance, "got {got}, expected {expected}");
}

/// `[.., C]` as rows of probabilities at a temperature.
fn softmax(logits: &[f64], classes: usize, temperature: f64) -> Vec<Vec<f64>> {
    let row = |row: &[f64]| {
        let e: Vec<f64> = row.iter().map(|z| (z / temperature).exp()).collect();
        let sum: f64 = e.iter().sum();
        e.into_iter().map(|e| e / sum).collect()
    };
    logits.chunks(classes).map(row).collect()
}

fn network(widths: [usize; 3], seed: u64) -> Sequential {
    let rng = &mut Rng::seeded(seed);
    let [inputs, hidden, outputs] = widths;
    Sequential::new().add(Linear::new(inputs, hidden, rng).unwrap()).add(Relu).add(Linear::new(hidden, outputs, rng).unwrap())
}

type Bits = Vec<(String, Vec<u64>)>;

/// All numbers of a model, bit by bit.
fn bits(model: &dyn Module) -> Bits {
    let of = |array: &Array| array.cast(DType::F64).unwrap().to_vec::<f64>().unwrap().into_iter().map(f64::to_bits).collect();
    state_dict(model).unwrap().iter().map(|(path, array)| (path.clone(), of(array))).collect()
}

fn trainable(model: &dyn Module) -> Vec<String> {
    let mut paths = Vec::new();
    params(model, |path, param| paths.extend(param.trainable.then(|| path.to_string())));
    paths
}

fn accuracy(logits: &Tensor, labels: &Tensor) -> f64 {
    let right = logits.argmax(-1, false).unwrap().equal(labels).unwrap();
    numbers(&right).iter().sum::<f64>() / labels.count() as f64
}
