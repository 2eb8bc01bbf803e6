//! Initialisers: moments and structure.

use chainrule_autograd::{DType, Rng};
use chainrule_nn::init::{Fan, Nonlinearity};
use chainrule_nn::*;

fn drawn(init: Init, dims: &[usize]) -> Vec<f64> {
    init.array(dims, DType::F64, &mut Rng::seeded(5)).unwrap().to_vec().unwrap()
}

fn deviation(values: &[f64]) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64).sqrt()
}

#[test]
fn deviations_are_those_of_the_papers() {
    // [Out, In, KH, KW]: fan-in 20 · 9, fan-out 50 · 9.
    let dims = [50, 20, 3, 3];
    let (fan_in, fan_out) = (180.0f64, 450.0f64);
    let cases = [
        (Init::XavierUniform { gain: 1.5 }, 1.5 * (2.0 / (fan_in + fan_out)).sqrt()),
        (Init::XavierNormal { gain: 1.0 }, (2.0 / (fan_in + fan_out)).sqrt()),
        (Init::KaimingUniform { fan: Fan::In, nonlinearity: Nonlinearity::Relu }, (2.0 / fan_in).sqrt()),
        (Init::KaimingNormal { fan: Fan::Out, nonlinearity: Nonlinearity::Relu }, (2.0 / fan_out).sqrt()),
        (Init::KaimingNormal { fan: Fan::In, nonlinearity: Nonlinearity::LeakyRelu(0.5) }, (1.6 / fan_in).sqrt()),
        (Init::KaimingNormal { fan: Fan::In, nonlinearity: Nonlinearity::Tanh }, 5.0 / 3.0 / fan_in.sqrt()),
        (Init::KaimingNormal { fan: Fan::In, nonlinearity: Nonlinearity::Selu }, 0.75 / fan_in.sqrt()),
        (Init::Normal { mean: 3.0, deviation: 0.5 }, 0.5),
        (Init::Uniform { low: 1.0, high: 2.0 }, 1.0 / 12f64.sqrt()),
        // Of a normal distribution cut at ±2 deviations.
        (Init::TruncatedNormal { mean: 0.0, deviation: 1.0, low: -2.0, high: 2.0 }, 0.8796),
    ];
    for (init, expected) in cases {
        let got = deviation(&drawn(init, &dims));
        assert!((got / expected - 1.0).abs() < 0.03, "{init:?}: {got} {expected}");
    }
}

#[test]
fn bounds() {
    let within =
        |init: Init, bound: f64| drawn(init, &[40, 30]).iter().all(|x| x.abs() <= bound) && drawn(init, &[40, 30]).iter().any(|x| x.abs() > 0.95 * bound);
    assert!(within(Init::layer_default(), 1.0 / 30f64.sqrt()));
    assert!(within(Init::XavierUniform { gain: 1.0 }, (6.0f64 / 70.0).sqrt()));
    assert!(within(Init::TruncatedNormal { mean: 0.0, deviation: 1.0, low: -1.0, high: 1.0 }, 1.0));
    // Layers: PyTorch's defaults.
    let linear = Linear::new(16, 64, &mut Rng::seeded(0)).unwrap();
    let conv = Conv2d::grouped(8, 32, 3, 2, &mut Rng::seeded(0)).unwrap();
    for (param, bound) in [(&linear.weight, 0.25), (linear.bias.as_ref().unwrap(), 0.25), (&conv.weight, 1.0 / 6.0), (conv.bias.as_ref().unwrap(), 1.0 / 6.0)] {
        let values = param.value.to_vec::<f32>().unwrap();
        assert!(values.iter().all(|x| x.abs() <= bound) && values.iter().any(|x| x.abs() > 0.8 * bound));
    }
}

#[test]
fn orthogonal_rows_or_columns() {
    for dims in [vec![4, 9], vec![9, 4], vec![6, 6], vec![4, 3, 2, 2], vec![0, 3], vec![1, 1]] {
        let q = drawn(Init::Orthogonal { gain: 2.0 }, &dims);
        let (rows, columns) = (dims[0], dims[1..].iter().product::<usize>());
        let vector =
            |i: usize| -> Vec<f64> { if rows <= columns { q[i * columns..][..columns].to_vec() } else { (0..rows).map(|r| q[r * columns + i]).collect() } };
        for i in 0..rows.min(columns) {
            for j in 0..rows.min(columns) {
                let dot: f64 = vector(i).iter().zip(vector(j)).map(|(a, b)| a * b).sum();
                assert!((dot - if i == j { 4.0 } else { 0.0 }).abs() < 1e-12, "{dims:?} {i} {j}: {dot}");
            }
        }
    }
}

#[test]
fn patterns_of_ones_and_zeros() {
    assert_eq!(drawn(Init::Identity, &[2, 3]), [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
    // [4, 2, 1, 3] in two groups: outputs 0, 1 and 2, 3 pass inputs 0, 1 of their group.
    let dirac = drawn(Init::Dirac { groups: 2 }, &[4, 2, 1, 3]);
    let ones: Vec<usize> = dirac.iter().enumerate().filter(|(_, x)| **x == 1.0).map(|(i, _)| i).collect();
    assert_eq!(ones, [1, 6 + 3 + 1, 12 + 1, 18 + 3 + 1]);
    assert_eq!(dirac.iter().sum::<f64>(), 4.0);
    let sparse = drawn(Init::Sparse { sparsity: 0.25, deviation: 1.0 }, &[10, 6]);
    for column in 0..6 {
        assert_eq!((0..10).filter(|row| sparse[row * 6 + column] == 0.0).count(), 3);
    }
    assert_eq!(drawn(Init::Constant(2.5), &[2]), [2.5, 2.5]);
}

#[test]
fn the_same_seed_draws_the_same_and_errors_say_what_is_wrong() {
    assert_eq!(drawn(Init::layer_default(), &[3, 3]), drawn(Init::layer_default(), &[3, 3]));
    let rng = &mut Rng::seeded(0);
    for (init, dims) in [
        (Init::XavierNormal { gain: 1.0 }, vec![3]),
        (Init::layer_default(), vec![]),
        (Init::Orthogonal { gain: 1.0 }, vec![3]),
        (Init::Identity, vec![2, 2, 2]),
        (Init::Dirac { groups: 3 }, vec![4, 2, 1]),
        (Init::Dirac { groups: 0 }, vec![4, 2, 1]),
        (Init::Sparse { sparsity: 1.5, deviation: 1.0 }, vec![2, 2]),
        (Init::TruncatedNormal { mean: 0.0, deviation: 1.0, low: 8.0, high: 9.0 }, vec![2]),
        (Init::TruncatedNormal { mean: 0.0, deviation: 1.0, low: 1.0, high: -1.0 }, vec![2]),
        (Init::TruncatedNormal { mean: f64::NAN, deviation: 1.0, low: -1.0, high: 1.0 }, vec![2]),
        (Init::TruncatedNormal { mean: 0.5, deviation: 1.0, low: 0.5, high: 0.5 + 1e-300 }, vec![2]),
    ] {
        assert!(init.array(&dims, DType::F32, rng).unwrap_err().to_string().starts_with("init: "), "{init:?}");
    }
    assert!(Init::Constant(1.0).array(&[2], DType::I64, rng).is_err());
    assert_eq!(Init::layer_default().array(&[2, 2], DType::BF16, rng).unwrap().dtype(), DType::BF16);
}

#[test]
fn by_pattern() {
    let rng = &mut Rng::seeded(0);
    let mut model = Sequential::new().add(Linear::new(3, 3, rng).unwrap()).add(Linear::new(3, 3, rng).unwrap());
    assert_eq!(initialise(&mut model, "*.bias", Init::Constant(0.5), rng).unwrap(), 2);
    assert_eq!(state_dict(&model).unwrap()["1.bias"].to_vec::<f32>().unwrap(), [0.5; 3]);
    let before = state_dict(&model).unwrap();
    assert!(initialise(&mut model, "*.bais", Init::Constant(0.0), rng).unwrap_err().to_string().contains("0.bias"));
    // Weights could be drawn, biases not: nothing is changed.
    assert!(initialise(&mut model, "*", Init::XavierNormal { gain: 1.0 }, rng).is_err());
    assert!(state_dict(&model).unwrap().iter().all(|(path, array)| array.is_same(&before[path])));
}
