//! Several ways to teach MiniLM whether a review of a film is good or bad (SST-2), side by side.
//!
//!     cargo run --release --features tokenizers --example finetune_sentiment -- [--methods frozen,bitfit,lora,lora_all,bottleneck,full] [--epochs 2] [--seeds 0]
//!         [--threads 2] [--limit-steps N] [--cache-features] [--data DIR]
//!
//! One method more stands for the best that is known here, and runs when it is named: `--methods recipe --epochs 3`, LoRA of rank 8 on every linear layer, B learning four
//! times as fast as A (LoRA+).
//!
//! Mean-pooled MiniLM and a linear head of two classes, batches of 32, at most 64 tokens, filled up to the longest of a batch; AdamW without decay, gradients clipped to norm 1,
//! the learning rate rises over a tenth of the steps and falls to 0. Prints a line of JSON for each method and seed, and a table in the end;
//! `trained KiB` is the size of a safetensors file of the numbers that were trained, head included. The peak of memory is the process's so far:
//! run one method a process to compare them. `--cache-features` computes the frozen model's features once instead of in every epoch.
//!
//! Reads `minilm/` (sentence-transformers/all-MiniLM-L6-v2) and `text/sst2/{train,dev}.tsv` (a sentence, a tab, 0 or 1) of the folder that `--data` or `CHAINRULE_DATA` names, else of `../shared/data`.

use chainrule::finetune::{Adapted, BitFit, Bottleneck, Lora, freeze, lora_plus};
use chainrule::models::{BertConfig, BertForSequenceClassification, Pooling, Tokenizer, Tokens};
use chainrule::nn::{Module, StateDict, count, params, safetensors};
use chainrule::optim::{AdamW, Schedule};
use chainrule::train::{correct, peak_memory};
use chainrule::{Result, Rng, Tape, Tensor};
use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

type Classifier = BertForSequenceClassification;
type Failure = Box<dyn Error>;

/// Sentences as ids, and their labels.
struct Reviews {
    ids: Vec<Vec<i64>>,
    labels: Vec<i64>,
}

impl Reviews {
    fn read(file: &Path, tokenizer: &Tokenizer) -> Result<Reviews, Failure> {
        let text = std::fs::read_to_string(file).map_err(|e| format!("{}: {e}; put SST-2 there, or name another folder by --data", file.display()))?;
        let mut reviews = Reviews { ids: vec![], labels: vec![] };
        for (sentence, label) in text.lines().filter_map(|line| line.rsplit_once('\t')) {
            if let Some(label) = ["0", "1"].iter().position(|l| *l == label.trim()) {
                reviews.ids.push(tokenizer.ids(sentence)?);
                reviews.labels.push(label as i64);
            }
        }
        if reviews.ids.is_empty() { Err(format!("{} holds no sentence with a label", file.display()).into()) } else { Ok(reviews) }
    }

    fn batch(&self, rows: &[usize]) -> Result<(Tokens, Tensor)> {
        let ids: Vec<&[i64]> = rows.iter().map(|&row| &self.ids[row][..]).collect();
        let labels: Vec<i64> = rows.iter().map(|&row| self.labels[row]).collect();
        Ok((Tokens::padded(&ids, 0)?, Tensor::from_slice(&labels, &[rows.len()])?))
    }

    /// All, 64 at a time.
    fn in_order(&self) -> impl Iterator<Item = Result<(Tokens, Tensor)>> {
        let rows: Vec<usize> = (0..self.ids.len()).collect();
        (0..rows.len()).step_by(64).map(move |from| self.batch(&rows[from..rows.len().min(from + 64)]))
    }
}

/// What all methods share.
struct Task {
    train: Reviews,
    dev: Reviews,
    epochs: usize,
    limit: usize,
    cache_features: bool,
}

/// A line of the table.
struct Outcome {
    method: String,
    seed: u64,
    accuracy: f64,
    trainable: usize,
    milliseconds: f64,
    peak: u64,
    /// Bytes of the trained numbers as safetensors.
    trained: u64,
}

impl Outcome {
    fn json(&self) -> String {
        format!(
            r#"{{"method": "{}", "seed": {}, "dev_accuracy": {:.4}, "trainable": {}, "ms_per_step": {:.1}, "peak_mib": {}, "trained_bytes": {}}}"#,
            self.method, self.seed, self.accuracy, self.trainable, self.milliseconds, self.peak, self.trained
        )
    }
}

const BATCH: usize = 32;

/// How a method trains.
struct Pace {
    rate: f64,
    /// LoRA+'s ratio.
    ratio: Option<f64>,
    /// Whether nothing below the head learns.
    frozen: bool,
}

/// Trains what is trainable in `subject`; `model` is the classifier in it, as it runs.
fn train<S: Module>(subject: &mut S, model: impl Fn(&S) -> &Classifier, pace: &Pace, task: &Task, rng: &mut Rng) -> Result<Vec<f64>, Failure> {
    let frozen = pace.frozen;
    let steps = task.epochs * task.train.ids.len().div_ceil(BATCH);
    let all = steps as f64;
    let schedule = Schedule::from_fn(move |step| ((step + 1) as f64 / (0.1 * all)).min((all - step as f64) / (0.9 * all)).max(0.0));
    let mut adam = AdamW::new(pace.rate).weight_decay(0.0).clip_norm(1.0).schedule(schedule);
    if let Some((fast, ratio)) = pace.ratio.map(lora_plus) {
        adam = adam.group(fast, move |group| group.learning_rate_scale(ratio));
    }
    let cached = if frozen && task.cache_features { Some(features(model(subject), &task.train)?) } else { None };
    let mut times = vec![];
    for _ in 0..task.epochs {
        for rows in rng.permutation(task.train.ids.len()).chunks(BATCH).take(task.limit - times.len()) {
            let (tokens, labels) = task.train.batch(rows)?;
            let clock = Instant::now();
            let classifier = model(subject);
            let tape = Tape::training(rng);
            let logits = if let Some(cached) = &cached {
                let rows: Vec<i64> = rows.iter().map(|&row| row as i64).collect();
                classifier.head(&tape.input(cached.index_select(0, &Tensor::from_slice(&rows, &[rows.len()])?)?))?
            } else if frozen {
                // Nothing below the head learns: its features need no tape.
                classifier.head(&tape.input(classifier.features(&tokens)?))?
            } else {
                classifier.logits(&tokens.on(&tape))?
            };
            let gradients = logits.cross_entropy(&labels)?.backward()?;
            drop(logits);
            adam.step(subject, &gradients)?;
            times.push(clock.elapsed().as_secs_f64() * 1e3);
        }
    }
    Ok(times)
}

/// Of every sentence, `[N, D]`.
fn features(model: &Classifier, reviews: &Reviews) -> Result<Tensor> {
    let parts = reviews.in_order().map(|batch| Ok(model.features(&batch?.0)?)).collect::<Result<Vec<Tensor>>>()?;
    Ok(Tensor::concatenate(&parts.iter().collect::<Vec<_>>(), 0)?)
}

fn accuracy(model: &Classifier, reviews: &Reviews) -> Result<f64, Failure> {
    let mut right = 0;
    for batch in reviews.in_order() {
        let (tokens, labels) = batch?;
        right += correct(&model.logits(&tokens)?, &labels)?;
    }
    Ok(right as f64 / reviews.ids.len() as f64)
}

/// The bytes of a file of all that was trained.
fn file_size(subject: &dyn Module) -> Result<u64, Failure> {
    let mut trained = StateDict::new();
    params(subject, |path, param| {
        if param.trainable {
            trained.insert(path.to_string(), param.value.clone());
        }
    });
    let file = std::env::temp_dir().join(format!("finetune-sentiment-{}.safetensors", std::process::id()));
    safetensors::write(&file, &trained, &Default::default())?;
    let size = std::fs::metadata(&file)?.len();
    std::fs::remove_file(&file)?;
    Ok(size)
}

const NAME: &str = "sentiment";

/// What is learned anew, whatever the method.
const HEAD: [&str; 1] = ["classifier"];

/// Fine-tunes a fresh MiniLM by one method.
fn run(method: &str, seed: u64, folder: &Path, task: &Task) -> Result<Outcome, Failure> {
    let rng = &mut Rng::seeded(seed);
    let config = BertConfig::from_file(folder.join("config.json"))?;
    let mut model = Classifier::open(&config, folder.join("model_f16.safetensors"), 2, Pooling::Mean, rng)?;
    let (trainable, mut times, accuracy, trained) = if let "frozen" | "full" = method {
        if method == "frozen" {
            freeze(&mut model, "bert.*")?;
        }
        let frozen = method == "frozen";
        let pace = Pace { rate: if frozen { 1e-2 } else { 1e-4 }, ratio: None, frozen };
        let times = train(&mut model, |model| model, &pace, task, rng)?;
        (count(&model).trainable, times, accuracy(&model, &task.dev)?, file_size(&model)?)
    } else {
        let mut adapted = Adapted::new(model);
        match method {
            "bitfit" => adapted.add(NAME, BitFit::new().saving(HEAD), rng)?,
            "lora" => adapted.add(NAME, Lora::rank(8).alpha(16.0).targets(["query", "value"]).saving(HEAD), rng)?,
            "lora_all" => adapted.add(NAME, Lora::rank(4).alpha(16.0).targets(["query", "key", "value", "dense"]).saving(HEAD), rng)?,
            "bottleneck" => adapted.add(NAME, Bottleneck::houlsby().width(64).saving(HEAD), rng)?,
            "recipe" => adapted.add(NAME, Lora::rank(8).alpha(16.0).targets(["query", "key", "value", "dense"]).saving(HEAD), rng)?,
            other => return Err(format!("--methods {other}: expected some of frozen, bitfit, lora, lora_all, bottleneck, full, recipe").into()),
        }
        let pace = Pace { rate: 1e-3, ratio: (method == "recipe").then_some(4.0), frozen: false };
        let times = train(&mut adapted, |adapted| adapted.model(), &pace, task, rng)?;
        (count(&adapted).trainable, times, accuracy(adapted.model(), &task.dev)?, file_size(&adapted)?)
    };
    times.sort_by(f64::total_cmp);
    let milliseconds = times.get(times.len() / 2).copied().unwrap_or(f64::NAN);
    Ok(Outcome { method: method.to_string(), seed, accuracy, trainable, milliseconds, peak: peak_memory().unwrap_or(0) >> 20, trained })
}

/// The arguments by name; what is not known is an error.
fn arguments() -> Result<BTreeMap<String, String>, Failure> {
    const KNOWN: [&str; 6] = ["--methods", "--epochs", "--seeds", "--threads", "--limit-steps", "--data"];
    let (mut found, mut given) = (BTreeMap::new(), std::env::args().skip(1));
    while let Some(name) = given.next() {
        let value = match &name[..] {
            "--cache-features" => String::new(),
            known if KNOWN.contains(&known) => given.next().ok_or_else(|| format!("{name} lacks its value"))?,
            _ => return Err(format!("{name} is not known, expected some of {}, --cache-features", KNOWN.join(", ")).into()),
        };
        found.insert(name, value);
    }
    Ok(found)
}

fn main() -> Result<(), Failure> {
    let arguments = arguments()?;
    let argument = |name: &str, default: &str| arguments.get(name).map_or(default.to_string(), String::clone);
    let limit = argument("--limit-steps", "1000000").parse()?;
    if limit == 0 {
        return Err("--limit-steps 0: expected a step at least".into());
    }
    let default = std::env::var("CHAINRULE_DATA").unwrap_or("../shared/data".to_string());
    let data = PathBuf::from(argument("--data", &default));
    chainrule::set_threads(argument("--threads", "2").parse()?);
    let tokenizer = Tokenizer::from_file(data.join("minilm/tokenizer.json"))?.truncated(64)?;
    let task = Task {
        train: Reviews::read(&data.join("text/sst2/train.tsv"), &tokenizer)?,
        dev: Reviews::read(&data.join("text/sst2/dev.tsv"), &tokenizer)?,
        epochs: argument("--epochs", "2").parse()?,
        limit,
        cache_features: arguments.contains_key("--cache-features"),
    };
    let mut outcomes = vec![];
    for method in argument("--methods", "frozen,bitfit,lora,lora_all,bottleneck,full").split(',') {
        for seed in argument("--seeds", "0").split(',') {
            let outcome = run(method, seed.parse()?, &data.join("minilm"), &task)?;
            println!("{}", outcome.json());
            outcomes.push(outcome);
        }
    }
    println!("\n{:<10} {:>4} {:>10} {:>11} {:>8} {:>9} {:>11}", "method", "seed", "accuracy", "trainable", "ms/step", "peak MiB", "trained KiB");
    for o in &outcomes {
        let (method, seed) = (&o.method, o.seed);
        println!(
            "{method:<10} {seed:>4} {:>8.1} % {:>11} {:>8.1} {:>9} {:>11.1}",
            100.0 * o.accuracy,
            o.trainable,
            o.milliseconds,
            o.peak,
            o.trained as f64 / 1024.0
        );
    }
    Ok(())
}
