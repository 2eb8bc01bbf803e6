//! L-BFGS: where it arrives, that it goes on, what it refuses. Its trajectories stand among the golden cases.

mod support;

use chainrule_autograd::{Array, DType, Gradients, Result, Rng, Tape, Tensor};
use chainrule_nn::{Layer, Linear, Module, Param};
use chainrule_optim::Lbfgs;
use support::bits;

#[derive(Module, Clone)]
struct Net {
    first: Linear,
    last: Linear,
}

fn net() -> Net {
    let mut rng = Rng::seeded(2);
    Net { first: Linear::new(1, 8, &mut rng).unwrap(), last: Linear::new(8, 1, &mut rng).unwrap() }
}

/// How far the network is from a sine.
fn sine(net: &Net) -> Result<(f64, Gradients)> {
    let tape = Tape::training(&mut Rng::seeded(0));
    let x = tape.input(Tensor::from_slice(&(0..40).map(|i| i as f32 / 10.0 - 2.0).collect::<Vec<_>>(), &[40, 1])?);
    let loss = net.last.forward(&net.first.forward(&x)?.tanh()?)?.sub(&x.mul_scalar(2.0)?.sin()?)?.square()?.mean()?;
    Ok((loss.item()?, loss.backward()?))
}

#[test]
fn a_network_learns_a_sine() {
    let mut net = net();
    let mut lbfgs = Lbfgs::new().iterations(150).strong_wolfe();
    let report = lbfgs.minimise(&mut net, sine).unwrap();
    assert!(report.first_loss > 0.1 && report.loss < 1e-4, "{report:?}");
    assert_eq!(sine(&net).unwrap().0, report.loss);
}

#[test]
fn a_resumed_run_has_the_bits_of_an_uninterrupted_one() {
    for lbfgs in [Lbfgs::new().iterations(5).strong_wolfe().history(4), Lbfgs::new().iterations(5).learning_rate(0.3)] {
        let (mut whole, mut resumed, mut model) = (lbfgs.clone(), lbfgs, net());
        whole.minimise(&mut model, sine).unwrap();
        whole.minimise(&mut model, sine).unwrap();
        let mut copy = chainrule_nn::independent(&model);
        resumed.load_state(&whole.state().unwrap()).unwrap();
        for _ in 0..2 {
            assert_eq!(whole.minimise(&mut model, sine).unwrap(), resumed.minimise(&mut copy, sine).unwrap());
        }
        assert_eq!(bits(&model), bits(&copy));
        let mut arrays = whole.state().unwrap();
        arrays.insert("s".into(), Array::zeros(&[1, 2], DType::F64).unwrap());
        assert!(resumed.load_state(&arrays).unwrap_err().to_string().contains("\"s\" is f64 [1, 2], expected f64 ["));
        arrays.remove("step");
        arrays.insert("s".into(), arrays["y"].clone());
        assert!(resumed.load_state(&arrays).unwrap_err().to_string().contains("\"step\" is missing"));
    }
}

#[test]
fn an_error_leaves_everything_as_it_was() {
    let (mut model, mut lbfgs) = (net(), Lbfgs::new().iterations(5).learning_rate(0.1));
    lbfgs.minimise(&mut model, sine).unwrap();
    let state = |lbfgs: &Lbfgs| {
        lbfgs.state().unwrap().into_iter().map(|(name, array)| (name, array.cast(DType::F64).unwrap().to_vec::<f64>().unwrap())).collect::<Vec<_>>()
    };
    let before = (bits(&model), state(&lbfgs));
    let mut refused = |spoil: &dyn Fn(&Net, f64, Gradients) -> (f64, Gradients), part: &str| {
        let mut calls = 0;
        let result = lbfgs.minimise(&mut model, |net| {
            calls += 1;
            let (loss, gradients) = sine(net)?;
            Ok(if calls == 3 { spoil(net, loss, gradients) } else { (loss, gradients) })
        });
        let error = result.unwrap_err().to_string();
        assert!(error.contains(part), "\"{error}\" does not say \"{part}\"");
        assert_eq!((bits(&model), state(&lbfgs)), before);
    };
    refused(&|_, _, gradients| (f64::NAN, gradients), "the loss is NaN");
    refused(
        &|net, loss, mut gradients| {
            gradients.insert(net.last.weight.id, Array::full(&[1, 8], f64::INFINITY, DType::F32).unwrap());
            (loss, gradients)
        },
        "\"last.weight\" is not finite",
    );
    refused(
        &|net, loss, mut gradients| {
            gradients.remove(net.first.weight.id);
            (loss, gradients)
        },
        "\"first.weight\" is trainable and got no gradient",
    );
    chainrule_nn::freeze(&mut model, "first.*").unwrap();
    assert!(lbfgs.minimise(&mut model, sine).unwrap_err().to_string().contains("reset()"));
    lbfgs.reset();
    lbfgs.minimise(&mut model, sine).unwrap();
    assert!(Lbfgs::new().history(0).minimise(&mut model, sine).unwrap_err().to_string().contains("history is 0"));
    assert!(Lbfgs::new().learning_rate(f64::NAN).minimise(&mut model, sine).unwrap_err().to_string().contains("learning_rate is NaN"));
}

#[test]
fn nothing_to_move() {
    let mut none: Vec<Param> = Vec::new();
    let report = Lbfgs::new().minimise(&mut none, |_| Ok((1.0, Gradients::default()))).unwrap();
    assert_eq!((report.loss, report.iterations, report.evaluations), (1.0, 0, 1));
    let mut empty = Param::new(Array::zeros(&[0], DType::F32).unwrap());
    Lbfgs::new()
        .strong_wolfe()
        .minimise(&mut empty, |param| {
            let mut gradients = Gradients::default();
            gradients.insert(param.id, param.value.clone());
            Ok((1.0, gradients))
        })
        .unwrap();
}
