//! Positions in a sequence: sinusoids to add, and rotary positions.

use crate::{Array, DType, Error, Keep, Result, Tensor};
use chainrule_core::ops::positions::{self, Pairs};

/// The angles of rotary positions, for [`Tensor::rope`]: pair `i` of D features is turned by `t · base^(-2i/D)` at position `t` (Su et al. 2021, "RoFormer").
#[derive(Clone, Debug)]
pub struct Rotary {
    /// `[T, D/2]` in f64, converted where they are used.
    cos: Array,
    sin: Array,
    pairs: Pairs,
}

impl Rotary {
    /// For the positions `0 .. positions` and the first `width` features, a pair being features `i` and `i + D/2` as in GPT-NeoX and LLaMA; the usual base is 10000.
    ///
    /// # Errors
    /// An odd width; a base that is not a positive number; no memory.
    pub fn new(positions: usize, width: usize, base: f64) -> Result<Rotary> {
        let [cos, sin] = positions::rotations(positions, width, base, DType::F64)?;
        Ok(Rotary { cos, sin, pairs: Pairs::Halves })
    }
    /// A pair being neighbours, features `2i` and `2i + 1`, as in RoFormer and GPT-J.
    pub fn interleaved(self) -> Rotary {
        Rotary { pairs: Pairs::Neighbours, ..self }
    }
    /// How many positions there are.
    pub fn positions(&self) -> usize {
        self.cos.dims()[0]
    }
}

impl Tensor {
    /// The features of `[.., T, W]` turned by pairs, in dependence of the position; the first is number `past`.
    /// ```
    /// # use chainrule_autograd::{Rotary, Tensor};
    /// let x = Tensor::from_slice(&[1f64, 0.0], &[1, 2])?;
    /// let y = x.rope(&Rotary::new(4, 2, 10000.0)?, 3)?;
    /// assert_eq!(y.to_vec::<f64>()?, [3f64.cos(), 3f64.sin()]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// More positions than there are angles for; fewer features than angles need; an element type other than f32 and f64.
    pub fn rope(&self, rotary: &Rotary, past: usize) -> Result<Tensor> {
        let &[.., steps, _] = self.dims() else {
            return Err(Error::shape("rope", format!("the input has shape {:?}, expected [.., T, W]", self.shape())));
        };
        if past.checked_add(steps).is_none_or(|end| end > rotary.positions()) {
            return Err(Error::value("rope", format!("{steps} positions from {past} on are asked for, the angles end at {}", rotary.positions())));
        }
        let part = |table: &Array| table.narrow(0, past, steps).and_then(|t| t.cast(self.dtype()));
        turned(self, part(&rotary.cos)?, part(&rotary.sin)?, rotary.pairs, false)
    }

    /// `[T, D]` with `sin(t base^(-2i/D))` at feature 2i and the cosine of the same at 2i + 1, to be added to embeddings (Vaswani et al. 2017, base 10000).
    /// ```
    /// # use chainrule_autograd::{DType, Tensor};
    /// let table = Tensor::sinusoids(2, 4, 10000.0, DType::F64)?.to_vec::<f64>()?;
    /// assert_eq!(table, [0.0, 1.0, 0.0, 1.0, 1f64.sin(), 1f64.cos(), 0.01f64.sin(), 0.01f64.cos()]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// A base that is not a positive number; no memory.
    pub fn sinusoids(positions: usize, width: usize, base: f64, dtype: DType) -> Result<Tensor> {
        Ok(positions::sinusoids(positions, width, base, dtype)?.into())
    }
}

/// A rotation, whose transpose turns back.
fn turned(x: &Tensor, cos: Array, sin: Array, pairs: Pairs, back: bool) -> Result<Tensor> {
    let (cos, sin) = (cos.to(&x.device())?, sin.to(&x.device())?);
    let y = positions::rotate(&x.array, &cos, &sin, pairs, back)?;
    Tensor::record("rope", [x], Keep::NONE, y, move |pass| Ok([Some(turned(pass.grad(), cos.clone(), sin.clone(), pairs, !back)?)]))
}
