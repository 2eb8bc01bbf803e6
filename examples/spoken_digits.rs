//! A bidirectional LSTM tells spoken digits apart, from log-mel frames that are computed here.
//!
//!     cargo run --release --example spoken_digits -- [--epochs 10] [--seed 0]
//!
//! Reads `audio/fsdd_theo_nicolas_600.tar.gz` (of the Free Spoken Digit Dataset, github.com/Jakobovski/free-spoken-digit-dataset, two of its speakers) of the folder that `CHAINRULE_DATA` names, else of `../shared/data`.
//! As that data set says, recordings 0 to 4 of each digit and speaker are the test: 100 of 600.

use chainrule::nn::{Dropout, Layer, Linear, Lstm, Module, locate};
use chainrule::optim::{Adam, Schedule};
use chainrule::{DType, Result, Rng, Tape, Tensor, TensorError};
use std::error::Error;
use std::io::Read;
use std::path::PathBuf;

/// 25 ms of 8 kHz, every 10 ms.
const FRAME: usize = 200;
const HOP: usize = 80;
const FREQUENCIES: usize = 129;
const MELS: usize = 40;

/// A recording, as frames by mel bands.
struct Recording {
    digit: i64,
    number: usize,
    frames: Tensor,
}

/// Power at `FREQUENCIES` frequencies from 0 to 4 kHz, gathered in `MELS` bands that are equally wide by ear, as logarithms. The transform is two matrix products.
struct LogMel {
    cosine: Tensor,
    sine: Tensor,
    bands: Tensor,
}

impl LogMel {
    fn new() -> Result<LogMel> {
        let wave = |f: fn(f64) -> f64| -> Result<Tensor> {
            let matrix: Vec<f32> = (0..FRAME * FREQUENCIES)
                .map(|i| {
                    let (t, k) = ((i / FREQUENCIES) as f64, (i % FREQUENCIES) as f64);
                    let window = 0.5 - 0.5 * (std::f64::consts::TAU * t / FRAME as f64).cos();
                    (window * f(std::f64::consts::TAU * t * k / 256.0)) as f32
                })
                .collect();
            Ok(Tensor::from_slice(&matrix, &[FRAME, FREQUENCIES])?)
        };
        let mel = |hertz: f64| 2595.0 * (1.0 + hertz / 700.0).log10();
        let hertz = |mel: f64| 700.0 * (10f64.powf(mel / 2595.0) - 1.0);
        let edge = |i: usize| hertz(mel(4000.0) * i as f64 / (MELS + 1) as f64);
        let mut bands = vec![0f32; FREQUENCIES * MELS];
        for (k, row) in bands.chunks_mut(MELS).enumerate() {
            let frequency = k as f64 * 4000.0 / (FREQUENCIES - 1) as f64;
            for (m, weight) in row.iter_mut().enumerate() {
                let (low, middle, high) = (edge(m), edge(m + 1), edge(m + 2));
                *weight = ((frequency - low) / (middle - low)).min((high - frequency) / (high - middle)).max(0.0) as f32;
            }
        }
        Ok(LogMel { cosine: wave(f64::cos)?, sine: wave(f64::sin)?, bands: Tensor::from_slice(&bands, &[FREQUENCIES, MELS])? })
    }

    /// Samples in -1 to 1 -> `[T, MELS]`, of mean 0 and deviation 1.
    fn frames(&self, samples: &[f32]) -> Result<Tensor> {
        let mut samples = samples.to_vec();
        samples.resize(samples.len().max(FRAME), 0.0);
        let count = (samples.len() - FRAME) / HOP + 1;
        let frames: Vec<f32> = (0..count).flat_map(|i| samples[i * HOP..][..FRAME].iter().copied()).collect();
        let frames = Tensor::from_slice(&frames, &[count, FRAME])?;
        let power = frames.matmul(&self.cosine)?.square()?.add(&frames.matmul(&self.sine)?.square()?)?;
        let mels = power.matmul(&self.bands)?.add_scalar(1e-6)?.ln()?;
        let (mean, deviation) = (mels.mean()?.item()?, mels.var(&[0, 1], 1, false)?.item()?.sqrt());
        Ok(mels.affine(1.0 / deviation, -mean / deviation)?)
    }
}

fn recordings() -> Result<Vec<Recording>, Box<dyn Error>> {
    let folder = std::env::var_os("CHAINRULE_DATA").map_or_else(|| PathBuf::from("../shared/data"), PathBuf::from);
    let file = folder.join("audio/fsdd_theo_nicolas_600.tar.gz");
    let archive = std::fs::File::open(&file).map_err(|e| {
        format!("{}: {e}; pack the recordings of theo and nicolas from github.com/Jakobovski/free-spoken-digit-dataset into it, or name another folder by CHAINRULE_DATA", file.display())
    })?;
    let log_mel = LogMel::new()?;
    let mut all = vec![];
    for entry in tar::Archive::new(flate2::read::GzDecoder::new(archive)).entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        let stem = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        let [digit, _, number] = stem.split('_').collect::<Vec<_>>()[..] else { continue };
        let (digit, number) = (digit.parse()?, number.parse()?);
        let mut bytes = vec![];
        entry.read_to_end(&mut bytes)?;
        let samples = hound::WavReader::new(&bytes[..])?.into_samples::<i16>().map(|s| Ok(s? as f32 / 32768.0)).collect::<Result<Vec<_>, hound::Error>>()?;
        all.push(Recording { digit, number, frames: log_mel.frames(&samples)? });
    }
    // Archives have no order.
    all.sort_by_key(|r| (r.digit, r.number, r.frames.dims()[0]));
    Ok(all)
}

/// `[B, T, MELS] -> [B, 10]`: the mean over each recording's own frames of what the LSTM gives.
#[derive(Module, Clone)]
struct Listener {
    lstm: Lstm,
    dropout: Dropout,
    head: Linear,
}

impl Listener {
    fn new(rng: &mut Rng) -> Result<Listener> {
        Ok(Listener { lstm: Lstm::bidirectional(MELS, 64, 2, rng)?.dropout(0.3), dropout: Dropout::new(0.3), head: Linear::new(128, 10, rng)? })
    }

    fn forward(&self, x: &Tensor, lengths: &[usize]) -> Result<Tensor, TensorError> {
        let (y, _) = self.lstm.sequence(x, None, Some(lengths))?;
        // Places behind the end hold zeros.
        let counts: Vec<f32> = lengths.iter().map(|&n| n as f32).collect();
        let mean = y.sum_over(&[1], false)?.div(&Tensor::from_slice(&counts, &[counts.len(), 1])?)?;
        self.head.forward(&self.dropout.forward(&mean)?)
    }
}

/// `[B, T, MELS]` with zeros behind shorter ones, the lengths, the digits.
fn batch(recordings: &[&Recording]) -> Result<(Tensor, Vec<usize>, Tensor)> {
    let lengths: Vec<usize> = recordings.iter().map(|r| r.frames.dims()[0]).collect();
    let longest = lengths.iter().copied().max().unwrap_or(0) as isize;
    let padded = recordings.iter().map(|r| Ok(r.frames.pad(&[(0, longest - r.frames.dims()[0] as isize), (0, 0)], 0.0)?)).collect::<Result<Vec<_>>>()?;
    let digits: Vec<i64> = recordings.iter().map(|r| r.digit).collect();
    Ok((Tensor::stack(&padded.iter().collect::<Vec<_>>(), 0)?, lengths, Tensor::from_slice(&digits, &[digits.len()])?))
}

fn main() -> Result<(), Box<dyn Error>> {
    let argument = |name: &str, default: usize| -> Result<usize, Box<dyn Error>> {
        let all: Vec<String> = std::env::args().collect();
        match all.iter().position(|a| a == name) {
            Some(at) => Ok(all.get(at + 1).ok_or(format!("{name} needs a number"))?.parse()?),
            None => Ok(default),
        }
    };
    let (epochs, seed) = (argument("--epochs", 10)?, argument("--seed", 0)?);
    let all = recordings()?;
    let (test, train): (Vec<&Recording>, Vec<&Recording>) = all.iter().partition(|r| r.number < 5);
    println!("{} recordings to learn from, {} held out", train.len(), test.len());
    let rng = &mut Rng::seeded(seed as u64);
    let mut model = Listener::new(rng)?;
    let steps = epochs * train.len().div_ceil(25);
    let mut adam = Adam::new(3e-3).clip_norm(1.0).schedule(Schedule::cosine(steps as u64));
    let mut accuracy = 0.0;
    for epoch in 1..=epochs {
        let order = rng.permutation(train.len());
        let mut sum = 0.0;
        for part in order.chunks(25) {
            let (x, lengths, digits) = batch(&part.iter().map(|&i| train[i]).collect::<Vec<_>>())?;
            let tape = Tape::training(rng);
            let logits = model.forward(&tape.input(&x), &lengths).map_err(|e| locate(&model, e))?;
            let loss = logits.cross_entropy(&digits)?;
            sum += loss.item()? * part.len() as f64;
            adam.step(&mut model, &loss.backward()?)?;
        }
        let (x, lengths, digits) = batch(&test)?;
        let answers = model.forward(&x, &lengths)?.argmax(-1, false)?;
        accuracy = answers.equal(&digits)?.cast(DType::F32)?.mean()?.item()?;
        println!("epoch {epoch}: loss {:.4}, held-out accuracy {accuracy:.3}", sum / train.len() as f64);
    }
    println!(r#"{{"held_out": {}, "test_accuracy": {accuracy:.4}}}"#, test.len());
    Ok(())
}
