//! Norms and softmax.

fn main() -> chainrule::Result<()> {
    families_bench::run(&["batchnorm", "layernorm", "softmax"])
}
