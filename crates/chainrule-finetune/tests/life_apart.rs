//! Adapters from several threads at once, methods that fail midway, and adapters that others put into slots.

use chainrule_autograd::{Array, DType, Error as Fault, Rng, Tape, Tensor};
use chainrule_finetune::{Adapted, Lora, Method, Result, Selection};
use chainrule_nn::{Adapter, BoxedAdapter, Layer, Linear, Module, Param, Path, Relu, Sequential, Site, SiteMut, VisitorMut, params_mut, state_dict};
use std::sync::atomic::{AtomicUsize, Ordering};

fn base() -> Sequential {
    let rng = &mut Rng::seeded(1);
    let mut linear = |inputs, outputs| Linear::new(inputs, outputs, rng).unwrap();
    Sequential::new().add(linear(6, 8)).add(Relu).add(linear(8, 8)).add(Relu).add(linear(8, 3))
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

/// Adapters as if trained: on one layer, on two, on all with a head of its own; the last is active.
fn three() -> Adapted<Sequential> {
    let rng = &mut Rng::seeded(3);
    let mut model = Adapted::new(base());
    for (name, method) in [("one", Lora::rank(1).targets(["0"])), ("two", Lora::rank(2).targets(["0", "2"])), ("head", Lora::rank(2).saving(["4"]))] {
        model.add(name, method, rng).unwrap();
        params_mut(&mut model, |_, param| {
            if param.trainable {
                param.value = Tensor::normal(param.value.dims(), 0.0, 0.5, DType::F32, rng).unwrap().into_array();
            }
        });
    }
    model
}

#[test]
fn threads_use_different_adapters_at_once_with_the_same_bits() -> Result<()> {
    let (model, x) = (three(), input());
    let names = ["one", "two", "head"];
    let alone: Vec<Vec<f32>> = names.iter().map(|name| numbers(&model.view(name).unwrap().forward(&x).unwrap())).collect();
    let mut mixed = model.clone();
    mixed.activate_mixed(&[("one", 0.5), ("head", 0.5)])?;
    let mixture = numbers(&mixed.forward(&x)?);
    std::thread::scope(|scope| {
        for start in 0..6 {
            let (model, x, alone, mixture) = (&model, &x, &alone, &mixture);
            scope.spawn(move || {
                let mut own = model.clone();
                for round in start..start + 30 {
                    let i = round % 3;
                    own.activate(names[i]).unwrap();
                    assert_eq!(numbers(&own.forward(x).unwrap()), alone[i]);
                    assert_eq!(numbers(&model.view(names[i]).unwrap().forward(x).unwrap()), alone[i]);
                    if round % 7 == 0 {
                        own.activate_mixed(&[("one", 0.5), ("head", 0.5)]).unwrap();
                        assert_eq!(numbers(&own.forward(x).unwrap()), *mixture);
                        own.activate(names[i]).unwrap();
                    }
                    if round % 5 == 0 {
                        // Training one thread's copy is nobody else's business.
                        let tape = Tape::training(&mut Rng::seeded(round as u64));
                        let gradients = own.clone().forward(&tape.input(x)).unwrap().square().unwrap().sum().unwrap().backward().unwrap();
                        let mut trained = own.clone();
                        params_mut(&mut trained, |_, param| param.value = gradients.get(param.id).cloned().unwrap_or(param.value.clone()));
                        assert_ne!(numbers(&trained.forward(x).unwrap()), alone[i]);
                    }
                }
            });
        }
    });
    assert_eq!((model.active(), numbers(&model.forward(&x)?)), (vec!["head"], alone[2].clone()));
    Ok(())
}

/// `y + scale x̄`, with the mean of x: an adapter of somebody else's.
#[derive(Module, Clone)]
struct Lifted {
    scale: Param,
}

impl Adapter for Lifted {
    fn adapt(&self, x: &Tensor, site: &Site) -> chainrule_autograd::Result<Tensor> {
        site.forward(x)?.add(&x.mean()?.mul(&self.scale.on(x)?)?)
    }
}

fn lifted() -> BoxedAdapter {
    Box::new(Lifted { scale: Param::new(Array::full(&[], 0.5, DType::F32).unwrap()) })
}

#[derive(Debug)]
struct FailsAt(usize, AtomicUsize, Selection);

impl Method for FailsAt {
    fn name(&self) -> &'static str {
        "fails"
    }
    fn selection(&self) -> &Selection {
        &self.2
    }
    fn adapter(&self, _: &str, _: &Site, _: &mut Rng) -> chainrule_autograd::Result<Option<BoxedAdapter>> {
        if self.1.fetch_add(1, Ordering::Relaxed) == self.0 { Err(Fault::value("fails", "here")) } else { Ok(Some(lifted())) }
    }
}

#[test]
fn a_method_that_fails_midway_leaves_everything_as_it_was() -> Result<()> {
    let (mut model, x, rng) = (three(), input(), &mut Rng::seeded(0));
    let failing = || FailsAt(2, AtomicUsize::new(0), Selection { save: vec!["2".to_string()], ..Selection::of("all-linear") });
    let whole = || FailsAt(2, AtomicUsize::new(0), Selection::of("all-linear"));
    for (active, state) in [("two", 0), ("head", 1), ("one", 2)] {
        model.activate(active)?;
        match state {
            1 => model.activate_mixed(&[("one", 0.25), ("two", 0.75)])?,
            2 => _ = model.merge(|model| model.forward(&x))?,
            _ => {}
        }
        let before = (contents(&model), numbers(&model.forward(&x)?), model.active().join(" "), model.names().join(" "), model.is_merged());
        let error = model.add("new", whole(), rng).unwrap_err().to_string();
        assert!(error.contains("4: fails: here"), "{error}");
        assert!(model.add(active, Lora::rank(1), rng).unwrap_err().to_string().contains("already"));
        assert!(model.activate_mixed(&[("one", 1.0), ("none", 1.0)]).is_err() && model.remove("none").is_err() && model.train("none", true).is_err());
        assert_eq!((contents(&model), numbers(&model.forward(&x)?), model.active().join(" "), model.names().join(" "), model.is_merged()), before);
    }
    // With one layer less there is no third site, and the method does not fail.
    model.add("new", failing(), rng)?;
    assert_eq!(contents(&model.into_base()), contents(&base()));
    Ok(())
}

/// Puts an adapter above what stands in a slot, or into an empty one.
fn put(model: &mut dyn Module, slot: &str, make: impl Fn(Option<BoxedAdapter>) -> Option<BoxedAdapter>) {
    struct Put<'a, F>(&'a str, F);
    impl<F: Fn(Option<BoxedAdapter>) -> Option<BoxedAdapter>> VisitorMut for Put<'_, F> {
        fn adapter(&mut self, path: &str, site: SiteMut<'_>) {
            if path == self.0 {
                *site.adapter = (self.1)(site.adapter.take());
            }
        }
    }
    model.visit_mut(&mut Path::default(), &mut Put(slot, make));
}

/// Another's adapter around the one that it found.
#[derive(Module, Clone)]
struct Doubled {
    #[module(flatten)]
    inner: BoxedAdapter,
}

impl Adapter for Doubled {
    fn adapt(&self, x: &Tensor, site: &Site) -> chainrule_autograd::Result<Tensor> {
        self.inner.adapt(x, site)?.mul_scalar(2.0)
    }
}

#[test]
fn what_others_put_into_slots_stays_where_it_belongs() -> Result<()> {
    let (mut model, x) = (three(), input());
    // Into the base: it stays, below every adapter, and comes back alone.
    model.deactivate();
    put(&mut model, "0", |_| Some(lifted()));
    let lifted_base = numbers(&model.forward(&x)?);
    assert_ne!(lifted_base, numbers(&base().forward(&x)?));
    for name in ["one", "two", "head", "one"] {
        model.activate(name)?;
        assert!(contents(&model).iter().any(|(path, _)| path == "0.scale"));
        assert!(contents(&model).iter().any(|(path, _)| path == "0.lora_A.weight"));
    }
    model.activate_mixed(&[("one", 0.5), ("two", 0.5)])?;
    model.deactivate();
    assert_eq!(numbers(&model.forward(&x)?), lifted_base);
    put(&mut model, "0", |_| None);
    assert_eq!(contents(&model), contents(&base()));

    // Into a slot that the active adapter leaves empty: it is the base's again.
    model.activate("one")?;
    put(&mut model, "4", |_| Some(lifted()));
    model.activate("two")?;
    assert!(contents(&model).iter().any(|(path, _)| path == "4.scale"));
    model.deactivate();
    assert!(contents(&model).iter().any(|(path, _)| path == "4.scale"));
    put(&mut model, "4", |_| None);

    // Around the active adapter: it goes and comes with that one.
    model.activate("two")?;
    let plain = numbers(&model.forward(&x)?);
    put(&mut model, "2", |inner| inner.map(|inner| Box::new(Doubled { inner }) as BoxedAdapter));
    let doubled = numbers(&model.forward(&x)?);
    assert_ne!(plain, doubled);
    model.activate("one")?;
    model.deactivate();
    assert_eq!(contents(&model), contents(&base()));
    model.activate("two")?;
    assert_eq!(numbers(&model.forward(&x)?), doubled);

    // Taken out while active: the rest of the adapter goes on.
    put(&mut model, "2", |_| None);
    let without = numbers(&model.forward(&x)?);
    model.activate("one")?;
    model.activate("two")?;
    assert_eq!(numbers(&model.forward(&x)?), without);
    model.merge(|model| model.forward(&x))?;
    assert_eq!(contents(&model.into_base()), contents(&base()));
    Ok(())
}
