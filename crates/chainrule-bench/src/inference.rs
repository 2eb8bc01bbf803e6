//! One forward of one example, off the tape.

use crate::encoder;
use crate::kernels::normal;
use crate::models::{lenet, mlp};
use crate::recurrent;
use crate::resnet::ResNet18;
use crate::workload::{Step, Workload};
use chainrule::nn::Layer;
use chainrule::{Result, Rng};

/// In their order.
pub const WORKLOADS: &[Workload] = &[
    Workload::new("mlp_infer_b1", |rng| infer(mlp(rng)?, &[1, 784], rng)),
    Workload::new("lenet_infer_b1", |rng| infer(lenet(rng)?, &[1, 1, 28, 28], rng)),
    Workload::new("resnet18_cifar_infer_b1", |rng| infer(ResNet18::new(rng)?, &[1, 3, 32, 32], rng)),
    Workload::new("encoder_infer_b1_t128", encoder::infer),
    Workload::new("lstm_infer_b1_t64", recurrent::infer_language_model),
];

fn infer<L: Layer + 'static>(model: L, dims: &[usize], rng: &mut Rng) -> Result<Step> {
    let x = normal(dims, rng)?;
    Ok(Box::new(move |show| {
        show(model.run(&x)?.array());
        Ok(())
    }))
}
