//! Distillation and learning without forgetting.

use crate::{Result, *};
use chainrule_autograd::{Tape, gradcheck};
use chainrule_finetune::*;
use chainrule_nn::{Layer, params_mut};
use chainrule_optim::Adam;

#[test]
fn soft_targets_follow_the_formula() -> Result {
    for temperature in [0.5, 1.0, 4.0] {
        let (student, teacher) = (noise(&[2, 3, 5], 1), noise(&[2, 3, 5], 2));
        let (p, q) = (softmax(&numbers(&teacher), 5, temperature), softmax(&numbers(&student), 5, temperature));
        let kl: f64 = p.iter().flatten().zip(q.iter().flatten()).map(|(p, q)| p * (p.ln() - q.ln())).sum::<f64>() / 6.0;
        assert_near(distillation(&student, &teacher, temperature)?.item()?, temperature * temperature * kl, 1e-12);
        let cross: f64 = -p.iter().flatten().zip(q.iter().flatten()).map(|(p, q)| p * q.ln()).sum::<f64>() / 6.0;
        assert_near(learning_without_forgetting(&student, &teacher, temperature)?.item()?, cross, 1e-12);
    }
    let (student, teacher, hard) = (noise(&[3, 4], 1), noise(&[3, 4], 2), [1i64, 3, 0]);
    let one = softmax(&numbers(&student), 4, 1.0);
    let cross = -hard.iter().zip(&one).map(|(&label, row)| row[label as usize].ln()).sum::<f64>() / 3.0;
    let mixed = distillation_with_labels(&student, &teacher, &labels(&hard), 2.0, 0.3)?.item()?;
    assert_near(mixed, 0.3 * distillation(&student, &teacher, 2.0)?.item()? + 0.7 * cross, 1e-12);
    Ok(())
}

#[test]
fn features_follow_the_formula() -> Result {
    let (a, b) = (noise(&[2, 3, 4], 1), noise(&[2, 5, 4], 2));
    let squares: f64 = numbers(&a).iter().map(|x| x * x).sum();
    assert_near(hint(&a, &a.zeros_like()?)?.item()?, 0.5 * squares / 24.0, 1e-12);
    let map = |x: &Tensor, channels: usize| -> Vec<f64> {
        let values = numbers(x);
        let of_sample = |n: usize| {
            let q: Vec<f64> = (0..4).map(|place| (0..channels).map(|c| values[(n * channels + c) * 4 + place].powi(2)).sum()).collect();
            let length = q.iter().map(|q| q * q).sum::<f64>().sqrt();
            q.into_iter().map(move |q| q / length)
        };
        (0..2).flat_map(of_sample).collect()
    };
    let expected = map(&a, 3).iter().zip(map(&b, 5)).map(|(a, b)| (a - b).powi(2)).sum::<f64>() / 8.0;
    assert_near(attention_transfer(&a, &b)?.item()?, expected, 1e-12);
    Ok(())
}

#[test]
fn gradients_reach_the_student_alone() -> Result {
    let (student, teacher) = (noise(&[3, 4], 1), noise(&[3, 4], 2));
    gradcheck(std::slice::from_ref(&student), |x| distillation(&x[0], &teacher, 2.0))?;
    gradcheck(std::slice::from_ref(&student), |x| learning_without_forgetting(&x[0], &teacher, 2.0))?;
    gradcheck(std::slice::from_ref(&student), |x| hint(&x[0], &teacher))?;
    gradcheck(&[noise(&[2, 3, 4], 3)], |x| attention_transfer(&x[0], &noise(&[2, 1, 4], 4)))?;
    let tape = Tape::training(&mut Rng::seeded(0));
    let (s, t) = (tape.watch(&student), tape.watch(&teacher));
    let gradients = distillation_with_labels(&s, &t, &labels(&[0, 1, 2]), 2.0, 0.5)?.backward()?;
    assert!(gradients.wrt(&s).is_some() && gradients.wrt(&t).is_none());
    // A teacher that ran off the tape needs no ceremony.
    let model = network([4, 5, 4], 0);
    let said = model.forward(&student.cast(DType::F32)?)?;
    assert!(distillation(&tape_input(&student)?, &said, 2.0)?.item()? > 0.0);
    Ok(())
}

fn tape_input(x: &Tensor) -> Result<Tensor> {
    let tape = Tape::training(&mut Rng::seeded(0));
    Ok(Tensor::from(tape.input(x.cast(DType::F32)?).into_array()))
}

#[test]
fn what_does_not_fit_is_an_error() {
    let x = noise(&[3, 4], 1);
    for temperature in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(distillation(&x, &x, temperature).is_err() && learning_without_forgetting(&x, &x, temperature).is_err());
    }
    assert!(distillation(&x, &noise(&[3, 5], 1), 1.0).is_err());
    assert!(distillation(&noise(&[0, 4], 1), &noise(&[0, 4], 1), 1.0).is_err());
    assert!(distillation_with_labels(&x, &x, &labels(&[0, 1, 2]), 1.0, 1.5).is_err());
    assert!(distillation_with_labels(&x, &x, &labels(&[0, 1]), 1.0, 0.5).is_err());
    assert!(hint(&x, &noise(&[4, 3], 1)).unwrap_err().to_string().contains("one shape by a trained layer"));
    assert!(attention_transfer(&x, &x).is_err() && attention_transfer(&noise(&[2, 1, 3], 0), &noise(&[2, 1, 4], 0)).is_err());
}

#[test]
fn a_student_learns_from_unlabelled_inputs() -> Result {
    // The teacher knows; the student sees inputs and answers only.
    let rng = &mut Rng::seeded(3);
    let mut teacher = network([4, 16, 3], 1);
    params_mut(&mut teacher, |_, param| param.value = Tensor::from(&param.value).mul_scalar(3.0).unwrap().into_array()); // sure of itself
    let (x, test) = (noise(&[256, 4], 2).cast(DType::F32)?, noise(&[200, 4], 3).cast(DType::F32)?);
    let (mut student, mut adam) = (network([4, 16, 3], 9), Adam::new(0.02));
    let agreement = |student: &Sequential| -> Result<f64> { Ok(accuracy(&student.forward(&test)?, &teacher.forward(&test)?.argmax(-1, false)?)) };
    let before = agreement(&student)?;
    for _ in 0..150 {
        let tape = Tape::training(rng);
        let loss = distillation(&student.forward(&tape.input(&x))?, &teacher.forward(&x)?, 2.0)?;
        adam.step(&mut student, &loss.backward()?)?;
    }
    assert!(before < 0.6 && agreement(&student)? > 0.85, "{before} {}", agreement(&student)?);
    Ok(())
}
