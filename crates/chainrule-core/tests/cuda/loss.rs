//! Cross-entropy, forward and backward.

use crate::support::*;
use chainrule_core::ops::loss::{cross_entropy, cross_entropy_backward};
use chainrule_core::{Array, DType};

fn class_weight(classes: usize) -> Array {
    Array::from_index(&[classes], DType::F32, |c| 0.25 + (c % 4) as f64 * 0.5).unwrap()
}

#[test]
fn every_parameter() {
    for (rows, classes) in [(1, 1), (7, 10), (33, 16), (5, 77), (3, 1028), (2, 1501), (0, 4)] {
        for (weighed, ignored, smoothing) in [(false, None, 0.0), (true, Some(0), 0.0), (false, Some(-100), 0.1), (true, None, 0.3), (true, Some(0), 1.0)] {
            let (x, scale, weight) = (between(-9.0, 9.0, &[rows, classes], 1), noise(&[rows], 2), class_weight(classes));
            let labels = indices(classes, &[rows], 3);
            agree(&format!("{rows} {classes} {weighed} {ignored:?} {smoothing}"), 2e-6, [&x, &labels, &weight, &scale], |[x, labels, weight, scale]| {
                let weight = weighed.then_some(weight);
                let out = cross_entropy(x, labels, weight, ignored, smoothing)?;
                let dx = cross_entropy_backward(x, labels, &out.log_normaliser, weight, ignored, smoothing, scale)?;
                Ok(vec![out.losses, out.log_normaliser, out.weights, dx])
            });
        }
    }
}

#[test]
fn views_and_far_logits() {
    let (x, labels, scale) = (noise(&[12, 9], 1), indices(12, &[18], 2), noise(&[9, 2], 3));
    agree("views", 2e-6, [&x, &labels, &scale], |[x, labels, scale]| {
        let (x, labels, scale) = (x.transpose(0, 1)?, labels.stepped(0, 0, 18, 2)?, scale.select(1, 1)?);
        let out = cross_entropy(&x, &labels, None, None, 0.0)?;
        Ok(vec![cross_entropy_backward(&x, &labels, &out.log_normaliser, None, None, 0.0, &scale)?, out.losses])
    });
    let (low, high) = (f32::NEG_INFINITY, f32::INFINITY);
    let rows = [[1e4, -1e4, 1e4], [low, 0.0, 1.0], [low, low, low], [high, 0.0, 1.0], [0.0, f32::NAN, 1.0], [88.0, 90.0, 89.0]];
    let x = Array::from_slice(rows.as_flattened(), &[6, 3]).unwrap();
    let (labels, ones) = (Array::from_slice(&[1i64, 0, 2, 1, 0, 2], &[6]).unwrap(), Array::ones(&[6], DType::F32).unwrap());
    for smoothing in [0.0, 0.2] {
        agree("far", 2e-6, [&x, &labels, &ones], |[x, labels, ones]| {
            let out = cross_entropy(x, labels, None, None, smoothing)?;
            let dx = cross_entropy_backward(x, labels, &out.log_normaliser, None, None, smoothing, ones)?;
            Ok(vec![out.losses, out.log_normaliser, dx])
        });
    }
}

#[test]
fn a_label_out_of_range_shows_as_nan() {
    let Some(gpu) = gpu() else { return };
    let to = |x: Array| x.to(&gpu).unwrap();
    let (x, scale, weight) = (to(noise(&[4, 5], 1)), to(noise(&[4], 2)), to(class_weight(5)));
    let labels = to(Array::from_slice(&[2i64, 5, -3, -1], &[4]).unwrap());
    let out = cross_entropy(&x, &labels, Some(&weight), Some(-1), 0.1).unwrap();
    let losses = out.losses.to_vec::<f32>().unwrap();
    assert_eq!(losses.iter().map(|x| x.is_nan()).collect::<Vec<_>>(), [false, true, true, false]);
    assert_eq!((losses[3], out.weights.to_vec::<f32>().unwrap()), (0.0, vec![1.25, 0.0, 0.0, 0.0]));
    let dx = cross_entropy_backward(&x, &labels, &out.log_normaliser, Some(&weight), Some(-1), 0.1, &scale).unwrap().to_vec::<f32>().unwrap();
    assert!(dx[..5].iter().all(|x| x.is_finite()) && dx[5..15].iter().all(|x| x.is_nan()) && dx[15..] == [0.0; 5]);
}
