//! VGG-16 (Simonyan and Zisserman 2014). Paths are those of torchvision's `vgg16`.

use chainrule::nn::{AdaptiveAvgPool2d, Conv2d, Dropout, Layer, Linear, MaxPool2d, Module, Relu, Sequential, freeze};
use chainrule::{Result, Rng, Tensor, TensorError};

/// Thirteen convolutions and three linear layers: `[N, 3, H, W] -> [N, classes]`.
#[derive(Module, Clone)]
pub struct Vgg16 {
    features: Sequential,
    avgpool: AdaptiveAvgPool2d,
    classifier: Sequential,
}

impl Vgg16 {
    /// Random weights.
    pub fn new(classes: usize, rng: &mut Rng) -> Result<Vgg16> {
        let (mut features, mut inputs) = (Sequential::new(), 3);
        for (convolutions, outputs) in [(2, 64), (2, 128), (3, 256), (3, 512), (3, 512)] {
            for _ in 0..convolutions {
                features = features.add(Conv2d::new(inputs, outputs, 3, rng)?.padding(1)).add(Relu);
                inputs = outputs;
            }
            features = features.add(MaxPool2d::new(2));
        }
        let classifier = Sequential::new()
            .add(Linear::new(512 * 49, 4096, rng)?)
            .add(Relu)
            .add(Dropout::new(0.5))
            .add(Linear::new(4096, 4096, rng)?)
            .add(Relu)
            .add(Dropout::new(0.5))
            .add(Linear::new(4096, classes, rng)?);
        Ok(Vgg16 { features, avgpool: AdaptiveAvgPool2d::new(7), classifier })
    }

    /// All layers but the last become constants.
    pub fn freeze_all_but_head(&mut self) -> Result<()> {
        for pattern in ["features.*", "classifier.0.*", "classifier.3.*"] {
            freeze(self, pattern)?;
        }
        Ok(())
    }
}

impl Layer for Vgg16 {
    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        let x = self.avgpool.forward(&self.features.forward(x)?)?;
        self.classifier.forward(&x.flatten(1, -1)?)
    }
}
