//! A network learns the digits 0 to 4, and then 5 to 9 with its weights frozen: by a new head alone, by LoRA beside the frozen weights, by BitFit, and by training everything. Offline, on the MNIST that lies beside this file.
//!
//!     cargo run --release --example lora_mnist -- [--samples 1000] [--epochs 10] [--rank 4] [--seed 0]
//!
//! Prints what each way trains, reaches and would store; then merges the LoRA and compares, and shows that the digits 0 to 4 are not forgotten: without its adapter the model is the old one, to the bit.

use chainrule::data::{Dataset, Loader, Mnist, MnistSplit, Subset};
use chainrule::finetune::{Adapted, BitFit, Lora};
use chainrule::nn::{Conv2d, Init, Layer, Linear, Module, count, freeze, initialise, params, unfreeze};
use chainrule::optim::{Adam, Schedule};
use chainrule::options::Pool2d;
use chainrule::train::correct;
use chainrule::{Result, Rng, Tape, Tensor, TensorError};
use std::ops::Range;
use std::time::Instant;

/// LeNet-5 (LeCun et al. 1998) for five classes, with ReLU and max pooling: `[N, 1, 28, 28] -> [N, 5]`.
#[derive(Module, Clone)]
struct LeNet {
    conv1: Conv2d,
    conv2: Conv2d,
    fc1: Linear,
    fc2: Linear,
    head: Linear,
}

impl LeNet {
    fn new(rng: &mut Rng) -> Result<LeNet> {
        Ok(LeNet {
            conv1: Conv2d::new(1, 6, 5, rng)?.padding(2),
            conv2: Conv2d::new(6, 16, 5, rng)?,
            fc1: Linear::new(400, 120, rng)?,
            fc2: Linear::new(120, 84, rng)?,
            head: Linear::new(84, 5, rng)?,
        })
    }
}

impl Layer for LeNet {
    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        let x = self.conv1.forward(x)?.relu()?.max_pool2d(&Pool2d::new([2, 2]))?;
        let x = self.conv2.forward(&x)?.relu()?.max_pool2d(&Pool2d::new([2, 2]))?.flatten(1, -1)?;
        self.head.forward(&self.fc2.forward(&self.fc1.forward(&x)?.relu()?)?.relu()?)
    }
}

/// Some digits of a split, at most so many images.
fn digits(split: &MnistSplit, wanted: Range<u8>, most: usize, batch: usize) -> Result<Loader<Subset<MnistSplit>>> {
    let labels = split.labels().iter().enumerate();
    let indices: Vec<usize> = labels.filter(|(_, label)| wanted.contains(label)).map(|(i, _)| i).take(most).collect();
    Ok(Loader::new(split.clone().subset(indices)?, batch)?)
}

/// A digit's class among 0 to 4, or among 5 to 9.
fn among_five(labels: &Tensor) -> Result<Tensor> {
    let classes: Vec<i64> = labels.to_vec::<i64>()?.iter().map(|digit| digit % 5).collect();
    Ok(Tensor::from_slice(&classes, labels.dims())?)
}

/// The share of images told right.
fn accuracy(model: &impl Layer, test: &Loader<Subset<MnistSplit>>) -> Result<f64> {
    let (mut right, mut all) = (0, 0);
    for batch in test.in_order() {
        let batch = batch?;
        right += correct(&model.forward(&batch.images)?, &among_five(&batch.labels)?)?;
        all += batch.labels.count();
    }
    Ok(right as f64 / all as f64)
}

/// Trains what is trainable; returns the seconds it took.
fn train(model: &mut impl Layer, data: &Loader<Subset<MnistSplit>>, epochs: usize, rate: f64, rng: &mut Rng) -> Result<f64> {
    let start = Instant::now();
    let mut adam = Adam::new(rate).schedule(Schedule::cosine((epochs * data.len()) as u64));
    for _ in 0..epochs {
        for batch in data.epoch(rng) {
            let batch = batch?;
            let tape = Tape::training(rng);
            let loss = model.forward(&tape.input(&batch.images))?.cross_entropy(&among_five(&batch.labels)?)?;
            adam.step(model, &loss.backward()?)?;
        }
    }
    Ok(start.elapsed().as_secs_f64())
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let [samples, epochs, rank, seed] = options()?;
    let rng = &mut Rng::seeded(seed as u64);
    let mnist = Mnist::load(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/data/mnist"))?;
    let old = digits(&mnist.test, 0..5, usize::MAX, 250)?;
    let new = digits(&mnist.test, 5..10, usize::MAX, 250)?;
    let few = digits(&mnist.train, 5..10, samples, 32)?;

    let mut base = LeNet::new(rng)?;
    let seconds = train(&mut base, &digits(&mnist.train, 0..5, usize::MAX, 64)?, 2, 1e-3, rng)?;
    println!("pretrained on the digits 0 to 4: test accuracy {:.4}, {seconds:.2} s", accuracy(&base, &old)?);

    println!("\nadapted to 5 to 9 with {} images:", few.data().len());
    println!("{:<10} {:>9} {:>9} {:>8} {:>9}", "", "accuracy", "trained", "seconds", "bytes");
    let row = |name: &str, model: &(dyn Module + 'static), accuracy: f64, seconds: f64| {
        let trained = count(model).trainable;
        println!("{name:<10} {accuracy:>9.4} {trained:>9} {seconds:>8.2} {:>9}", 4 * trained);
    };
    // Every way begins with a head drawn anew.
    let fresh_head = |model: &mut dyn Module, rng: &mut Rng| initialise(model, "head.weight", Init::layer_default(), rng);

    let mut head = base.clone();
    fresh_head(&mut head, rng)?;
    freeze(&mut head, "*")?;
    unfreeze(&mut head, "head.*")?;
    let seconds = train(&mut head, &few, epochs, 3e-3, rng)?;
    row("head", &head, accuracy(&head, &new)?, seconds);

    let mut model = Adapted::new(base.clone());
    model.add("bitfit", BitFit::new().saving(["head"]), rng)?;
    fresh_head(&mut model, rng)?;
    let seconds = train(&mut model, &few, epochs, 3e-3, rng)?;
    row("BitFit", &model, accuracy(&model, &new)?, seconds);

    model.add("lora", Lora::rank(rank).alpha(2.0 * rank as f64).targets(["conv1", "conv2", "fc1", "fc2"]).saving(["head"]), rng)?;
    fresh_head(&mut model, rng)?;
    let seconds = train(&mut model, &few, epochs, 3e-3, rng)?;
    let adapted = accuracy(&model, &new)?;
    row("LoRA", &model, adapted, seconds);

    let mut all = base.clone();
    fresh_head(&mut all, rng)?;
    let seconds = train(&mut all, &few, epochs, 1e-3, rng)?;
    row("all", &all, accuracy(&all, &new)?, seconds);

    let images = new.in_order().next().ok_or("the test images hold no digit from 5 to 9")??.images;
    let difference = model.merge(|model| model.forward(&images))?;
    println!("\nLoRA merged into the weights: outputs differ by {difference:.1e} at most, accuracy {:.4}", accuracy(&model, &new)?);
    model.unmerge();
    let again = model.into_base();
    let mut same = true;
    let mut before = Vec::new();
    params(&base, |_, param| before.push(param.value.to_vec::<f32>()));
    let mut before = before.into_iter();
    params(&again, |_, param| same &= before.next() == Some(param.value.to_vec::<f32>()));
    println!("adapters taken off: test accuracy on 0 to 4 {:.4}, weights the same to the bit: {same}", accuracy(&again, &old)?);
    Ok(())
}

/// Images, epochs, rank, seed.
fn options() -> std::result::Result<[usize; 4], String> {
    const NAMES: [&str; 4] = ["--samples", "--epochs", "--rank", "--seed"];
    let mut values = [1000, 10, 4, 0];
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let at = NAMES.iter().position(|known| *known == name).ok_or_else(|| format!("{name}: expected one of {NAMES:?}"))?;
        let value = arguments.next().ok_or_else(|| format!("{name}: expected a value after it"))?;
        values[at] = value.parse().map_err(|_| format!("{name} {value}: expected a whole number"))?;
    }
    Ok(values)
}
