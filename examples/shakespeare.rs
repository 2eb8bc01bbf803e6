//! A character model of Shakespeare, an LSTM or a small transformer, that prints what it would write.
//!
//!     cargo run --release --example shakespeare -- [--model lstm|transformer] [--steps N] [--seed 0]
//!
//! Reads `text/tinyshakespeare.txt` of the folder that `CHAINRULE_DATA` names, else of `../shared/data`; it is the input.txt of char-rnn (github.com/karpathy/char-rnn).
//! The last tenth of the text is held out. Its cross-entropy, in nats per character, is that of every character given the text before it: all of it for the LSTM, at least half a window for the transformer.

use chainrule::nn::{
    Dropout, Embedding, Gelu, KeyValueCache, Layer, LayerNorm, Linear, Lstm, Masks, Module, RotaryPositions, TransformerEncoder, TransformerEncoderLayer, count,
};
use chainrule::optim::{AdamW, Schedule};
use chainrule::{Result, Rng, Tape, Tensor, TensorError};
use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

/// Characters as numbers.
struct Text {
    letters: Vec<char>,
    train: Vec<i64>,
    test: Vec<i64>,
}

impl Text {
    fn read() -> Result<Text, Box<dyn Error>> {
        let folder = std::env::var_os("CHAINRULE_DATA").map_or_else(|| PathBuf::from("../shared/data"), PathBuf::from);
        let file = folder.join("text/tinyshakespeare.txt");
        let text = std::fs::read_to_string(&file).map_err(|e| {
            format!("{}: {e}; put char-rnn's input.txt (github.com/karpathy/char-rnn) there, or name another folder by CHAINRULE_DATA", file.display())
        })?;
        let mut letters: Vec<char> = text.chars().collect();
        letters.sort_unstable();
        letters.dedup();
        let mut train: Vec<i64> = text.chars().filter_map(|c| letters.binary_search(&c).ok()).map(|i| i as i64).collect();
        let test = train.split_off(train.len() / 10 * 9);
        if test.len() < 2 * WINDOW || train.len() < 64 * WINDOW {
            return Err(format!("{}: {} characters are too few", file.display(), train.len() + test.len()).into());
        }
        Ok(Text { letters, train, test })
    }
}

/// Characters of a window.
const WINDOW: usize = 128;

/// What a model remembers of the text before.
enum Memory {
    State(Option<Box<[Tensor; 2]>>),
    Keys(Vec<KeyValueCache>),
}

/// `[B, T] -> [B, T, V]`: what comes next.
#[derive(Module, Clone)]
enum Model {
    Lstm(Box<Recurrent>),
    Transformer(Box<Attentive>),
}

#[derive(Module, Clone)]
struct Recurrent {
    embedding: Embedding,
    lstm: Lstm,
    dropout: Dropout,
    head: Linear,
}

#[derive(Module, Clone)]
struct Attentive {
    embedding: Embedding,
    dropout: Dropout,
    layers: TransformerEncoder,
    head: Linear,
}

impl Model {
    fn new(name: &str, letters: usize, rng: &mut Rng) -> Result<Model, Box<dyn Error>> {
        Ok(match name {
            "lstm" => Model::Lstm(Box::new(Recurrent {
                embedding: Embedding::new(letters, 64, rng)?,
                lstm: Lstm::new(64, 256, 2, rng)?.dropout(0.2),
                dropout: Dropout::new(0.2),
                head: Linear::new(256, letters, rng)?,
            })),
            "transformer" => {
                let (width, heads) = (160, 4);
                let positions = RotaryPositions::new(WINDOW, width / heads)?;
                let mut layer =
                    || Ok(TransformerEncoderLayer::new(width, heads, 4 * width, rng)?.activation(Gelu).norm_first().dropout(0.1).rotary(positions.clone()));
                let layers = TransformerEncoder::new(4, &mut layer)?.norm(LayerNorm::new(&[width])?);
                Model::Transformer(Box::new(Attentive {
                    embedding: Embedding::new(letters, width, rng)?,
                    dropout: Dropout::new(0.1),
                    layers,
                    head: Linear::new(width, letters, rng)?,
                }))
            }
            other => return Err(format!("--model {other}: expected lstm or transformer").into()),
        })
    }

    /// Goes on from what is remembered.
    fn next(&self, tokens: &Tensor, memory: &mut Memory) -> Result<Tensor, TensorError> {
        match (self, memory) {
            (Model::Lstm(model), Memory::State(state)) => {
                let (y, last) = model.lstm.sequence(&model.embedding.forward(tokens)?, state.as_deref(), None)?;
                // The next window starts from these numbers; no gradient goes back further.
                *state = Some(Box::new(last.map(|s| s.array().clone().into())));
                model.head.forward(&model.dropout.forward(&y)?)
            }
            (Model::Transformer(model), Memory::Keys(caches)) => model.head.forward(&model.layers.continued(&model.embedding.forward(tokens)?, caches)?),
            _ => Err(TensorError::value("next", "the memory is that of another model")),
        }
    }

    fn forward(&self, tokens: &Tensor, memory: &mut Memory) -> Result<Tensor, TensorError> {
        match self {
            Model::Lstm(_) => self.next(tokens, memory),
            Model::Transformer(model) => {
                let x = model.dropout.forward(&model.embedding.forward(tokens)?)?;
                model.head.forward(&model.layers.masked(&x, &Masks::causal())?)
            }
        }
    }

    fn memory(&self) -> Memory {
        match self {
            Model::Lstm(_) => Memory::State(None),
            Model::Transformer(model) => Memory::Keys(vec![KeyValueCache::new(); model.layers.layers.len()]),
        }
    }
}

/// Windows of `length` from these places on, and the characters that follow each.
fn windows(text: &[i64], starts: &[usize], length: usize) -> Result<(Tensor, Tensor)> {
    let part = |shift: usize| starts.iter().flat_map(|&s| text[s + shift..s + shift + length].iter().copied()).collect::<Vec<i64>>();
    Ok((Tensor::from_slice(&part(0), &[starts.len(), length])?, Tensor::from_slice(&part(1), &[starts.len(), length])?))
}

fn loss(logits: &Tensor, next: &Tensor) -> Result<Tensor> {
    Ok(logits.flatten(0, 1)?.cross_entropy(&next.flatten(0, 1)?)?)
}

/// Nats per character over all of the held-out text but its first character.
fn evaluate(model: &Model, text: &[i64]) -> Result<f64> {
    let (mut sum, mut characters) = (0.0, 0);
    let mut add = |logits: &Tensor, next: &Tensor| -> Result<()> {
        sum += loss(logits, next)?.item()? * next.count() as f64;
        characters += next.count();
        Ok(())
    };
    let predicted = text.len() - 1;
    if let Model::Lstm(_) = model {
        let mut memory = model.memory();
        for start in (0..predicted).step_by(1024) {
            let (tokens, next) = windows(text, &[start], 1024.min(predicted - start))?;
            add(&model.next(&tokens, &mut memory)?, &next)?;
        }
    } else {
        let half = WINDOW / 2;
        let (tokens, next) = windows(text, &[0], half)?;
        add(&model.forward(&tokens, &mut model.memory())?, &next)?;
        let starts: Vec<usize> = (0..=predicted - WINDOW).step_by(half).collect();
        for part in starts.chunks(32) {
            let (tokens, next) = windows(text, part, WINDOW)?;
            let logits = model.forward(&tokens, &mut model.memory())?;
            add(&logits.narrow(1, half, half)?, &next.narrow(1, half, half)?)?;
        }
        // What is left over is shorter than half a window.
        let done = starts.len() * half + half;
        if done < predicted {
            let (tokens, next) = windows(text, &[predicted - WINDOW], WINDOW)?;
            let (from, rest) = (WINDOW - (predicted - done), predicted - done);
            add(&model.forward(&tokens, &mut model.memory())?.narrow(1, from, rest)?, &next.narrow(1, from, rest)?)?;
        }
    }
    assert_eq!(characters, predicted);
    Ok(sum / predicted as f64)
}

/// Writes on, at temperature 0.8.
fn sample(model: &Model, text: &Text, characters: usize, rng: &mut Rng) -> Result<String> {
    let mut written = vec![text.letters.binary_search(&'\n').unwrap_or(0) as i64];
    let mut memory = model.memory();
    let mut fed = 0;
    for _ in 0..characters {
        // A transformer has seen no place beyond its window: it begins again, from the last half of one.
        if matches!(&memory, Memory::Keys(caches) if caches[0].len() + written.len() - fed > WINDOW) {
            memory = model.memory();
            fed = written.len() - WINDOW / 2;
        }
        let tokens = Tensor::from_slice(&written[fed..], &[1, written.len() - fed])?;
        fed = written.len();
        let logits = model.next(&tokens, &mut memory)?;
        let chances = logits.select(1, logits.dims()[1] - 1)?.mul_scalar(1.0 / 0.8)?.softmax(-1)?.to_vec::<f32>()?;
        let mut left = rng.uniform() as f32;
        let chosen = chances.iter().position(|chance| {
            left -= chance;
            left < 0.0
        });
        written.push(chosen.unwrap_or(chances.len() - 1) as i64);
    }
    Ok(written[1..].iter().map(|&i| text.letters[i as usize]).collect())
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let argument = |name: &str| arguments.iter().position(|a| a == name).and_then(|at| arguments.get(at + 1));
    let name = argument("--model").map_or("lstm", String::as_str);
    let seed = argument("--seed").map_or(Ok(0), |s| s.parse())?;
    let steps: usize = argument("--steps").map_or(Ok(if name == "lstm" { 2500 } else { 4000 }), |s| s.parse())?;
    let text = Text::read()?;
    let rng = &mut Rng::seeded(seed);
    let mut model = Model::new(name, text.letters.len(), rng)?;
    println!("{} characters to learn from, {} held out, {} letters, {} parameters", text.train.len(), text.test.len(), text.letters.len(), count(&model).all);
    let (batch, length) = if name == "lstm" { (32, WINDOW / 2) } else { (16, WINDOW) };
    let peak = if name == "lstm" { 4e-3 } else { 2e-3 };
    let mut adam = AdamW::new(peak).betas(0.9, 0.99).weight_decay(0.05).clip_norm(1.0).schedule(Schedule::warm_up_cosine(100, steps as u64));
    // The LSTM reads on where it stopped, at so many places side by side; the transformer reads windows from anywhere.
    let stretch = (text.train.len() - 1) / batch;
    let mut place = 0;
    let mut memory = model.memory();
    let clock = Instant::now();
    let (mut sum, mut recent) = (0.0, 0);
    for step in 1..=steps {
        let starts: Vec<usize> = if let Model::Lstm(_) = model {
            if place + length >= stretch {
                (place, memory) = (rng.below(length), model.memory());
            }
            place += length;
            (0..batch).map(|i| i * stretch + place - length).collect()
        } else {
            (0..batch).map(|_| rng.below(text.train.len() - length)).collect()
        };
        let (tokens, next) = windows(&text.train, &starts, length)?;
        let tape = Tape::training(rng);
        if let Memory::State(Some(state)) = &mut memory {
            state.iter_mut().for_each(|s| *s = tape.input(&*s));
        }
        let loss = loss(&model.forward(&tape.input(&tokens), &mut memory)?, &next)?;
        (sum, recent) = (sum + loss.item()?, recent + 1);
        adam.step(&mut model, &loss.backward()?)?;
        if step % 500 == 0 || step == steps {
            println!("step {step}: loss {:.4}, held out {:.4}, {:.0} s", sum / recent as f64, evaluate(&model, &text.test)?, clock.elapsed().as_secs_f64());
            (sum, recent) = (0.0, 0);
        }
    }
    let (seconds, held_out) = (clock.elapsed().as_secs_f64(), evaluate(&model, &text.test)?);
    println!("\n{}\n", sample(&model, &text, 400, rng)?);
    println!(r#"{{"model": "{name}", "held_out_nats": {held_out:.4}, "seconds": {seconds:.0}}}"#);
    Ok(())
}
