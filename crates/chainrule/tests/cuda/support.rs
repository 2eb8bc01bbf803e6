//! The GPU, small networks, and data that takes no file.

use chainrule::nn::{Conv2d, Dropout, Flatten, Linear, MaxPool2d, Relu, Sequential};
use chainrule::{DType, Device, Result, Rng, Tensor};
use chainrule_softgpu::control;
use std::sync::{Mutex, MutexGuard};

/// A GPU for one test alone, with a software one at its start: no findings, no ordered failures, the first seed.
pub struct Turn {
    pub device: Device,
    _alone: MutexGuard<'static, ()>,
}

/// The GPU, if there is one.
pub fn gpu() -> Option<Turn> {
    static ALONE: Mutex<()> = Mutex::new(());
    let alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    match Device::cuda(0) {
        Ok(device) => {
            if control::is_software() {
                // A test that failed before may have left the device so.
                control::reset().unwrap();
                control::seed(0).unwrap();
                control::take_findings().unwrap();
            }
            Some(Turn { device, _alone: alone })
        }
        Err(error) => {
            println!("SKIPPED: training on a GPU: {error}");
            None
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if control::is_software() && !std::thread::panicking() {
            self.device.synchronize().unwrap();
            assert_eq!(control::take_findings().unwrap(), [""; 0], "the software GPU found");
        }
    }
}

/// Scheduling seeds of the software GPU; a real one is asked once.
pub fn seeds() -> std::ops::Range<u64> {
    if control::is_software() { 0..5 } else { 0..1 }
}

pub fn seed(seed: u64) {
    if control::is_software() {
        control::seed(seed).unwrap();
    }
}

/// LeNet-5 with ReLU and max pooling, as the main example has it.
pub fn lenet(rng: &mut Rng) -> Result<Sequential> {
    Ok(Sequential::new()
        .add(Conv2d::new(1, 6, 5, rng)?.padding(2))
        .add(Relu)
        .add(MaxPool2d::new(2))
        .add(Conv2d::new(6, 16, 5, rng)?)
        .add(Relu)
        .add(MaxPool2d::new(2))
        .add(Flatten::new())
        .add(Linear::new(400, 120, rng)?)
        .add(Relu)
        .add(Linear::new(120, 84, rng)?)
        .add(Relu)
        .add(Linear::new(84, 10, rng)?))
}

/// Three linear layers with dropout.
pub fn mlp(rng: &mut Rng) -> Result<Sequential> {
    Ok(Sequential::new()
        .add(Flatten::new())
        .add(Linear::new(784, 64, rng)?)
        .add(Relu)
        .add(Dropout::new(0.3))
        .add(Linear::new(64, 32, rng)?)
        .add(Relu)
        .add(Linear::new(32, 10, rng)?))
}

/// A batch of images `[n, 1, 28, 28]` that differ by their class, and the classes.
pub fn batch(n: usize, seed: u64) -> (Tensor, Tensor) {
    let mut rng = Rng::seeded(seed);
    let labels: Vec<i64> = (0..n).map(|_| rng.below(10) as i64).collect();
    let noise = Tensor::uniform(&[n, 1, 28, 28], -0.5, 0.5, DType::F32, &mut rng).unwrap().to_vec::<f32>().unwrap();
    let pixel = |(i, x): (usize, f32)| x + if (i % 784) / 78 == labels[i / 784] as usize { 1.5 } else { 0.0 };
    let images: Vec<f32> = noise.into_iter().enumerate().map(pixel).collect();
    (Tensor::from_slice(&images, &[n, 1, 28, 28]).unwrap(), Tensor::from_slice(&labels, &[n]).unwrap())
}

/// The largest difference; infinite where a number is none.
#[track_caller]
pub fn difference(got: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(got.len(), expected.len());
    let apart = got.iter().zip(expected).map(|(a, b)| (a - b).abs());
    apart.fold(0.0, |most: f64, x| if x.is_nan() { f64::INFINITY } else { most.max(x) })
}
