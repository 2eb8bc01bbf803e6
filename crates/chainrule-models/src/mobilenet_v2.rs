//! MobileNetV2 (Sandler et al. 2018, "MobileNetV2: Inverted Residuals and Linear Bottlenecks"; torchvision's `mobilenet_v2`), with torchvision's names.

use crate::read::Checkpoint;
use chainrule_autograd::{Error, Result, Rng, Tensor};
use chainrule_nn::init::{Fan, Init, Nonlinearity};
use chainrule_nn::{BatchNorm2d, Conv2d, Dropout, Layer, Linear, LoadReport, Module, Sequential, observed};
use std::path::Path;

/// Images to classes: `[N, 3, H, W] -> [N, V]`. H and W can be any from 32 on; the published weights were trained at 224, on images scaled to 0..1 and then
/// normalised by the means (0.485, 0.456, 0.406) and deviations (0.229, 0.224, 0.225) of red, green and blue.
///
/// [`pooled`](MobileNetV2::pooled) is what stands before the head, and can be computed once, off the tape, where only the head learns.
/// ```
/// # use chainrule_autograd::{DType, Rng, Tensor};
/// # use chainrule_models::MobileNetV2;
/// # use chainrule_nn::Layer;
/// let rng = &mut Rng::seeded(0);
/// let mut model = MobileNetV2::with_width(0.25, 1000, rng)?;
/// model.replace_head(10, rng)?;
/// assert_eq!(model.run(&Tensor::ones(&[1, 3, 32, 32], DType::F32)?)?.dims(), [1, 10]);
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
#[derive(Module, Clone)]
pub struct MobileNetV2 {
    /// A convolution, 17 inverted residuals, a pointwise convolution: `[N, 3, H, W] -> [N, D, H/32, W/32]`.
    pub features: Sequential,
    /// Dropout, and the head `[V, D]`.
    pub classifier: (Dropout, Linear),
}

/// Convolution, batch norm, and mostly ReLU6: torchvision's `Conv2dNormActivation`.
#[derive(Module, Clone)]
struct ConvNorm {
    #[module(name = "0")]
    conv: Conv2d,
    #[module(name = "1")]
    norm: BatchNorm2d,
}

impl ConvNorm {
    fn new(inputs: usize, outputs: usize, kernel: usize, stride: usize, groups: usize, rng: &mut Rng) -> Result<ConvNorm> {
        let conv = Conv2d::grouped(inputs, outputs, kernel, groups, rng)?.stride(stride).padding(kernel / 2);
        Ok(ConvNorm { conv: kaiming(conv, rng)?, norm: BatchNorm2d::new(outputs)? })
    }
}

impl Layer for ConvNorm {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(observed(self, self.norm.forward(&self.conv.forward(x)?)?.relu6()?))
    }
}

/// Wide inside and narrow outside: a pointwise convolution to more channels, a depthwise one, and a pointwise one back without activation;
/// added to the input where that has the same shape.
#[derive(Module, Clone)]
struct InvertedResidual {
    conv: Sequential,
    #[module(skip)]
    added: bool,
}

impl InvertedResidual {
    fn new(inputs: usize, outputs: usize, stride: usize, expansion: usize, rng: &mut Rng) -> Result<InvertedResidual> {
        let hidden = inputs.saturating_mul(expansion);
        let mut conv = Sequential::new();
        if expansion != 1 {
            conv = conv.add(ConvNorm::new(inputs, hidden, 1, 1, 1, rng)?);
        }
        conv = conv.add(ConvNorm::new(hidden, hidden, 3, stride, hidden, rng)?);
        conv = conv.add(kaiming(Conv2d::new(hidden, outputs, 1, rng)?, rng)?).add(BatchNorm2d::new(outputs)?);
        Ok(InvertedResidual { conv, added: stride == 1 && inputs == outputs })
    }
}

impl Layer for InvertedResidual {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = self.conv.forward(x)?;
        Ok(observed(self, if self.added { x.add(&y)? } else { y }))
    }
}

/// Expansion, channels, repeats, stride of the first: the paper's table 2.
const STAGES: [[usize; 4]; 7] = [[1, 16, 1, 1], [6, 24, 2, 2], [6, 32, 3, 2], [6, 64, 4, 2], [6, 96, 3, 1], [6, 160, 3, 2], [6, 320, 1, 1]];

impl MobileNetV2 {
    /// A new model of the published width.
    ///
    /// # Errors
    /// No memory.
    pub fn new(classes: usize, rng: &mut Rng) -> Result<MobileNetV2> {
        MobileNetV2::with_width(1.0, classes, rng)
    }

    /// A new model whose layers have so many times the channels, rounded to multiples of 8. Convolutions begin as Kaiming's, the head normal with deviation 0.01.
    ///
    /// # Errors
    /// A factor that is not above 0 and at most 16; no memory.
    pub fn with_width(width: f64, classes: usize, rng: &mut Rng) -> Result<MobileNetV2> {
        if !(width > 0.0 && width <= 16.0) {
            return Err(Error::value("mobilenet_v2", format!("got the width {width}, expected a factor above 0, and 16 at most")));
        }
        let mut channels = multiple_of_8(32.0 * width);
        let last = multiple_of_8(1280.0 * width.max(1.0));
        let mut features = Sequential::new().add(ConvNorm::new(3, channels, 3, 2, 1, rng)?);
        for [expansion, outputs, repeats, stride] in STAGES {
            let outputs = multiple_of_8(outputs as f64 * width);
            for repeat in 0..repeats {
                features = features.add(InvertedResidual::new(channels, outputs, if repeat == 0 { stride } else { 1 }, expansion, rng)?);
                channels = outputs;
            }
        }
        features = features.add(ConvNorm::new(channels, last, 1, 1, 1, rng)?);
        Ok(MobileNetV2 { features, classifier: (Dropout::new(0.2), head(last, classes, rng)?) })
    }

    /// Loads a file with torchvision's names, in any format that [`read`](crate::read) knows. All or nothing.
    ///
    /// # Errors
    /// A file that cannot be read or is damaged; names or shapes that do not fit: a model for other classes gets its head by [`replace_head`](MobileNetV2::replace_head) after loading.
    pub fn load(&mut self, file: impl AsRef<Path>) -> chainrule_nn::Result<LoadReport> {
        Checkpoint::open(file)?.load(self)
    }

    /// What stands before the head: `[N, 3, H, W] -> [N, D]`, the mean over the places.
    ///
    /// # Errors
    /// A shape that does not fit.
    pub fn pooled(&self, images: &Tensor) -> Result<Tensor> {
        self.features.forward(images)?.mean_over(&[2, 3], false)
    }

    /// The head alone, with the dropout before it: `[N, D] -> [N, V]`.
    ///
    /// # Errors
    /// A shape that does not fit.
    pub fn head(&self, pooled: &Tensor) -> Result<Tensor> {
        self.classifier.1.forward(&self.classifier.0.forward(pooled)?)
    }

    /// Puts a new head for so many classes in the place of the old one, which is handed back.
    ///
    /// # Errors
    /// No memory; the head is then the old one.
    pub fn replace_head(&mut self, classes: usize, rng: &mut Rng) -> Result<Linear> {
        let width = self.classifier.1.weight.value.dims().last().copied().unwrap_or(0);
        Ok(std::mem::replace(&mut self.classifier.1, head(width, classes, rng)?))
    }
}

impl Layer for MobileNetV2 {
    fn forward(&self, images: &Tensor) -> Result<Tensor> {
        Ok(observed(self, self.head(&self.pooled(images)?)?))
    }
}

fn head(inputs: usize, classes: usize, rng: &mut Rng) -> Result<Linear> {
    let mut head = Linear::new(inputs, classes, rng)?;
    head.weight.initialise(Init::Normal { mean: 0.0, deviation: 0.01 }, rng)?;
    if let Some(bias) = &mut head.bias {
        bias.initialise(Init::Constant(0.0), rng)?;
    }
    Ok(head)
}

/// Variances are kept on the way back.
fn kaiming(mut conv: Conv2d, rng: &mut Rng) -> Result<Conv2d> {
    conv.weight.initialise(Init::KaimingNormal { fan: Fan::Out, nonlinearity: Nonlinearity::Relu }, rng)?;
    Ok(conv.without_bias())
}

/// The nearest multiple of 8, at least 8, and not more than a tenth below (torchvision's `_make_divisible`).
fn multiple_of_8(channels: f64) -> usize {
    let nearest = ((channels + 4.0) / 8.0).floor().max(1.0) * 8.0;
    (if nearest < 0.9 * channels { nearest + 8.0 } else { nearest }) as usize
}
