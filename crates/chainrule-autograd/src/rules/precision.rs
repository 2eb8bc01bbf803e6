//! Products in the compute precision of their tape: operands, result and, on the way back, their gradients are rounded; sums run in full precision (Micikevicius et al. 2018; PyTorch's `autocast`).

use crate::{DType, Keep, Result, Tensor};

/// `f` of the operands, in the precision of the tape on which they lie.
#[inline]
pub(super) fn product<const N: usize>(operands: [&Tensor; N], f: impl FnOnce([&Tensor; N]) -> Result<Tensor>) -> Result<Tensor> {
    match precision(&operands) {
        None => f(operands),
        Some(narrow) => f(rounded(operands, narrow)?.each_ref())?.round_to(narrow),
    }
}

/// What the tape of these operands rounds to.
pub(super) fn precision(operands: &[&Tensor]) -> Option<DType> {
    operands.iter().find_map(|x| x.recorder()).and_then(|recorder| recorder.precision)
}

/// Whether products of these operands are rounded. What follows such a product waits for the rounding.
pub(super) fn rounds(operands: &[&Tensor]) -> bool {
    precision(operands).is_some()
}

/// Whether these operands of a product are f32 on a tape of bf16, so that the product itself rounds them and the result, and the tape keeps no rounded copies.
pub(super) fn in_bf16(operands: &[&Tensor]) -> bool {
    precision(operands) == Some(DType::BF16) && operands.iter().all(|x| x.dtype() == DType::F32)
}

fn rounded<const N: usize>(operands: [&Tensor; N], narrow: DType) -> Result<[Tensor; N]> {
    let mut all = operands.map(Tensor::clone);
    for operand in &mut all {
        *operand = operand.round_to(narrow)?;
    }
    Ok(all)
}

impl Tensor {
    /// The numbers rounded to what a narrower type can hold, in the type they have; the gradient is rounded too, and passes as if nothing had happened (a straight-through estimate; Bengio et al. 2013).
    /// ```
    /// # use chainrule_autograd::{DType, Tensor};
    /// let x = Tensor::from_slice(&[1.001f32, 3.0], &[2])?;
    /// assert_eq!(x.round_to(DType::BF16)?.to_vec::<f32>()?, [1.0, 3.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// No memory.
    pub fn round_to(&self, narrow: DType) -> Result<Tensor> {
        if narrow == self.dtype() || !self.dtype().is_float() {
            return Ok(self.clone());
        }
        Tensor::record("round_to", [self], Keep::NONE, self.array.cast(narrow)?.cast(self.dtype())?, move |pass| Ok([Some(pass.grad().round_to(narrow)?)]))
    }

    /// The tensor itself, whose gradient `f` sees when a backward pass comes by (PyTorch's `register_hook`, which this one only looks through).
    /// ```
    /// # use chainrule_autograd::{Rng, Tape, Tensor};
    /// use std::sync::{Arc, Mutex};
    /// let seen = Arc::new(Mutex::new(vec![]));
    /// let tape = Tape::training(&mut Rng::seeded(0));
    /// let x = tape.watch(Tensor::from_slice(&[3f64], &[1])?);
    /// let hook = { let seen = seen.clone(); move |gradient: &Tensor| seen.lock().unwrap().push(gradient.item().unwrap()) };
    /// x.square()?.on_gradient(hook)?.mul_scalar(5.0)?.sum()?.backward()?;
    /// assert_eq!(*seen.lock().unwrap(), [5.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// None of its own.
    pub fn on_gradient(&self, f: impl Fn(&Tensor) + Send + Sync + 'static) -> Result<Tensor> {
        Tensor::record("on_gradient", [self], Keep::NONE, self.array.clone(), move |pass| {
            f(pass.grad());
            Ok([Some(pass.grad().clone())])
        })
    }
}
