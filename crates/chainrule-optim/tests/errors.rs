//! Steps that are refused, and what they leave behind: everything as it was.

mod support;

use chainrule_autograd::{Array, DType, Gradients, Rng, Tape, Tensor};
use chainrule_nn::{Buffer, Module, Param};
use chainrule_optim::{Adadelta, Adafactor, Adagrad, Adam, AdamW, Adamax, Asgd, Lamb, Lion, NAdam, Optimize, RAdam, RmsProp, Rprop, Schedule, Sgd, State};
use support::{Model, advance, bits, gradients, model, numbers, rules, state_bits};

/// The message of a step that must fail, and that must change nothing.
fn refused(optimizer: &mut dyn Optimize, model: &mut dyn Module, gradients: &Gradients) -> String {
    let before = (bits(model), state_bits(optimizer, model));
    let error = optimizer.step(model, gradients).expect_err("the step must be refused").to_string();
    assert!((bits(model), state_bits(optimizer, model)) == before, "something changed: {error}");
    error
}

/// A model and an optimizer after a first step.
fn started(mut optimizer: impl Optimize + 'static) -> (Model, Box<dyn Optimize>) {
    let mut model = model(DType::F32);
    advance(&mut optimizer, &mut model, 0);
    (model, Box::new(optimizer))
}

fn assert_says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "\"{message}\" does not say \"{part}\"");
    }
}

#[test]
fn gradients_that_do_not_fit_change_nothing_under_any_rule() {
    for (name, mut optimizer) in rules(0.1) {
        let mut model = model(DType::F32);
        for round in 0..2 {
            let whole = gradients(&model, round);
            let mut spoil = |change: &dyn Fn(&mut Gradients), parts: &[&str]| {
                let mut gradients = whole.clone();
                change(&mut gradients);
                let message = refused(&mut *optimizer, &mut model, &gradients);
                assert_says(&format!("{name}: {message}"), parts);
            };
            let (last, dims) = (support_last(&whole), [3]);
            spoil(&|g| drop(g.remove(last)), &["\"second.bias\"", "no gradient", "1 of 4", "missing_as_zero"]);
            spoil(&|g| *g = Gradients::default(), &["\"first.weight\"", "4 of 4"]);
            spoil(&|g| g.insert(last, numbers(&[4], 1, DType::F32)), &["\"second.bias\"", "f32 [4]", "f32 [3]"]);
            spoil(&|g| g.insert(last, numbers(&dims, 1, DType::F64)), &["\"second.bias\"", "f64 [3]", "f32 [3]"]);
            for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
                spoil(
                    &|g| g.insert(last, Array::from_index(&dims, DType::F32, |i| if i == 1 { bad } else { 0.0 }).unwrap()),
                    &["\"second.bias\"", "not finite"],
                );
            }
            optimizer.step(&mut model, &whole).unwrap();
        }
    }
}

/// The identity that was given last.
fn support_last(gradients: &Gradients) -> chainrule_autograd::ParamId {
    gradients.iter().map(|(id, _)| id).last().unwrap()
}

#[test]
fn a_parameter_stored_twice() {
    let mut tied = [model(DType::F32).first.weight, model(DType::F32).first.weight];
    tied[1] = tied[0].clone();
    let gradients = gradients(&tied[0], 0);
    assert_says(&refused(&mut Adam::new(0.1), &mut tied, &gradients), &["\"0\" and \"1\"", "parameter", "independent()"]);
    tied[0].trainable = false;
    refused(&mut Adam::new(0.1), &mut tied, &gradients);
    tied[1].trainable = false;
    Adam::new(0.1).step(&mut tied, &gradients).unwrap();
}

#[test]
fn parameters_of_whole_numbers() {
    let mut param = Param::new(Array::zeros(&[2], DType::I64).unwrap());
    let gradients = gradients(&param, 0);
    assert_says(&refused(&mut Sgd::new(0.1), &mut param, &gradients), &["i64", "f32 or f64"]);
}

#[test]
fn patterns() {
    let mut model = model(DType::F32);
    let gradients = gradients(&model, 0);
    let mut refuse = |mut optimizer: Adam| refused(&mut optimizer, &mut model, &gradients);
    assert_says(&refuse(Adam::new(0.1).group("*.bais", |g| g.weight_decay(0.0))), &["\"*.bais\"", "matches no parameter", "first.bias"]);
    assert_says(&refuse(Adam::new(0.1).group("first", |g| g)), &["\"first\"", "first.*"]);
    assert_says(&refuse(Adam::new(0.1).group("{first", |g| g)), &["{first"]);
    assert_says(&refuse(Adam::new(0.1).missing_as_zero("experts.*")), &["experts.*"]);
    // Frozen parameters count: a group may wait for them.
    let mut adam = Adam::new(0.1).group("first.*", |g| g.weight_decay(0.0));
    chainrule_nn::freeze(&mut model, "first.*").unwrap();
    adam.step(&mut model, &gradients).unwrap();
    // A group that is added later is looked at again.
    assert_says(&refused(&mut adam.group("third.*", |g| g), &mut model, &gradients), &["third.*"]);
}

#[test]
fn hyper_parameters_out_of_range() {
    let (mut model, _) = started(Adam::new(0.1));
    let gradients = gradients(&model, 1);
    let cases: Vec<(Box<dyn Optimize>, &[&str])> = vec![
        (Box::new(Adam::new(-0.1)), &["adam: learning_rate is -0.1"]),
        (Box::new(Adam::new(f64::NAN)), &["learning_rate is NaN"]),
        (Box::new(Adam::new(0.1).schedule(Schedule::step(0, 0.5))), &["NaN", "at step 0 of step(0, 0.5)"]),
        (Box::new(Adam::new(0.1).betas(0.9, 1.0)), &["beta2 is 1"]),
        (Box::new(AdamW::new(0.1).betas(-0.1, 0.9)), &["adam_w: beta1 is -0.1"]),
        (Box::new(Adam::new(0.1).eps(f64::INFINITY)), &["eps is inf"]),
        (Box::new(Adam::new(0.1).clip_norm(f64::NAN)), &["clip_norm is NaN"]),
        (Box::new(Adam::new(0.1).clip_value(-1.0)), &["clip_value is -1"]),
        (Box::new(Sgd::new(0.1).momentum(-0.5)), &["sgd: momentum is -0.5"]),
        (Box::new(Sgd::new(0.1).nesterov(true)), &["nesterov needs momentum"]),
        (Box::new(Sgd::new(0.1).group("*.bias", |g| g.weight_decay(f64::NAN))), &["weight_decay is NaN"]),
        (Box::new(Sgd::new(0.1).momentum(0.9).group("first.*", |g| g.dampening(2.0))), &["dampening is 2"]),
        (Box::new(RmsProp::new(0.1).alpha(1.0)), &["rms_prop: alpha is 1", "below 1"]),
        (Box::new(RmsProp::new(0.1).momentum(f64::NAN)), &["rms_prop: momentum is NaN"]),
        (Box::new(Adagrad::new(0.1).rate_decay(-1.0)), &["adagrad: rate_decay is -1"]),
        (Box::new(Adagrad::new(0.1).initial_accumulator(-1.0)), &["initial_accumulator is -1"]),
        (Box::new(Adadelta::new(1.0).rho(1.5)), &["adadelta: rho is 1.5"]),
        (Box::new(Adamax::new(0.1).betas(0.9, 2.0)), &["adamax: beta2 is 2"]),
        (Box::new(NAdam::new(0.1).momentum_decay(-0.1)), &["n_adam: momentum_decay is -0.1"]),
        (Box::new(RAdam::new(0.1).eps(-1.0)), &["r_adam: eps is -1"]),
        (Box::new(Lion::new(0.1).betas(1.0, 0.9)), &["lion: beta1 is 1"]),
        (Box::new(Lamb::new(0.1).eps(-1.0)), &["lamb: eps is -1"]),
        (Box::new(Asgd::new(0.1).lambda(-1.0)), &["asgd: lambda is -1"]),
        (Box::new(Rprop::new(0.1).etas(1.0, 1.2)), &["rprop: etas are 1 and 1.2"]),
        (Box::new(Rprop::new(0.1).step_sizes(1.0, 0.1)), &["step_sizes are 1 and 0.1"]),
        (Box::new(Adafactor::new(0.1).beta2_decay(0.1)), &["adafactor: beta2_decay is 0.1"]),
        (Box::new(Adafactor::new(0.1).clip(0.5)), &["clip is 0.5", "at least 1"]),
    ];
    for (mut optimizer, parts) in cases {
        assert_says(&refused(&mut *optimizer, &mut model, &gradients), parts);
    }
}

#[test]
fn a_step_passed_over_says_so_and_changes_nothing() {
    let (mut model, mut adam) = started(Adam::new(0.1).clip_norm(1.0).skip_non_finite());
    let before = (bits(&model), state_bits(&*adam, &model));
    let mut spoilt = gradients(&model, 1);
    spoilt.insert(model.second.bias.id, Array::full(&[3], f64::NAN, DType::F32).unwrap());
    let report = adam.step(&mut model, &spoilt).unwrap();
    assert_eq!((report.skipped.as_deref(), report.steps), (Some("second.bias"), 1));
    assert_eq!((bits(&model), state_bits(&*adam, &model)), before);
    // The policy is about numbers only.
    spoilt.remove(model.first.bias.id);
    assert_says(&refused(&mut *adam, &mut model, &spoilt), &["first.bias"]);
    assert_eq!(advance(&mut *adam, &mut model, 1).skipped, None);
}

/// Gradients with the update `mean <- decay mean + add`.
fn with_update(model: &Model, decay: f64, add: f64) -> Gradients {
    let tape = Tape::training(&mut Rng::seeded(1));
    let x = tape.watch(Tensor::ones(&[4], DType::F32).unwrap());
    model.mean.update(&x, decay, Array::full(&[4], add, DType::F32).unwrap()).unwrap();
    gradients(model, 2).add(x.sum().unwrap().backward().unwrap()).unwrap()
}

#[test]
fn buffer_updates_are_applied_once() {
    let (mut model, mut adam) = started(Adam::new(0.1));
    let mean = |model: &Model| model.mean.value.to_vec::<f32>().unwrap()[0];
    let old = mean(&model);
    let first = with_update(&model, 0.5, 1.0);
    let second = with_update(&model, 0.25, 2.0);
    adam.step(&mut model, &first).unwrap();
    assert_eq!(mean(&model), 0.5 * old + 1.0);
    assert_says(&refused(&mut *adam, &mut model, &first), &["\"mean\"", "applied before"]);
    // Also where it is a part of a sum.
    let sum = first.add(second.clone()).unwrap();
    assert_says(&refused(&mut *adam, &mut model, &sum), &["\"mean\""]);
    adam.step(&mut model, &second).unwrap();
    assert_eq!(mean(&model), 0.25 * (0.5 * old + 1.0) + 2.0);

    let infinite = with_update(&model, 0.5, f64::INFINITY);
    assert_says(&refused(&mut *adam, &mut model, &infinite), &["the update of \"mean\"", "not finite"]);
    let updates = with_update(&model, 0.5, 1.0);
    model.mean.value = Array::zeros(&[5], DType::F32).unwrap();
    assert_says(&refused(&mut *adam, &mut model, &updates), &["\"mean\"", "[5]"]);
}

#[test]
fn a_buffer_stored_twice() {
    #[derive(Module)]
    struct Twice {
        one: Model,
        two: Buffer,
    }
    let one = model(DType::F32);
    let gradients = with_update(&one, 0.5, 1.0);
    let mut twice = Twice { two: one.mean.clone(), one };
    assert_says(&refused(&mut Sgd::new(0.1), &mut twice, &gradients), &["\"one.mean\" and \"two\"", "buffer"]);
}

#[test]
fn a_model_that_hides_parameters_from_writing() {
    struct Hiding(Param);
    impl Module for Hiding {
        fn visit(&self, path: &mut chainrule_nn::Path, visitor: &mut dyn chainrule_nn::Visitor) {
            path.within("hidden", |path| self.0.visit(path, visitor));
        }
        fn visit_mut(&mut self, _: &mut chainrule_nn::Path, _: &mut dyn chainrule_nn::VisitorMut) {}
    }
    let mut model = Hiding(Param::new(numbers(&[2], 1, DType::F32)));
    let gradients = gradients(&model, 0);
    assert_says(&refused(&mut Sgd::new(0.1), &mut model, &gradients), &["hidden"]);
}

#[test]
fn states_that_do_not_fit() {
    let (model, adam) = started(Adam::new(0.1));
    let arrays = adam.state(&model).to_arrays().unwrap();
    let mut target = started(Adam::new(0.1)).1;
    let mut refuse = |change: &dyn Fn(&mut std::collections::BTreeMap<String, Array>), parts: &[&str]| {
        let mut arrays = arrays.clone();
        change(&mut arrays);
        let before = state_bits(&*target, &model);
        let error = State::from_arrays(&arrays).and_then(|state| target.load_state(&model, &state)).unwrap_err().to_string();
        assert_says(&error, parts);
        assert_eq!(state_bits(&*target, &model), before);
    };
    refuse(&|a| drop(a.remove("first.bias.exp_avg")), &["\"first.bias\" lacks \"exp_avg\""]);
    refuse(&|a| drop(a.insert("first.bias.max_exp_avg_sq".into(), numbers(&[4], 1, DType::F32))), &["first.bias", "max_exp_avg_sq"]);
    refuse(&|a| drop(a.insert("first.bias.exp_avg".into(), numbers(&[5], 1, DType::F32))), &["first.bias.exp_avg", "f32 [5]", "f32 [4]"]);
    refuse(&|a| drop(a.remove("first.bias.step")), &["first.bias.step", "missing"]);
    refuse(&|a| drop(a.insert("first.bias.step".into(), Array::from_slice(&[-1i64], &[]).unwrap())), &["first.bias.step", "count"]);
    refuse(&|a| a.retain(|name, _| !name.starts_with("second.")), &["lacks \"second.weight\"", "unfreeze"]);
    refuse(&|a| drop(a.insert("third.step".into(), Array::from_slice(&[1i64], &[]).unwrap())), &["\"third\"", "lacks"]);
    refuse(&|a| drop(a.insert("rule".into(), Array::from_slice(b"sgd", &[3]).unwrap())), &["\"sgd\"", "\"adam\""]);
    refuse(&|a| drop(a.insert("factor".into(), numbers(&[2], 1, DType::F64))), &["factor"]);
    refuse(&|a| drop(a.remove("steps")), &["steps"]);
    refuse(&|a| drop(a.insert("stpes".into(), numbers(&[2], 1, DType::F64))), &["\"stpes\"", "\"steps\""]);
}
