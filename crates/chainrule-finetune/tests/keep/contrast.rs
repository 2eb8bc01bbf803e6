//! Contrastive fine-tuning.

use crate::{Result, *};
use chainrule_autograd::{Tape, gradcheck};
use chainrule_finetune::*;
use chainrule_nn::{Dropout, Layer};
use chainrule_optim::Adam;

fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

fn info_nce(a: &Tensor, keys: &[Vec<f64>], temperature: f64) -> f64 {
    let rows: Vec<Vec<f64>> = numbers(a).chunks(a.dims()[1]).map(<[f64]>::to_vec).collect();
    let loss = |(i, a): (usize, &Vec<f64>)| {
        let scores: Vec<f64> = keys.iter().map(|k| cosine(a, k) / temperature).collect();
        scores.iter().map(|s| s.exp()).sum::<f64>().ln() - scores[i]
    };
    rows.iter().enumerate().map(loss).sum::<f64>() / rows.len() as f64
}

#[test]
fn ranking_follows_the_formula() -> Result {
    let (a, p, n) = (noise(&[3, 4], 1), noise(&[3, 4], 2), noise(&[2, 4], 3));
    let rows = |x: &Tensor| numbers(x).chunks(4).map(<[f64]>::to_vec).collect::<Vec<_>>();
    assert_near(multiple_negatives_ranking(&a, &p, None, 0.05)?.item()?, info_nce(&a, &rows(&p), 0.05), 1e-10);
    assert_near(multiple_negatives_ranking(&a, &p, Some(&n), 0.5)?.item()?, info_nce(&a, &[rows(&p), rows(&n)].concat(), 0.5), 1e-12);
    let both = (info_nce(&a, &rows(&p), 0.2) + info_nce(&p, &rows(&a), 0.2)) / 2.0;
    assert_near(symmetric_info_nce(&a, &p, 0.2)?.item()?, both, 1e-12);
    gradcheck(&[a.clone(), p.clone(), n.clone()], |x| multiple_negatives_ranking(&x[0], &x[1], Some(&x[2]), 0.5))?;
    gradcheck(&[a.clone(), p.clone()], |x| symmetric_info_nce(&x[0], &x[1], 0.5))?;
    assert!(multiple_negatives_ranking(&a, &n, None, 0.5).is_err() && multiple_negatives_ranking(&a, &p, None, 0.0).is_err());
    assert!(multiple_negatives_ranking(&a, &p, Some(&noise(&[2, 5], 0)), 0.5).is_err());
    Ok(())
}

#[test]
fn the_hardest_triplets_of_the_batch() -> Result {
    let (x, label) = (noise(&[7, 3], 4), [0i64, 1, 0, 1, 2, 0, 1]);
    let rows: Vec<Vec<f64>> = numbers(&x).chunks(3).map(<[f64]>::to_vec).collect();
    let distance = |a: usize, b: usize| rows[a].iter().zip(&rows[b]).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
    let anchors = [0, 1, 2, 3, 5, 6]; // the fourth has no other of its label
    let loss = |&a: &usize| {
        let far = (0..7).filter(|&i| i != a && label[i] == label[a]).map(|i| distance(a, i)).fold(0.0, f64::max);
        let near = (0..7).filter(|&i| label[i] != label[a]).map(|i| distance(a, i)).fold(f64::INFINITY, f64::min);
        (far - near + 0.5).max(0.0)
    };
    let expected = anchors.iter().map(loss).sum::<f64>() / 6.0;
    assert_near(batch_hard_triplet(&x, &labels(&label), 0.5)?.item()?, expected, 1e-12);
    gradcheck(std::slice::from_ref(&x), |x| batch_hard_triplet(&x[0], &labels(&label), 0.5))?;
    assert!(batch_hard_triplet(&x, &labels(&[1; 7]), 0.5).unwrap_err().to_string().contains("no sample"));
    assert!(batch_hard_triplet(&x, &labels(&[1; 6]), 0.5).is_err() && batch_hard_triplet(&x, &x, 0.5).is_err());
    Ok(())
}

#[test]
fn dropout_makes_the_pairs_of_simcse() -> Result {
    let rng = &mut Rng::seeded(0);
    let mut model = Sequential::new().add(Linear::new(6, 16, rng)?).add(Dropout::new(0.2)).add(Linear::new(16, 8, rng)?);
    let x = noise(&[12, 6], 1).cast(DType::F32)?;
    let off = simcse(&x, 0.05, |x| model.forward(x)).unwrap_err().to_string();
    assert!(off.contains("training"), "{off}");
    let (mut adam, mut losses) = (Adam::new(0.01), vec![]);
    for _ in 0..60 {
        let tape = Tape::training(rng);
        let loss = simcse(&tape.input(&x), 0.05, |x| model.forward(x))?;
        losses.push(loss.item()?);
        adam.step(&mut model, &loss.backward()?)?;
    }
    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
    assert!(mean(&losses[50..]) < 0.7 * mean(&losses[..5]), "{losses:?}");
    let tape = Tape::training(rng);
    let own: Result<Tensor> = simcse(&tape.input(&x), 0.05, |_| Err("mine".into()));
    assert_eq!(own.unwrap_err().to_string(), "mine");
    Ok(())
}
