//! What a training step asks of the GPU, launch by launch: docs/cuda.md is made from it.
//!
//! A step is run where all is small, written and captured; and its forward and backward pass are captured, not run, at the sizes of the tables in docs/cuda.md, where batch norm takes two launches in place of one.

use crate::support::*;
use chainrule::core::cuda::{Gpu, capture};
use chainrule::nn::{AdaptiveAvgPool2d, BatchNorm2d, Conv2d, Flatten, Layer, Linear, MaxPool2d, Module, Relu, Sequential};
use chainrule::optim::{Adam, CapturedStep, Optimize, Optimizer, Rule, Sgd};
use chainrule::{DType, Device, Result, Rng, Tape, Tensor, TensorError};
use chainrule_softgpu::control::{self, Counters};
use std::collections::BTreeMap;

/// Two convolutions and a way past them: torchvision's `BasicBlock`.
#[derive(Module, Clone)]
struct BasicBlock {
    conv1: Conv2d,
    bn1: BatchNorm2d,
    conv2: Conv2d,
    bn2: BatchNorm2d,
    downsample: Option<(Conv2d, BatchNorm2d)>,
}

fn conv(inputs: usize, outputs: usize, kernel: usize, stride: usize, rng: &mut Rng) -> Result<Conv2d, TensorError> {
    Ok(Conv2d::new(inputs, outputs, kernel, rng)?.without_bias().stride(stride).padding(kernel / 2))
}

impl BasicBlock {
    fn new(inputs: usize, outputs: usize, stride: usize, rng: &mut Rng) -> Result<BasicBlock, TensorError> {
        let downsample = if stride == 1 { None } else { Some((conv(inputs, outputs, 1, stride, rng)?, BatchNorm2d::new(outputs)?)) };
        Ok(BasicBlock {
            conv1: conv(inputs, outputs, 3, stride, rng)?,
            bn1: BatchNorm2d::new(outputs)?,
            conv2: conv(outputs, outputs, 3, 1, rng)?,
            bn2: BatchNorm2d::new(outputs)?,
            downsample,
        })
    }
}

impl Layer for BasicBlock {
    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        let inner = self.bn1.forward(&self.conv1.forward(x)?)?.relu()?;
        let inner = self.bn2.forward(&self.conv2.forward(&inner)?)?;
        let past = match &self.downsample {
            Some((conv, norm)) => norm.forward(&conv.forward(x)?)?,
            None => x.clone(),
        };
        inner.add(&past)?.relu()
    }
}

/// ResNet-18 (He et al. 2015) as torchvision's `resnet18` has it, with so many channels in its stages.
fn resnet18(channels: [usize; 4], classes: usize, rng: &mut Rng) -> Result<Sequential, TensorError> {
    let mut model =
        Sequential::new().add(conv(3, channels[0], 7, 2, rng)?).add(BatchNorm2d::new(channels[0])?).add(Relu).add(MaxPool2d::new(3).stride(2).padding(1));
    let mut inputs = channels[0];
    for (stage, outputs) in channels.into_iter().enumerate() {
        model = model.add(BasicBlock::new(inputs, outputs, if stage == 0 { 1 } else { 2 }, rng)?).add(BasicBlock::new(outputs, outputs, 1, rng)?);
        inputs = outputs;
    }
    Ok(model.add(AdaptiveAvgPool2d::new(1)).add(Flatten::new()).add(Linear::new(inputs, classes, rng)?))
}

fn loss(model: &Sequential, tape: &Tape, inputs: &[Tensor]) -> Result<Tensor, TensorError> {
    model.forward(&tape.input(&inputs[0]))?.cross_entropy(&inputs[1])
}

/// Images and labels of these sizes.
fn data(images: [usize; 4], classes: i64) -> [Tensor; 2] {
    let x = Tensor::uniform(&images, -1.0, 1.0, DType::F32, &mut Rng::seeded(1)).unwrap();
    let labels: Vec<i64> = (0..images[0] as i64).map(|i| i * 7 % classes).collect();
    [x, Tensor::from_slice(&labels, &[images[0]]).unwrap()]
}

/// What one step asked for.
struct Step {
    kernels: BTreeMap<String, u64>,
    driver: Counters,
}

/// Runs `f`; where CHAINRULE_GPU_COSTS is set (`scripts/gpu-costs` reads it), with a trace of every operation between marks.
fn traced<T>(what: &str, f: impl FnOnce() -> T) -> T {
    let asked = std::env::var_os("CHAINRULE_GPU_COSTS").is_some();
    if asked {
        eprintln!("\n== {what}");
        control::trace(true).unwrap();
    }
    let result = f();
    if asked {
        control::trace(false).unwrap();
        eprintln!("== end");
    }
    result
}

/// Runs `f`, prints what it asked of the GPU and returns it.
fn watched(what: &str, device: &Device, f: impl FnOnce()) -> Step {
    device.synchronize().unwrap();
    control::reset_counters().unwrap();
    traced(what, || {
        f();
        device.synchronize().unwrap();
    });
    let (counts, driver) = (control::kernels().unwrap(), control::counters().unwrap());
    println!("{what}: {} kernels and products", counts.values().map(|count| count.runs).sum::<u64>());
    for (name, count) in &counts {
        println!(
            "  {:>4}  {name:<38} {:>10} bytes read {:>9} written {:>10} instructions",
            count.runs, count.bytes_read, count.bytes_written, count.instructions
        );
    }
    let Counters { copies_in, copied_in_bytes, copies_out, copies_inside, fills, global_bytes_read, global_bytes_written, .. } = driver;
    println!(
        "  copies in {copies_in} ({copied_in_bytes} bytes), out {copies_out}, inside {copies_inside}, fills {fills}; kernels read {global_bytes_read} bytes and wrote {global_bytes_written}"
    );
    // One of the explicit waits is this function's.
    println!(
        "  waits {} explicit, {} implicit; allocations {}, of pinned memory {}",
        driver.synchronisations(),
        driver.implicit_synchronisations,
        driver.allocations,
        driver.host_allocations
    );
    Step { kernels: counts.into_iter().map(|(name, count)| (name, count.runs)).collect(), driver }
}

/// The fourth step as it is written, and the fourth captured.
fn both<R: Rule>(what: &str, device: &Device, mut model: Sequential, mut optimizer: Optimizer<R>, inputs: [Tensor; 2]) -> [Step; 2]
where
    Optimizer<R>: Optimize,
{
    let mut rng = Rng::seeded(2);
    model.to(device).unwrap();
    let mut eager = || {
        let tape = Tape::training(&mut rng);
        let inputs = inputs.each_ref().map(|x| x.to(device).unwrap());
        let gradients = loss(&model, &tape, &inputs).unwrap().backward().unwrap();
        drop(tape);
        optimizer.step(&mut model, &gradients).unwrap();
    };
    (0..3).for_each(|_| eager());
    let eager = watched(&format!("{what}, written"), device, eager);
    let mut step = CapturedStep::new(loss);
    let [x, y] = &inputs;
    for _ in 0..3 {
        drop(step.run(&mut model, &mut optimizer, &mut rng, &[x, y]).unwrap());
    }
    let captured = watched(&format!("{what}, captured"), device, || drop(step.run(&mut model, &mut optimizer, &mut rng, &[x, y]).unwrap()));
    step.finish(&model, &mut optimizer).unwrap();
    [eager, captured]
}

/// The launches of forward and backward pass at this size, which are recorded and not run.
fn recorded(what: &str, device: &Device, mut model: Sequential, inputs: [Tensor; 2]) -> usize {
    model.to(device).unwrap();
    let inputs = inputs.map(|x| x.to(device).unwrap());
    device.synchronize().unwrap();
    let pass = || {
        let tape = Tape::training(&mut Rng::seeded(0));
        loss(&model, &tape, &inputs)?.backward()
    };
    let (graph, _) = traced(what, || capture(Gpu::get(0).unwrap(), None, pass)).unwrap();
    println!("{what}: {} launches, copies and fills forward and backward", graph.nodes());
    graph.nodes()
}

/// Holds both steps of a kind against what they are known to launch: the captured one also keeps its loss, and its numbers come as five copies, its report as one.
fn expect([written, captured]: [Step; 2], launches: &[(&str, u64)]) {
    let mut expected: BTreeMap<String, u64> = launches.iter().map(|&(name, runs)| (name.to_string(), runs)).collect();
    assert_eq!(written.kernels, expected, "kernels of the step as it is written");
    expected.insert("keep_loss".into(), 1);
    assert_eq!(captured.kernels, expected, "kernels of the captured step");
    let (w, c) = (written.driver, captured.driver);
    // The gradient of the loss by itself is the fill.
    assert_eq!((w.fills, w.copies_inside, c.fills, c.copies_inside), (1, 0, 1, 0), "fills and copies on the GPU");
    // Written: images, labels, limits, settings, and the three tables of the step, whose norm is waited for. Captured: images, labels, the random key, limits and settings.
    assert_eq!((w.copies_in, w.copies_out, c.copies_in, c.copies_out), (7, 1, 5, 1), "copies to the GPU and from it");
    assert_eq!((c.graph_launches, c.kernel_launches, c.allocations, c.host_allocations), (1, 0, 0, 0), "{c:?}");
    assert_eq!((w.graph_launches, w.host_allocations), (0, 0), "{w:?}");
    // One explicit wait is the test's own.
    assert_eq!((c.synchronisations(), c.implicit_synchronisations), (1, 0), "waits of the captured step");
    assert_eq!((w.synchronisations(), w.implicit_synchronisations), (3, 1), "waits of the step as it is written");
}

#[test]
fn lenet_and_adam() {
    let Some(turn) = software() else { return };
    let rng = &mut Rng::seeded(3);
    let steps = both("LeNet, batch 4", &turn.device, lenet(rng).unwrap(), Adam::new(1e-3), data([4, 1, 28, 28], 10));
    expect(steps, LENET);
    assert_eq!(recorded("LeNet, batch 64", &turn.device, lenet(rng).unwrap(), data([64, 1, 28, 28], 10)), 38);
}

#[test]
fn resnet18_and_sgd_with_momentum() {
    let Some(turn) = software() else { return };
    let rng = &mut Rng::seeded(3);
    let small = resnet18([8, 16, 32, 64], 10, rng).unwrap();
    let steps = both("ResNet-18, cut down", &turn.device, small, Sgd::new(0.1).momentum(0.9), data([2, 3, 32, 32], 10));
    expect(steps, RESNET18);
    let full = resnet18([64, 128, 256, 512], 1000, rng).unwrap();
    assert_eq!(recorded("ResNet-18, batch 64", &turn.device, full, data([64, 3, 224, 224], 1000)), 209);
}

const LENET: &[(&str, u64)] = &[
    ("backward_flat", 1),
    ("conclude", 1),
    ("cross_entropy_backward_octets", 1),
    ("cross_entropy_octets", 1),
    ("cublasLtMatmul", 9),
    ("div_rows", 2),
    ("forward_flat", 2),
    ("max_pool2d_backward_u8", 2),
    ("max_pool2d_halves", 2),
    ("measure", 1),
    ("relu_slope", 4),
    ("sum_blocks_f32", 1),
    ("sum_columns_f32", 3),
    ("sum_parts", 2),
    ("sum_warps_f32", 3),
    ("weight_gradient_small", 2),
    ("write", 1),
];

const RESNET18: &[(&str, u64)] = &[
    ("adaptive_avg_pool2d", 1),
    ("adaptive_avg_pool2d_backward", 1),
    ("add_rows", 16),
    ("backward_flat", 4),
    ("backward_small", 15),
    ("batch_norm_backward_whole_columns", 5),
    ("batch_norm_backward_whole_planes_wide", 15),
    ("batch_norm_whole_columns", 5),
    ("batch_norm_whole_planes_wide", 15),
    ("conclude", 1),
    ("cross_entropy_backward_octets", 1),
    ("cross_entropy_octets", 1),
    ("cublasLtMatmul", 3),
    ("div_rows", 2),
    ("forward_flat", 5),
    ("forward_small", 15),
    ("max_pool2d_backward_u8", 1),
    ("max_pool2d_u8", 1),
    ("measure", 1),
    ("relu_slope", 17),
    ("relu_value", 17),
    ("sum_columns_f32", 1),
    ("sum_parts", 7),
    ("sum_warps_f32", 2),
    ("weight_gradient_small", 20),
    ("write", 1),
];

/// The software GPU; a real one does not count.
fn software() -> Option<Turn> {
    gpu().filter(|_| control::is_software())
}
