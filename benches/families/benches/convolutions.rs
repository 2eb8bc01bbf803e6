//! Convolutions and pooling.

fn main() {
    families_bench::run(&["conv", "depthwise", "maxpool"]);
}
