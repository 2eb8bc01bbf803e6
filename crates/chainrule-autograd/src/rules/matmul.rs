//! Matrix products.

use crate::rules::binary::keep_partners;
use crate::rules::precision::{in_bf16, product, rounds};
use crate::rules::unary::{by_output, by_sign};
use crate::{Activation, DType, Error, Keep, Pass, Result, Tensor};
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
    /// Inner extents that differ; other dimensions that do not broadcast; a scalar; different element types, or other ones than f32, f64 and bf16.
    pub fn matmul(&self, other: &Tensor) -> Result<Tensor> {
        if self.rank() == 1 && other.rank() >= 1 {
            return self.unsqueeze(0)?.matmul(other)?.squeeze(if other.rank() == 1 { -1 } else { -2 });
        }
        if other.rank() == 1 && self.rank() >= 1 {
            return self.matmul(&other.unsqueeze(1)?)?.squeeze(-1);
        }
        let alike = other.rank() == 2 || self.dims()[..self.rank().saturating_sub(2)] == other.dims()[..other.rank().saturating_sub(2)];
        if alike && in_bf16(&[self, other]) {
            return self.matrix_product(other, true);
        }
        product([self, other], |[x, other]| x.matrix_product(other, false))
    }

    /// Of two or more dimensions each; if `narrow`, it and its gradients are products in bf16.
    fn matrix_product(&self, other: &Tensor, narrow: bool) -> Result<Tensor> {
        let y = if narrow { matmul::matmul_bf16(&self.array, &other.array)? } else { matmul::matmul(&self.array, &other.array)? };
        Tensor::record_broadcast("matmul", [self, other], keep_partners(self, other), y, move |pass| {
            let by_second = || {
                let (x, grad) = (pass.input(0)?, pass.grad());
                // One matrix for all batches: their gradients add up inside one product.
                if pass.input_dims(1).len() == 2 {
                    return times(&rows(&x)?.transpose(0, 1)?, &rows(grad)?, narrow);
                }
                times(&x.transpose(-2, -1)?, grad, narrow)
            };
            Ok([pass.when(0, || times(pass.grad(), &pass.input(1)?.transpose(-2, -1)?, narrow))?, pass.when(1, by_second)?])
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
        self.linear_activated(weight, bias, Activation::None)
    }

    /// [`linear`](Tensor::linear) and what follows it in one pass over the result: `f(x Wᵀ + b)`. The gradient needs no more than the output's sign.
    /// ```
    /// # use chainrule_autograd::{Activation, Tensor};
    /// let (x, w) = (Tensor::from_slice(&[1f32, 2.0], &[1, 2])?, Tensor::from_slice(&[3f32, 4.0, -3.0, -4.0], &[2, 2])?);
    /// assert_eq!(x.linear_activated(&w, None, Activation::Relu)?.to_vec::<f32>()?, [11.0, 0.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`linear`](Tensor::linear).
    pub fn linear_activated(&self, weight: &Tensor, bias: Option<&Tensor>, activation: Activation) -> Result<Tensor> {
        if activation != Activation::None && rounds(&[self, weight]) {
            return self.linear(weight, bias)?.activated(activation);
        }
        let unary = match by_sign(activation) {
            Ok(unary) => unary,
            Err(slope) => return self.linear(weight, bias)?.leaky_relu(slope),
        };
        let run = |x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, narrow: bool| {
            let arrays = (&x.array, &weight.array, bias.map(|bias| &bias.array));
            let y =
                if narrow { matmul::linear_bf16(arrays.0, arrays.1, arrays.2, activation)? } else { matmul::linear(arrays.0, arrays.1, arrays.2, activation)? };
            let keep = keep_partners(x, weight).and(Keep::OUTPUT.when(unary.is_some()));
            // The gradient of the sum.
            let by_sum = move |pass: &Pass| unary.map_or_else(|| Ok(pass.grad().clone()), |unary| by_output(unary, pass));
            let Some(bias) = bias else {
                return Tensor::record("linear", [x, weight], keep, y, move |pass| product_gradients(pass, &by_sum(pass)?, narrow));
            };
            Tensor::record("linear_bias", [x, weight, bias], keep, y, move |pass| {
                let grad = by_sum(pass)?;
                let [x, weight] = product_gradients(pass, &grad, narrow)?;
                let by_bias = || {
                    let dims = pass.input_dims(2);
                    if narrow { grad.round_to(DType::BF16)?.sum_to(dims)?.round_to(DType::BF16) } else { grad.sum_to(dims) }
                };
                Ok([x, weight, pass.when(2, by_bias)?])
            })
        };
        match bias {
            None if in_bf16(&[self, weight]) => run(self, weight, None, true),
            None => product([self, weight], |[x, weight]| run(x, weight, None, false)),
            Some(bias) if in_bf16(&[self, weight, bias]) => run(self, weight, Some(bias), true),
            Some(bias) => product([self, weight, bias], |[x, weight, bias]| run(x, weight, Some(bias), false)),
        }
    }

    /// `self + x Wᵀ`, with `self [.., Out]`, `x [.., In]` and weight `W [Out, In]`, in the memory of `self` where nothing else needs its numbers (PyTorch's `addmm`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let (x, w) = (Tensor::from_slice(&[1f32, 2.0], &[1, 2])?, Tensor::from_slice(&[3f32, 4.0], &[1, 2])?);
    /// assert_eq!(Tensor::from_slice(&[100f32], &[1, 1])?.add_linear(&x, &w)?.to_vec::<f32>()?, [111.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`linear`](Tensor::linear).
    pub fn add_linear(mut self, x: &Tensor, weight: &Tensor) -> Result<Tensor> {
        if rounds(&[x, weight, &self]) {
            return self.add(&x.linear(weight, None)?);
        }
        // The numbers leave, so that they are changed in place if this was the last to hold them.
        let onto = std::mem::replace(&mut self.array, weight.array.clone());
        self.array = matmul::linear_onto(onto, &x.array, &weight.array)?;
        Tensor::record("add_linear", [x, weight, &self], keep_partners(x, weight), self.array.clone(), move |pass| {
            let [x, weight] = product_gradients(pass, pass.grad(), false)?;
            Ok([x, weight, pass.when(2, || Ok(pass.grad().clone()))?])
        })
    }

    /// The activation of every element, for products that end in one: [`relu`](Tensor::relu), [`leaky_relu`](Tensor::leaky_relu) or nothing.
    /// ```
    /// # use chainrule_autograd::{Activation, Tensor};
    /// let x = Tensor::from_slice(&[-2f32, 3.0], &[2])?;
    /// assert_eq!(x.clone().activated(Activation::LeakyRelu(0.5))?.to_vec::<f32>()?, [-1.0, 3.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// An integer type; no memory.
    pub fn activated(self, activation: Activation) -> Result<Tensor> {
        match activation {
            Activation::None => Ok(self),
            Activation::Relu => self.relu(),
            Activation::LeakyRelu(negative_slope) => self.leaky_relu(negative_slope),
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

/// The product of matrices, in bf16 or as their tape has it.
fn times(a: &Tensor, b: &Tensor, narrow: bool) -> Result<Tensor> {
    if narrow { a.matrix_product(b, true) } else { a.matmul(b) }
}

/// `dx = g W`, `dW = gᵀ x`.
fn product_gradients(pass: &Pass, grad: &Tensor, narrow: bool) -> Result<[Option<Tensor>; 2]> {
    let by_input = || times(&rows(grad)?, &pass.input(1)?, narrow)?.reshape(pass.input_dims(0));
    let by_weight = || times(&rows(grad)?.transpose(0, 1)?, &rows(&pass.input(0)?)?, narrow);
    Ok([pass.when(0, by_input)?, pass.when(1, by_weight)?])
}

/// `[.., K] -> [rows, K]`
fn rows(x: &Tensor) -> Result<Tensor> {
    let Some((&last, front)) = x.dims().split_last() else { return x.reshape(&[1, 1]) };
    x.reshape(&[front.iter().product(), last])
}
