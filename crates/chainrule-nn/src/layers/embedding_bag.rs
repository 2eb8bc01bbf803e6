//! Reduced vectors by number (PyTorch's `EmbeddingBag`).

use crate::init::Init;
use crate::{Layer, Module, Param, observed};
use chainrule_autograd::{BagMode, DType, EmbeddingBag as Options, Error, Result, Rng, Tensor};

/// Rows of the weight by index, reduced bag by bag: i64 `[B, L] -> [B, D]`.
/// ```
/// # use chainrule_autograd::{BagMode, Rng, Tensor};
/// # use chainrule_nn::{EmbeddingBag, Layer};
/// let bag = EmbeddingBag::new(100, 8, &mut Rng::seeded(0))?.mode(BagMode::Sum);
/// let tokens = Tensor::from_slice(&[5i64, 2, 0, 1], &[2, 2])?;
/// assert_eq!(bag.run(&tokens)?.dims(), [2, 8]);
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
#[derive(Module, Clone)]
pub struct EmbeddingBag {
    /// `[V, D]`
    pub weight: Param,
    /// Mean, unless told otherwise.
    #[module(skip)]
    pub mode: BagMode,
    /// The row that counts for nothing and gets no gradient (PyTorch's `padding_idx`).
    pub padding: Option<usize>,
}

impl EmbeddingBag {
    /// A layer of f32, normal with mean 0 and deviation 1, that takes means.
    ///
    /// # Errors
    /// No memory.
    pub fn new(count: usize, features: usize, rng: &mut Rng) -> Result<EmbeddingBag> {
        let weight = Init::Normal { mean: 0.0, deviation: 1.0 }.array(&[count, features], DType::F32, rng)?;
        Ok(EmbeddingBag { weight: Param::new(weight), mode: BagMode::Mean, padding: None })
    }

    /// Sum, mean or maximum.
    pub fn mode(self, mode: BagMode) -> EmbeddingBag {
        EmbeddingBag { mode, ..self }
    }

    /// The row `index` counts for nothing.
    ///
    /// # Errors
    /// A row that is not there.
    pub fn padding(self, index: usize) -> Result<EmbeddingBag> {
        match self.weight.value.dims() {
            [rows, _] if index < *rows => Ok(EmbeddingBag { padding: Some(index), ..self }),
            dims => Err(Error::value("embedding_bag", format!("the padding index {index} is not a row of a weight of {dims:?}"))),
        }
    }

    /// The bags of indices `[n]` that start at `offsets`, or of `[B, L]`; with a factor for each index, if the mode is the sum.
    ///
    /// # Errors
    /// Those of [`Tensor::embedding_bag`].
    pub fn bags(&self, indices: &Tensor, offsets: Option<&[usize]>, weights: Option<&Tensor>) -> Result<Tensor> {
        let options = Options { mode: self.mode, weights: weights.cloned(), padding: self.padding };
        let y = self.weight.at(self.weight.on(indices)?.embedding_bag(indices, offsets, &options))?;
        Ok(observed(self, y))
    }
}

impl Layer for EmbeddingBag {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.bags(x, None, None)
    }
}
