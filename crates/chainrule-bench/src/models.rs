//! Small networks of layers in a row.

use chainrule::nn::{Conv2d, Dropout, Flatten, Linear, MaxPool2d, Relu, Sequential};
use chainrule::{Result, Rng};

/// Three linear layers: `[N, 784] -> [N, 10]`.
pub fn mlp(rng: &mut Rng) -> Result<Sequential> {
    Ok(Sequential::new().add(Linear::new(784, 256, rng)?).add(Relu).add(Linear::new(256, 128, rng)?).add(Relu).add(Linear::new(128, 10, rng)?))
}

/// LeNet-5 (LeCun et al. 1998) with ReLU and max pooling: `[N, 1, 28, 28] -> [N, 10]`.
pub fn lenet(rng: &mut Rng) -> Result<Sequential> {
    Ok(Sequential::new()
        .add(Conv2d::new(1, 6, 5, rng)?.padding(2))
        .add(Relu)
        .add(MaxPool2d::new(2))
        .add(Conv2d::new(6, 16, 5, rng)?)
        .add(Relu)
        .add(MaxPool2d::new(2))
        .add(Flatten::new())
        .add(Linear::new(400, 120, rng)?)
        .add(Relu)
        .add(Linear::new(120, 84, rng)?)
        .add(Relu)
        .add(Linear::new(84, 10, rng)?))
}

/// Two 3x3 convolutions and two linear layers with dropout: `[N, 1, 28, 28] -> [N, 10]`.
pub fn mnist_cnn(rng: &mut Rng) -> Result<Sequential> {
    Ok(Sequential::new()
        .add(Conv2d::new(1, 32, 3, rng)?.padding(1))
        .add(Relu)
        .add(MaxPool2d::new(2))
        .add(Conv2d::new(32, 64, 3, rng)?.padding(1))
        .add(Relu)
        .add(MaxPool2d::new(2))
        .add(Flatten::new())
        .add(Dropout::new(0.25))
        .add(Linear::new(64 * 49, 128, rng)?)
        .add(Relu)
        .add(Dropout::new(0.5))
        .add(Linear::new(128, 10, rng)?))
}
