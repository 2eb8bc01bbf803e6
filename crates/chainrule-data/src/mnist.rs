//! Data sets in the layout of MNIST: 28 × 28 grey pixels with labels 0 to 9, four IDX files in a folder.
//!
//! Pixels stay bytes in memory; a batch is gathered, converted and normalised, `(x / 255 - mean) / deviation`, in one pass.
//! Source: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document recognition", 1998.

use crate::dataset::{Dataset, check_indices};
use crate::error::{Error, Result};
use crate::idx::{Idx, Kind};
use chainrule_autograd::{Array, DType, Rng, Tensor};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const SIDE: usize = 28;
const PIXELS: usize = SIDE * SIDE;
const CLASSES: u8 = 10;
/// Images fetched together: few enough to stay in the first-level cache until they are converted.
const BLOCK: usize = 16;

/// Mean and standard deviation of MNIST's training pixels, scaled to 0..1.
const MNIST_MEAN: f32 = 0.1307;
const MNIST_DEVIATION: f32 = 0.3081;

/// The training and the test images of MNIST, or of a data set in the same layout (Fashion-MNIST, KMNIST).
#[derive(Clone, Debug)]
pub struct Mnist {
    /// For training.
    pub train: MnistSplit,
    /// For testing.
    pub test: MnistSplit,
}

impl Mnist {
    /// Reads `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and `t10k-labels-idx1-ubyte` from a folder, each with or without `.gz`.
    ///
    /// # Errors
    /// A file that is missing, damaged or of another shape; counts that differ; labels beyond 9. Nothing is returned unless all four are good.
    pub fn load(folder: impl AsRef<Path>) -> Result<Mnist> {
        let folder = folder.as_ref();
        let split = |name: &str| MnistSplit::load(find(folder, &format!("{name}-images-idx3-ubyte"))?, find(folder, &format!("{name}-labels-idx1-ubyte"))?);
        Ok(Mnist { train: split("train")?, test: split("t10k")? })
    }

    /// Both splits with another normalisation; see [`MnistSplit::normalised`].
    ///
    /// # Errors
    /// As there.
    pub fn normalised(self, mean: f32, deviation: f32) -> Result<Mnist> {
        Ok(Mnist { train: self.train.normalised(mean, deviation)?, test: self.test.normalised(mean, deviation)? })
    }
}

fn find(folder: &Path, name: &str) -> Result<PathBuf> {
    let candidates = [folder.join(format!("{name}.gz")), folder.join(name)];
    candidates
        .into_iter()
        .find(|path| path.is_file())
        .ok_or_else(|| Error::format(folder, format!("no file {name} or {name}.gz in this folder; expected the four IDX files of MNIST")))
}

/// Images with labels. As a [`Dataset`] it makes [`ImageBatch`]es; clones share the pixels.
#[derive(Clone)]
pub struct MnistSplit {
    stored: Arc<Stored>,
    /// A pixel x becomes `(x - offset) * scale`.
    offset: f32,
    scale: f32,
}

struct Stored {
    pixels: Vec<u8>,
    labels: Vec<u8>,
}

/// A batch of images and their classes.
#[derive(Clone, Debug)]
pub struct ImageBatch {
    /// Normalised pixels, f32 `[B, 1, 28, 28]`.
    pub images: Tensor,
    /// Classes, i64 `[B]`.
    pub labels: Tensor,
}

impl MnistSplit {
    /// Reads one file of images and one of labels, plain or gzip, normalised as MNIST (mean 0.1307, deviation 0.3081).
    ///
    /// # Errors
    /// A file that is missing, damaged or of another shape; counts that differ; labels beyond 9.
    pub fn load(images: impl AsRef<Path>, labels: impl AsRef<Path>) -> Result<MnistSplit> {
        let (images_path, labels_path) = (images.as_ref(), labels.as_ref());
        let labels = Idx::open(labels_path)?;
        let images = Idx::open(images_path)?;
        let wrong = |path, file: &Idx, expected| Err(Error::format(path, format!("holds {:?} {:?}, expected {expected}", file.kind, file.shape)));
        if images.kind != Kind::U8 || images.shape.rank() != 3 || images.shape[1..] != [SIDE, SIDE] {
            return wrong(images_path, &images, "U8 [N, 28, 28]");
        }
        if labels.kind != Kind::U8 || labels.shape.rank() != 1 {
            return wrong(labels_path, &labels, "U8 [N]");
        }
        if images.shape[0] != labels.shape[0] {
            let (got, expected) = (labels.shape[0], images.shape[0]);
            return Err(Error::format(labels_path, format!("holds {got} labels, {} holds {expected} images; are they of one set?", images_path.display())));
        }
        if let Some((at, label)) = labels.bytes.iter().enumerate().find(|(_, label)| **label >= CLASSES) {
            return Err(Error::format(labels_path, format!("label {at} is {label}, expected 0 to {}", CLASSES - 1)));
        }
        let stored = Arc::new(Stored { pixels: images.bytes, labels: labels.bytes });
        MnistSplit { stored, offset: 0.0, scale: 1.0 }.normalised(MNIST_MEAN, MNIST_DEVIATION)
    }

    /// The same images with pixels that become `(x / 255 - mean) / deviation`. For Fashion-MNIST, for instance, `normalised(0.2860, 0.3530)`; `normalised(0.0, 1.0)` leaves 0..1.
    ///
    /// # Errors
    /// A mean that is not finite; a deviation that is not finite and positive.
    pub fn normalised(self, mean: f32, deviation: f32) -> Result<MnistSplit> {
        let (offset, scale) = ((255.0 * mean as f64) as f32, (1.0 / (255.0 * deviation as f64)) as f32);
        if !(offset.is_finite() && scale.is_finite() && scale > 0.0) {
            return Err(Error::value("normalised", format!("mean {mean} and deviation {deviation}, expected finite numbers and a deviation above 0")));
        }
        Ok(MnistSplit { offset, scale, ..self })
    }

    /// The pixels as the files hold them, 784 bytes an image, rows from the top.
    pub fn pixels(&self) -> &[u8] {
        &self.stored.pixels
    }

    /// The labels as the files hold them.
    pub fn labels(&self) -> &[u8] {
        &self.stored.labels
    }

    fn image(&self, index: usize) -> &[u8] {
        &self.stored.pixels[index * PIXELS..][..PIXELS]
    }

    /// Mean and standard deviation of all pixels, scaled to 0..1: what [`normalised`](MnistSplit::normalised) of the training images wants.
    pub fn mean_and_deviation(&self) -> (f32, f32) {
        let mut histogram = [0u64; 256];
        self.stored.pixels.iter().for_each(|&x| histogram[x as usize] += 1);
        let count = self.stored.pixels.len().max(1) as f64;
        let mean_of = |f: &dyn Fn(f64) -> f64| histogram.iter().enumerate().map(|(x, &n)| n as f64 * f(x as f64 / 255.0)).sum::<f64>() / count;
        let mean = mean_of(&|x| x);
        (mean as f32, mean_of(&|x| (x - mean) * (x - mean)).sqrt() as f32)
    }
}

/// Reads a byte of every cache line. Images in random order are in no cache: read one by one, each costs its memory latency in full; asked for together, many are on their way at once.
fn fetch(image: &[u8]) {
    const LINE: usize = 64;
    let sum = image.iter().step_by(LINE).chain(image.last()).fold(0, |sum, x| sum ^ x);
    std::hint::black_box(sum);
}

impl Dataset for MnistSplit {
    type Batch = ImageBatch;

    fn len(&self) -> usize {
        self.stored.labels.len()
    }

    fn batch(&self, indices: &[usize], _: &mut Rng) -> Result<ImageBatch> {
        check_indices("mnist", indices, self.len())?;
        let mut images = Array::zeros(&[indices.len(), 1, SIDE, SIDE], DType::F32)?;
        for (block, images) in indices.chunks(BLOCK).zip(images.as_mut_slice::<f32>()?.chunks_mut(BLOCK * PIXELS)) {
            block.iter().for_each(|&index| fetch(self.image(index)));
            for (image, &index) in images.chunks_exact_mut(PIXELS).zip(block) {
                for (x, &pixel) in image.iter_mut().zip(self.image(index)) {
                    *x = (pixel as f32 - self.offset) * self.scale;
                }
            }
        }
        let mut labels = Array::zeros(&[indices.len()], DType::I64)?;
        for (label, &index) in labels.as_mut_slice::<i64>()?.iter_mut().zip(indices) {
            *label = self.stored.labels[index] as i64;
        }
        Ok(ImageBatch { images: images.into(), labels: labels.into() })
    }
}

impl std::fmt::Debug for MnistSplit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MnistSplit({} images)", self.len())
    }
}
