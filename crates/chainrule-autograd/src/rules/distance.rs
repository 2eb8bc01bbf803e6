//! Distances between rows.

use crate::{Error, Result, Tensor};

/// Euclidean distances of more rows come from a matrix product, `|a - b|² = |a|² + |b|² - 2 a·b`, without an array of all differences.
const MANY: usize = 25;

impl Tensor {
    /// `|x - y + eps|_p` over the last dimension, with broadcasting: `[.., D] -> [..]` (PyTorch's `pairwise_distance`, where p is 2 and eps is 1e-6 unless given).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let (a, b) = (Tensor::from_slice(&[0f32, 0.0], &[1, 2])?, Tensor::from_slice(&[3f32, 4.0], &[1, 2])?);
    /// assert_eq!(a.pairwise_distance(&b, 2.0, 0.0)?.to_vec::<f32>()?, [5.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Shapes that do not broadcast; a scalar; different element types, or other ones than f32 and f64.
    pub fn pairwise_distance(&self, other: &Tensor, p: f64, eps: f64) -> Result<Tensor> {
        self.sub(other)?.add_scalar(eps)?.norm(p, &[-1], false)
    }

    /// The p-norm distance of every row to every row of another tensor: `[.., P, D], [.., R, D] -> [.., P, R]`, with broadcasting in front (PyTorch's `cdist`). The slope at distance 0 is 0.
    /// Euclidean distances of more than 25 rows come from a matrix product, as in PyTorch, which costs digits where rows lie much closer to each other than to 0.
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let (a, b) = (Tensor::from_slice(&[0f32, 0.0], &[1, 2])?, Tensor::from_slice(&[3f32, 4.0, 0.0, 1.0], &[2, 2])?);
    /// assert_eq!(a.cdist(&b, 2.0)?.to_vec::<f32>()?, [5.0, 1.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// A p below 0; fewer than two dimensions; other extents than described; different element types, or other ones than f32 and f64.
    pub fn cdist(&self, other: &Tensor, p: f64) -> Result<Tensor> {
        const OP: &str = "cdist";
        let (&[.., rows, width], &[.., other_rows, other_width]) = (self.dims(), other.dims()) else {
            return Err(Error::shape(OP, format!("shapes {:?} and {:?}, expected [.., P, D] and [.., R, D]", self.shape(), other.shape())));
        };
        if width != other_width || p.is_nan() || p < 0.0 {
            return Err(Error::shape(
                OP,
                format!("shapes {:?} and {:?} and p = {p}, expected [.., P, D], [.., R, D] and p of 0 or more", self.shape(), other.shape()),
            ));
        }
        if p != 2.0 || rows.max(other_rows) <= MANY {
            return self.unsqueeze(-2)?.sub(&other.unsqueeze(-3)?)?.norm(p, &[-1], false);
        }
        let squares = |x: &Tensor| x.square()?.sum_over(&[-1], true);
        let products = self.matmul(&other.transpose(-2, -1)?)?.mul_scalar(-2.0)?;
        let squared = products.add(&squares(self)?)?.add(&squares(other)?.transpose(-2, -1)?)?;
        // Rounding can leave a square below 0. At 0 the root's slope is infinite; such distances become constants.
        let zero = squared.less_equal_scalar(0.0)?;
        squared.masked_fill(&zero, 1.0)?.sqrt()?.masked_fill(&zero, 0.0)
    }
}
