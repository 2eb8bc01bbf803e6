//! One example, off the tape.

fn main() {
    families_bench::run(&["mlp_infer", "lenet_infer", "resnet18_cifar_infer", "encoder_infer", "lstm_infer"]);
}
