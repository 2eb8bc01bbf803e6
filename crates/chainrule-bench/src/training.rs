//! Training steps: forward, cross-entropy, backward and Adam with learning rate 1e-3, on one fixed batch.

use crate::encoder;
use crate::kernels::{integers, normal};
use crate::models::{lenet, mlp, mnist_cnn};
use crate::recurrent;
use crate::resnet::ResNet18;
use crate::vgg::Vgg16;
use crate::workload::{Step, Workload};
use chainrule::nn::Layer;
use chainrule::{Result, Rng, Tape, Tensor, optim::Adam};

/// In their order.
pub const WORKLOADS: &[Workload] = &[
    Workload::new("mlp_train_b64", |rng| train(mlp(rng)?, &[64, 784], rng)),
    Workload::new("lenet_train_b64", |rng| train(lenet(rng)?, &[64, 1, 28, 28], rng)),
    Workload::new("mnist_cnn_train_b64", |rng| train(mnist_cnn(rng)?, &[64, 1, 28, 28], rng)),
    Workload::new("resnet18_cifar_train_b16", |rng| train(ResNet18::new(rng)?, &[16, 3, 32, 32], rng)),
    Workload::new("vgg16_frozen_train_b4_64px", |rng| {
        let mut model = Vgg16::new(10, rng)?;
        model.freeze_all_but_head()?;
        train(model, &[4, 3, 64, 64], rng)
    }),
    Workload::new("lstm_lm_train_b32_t64", recurrent::lstm_language_model),
    Workload::new("gru_lm_train_b32_t64", recurrent::gru_language_model),
    Workload::new("bilstm_cls_train_b32_t100", recurrent::bidirectional_classifier),
    Workload::new("encoder_train_b16_t128", encoder::train),
    Workload::new("encoder_lora_train_b16_t128", encoder::train_lora),
];

/// A classifier, its batch, and all that a step changes.
struct Training<L> {
    model: L,
    adam: Adam,
    inputs: Tensor,
    labels: Tensor,
    rng: Rng,
}

impl<L: Layer> Training<L> {
    /// Of ten classes, on random inputs.
    fn new(model: L, dims: &[usize], rng: &mut Rng) -> Result<Training<L>> {
        let (inputs, labels) = (normal(dims, rng)?, integers(&dims[..1], 10, rng)?);
        Ok(Training::on(model, inputs, labels, rng))
    }

    fn on(model: L, inputs: Tensor, labels: Tensor, rng: &mut Rng) -> Training<L> {
        Training { model, adam: Adam::new(1e-3), inputs, labels, rng: rng.split() }
    }

    /// The loss before the step.
    fn step(&mut self) -> Result<Tensor> {
        let tape = Tape::training(&mut self.rng);
        let loss = self.model.run(&tape.input(&self.inputs))?.cross_entropy(&self.labels)?;
        self.adam.step(&mut self.model, &loss.backward()?)?;
        Ok(loss)
    }
}

fn steps<L: Layer + 'static>(mut training: Training<L>) -> Step {
    Box::new(move |show| {
        show(training.step()?.array());
        Ok(())
    })
}

fn train<L: Layer + 'static>(model: L, dims: &[usize], rng: &mut Rng) -> Result<Step> {
    Ok(steps(Training::new(model, dims, rng)?))
}

/// Steps of a classifier on this batch.
pub fn train_on<L: Layer + 'static>(model: L, inputs: Tensor, labels: Tensor, rng: &mut Rng) -> Result<Step> {
    Ok(steps(Training::on(model, inputs, labels, rng)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn losses_fall<L: Layer>(mut training: Training<L>) -> Result<()> {
        let losses = (0..10).map(|_| Ok(training.step()?.item()?)).collect::<Result<Vec<f64>>>()?;
        assert!(losses[9] < losses[0], "{losses:?}");
        Ok(())
    }

    #[test]
    fn the_loss_of_the_mlp_falls() -> Result<()> {
        let rng = &mut Rng::seeded(0);
        losses_fall(Training::new(mlp(rng)?, &[64, 784], rng)?)
    }

    #[test]
    fn the_loss_of_lenet_falls() -> Result<()> {
        let rng = &mut Rng::seeded(0);
        losses_fall(Training::new(lenet(rng)?, &[64, 1, 28, 28], rng)?)
    }
}
