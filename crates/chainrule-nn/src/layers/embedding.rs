//! Vectors by number (PyTorch's `Embedding`).

use crate::adapter::{Operation, adapted};
use crate::init::Init;
use crate::{BoxedAdapter, Param};
use chainrule_autograd::{Array, DType, Error, Result, Rng};
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
        let keep = Array::from_index(&[rows, 1], self.weight.value.dtype(), |row| (row != index) as u8 as f64)?;
        self.weight.value = binary(Binary::Mul, &self.weight.value, &keep)?;
        self.padding = Some(index);
        Ok(self)
    }
}

adapted!(Embedding, self, Operation::Embedding { padding: self.padding }, bias:);
