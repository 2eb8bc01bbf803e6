//! Where elements are, and how many: indices of nonzero elements, places in a sorted line, counts. Whole numbers, which carry no gradient.

use crate::{Error, Result, Tensor};
use chainrule_core::ops::search;

impl Tensor {
    /// The indices of the elements that are not 0, a row each, as i64: `[..] -> [count, rank]` (PyTorch's `nonzero` and `argwhere`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let x = Tensor::from_slice(&[0f32, 1.0, 2.0, 0.0], &[2, 2])?;
    /// assert_eq!(x.nonzero()?.to_vec::<i64>()?, [0, 1, 1, 0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// No memory.
    pub fn nonzero(&self) -> Result<Tensor> {
        Tensor::record_without_rule("nonzero", [self], search::nonzero(&self.array)?)
    }

    /// Where each of `values` would be put into this sorted tensor, as i64: before equal numbers, or behind them when `right` (PyTorch's `searchsorted`; `bucketize` with the roles exchanged).
    /// The last dimension is sorted: `[n]` for values of any shape, or `[.., n]` for values `[.., m]`.
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let bounds = Tensor::from_slice(&[1f32, 3.0, 5.0], &[3])?;
    /// let values = Tensor::from_slice(&[0f32, 3.0, 9.0], &[3])?;
    /// assert_eq!(bounds.searchsorted(&values, false)?.to_vec::<i64>()?, [0, 1, 3]);
    /// assert_eq!(bounds.searchsorted(&values, true)?.to_vec::<i64>()?, [0, 2, 3]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Leading dimensions that differ; different element types.
    pub fn searchsorted(&self, values: &Tensor, right: bool) -> Result<Tensor> {
        Tensor::record_without_rule("searchsorted", [self, values], search::searchsorted(&self.array, &values.array, right)?)
    }

    /// How often each of `0, 1, …` occurs in these numbers (i64), as i64; at least `minimum` counts (PyTorch's `bincount(minlength)`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// assert_eq!(Tensor::from_slice(&[1i64, 0, 3, 1], &[4])?.bincount(0)?.to_vec::<i64>()?, [1, 2, 0, 1]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Numbers that are not i64, or negative.
    pub fn bincount(&self, minimum: usize) -> Result<Tensor> {
        Tensor::record_without_rule("bincount", [self], search::bincount(&self.array, minimum)?)
    }

    /// The sum of the weights of each of `0, 1, …`: `y[n] = sum of weights[k] where x[k] = n` (PyTorch's `bincount(weights)`). The weights get a gradient.
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let weights = Tensor::from_slice(&[0.5f32, 1.0, 2.0], &[3])?;
    /// assert_eq!(Tensor::from_slice(&[1i64, 0, 1], &[3])?.bincount_weighted(&weights, 0)?.to_vec::<f32>()?, [1.0, 2.5]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`bincount`](Tensor::bincount); weights of another shape, or an element type other than f32, f64 and i64.
    pub fn bincount_weighted(&self, weights: &Tensor, minimum: usize) -> Result<Tensor> {
        if weights.dims() != self.dims() {
            return Err(Error::shape("bincount_weighted", format!("the weights have shape {:?}, expected {:?}", weights.shape(), self.shape())));
        }
        let bins = search::bincount(&self.array, minimum)?.count();
        Tensor::zeros(&[bins], weights.dtype())?.index_add(0, self, weights)
    }

    /// How many elements lie in each of `bins` equal parts of `low..=high`, as i64; others and NaN are not counted (PyTorch's `histc`, which gives floats).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let x = Tensor::from_slice(&[0f32, 0.4, 0.5, 1.0, 7.0], &[5])?;
    /// assert_eq!(x.histogram(2, 0.0, 1.0)?.to_vec::<i64>()?, [2, 2]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// No bins; bounds that are not finite or not in order.
    pub fn histogram(&self, bins: usize, low: f64, high: f64) -> Result<Tensor> {
        Tensor::record_without_rule("histogram", [self], search::histogram(&self.array, bins, low, high)?)
    }
}
