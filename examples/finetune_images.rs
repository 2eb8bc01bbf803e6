//! MobileNetV2, trained on ImageNet, learns CIFAR-10's ten classes from 5,000 images: by a new head on frozen features, by gradual unfreezing (ULMFiT), and by training everything.
//!
//!     cargo run --release --example finetune_images -- [--ways head,gradual,all] [--epochs 3] [--size 96] [--images 5000] [--seed 0]
//!
//! Reads `mobilenet_v2/mobilenet_v2-b0353104.pth` (download.pytorch.org/models) and `cifar10/{train_5000,test_1000}.bin.gz` (images of cs.toronto.edu/~kriz/cifar.html in its binary layout, the first of them, gzip)
//! from the folder that `CHAINRULE_DATA` names, else from `../shared/data`. Images are enlarged to `size` x `size`.

use chainrule::data::{Dataset, Loader, TensorDataset};
use chainrule::finetune::{GradualUnfreezing, discriminative};
use chainrule::models::{MobileNetV2, read::Checkpoint};
use chainrule::nn::{Layer, count, freeze, unfreeze};
use chainrule::optim::{AdamW, Schedule};
use chainrule::options::{Filter, Interpolation};
use chainrule::train::{correct, peak_memory};
use chainrule::{DType, Result, Rng, Tape, Tensor};
use std::error::Error;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Bytes of a label and 32 x 32 pixels in red, green and blue.
const RECORD: usize = 1 + 3 * 32 * 32;
/// Of ImageNet, which the published weights were trained on.
const MEANS: [f64; 3] = [0.485, 0.456, 0.406];
const DEVIATIONS: [f64; 3] = [0.229, 0.224, 0.225];
/// From the head downwards.
const GROUPS: [&str; 4] = ["classifier.*", "features.{14,15,16,17,18}.*", "features.{7,8,9,10,11,12,13}.*", "features.{0,1,2,3,4,5,6}.*"];

/// Images u8 `[N, 3, 32, 32]` and classes i64 `[N]`.
fn cifar(file: &Path, most: usize) -> Result<TensorDataset<2>, Box<dyn Error>> {
    let packed = std::fs::File::open(file)
        .map_err(|error| format!("{}: {error}; see the head of this example, or name another folder by CHAINRULE_DATA", file.display()))?;
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(packed).read_to_end(&mut bytes)?;
    if bytes.is_empty() || bytes.len() % RECORD != 0 {
        return Err(format!("{}: {} bytes, expected a multiple of {RECORD}", file.display(), bytes.len()).into());
    }
    let records: Vec<&[u8]> = bytes.chunks_exact(RECORD).take(most).collect();
    let labels: Vec<i64> = records.iter().map(|record| i64::from(record[0])).collect();
    let pixels: Vec<u8> = records.iter().flat_map(|record| &record[1..]).copied().collect();
    let count = records.len();
    Ok(TensorDataset::new([Tensor::from_slice(&pixels, &[count, 3, 32, 32])?, Tensor::from_slice(&labels, &[count])?])?)
}

/// u8 `[N, 3, 32, 32]` to f32 `[N, 3, size, size]`, enlarged and normalised.
fn prepared(pixels: &Tensor, size: usize) -> Result<Tensor> {
    let channel = |values: [f64; 3]| Tensor::from_slice(&values.map(|v| v as f32), &[1, 3, 1, 1]);
    let images = pixels.cast(DType::F32)?.mul_scalar(1.0 / 255.0)?.sub(&channel(MEANS)?)?.div(&channel(DEVIATIONS)?)?;
    Ok(images.interpolate(&Interpolation { filter: Filter::Linear, ..Interpolation::size([size, size]) })?)
}

fn accuracy(model: &MobileNetV2, test: &Loader<TensorDataset<2>>, size: usize) -> Result<f64> {
    let (mut right, mut all) = (0, 0);
    for batch in test.in_order() {
        let [images, labels] = batch?;
        right += correct(&model.forward(&prepared(&images, size)?)?, &labels)?;
        all += labels.count();
    }
    Ok(right as f64 / all as f64)
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse()?;
    let folder = std::env::var_os("CHAINRULE_DATA").map_or_else(|| PathBuf::from("../shared/data"), PathBuf::from);
    let train = Loader::new(cifar(&folder.join("cifar10/train_5000.bin.gz"), options.images)?, 32)?;
    let test = Loader::new(cifar(&folder.join("cifar10/test_1000.bin.gz"), usize::MAX)?, 50)?;
    let mut pretrained = MobileNetV2::new(1000, &mut Rng::seeded(options.seed))?;
    let report = Checkpoint::open(folder.join("mobilenet_v2/mobilenet_v2-b0353104.pth"))?.load(&mut pretrained)?;
    println!("MobileNetV2: {} tensors; {} images of {} x {}", report.loaded.len(), train.data().len(), options.size, options.size);
    println!("{:<8} {:>9} {:>10} {:>10} {:>9}", "", "accuracy", "trained", "seconds", "peak MiB");
    for way in &options.ways {
        let rng = &mut Rng::seeded(options.seed);
        let mut model = pretrained.clone();
        model.replace_head(10, rng)?;
        freeze(&mut model, "*")?;
        let start = Instant::now();
        match way.as_str() {
            "head" => {
                unfreeze(&mut model, "classifier.*")?;
                train_head(&mut model, &train, &options, rng)?;
            }
            "gradual" => {
                let plan = GradualUnfreezing::new(&GROUPS)?;
                train_all(&mut model, &train, &options, rng, |model, epoch| Ok(plan.apply(model, epoch)?))?;
            }
            "all" => train_all(&mut model, &train, &options, rng, |model, _| Ok(unfreeze(model, "*")?))?,
            other => return Err(format!("--ways {other}: expected head, gradual or all").into()),
        }
        let seconds = start.elapsed().as_secs_f64();
        let peak = peak_memory().map_or(f64::NAN, |bytes| bytes as f64 / 1048576.0);
        println!("{way:<8} {:>9.4} {:>10} {seconds:>10.1} {peak:>9.0}", accuracy(&model, &test, options.size)?, count(&model).trainable);
    }
    Ok(())
}

/// The features are computed once, off the tape; the head learns from them for many epochs.
fn train_head(model: &mut MobileNetV2, train: &Loader<TensorDataset<2>>, options: &Options, rng: &mut Rng) -> Result<()> {
    let (mut features, mut labels) = (Vec::new(), Vec::new());
    for batch in train.in_order() {
        let [images, classes] = batch?;
        features.push(model.pooled(&prepared(&images, options.size)?)?);
        labels.push(classes);
    }
    let all = |parts: &[Tensor]| Tensor::concatenate(&parts.iter().collect::<Vec<_>>(), 0);
    let cached = Loader::new(TensorDataset::new([all(&features)?, all(&labels)?])?, 32)?;
    let epochs = 10 * options.epochs;
    let mut adam = AdamW::new(1e-3).schedule(Schedule::cosine((epochs * cached.len()) as u64));
    for _ in 0..epochs {
        for batch in cached.epoch(rng) {
            let [features, labels] = batch?;
            let tape = Tape::training(rng);
            let loss = model.head(&tape.input(&features))?.cross_entropy(&labels)?;
            adam.step(model, &loss.backward()?)?;
        }
    }
    Ok(())
}

/// Trains what `thaw` makes trainable at the start of each epoch, lower layers at smaller rates.
fn train_all(
    model: &mut MobileNetV2,
    train: &Loader<TensorDataset<2>>,
    options: &Options,
    rng: &mut Rng,
    thaw: impl Fn(&mut MobileNetV2, u64) -> Result<usize>,
) -> Result<()> {
    let steps = (options.epochs * train.len()) as u64;
    let mut adam = discriminative(AdamW::new(1e-3).clip_norm(1.0), &GROUPS, 2.6).schedule(Schedule::slanted_triangular(steps, 0.1, 32.0));
    for epoch in 0..options.epochs {
        thaw(model, epoch as u64)?;
        for batch in train.epoch(rng) {
            let [images, labels] = batch?;
            let images = prepared(&images, options.size)?;
            // Half of the batches are mirrored.
            let images = if rng.below(2) == 0 { images.flip(&[3])? } else { images };
            let tape = Tape::training(rng);
            let loss = model.forward(&tape.input(&images))?.cross_entropy(&labels)?;
            adam.step(model, &loss.backward()?)?;
        }
    }
    Ok(())
}

struct Options {
    ways: Vec<String>,
    epochs: usize,
    size: usize,
    images: usize,
    seed: u64,
}

impl Options {
    fn parse() -> Result<Options, String> {
        let mut options = Options { ways: ["head", "gradual", "all"].map(str::to_string).to_vec(), epochs: 3, size: 96, images: usize::MAX, seed: 0 };
        let mut arguments = std::env::args().skip(1);
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or_else(|| format!("{name}: expected a value after it"))?;
            let number = || value.parse::<usize>().map_err(|_| format!("{name} {value}: expected a whole number"));
            match name.as_str() {
                "--ways" => options.ways = value.split(',').map(str::to_string).collect(),
                "--epochs" => options.epochs = number()?,
                "--size" => options.size = number()?,
                "--images" => options.images = number()?,
                "--seed" => options.seed = number()? as u64,
                _ => return Err(format!("{name}: expected --ways, --epochs, --size, --images or --seed")),
            }
        }
        Ok(options)
    }
}
