//! Vectors by number (PyTorch's `Embedding`).

use crate::adapter::{Operation, adapted};
use crate::init::Init;
use crate::{BoxedAdapter, Param};
use chainrule_autograd::{Array, DType, Error, Result, Rng, Tensor};
use chainrule_core::ops::elementwise::{Binary, binary};

/// Rows of the weight by index: i64 `[..] -> [.., D]`.
/// ```
/// # use chainrule_autograd::{Rng, Tensor};
/// # use chainrule_nn::{Embedding, Layer};
/// let embedding = Embedding::new(100, 8, &mut Rng::seeded(0))?.padding(0)?;
/// let tokens = Tensor::from_slice(&[5i64, 2, 0], &[1, 3])?;
/// assert_eq!(embedding.run(&tokens)?.dims(), [1, 3, 8]);
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
#[derive(Clone)]
pub struct Embedding {
    /// `[V, D]`
    pub weight: Param,
    /// The row that gets no gradient (PyTorch's `padding_idx`).
    pub padding: Option<usize>,
    /// What changes the result without touching the weight.
    pub adapter: Option<BoxedAdapter>,
}

impl Embedding {
    /// A layer of f32, normal with mean 0 and deviation 1.
    ///
    /// # Errors
    /// No memory.
    pub fn new(count: usize, features: usize, rng: &mut Rng) -> Result<Embedding> {
        let weight = Init::Normal { mean: 0.0, deviation: 1.0 }.array(&[count, features], DType::F32, rng)?;
        Ok(Embedding { weight: Param::new(weight), padding: None, adapter: None })
    }

    /// The row `index` becomes zeros and gets no gradient.
    ///
    /// # Errors
    /// A row that is not there.
    pub fn padding(mut self, index: usize) -> Result<Embedding> {
        let &[rows, _] = self.weight.value.dims() else {
            return Err(Error::shape("embedding", format!("the weight has shape {:?}, expected [V, D]", self.weight.value.shape())));
        };
        if index >= rows {
            return Err(Error::value("embedding", format!("the padding index {index} is not below {rows}")));
        }
        let keep = Array::from_index(&[rows, 1], self.weight.value.dtype(), |row| (row != index) as u8 as f64)?.to(&self.weight.value.device())?;
        self.weight.value = binary(Binary::Mul, &self.weight.value, &keep)?;
        self.padding = Some(index);
        Ok(self)
    }

    /// Shortens the rows whose p-norm is above `most` to it. Called after each step of the optimizer this is PyTorch's `max_norm`, which shortens rows when they are next read; p is 2 there unless given.
    /// ```
    /// # use chainrule_autograd::{Rng, Tensor};
    /// # use chainrule_nn::Embedding;
    /// let mut embedding = Embedding::new(10, 8, &mut Rng::seeded(0))?;
    /// embedding.limit_norm(0.5, 2.0)?;
    /// assert!(Tensor::from(&embedding.weight.value).norm(2.0, &[1], false)?.to_vec::<f32>()?.iter().all(|norm| *norm < 0.5001));
    /// # Ok::<(), chainrule_nn::Error>(())
    /// ```
    ///
    /// # Errors
    /// A bound below 0.
    pub fn limit_norm(&mut self, most: f64, p: f64) -> Result<()> {
        self.weight.value = self.weight.at(Tensor::from(&self.weight.value).renorm(p, 0, most))?.into_array();
        Ok(())
    }
}

adapted!(Embedding, self, Operation::Embedding { padding: self.padding }, bias:);
