//! How the time of an operation grows with its sizes, and what a second thread brings.

use crate::kernels::{attend, fwd_bwd, integers, normal};
use crate::measure::median_ms;
use crate::training::train_on;
use crate::workload::Step;
use crate::workloads;
use chainrule::nn::{Layer, Linear, Lstm, Module, Sequential};
use chainrule::options::Conv2d;
use chainrule::{Result, Rng, Tensor, TensorError};

/// An operation measured over the sizes of one of its extents.
struct Series {
    name: &'static str,
    sizes: &'static [usize],
    /// The exponent that its arithmetic has.
    expected: f64,
    make: fn(usize, &mut Rng) -> Result<Step>,
}

const SERIES: &[Series] = &[
    Series { name: "linear fwd+bwd [b, 512] x [512, 512], batch b", sizes: &[64, 128, 256, 512, 1024], expected: 1.0, make: |n, rng| linear(n, 512, rng) },
    Series { name: "linear fwd+bwd [256, w] x [w, w], width w", sizes: &[256, 512, 1024, 2048], expected: 2.0, make: |n, rng| linear(256, n, rng) },
    Series { name: "conv3x3 fwd+bwd [b, 64, 32, 32] -> 64, batch b", sizes: &[4, 8, 16, 32, 64], expected: 1.0, make: |n, rng| convolution(n, 64, 32, rng) },
    Series { name: "conv3x3 fwd+bwd [8, c, 32, 32] -> c, channels c", sizes: &[32, 64, 128, 256], expected: 2.0, make: |n, rng| convolution(8, n, 32, rng) },
    Series { name: "conv3x3 fwd+bwd [8, 64, s, s] -> 64, side s", sizes: &[16, 32, 64, 128], expected: 2.0, make: |n, rng| convolution(8, 64, n, rng) },
    Series { name: "lstm training [b, 64, 256] -> 256, batch b", sizes: &[8, 16, 32, 64, 128], expected: 1.0, make: |n, rng| lstm(n, 64, 256, rng) },
    Series { name: "lstm training [32, t, 256] -> 256, steps t", sizes: &[16, 32, 64, 128, 256], expected: 1.0, make: |n, rng| lstm(32, n, 256, rng) },
    Series { name: "lstm training [32, 64, h] -> h, units h", sizes: &[128, 256, 512, 1024], expected: 2.0, make: |n, rng| lstm(32, 64, n, rng) },
    Series { name: "attention fwd+bwd [b, 8, 256, 64], batch b", sizes: &[2, 4, 8, 16], expected: 1.0, make: |n, rng| attention(n, 256, rng) },
    Series { name: "attention fwd+bwd [1, 8, t, 64], length t", sizes: &[256, 512, 1024, 2048], expected: 2.0, make: |n, rng| attention(1, n, rng) },
    Series {
        name: "gelu fwd+bwd [n]",
        sizes: &[1 << 16, 1 << 18, 1 << 20, 1 << 22, 1 << 24],
        expected: 1.0,
        make: |n, rng| fwd_bwd(&[&[n]], rng, |x| x[0].gelu()),
    },
    Series { name: "layer norm fwd+bwd [n, 512]", sizes: &[256, 1024, 4096, 16384], expected: 1.0, make: layer_norm },
];

/// Workloads that are timed on one thread and on all.
const ON_THREADS: &[&str] = &[
    "gemm_256",
    "gemm_1024",
    "linear_fwd_bwd_512x1024x1024",
    "conv3x3_fwd_bwd_32x64x32x32",
    "conv1x1_fwd_bwd_16x256x14x14",
    "attention_fwd_bwd_8x8x256x64",
    "gelu_fwd_bwd_4M",
    "lenet_train_b64",
    "mnist_cnn_train_b64",
    "resnet18_cifar_train_b16",
    "lstm_lm_train_b32_t64",
    "encoder_train_b16_t128",
];

fn linear(batch: usize, width: usize, rng: &mut Rng) -> Result<Step> {
    fwd_bwd(&[&[batch, width], &[width, width], &[width]], rng, |x| x[0].linear(&x[1], Some(&x[2])))
}

fn convolution(batch: usize, channels: usize, side: usize, rng: &mut Rng) -> Result<Step> {
    let window = Conv2d { padding: [1, 1], ..Conv2d::default() };
    fwd_bwd(&[&[batch, channels, side, side], &[channels, channels, 3, 3]], rng, move |x| x[0].conv2d(&x[1], None, &window))
}

fn attention(batch: usize, steps: usize, rng: &mut Rng) -> Result<Step> {
    fwd_bwd(&[&[batch, 8, steps, 64][..]; 3], rng, |x| attend(x, None))
}

fn layer_norm(rows: usize, rng: &mut Rng) -> Result<Step> {
    let norm = chainrule::nn::LayerNorm::new(&[512])?;
    fwd_bwd(&[&[rows, 512]], rng, move |x| norm.forward(&x[0]))
}

/// The last step of a sequence.
#[derive(Module, Clone)]
struct Last;

impl Layer for Last {
    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        x.select(1, x.dims()[1] - 1)
    }
}

fn lstm(batch: usize, steps: usize, units: usize, rng: &mut Rng) -> Result<Step> {
    let model = Sequential::new().add(Lstm::new(units, units, 1, rng)?).add(Last).add(Linear::new(units, 4, rng)?);
    train_on(model, normal(&[batch, steps, units], rng)?, integers(&[batch], 4, rng)?, rng)
}

/// The slope of ln time over ln size, by least squares.
fn exponent(sizes: &[usize], times: &[f64]) -> f64 {
    let x: Vec<f64> = sizes.iter().map(|&size| (size as f64).ln()).collect();
    let y: Vec<f64> = times.iter().map(|time| time.ln()).collect();
    let mean = |of: &[f64]| of.iter().sum::<f64>() / of.len() as f64;
    let (mean_x, mean_y) = (mean(&x), mean(&y));
    let along: f64 = x.iter().zip(&y).map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    along / x.iter().map(|x| (x - mean_x).powi(2)).sum::<f64>()
}

/// Prints both tables: medians within `budget` seconds for every figure.
///
/// # Errors
/// Those of the steps.
pub fn print(budget: f64) -> Result<()> {
    println!("milliseconds over sizes; the exponent fitted to them, and that of the arithmetic");
    for series in SERIES {
        let mut times = vec![];
        for &size in series.sizes {
            times.push(median_ms(&mut (series.make)(size, &mut Rng::seeded(0))?, budget)?);
        }
        let cells: Vec<String> = series.sizes.iter().zip(&times).map(|(size, time)| format!("{size}: {time:.3}")).collect();
        println!("{:52} {:72} {:5.2} of {}", series.name, cells.join("  "), exponent(series.sizes, &times), series.expected);
    }
    let all = chainrule::threads();
    println!("\n{:42} {:>10} {:>12} {:>7}", "threads", "1: ms", format!("{all}: ms"), "ratio");
    for workload in workloads().filter(|workload| ON_THREADS.contains(&workload.name)) {
        let on = |threads: usize| {
            chainrule::set_threads(threads);
            median_ms(&mut (workload.make)(&mut Rng::seeded(0))?, budget)
        };
        let (one, many) = (on(1)?, on(all)?);
        println!("{:42} {one:10.3} {many:12.3} {:7.2}", workload.name, one / many);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponent_of_a_power_is_found() {
        let sizes = [1, 2, 4, 8];
        assert!((exponent(&sizes, &sizes.map(|n| 3.0 * (n as f64).powf(1.5))) - 1.5).abs() < 1e-12);
    }

    #[test]
    fn workloads_on_threads_are_known() {
        assert!(ON_THREADS.iter().all(|name| workloads().any(|workload| workload.name == *name)));
    }
}
