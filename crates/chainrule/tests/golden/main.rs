//! Replays what PyTorch computes, forward and backward, in float64 and float32: see `cases/README.md`.
//!
//! With `CHAINRULE_DEVICE=cuda` the float32 cases are replayed on the GPU. An operation that has no kernel there must be named in `WITHOUT_KERNEL`.

mod arrays;
mod attention;
mod case;
mod norms;
mod operations;
mod recurrent;
mod trajectories;
mod windows;

#[cfg(all(feature = "finetune", feature = "models"))]
#[path = "../peft/replay.rs"]
mod adapters;

use case::{Case, error};
use chainrule::{DType, Device, Rng, Tape, Tensor};
use std::path::{Path, PathBuf};

/// The families with forward and backward, and how near is right in float32.
const FAMILIES: &[(&str, f64)] = &[
    ("elementwise", 2e-5),
    ("reductions", 2e-5),
    ("shapes", 2e-5),
    ("convolution", 2e-5),
    ("normalization", 2e-5),
    ("losses", 1e-4),
    ("recurrent", 1e-4),
    ("attention", 1e-4),
    ("arrays", 2e-5),
    ("norms", 2e-5),
    ("criteria", 1e-4),
    ("windows", 2e-5),
];

/// Operations of cases that have no kernel on a GPU yet.
const WITHOUT_KERNEL: &[&str] = &[
    "argsort",
    "bincount",
    "bincount_weighted",
    "bucketize",
    "conv3d",
    "conv_transpose3d",
    "ctc",
    "cummax",
    "cummin",
    "cumprod",
    "cumsum",
    "decoder_layer",
    "encoder_layer",
    "fold",
    "gru",
    "histc",
    "interpolate",
    "kthvalue",
    "logcumsumexp",
    "lstm",
    "lstm_variable_length",
    "masked_scatter",
    "masked_select",
    "median",
    "multihead_attention",
    "nonzero",
    "prod",
    "quantile",
    "rnn",
    "rope_half",
    "sdpa",
    "sdpa_masked",
    "searchsorted",
    "sort",
    "topk",
    "unfold",
    "unique",
    "unique_consecutive",
    "upsample_bilinear",
    "upsample_nearest",
];

/// What the errors of operations without a kernel say.
const NO_KERNEL: &str = "there is no kernel for cuda";

/// Where the cases are replayed.
fn device() -> Device {
    std::env::var("CHAINRULE_DEVICE").map_or(Device::Cpu, |name| name.parse().unwrap_or_else(|e| panic!("CHAINRULE_DEVICE={name}: {e}")))
}

#[derive(Default)]
struct Tally {
    without_kernel: std::collections::BTreeMap<String, usize>,
    passed: usize,
    failed: Vec<String>,
    unsupported: Vec<String>,
}

impl Tally {
    fn add(&mut self, label: String, op: &str, outcome: Outcome) {
        match outcome {
            Outcome::Passed => self.passed += 1,
            Outcome::Failed(why) if device().is_cuda() && why.contains(NO_KERNEL) => *self.without_kernel.entry(op.to_string()).or_default() += 1,
            Outcome::Failed(why) => {
                println!("failed: {label}: {why}");
                self.failed.push(label);
            }
            Outcome::Unsupported => {
                println!("unsupported: {label}");
                self.unsupported.push(op.to_string());
            }
        }
    }
}

enum Outcome {
    Passed,
    Failed(String),
    Unsupported,
}

/// Runs the case in one element type, compares outputs and all input gradients.
fn replay(case: &Case, dtype: DType, tolerance: f64) -> Outcome {
    match compare(case, dtype, tolerance) {
        Ok(true) => Outcome::Passed,
        Ok(false) => Outcome::Unsupported,
        Err(why) => Outcome::Failed(why),
    }
}

fn compare(case: &Case, dtype: DType, tolerance: f64) -> Result<bool, String> {
    let text = |e: chainrule::Error| e.to_string();
    let tape = Tape::training(&mut Rng::seeded(0));
    let mut inputs = vec![];
    for array in case.numbered("in").into_values() {
        let float = array.dtype().is_float();
        let array = if float { array.cast(dtype).map_err(|e| e.to_string())? } else { array.clone() };
        let array = array.to(&device()).map_err(|e| e.to_string())?;
        inputs.push(if float { tape.watch(array) } else { Tensor::from(array) });
    }
    let Some(outputs) = operations::run(case, &inputs).or_else(|| attention::run(case, &inputs, &tape)) else { return Ok(false) };
    let outputs = outputs.map_err(text)?;
    let golden = case.numbered("out");
    if golden.len() != outputs.len() {
        return Err(format!("{} outputs, expected {}", outputs.len(), golden.len()));
    }
    let mut loss: Option<Tensor> = None;
    for (k, golden) in golden {
        let distance = error(outputs[k].array(), golden);
        if distance > tolerance {
            return Err(format!("output {k} is off by {distance:.2e} ({:?} against {:?})", outputs[k].shape(), golden.shape()));
        }
        if let Some(upstream) = case.tensors.get(&format!("grad_out.{k}")) {
            let upstream = Tensor::from(upstream.cast(dtype).and_then(|u| u.to(&device())).map_err(|e| e.to_string())?);
            let term = outputs[k].mul(&upstream).and_then(|t| t.sum()).map_err(|e| e.to_string())?;
            loss = Some(match loss {
                Some(sum) => sum.add(&term).map_err(|e| e.to_string())?,
                None => term,
            });
        }
    }
    let expected = case.numbered("grad");
    if expected.is_empty() {
        return Ok(true);
    }
    let gradients = loss.ok_or("no differentiable output")?.backward().map_err(|e| e.to_string())?;
    for (k, golden) in expected {
        let distance = match gradients.wrt(&inputs[k]) {
            Some(gradient) => error(gradient, golden),
            // An input that no output depends on.
            None => error(&chainrule::Array::zeros(golden.dims(), DType::F64).map_err(|e| e.to_string())?, golden),
        };
        if distance > tolerance {
            return Err(format!("gradient {k} is off by {distance:.2e}"));
        }
    }
    Ok(true)
}

/// A folder of adapters, where there is one.
#[cfg(all(feature = "finetune", feature = "models"))]
fn replay_adapters(folder: &Path, is_own: bool, tally: &mut Tally) {
    if !folder.exists() {
        assert!(!is_own, "{} is missing", folder.display());
        return println!("absent: peft");
    }
    let before = (tally.passed, tally.failed.len());
    match adapters::folder(folder, None) {
        Err(why) => tally.add("peft".to_string(), "peft", Outcome::Failed(why)),
        Ok(lines) => lines.into_iter().for_each(|line| {
            let outcome = match line.outcome {
                Ok(off) if off <= adapters::TOLERANCE => Outcome::Passed,
                Ok(off) => Outcome::Failed(format!("logits are off by {off:.2e}")),
                Err(why) => Outcome::Failed(why),
            };
            tally.add(format!("peft/{}", line.name), "peft", outcome);
        }),
    }
    println!("peft: {} passed, {} failed, 0 unsupported", tally.passed - before.0, tally.failed.len() - before.1);
}

#[cfg(not(all(feature = "finetune", feature = "models")))]
fn replay_adapters(_: &Path, _: bool, tally: &mut Tally) {
    tally.add("peft".to_string(), "peft", Outcome::Unsupported);
}

#[test]
fn golden() {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/cases");
    let folder = std::env::var_os("CHAINRULE_GOLDEN").map(PathBuf::from);
    let is_own = folder.is_none();
    let folder = folder.unwrap_or(own);
    let mut tally = Tally::default();
    for (family, tolerance) in FAMILIES {
        let path = folder.join(format!("{family}.safetensors"));
        if !path.exists() {
            assert!(!is_own, "{} is missing", path.display());
            println!("absent: {family}");
            continue;
        }
        let before = (tally.passed, tally.failed.len(), tally.unsupported.len());
        for case in Case::read(&path) {
            for (dtype, tolerance) in [(DType::F64, 1e-9), (DType::F32, *tolerance)] {
                if dtype == DType::F64 && device().is_cuda() {
                    continue;
                }
                tally.add(format!("{family}/{} {dtype}", case.name), &case.op, replay(&case, dtype, tolerance));
            }
        }
        println!("{family}: {} passed, {} failed, {} unsupported", tally.passed - before.0, tally.failed.len() - before.1, tally.unsupported.len() - before.2);
    }
    if device() == Device::Cpu {
        trajectories::replay(&folder, is_own, &mut tally);
        replay_adapters(&folder.join("peft"), is_own, &mut tally);
    }
    if device().is_cuda() {
        println!("without a kernel: {} cases of {:?}", tally.without_kernel.values().sum::<usize>(), tally.without_kernel);
        if is_own {
            assert_eq!(tally.without_kernel.keys().collect::<Vec<_>>(), WITHOUT_KERNEL, "operations without a kernel, and those that are known to have none");
        }
    }
    println!("golden: {} passed, {} failed, {} unsupported", tally.passed, tally.failed.len(), tally.unsupported.len());
    assert!(tally.passed + tally.failed.len() + tally.unsupported.len() > 0, "nothing to replay in {}", folder.display());
    assert!(tally.failed.is_empty(), "failed: {:?}", tally.failed);
    if is_own {
        assert!(tally.unsupported.is_empty(), "unsupported: {:?}", tally.unsupported);
    }
}
