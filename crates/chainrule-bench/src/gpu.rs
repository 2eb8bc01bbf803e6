//! Training steps on a device: as they are written, and captured as one launch.

use crate::kernels::{integers, normal};
use crate::models::{lenet, mlp, mnist_cnn};
use crate::resnet::ResNet18;
use chainrule::nn::Layer;
use chainrule::optim::{Adam, CapturedStep};
use chainrule::{Device, Result, Rng, Tape, Tensor, TensorError};
use std::time::Instant;

/// Steps between two looks at the clock: a GPU is waited for once in so many, as in a program that trains.
const ROUND: usize = 10;
const LEAST: usize = 5;

/// The median milliseconds of a step.
#[derive(Debug)]
pub struct Times {
    /// The workload, with the batch that it had.
    pub name: String,
    /// Each operation launched as it comes.
    pub written: f64,
    /// The whole step as one launch. On the CPU the same as `written`.
    pub captured: f64,
}

/// Where and how long the steps run.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// Where the model stands.
    pub device: &'a Device,
    /// In the place of the batch that the workload is named after.
    pub batch: Option<usize>,
    /// Seconds for each measurement.
    pub budget: f64,
}

type Time = fn(&Plan, usize, &str) -> Result<Times>;

/// Names before the batch, the batch, and the measurement.
const WORKLOADS: &[(&str, usize, Time)] = &[
    ("mlp_train", 64, |plan, batch, name| times(plan, name, mlp, &[batch, 784])),
    ("lenet_train", 64, |plan, batch, name| times(plan, name, lenet, &[batch, 1, 28, 28])),
    ("mnist_cnn_train", 64, |plan, batch, name| times(plan, name, mnist_cnn, &[batch, 1, 28, 28])),
    ("resnet18_cifar_train", 16, |plan, batch, name| times(plan, name, ResNet18::new, &[batch, 3, 32, 32])),
];

/// Times the workloads whose names are wanted, and shows each as it is done.
///
/// # Errors
/// Those of the steps; no such device.
pub fn measure(plan: &Plan, wants: impl Fn(&str) -> bool, mut show: impl FnMut(&Times)) -> Result<Vec<Times>> {
    let mut all = vec![];
    for (name, batch, time) in WORKLOADS {
        let batch = plan.batch.unwrap_or(*batch);
        let name = format!("{name}_b{batch}");
        if wants(&name) {
            all.push(time(plan, batch, &name)?);
            all.last().into_iter().for_each(&mut show);
        }
    }
    Ok(all)
}

fn loss<L: Layer>(model: &L, tape: &Tape, inputs: &[Tensor]) -> Result<Tensor, TensorError> {
    model.forward(&tape.input(&inputs[0]))?.cross_entropy(&inputs[1])
}

fn times<L: Layer>(plan: &Plan, name: &str, make: fn(&mut Rng) -> Result<L>, dims: &[usize]) -> Result<Times> {
    let rng = &mut Rng::seeded(0);
    let (x, labels) = (normal(dims, rng)?.to(plan.device)?, integers(&dims[..1], 10, rng)?.to(plan.device)?);
    let inputs = [x, labels];
    let ready = |rng: &mut Rng| -> Result<(L, Adam)> {
        let mut model = make(rng)?;
        model.to(plan.device)?;
        Ok((model, Adam::new(1e-3)))
    };
    let (mut model, mut adam) = ready(rng)?;
    let written = median(plan, || {
        let tape = Tape::training(rng);
        let loss = loss(&model, &tape, &inputs)?;
        adam.step(&mut model, &loss.backward()?)?;
        Ok(())
    })?;
    let (mut model, mut adam) = ready(rng)?;
    let mut step = CapturedStep::new(loss::<L>);
    let captured = median(plan, || {
        step.run(&mut model, &mut adam, rng, &[&inputs[0], &inputs[1]])?;
        Ok(())
    })?;
    step.finish(&model, &mut adam)?;
    Ok(Times { name: name.to_string(), written, captured })
}

/// The median milliseconds of a step over rounds of steps, each waited for at its end; the first round does not count.
fn median(plan: &Plan, mut step: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut round = || -> Result<f64> {
        let clock = Instant::now();
        for _ in 0..ROUND {
            step()?;
        }
        plan.device.synchronize()?;
        Ok(clock.elapsed().as_secs_f64() / ROUND as f64)
    };
    round()?;
    let (mut times, start) = (vec![], Instant::now());
    while times.len() < LEAST || start.elapsed().as_secs_f64() < plan.budget {
        times.push(round()?);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2] * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_is_a_device_too() -> Result<()> {
        let plan = Plan { device: &Device::Cpu, batch: Some(2), budget: 0.0 };
        let mut shown = 0;
        let times = measure(&plan, |name| name.starts_with("mlp"), |_| shown += 1)?;
        assert_eq!((times.len(), shown, times[0].name.as_str()), (1, 1, "mlp_train_b2"));
        assert!(times[0].written > 0.0 && times[0].captured > 0.0);
        Ok(())
    }
}
