//! What steps ask of the machine in steady state.

use chainrule::{Result, Rng};
use chainrule_bench::counters::count;
use chainrule_bench::workloads;

#[test]
#[cfg_attr(debug_assertions, ignore = "takes minutes without optimisation: cargo test --release -p chainrule-bench")]
fn a_step_asks_the_system_for_no_array_and_small_inference_for_nothing() -> Result<()> {
    chainrule::set_threads(2);
    for workload in workloads() {
        let counts = count(&mut (workload.make)(&mut Rng::seeded(0))?)?;
        assert_eq!(counts.blocks, 0.0, "{}: {counts:?}", workload.name);
        if ["mlp_infer_b1", "lenet_infer_b1"].contains(&workload.name) {
            assert_eq!((counts.heap, counts.handed_out, counts.woken), (0.0, 0.0, 0.0), "{}", workload.name);
        }
    }
    Ok(())
}
