//! The life of adapters: attached, switched, mixed, trained, taken off.

use chainrule_autograd::{DType, Rng, Tape, Tensor};
use chainrule_finetune::{Adapted, Lora, Result};
use chainrule_nn::{Layer, Linear, Module, Relu, Sequential, params, params_mut, state_dict};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

fn base() -> Sequential {
    let rng = &mut Rng::seeded(1);
    Sequential::new().add(Linear::new(6, 8, rng).unwrap()).add(Relu).add(Linear::new(8, 3, rng).unwrap())
}

fn input() -> Tensor {
    Tensor::normal(&[4, 6], 0.0, 1.0, DType::F32, &mut Rng::seeded(2)).unwrap()
}

fn numbers(x: &Tensor) -> Vec<f32> {
    x.to_vec().unwrap()
}

/// Random numbers in all that is trained.
fn shaken(model: &mut dyn Module, seed: u64) {
    let rng = &mut Rng::seeded(seed);
    params_mut(model, |_, param| {
        if param.trainable {
            param.value = Tensor::normal(param.value.dims(), 0.0, 0.5, DType::F32, rng).unwrap().into_array();
        }
    });
}

fn two() -> Adapted<Sequential> {
    let rng = &mut Rng::seeded(3);
    let mut model = Adapted::new(base());
    for (name, seed) in [("a", 4), ("b", 5)] {
        model.add(name, Lora::rank(2).targets(["0"]).saving(["2"]), rng).unwrap();
        shaken(&mut model, seed);
    }
    model
}

#[test]
fn the_base_comes_back_to_the_bit() -> Result<()> {
    let (before, x) = (base(), input());
    let mut model = two();
    let b = numbers(&model.forward(&x)?);
    model.activate("a")?;
    let a = numbers(&model.forward(&x)?);
    assert!(a != b && a != numbers(&before.forward(&x)?));
    model.activate("b")?;
    assert_eq!(numbers(&model.forward(&x)?), b);
    assert_eq!(numbers(&model.view("a")?.forward(&x)?), a);
    model.deactivate();
    assert_eq!(numbers(&model.forward(&x)?), numbers(&before.forward(&x)?));
    model.activate("a")?;
    let after = model.into_base();
    let (expected, got) = (state_dict(&before)?, state_dict(&after)?);
    assert!(expected.keys().eq(got.keys()) && expected.iter().all(|(path, array)| array.to_vec::<f32>() == got[path].to_vec::<f32>()));
    let mut all = true;
    params(&after, |_, param| all &= param.trainable);
    assert!(all);
    Ok(())
}

#[test]
fn a_mixture_is_the_weighted_sum_of_the_changes() -> Result<()> {
    let x = input();
    let mut model = two();
    model.activate_mixed(&[("a", 1.0)])?;
    let alone = numbers(&model.forward(&x)?);
    model.activate("a")?;
    assert!(alone.iter().zip(numbers(&model.forward(&x)?)).all(|(m, a)| (m - a).abs() < 1e-5));
    // What goes into the head is linear in the first layer's change where no unit of Relu turns, so the first layer is looked at alone.
    let first = |model: &Adapted<Sequential>| Ok::<_, chainrule_finetune::Error>(numbers(&model.layers[0].forward(&x)?));
    let a = first(&model)?;
    model.activate("b")?;
    let b = first(&model)?;
    model.deactivate();
    let y = first(&model)?;
    model.activate_mixed(&[("a", 0.3), ("b", 0.7)])?;
    for (i, got) in first(&model)?.into_iter().enumerate() {
        let expected = y[i] + 0.3 * (a[i] - y[i]) + 0.7 * (b[i] - y[i]);
        assert!((got - expected).abs() < 1e-5, "{got} {expected}");
    }
    assert!(model.activate_mixed(&[("a", 0.5), ("a", 0.5)]).is_err() && model.activate_mixed(&[("a", f64::NAN)]).is_err());
    assert_eq!(model.active(), ["a", "b"]);
    Ok(())
}

#[test]
fn activity_and_training_are_two_things() -> Result<()> {
    let x = input();
    let mut model = two();
    let trained = |model: &Adapted<Sequential>| {
        let tape = Tape::training(&mut Rng::seeded(0));
        model.forward(&tape.input(&x)).unwrap().square().unwrap().sum().unwrap().backward().map_or(0, |gradients| gradients.len())
    };
    assert_eq!(trained(&model), 4);
    model.train("b", false)?;
    assert_eq!((trained(&model), model.active(), model.is_trained("b")?), (0, vec!["b"], false));
    model.activate("a")?;
    assert_eq!(trained(&model), 4);
    model.train("b", true)?;
    model.activate("b")?;
    assert_eq!(trained(&model), 4);
    Ok(())
}

#[test]
fn what_is_meant_must_be_there() {
    let rng = &mut Rng::seeded(0);
    let mut model =
        Adapted::new(BTreeMap::from([("query".to_string(), Linear::new(4, 4, rng).unwrap()), ("head".to_string(), Linear::new(4, 2, rng).unwrap())]));
    for (method, expected) in [
        (Lora::rank(2).targets(["qurey"]), "lora: the pattern \"*qurey\" matches no layer that it can adapt; near it are \"query\""),
        (Lora::rank(2).targets(["query", "vlaue"]), "\"*vlaue\" matches no layer"),
        (Lora::rank(2).targets("qu.*"), "\"qu.*\" matches no layer"),
        (Lora::rank(2).targets(["query"]).saving(["haed"]), "saving: the pattern \"*haed\" matches no module; near it are \"head\""),
        (Lora::rank(0).targets(["query"]), "query: lora: got rank 0"),
    ] {
        let error = model.add("a", method, rng).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    model.add("a", Lora::rank(2).targets(["query"]), rng).unwrap();
    assert!(model.add("a", Lora::rank(2), rng).unwrap_err().to_string().contains("already"));
    assert!(model.add("a.b", Lora::rank(2), rng).is_err() && model.activate("c").is_err() && model.remove("c").is_err());
    assert_eq!(model.active(), ["a"]);
    model.remove("a").unwrap();
    assert!(model.names().is_empty());
}

/// As many layers as a BERT of six has, and as deep paths.
#[derive(Module, Clone)]
struct Block {
    query: Linear,
    value: Linear,
    others: Vec<Linear>,
}

#[test]
fn a_hundred_adapters_are_switched_quickly_and_cost_their_own_memory() -> Result<()> {
    let rng = &mut Rng::seeded(0);
    let linear = |rng: &mut Rng| Linear::new(16, 16, rng).unwrap();
    let blocks = (0..6).map(|_| Block { query: linear(rng), value: linear(rng), others: (0..6).map(|_| linear(rng)).collect() }).collect::<Vec<_>>();
    let mut model = Adapted::new(BTreeMap::from([("encoder".to_string(), blocks)]));
    let names: Vec<String> = (0..100).map(|i| format!("adapter {i}")).collect();
    for name in &names {
        model.add(name, Lora::rank(4).targets(["query", "value"]), rng)?;
    }
    let (mut best, rounds) = (Duration::MAX, 20);
    for _ in 0..rounds {
        let start = Instant::now();
        for name in &names {
            model.activate(name)?;
        }
        best = best.min(start.elapsed() / names.len() as u32);
    }
    // An optimised build takes about 2.5 µs.
    let allowed = if cfg!(debug_assertions) { 100 } else { 10 };
    assert!(best < Duration::from_micros(allowed), "a switch takes {best:?}");
    Ok(())
}
