//! MiniLM learns to find names in tweets and comments (WNUT-17): a class for each token, scored by whole entities as `seqeval` counts them.
//!
//!     cargo run --release --features tokenizers --example finetune_ner -- [--way lora|all|head] [--epochs 5] [--seed 0]
//!
//! Reads `minilm/{config.json,tokenizer.json,model_f16.safetensors}` (sentence-transformers/all-MiniLM-L6-v2) and `ner/{wnut17train.conll,emerging.dev.conll,emerging.test.annotated}`
//! (github.com/leondz/emerging_entities_17) from the folder that `CHAINRULE_DATA` names, else from `../shared/data`.

use chainrule::finetune::{Adapted, Lora, Targets};
use chainrule::models::{BertConfig, BertForTokenClassification, Tokenizer, Tokens};
use chainrule::nn::{count, freeze, unfreeze};
use chainrule::optim::{AdamW, Schedule};
use chainrule::train::{EntityScore, Mean, peak_memory};
use chainrule::{Rng, Tape, Tensor};
use std::collections::BTreeSet;
use std::error::Error;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::time::Instant;

const BATCH: usize = 32;
const MOST_TOKENS: usize = 128;
/// What the loss passes over (`CrossEntropy::ignore_index`): marks, and what follows a word's first token.
const IGNORED: i64 = -100;

/// Words and their tags.
struct Sentence {
    words: Vec<String>,
    tags: Vec<String>,
}

/// A sentence as tokens: ids, and for each the number of the word that begins there.
struct Cut {
    ids: Vec<i64>,
    first_of: Vec<Option<usize>>,
}

/// A word and its tag a line, sentences apart by empty lines.
fn sentences(file: &Path) -> Result<Vec<Sentence>, Box<dyn Error>> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| format!("{}: {error}; see the head of this example, or name another folder by CHAINRULE_DATA", file.display()))?;
    let mut all = vec![Sentence { words: vec![], tags: vec![] }];
    for line in text.lines() {
        let (word, tag) = line.split_once('\t').unwrap_or((line, "O"));
        let Some(sentence) = all.last_mut() else { continue };
        if !word.trim().is_empty() {
            sentence.words.push(word.to_string());
            sentence.tags.push(tag.trim().to_string());
        } else if !sentence.words.is_empty() {
            all.push(Sentence { words: vec![], tags: vec![] });
        }
    }
    all.retain(|sentence| !sentence.words.is_empty());
    Ok(all)
}

fn cut(tokenizer: &Tokenizer, sentence: &Sentence) -> Result<Cut, Box<dyn Error>> {
    let words: Vec<&str> = sentence.words.iter().map(String::as_str).collect();
    let (ids, word_of) = tokenizer.words(&words)?;
    let first_of = word_of.iter().enumerate().map(|(i, word)| if i > 0 && word_of[i - 1] == *word { None } else { *word }).collect();
    Ok(Cut { ids, first_of })
}

struct Tagger {
    tokenizer: Tokenizer,
    tags: Vec<String>,
}

impl Tagger {
    /// Tokens, and the class of each `[N, T]`.
    fn batch(&self, sentences: &[&Sentence]) -> Result<(Tokens, Vec<Cut>, Tensor), Box<dyn Error>> {
        let cuts = sentences.iter().map(|sentence| cut(&self.tokenizer, sentence)).collect::<Result<Vec<_>, _>>()?;
        let ids: Vec<&[i64]> = cuts.iter().map(|cut| &cut.ids[..]).collect();
        let tokens = Tokens::padded(&ids, self.tokenizer.padding())?;
        let [rows, length] = tokens.extents()?;
        let mut classes = vec![IGNORED; rows * length];
        for (row, (cut, sentence)) in cuts.iter().zip(sentences).enumerate() {
            for (at, word) in cut.first_of.iter().enumerate() {
                if let Some(class) = word.and_then(|word| self.tags.iter().position(|tag| *tag == sentence.tags[word])) {
                    classes[row * length + at] = class as i64;
                }
            }
        }
        Ok((tokens, cuts, Tensor::from_slice(&classes, &[rows, length])?))
    }

    fn score(&self, model: &BertForTokenClassification, sentences: &[Sentence]) -> Result<EntityScore, Box<dyn Error>> {
        let mut score = EntityScore::default();
        for chunk in sentences.chunks(2 * BATCH) {
            let chunk: Vec<&Sentence> = chunk.iter().collect();
            let (tokens, cuts, _) = self.batch(&chunk)?;
            let length = tokens.extents()?[1];
            let classes = model.logits(&tokens)?.argmax(-1, false)?.to_vec::<i64>()?;
            for (row, (cut, sentence)) in cuts.iter().zip(&chunk).enumerate() {
                // Words beyond the last token count as O.
                let mut given = vec!["O"; sentence.words.len()];
                for (at, word) in cut.first_of.iter().enumerate() {
                    if let Some(word) = word {
                        given[*word] = &self.tags[classes[row * length + at] as usize];
                    }
                }
                let expected: Vec<&str> = sentence.tags.iter().map(String::as_str).collect();
                score.add(&expected, &given);
            }
        }
        Ok(score)
    }
}

/// The model with adapters, or without.
enum Tuned {
    Adapted(Adapted<BertForTokenClassification>),
    Plain(BertForTokenClassification),
}

impl Deref for Tuned {
    type Target = BertForTokenClassification;
    fn deref(&self) -> &BertForTokenClassification {
        match self {
            Tuned::Adapted(model) => model,
            Tuned::Plain(model) => model,
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let (way, epochs, seed) = options()?;
    let folder = std::env::var_os("CHAINRULE_DATA").map_or_else(|| PathBuf::from("../shared/data"), PathBuf::from);
    let [train, dev, test] = ["wnut17train.conll", "emerging.dev.conll", "emerging.test.annotated"].map(|name| sentences(&folder.join("ner").join(name)));
    let (train, dev, test) = (train?, dev?, test?);
    let tags: BTreeSet<&String> = train.iter().flat_map(|sentence| &sentence.tags).collect();
    let tokenizer = Tokenizer::from_file(folder.join("minilm/tokenizer.json"))?.truncated(MOST_TOKENS)?;
    let tagger = Tagger { tokenizer, tags: tags.into_iter().cloned().collect() };

    let rng = &mut Rng::seeded(seed);
    let config = BertConfig::from_file(folder.join("minilm/config.json"))?;
    let mut base = BertForTokenClassification::open(&config, folder.join("minilm/model_f16.safetensors"), tagger.tags.len(), rng)?;
    let (mut model, rate) = match way.as_str() {
        "lora" => {
            let mut model = Adapted::new(base);
            model.add("names", Lora::rank(16).alpha(32.0).dropout(0.1).targets(Targets::AllLinear).saving(["classifier"]), rng)?;
            (Tuned::Adapted(model), 2e-3)
        }
        "all" => (Tuned::Plain(base), 2e-4),
        "head" => {
            freeze(&mut base, "*")?;
            unfreeze(&mut base, "classifier.*")?;
            (Tuned::Plain(base), 1e-2)
        }
        other => return Err(format!("--way {other}: expected lora, all or head").into()),
    };
    let trained = match &model {
        Tuned::Adapted(model) => count(model).trainable,
        Tuned::Plain(model) => count(model).trainable,
    };
    println!("{} sentences, {} tags, {trained} parameters trained", train.len(), tagger.tags.len());

    let steps = (epochs * train.len().div_ceil(BATCH)) as u64;
    let mut adam = AdamW::new(rate).clip_norm(1.0).schedule(Schedule::warm_up_linear(steps / 10, steps));
    for epoch in 1..=epochs {
        let (start, mut mean) = (Instant::now(), Mean::default());
        let order = rng.permutation(train.len());
        for chunk in order.chunks(BATCH) {
            let (tokens, _, classes) = tagger.batch(&chunk.iter().map(|&i| &train[i]).collect::<Vec<_>>())?;
            let tape = Tape::training(rng);
            let logits = model.logits(&tokens.on(&tape))?;
            let loss = logits.flatten(0, 1)?.cross_entropy(&classes.flatten(0, 1)?)?;
            mean.add(loss.item()?, chunk.len());
            let gradients = loss.backward()?;
            match &mut model {
                Tuned::Adapted(model) => adam.step(model, &gradients)?,
                Tuned::Plain(model) => adam.step(model, &gradients)?,
            };
        }
        let score = tagger.score(&model, &dev)?;
        println!("epoch {epoch}: loss {:.4}, development F1 {:.4}, {:.1} s", mean.value(), score.f1(), start.elapsed().as_secs_f64());
    }
    let score = tagger.score(&model, &test)?;
    let peak = peak_memory().map_or(f64::NAN, |bytes| bytes as f64 / 1048576.0);
    println!("test: precision {:.4}, recall {:.4}, F1 {:.4} ({} entities); peak {peak:.0} MiB", score.precision(), score.recall(), score.f1(), score.expected);
    Ok(())
}

/// Way, epochs, seed.
fn options() -> Result<(String, usize, u64), String> {
    let (mut way, mut epochs, mut seed) = ("lora".to_string(), 5, 0);
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{name}: expected a value after it"))?;
        let number = || value.parse::<usize>().map_err(|_| format!("{name} {value}: expected a whole number"));
        match name.as_str() {
            "--way" => way = value,
            "--epochs" => epochs = number()?,
            "--seed" => seed = number()? as u64,
            _ => return Err(format!("{name}: expected --way, --epochs or --seed")),
        }
    }
    Ok((way, epochs, seed))
}
