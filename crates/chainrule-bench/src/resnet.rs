//! ResNet-18 for small images (He et al. 2015): a 3x3 convolution first, no pooling before the blocks. Paths are those of torchvision's `resnet18`.

use chainrule::nn::{BatchNorm2d, Conv2d, Layer, Linear, Module, Sequential};
use chainrule::{Result, Rng, Tensor, TensorError};

/// `y = relu(norm(conv(relu(norm(conv x)))) + x)`: `[N, IC, H, W] -> [N, OC, H/stride, W/stride]`.
#[derive(Module, Clone)]
pub struct BasicBlock {
    conv1: Conv2d,
    bn1: BatchNorm2d,
    conv2: Conv2d,
    bn2: BatchNorm2d,
    /// Brings `x` to the shape of the result where they differ.
    downsample: Option<Sequential>,
}

impl BasicBlock {
    fn new(inputs: usize, outputs: usize, stride: usize, rng: &mut Rng) -> Result<BasicBlock> {
        let downsample = if stride == 1 && inputs == outputs {
            None
        } else {
            Some(Sequential::new().add(Conv2d::new(inputs, outputs, 1, rng)?.stride(stride).without_bias()).add(BatchNorm2d::new(outputs)?))
        };
        Ok(BasicBlock {
            conv1: conv3x3(inputs, outputs, stride, rng)?,
            bn1: BatchNorm2d::new(outputs)?,
            conv2: conv3x3(outputs, outputs, 1, rng)?,
            bn2: BatchNorm2d::new(outputs)?,
            downsample,
        })
    }
}

impl Layer for BasicBlock {
    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        let y = self.bn1.forward(&self.conv1.forward(x)?)?.relu()?;
        let y = self.bn2.forward(&self.conv2.forward(&y)?)?;
        match &self.downsample {
            Some(downsample) => y.add(&downsample.forward(x)?)?.relu(),
            None => y.add(x)?.relu(),
        }
    }
}

/// Eight blocks of 64 to 512 channels: `[N, 3, 32, 32] -> [N, 10]`.
#[derive(Module, Clone)]
pub struct ResNet18 {
    conv1: Conv2d,
    bn1: BatchNorm2d,
    layer1: [BasicBlock; 2],
    layer2: [BasicBlock; 2],
    layer3: [BasicBlock; 2],
    layer4: [BasicBlock; 2],
    fc: Linear,
}

impl ResNet18 {
    /// For ten classes.
    pub fn new(rng: &mut Rng) -> Result<ResNet18> {
        let mut stage = |inputs, outputs, stride| -> Result<[BasicBlock; 2]> {
            Ok([BasicBlock::new(inputs, outputs, stride, rng)?, BasicBlock::new(outputs, outputs, 1, rng)?])
        };
        let (layer1, layer2, layer3, layer4) = (stage(64, 64, 1)?, stage(64, 128, 2)?, stage(128, 256, 2)?, stage(256, 512, 2)?);
        let (conv1, bn1, fc) = (conv3x3(3, 64, 1, rng)?, BatchNorm2d::new(64)?, Linear::new(512, 10, rng)?);
        Ok(ResNet18 { conv1, bn1, layer1, layer2, layer3, layer4, fc })
    }
}

impl Layer for ResNet18 {
    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        let mut x = self.bn1.forward(&self.conv1.forward(x)?)?.relu()?;
        for block in [&self.layer1, &self.layer2, &self.layer3, &self.layer4].into_iter().flatten() {
            x = block.forward(&x)?;
        }
        self.fc.forward(&x.adaptive_avg_pool2d([1, 1])?.flatten(1, -1)?)
    }
}

fn conv3x3(inputs: usize, outputs: usize, stride: usize, rng: &mut Rng) -> Result<Conv2d> {
    Ok(Conv2d::new(inputs, outputs, 3, rng)?.stride(stride).padding(1).without_bias())
}

#[cfg(test)]
mod tests {
    use super::*;
    use chainrule::nn::{count, state_dict};

    #[test]
    fn has_the_paths_and_the_size_of_torchvisions() -> Result<()> {
        let model = ResNet18::new(&mut Rng::seeded(0))?;
        // torchvision's resnet18 of ten classes has 11 181 642; its first convolution has 7x7 taps in place of 3x3.
        assert_eq!(count(&model).trainable, 11_181_642 - 64 * 3 * 40);
        let state = state_dict(&model)?;
        assert_eq!(state.len(), 122);
        for path in ["conv1.weight", "layer1.1.bn2.running_var", "layer2.0.downsample.0.weight", "layer4.0.downsample.1.num_batches_tracked", "fc.bias"] {
            assert!(state.contains_key(path), "{path}");
        }
        Ok(())
    }
}
