//! The named workloads: one call of a kernel, one training step, one inference, each timed as a whole.
//!
//!     cargo run --release -p chainrule-bench -- [--only PREFIX,PREFIX] [--budget SECONDS] [--threads N] [--json]
//!
//! Prints the median milliseconds of each workload, or with `--json` one object:
//! `{"framework": …, "threads": …, "median_ms": {name: milliseconds}, "unsupported": [name]}`.
#![forbid(unsafe_code)]

mod arguments;
mod dcgan;
mod encoder;
mod inference;
mod kernels;
mod measure;
mod models;
mod recurrent;
mod resnet;
mod training;
mod vgg;
mod workload;

use arguments::Arguments;
use chainrule::{Result, Rng};
use std::process::ExitCode;
use workload::Workload;

/// All workloads, in their order.
fn workloads() -> impl Iterator<Item = &'static Workload> {
    [kernels::WORKLOADS, training::WORKLOADS, dcgan::WORKLOADS, inference::WORKLOADS].into_iter().flatten()
}

fn main() -> ExitCode {
    let arguments = match Arguments::parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::FAILURE;
        }
    };
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    if let Some(threads) = arguments.threads {
        chainrule::set_threads(threads);
    }
    let (mut medians, mut unsupported) = (vec![], vec![]);
    for workload in workloads().filter(|workload| arguments.wants(workload.name)) {
        let Some(make) = workload.make else {
            unsupported.push(workload.name);
            if !arguments.json {
                println!("{:42} unsupported", workload.name);
            }
            continue;
        };
        let mut step = make(&mut Rng::seeded(0))?;
        let median = measure::median_ms(&mut *step, arguments.budget)?;
        medians.push((workload.name, median));
        if !arguments.json {
            println!("{:42} {median:10.3} ms", workload.name);
        }
    }
    if arguments.json {
        println!("{}", json(&medians, &unsupported));
    }
    Ok(())
}

fn json(medians: &[(&str, f64)], unsupported: &[&str]) -> String {
    let medians: Vec<String> = medians.iter().map(|(name, median)| format!(r#""{name}": {median:.6}"#)).collect();
    let unsupported: Vec<String> = unsupported.iter().map(|name| format!(r#""{name}""#)).collect();
    format!(
        r#"{{"framework": "chainrule {}", "threads": {}, "median_ms": {{{}}}, "unsupported": [{}]}}"#,
        env!("CARGO_PKG_VERSION"),
        chainrule::threads(),
        medians.join(", "),
        unsupported.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names of all workloads, and whether the library has their operations.
    const NAMES: &[(&str, bool)] = &[
        ("gemm_64", true),
        ("gemm_256", true),
        ("gemm_1024", true),
        ("linear_fwd_bwd_512x1024x1024", true),
        ("conv3x3_fwd_bwd_32x64x32x32", true),
        ("conv5x5_fwd_bwd_64x6x14x14", true),
        ("depthwise3x3_fwd_bwd_16x128x28x28", true),
        ("conv1x1_fwd_bwd_16x256x14x14", true),
        ("maxpool2_fwd_bwd_64x32x28x28", true),
        ("batchnorm_fwd_bwd_32x64x32x32", true),
        ("layernorm_fwd_bwd_4096x512", true),
        ("softmax_fwd_bwd_4096x512", true),
        ("gelu_fwd_bwd_4M", true),
        ("add_bcast_4096x1024", true),
        ("sum_axis0_4096x1024", true),
        ("transpose_copy_2048", true),
        ("embedding_fwd_bwd_8192x256_2048", true),
        ("attention_fwd_bwd_8x8x256x64", true),
        ("attention_causal_fwd_1x8x2048x64", true),
        ("adam_step_10M", true),
        ("mlp_train_b64", true),
        ("lenet_train_b64", true),
        ("mnist_cnn_train_b64", true),
        ("resnet18_cifar_train_b16", true),
        ("vgg16_frozen_train_b4_64px", true),
        ("lstm_lm_train_b32_t64", true),
        ("gru_lm_train_b32_t64", true),
        ("bilstm_cls_train_b32_t100", true),
        ("encoder_train_b16_t128", true),
        ("encoder_lora_train_b16_t128", false),
        ("dcgan_train_b64", true),
        ("mlp_infer_b1", true),
        ("lenet_infer_b1", true),
        ("resnet18_cifar_infer_b1", true),
        ("encoder_infer_b1_t128", true),
        ("lstm_infer_b1_t64", true),
    ];

    #[test]
    fn every_name_is_supported_or_listed_as_unsupported() {
        let known: Vec<_> = workloads().map(|workload| (workload.name, workload.make.is_some())).collect();
        assert_eq!(known, NAMES);
    }

    #[test]
    fn json_is_one_object() {
        let version = env!("CARGO_PKG_VERSION");
        let expected = format!(
            r#"{{"framework": "chainrule {version}", "threads": {}, "median_ms": {{"a": 1.500000, "b": 0.000200}}, "unsupported": ["c"]}}"#,
            chainrule::threads()
        );
        assert_eq!(json(&[("a", 1.5), ("b", 0.0002)], &["c"]), expected);
    }
}
