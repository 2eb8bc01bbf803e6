//! Loss scaling: the same steps where all is finite, none where it is not.

mod support;

use chainrule_autograd::{Array, DType};
use chainrule_optim::{Adam, LossScale};
use support::{bits, gradients, model, rules, state_bits};

#[test]
fn powers_of_two_change_no_bits() {
    for ((name, mut plain), (_, mut scaled)) in rules(0.1).into_iter().zip(rules(0.1)) {
        let mut one = model(DType::F32);
        let (mut other, mut scale) = (one.clone(), LossScale::new().growth_interval(2));
        for step in 0..5 {
            let gradients = gradients(&one, step);
            let large = gradients.clone().scale(scale.scale()).unwrap();
            plain.step(&mut one, &gradients).unwrap();
            scale.step(&mut *scaled, &mut other, large).unwrap();
        }
        assert_eq!(bits(&one), bits(&other), "{name}");
        assert_eq!(scale.scale(), 65536.0 * 4.0, "{name}");
    }
}

#[test]
fn an_overflow_is_passed_over_and_reported() {
    let (mut model, mut adam) = (model(DType::F32), Adam::new(0.1));
    let mut scale = LossScale::new().initial(1024.0).growth_interval(3).growth_factor(4.0).backoff_factor(0.25);
    let mut step = |scale: &mut LossScale, spoilt: bool| {
        let mut gradients = gradients(&model, 0);
        if spoilt {
            gradients.insert(model.second.bias.id, Array::full(&[3], f64::INFINITY, DType::F32).unwrap());
        }
        let before = (bits(&model), state_bits(&adam, &model));
        let report = scale.step(&mut adam, &mut model, gradients).unwrap();
        assert_eq!(report.skipped.as_deref(), spoilt.then_some("second.bias"));
        assert_eq!((bits(&model), state_bits(&adam, &model)) == before, spoilt);
        scale.scale()
    };
    let scales = [false, false, true, false, false, false, true].map(|spoilt| step(&mut scale, spoilt));
    assert_eq!(scales, [1024.0, 1024.0, 256.0, 256.0, 256.0, 1024.0, 256.0]);

    step(&mut scale, false);
    let mut resumed = LossScale::new().initial(7.0).growth_interval(3).growth_factor(4.0).backoff_factor(0.25);
    resumed.load_state(&scale.state().unwrap()).unwrap();
    assert_eq!(resumed, scale);
    assert!(resumed.load_state(&Array::zeros(&[3], DType::F64).unwrap()).unwrap_err().to_string().contains("f64 [2]"));
}

#[test]
fn settings_out_of_range_and_other_errors_stay_errors() {
    let (mut model, mut adam) = (model(DType::F32), Adam::new(0.1));
    let whole = gradients(&model, 0);
    for (mut scale, part) in [
        (LossScale::new().initial(0.0), "the scale is 0"),
        (LossScale::new().initial(f64::INFINITY), "the scale is inf"),
        (LossScale::new().growth_factor(1.0), "growth_factor is 1"),
        (LossScale::new().backoff_factor(1.0), "backoff_factor is 1"),
        (LossScale::new().growth_interval(0), "growth_interval is 0"),
    ] {
        let error = scale.step(&mut adam, &mut model, whole.clone()).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    let mut part = whole;
    part.remove(model.first.bias.id);
    let mut scale = LossScale::new();
    assert!(scale.step(&mut adam, &mut model, part).unwrap_err().to_string().contains("no gradient"));
    assert_eq!((scale.scale(), adam.steps()), (65536.0, 0));
}
