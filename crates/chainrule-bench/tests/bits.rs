//! Results do not depend on the number of threads.

use chainrule::{Array, Result, Rng};
use chainrule_bench::workload::Make;
use chainrule_bench::workloads;

/// What three steps show, as one number.
fn fingerprint(make: Make, threads: usize) -> Result<u64> {
    chainrule::set_threads(threads);
    let mut step = make(&mut Rng::seeded(7))?;
    let (mut hash, mut shown) = (0u64, 0);
    for _ in 0..3 {
        step(&mut |result: &Array| {
            let numbers = result.to_vec::<f32>().unwrap();
            assert!(numbers.iter().all(|x| x.is_finite()));
            // FNV-1a, by words.
            hash = numbers.iter().fold(hash, |hash, x| (hash ^ u64::from(x.to_bits())).wrapping_mul(0x0100_0000_01b3));
            shown += 1;
        })?;
    }
    assert!(shown >= 3);
    Ok(hash)
}

#[test]
#[cfg_attr(debug_assertions, ignore = "takes minutes without optimisation: cargo test --release -p chainrule-bench")]
fn every_workload_has_the_same_bits_on_one_to_four_threads() -> Result<()> {
    for workload in workloads() {
        let alone = fingerprint(workload.make, 1)?;
        for threads in 2..=4 {
            assert_eq!(fingerprint(workload.make, threads)?, alone, "{} on {threads} threads", workload.name);
        }
    }
    Ok(())
}
