//! Attention and the encoders that train with it.

fn main() -> chainrule::Result<()> {
    families_bench::run(&["attention", "encoder_train", "encoder_lora"])
}
