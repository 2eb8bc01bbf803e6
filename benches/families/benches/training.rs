//! Training steps of networks of layers.

fn main() -> chainrule::Result<()> {
    families_bench::run(&["mlp_train", "lenet_train", "mnist_cnn", "resnet18_cifar_train", "vgg16", "dcgan"])
}
