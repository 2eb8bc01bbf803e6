//! Running statistics of instance norm, weights in adapter slots, and the bilinear map.

use chainrule_autograd::{Array, DType, GradCheck, Rng, Tape, Tensor};
use chainrule_nn::*;

/// The largest distance between two tensors.
fn distance(a: &Tensor, b: &Tensor) -> f64 {
    let doubles = |x: &Tensor| x.cast(DType::F64).unwrap().to_vec::<f64>().unwrap();
    doubles(a).iter().zip(doubles(b)).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

#[test]
fn running_statistics_follow_the_mean_over_the_samples() {
    let mut norm = InstanceNorm2d::new(2).unwrap().running_statistics().unwrap().momentum(0.25);
    to_dtype(&mut norm, DType::F64).unwrap();
    let x = Tensor::normal(&[3, 2, 2, 2], 1.5, 2.0, DType::F64, &mut Rng::seeded(1)).unwrap();
    let tape = Tape::training(&mut Rng::seeded(0));
    let gradients = norm.forward(&tape.watch(&x)).unwrap().sum().unwrap().backward().unwrap();
    let statistics = |f: fn(&Tensor) -> Tensor| f(&x.flatten(2, 3).unwrap()).mean_over(&[0], false).unwrap();
    let expected = [
        (norm.running_mean.as_ref().unwrap(), statistics(|x| x.mean_over(&[2], false).unwrap()), 0.0),
        (norm.running_var.as_ref().unwrap(), statistics(|x| x.var(&[2], 1, false).unwrap()), 1.0),
    ];
    for (buffer, batch, before) in expected {
        let after = Tensor::from(gradients.update(buffer.id).unwrap().apply(&buffer.value).unwrap());
        assert!(distance(&after, &batch.affine(0.25, 0.75 * before).unwrap()) < 1e-12);
    }
    // Inference goes by the running statistics, 0 and 1.
    assert!(distance(&norm.forward(&x).unwrap(), &x.mul_scalar(1.0 / (1.0f64 + 1e-5).sqrt()).unwrap()) < 1e-12);
}

#[test]
fn one_number_has_no_variance() {
    let error = InstanceNorm1d::new(2).unwrap().run(&Tensor::ones(&[3, 2, 1], DType::F32).unwrap()).unwrap_err().to_string();
    assert!(error.contains("1 number a channel and sample"), "{error}");
    assert!(GroupNorm::new(4, 6).is_err() && GroupNorm::new(0, 6).is_err() && RmsNorm::new(&[]).is_err());
}

#[test]
fn weight_norm_starts_as_the_identity_and_merges() {
    let rng = &mut Rng::seeded(2);
    for axis in [Some(0), Some(1), None] {
        let plain = Linear::new(5, 3, rng).unwrap();
        let mut linear = plain.clone();
        let mut norm = WeightNorm::of(&linear.weight, axis).unwrap();
        linear.adapter = Some(Box::new(norm.clone()));
        let x = Tensor::normal(&[4, 5], 0.0, 1.0, DType::F32, rng).unwrap();
        assert!(distance(&linear.run(&x).unwrap(), &plain.run(&x).unwrap()) < 1e-6, "{axis:?}");
        // Doubled lengths double the product.
        norm.weight_g.value = Tensor::from(&norm.weight_g.value).mul_scalar(2.0).unwrap().into_array();
        let merged = norm.merged(&Tensor::from(&linear.weight.value)).unwrap();
        assert!(distance(&merged, &Tensor::from(&linear.weight.value).mul_scalar(2.0).unwrap()) < 1e-6, "{axis:?}");
    }
    assert!(WeightNorm::of(&Linear::new(2, 2, rng).unwrap().weight, Some(2)).is_err());
}

#[test]
fn power_iteration_finds_the_largest_singular_value() {
    // Singular values 3 and 1.
    let mut linear = Linear::new(2, 2, &mut Rng::seeded(0)).unwrap().without_bias();
    linear.weight.value = Array::from_slice(&[3f32, 0.0, 0.0, 1.0], &[2, 2]).unwrap();
    let norm = SpectralNorm::of(&linear.weight, &mut Rng::seeded(1)).unwrap();
    linear.adapter = Some(Box::new(norm.clone()));
    let x = Tensor::from_slice(&[1f32, 0.0], &[1, 2]).unwrap();
    assert!((linear.run(&x).unwrap().to_vec::<f32>().unwrap()[0] - 1.0).abs() < 1e-5);
    let tape = Tape::training(&mut Rng::seeded(0));
    let gradients = linear.forward(&tape.input(&x)).unwrap().sum().unwrap().backward().unwrap();
    let u = gradients.update(norm.weight_u.id).unwrap().apply(&norm.weight_u.value).unwrap().to_vec::<f32>().unwrap();
    assert!((u[0].abs() - 1.0).abs() < 1e-6 && gradients.get(linear.weight.id).is_some());
    assert!(SpectralNorm::of(&Param::new(Array::ones(&[3], DType::F32).unwrap()), &mut Rng::seeded(0)).is_err());
}

#[test]
fn bilinear_has_gradients_for_all_it_holds() {
    let rng = &mut Rng::seeded(4);
    for bias in [true, false] {
        let bilinear = Bilinear::new(3, 2, 4, rng).unwrap();
        let mut bilinear = if bias { bilinear } else { bilinear.without_bias() };
        to_dtype(&mut bilinear, DType::F64).unwrap();
        let (a, b) = (Tensor::ones(&[2, 5, 3], DType::F64).unwrap(), Tensor::uniform(&[2, 5, 2], -1.0, 1.0, DType::F64, rng).unwrap());
        assert_eq!(bilinear.forward(&a, &b).unwrap().dims(), [2, 5, 4]);
        gradcheck_model(&GradCheck::default(), &bilinear, |bilinear, tape| bilinear.forward(&tape.input(&a), &tape.input(&b))).unwrap();
        assert!(bilinear.forward(&b, &a).is_err());
    }
}
