//! The numbers with which a new model begins.

use chainrule_autograd::{Array, DType, Result, Rng};
use chainrule_nn::init::Init;
use chainrule_nn::{Embedding, Linear, Param};

/// Normal weights and biases of zero, as Hugging Face's BERT begins; or zeros that take no memory, for a model whose numbers come from a file.
pub(super) enum Start<'a> {
    Drawn { deviation: f64, rng: &'a mut Rng },
    Zeros,
}

impl Start<'_> {
    fn weight(&mut self, rows: usize, columns: usize) -> Result<Param> {
        let dims = [rows, columns];
        Ok(Param::new(match self {
            Start::Drawn { deviation, rng } => Init::Normal { mean: 0.0, deviation: *deviation }.array(&dims, DType::F32, rng)?,
            // One number, seen everywhere.
            Start::Zeros => Array::zeros(&[1, 1], DType::F32)?.broadcast_to(&dims)?,
        }))
    }

    pub fn linear(&mut self, inputs: usize, outputs: usize) -> Result<Linear> {
        Ok(Linear { weight: self.weight(outputs, inputs)?, bias: Some(Param::new(Array::zeros(&[outputs], DType::F32)?)), adapter: None })
    }

    pub fn embedding(&mut self, count: usize, features: usize) -> Result<Embedding> {
        Ok(Embedding { weight: self.weight(count, features)?, padding: None, adapter: None })
    }
}
