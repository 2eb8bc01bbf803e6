//! Adversarial examples.

use crate::*;
use chainrule_autograd::Tape;
use chainrule_finetune::Attack;
use chainrule_nn::{Embedding, Layer, frozen};
use chainrule_optim::Adam;

/// A loss whose gradient is known: Σ w x.
fn along<'a>(weights: &'a Tensor) -> impl FnMut(&Tensor) -> chainrule_autograd::Result<Tensor> + 'a {
    move |x| x.mul(weights)?.sum()
}

#[test]
fn one_step_is_the_sign_times_epsilon() -> Result {
    let (x, weights) = (noise(&[2, 3], 0), Tensor::from_slice(&[1.0, -2.0, 0.0, 0.5, 3.0, -0.1], &[2, 3])?);
    let moved = Attack::fgsm(0.25).perturb(&x, &mut Rng::seeded(0), along(&weights))?;
    let expected = numbers(&x).iter().zip(numbers(&weights)).map(|(x, w)| x + 0.25 * if w == 0.0 { 0.0 } else { w.signum() }).collect::<Vec<_>>();
    assert_eq!(numbers(&moved), expected);
    assert!(!moved.is_on_tape());
    // In Euclidean length: along the gradient of each sample.
    let moved = Attack::fgsm(0.5).euclidean().perturb(&x, &mut Rng::seeded(0), along(&weights))?;
    for (row, w) in numbers(&moved.sub(&x)?).chunks(3).zip(numbers(&weights).chunks(3)) {
        let length = w.iter().map(|w| w * w).sum::<f64>().sqrt();
        row.iter().zip(w).for_each(|(shift, w)| assert_near(*shift, 0.5 * w / length, 1e-12));
    }
    Ok(())
}

#[test]
fn steps_stay_in_the_ball_and_the_range() -> Result {
    let rng = &mut Rng::seeded(1);
    let (x, weights) = (Tensor::uniform(&[5, 2, 3], 0.0, 1.0, DType::F64, rng)?, noise(&[5, 2, 3], 2));
    for attack in [Attack::pgd(0.2, 7), Attack::pgd(0.2, 3).euclidean(), Attack::pgd(0.2, 4).step_size(5.0), Attack::pgd(0.3, 9).random_start(false)] {
        let moved = attack.range(0.0, 1.0).perturb(&x, rng, along(&weights))?;
        assert!(numbers(&moved).iter().all(|x| (0.0..=1.0).contains(x)));
        for row in numbers(&moved.sub(&x)?).chunks(6) {
            let length = if attack.euclidean { row.iter().map(|d| d * d).sum::<f64>().sqrt() } else { row.iter().fold(0.0, |most: f64, d| most.max(d.abs())) };
            assert!(length <= attack.epsilon + 1e-12 && length > 0.0, "{attack:?} {length}");
        }
        // Enough steps up a straight slope end on the rim, where it is highest.
        let rim = attack.random_start(attack.random_start && !attack.euclidean).perturb(&x, rng, along(&weights))?.sub(&x)?;
        let loss = |shift: &Tensor| shift.mul(&weights).unwrap().sum().unwrap().item().unwrap();
        let best: f64 = numbers(&weights)
            .chunks(6)
            .map(|w| attack.epsilon * if attack.euclidean { w.iter().map(|w| w * w).sum::<f64>().sqrt() } else { w.iter().map(|w| w.abs()).sum() })
            .sum();
        assert_near(loss(&rim), best, 1e-9);
    }
    Ok(())
}

#[test]
fn random_starts_fill_the_ball_and_follow_the_seed() -> Result {
    let x = Tensor::zeros(&[400, 2], DType::F64)?;
    let start = |attack: Attack, seed: u64| attack.step_size(0.0).perturb(&x, &mut Rng::seeded(seed), along(&x.ones_like().unwrap()));
    let disc = start(Attack::pgd(2.0, 1).euclidean(), 3)?;
    let within = numbers(&disc).chunks(2).filter(|p| p[0] * p[0] + p[1] * p[1] < 1.0).count();
    assert!((60..140).contains(&within), "a quarter of the disc lies within half its radius: {within}");
    let square = start(Attack::pgd(2.0, 1), 3)?;
    assert!(numbers(&square).iter().all(|x| x.abs() <= 2.0) && numbers(&square).iter().any(|x| x.abs() > 1.9));
    assert_eq!(numbers(&square), numbers(&start(Attack::pgd(2.0, 1), 3)?));
    assert_ne!(numbers(&square), numbers(&start(Attack::pgd(2.0, 1), 4)?));
    Ok(())
}

#[test]
fn what_does_not_fit_is_an_error() -> Result {
    let rng = &mut Rng::seeded(0);
    let x = noise(&[2, 2], 0);
    let attempt = |attack: Attack, x: &Tensor, rng: &mut Rng| attack.perturb(x, rng, |x| x.square()?.sum()).unwrap_err().to_string();
    for attack in
        [Attack::fgsm(-1.0), Attack::fgsm(f64::NAN), Attack::pgd(0.1, 0), Attack::fgsm(0.1).step_size(f64::INFINITY), Attack::fgsm(0.1).range(1.0, 0.0)]
    {
        assert!(attempt(attack, &x, rng).contains("expected"), "{attack:?}");
    }
    assert!(attempt(Attack::fgsm(0.1), &labels(&[1]), rng).contains("embeddings"));
    assert!(attempt(Attack::fgsm(0.1), &Tensor::scalar(1.0, DType::F64)?, rng).contains("first dimension"));
    let constant = Attack::fgsm(0.1).perturb(&x, rng, |x: &Tensor| x.detach().sum());
    assert!(constant.is_err());
    let infinite = Attack::fgsm(0.1).perturb(&x.zeros_like()?, rng, |x: &Tensor| x.sqrt()?.sum());
    assert!(infinite.unwrap_err().to_string().contains("not finite"));
    let own: Result<Tensor> = Attack::fgsm(0.1).perturb(&x, rng, |_| Err("mine".into()));
    assert_eq!(own.unwrap_err().to_string(), "mine");
    assert!(Attack::fgsm(0.1).perturb(&noise(&[0, 3], 0), rng, |x: &Tensor| x.sum())?.dims() == [0, 3]);
    Ok(())
}

#[test]
fn training_against_attacks_withstands_them() -> Result {
    // Two numbers tell the classes apart: one weakly in many places, which a plain model uses and an attack turns round, one strongly.
    let rng = &mut Rng::seeded(5);
    let y = Tensor::integers(&[256], 0, 2, rng)?;
    let side = y.cast(DType::F32)?.affine(2.0, -1.0)?.reshape(&[256, 1])?;
    let weak = Tensor::normal(&[256, 30], 0.0, 0.1, DType::F32, rng)?.add(&side.mul_scalar(0.1)?)?;
    let strong = Tensor::normal(&[256, 1], 0.0, 0.6, DType::F32, rng)?.add(&side)?;
    let x = Tensor::concatenate(&[&strong, &weak], 1)?;
    let attack = Attack::pgd(0.2, 4);
    let robust = |model: &Sequential, rng: &mut Rng| -> Result<f64> {
        let fixed = frozen(model);
        let worse = attack.perturb(&x, rng, |x| fixed.forward(x)?.cross_entropy(&y))?;
        Ok(accuracy(&model.forward(&worse)?, &y))
    };
    let train = |against: bool, rng: &mut Rng| -> Result<Sequential> {
        let (mut model, mut adam) = (network([31, 8, 2], 0), Adam::new(0.02));
        for _ in 0..60 {
            let fixed = frozen(&model);
            let seen = if against { attack.perturb(&x, rng, |x| fixed.forward(x)?.cross_entropy(&y))? } else { x.clone() };
            drop(fixed);
            let tape = Tape::training(rng);
            let loss = model.forward(&tape.input(seen))?.cross_entropy(&y)?;
            adam.step(&mut model, &loss.backward()?)?;
        }
        Ok(model)
    };
    let (plain, hardened) = (train(false, rng)?, train(true, rng)?);
    let clean = accuracy(&plain.forward(&x)?, &y);
    let (fallen, kept) = (robust(&plain, rng)?, robust(&hardened, rng)?);
    assert!(clean > 0.95 && fallen < 0.6 && kept > fallen + 0.15, "clean {clean}, attacked {fallen}, hardened {kept}");
    Ok(())
}

#[test]
fn embeddings_can_be_moved() -> Result {
    let rng = &mut Rng::seeded(0);
    let (table, head) = (frozen(&Embedding::new(10, 4, rng)?), frozen(&network([4, 6, 2], 0)));
    let embedded = table.forward(&Tensor::from_slice(&[1i64, 5, 7, 2], &[2, 2])?)?;
    let loss = |x: &Tensor| head.forward(&x.mean_over(&[1], false)?)?.cross_entropy(&labels(&[0, 1]));
    let moved = Attack::fgsm(0.5).euclidean().perturb(&embedded, rng, loss)?;
    assert_eq!(moved.dims(), [2, 2, 4]);
    assert!(loss(&moved)?.item()? > loss(&embedded)?.item()?);
    Ok(())
}
