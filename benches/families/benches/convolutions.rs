//! Convolutions and pooling.

fn main() -> chainrule::Result<()> {
    families_bench::run(&["conv", "depthwise", "maxpool"])
}
