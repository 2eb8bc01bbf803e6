//! Prototypes and the linear probe.

use crate::*;
use chainrule_autograd::gradcheck;
use chainrule_finetune::{Prototypes, linear_probe};
use chainrule_nn::Layer;

#[test]
fn prototypes_are_means_and_decide_by_distance() -> Result {
    let (x, label, queries) = (noise(&[6, 4], 1), [0i64, 2, 1, 0, 0, 2], noise(&[2, 3, 4], 2));
    let prototypes = Prototypes::of(&x, &labels(&label), 3)?;
    let rows: Vec<Vec<f64>> = numbers(&x).chunks(4).map(<[f64]>::to_vec).collect();
    let mean = |class: i64| -> Vec<f64> {
        let of: Vec<&Vec<f64>> = rows.iter().zip(label).filter(|(_, l)| *l == class).map(|(row, _)| row).collect();
        (0..4).map(|k| of.iter().map(|row| row[k]).sum::<f64>() / of.len() as f64).collect()
    };
    let means: Vec<Vec<f64>> = (0..3).map(mean).collect();
    numbers(&prototypes.means).iter().zip(means.concat()).for_each(|(got, expected)| assert_near(*got, expected, 1e-12));
    let logits = prototypes.logits(&queries)?;
    assert_eq!(logits.dims(), [2, 3, 3]);
    let expected = numbers(&queries)
        .chunks(4)
        .flat_map(|q| means.iter().map(|m| -q.iter().zip(m).map(|(q, m)| (q - m).powi(2)).sum::<f64>()).collect::<Vec<_>>())
        .collect::<Vec<_>>();
    numbers(&logits).iter().zip(&expected).for_each(|(got, expected)| assert_near(*got, *expected, 1e-12));
    // As a layer: the same probabilities.
    let layer = numbers(&prototypes.to_linear()?.forward(&queries)?.softmax(-1)?);
    layer.iter().zip(numbers(&logits.softmax(-1)?)).for_each(|(got, expected)| assert_near(*got, expected, 1e-12));
    // An episode is differentiable in support and queries.
    let episode = |x: &[Tensor]| Prototypes::of(&x[0], &labels(&label), 3)?.logits(&x[1])?.cross_entropy(&labels(&[1, 0]));
    gradcheck(&[x.clone(), noise(&[2, 4], 5)], episode)?;

    assert!(Prototypes::of(&x, &labels(&label), 4).unwrap_err().to_string().contains("class 3 has no samples"));
    for (labels, classes) in [(labels(&[0, 1]), 2), (labels(&label), 2), (labels(&label), 0), (labels(&label), usize::MAX), (x.clone(), 3)] {
        assert!(Prototypes::of(&x, &labels, classes).is_err());
    }
    assert!(prototypes.logits(&noise(&[2, 5], 0)).is_err());
    Ok(())
}

#[test]
fn the_probe_is_at_the_minimum_and_deterministic() -> Result {
    let (x, label, l2) = (noise(&[40, 3], 1), labels(&(0..40).map(|i| (i * i % 3) as i64).collect::<Vec<_>>()), 0.05);
    let head = linear_probe(&x, &label, 3, l2)?;
    assert_eq!(bits(&head), bits(&linear_probe(&x, &label, 3, l2)?));
    // The slope of the objective by hand: 1/N Σ (p - y) x' + l2 W, and 1/N Σ (p - y) for the bias.
    let p = softmax(&numbers(&head.forward(&x)?), 3, 1.0);
    let (x, label, w) = (numbers(&x), label.to_vec::<i64>()?, numbers(&Tensor::from(&head.weight.value)));
    for class in 0..3 {
        let error = |row: usize| p[row][class] - (label[row] == class as i64) as u8 as f64;
        assert_near((0..40).map(error).sum::<f64>() / 40.0, 0.0, 1e-6);
        for k in 0..3 {
            assert_near((0..40).map(|row| error(row) * x[3 * row + k]).sum::<f64>() / 40.0 + l2 * w[3 * class + k], 0.0, 1e-6);
        }
    }
    Ok(())
}

#[test]
fn a_probe_separates_what_can_be_separated() -> Result {
    let rng = &mut Rng::seeded(2);
    let label = Tensor::integers(&[90], 0, 3, rng)?;
    let centres = Tensor::from_slice(&[0f32, 0.0, 6.0, 0.0, 0.0, 6.0], &[3, 2])?;
    let x = centres.index_select(0, &label)?.add(&Tensor::normal(&[90, 2], 0.0, 1.0, DType::F32, rng)?)?;
    let head = linear_probe(&x, &label, 3, 1e-3)?;
    assert_eq!(head.weight.value.dtype(), DType::F32);
    assert!(accuracy(&head.forward(&x)?, &label) > 0.97);
    assert!(accuracy(&Prototypes::of(&x, &label, 3)?.logits(&x)?, &label) > 0.97);
    for (label, classes, l2) in [(labels(&[0, 1]), 3, 0.1), (label.clone(), 2, 0.1), (label.clone(), 3, -1.0), (label.clone(), 3, f64::NAN)] {
        assert!(linear_probe(&x, &label, classes, l2).is_err());
    }
    assert!(linear_probe(&x.mul_scalar(f64::NAN)?, &label, 3, 0.1).is_err());
    Ok(())
}
