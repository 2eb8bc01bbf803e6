//! What ways of fine-tuning cost: time a step and memory above the weights, for a BERT of MiniLM's size with random numbers, so that it runs without any data.
//!
//!     cargo run --release --example finetune_costs -- [--steps 7] [--batch 32] [--length 48]
//!
//! Memory is that of all arrays at the highest moment of a step, less that of the model's own numbers; with it go gradients, the optimizer's state and what the tape keeps.

use chainrule::core::memory;
use chainrule::finetune::{Adapted, Lora};
use chainrule::models::{BertConfig, BertForSequenceClassification, Pooling, Tokens};
use chainrule::nn::{Module, count, freeze, params, unfreeze};
use chainrule::optim::AdamW;
use chainrule::{Gradients, Result, Rng, Tape, Tensor};
use std::time::Instant;

const MIB: f64 = 1048576.0;

/// The bytes of a model's numbers.
fn bytes(model: &dyn Module) -> usize {
    let mut bytes = 0;
    params(model, |_, param| bytes += param.value.count() * param.value.dtype().size());
    bytes
}

struct Task {
    tokens: Tokens,
    labels: Tensor,
    steps: usize,
}

impl Task {
    /// A line of the table: `step` makes the gradients of one.
    fn run<M: Module>(&self, name: &str, model: &mut M, rng: &mut Rng, step: impl Fn(&M, &Task, &mut Rng) -> Result<Gradients>) -> Result<()> {
        let (weights, others) = (bytes(model), memory::statistics().live);
        let mut adam = AdamW::new(1e-4).clip_norm(1.0);
        let mut times = Vec::new();
        for i in 0..self.steps + 2 {
            if i == 2 {
                memory::reset_peak();
            }
            let start = Instant::now();
            let gradients = step(model, self, rng)?;
            adam.step(model, &gradients)?;
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
        let mut times = times.split_off(2);
        times.sort_by(f64::total_cmp);
        // What lived before the first step is the model and the task's own arrays.
        let above = memory::statistics().peak.saturating_sub(others) as f64 / MIB;
        let trained = count(model).trainable;
        println!("{name:<22} {trained:>10} {:>9.1} {:>9.1} {above:>9.1}", times[times.len() / 2], weights as f64 / MIB);
        Ok(())
    }
}

/// Forward and backward through all of the model.
fn whole(model: &BertForSequenceClassification, task: &Task, rng: &mut Rng) -> Result<Gradients> {
    let tape = Tape::training(rng);
    Ok(model.logits(&task.tokens.on(&tape))?.cross_entropy(&task.labels)?.backward()?)
}

/// The features off the tape, the head on it.
fn head(model: &BertForSequenceClassification, task: &Task, rng: &mut Rng) -> Result<Gradients> {
    let features = model.features(&task.tokens)?;
    let tape = Tape::training(rng);
    Ok(model.head(&tape.input(&features))?.cross_entropy(&task.labels)?.backward()?)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [steps, batch, length] = options()?;
    let rng = &mut Rng::seeded(0);
    let config = BertConfig::new(30522, 384, 6, 12, 1536);
    // Made anew for each line, so that no other model shares numbers with the one that is trained.
    let base = || BertForSequenceClassification::new(&config, 2, Pooling::Mean, &mut Rng::seeded(1));
    let ids = Tensor::integers(&[batch, length], 1000, 30000, rng)?;
    let labels = Tensor::integers(&[batch], 0, 2, rng)?;
    // As in real batches: the shortest sentence has a third of the longest one's tokens.
    let real = |row: usize| length - (2 * length * row) / (3 * batch);
    let mask: Vec<u8> = (0..batch * length).map(|i| u8::from(i % length < real(i / length))).collect();
    let task = Task { tokens: Tokens::new(ids).mask(Tensor::from_slice(&mask, &[batch, length])?), labels, steps };

    println!("{:<22} {:>10} {:>9} {:>9} {:>9}", "", "trained", "ms/step", "weights", "above MiB");
    task.run("everything", &mut base()?, rng, whole)?;
    let frozen = |pattern: &str, but: &str| -> Result<BertForSequenceClassification> {
        let mut model = base()?;
        freeze(&mut model, pattern)?;
        unfreeze(&mut model, but)?;
        Ok(model)
    };
    task.run("lower half frozen", &mut frozen("bert.{embeddings,encoder.layer.0,encoder.layer.1,encoder.layer.2}.*", "classifier.*")?, rng, whole)?;
    for (name, lora) in [
        ("LoRA 8, query value", Lora::rank(8).alpha(16.0).targets(["query", "value"])),
        ("LoRA 4, all linear", Lora::rank(4).alpha(16.0).targets(["query", "key", "value", "dense"])),
    ] {
        let mut model = Adapted::new(base()?);
        model.add("lora", lora.saving(["classifier"]), rng)?;
        task.run(name, &mut model, rng, |model, task, rng| whole(model.model(), task, rng))?;
    }
    task.run("BitFit", &mut frozen("*", "{*bias,classifier.*}")?, rng, whole)?;
    task.run("head", &mut frozen("*", "classifier.*")?, rng, head)?;
    Ok(())
}

/// Steps, batch, length.
fn options() -> Result<[usize; 3], String> {
    const NAMES: [&str; 3] = ["--steps", "--batch", "--length"];
    let mut values = [7, 32, 48];
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let at = NAMES.iter().position(|known| *known == name).ok_or_else(|| format!("{name}: expected one of {NAMES:?}"))?;
        let value = arguments.next().ok_or_else(|| format!("{name}: expected a value after it"))?;
        values[at] = value.parse().map_err(|_| format!("{name} {value}: expected a whole number"))?;
    }
    Ok(values)
}
