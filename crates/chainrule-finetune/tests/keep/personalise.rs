//! Personalise: accepted or rejected, and the base untouched.

use crate::*;
use chainrule_autograd::Tape;
use chainrule_finetune::{Adapted, BitFit, Bottleneck, Ia3, Lora, Outcome, Personalise, Reason};
use chainrule_nn::Layer;
use std::cell::RefCell;
use std::time::Duration;

type Sample = (Tensor, i64);

/// Whether the sum of the numbers is positive, or what chance says.
fn samples(count: usize, seed: u64, chance: bool) -> Vec<Sample> {
    let rng = &mut Rng::seeded(seed);
    let mut sample = || {
        let x = Tensor::uniform(&[4], -1.0, 1.0, DType::F32, rng).unwrap();
        let positive = if chance { rng.uniform() < 0.5 } else { x.sum().unwrap().item().unwrap() > 0.0 };
        (x, positive as i64)
    };
    (0..count).map(|_| sample()).collect()
}

fn loss(model: &Sequential, tape: &Tape, batch: &[&Sample]) -> Result<Tensor> {
    let (x, y): (Vec<&Tensor>, Vec<i64>) = batch.iter().map(|(x, y)| (x, *y)).unzip();
    Ok(model.forward(&tape.input(Tensor::stack(&x, 0)?))?.cross_entropy(&labels(&y))?)
}

fn score(model: &Sequential, held: &[Sample]) -> Result<f64> {
    let (x, y): (Vec<&Tensor>, Vec<i64>) = held.iter().map(|(x, y)| (x, *y)).unzip();
    Ok(accuracy(&model.forward(&Tensor::stack(&x, 0)?)?, &labels(&y)))
}

/// With an adapter of an earlier day, which is not active.
fn base() -> Adapted<Sequential> {
    let mut base = Adapted::new(network([4, 32, 2], 1));
    base.add("earlier", Lora::rank(2), &mut Rng::seeded(5)).unwrap();
    base.deactivate();
    base
}

fn quick() -> Personalise {
    Personalise::new(Lora::rank(4).targets(["0"]).saving(["2"])).learning_rate(0.02).margin(0.1)
}

#[test]
fn what_is_better_is_accepted() -> Result {
    let (base, train, held) = (base(), samples(96, 2, false), samples(40, 3, false));
    let before = bits(&base);
    let run = |seed: u64| quick().memory(1 << 26).time(Duration::from_secs(60)).seed(seed).run(&base, "mine", &train, &held, loss, score);
    let outcome = run(7)?;
    let figures = *outcome.figures();
    assert!(figures.after >= figures.before + 0.1 && figures.after > 0.85, "{outcome}");
    // A and B of the first layer, and a head of its own.
    assert_eq!(figures.bytes, 4 * (4 * 4 + 32 * 4 + 32 * 2 + 2));
    assert_eq!(figures.steps, 6 * figures.epochs);
    assert!(figures.memory > 0 && figures.memory < 1 << 20 && outcome.to_string().starts_with("accepted: score"), "{outcome}");
    let mut model = outcome.accepted().ok_or("rejected")?;
    assert_eq!((model.active(), model.names()), (vec!["mine"], vec!["earlier", "mine"]));
    assert_eq!(score(&model, &held)?, figures.after);
    assert!(trainable(&model).is_empty(), "it serves, and is trained no more");
    // The base is as it was: the one that was given, and the one under the adapter.
    assert_eq!(bits(&base), before);
    model.deactivate();
    assert_eq!(bits(&model), before);

    let slow = quick().factor("*", 0.0).run(&base, "mine", &train, &held, loss, score)?;
    assert_eq!(slow.reason(), Some(Reason::NotBetter { margin: 0.1 }), "a rate of 0 changes nothing");
    assert!(quick().factor("*lora_C.weight", 2.0).run(&base, "mine", &train, &held, loss, score).err().is_some_and(|e| e.to_string().contains("lora_B")));

    let again = |seed: u64| -> Result<Bits> { Ok(bits(&run(seed)?.accepted().ok_or("rejected")?)) };
    assert_eq!(again(7)?, again(7)?);
    assert_ne!(again(7)?, again(8)?);
    Ok(())
}

#[test]
fn what_is_not_is_rejected_with_the_reason() -> Result {
    let (base, train, held) = (base(), samples(48, 2, false), samples(40, 3, false));
    let before = bits(&base);
    let expect = |outcome: Outcome<Sequential>, words: &str| {
        let reason = outcome.reason().unwrap();
        assert!(outcome.to_string().contains(words), "{outcome}");
        assert_eq!(bits(&base), before);
        assert!(outcome.accepted().is_none());
        reason
    };
    let outcome = quick().margin(0.9).run(&base, "mine", &train, &held, loss, score)?;
    assert!(outcome.figures().epochs > 0);
    assert_eq!(expect(outcome, "did not rise by 0.9"), Reason::NotBetter { margin: 0.9 });
    let chance = quick().learning_rate(1e-9).margin(0.0).epochs(2).run(&base, "mine", &samples(16, 1, true), &held, loss, score)?;
    assert_eq!(expect(chance, "did not rise"), Reason::NotBetter { margin: 0.0 }, "as good is not better");

    let outcome = quick().time(Duration::ZERO).run(&base, "mine", &train, &held, loss, score)?;
    assert_eq!((outcome.figures().steps, outcome.figures().after), (0, outcome.figures().before));
    assert_eq!(expect(outcome, "0ns did not suffice"), Reason::OutOfTime { budget: Duration::ZERO });
    let slow = |model: &Sequential, tape: &Tape, batch: &[&Sample]| {
        std::thread::sleep(Duration::from_millis(30));
        loss(model, tape, batch)
    };
    let budget = Duration::from_millis(200);
    let outcome = quick().batch(1).time(budget).run(&base, "mine", &train, &held, slow, score)?;
    assert!((1..7).contains(&outcome.figures().steps));
    assert_eq!(expect(outcome, "did not suffice"), Reason::OutOfTime { budget });

    let outcome = quick().memory(100).run(&base, "mine", &train, &held, loss, score)?;
    assert_eq!(outcome.figures().steps, 0);
    assert!(matches!(expect(outcome, "allowed were 100"), Reason::OverMemory { used, budget: 100 } if used > 100));

    let broken = |model: &Sequential, tape: &Tape, batch: &[&Sample]| Ok(loss(model, tape, batch)?.mul_scalar(f64::NAN)?);
    assert_eq!(expect(quick().run(&base, "mine", &train, &held, broken, score)?, "the loss was not finite"), Reason::NotFinite { what: "the loss" });
    let steep = |model: &Sequential, tape: &Tape, batch: &[&Sample]| {
        Ok(loss(model, tape, batch)?.add(&loss(model, tape, batch)?.sub(&loss(model, tape, batch)?)?.sqrt()?)?)
    };
    assert_eq!(expect(quick().run(&base, "mine", &train, &held, steep, score)?, "a gradient"), Reason::NotFinite { what: "a gradient" });
    let nothing = |_: &Sequential, _: &[Sample]| Ok(f64::NAN);
    assert_eq!(expect(quick().run(&base, "mine", &train, &held, loss, nothing)?, "the score before"), Reason::NotFinite { what: "the score before" });
    Ok(())
}

#[test]
fn the_best_epoch_is_kept() -> Result {
    let (base, train, held) = (base(), samples(16, 2, false), samples(4, 3, false));
    // The scores are told, and what the model was at each.
    let told = |scores: &'static [f64], personalise: Personalise| -> Result<(Outcome<Sequential>, Vec<Bits>)> {
        let seen = RefCell::new(vec![]);
        let score = |model: &Sequential, _: &[Sample]| {
            seen.borrow_mut().push(bits(model));
            Ok(scores[seen.borrow().len() - 1])
        };
        let outcome = personalise.run(&base, "mine", &train, &held, loss, score)?;
        Ok((outcome, seen.into_inner()))
    };
    let (outcome, seen) = told(&[0.5, 0.6, 0.9, 0.2, 0.9, 0.8], quick().patience(3))?;
    assert_eq!((outcome.figures().epochs, outcome.figures().after, seen.len()), (5, 0.9, 6), "three epochs that are not better are enough");
    assert_eq!(bits(&outcome.accepted().ok_or("rejected")?), seen[2]);
    // What was better before it came to nothing is kept.
    let (outcome, seen) = told(&[0.5, 0.7, f64::NAN], quick())?;
    assert_eq!(bits(&outcome.accepted().ok_or("rejected")?), seen[1]);
    let (outcome, _) = told(&[0.5, 0.55, f64::INFINITY], quick())?;
    assert_eq!((outcome.reason(), outcome.figures().after), (Some(Reason::NotFinite { what: "a score" }), 0.55));
    let (outcome, _) = told(&[0.5, 0.4, 0.3], quick().epochs(2))?;
    assert_eq!((outcome.reason(), outcome.figures().after), (Some(Reason::NotBetter { margin: 0.1 }), 0.4));
    Ok(())
}

#[test]
fn errors_leave_the_base_as_it_was() -> Result {
    let (base, train, held) = (base(), samples(16, 2, false), samples(4, 3, false));
    let before = bits(&base);
    let calls = RefCell::new(0);
    let failing = |model: &Sequential, tape: &Tape, batch: &[&Sample]| {
        *calls.borrow_mut() += 1;
        if *calls.borrow() > 3 { Err("mine".into()) } else { loss(model, tape, batch) }
    };
    let refused = |result: Result<Outcome<Sequential>>, words: &str| {
        let error = result.err().unwrap().to_string();
        assert!(error.contains(words), "{error}");
        assert_eq!(bits(&base), before);
        assert_eq!(base.names(), ["earlier"]);
    };
    refused(quick().batch(4).run(&base, "mine", &train, &held, failing, score), "mine");
    refused(quick().run(&base, "mine", &train, &held, loss, |_, _| Err("of the score".into())), "of the score");
    refused(quick().run(&base, "earlier", &train, &held, loss, score), "already");
    refused(quick().run(&base, "mine", &[], &held, loss, score), "0 samples");
    refused(quick().run(&base, "mine", &train, &[], loss, score), "0 held-out");
    refused(quick().batch(0).run(&base, "mine", &train, &held, loss, score), "batches of 0");
    refused(quick().epochs(0).run(&base, "mine", &train, &held, loss, score), "0 epochs");
    for wrong in [0.0, f64::NAN, f64::INFINITY] {
        refused(quick().learning_rate(wrong).run(&base, "mine", &train, &held, loss, score), "learning rate");
    }
    refused(quick().margin(-1.0).run(&base, "mine", &train, &held, loss, score), "margin");
    refused(Personalise::new(Lora::rank(2).targets(["7"])).run(&base, "mine", &train, &held, loss, score), "7");
    // A loss that has nothing to do with the adapter.
    refused(quick().run(&base, "mine", &train, &held, |_, _, _| Ok(Tensor::scalar(1.0, DType::F32)?), score), "tape");
    Ok(())
}

#[test]
fn any_method_will_do() -> Result {
    let (base, train, held) = (base(), samples(48, 2, false), samples(20, 3, false));
    let before = bits(&base);
    let head = 32 * 2 + 2;
    for (personalise, numbers) in [
        (Personalise::new(BitFit::new()), 32 + 2),
        (Personalise::new(BitFit::new().saving(["2"])), 32 + head),
        (Personalise::new(Ia3::outputs(["0"])), 32),
        (Personalise::new(Bottleneck::pfeiffer().width(4).targets(["0"])), 2 * 32 * 4 + 32 + 4),
    ] {
        // Any model is taken whose score is told to rise.
        let calls = RefCell::new(0.0);
        let rising = |_: &Sequential, _: &[Sample]| {
            *calls.borrow_mut() += 1.0;
            Ok(*calls.borrow())
        };
        let outcome = personalise.epochs(2).learning_rate(0.05).run(&base, "mine", &train, &held, loss, rising)?;
        assert_eq!(outcome.figures().bytes, 4 * numbers, "{outcome}");
        let mut model = outcome.accepted().ok_or("rejected")?;
        assert_ne!(bits(&model), before);
        model.deactivate();
        assert_eq!((bits(&model), bits(&base)), (before.clone(), before.clone()));
    }
    Ok(())
}
