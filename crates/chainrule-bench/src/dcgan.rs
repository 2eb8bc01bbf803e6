//! A generator of 28 x 28 images against a discriminator (Radford et al. 2015, DCGAN), each trained once a step.

use crate::kernels::normal;
use crate::workload::{Show, Step, Workload};
use chainrule::nn::{BatchNorm2d, Conv2d, ConvTranspose2d, Flatten, Layer, LeakyRelu, Linear, Relu, Sequential, Tanh, Unflatten, freeze};
use chainrule::{DType, Result, Rng, Tape, Tensor, optim::Adam};

/// In their order.
pub const WORKLOADS: &[Workload] = &[Workload::new("dcgan_train_b64", |rng| {
    let mut gan = Gan::new(64, rng)?;
    Ok(Box::new(move |show: Show| {
        gan.step()?.iter().for_each(|loss| show(loss.array()));
        Ok(())
    }) as Step)
})];

/// `[N, 64] -> [N, 1, 28, 28]`
fn generator(rng: &mut Rng) -> Result<Sequential> {
    Ok(Sequential::new()
        .add(Linear::new(64, 128 * 49, rng)?)
        .add(Unflatten::new(1, &[128, 7, 7]))
        .add(BatchNorm2d::new(128)?)
        .add(Relu)
        .add(ConvTranspose2d::new(128, 64, 4, rng)?.stride(2).padding(1))
        .add(BatchNorm2d::new(64)?)
        .add(Relu)
        .add(ConvTranspose2d::new(64, 1, 4, rng)?.stride(2).padding(1))
        .add(Tanh))
}

/// `[N, 1, 28, 28] -> [N, 1]`
fn discriminator(rng: &mut Rng) -> Result<Sequential> {
    Ok(Sequential::new()
        .add(Conv2d::new(1, 64, 4, rng)?.stride(2).padding(1))
        .add(LeakyRelu::new(0.2))
        .add(Conv2d::new(64, 128, 4, rng)?.stride(2).padding(1))
        .add(LeakyRelu::new(0.2))
        .add(Flatten::new())
        .add(Linear::new(128 * 49, 1, rng)?))
}

struct Gan {
    generator: Sequential,
    discriminator: Sequential,
    generator_adam: Adam,
    discriminator_adam: Adam,
    real: Tensor,
    yes: Tensor,
    no: Tensor,
    rng: Rng,
}

impl Gan {
    fn new(batch: usize, rng: &mut Rng) -> Result<Gan> {
        Ok(Gan {
            generator: generator(rng)?,
            discriminator: discriminator(rng)?,
            generator_adam: Adam::new(2e-4),
            discriminator_adam: Adam::new(2e-4),
            real: Tensor::uniform(&[batch, 1, 28, 28], -1.0, 1.0, DType::F32, rng)?,
            yes: Tensor::ones(&[batch, 1], DType::F32)?,
            no: Tensor::zeros(&[batch, 1], DType::F32)?,
            rng: rng.split(),
        })
    }

    /// The losses of discriminator and generator before the step.
    fn step(&mut self) -> Result<[Tensor; 2]> {
        let noise = normal(&[self.real.dims()[0], 64], &mut self.rng)?;
        let generating = Tape::training(&mut self.rng);
        let fake = self.generator.run(&generating.input(noise))?;

        let judging = Tape::training(&mut self.rng);
        let on_real = self.discriminator.run(&judging.input(&self.real))?.bce_with_logits(&self.yes, None)?;
        let on_fake = self.discriminator.run(&judging.input(fake.array()))?.bce_with_logits(&self.no, None)?;
        let discriminating = on_real.add(&on_fake)?;
        self.discriminator_adam.step(&mut self.discriminator, &discriminating.backward()?)?;

        // Frozen, the judge passes gradients on and gets none.
        let mut judge = self.discriminator.clone();
        freeze(&mut judge, "*")?;
        let fooling = judge.run(&fake)?.bce_with_logits(&self.yes, None)?;
        drop(judge);
        self.generator_adam.step(&mut self.generator, &fooling.backward()?)?;
        Ok([discriminating, fooling])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_discriminator_learns() -> Result<()> {
        let mut gan = Gan::new(8, &mut Rng::seeded(0))?;
        let losses = (0..10).map(|_| Ok(gan.step()?[0].item()?)).collect::<Result<Vec<f64>>>()?;
        assert!(losses[9] < losses[0], "{losses:?}");
        Ok(())
    }
}
