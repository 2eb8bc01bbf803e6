//! Matrix products.

use crate::rules::binary::keep_partners;
use crate::rules::precision::product;
use crate::{Error, Pass, Result, Tensor};
use chainrule_core::ops::matmul;

impl Tensor {
    /// The matrix product (PyTorch's `matmul`): `[.., M, K] · [.., K, N] -> [.., M, N]`; dimensions in front broadcast, and a vector counts as a row on the left, as a column on the right (`mm`, `bmm` and `mv` in PyTorch).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let (a, b) = (Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0], &[2, 2])?, Tensor::from_slice(&[1f32, 1.0], &[2])?);
    /// assert_eq!(a.matmul(&b)?.to_vec::<f32>()?, [3.0, 7.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Inner extents that differ; other dimensions that do not broadcast; a scalar; different element types, or other ones than f32 and f64.
    pub fn matmul(&self, other: &Tensor) -> Result<Tensor> {
        if self.rank() == 1 && other.rank() >= 1 {
            return self.unsqueeze(0)?.matmul(other)?.squeeze(if other.rank() == 1 { -1 } else { -2 });
        }
        if other.rank() == 1 && self.rank() >= 1 {
            return self.matmul(&other.unsqueeze(1)?)?.squeeze(-1);
        }
        product([self, other], |[x, other]| x.matrix_product(other))
    }

    /// Of two or more dimensions each.
    fn matrix_product(&self, other: &Tensor) -> Result<Tensor> {
        let y = matmul::matmul(&self.array, &other.array)?;
        Tensor::record_broadcast("matmul", [self, other], keep_partners(self, other), y, |pass| {
            let by_second = || {
                let (x, grad) = (pass.input(0)?, pass.grad());
                // One matrix for all batches: their gradients add up inside one product.
                if pass.input_dims(1).len() == 2 { rows(&x)?.transpose(0, 1)?.matmul(&rows(grad)?) } else { x.transpose(-2, -1)?.matmul(grad) }
            };
            Ok([pass.when(0, || pass.grad().matmul(&pass.input(1)?.transpose(-2, -1)?))?, pass.when(1, by_second)?])
        })
    }

    /// `x Wᵀ + b`, with weight `W [Out, In]` and bias `b [Out]`: `[.., In] -> [.., Out]` (PyTorch's `linear`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let (x, w) = (Tensor::from_slice(&[1f32, 2.0], &[1, 2])?, Tensor::from_slice(&[3f32, 4.0], &[1, 2])?);
    /// let b = Tensor::from_slice(&[10f32], &[1])?;
    /// assert_eq!(x.linear(&w, Some(&b))?.to_vec::<f32>()?, [21.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Extents that do not fit; different element types, or other ones than f32 and f64.
    pub fn linear(&self, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        match bias {
            None => product([self, weight], |[x, weight]| {
                let y = matmul::linear(&x.array, &weight.array, None)?;
                Tensor::record("linear", [x, weight], keep_partners(x, weight), y, product_gradients)
            }),
            Some(bias) => product([self, weight, bias], |[x, weight, bias]| {
                let y = matmul::linear(&x.array, &weight.array, Some(&bias.array))?;
                Tensor::record("linear_bias", [x, weight, bias], keep_partners(x, weight), y, |pass| {
                    let [x, weight] = product_gradients(pass)?;
                    Ok([x, weight, pass.when(2, || pass.grad().sum_to(pass.input_dims(2)))?])
                })
            }),
        }
    }

    /// The outer product of two vectors: `[M], [N] -> [M, N]` (PyTorch's `outer`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let (a, b) = (Tensor::from_slice(&[1f32, 2.0], &[2])?, Tensor::from_slice(&[3f32, 4.0], &[2])?);
    /// assert_eq!(a.outer(&b)?.to_vec::<f32>()?, [3.0, 4.0, 6.0, 8.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Other than one dimension; different element types.
    pub fn outer(&self, other: &Tensor) -> Result<Tensor> {
        if self.rank() != 1 || other.rank() != 1 {
            return Err(Error::shape("outer", format!("shapes {:?} and {:?}, expected two vectors", self.shape(), other.shape())));
        }
        self.unsqueeze(1)?.mul(&other.unsqueeze(0)?)
    }
}

/// `dx = g W`, `dW = gᵀ x`.
fn product_gradients(pass: &Pass) -> Result<[Option<Tensor>; 2]> {
    Ok([pass.when(0, || pass.grad().matmul(&pass.input(1)?))?, pass.when(1, || rows(pass.grad())?.transpose(0, 1)?.matmul(&rows(&pass.input(0)?)?))?])
}

/// `[.., K] -> [rows, K]`
fn rows(x: &Tensor) -> Result<Tensor> {
    let Some((&last, front)) = x.dims().split_last() else { return x.reshape(&[1, 1]) };
    x.reshape(&[front.iter().product(), last])
}
