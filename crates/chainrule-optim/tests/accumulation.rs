//! Gradients of several small batches, added up, are those of one large batch.

use chainrule_autograd::{DType, Gradients, Rng, Tape, Tensor};
use chainrule_nn::{BatchNorm1d, Layer, Linear, Module, params, to_dtype};
use chainrule_optim::AdamW;

#[derive(Module, Clone)]
struct Net {
    first: Linear,
    last: Linear,
    norm: BatchNorm1d,
}

/// A network in double precision, inputs and targets.
fn setting() -> (Net, Tensor, Tensor) {
    let mut rng = Rng::seeded(8);
    let first = Linear::new(3, 5, &mut rng).unwrap();
    let mut net = Net { first, last: Linear::new(5, 2, &mut rng).unwrap(), norm: BatchNorm1d::new(3).unwrap() };
    to_dtype(&mut net, DType::F64).unwrap();
    let data = |columns, rng: &mut Rng| Tensor::uniform(&[12, columns], -1.0, 1.0, DType::F64, rng).unwrap();
    let (x, y) = (data(3, &mut rng), data(2, &mut rng));
    (net, x, y)
}

fn gradients(net: &Net, x: &Tensor, y: &Tensor, norm: bool) -> Gradients {
    let tape = Tape::training(&mut Rng::seeded(0));
    let x = tape.input(x);
    let x = if norm { net.norm.forward(&x).unwrap() } else { x };
    let y_hat = net.last.forward(&net.first.forward(&x).unwrap().tanh().unwrap()).unwrap();
    y_hat.sub(y).unwrap().square().unwrap().mean().unwrap().backward().unwrap()
}

#[test]
fn small_batches_add_up_to_a_large_one() {
    let (net, x, y) = setting();
    let (mut at_once, mut in_parts) = (net.clone(), net);
    let optimizer = || AdamW::new(0.1).clip_norm(0.05).missing_as_zero("norm.*").group("norm.*", |g| g.weight_decay(0.0));
    let (mut one, mut other) = (optimizer(), optimizer());
    for _ in 0..5 {
        let whole = gradients(&at_once, &x, &y, false);
        let norm = one.step(&mut at_once, &whole).unwrap().norm;
        let mut sum = Gradients::default();
        for i in 0..3 {
            let part = |t: &Tensor| t.narrow(0, 4 * i, 4).unwrap();
            sum = sum.add(gradients(&in_parts, &part(&x), &part(&y), false)).unwrap();
        }
        let report = other.step(&mut in_parts, &sum.scale(1.0 / 3.0).unwrap()).unwrap();
        assert!((report.norm - norm).abs() < 1e-12);
    }
    let mut expected = Vec::new();
    params(&at_once, |_, param| expected.extend(param.value.to_vec::<f64>().unwrap()));
    let mut got = Vec::new();
    params(&in_parts, |_, param| got.extend(param.value.to_vec::<f64>().unwrap()));
    assert!(got.iter().zip(&expected).all(|(g, e)| (g - e).abs() < 1e-10));
}

#[test]
fn running_statistics_follow_every_part() {
    let (net, x, y) = setting();
    let mut in_parts = net.clone();
    let mut sum = Gradients::default();
    // What the statistics are after one part at a time.
    let (mut mean, mut batches) = (vec![0.0; 3], 0);
    for i in 0..3 {
        let part = |t: &Tensor| t.narrow(0, 4 * i, 4).unwrap();
        sum = sum.add(gradients(&net, &part(&x), &part(&y), true)).unwrap();
        let of_part = part(&x).mean_over(&[0], false).unwrap().to_vec::<f64>().unwrap();
        mean.iter_mut().zip(of_part).for_each(|(mean, x)| *mean = 0.9 * *mean + 0.1 * x);
        batches += 1;
    }
    AdamW::new(0.1).step(&mut in_parts, &sum.scale(1.0 / 3.0).unwrap()).unwrap();
    let got = in_parts.norm.running_mean.as_ref().unwrap().value.to_vec::<f64>().unwrap();
    assert!(got.iter().zip(&mean).all(|(g, m)| (g - m).abs() < 1e-12), "{got:?}, expected {mean:?}");
    assert_eq!(in_parts.norm.num_batches_tracked.as_ref().unwrap().value.to_vec::<i64>().unwrap(), [batches]);
}
