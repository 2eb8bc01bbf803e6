//! Runs the named workloads and prints the median milliseconds of each, or what a step asks of the machine.
//!
//!     cargo run --release -p chainrule-bench -- [--only PREFIX,PREFIX] [--budget SECONDS] [--threads N] [--json] [--counters] [--scaling]
//!                                                   [--device cuda [--batch N]]
//!
//! With `--json` one object: `{"framework": …, "threads": …, "median_ms": {name: milliseconds}, "unsupported": []}`.
//! With `--counters` a line each: heap allocations and their bytes, array blocks asked of the system, jobs handed out and threads woken, all per step in steady state, and the peak memory of the process so far.
//! With `--device` the training steps there, as they are written and captured; `cuda` needs the feature of that name. `--batch` sets another batch than that of the names.
//! With `--scaling` times over batch, width, length and threads, with fitted exponents.
#![forbid(unsafe_code)]

mod arguments;

use arguments::Arguments;
use chainrule::{Device, Result, Rng};
use chainrule_bench::counters::{Counts, count};
use chainrule_bench::gpu::{self, Plan};
use chainrule_bench::{measure, scaling, workloads};
use std::process::ExitCode;

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
    if arguments.scaling {
        return scaling::print(arguments.budget);
    }
    if arguments.counters {
        return print_counters(arguments);
    }
    if let Some(device) = &arguments.device {
        return print_times(&device.parse()?, arguments);
    }
    let mut medians = vec![];
    for workload in workloads().filter(|workload| arguments.wants(workload.name)) {
        let median = measure::median_ms(&mut (workload.make)(&mut Rng::seeded(0))?, arguments.budget)?;
        medians.push((workload.name, median));
        if !arguments.json {
            println!("{:42} {median:10.3} ms", workload.name);
        }
    }
    if arguments.json {
        println!("{}", json(&medians));
    }
    Ok(())
}

fn print_times(device: &Device, arguments: &Arguments) -> Result<()> {
    let plan = Plan { device, batch: arguments.batch, budget: arguments.budget };
    if !arguments.json {
        println!("{:42} {:>13} {:>13}", format!("ms a step on {device}"), "as written", "captured");
    }
    let times = gpu::measure(
        &plan,
        |name| arguments.wants(name),
        |times| {
            if !arguments.json {
                println!("{:42} {:13.3} {:13.3}", times.name, times.written, times.captured);
            }
        },
    )?;
    if arguments.json {
        let medians: Vec<(&str, f64)> = times.iter().map(|times| (times.name.as_str(), times.written)).collect();
        println!("{}", json(&medians));
    }
    Ok(())
}

fn print_counters(arguments: &Arguments) -> Result<()> {
    println!("{:42} {:>10} {:>10} {:>8} {:>10} {:>8} {:>9}", "per step", "heap", "heap B", "blocks", "handed out", "woken", "peak MiB");
    for workload in workloads().filter(|workload| arguments.wants(workload.name)) {
        let Counts { heap, heap_bytes, blocks, handed_out, woken } = count(&mut (workload.make)(&mut Rng::seeded(0))?)?;
        let peak = chainrule::train::peak_memory().map_or("-".into(), |bytes| format!("{:.1}", bytes as f64 / (1 << 20) as f64));
        println!("{:42} {heap:10.1} {heap_bytes:10.0} {blocks:8.1} {handed_out:10.1} {woken:8.1} {peak:>9}", workload.name);
    }
    Ok(())
}

fn json(medians: &[(&str, f64)]) -> String {
    let medians: Vec<String> = medians.iter().map(|(name, median)| format!(r#""{name}": {median:.6}"#)).collect();
    format!(
        r#"{{"framework": "chainrule {}", "threads": {}, "median_ms": {{{}}}, "unsupported": []}}"#,
        env!("CARGO_PKG_VERSION"),
        chainrule::threads(),
        medians.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_one_object() {
        let version = env!("CARGO_PKG_VERSION");
        let expected = format!(
            r#"{{"framework": "chainrule {version}", "threads": {}, "median_ms": {{"a": 1.500000, "b": 0.000200}}, "unsupported": []}}"#,
            chainrule::threads()
        );
        assert_eq!(json(&[("a", 1.5), ("b", 0.0002)]), expected);
    }
}
