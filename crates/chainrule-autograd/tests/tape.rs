//! The laws of the tape.

use chainrule_autograd::{Array, DType, Error, Keep, ParamId, Result, Rng, Tape, Tensor, Update};

fn rng() -> Rng {
    Rng::seeded(7)
}
fn vector(values: &[f64]) -> Array {
    Array::from_slice(values, &[values.len()]).unwrap()
}
fn numbers(array: &Array) -> Vec<f64> {
    array.to_vec().unwrap()
}

/// A model of one parameter, as the crate nn has them.
#[derive(Clone)]
struct Scale {
    id: ParamId,
    value: Array,
    trainable: bool,
}
impl Scale {
    fn new(values: &[f64]) -> Scale {
        Scale { id: ParamId::fresh(), value: vector(values), trainable: true }
    }
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        x.mul(&x.parameter(self.id, &self.value, self.trainable)?)
    }
}

#[test]
fn a_parameter_used_twice_is_one_leaf() -> Result<()> {
    let model = Scale::new(&[2.0, 3.0]);
    let tape = Tape::training(&mut rng());
    let x = tape.input(vector(&[1.0, 10.0]));
    let loss = model.forward(&model.forward(&x)?)?.sum()?; // w² x
    assert_eq!(tape.operations(), ["parameter", "mul", "mul", "sum"]);
    assert_eq!(numbers(loss.backward()?.get(model.id).unwrap()), [4.0, 60.0]);
    Ok(())
}

#[test]
fn frozen_costs_nothing() -> Result<()> {
    let mut model = Scale::new(&[2.0]);
    model.trainable = false;
    let tape = Tape::training(&mut rng());
    let y = model.forward(&tape.input(vector(&[1.0])))?;
    assert!(tape.operations().is_empty() && !y.needs_gradient() && y.is_training());
    let error = y.backward().unwrap_err();
    assert!(matches!(error, Error::Constant { .. }) && error.to_string().contains("frozen"), "{error}");
    // The tape is not spent by the attempt.
    let x = tape.watch(vector(&[3.0]));
    assert_eq!(numbers(model.forward(&x)?.sum()?.backward()?.wrt(&x).unwrap()), [2.0]);
    Ok(())
}

#[test]
fn inference_wins_where_modes_meet() -> Result<()> {
    let tape = Tape::training(&mut rng());
    let x = tape.input(vector(&[1.0]));
    let inside = x.inferring(|frozen| {
        assert!(!frozen.is_training() && !frozen.add(&x)?.is_training() && !frozen.detach().is_training());
        assert!(!frozen.parameter(ParamId::fresh(), &vector(&[1.0]), true)?.is_training());
        frozen.update_buffer(ParamId::fresh(), Update::new(0.9, vector(&[1.0])))?;
        frozen.square()
    })?;
    assert!(inside.is_training() && x.is_training());
    let w = tape.watch(vector(&[1.0]));
    assert_eq!(w.mul(&inside)?.sum()?.backward()?.updates().count(), 0);
    let tape = Tape::inference(&mut rng());
    assert!(!tape.input(vector(&[1.0])).is_training());
    Ok(())
}

// Every way of forgetting the tape, and the fix that its error names.

#[test]
fn no_input_on_the_tape() {
    let model = Scale::new(&[2.0]);
    let error = model.forward(&vector(&[1.0]).into()).unwrap().sum().unwrap().backward().unwrap_err();
    assert!(matches!(error, Error::OffTape { .. }) && error.to_string().contains("tape.input(&x)"), "{error}");
}

#[test]
fn one_of_two_inputs_on_the_tape() -> Result<()> {
    let model = Scale::new(&[2.0]);
    let tape = Tape::training(&mut rng());
    let (on, off) = (model.forward(&tape.input(vector(&[1.0])))?, model.forward(&vector(&[1.0]).into())?);
    for error in [on.sub(&off).unwrap_err(), off.sub(&on).unwrap_err(), Tensor::concatenate(&[&off, &on], 0).unwrap_err()] {
        assert!(matches!(error, Error::OffTapeGradient { .. }) && error.to_string().contains("tape.input"), "{error}");
    }
    // Declared constants, as a teacher's output is, may meet it; and so may what no trainable parameter took part in.
    on.sub(&tape.input(&off))?.sub(&off.detach())?.sub(&vector(&[1.0]).into())?;
    let mut frozen = model.clone();
    frozen.trainable = false;
    on.sub(&frozen.forward(&vector(&[1.0]).into())?)?;
    // Neither can truth values lose a gradient.
    off.greater(&Tensor::scalar(0.0, DType::F64)?)?.where_(&on, &on)?;
    Ok(())
}

#[test]
fn a_tape_dropped_at_once() -> Result<()> {
    let model = Scale::new(&[2.0]);
    let x = Tape::training(&mut rng()).input(vector(&[1.0]));
    let error = model.forward(&x)?.sum()?.backward().unwrap_err();
    assert!(matches!(error, Error::Dropped { .. }) && error.to_string().contains("let tape = "), "{error}");
    Ok(())
}

#[test]
fn two_tapes() -> Result<()> {
    let (a, b) = (Tape::training(&mut rng()), Tape::training(&mut rng()));
    let (x, y) = (a.watch(vector(&[1.0])), b.watch(vector(&[1.0])));
    let error = x.add(&y).unwrap_err();
    assert!(matches!(error, Error::TwoTapes { .. }) && error.to_string().contains("tape.input"), "{error}");
    x.add(&a.input(&y))?;
    Ok(())
}

#[test]
fn backward_twice() -> Result<()> {
    let tape = Tape::training(&mut rng());
    let x = tape.watch(vector(&[3.0]));
    let loss = x.square()?.sum()?;
    let kept = loss.backward_keeping()?;
    let gradients = loss.backward()?;
    assert_eq!(numbers(gradients.wrt(&x).unwrap()), numbers(kept.wrt(&x).unwrap()));
    let error = loss.backward().unwrap_err();
    assert!(matches!(error, Error::Spent { .. }) && error.to_string().contains("backward_keeping"), "{error}");
    // Operations on a spent tape are constants.
    let after = x.square()?;
    assert!(!after.needs_gradient() && numbers(after.array()) == [9.0]);
    assert!(tape.operations().is_empty());
    Ok(())
}

#[test]
fn a_model_and_its_trained_clone_on_one_tape() -> Result<()> {
    let model = Scale::new(&[2.0]);
    let mut clone = model.clone();
    let tape = Tape::training(&mut rng());
    let x = tape.input(vector(&[1.0]));
    let loss = model.forward(&x)?.add(&clone.forward(&x)?)?.sum()?;
    assert_eq!(numbers(loss.backward_keeping()?.get(model.id).unwrap()), [2.0]);
    clone.value = vector(&[2.5]);
    let error = clone.forward(&x).unwrap_err();
    assert!(matches!(error, Error::TwoValues { .. }) && error.to_string().contains("independent()"), "{error}");
    Ok(())
}

#[test]
fn a_rule_that_captures_a_tensor() -> Result<()> {
    let tape = Tape::training(&mut rng());
    let x = tape.watch(vector(&[3.0]));
    let saved = x.clone();
    let y = Tensor::record("careless", [&x], Keep::NONE, x.square()?.into_array(), move |pass| Ok([Some(pass.grad().mul(&saved)?)]))?;
    let error = y.sum()?.backward().unwrap_err();
    assert!(matches!(error, Error::Captured { op: "careless" }) && error.to_string().contains("pass.input(i)"), "{error}");
    Ok(())
}

#[test]
fn rules_that_do_not_fit() -> Result<()> {
    let tape = Tape::training(&mut rng());
    let x = tape.watch(vector(&[3.0, 4.0]));
    let out = || x.array().clone();
    let unkept = Tensor::record("unkept", [&x], Keep::NONE, out(), |pass| Ok([Some(pass.input(0)?)]))?;
    let unkept_output = Tensor::record("unkept_output", [&x], Keep::FIRST, out(), |pass| Ok([Some(pass.output()?)]))?;
    let shape = Tensor::record("shape", [&x], Keep::NONE, out(), |pass| Ok([Some(pass.grad().sum()?)]))?;
    let dtype = Tensor::record("dtype", [&x], Keep::NONE, out(), |pass| Ok([Some(pass.grad().cast(DType::F32)?)]))?;
    let lost = Tensor::record("lost", [&x], Keep::NONE, out(), |_| Ok([None]))?;
    let none = Tensor::record_without_rule("none", [&x], out())?;
    for (y, part) in
        [(unkept, "input 0"), (unkept_output, "the output"), (shape, "f64 [2]"), (dtype, "f32 [2]"), (lost, "no gradient"), (none, "no derivative")]
    {
        let error = y.sum()?.backward_keeping().unwrap_err().to_string();
        assert!(error.contains(part), "{part}: {error}");
    }
    Ok(())
}

#[test]
fn a_fused_rule_has_one_derivative() -> Result<()> {
    let tape = Tape::training(&mut rng());
    let x = tape.watch(vector(&[3.0]));
    let y = Tensor::record_fused("fused", [&x], Keep::NONE, x.array().clone(), |g, _| Ok([Some(g.clone())]))?.sum()?;
    let error = y.gradients_of(&[&x]).unwrap_err();
    assert!(matches!(error, Error::NotDifferentiable { op: "fused", .. }), "{error}");
    // A rule that computes with arrays behind the tape's back does not cut the graph in silence either.
    let z = Tensor::record("behind", [&x], Keep::NONE, x.array().clone(), |pass| Ok([Some(pass.grad().array().clone().into())]))?.sum()?;
    assert!(matches!(z.gradients_of(&[&x]).unwrap_err(), Error::NotDifferentiable { op: "behind", .. }));
    assert_eq!(numbers(z.add(&y)?.backward()?.wrt(&x).unwrap()), [2.0]);
    Ok(())
}

#[test]
fn a_panicking_rule_leaves_all_sane() -> Result<()> {
    let tape = Tape::training(&mut rng());
    let x = tape.watch(vector(&[3.0]));
    let y = Tensor::record("panics", [&x], Keep::NONE, x.array().clone(), |_| panic!("rule"))?.sum()?;
    let good = x.square()?.sum()?;
    for keep in [true, false] {
        let pass = || if keep { y.backward_keeping() } else { y.backward() };
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(pass)).is_err());
        if keep {
            assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| y.gradients_of(&[&x]))).is_err());
            assert_eq!(numbers(good.backward_keeping()?.wrt(&x).unwrap()), [6.0]);
        }
    }
    assert!(matches!(good.backward().unwrap_err(), Error::Spent { .. }));
    let tape = Tape::training(&mut rng());
    let x = tape.watch(vector(&[3.0]));
    assert_eq!(numbers(x.square()?.sum()?.backward()?.wrt(&x).unwrap()), [6.0]);
    Ok(())
}

#[test]
fn a_pass_inside_a_pass() -> Result<()> {
    let tape = Tape::training(&mut rng());
    let x = tape.watch(vector(&[3.0]));
    let inner = x.square()?.sum()?;
    let y = Tensor::record("nested", [&x], Keep::NONE, x.array().clone(), move |pass| {
        assert!(matches!(inner.backward_keeping().unwrap_err(), Error::Running { .. }));
        Ok([Some(pass.grad().clone())])
    })?;
    y.sum()?.backward_keeping()?;
    Ok(())
}

#[test]
fn only_scalars_and_watched_tensors() -> Result<()> {
    let tape = Tape::training(&mut rng());
    let x = tape.watch(vector(&[3.0, 4.0]));
    let error = x.square()?.backward().unwrap_err().to_string();
    assert!(error.contains("[2]") && error.contains("sum"), "{error}");
    let other = tape.watch(vector(&[1.0]));
    let y = x.square()?.sum()?;
    assert!(matches!(y.gradients_of(&[&other]).unwrap_err(), Error::Unreached { position: 0 }));
    assert!(matches!(y.gradients_of(&[&tape.input(vector(&[1.0]))]).unwrap_err(), Error::Constant { .. }));
    assert!(matches!(y.gradients_of(&[&vector(&[1.0]).into()]).unwrap_err(), Error::OffTape { .. }));
    let gradients = y.backward()?;
    assert!(gradients.wrt(&other).is_none() && gradients.wrt(&x).is_some());
    // The same place on another tape is another tensor.
    assert!(gradients.wrt(&Tape::training(&mut rng()).watch(vector(&[1.0]))).is_none());
    Ok(())
}

#[test]
fn integers_carry_no_gradient() -> Result<()> {
    let tape = Tape::training(&mut rng());
    let x = tape.watch(vector(&[3.0, 4.0]));
    let best = x.argmax(0, false)?;
    assert!(!best.needs_gradient() && !x.greater(&x)?.needs_gradient() && !x.cast(DType::I64)?.needs_gradient());
    assert!(!tape.watch(Array::from_slice(&[1i64], &[1])?).needs_gradient());
    let (values, indices) = x.max(0, false)?;
    assert!(values.needs_gradient() && !indices.needs_gradient());
    Ok(())
}

#[test]
fn second_order_through_parameters() -> Result<()> {
    // One step of MAML on w: f(w) = (w x)², fast = w - a f'(w), result f(fast); all differentiated by w.
    let model = Scale::new(&[1.5]);
    let (x, a) = (2.0f64, 0.05);
    let tape = Tape::inference(&mut rng());
    let data = tape.input(vector(&[x]));
    let w = data.parameter(model.id, &model.value, true)?;
    let inner = model.forward(&data)?.square()?.sum()?;
    let fast = w.sub(&inner.gradients_of(&[&w])?[0].mul_scalar(a)?)?;
    tape.bind(model.id, &fast)?;
    let gradients = model.forward(&data)?.square()?.sum()?.backward()?;
    let (curve, w) = (2.0 * x * x, 1.5);
    let fast = w - a * curve * w;
    approx::assert_relative_eq!(numbers(gradients.get(model.id).unwrap())[0], curve * fast * (1.0 - a * curve), max_relative = 1e-12);
    Ok(())
}

#[test]
fn bound_tensors_must_belong() -> Result<()> {
    let model = Scale::new(&[1.0]);
    let (tape, other) = (Tape::training(&mut rng()), Tape::training(&mut rng()));
    assert!(matches!(tape.bind(model.id, &other.watch(vector(&[1.0]))).unwrap_err(), Error::TwoTapes { .. }));
    let off = model.forward(&vector(&[1.0]).into())?;
    assert!(matches!(tape.bind(model.id, &off).unwrap_err(), Error::OffTapeGradient { .. }));
    tape.bind(model.id, &vector(&[5.0]).into())?;
    assert_eq!(numbers(model.forward(&tape.input(vector(&[2.0])))?.array()), [10.0]);
    Ok(())
}

#[test]
fn buffer_updates_compose() -> Result<()> {
    let id = ParamId::fresh();
    let run = |starts: &[f64]| -> Result<chainrule_autograd::Gradients> {
        let tape = Tape::training(&mut rng());
        let x = tape.watch(vector(&[1.0]));
        for &start in starts {
            x.update_buffer(id, Update::new(0.9, vector(&[start])))?;
        }
        x.square()?.sum()?.backward()
    };
    let by_hand = |values: &[f64]| values.iter().fold(8.0, |v, add| 0.9 * v + add);
    let one = run(&[1.0, 2.0])?;
    approx::assert_relative_eq!(numbers(&one.update(id).unwrap().apply(&vector(&[8.0]))?)[0], by_hand(&[1.0, 2.0]));
    let two = one.add(run(&[3.0])?)?;
    let update = two.update(id).unwrap();
    approx::assert_relative_eq!(numbers(&update.apply(&vector(&[8.0]))?)[0], by_hand(&[1.0, 2.0, 3.0]), max_relative = 1e-12);
    assert_eq!(update.stamps().len(), 3);
    assert!(update.apply(&vector(&[1.0, 2.0])).is_err());
    // Counters are integers.
    let count = Update::new(1.0, Array::from_slice(&[1i64], &[1])?);
    assert_eq!(count.apply(&Array::from_slice(&[41i64], &[1])?)?.to_vec::<i64>()?, [42]);
    Ok(())
}

#[test]
fn every_backward_copies_the_updates() -> Result<()> {
    let id = ParamId::fresh();
    let tape = Tape::training(&mut rng());
    let x = tape.watch(vector(&[1.0]));
    x.update_buffer(id, Update::new(0.9, vector(&[1.0])))?;
    let loss = x.square()?.sum()?;
    let (first, second) = (loss.backward_keeping()?, loss.backward()?);
    assert_eq!(first.update(id).unwrap().stamps(), second.update(id).unwrap().stamps());
    Ok(())
}

#[test]
fn gradients_add_scale_and_clip() -> Result<()> {
    let model = Scale::new(&[2.0, 3.0]);
    let run = |x: [f64; 2]| -> Result<chainrule_autograd::Gradients> {
        let tape = Tape::training(&mut rng());
        model.forward(&tape.input(vector(&x)))?.sum()?.backward()
    };
    let sum = run([1.0, 2.0])?.add(run([2.0, 2.0])?)?;
    assert_eq!(numbers(sum.get(model.id).unwrap()), [3.0, 4.0]);
    assert_eq!(sum.norm()?, 5.0);
    assert_eq!(sum.clone().clip_norm(10.0)?.norm()?, 5.0);
    approx::assert_relative_eq!(sum.clone().clip_norm(1.0)?.norm()?, 1.0, max_relative = 1e-6);
    assert_eq!(numbers(sum.clone().clip_value(3.5)?.get(model.id).unwrap()), [3.0, 3.5]);
    assert_eq!(numbers(sum.scale(2.0)?.get(model.id).unwrap()), [6.0, 8.0]);
    Ok(())
}

#[test]
fn random_streams_follow_the_tape() {
    let streams = |seed: u64| {
        let tape = Tape::training(&mut Rng::seeded(seed));
        let (x, w) = (tape.input(vector(&[1.0])), tape.watch(vector(&[1.0])));
        [x.random_stream(), w.random_stream(), x.square().unwrap().random_stream()]
    };
    let first = streams(1);
    assert!(first.iter().all(|s| s.is_some()) && first[0] != first[1] && first[1] != first[2]);
    assert_eq!(first, streams(1));
    assert_ne!(first, streams(2));
    assert_eq!(Tensor::from(vector(&[1.0])).random_stream(), None);
}

#[test]
fn replicas_on_threads() -> Result<()> {
    let model = Scale::new(&[2.0]);
    let gradients = std::thread::scope(|scope| {
        let run = |k: f64| {
            let model = &model;
            scope.spawn(move || {
                let tape = Tape::training(&mut Rng::seeded(k as u64));
                model.forward(&tape.input(vector(&[k])))?.sum()?.backward()
            })
        };
        let threads = [run(1.0), run(2.0), run(3.0)];
        threads.map(|t| t.join().unwrap()).into_iter().reduce(|a, b| a?.add(b?)).unwrap()
    })?;
    assert_eq!(numbers(gradients.get(model.id).unwrap()), [6.0]);
    fn shared<T: Send + Sync>() {}
    shared::<(Tensor, Tape, chainrule_autograd::Gradients, Error)>();
    Ok(())
}

#[test]
fn operators_are_sugar() -> Result<()> {
    let a = Tensor::from(vector(&[1.0, 2.0]));
    let b = Tensor::from(vector(&[3.0, 5.0]));
    assert_eq!((&a + &b * 2.0 - 1.0).to_vec::<f64>()?, [6.0, 11.0]);
    assert_eq!((1.0 - &a / &b).to_vec::<f64>()?, [1.0 - 1.0 / 3.0, 1.0 - 2.0 / 5.0]);
    assert_eq!((-(2.0 / a.clone())).to_vec::<f64>()?, [-2.0, -1.0]);
    let named = a.add(&vector(&[1.0; 3]).into()).unwrap_err().to_string();
    let panic = std::panic::catch_unwind(|| &a + &Tensor::from(vector(&[1.0; 3]))).unwrap_err();
    assert_eq!(*panic.downcast::<String>().unwrap(), named);
    Ok(())
}
