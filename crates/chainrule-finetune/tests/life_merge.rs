//! Merging: verified on outputs before it is final, and taken back to the bit.

use chainrule_autograd::{Array, DType, Error as Fault, Rng, Tape, Tensor};
use chainrule_finetune::{Adapted, Error, Lora, Method, PromptTuning, Result, Selection};
use chainrule_nn::{Adapter, BoxedAdapter, Layer, Linear, Module, Param, PromptSite, PromptSlot, Relu, Sequential, Site, params, params_mut, state_dict};
use std::cell::Cell;

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

fn contents(model: &dyn Module) -> Vec<(String, Vec<f32>)> {
    state_dict(model).unwrap().into_iter().map(|(path, array)| (path, array.to_vec().unwrap())).collect()
}

/// Two adapters as if trained, the second with a head of its own; "b" is active.
fn two() -> Adapted<Sequential> {
    let rng = &mut Rng::seeded(3);
    let mut model = Adapted::new(base());
    model.add("a", Lora::rank(2), rng).unwrap();
    shake(&mut model, rng);
    model.add("b", Lora::rank(2).targets(["0"]).saving(["2"]), rng).unwrap();
    shake(&mut model, rng);
    model
}

fn shake(model: &mut dyn Module, rng: &mut Rng) {
    params_mut(model, |_, param| {
        if param.trainable {
            param.value = Tensor::normal(param.value.dims(), 0.0, 0.5, DType::F32, rng).unwrap().into_array();
        }
    });
}

#[test]
fn merged_as_adapted_and_back_to_the_bit() -> Result<()> {
    let (x, mut model) = (input(), two());
    for name in ["a", "b"] {
        model.activate(name)?;
        let (adapted, before) = (numbers(&model.forward(&x)?), contents(&model));
        let difference = model.merge(|model| model.forward(&x))?;
        assert!(model.is_merged() && model.active() == [name] && difference < 1e-5);
        // As the base is built, with other numbers.
        assert!(contents(&model).iter().map(|(path, _)| path).eq(contents(&base()).iter().map(|(path, _)| path)));
        assert!(numbers(&model.forward(&x)?).iter().zip(&adapted).all(|(merged, y)| (merged - y).abs() < 1e-5));
        assert!(model.merge(|model| model.forward(&x)).unwrap_err().to_string().contains("merged already; unmerge first"));
        model.unmerge();
        assert!(!model.is_merged() && model.active() == [name]);
        assert_eq!((contents(&model), numbers(&model.forward(&x)?)), (before, adapted));
    }
    Ok(())
}

#[test]
fn whatever_switches_unmerges() -> Result<()> {
    let (x, rng) = (input(), &mut Rng::seeded(9));
    let mut model = two();
    let expected = ["a", "b"].map(|name| numbers(&model.view(name).unwrap().forward(&x).unwrap()));
    let merged = |model: &mut Adapted<Sequential>| {
        model.activate("a").unwrap();
        model.merge(|model| model.forward(&x)).unwrap();
    };
    merged(&mut model);
    // Other threads' views, training's switch and failures leave it merged.
    assert_eq!(numbers(&model.view("b")?.forward(&x)?), expected[1]);
    assert_eq!(numbers(&model.view("a")?.forward(&x)?), expected[0]);
    model.train("b", false)?;
    model.train("b", true)?;
    assert!(model.add("c", Lora::rank(1).targets(["7"]), rng).is_err() && model.activate("c").is_err() && model.activate_mixed(&[("c", 1.0)]).is_err());
    assert!(model.is_merged() && model.active() == ["a"]);
    assert!(numbers(&model.forward(&x)?).iter().zip(&expected[0]).all(|(merged, y)| (merged - y).abs() < 1e-5));
    model.activate("b")?;
    assert_eq!((model.is_merged(), numbers(&model.forward(&x)?)), (false, expected[1].clone()));
    merged(&mut model);
    model.activate("a")?;
    assert_eq!((model.is_merged(), numbers(&model.forward(&x)?)), (false, expected[0].clone()));
    merged(&mut model);
    model.deactivate();
    assert_eq!(contents(&model), contents(&base()));
    merged(&mut model);
    model.remove("a")?;
    assert_eq!(contents(&model), contents(&base()));
    model.activate("b")?;
    model.merge(|model| model.forward(&x))?;
    assert_eq!(contents(&model.clone().into_base()), contents(&base()));
    model.add("c", Lora::rank(1), rng)?;
    assert_eq!(numbers(&model.forward(&x)?), numbers(&base().forward(&x)?));
    Ok(())
}

#[test]
fn a_mixture_merges_and_a_merged_model_stays() -> Result<()> {
    let (x, mut model) = (input(), two());
    let none_active = Adapted::new(base()).merge(|model| model.forward(&x)).unwrap_err().to_string();
    assert!(none_active.contains("no adapter is active"), "{none_active}");
    model.activate_mixed(&[("a", 0.4), ("b", 0.6)])?;
    let adapted = numbers(&model.forward(&x)?);
    let merged = model.into_merged(|model| model.forward(&x))?;
    assert!(numbers(&merged.forward(&x)?).iter().zip(&adapted).all(|(merged, y)| (merged - y).abs() < 1e-5));
    let (mut paths, mut all) = (Vec::new(), true);
    params(&merged, |path, param| {
        paths.push(path.to_string());
        all &= param.trainable;
    });
    assert_eq!((paths, all), (["0.weight", "0.bias", "2.weight", "2.bias"].map(str::to_string).to_vec(), true));
    let tape = Tape::training(&mut Rng::seeded(0));
    assert_eq!(merged.forward(&tape.input(&x))?.square()?.sum()?.backward()?.len(), 4);
    Ok(())
}

#[test]
fn a_merge_that_cannot_be_proven_is_taken_back() -> Result<()> {
    let (x, mut model) = (input(), two());
    let (before, adapted) = (contents(&model), numbers(&model.forward(&x)?));
    let unchanged = |model: &Adapted<Sequential>| {
        assert!(!model.is_merged() && model.active() == ["b"]);
        assert_eq!((contents(model), numbers(&model.forward(&x).unwrap())), (before.clone(), adapted.clone()));
    };
    let calls = Cell::new(0.0);
    let drifting = |model: &Sequential| {
        calls.set(calls.get() + 1.0);
        model.forward(&x)?.add_scalar(1e-3 * calls.get())
    };
    assert!(matches!(model.merge(drifting).unwrap_err(), Error::Merge { difference, .. } if (difference - 1e-3).abs() < 1e-5));
    unchanged(&model);
    assert!(matches!(model.merge(|model| model.forward(&x)?.affine(f64::NAN, 0.0)).unwrap_err(), Error::Merge { .. }));
    unchanged(&model);
    calls.set(0.0);
    let failing = |model: &Sequential| {
        calls.set(calls.get() + 1.0);
        if calls.get() > 1.5 { Err(Fault::value("outputs", "no more")) } else { model.forward(&x) }
    };
    assert!(model.merge(failing).unwrap_err().to_string().contains("no more"));
    unchanged(&model);
    assert!(model.merge(|_| Tensor::zeros(&[0], DType::F32)).unwrap_err().to_string().contains("some numbers to compare"));
    unchanged(&model);
    Ok(())
}

/// A part of its own behind a layer, which no weight can do alone.
#[derive(Module, Clone)]
struct Behind {
    scale: Param,
}

impl Adapter for Behind {
    fn adapt(&self, x: &Tensor, site: &Site) -> chainrule_autograd::Result<Tensor> {
        let y = site.forward(x)?;
        y.add(&y.tanh()?.mul(&self.scale.on(x)?)?)
    }
}

#[derive(Debug)]
struct Bottleneck(Selection);

impl Method for Bottleneck {
    fn name(&self) -> &'static str {
        "bottleneck"
    }
    fn selection(&self) -> &Selection {
        &self.0
    }
    fn adapter(&self, _: &str, _: &Site, _: &mut Rng) -> chainrule_autograd::Result<Option<BoxedAdapter>> {
        Ok(Some(Box::new(Behind { scale: Param::new(Array::zeros(&[], DType::F32)?) })))
    }
}

#[derive(Module, Clone)]
struct Prompted {
    #[module(flatten)]
    prompt: PromptSlot,
    head: Linear,
}

#[test]
fn what_is_no_change_of_a_weight_is_refused_by_name() -> Result<()> {
    let (x, rng) = (input(), &mut Rng::seeded(0));
    let mut model = two();
    model.add("behind", Bottleneck(Selection::of(["2"])), rng)?;
    let error = model.merge(|model| model.forward(&x)).unwrap_err().to_string();
    assert!(error.contains("[\"behind\"] cannot be merged: 2: ") && error.contains("not a change of the weight"), "{error}");
    model.activate_mixed(&[("a", 0.5), ("behind", 0.5)])?;
    assert!(model.merge(|model| model.forward(&x)).is_err() && model.active() == ["a", "behind"]);

    let prompt = PromptSlot::new(PromptSite { layers: 1, heads: 1, features: 6 });
    let mut model = Adapted::new(Prompted { prompt, head: Linear::new(6, 2, rng)? });
    model.add("words", PromptTuning::tokens(3), rng)?;
    let error = model.merge(|model| model.head.forward(&x)).unwrap_err().to_string();
    assert!(error.contains("[\"words\"] cannot be merged: a prompt is no change of a weight") && !model.is_merged(), "{error}");
    Ok(())
}
