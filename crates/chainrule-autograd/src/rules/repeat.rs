//! Elements repeated. Forward is one copy; the gradient is the sum over the copies.

use crate::{Array, DType, Error, Result, Tensor};

impl Tensor {
    /// The tensor `repeats[i]` times one after the other along dimension `i`; dimensions are added in front where more are named (PyTorch's `repeat`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let x = Tensor::from_slice(&[1f32, 2.0], &[2])?;
    /// assert_eq!(x.repeat(&[2, 2])?.to_vec::<f32>()?, [1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 1.0, 2.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Fewer repeats than dimensions; more than 8 dimensions.
    pub fn repeat(&self, repeats: &[usize]) -> Result<Tensor> {
        let Some(added) = repeats.len().checked_sub(self.rank()) else {
            return Err(Error::shape("repeat", format!("{} repeats for the {} dimensions of {:?}", repeats.len(), self.rank(), self.shape())));
        };
        let mut dims = vec![1; added];
        dims.extend_from_slice(self.dims());
        let mut y = self.reshape(&dims)?;
        for (axis, &times) in repeats.iter().enumerate().filter(|&(_, &times)| times != 1) {
            let (outer, inner) = (dims[..axis].iter().product(), dims[axis..].iter().product());
            dims[axis] = dims[axis].saturating_mul(times);
            y = y.reshape(&[outer, 1, inner])?.broadcast_to(&[outer, times, inner])?.reshape(&dims)?;
        }
        Ok(y)
    }

    /// [`repeat`](Tensor::repeat) with 1 for the leading dimensions that `repeats` does not name (PyTorch's `tile`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let x = Tensor::from_slice(&[1f32, 2.0], &[1, 2])?;
    /// assert_eq!(x.tile(&[2])?.to_vec::<f32>()?, [1.0, 2.0, 1.0, 2.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// More than 8 dimensions.
    pub fn tile(&self, repeats: &[usize]) -> Result<Tensor> {
        let missing = self.rank().saturating_sub(repeats.len());
        self.repeat(&[&vec![1; missing], repeats].concat())
    }

    /// Each index of `axis` `times` times in a row (PyTorch's `repeat_interleave` with a number).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// assert_eq!(Tensor::from_slice(&[1f32, 2.0], &[2])?.repeat_interleave(2, 0)?.to_vec::<f32>()?, [1.0, 1.0, 2.0, 2.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// A dimension out of range; no memory.
    pub fn repeat_interleave(&self, times: usize, axis: isize) -> Result<Tensor> {
        let at = self.shape().axis("repeat_interleave", axis)?;
        let (dims, [outer, extent, inner]) = (self.dims(), self.around(at));
        let wide = self.reshape(&[outer, extent, 1, inner])?.broadcast_to(&[outer, extent, times, inner])?;
        wide.reshape(self.shape().with(at, dims[at].saturating_mul(times)).dims())
    }

    /// Index `k` of `axis` `counts[k]` times in a row (PyTorch's `repeat_interleave` with a tensor). `counts` is i64.
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let counts = Tensor::from_slice(&[0i64, 2], &[2])?;
    /// assert_eq!(Tensor::from_slice(&[1f32, 2.0], &[2])?.repeat_interleave_by(&counts, 0)?.to_vec::<f32>()?, [2.0, 2.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// A dimension out of range; counts of another shape or type, or negative.
    pub fn repeat_interleave_by(&self, counts: &Tensor, axis: isize) -> Result<Tensor> {
        const OP: &str = "repeat_interleave_by";
        let extent = self.dims()[self.shape().axis(OP, axis)?];
        if counts.dims() != [extent] || counts.dtype() != DType::I64 {
            return Err(Error::shape(OP, format!("the counts are {} {:?}, expected i64 [{extent}]", counts.dtype(), counts.shape())));
        }
        let counts = counts.to_vec::<i64>()?;
        if let Some(bad) = counts.iter().find(|&&count| count < 0) {
            return Err(Error::value(OP, format!("got the count {bad}, expected no negative number")));
        }
        let Some(total) = counts.iter().try_fold(0usize, |sum, &count| sum.checked_add(usize::try_from(count).ok()?)) else {
            return Err(Error::value(OP, "the counts sum to more than memory can address"));
        };
        let mut picks = Array::zeros(&[total], DType::I64)?;
        let mut rest = picks.as_mut_slice::<i64>()?;
        for (&count, index) in counts.iter().zip(0..) {
            let (own, others) = rest.split_at_mut(count as usize);
            own.fill(index);
            rest = others;
        }
        self.index_select(axis, &picks.to(&self.device())?.into())
    }

    /// The element counts before, of, and behind dimension `axis`.
    fn around(&self, axis: usize) -> [usize; 3] {
        let dims = self.dims();
        [dims[..axis].iter().product(), dims[axis], dims[axis + 1..].iter().product()]
    }
}
