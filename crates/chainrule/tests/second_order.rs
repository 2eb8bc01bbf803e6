//! Second derivatives at work: a gradient penalty trains, and products with the Hessian are right.

use chainrule::nn::{Conv2d, Flatten, Layer, LeakyRelu, Linear, Sequential, Tanh, params};
use chainrule::optim::{Adam, Schedule};
use chainrule::{Array, DType, Result, Rng, Tape, Tensor};

/// A cloud of points, and a generator's: the critic learns to tell them apart with slopes of norm 1 (Gulrajani et al. 2017, WGAN-GP), the generator to meet them.
#[test]
fn a_wgan_with_gradient_penalty_trains() -> Result<()> {
    let rng = &mut Rng::seeded(3);
    let mlp = |inputs: usize, outputs: usize, rng: &mut Rng| -> Result<Sequential> {
        Ok(Sequential::new()
            .add(Linear::new(inputs, 32, rng)?)
            .add(LeakyRelu::new(0.2))
            .add(Linear::new(32, 32, rng)?)
            .add(Tanh)
            .add(Linear::new(32, outputs, rng)?))
    };
    let (mut generator, mut critic) = (mlp(2, 2, rng)?, mlp(2, 1, rng)?);
    let adam = |rate: f64, steps: u64| Adam::new(rate).betas(0.0, 0.9).schedule(Schedule::cosine(steps));
    let (mut generator_adam, mut critic_adam) = (adam(1e-3, 600), adam(3e-3, 3000));
    let real = |rng: &mut Rng| -> Result<Tensor> {
        let points: Vec<f32> = (0..64).flat_map(|_| [2.0 + 0.5 * rng.normal() as f32, -1.0 + 0.5 * rng.normal() as f32]).collect();
        Ok(Tensor::from_slice(&points, &[64, 2])?)
    };
    let noise = |rng: &mut Rng| Tensor::normal(&[64, 2], 0.0, 1.0, DType::F32, rng);
    let distance = |generator: &Sequential, rng: &mut Rng| -> Result<f64> {
        // Of the two clouds' centres.
        let apart = generator.run(&noise(rng)?)?.mean_over(&[0], false)?.sub(&Tensor::from_slice(&[2f32, -1.0], &[2])?)?;
        Ok(apart.norm(2.0, &[0], false)?.item()?)
    };
    let before = distance(&generator, rng)?;
    let mut slopes = 0.0;
    for _ in 0..600 {
        for _ in 0..5 {
            let (real, fake) = (real(rng)?, generator.run(&noise(rng)?)?.detach());
            let mix = Tensor::uniform(&[64, 1], 0.0, 1.0, DType::F32, rng)?;
            let tape = Tape::training(rng);
            let between = tape.watch(fake.add(&real.sub(&fake)?.mul(&mix)?)?.detach());
            let slope = &critic.run(&between)?.sum()?.gradients_of(&[&between])?[0];
            let norm = slope.square()?.sum_over(&[1], false)?.add_scalar(1e-12)?.sqrt()?;
            let penalty = norm.add_scalar(-1.0)?.square()?.mean()?;
            let judged = critic.run(&tape.input(&fake))?.mean()?.sub(&critic.run(&tape.input(&real))?.mean()?)?;
            critic_adam.step(&mut critic, &judged.add(&penalty.mul_scalar(10.0)?)?.backward()?)?;
            slopes = norm.mean()?.item()?;
        }
        let tape = Tape::training(rng);
        let fake = generator.run(&tape.input(noise(rng)?))?;
        let mut judge = critic.clone();
        chainrule::nn::freeze(&mut judge, "*")?;
        generator_adam.step(&mut generator, &judge.run(&fake)?.mean()?.neg()?.backward()?)?;
    }
    let after = distance(&generator, rng)?;
    assert!((slopes - 1.0).abs() < 0.2, "the critic's slope has norm {slopes}");
    // Between 0.02 and 0.27 over eight seeds and two levels of the CPU.
    assert!(after < 0.4 * before, "from {before} to {after} between the centres");
    Ok(())
}

/// `H v = d/dθ (g · v)` against `(g(θ + h v) - g(θ - h v)) / 2h`, through convolution, norm, matrix product and cross-entropy.
#[test]
fn a_hessian_vector_product() -> Result<()> {
    let rng = &mut Rng::seeded(1);
    let mut model = Sequential::new()
        .add(Conv2d::new(1, 3, 3, rng)?.stride(2).padding(1))
        .add(chainrule::nn::BatchNorm2d::new(3)?)
        .add(Tanh)
        .add(Flatten::new())
        .add(chainrule::nn::LayerNorm::new(&[27])?)
        .add(Linear::new(27, 4, rng)?);
    chainrule::nn::to_dtype(&mut model, DType::F64)?;
    let (x, labels) = (Tensor::uniform(&[3, 1, 6, 6], -1.0, 1.0, DType::F64, rng)?, Tensor::from_slice(&[0i64, 3, 1], &[3])?);
    let gradient = |model: &Sequential| -> Result<Vec<Array>> {
        let tape = Tape::training(&mut Rng::seeded(0));
        let gradients = model.run(&tape.input(&x))?.cross_entropy(&labels)?.backward()?;
        let mut all = vec![];
        params(model, |_, param| all.push(gradients.get(param.id).expect("a gradient").clone()));
        Ok(all)
    };
    let mut direction = vec![];
    params(&model, |path, param| {
        direction.push(Tensor::uniform(param.value.dims(), -1.0, 1.0, DType::F64, &mut Rng::seeded(path.len() as u64)).expect("numbers"))
    });

    let tape = Tape::training(&mut Rng::seeded(0));
    let on = tape.input(&x);
    let loss = model.run(&on)?.cross_entropy(&labels)?;
    let mut leaves = vec![];
    params(&model, |_, param| leaves.push(param.on(&on).expect("a leaf")));
    let slopes = loss.gradients_of(&leaves.iter().collect::<Vec<_>>())?;
    let mut product = Tensor::scalar(0.0, DType::F64)?;
    for (slope, v) in slopes.iter().zip(&direction) {
        product = product.add(&slope.mul(v)?.sum()?)?;
    }
    let gradients = product.backward()?;

    let step = 1e-5;
    let moved = |sign: f64| -> Result<Vec<Array>> {
        let mut other = model.clone();
        let mut i = 0;
        let mut failed = None;
        chainrule::nn::params_mut(&mut other, |_, param| {
            match Tensor::from(&param.value).add(&direction[i].mul_scalar(sign * step).expect("numbers")) {
                Ok(value) => param.value = value.into(),
                Err(error) => failed = Some(error),
            }
            i += 1;
        });
        assert!(failed.is_none());
        gradient(&other)
    };
    let (plus, minus) = (moved(1.0)?, moved(-1.0)?);
    let mut i = 0;
    params(&model, |path, param| {
        let (own, plus, minus): (Vec<f64>, Vec<f64>, Vec<f64>) =
            (gradients.get(param.id).expect("a product").to_vec().expect("f64"), plus[i].to_vec().expect("f64"), minus[i].to_vec().expect("f64"));
        for (own, (plus, minus)) in own.iter().zip(plus.iter().zip(&minus)) {
            let numeric = (plus - minus) / (2.0 * step);
            assert!((own - numeric).abs() < 1e-6 * (1.0 + numeric.abs()), "{path}: {own} against {numeric}");
        }
        i += 1;
    });
    assert!(i == 8);
    Ok(())
}
