//! Elementwise operations, sums, copies, lookups and the optimizer.

fn main() -> chainrule::Result<()> {
    families_bench::run(&["gelu", "add_", "sum_", "transpose", "embedding", "adam"])
}
