//! Rules that PyTorch lacks, against their papers' algorithms written out in double precision.

mod support;

use chainrule_autograd::{Array, DType, Gradients};
use chainrule_nn::Param;
use chainrule_optim::{Lamb, Lion, Optimize};
use support::numbers;

/// Ten steps of a rule on one parameter, beside the paper's on plain numbers: `paper(t, p, g)` moves p.
fn compare(optimizer: impl Fn() -> Box<dyn Optimize>, mut paper: impl FnMut(i32, &mut [f64], &[f64]), dims: &[usize]) {
    let start = numbers(dims, 3, DType::F32).cast(DType::F64).unwrap();
    let gradients: Vec<_> = (0..10).map(|t| numbers(dims, 5 + t, DType::F32).cast(DType::F64).unwrap()).collect();
    let mut expected = vec![start.to_vec::<f64>().unwrap()];
    for (t, g) in gradients.iter().enumerate() {
        let mut p = expected[t].clone();
        paper(t as i32 + 1, &mut p, &g.to_vec::<f64>().unwrap());
        expected.push(p);
    }
    for (dtype, tolerance) in [(DType::F64, 1e-12), (DType::F32, 2e-6)] {
        let (mut optimizer, mut param) = (optimizer(), Param::new(start.cast(dtype).unwrap()));
        for (g, expected) in gradients.iter().zip(&expected[1..]) {
            let mut gradients = Gradients::default();
            gradients.insert(param.id, g.cast(dtype).unwrap());
            optimizer.step(&mut param, &gradients).unwrap();
            let got = param.value.cast(DType::F64).unwrap().to_vec::<f64>().unwrap();
            assert!(got.iter().zip(expected).all(|(g, e)| (g - e).abs() < tolerance), "{dtype}: {got:?}, expected {expected:?}");
        }
    }
}

/// Chen et al., 2023, algorithm 2.
#[test]
fn lion() {
    for (beta1, beta2, decay) in [(0.9, 0.99, 0.0), (0.8, 0.7, 0.3)] {
        let mut m = [0.0; 15];
        let paper = |_: i32, p: &mut [f64], g: &[f64]| {
            for i in 0..p.len() {
                let update = beta1 * m[i] + (1.0 - beta1) * g[i];
                let sign = if update == 0.0 { 0.0 } else { update.signum() };
                p[i] -= 0.05 * (sign + decay * p[i]);
                m[i] = beta2 * m[i] + (1.0 - beta2) * g[i];
            }
        };
        compare(|| Box::new(Lion::new(0.05).betas(beta1, beta2).weight_decay(decay)), paper, &[5, 3]);
    }
}

/// You et al., 2020, algorithm 2, φ being the identity.
#[test]
fn lamb() {
    for (beta1, beta2, eps, decay) in [(0.9, 0.999, 1e-6, 0.01), (0.8, 0.9, 1e-2, 0.0)] {
        let (mut m, mut v) = ([0.0; 15], [0.0; 15]);
        let paper = |t: i32, p: &mut [f64], g: &[f64]| {
            let mut u = vec![0.0; p.len()];
            for i in 0..p.len() {
                m[i] = beta1 * m[i] + (1.0 - beta1) * g[i];
                v[i] = beta2 * v[i] + (1.0 - beta2) * g[i] * g[i];
                let (m, v): (f64, f64) = (m[i] / (1.0 - f64::powi(beta1, t)), v[i] / (1.0 - f64::powi(beta2, t)));
                u[i] = m / (v.sqrt() + eps) + decay * p[i];
            }
            let norm = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt();
            let ratio = norm(p) / norm(&u);
            p.iter_mut().zip(u).for_each(|(p, u)| *p -= 0.02 * ratio * u);
        };
        compare(|| Box::new(Lamb::new(0.02).betas(beta1, beta2).eps(eps).weight_decay(decay)), paper, &[3, 5]);
    }
}

/// Where a norm is 0 the ratio is 1.
#[test]
fn lamb_of_nothing() {
    let step = |p: [f64; 4], g: [f64; 4]| {
        let mut param = Param::new(Array::from_slice(&p, &[4]).unwrap());
        let mut gradients = Gradients::default();
        gradients.insert(param.id, Array::from_slice(&g, &[4]).unwrap());
        Lamb::new(0.02).step(&mut param, &gradients).unwrap();
        param.value.to_vec::<f64>().unwrap()
    };
    let moved = step([0.0; 4], [1.0, -1.0, 2.0, 0.0]);
    assert!(moved.iter().zip([-0.02, 0.02, -0.02, 0.0]).all(|(got, want)| (got - want).abs() < 1e-7), "{moved:?}");
    assert_eq!(step([1.0, 2.0, 3.0, 4.0], [0.0; 4]), [1.0, 2.0, 3.0, 4.0]);
}
