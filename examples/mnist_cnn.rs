//! The main job: train a network on the real MNIST, which lies beside this file, or evaluate a saved one.
//!
//!     cargo run --release --example mnist_cnn -- [--model lenet|cnn|mlp] [--epochs 5] [--seed 0] [--threads N]
//!                                                [--data FOLDER] [--save FILE] [--load FILE] [--limit IMAGES] [--device cpu|cuda|best]
//!
//! Adam on batches of 64, the learning rate falling from 1e-3 to 0 along a cosine, pixels normalised to mean 0 and deviation 1, shuffled each epoch.
//! On a GPU (`--features cuda`, `--device cuda`) the same step is captured, and runs as one launch.
//! Prints a line an epoch and one JSON object at the end; writes the model (safetensors) and the loss curve (SVG) to `runs/`.

use chainrule::data::{Dataset, Loader, Mnist, MnistSplit};
use chainrule::nn::{Conv2d, Dropout, Flatten, Layer, Linear, MaxPool2d, Module, Relu, Sequential, load, save};
use chainrule::optim::{Adam, CapturedStep, Schedule};
use chainrule::train::{Curve, Mean, Progress, correct, peak_memory, plot_curves};
use chainrule::{Device, Result, Rng, Tape, Tensor};
use std::path::PathBuf;
use std::time::Instant;

/// LeNet-5 (LeCun et al. 1998) with ReLU and max pooling: `[N, 1, 28, 28] -> [N, 10]`.
fn lenet(rng: &mut Rng) -> Result<Sequential> {
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

/// Two 3x3 convolutions and two linear layers with dropout.
fn cnn(rng: &mut Rng) -> Result<Sequential> {
    Ok(Sequential::new()
        .add(Conv2d::new(1, 32, 3, rng)?.padding(1))
        .add(Relu)
        .add(MaxPool2d::new(2))
        .add(Conv2d::new(32, 64, 3, rng)?.padding(1))
        .add(Relu)
        .add(MaxPool2d::new(2))
        .add(Flatten::new())
        .add(Dropout::new(0.25))
        .add(Linear::new(64 * 49, 128, rng)?)
        .add(Relu)
        .add(Dropout::new(0.5))
        .add(Linear::new(128, 10, rng)?))
}

/// Three linear layers.
fn mlp(rng: &mut Rng) -> Result<Sequential> {
    Ok(Sequential::new()
        .add(Flatten::new())
        .add(Linear::new(784, 256, rng)?)
        .add(Relu)
        .add(Linear::new(256, 128, rng)?)
        .add(Relu)
        .add(Linear::new(128, 10, rng)?))
}

/// The share of images that the model classifies right.
fn evaluate(model: &Sequential, test: &Loader<MnistSplit>, device: &Device) -> Result<f64> {
    let (mut right, mut count) = (0, 0);
    for batch in test.in_order() {
        let batch = batch?;
        let logits = model.forward(&batch.images.to(device)?)?.to(&Device::Cpu)?;
        right += correct(&logits, &batch.labels)?;
        count += batch.labels.count();
    }
    Ok(right as f64 / count as f64)
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let options = Options::parse()?;
    let start = Instant::now();
    if let Some(threads) = options.threads {
        chainrule::set_threads(threads);
    }
    let mut rng = Rng::seeded(options.seed);
    let mut model = match options.model.as_str() {
        "lenet" => lenet(&mut rng)?,
        "cnn" => cnn(&mut rng)?,
        "mlp" => mlp(&mut rng)?,
        other => return Err(format!("--model {other}: expected lenet, cnn or mlp").into()),
    };
    let device: Device = options.device.parse()?;
    model.to(&device)?;
    let digits = Mnist::load(&options.data)?;
    let test = Loader::new(digits.test, 250)?;

    if let Some(file) = &options.load {
        let report = load(&mut model, file)?;
        let accuracy = evaluate(&model, &test, &device)?;
        println!("{}: {} tensors, test accuracy {accuracy:.4}", file.display(), report.loaded.len());
        println!(r#"{{"model": "{}", "test_accuracy": {accuracy:.4}, "wall_seconds": {:.3}}}"#, options.model, start.elapsed().as_secs_f64());
        return Ok(());
    }

    let images = options.limit.unwrap_or(usize::MAX).min(digits.train.len());
    let train = Loader::new(digits.train.subset((0..images).collect::<Vec<_>>())?, 64)?;
    let steps = (options.epochs * train.len()) as u64;
    let mut adam = Adam::new(1e-3).schedule(Schedule::cosine(steps));
    let mut step = CapturedStep::new(|model: &Sequential, tape: &Tape, batch: &[Tensor]| model.forward(&tape.input(&batch[0]))?.cross_entropy(&batch[1]));
    let mut curves = [Curve { name: "training loss".into(), points: vec![] }, Curve { name: "test error".into(), points: vec![] }];
    let (mut train_seconds, mut accuracy) = (0.0, 0.0);
    for epoch in 1..=options.epochs {
        let (clock, mut mean) = (Instant::now(), Mean::default());
        let batches = train.epoch(&mut rng);
        let steps = batches.len();
        let progress = Progress::new(format!("epoch {epoch}"), steps);
        // Losses are read at the end, so that a GPU is not waited for at each step.
        let (mut losses, mut shown) = (Vec::with_capacity(steps), f64::NAN);
        for (number, batch) in batches.enumerate() {
            let batch = batch?;
            let loss = step.run(&mut model, &mut adam, &mut rng, &[&batch.images, &batch.labels])?;
            if number % 50 == 0 {
                shown = loss.item()?;
                curves[0].points.push((epoch as f64 - 1.0 + number as f64 / steps as f64, shown));
            }
            progress.step(|| format!("loss {shown:.4}"));
            losses.push((loss, batch.labels.count()));
        }
        step.finish(&model, &mut adam)?;
        for (loss, count) in &losses {
            mean.add(loss.item()?, *count);
        }
        progress.clear();
        let seconds = clock.elapsed().as_secs_f64();
        train_seconds += seconds;
        accuracy = evaluate(&model, &test, &device)?;
        curves[1].points.push((epoch as f64, 1.0 - accuracy));
        println!("epoch {epoch}: loss {:.4}, test accuracy {accuracy:.4}, {seconds:.2} s", mean.value());
    }

    for file in [&options.save, &options.curve] {
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder)?;
        }
    }
    save(&model, &options.save)?;
    plot_curves(&options.curve, &format!("{} on MNIST", options.model), "epoch", "", &curves)?;
    println!("model: {}, curve: {}", options.save.display(), options.curve.display());
    println!(
        r#"{{"model": "{}", "epochs": {}, "test_accuracy": {accuracy:.4}, "train_seconds": {train_seconds:.3}, "wall_seconds": {:.3}, "peak_mib": {:.0}}}"#,
        options.model,
        options.epochs,
        start.elapsed().as_secs_f64(),
        peak_memory().map_or(f64::NAN, |bytes| bytes as f64 / 1048576.0),
    );
    Ok(())
}

struct Options {
    model: String,
    epochs: usize,
    seed: u64,
    threads: Option<usize>,
    limit: Option<usize>,
    data: PathBuf,
    save: PathBuf,
    curve: PathBuf,
    load: Option<PathBuf>,
    device: String,
}

impl Options {
    fn parse() -> std::result::Result<Options, Box<dyn std::error::Error>> {
        let data = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/data/mnist").into();
        let (save, curve) = (PathBuf::new(), PathBuf::new());
        let mut options =
            Options { model: "lenet".into(), epochs: 5, seed: 0, threads: None, limit: None, data, save, curve, load: None, device: "cpu".into() };
        let mut arguments = std::env::args().skip(1);
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or_else(|| format!("{name}: expected a value after it"))?;
            let number = || value.parse::<usize>().map_err(|_| format!("{name} {value}: expected a whole number"));
            match name.as_str() {
                "--model" => options.model = value,
                "--epochs" => options.epochs = number()?,
                "--seed" => options.seed = number()? as u64,
                "--threads" => options.threads = Some(number()?),
                "--limit" => options.limit = Some(number()?),
                "--data" => options.data = value.into(),
                "--save" => options.save = value.into(),
                "--device" => options.device = value,
                "--load" => options.load = Some(value.into()),
                other => return Err(format!("{other}: expected --model, --epochs, --seed, --threads, --limit, --data, --save, --load or --device").into()),
            }
        }
        if options.save.as_os_str().is_empty() {
            options.save = format!("runs/mnist_{}.safetensors", options.model).into();
        }
        options.curve = options.save.with_extension("svg");
        Ok(options)
    }
}
