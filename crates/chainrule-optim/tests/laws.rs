//! Laws that every rule obeys.

mod support;

use chainrule_autograd::{Array, DType, Gradients};
use chainrule_core::parallel::set_threads;
use chainrule_nn::{Param, freeze, unfreeze};
use chainrule_optim::{Adam, Optimize, Plateau, Schedule, State};
use support::{advance, bits, gradients, model, numbers, rules, state_bits};

#[test]
fn the_bottom_of_a_bowl_is_found() {
    for (name, mut optimizer) in rules(0.02) {
        for dtype in [DType::F32, DType::F64] {
            let mut point = Param::new(Array::from_slice(&[3f64, -2.0, 0.5], &[3]).unwrap().cast(dtype).unwrap());
            let distance = |point: &Param| point.value.cast(DType::F64).unwrap().to_vec::<f64>().unwrap().into_iter().fold(0f64, |m, x| m.max((x - 0.1).abs()));
            let before = distance(&point);
            for _ in 0..2500 {
                // The bowl (x - 0.1)² is three times as steep along its last axis.
                let slopes: Vec<f64> =
                    point.value.cast(DType::F64).unwrap().to_vec::<f64>().unwrap().iter().zip([1.0, 1.0, 3.0]).map(|(x, steep)| steep * (x - 0.1)).collect();
                let mut gradients = Gradients::default();
                gradients.insert(point.id, Array::from_slice(&slopes, &[3]).unwrap().cast(dtype).unwrap());
                optimizer.step(&mut point, &gradients).unwrap();
            }
            let after = distance(&point);
            assert!(after < 0.02 && before > 2.0, "{name} {dtype}: {after} from the bottom");
        }
    }
}

#[test]
fn frozen_parameters_keep_their_bits_and_have_no_state() {
    for (name, mut optimizer) in rules(0.1) {
        let mut model = model(DType::F32);
        let mut step = |model: &mut support::Model, i: usize| {
            let gradients = gradients(model, i);
            optimizer.step(model, &gradients).unwrap();
            optimizer.state(model)
        };
        freeze(&mut model, "first.*").unwrap();
        let before = bits(&model);
        assert_eq!(step(&mut model, 0).parameters.keys().collect::<Vec<_>>(), ["second.bias", "second.weight"], "{name}");
        let after = bits(&model);
        for ((path, old), (_, new)) in before.iter().zip(&after) {
            assert_eq!(path.starts_with("second"), old != new, "{name}: {path}");
        }
        unfreeze(&mut model, "first.bias").unwrap();
        let state = step(&mut model, 1);
        assert_eq!((state.parameters["first.bias"].step, state.parameters["second.bias"].step), (1, 2), "{name}");
        freeze(&mut model, "second.*").unwrap();
        assert_eq!(step(&mut model, 2).parameters.keys().collect::<Vec<_>>(), ["first.bias"], "{name}");
    }
}

#[test]
fn the_order_of_parameters_is_of_no_account() {
    for ((name, mut forth), (_, mut back)) in rules(0.1).into_iter().zip(rules(0.1)) {
        let model = model(DType::F32);
        let mut one = (model.first.clone(), model.second.clone());
        let mut other = (model.second, model.first);
        for step in 0..5 {
            // Powers of two, so that the norm's sum is exact in any order.
            let mut gradients = gradients(&one, step);
            for (id, gradient) in gradients.clone().iter() {
                gradients.insert(id, Array::from_index(gradient.dims(), DType::F32, |i| if (i + step) % 3 == 0 { 0.5 } else { -0.25 }).unwrap());
            }
            forth.step(&mut one, &gradients).unwrap();
            back.step(&mut other, &gradients).unwrap();
        }
        let strip = |bits: Vec<(String, Vec<u64>)>| bits.into_iter().map(|(_, bits)| bits).collect::<Vec<_>>();
        assert_eq!(strip(bits(&one.0)), strip(bits(&other.1)), "{name}");
        assert_eq!(strip(bits(&one.1)), strip(bits(&other.0)), "{name}");
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let run = |threads: usize| {
        set_threads(threads);
        rules(0.01)
            .into_iter()
            .map(|(name, mut optimizer)| {
                let mut param = Param::new(numbers(&[300, 401], 5, DType::F32));
                for step in 0..3 {
                    let gradients = gradients(&param, step);
                    optimizer.step(&mut param, &gradients).unwrap();
                }
                (name, bits(&param), state_bits(&*optimizer, &param))
            })
            .collect::<Vec<_>>()
    };
    let alone = run(1);
    for threads in 2..=4 {
        assert!(run(threads) == alone, "{threads} threads");
    }
}

#[test]
fn a_resumed_run_has_the_bits_of_an_uninterrupted_one() {
    for ((name, mut whole), (_, mut resumed)) in rules(0.1).into_iter().zip(rules(0.1)) {
        let mut model = model(DType::F32);
        let run = |model: &mut support::Model, optimizer: &mut dyn Optimize, steps: std::ops::Range<usize>| {
            for step in steps {
                advance(&mut *optimizer, model, step);
            }
        };
        whole.set_learning_rate(0.05);
        run(&mut model, &mut *whole, 0..4);
        whole.set_factor(0.5);
        let arrays = whole.state(&model).to_arrays().unwrap();
        let mut copy = model.clone();
        run(&mut model, &mut *whole, 4..9);
        resumed.load_state(&copy, &State::from_arrays(&arrays).unwrap()).unwrap();
        run(&mut copy, &mut *resumed, 4..9);
        assert_eq!(bits(&copy), bits(&model), "{name}");
        assert_eq!(state_bits(&*resumed, &copy), state_bits(&*whole, &model), "{name}");
    }
}

#[test]
fn a_clone_is_a_point_to_return_to() {
    let mut adam = Adam::new(0.1).schedule(Schedule::exponential(0.9));
    let mut model = model(DType::F32);
    advance(&mut adam, &mut model, 0);
    let saved = (model.clone(), adam.clone());
    let mut ends = Vec::new();
    for (mut model, mut adam) in [(model, adam), saved] {
        for step in 1..4 {
            advance(&mut adam, &mut model, step);
        }
        ends.push((bits(&model), state_bits(&adam, &model)));
    }
    assert_eq!(ends[0], ends[1]);
}

#[test]
fn numbers_are_written_in_place_unless_something_else_holds_them() {
    for (name, mut optimizer) in rules(0.1) {
        let mut param = Param::new(numbers(&[7], 1, DType::F32));
        let address = |param: &Param| param.value.as_slice::<f32>().unwrap().as_ptr();
        let before = address(&param);
        advance(&mut *optimizer, &mut param, 0);
        assert_eq!(address(&param), before, "{name}");
        let snapshot = param.clone();
        let frozen = bits(&snapshot);
        advance(&mut *optimizer, &mut param, 1);
        assert_eq!(bits(&snapshot), frozen, "{name}");
        assert_ne!(bits(&param), frozen, "{name}");
    }
}

#[test]
fn a_plateau_reaches_every_group() {
    let mut adam = Adam::new(0.1).group("first.*", |g| g.learning_rate(0.2)).schedule(Schedule::constant(0.5));
    let mut plateau = Plateau::new(0.1, 0);
    plateau.observe(1.0);
    adam.set_factor(plateau.observe(1.0));
    let mut model = model(DType::F64);
    let before = model.clone();
    let mut ones = Gradients::default();
    for param in [&model.first.weight, &model.first.bias, &model.second.weight, &model.second.bias] {
        ones.insert(param.id, Array::ones(param.value.dims(), DType::F64).unwrap());
    }
    // Adam's first step is as long as the learning rate, whatever the gradient.
    assert!((adam.step(&mut model, &ones).unwrap().learning_rate - 0.005).abs() < 1e-15);
    let moved = |old: &Param, new: &Param| old.value.to_vec::<f64>().unwrap()[0] - new.value.to_vec::<f64>().unwrap()[0];
    assert!((moved(&before.first.bias, &model.first.bias) - 0.01).abs() < 1e-8);
    assert!((moved(&before.second.bias, &model.second.bias) - 0.005).abs() < 1e-8);
}
