//! Norms and softmax.

fn main() {
    families_bench::run(&["batchnorm", "layernorm", "softmax"]);
}
