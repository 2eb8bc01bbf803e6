//! Matrix products and the linear layer.

fn main() -> chainrule::Result<()> {
    families_bench::run(&["gemm_", "linear_"])
}
