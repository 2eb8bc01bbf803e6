//! Matrix products and the linear layer.

fn main() {
    families_bench::run(&["gemm_", "linear_"]);
}
