//! One example, off the tape.

fn main() -> chainrule::Result<()> {
    families_bench::run(&["mlp_infer", "lenet_infer", "resnet18_cifar_infer", "encoder_infer", "lstm_infer"])
}
