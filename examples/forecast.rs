//! Forecasts the oil temperature of an electricity transformer a day ahead (ETTh1; Zhou et al. 2021, Informer) with a one-dimensional CNN, beside the naive forecasts.
//!
//!     cargo run --release --example forecast -- [--epochs 6] [--seed 0]
//!
//! Reads `series/ETTh1.csv` of the folder that `CHAINRULE_DATA` names, else of `../shared/data`; the file is published as ETDataset (github.com/zhouhaoyi/ETDataset).
//! Hourly values, normalised by the training months; 12 months train, the next 4 choose, the last 4 are the test. Fourteen days of the temperature predict its next 24 hours.

use chainrule::nn::{Conv1d, Dropout, Flatten, Gelu, Layer, Linear, Sequential};
use chainrule::optim::{AdamW, Schedule};
use chainrule::{Result, Rng, Tape, Tensor};
use std::error::Error;
use std::path::PathBuf;

const SEEN: usize = 14 * 24;
const AHEAD: usize = 24;
const MONTH: usize = 30 * 24;

/// Temperatures by the hour, normalised.
struct Hours(Vec<f32>);

impl Hours {
    fn read() -> Result<Hours, Box<dyn Error>> {
        let folder = std::env::var_os("CHAINRULE_DATA").map_or_else(|| PathBuf::from("../shared/data"), PathBuf::from);
        let file = folder.join("series/ETTh1.csv");
        let mut reader = csv::Reader::from_path(&file)
            .map_err(|e| format!("{}: {e}; put ETTh1.csv (github.com/zhouhaoyi/ETDataset) there, or name another folder by CHAINRULE_DATA", file.display()))?;
        let column = reader.headers()?.iter().position(|name| name == "OT").ok_or("no column OT")?;
        let hours = reader.records().map(|record| Ok(record?[column].parse()?)).collect::<Result<Vec<f64>, Box<dyn Error>>>()?;
        if hours.len() < 20 * MONTH {
            return Err(format!("{}: {} hours, expected 20 months of them", file.display(), hours.len()).into());
        }
        let known = &hours[..12 * MONTH];
        let mean = known.iter().sum::<f64>() / known.len() as f64;
        let deviation = (known.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / known.len() as f64).sqrt();
        Ok(Hours(hours.iter().map(|x| ((x - mean) / deviation) as f32).collect()))
    }

    /// What is seen, `[N, 1, 336]`, and what follows, `[N, 24]`, both relative to the last value seen.
    fn windows(&self, starts: &[usize]) -> Result<(Tensor, Tensor)> {
        let part = |from: usize, to: usize| -> Vec<f32> {
            let relative = |&start: &usize| self.0[start + from..start + to].iter().map(move |hour| hour - self.0[start + SEEN - 1]);
            starts.iter().flat_map(relative).collect()
        };
        let (seen, ahead) = (part(0, SEEN), part(SEEN, SEEN + AHEAD));
        Ok((Tensor::from_slice(&seen, &[starts.len(), 1, SEEN])?, Tensor::from_slice(&ahead, &[starts.len(), AHEAD])?))
    }
}

/// `[N, 1, 336] -> [N, 24]`: a day at a time every six hours, then half a day around each.
fn network(rng: &mut Rng) -> Result<Sequential> {
    Ok(Sequential::new()
        .add(Conv1d::new(1, 16, 24, rng)?.stride(6))
        .add(Gelu)
        .add(Conv1d::new(16, 16, 5, rng)?.stride(2))
        .add(Gelu)
        .add(Flatten::new())
        .add(Dropout::new(0.3))
        .add(Linear::new(16 * 25, AHEAD, rng)?))
}

/// Mean squared and mean absolute error over all windows that begin in `range`.
fn errors(hours: &Hours, range: std::ops::Range<usize>, forecast: impl Fn(&[usize], &Tensor) -> Result<Tensor>) -> Result<[f64; 2]> {
    let starts: Vec<usize> = range.collect();
    let mut sums = [0.0; 2];
    for part in starts.chunks(256) {
        let (seen, ahead) = hours.windows(part)?;
        let miss = forecast(part, &seen)?.sub(&ahead)?;
        sums[0] += miss.square()?.sum()?.item()?;
        sums[1] += miss.abs()?.sum()?.item()?;
    }
    Ok(sums.map(|sum| sum / (starts.len() * AHEAD) as f64))
}

fn main() -> Result<(), Box<dyn Error>> {
    let argument = |name: &str, default: usize| -> Result<usize, Box<dyn Error>> {
        let all: Vec<String> = std::env::args().collect();
        match all.iter().position(|a| a == name) {
            Some(at) => Ok(all.get(at + 1).ok_or(format!("{name} needs a number"))?.parse()?),
            None => Ok(default),
        }
    };
    let (epochs, seed) = (argument("--epochs", 6)?, argument("--seed", 0)?);
    let hours = Hours::read()?;
    let rng = &mut Rng::seeded(seed as u64);
    let mut model = network(rng)?;
    let train = 12 * MONTH - SEEN - AHEAD + 1;
    let (choice, test) = (12 * MONTH - SEEN..16 * MONTH - SEEN - AHEAD, 16 * MONTH - SEEN..20 * MONTH - SEEN - AHEAD);
    let steps = epochs * train.div_ceil(64);
    let mut adam = AdamW::new(5e-4).weight_decay(0.05).schedule(Schedule::cosine(steps as u64));
    let mut best: Option<(f64, Sequential)> = None;
    for epoch in 1..=epochs {
        let order = rng.permutation(train);
        let mut sum = 0.0;
        for starts in order.chunks(64) {
            let (seen, ahead) = hours.windows(starts)?;
            let tape = Tape::training(rng);
            let loss = model.run(&tape.input(&seen))?.mse(&ahead)?;
            sum += loss.item()? * starts.len() as f64;
            adam.step(&mut model, &loss.backward()?)?;
        }
        let [squared, _] = errors(&hours, choice.clone(), |_, seen| Ok(model.run(seen)?))?;
        println!("epoch {epoch}: training error {:.4}, on the months for choosing {squared:.4}", sum / train as f64);
        if best.as_ref().is_none_or(|(least, _)| squared < *least) {
            best = Some((squared, model.clone()));
        }
    }
    let model = best.map_or(model, |(_, model)| model);
    let cnn = errors(&hours, test.clone(), |_, seen| Ok(model.run(seen)?))?;
    let last = errors(&hours, test.clone(), |starts, _| Ok(Tensor::zeros(&[starts.len(), AHEAD], chainrule::DType::F32)?))?;
    let yesterday = errors(&hours, test, |_, seen| Ok(seen.select(1, 0)?.narrow(1, SEEN - AHEAD, AHEAD)?))?;
    for (name, [squared, absolute]) in [("the last value again", last), ("the same hour yesterday", yesterday), ("CNN", cnn)] {
        println!("{name:>24}: mean squared error {squared:.4}, mean absolute error {absolute:.4}");
    }
    println!(r#"{{"cnn_mse": {:.4}, "naive_mse": {:.4}, "ratio": {:.3}}}"#, cnn[0], last[0].min(yesterday[0]), cnn[0] / last[0].min(yesterday[0]));
    Ok(())
}
