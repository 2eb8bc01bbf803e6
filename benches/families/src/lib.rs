//! The named workloads under criterion, a family each: `cargo bench --manifest-path benches/families/Cargo.toml --bench products`.

use chainrule::{Result, Rng};
use chainrule_bench::workloads;
use criterion::Criterion;
use std::hint::black_box;

/// Measures the workloads whose names begin so, with the arguments of the command line.
///
/// # Errors
/// Those of the workloads.
pub fn run(prefixes: &[&str]) -> Result<()> {
    let mut criterion = Criterion::default().sample_size(20).configure_from_args();
    for workload in workloads().filter(|workload| prefixes.iter().any(|prefix| workload.name.starts_with(prefix))) {
        let mut step = (workload.make)(&mut Rng::seeded(0))?;
        let mut outcome = Ok(());
        let show = &mut |result: &_| {
            black_box(result);
        };
        criterion.bench_function(workload.name, |bencher| {
            bencher.iter(|| {
                if let Err(error) = step(show) {
                    outcome = Err(error);
                }
            })
        });
        outcome?;
    }
    criterion.final_summary();
    Ok(())
}
