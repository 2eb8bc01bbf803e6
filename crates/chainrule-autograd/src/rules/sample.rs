//! Random choices whose probabilities are a tensor. They carry no gradient.

use crate::{DType, Error, Result, Rng, Tensor};
use chainrule_core::ops::search;

impl Tensor {
    /// 1 with the probability that each element is, else 0, in the same element type (PyTorch's `bernoulli`).
    /// ```
    /// # use chainrule_autograd::{Rng, Tensor};
    /// let p = Tensor::from_slice(&[0f32, 1.0], &[2])?;
    /// assert_eq!(p.bernoulli(&mut Rng::seeded(1))?.to_vec::<f32>()?, [0.0, 1.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// A probability outside 0 to 1; an element type other than f32 and f64.
    pub fn bernoulli(&self, rng: &mut Rng) -> Result<Tensor> {
        const OP: &str = "bernoulli";
        let p = self.detach();
        let good = p.greater_equal_scalar(0.0)?.logical_and(&p.less_equal_scalar(1.0)?)?;
        if good.all(&[], false)?.item()? == 0.0 {
            return Err(Error::value(OP, "got a probability outside 0 to 1"));
        }
        let y = Tensor::uniform(self.dims(), 0.0, 1.0, DType::F64, rng)?.to(&self.device())?.less(&p.cast(DType::F64)?)?.cast(self.dtype())?;
        Tensor::record_without_rule(OP, [self], y.into_array())
    }

    /// `count` indices (i64) drawn with probabilities in proportion to these weights, with or without putting them back: `[V] -> [count]`, `[B, V] -> [B, count]` (PyTorch's `multinomial`).
    /// ```
    /// # use chainrule_autograd::{Rng, Tensor};
    /// let weights = Tensor::from_slice(&[0f32, 1.0, 3.0], &[3])?;
    /// let mut drawn = weights.multinomial(2, false, &mut Rng::seeded(1))?.to_vec::<i64>()?;
    /// drawn.sort();
    /// assert_eq!(drawn, [1, 2]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Weights that are negative, not finite or all 0; without putting back, more draws than weights above 0; other than one or two dimensions; an element type other than f32 and f64.
    pub fn multinomial(&self, count: usize, replacement: bool, rng: &mut Rng) -> Result<Tensor> {
        const OP: &str = "multinomial";
        let rows = match self.rank() {
            1 | 2 => Tensor::from(&self.array).cast(DType::F64)?,
            _ => return Err(Error::shape(OP, format!("the weights have shape {:?}, expected [V] or [B, V]", self.shape()))),
        };
        let good = rows.is_finite()?.logical_and(&rows.greater_equal_scalar(0.0)?)?;
        if good.all(&[], false)?.item()? == 0.0 {
            return Err(Error::value(OP, "got a weight that is negative or not finite"));
        }
        let positive = rows.count_nonzero(&[-1], false)?.to_vec::<i64>()?.into_iter().min().unwrap_or(i64::MAX);
        let needed = if replacement { count.min(1) } else { count };
        if positive < needed as i64 {
            return Err(Error::value(OP, format!("a row has {positive} weights above 0 for {count} draws (replacement = {replacement})")));
        }
        let front = &self.dims()[..self.rank() - 1];
        let drawn = if replacement {
            // The place of a uniform number among the running sums.
            let sums = rows.cumsum(-1)?;
            let at = Tensor::uniform(&[front, &[count]].concat(), 0.0, 1.0, DType::F64, rng)?.mul(&sums.narrow(
                -1,
                rows.dims()[rows.rank() - 1].saturating_sub(1),
                1,
            )?)?;
            Tensor::from(search::searchsorted(&sums.array, &at.array, true)?)
        } else {
            // The largest of ln(u) / weight (Efraimidis and Spirakis 2006, "Weighted random sampling with a reservoir").
            let keys = Tensor::uniform(self.dims(), 0.0, 1.0, DType::F64, rng)?.ln()?.div(&rows)?;
            keys.masked_fill(&rows.logical_not()?, f64::NEG_INFINITY)?.topk(count, -1, true)?.1
        };
        Tensor::record_without_rule(OP, [self], drawn.into_array())
    }
}
