//! Products of tensors that are written with matrix products and elementwise ones.

use crate::rules::reduce::positions;
use crate::{Error, Result, Shape, Tensor};

impl Tensor {
    /// `sum a_i b_i` of two vectors: `[N], [N] -> []` (PyTorch's `dot`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let (a, b) = (Tensor::from_slice(&[1f32, 2.0], &[2])?, Tensor::from_slice(&[3f32, 4.0], &[2])?);
    /// assert_eq!(a.dot(&b)?.item()?, 11.0);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Other than one dimension; different extents or element types, or other ones than f32 and f64.
    pub fn dot(&self, other: &Tensor) -> Result<Tensor> {
        if self.rank() != 1 || other.rank() != 1 {
            return Err(Error::shape("dot", format!("shapes {:?} and {:?}, expected two vectors", self.shape(), other.shape())));
        }
        self.matmul(other)
    }

    /// `beta x + alpha a b`, a matrix product added: `x` broadcasts to `[.., M, N]` (PyTorch's `addmm`, `addmv` and `baddbmm`). With `beta` 0 only its shape counts.
    /// ```
    /// # use chainrule_autograd::{DType, Tensor};
    /// let (x, a) = (Tensor::ones(&[2], DType::F32)?, Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0], &[2, 2])?);
    /// assert_eq!(x.addmm(&a, &Tensor::eye(2, DType::F32)?, 10.0, 1.0)?.to_vec::<f32>()?, [11.0, 12.0, 13.0, 14.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`matmul`](Tensor::matmul) and [`add`](Tensor::add).
    pub fn addmm(&self, a: &Tensor, b: &Tensor, beta: f64, alpha: f64) -> Result<Tensor> {
        let scaled = |x: Tensor, factor: f64| if factor == 1.0 { Ok(x) } else { x.mul_scalar(factor) };
        let x = if beta == 0.0 { Tensor::zeros_like(self)? } else { scaled(self.clone(), beta)? };
        x.add(&scaled(a.matmul(b)?, alpha)?)
    }

    /// The sum of products over dimensions `axes` of this tensor and `other_axes` of the other one, pair by pair; the remaining dimensions of both follow each other (PyTorch's `tensordot`).
    /// ```
    /// # use chainrule_autograd::{DType, Tensor};
    /// let (a, b) = (Tensor::ones(&[2, 3, 4], DType::F32)?, Tensor::ones(&[4, 3, 5], DType::F32)?);
    /// assert_eq!(a.tensordot(&b, &[1, 2], &[1, 0])?.to_vec::<f32>()?, [12.0; 10]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Lists of different lengths; a dimension named twice or out of range; extents that differ; different element types, or other ones than f32 and f64.
    pub fn tensordot(&self, other: &Tensor, axes: &[isize], other_axes: &[isize]) -> Result<Tensor> {
        const OP: &str = "tensordot";
        let named = |x: &Tensor, axes: &[isize]| if axes.is_empty() { Ok(vec![]) } else { positions(OP, x.shape(), axes) };
        let (mine, theirs) = (named(self, axes)?, named(other, other_axes)?);
        let extents = |x: &Tensor, axes: &[usize]| axes.iter().map(|&axis| x.dims()[axis]).collect::<Vec<_>>();
        if extents(self, &mine) != extents(other, &theirs) {
            return Err(Error::shape(OP, format!("dimensions {axes:?} of {:?} and {other_axes:?} of {:?} differ", self.shape(), other.shape())));
        }
        let rest = |x: &Tensor, axes: &[usize]| (0..x.rank()).filter(|axis| !axes.contains(axis)).collect::<Vec<_>>();
        let (left, right) = (rest(self, &mine), rest(other, &theirs));
        let size = |x: &Tensor, axes: &[usize]| extents(x, axes).iter().product::<usize>();
        let matrix = |x: &Tensor, rows: &[usize], columns: &[usize]| {
            let order: Vec<isize> = rows.iter().chain(columns).map(|&axis| axis as isize).collect();
            x.permute(&order)?.reshape(&[size(x, rows), size(x, columns)])
        };
        let product = matrix(self, &left, &mine)?.matmul(&matrix(other, &theirs, &right)?)?;
        product.reshape(&[extents(self, &left), extents(other, &right)].concat())
    }

    /// The Kronecker product: blocks of `b` times each element of `a`, `[.., m, n], [.., p, q] -> [.., m p, n q]` (PyTorch's `kron`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let (a, b) = (Tensor::from_slice(&[1f32, 2.0], &[2])?, Tensor::from_slice(&[3f32, 4.0], &[2])?);
    /// assert_eq!(a.kron(&b)?.to_vec::<f32>()?, [3.0, 4.0, 6.0, 8.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// More than 4 dimensions; different element types, or other ones than f32, f64 and i64.
    pub fn kron(&self, other: &Tensor) -> Result<Tensor> {
        let rank = self.rank().max(other.rank());
        // Extents of one in front, so that both have the same rank, and one beside each dimension.
        let spread = |x: &Tensor, behind: bool| {
            let extents = std::iter::repeat_n(1, rank - x.rank()).chain(x.dims().iter().copied());
            x.reshape(&extents.flat_map(|extent| if behind { [extent, 1] } else { [1, extent] }).collect::<Vec<_>>())
        };
        let blocks = spread(self, true)?.mul(&spread(other, false)?)?;
        blocks.reshape(&blocks.dims().chunks(2).map(|pair| pair[0] * pair[1]).collect::<Vec<_>>())
    }

    /// The cross product of vectors along `axis`, of extent 3, with broadcasting (PyTorch's `linalg.cross`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let (x, y) = (Tensor::from_slice(&[1f32, 0.0, 0.0], &[3])?, Tensor::from_slice(&[0f32, 1.0, 0.0], &[3])?);
    /// assert_eq!(x.cross(&y, 0)?.to_vec::<f32>()?, [0.0, 0.0, 1.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Another extent than 3; shapes that do not broadcast; different element types, or other ones than f32, f64 and i64.
    pub fn cross(&self, other: &Tensor, axis: isize) -> Result<Tensor> {
        const OP: &str = "cross";
        let common = Shape::broadcast(OP, self.shape(), other.shape())?;
        let (a, b) = (self.broadcast_to(&common)?, other.broadcast_to(&common)?);
        let extent = common[common.axis(OP, axis)?];
        if extent != 3 {
            return Err(Error::shape(OP, format!("dimension {axis} of {common:?} has extent {extent}, expected 3")));
        }
        a.roll(-1, axis)?.mul(&b.roll(-2, axis)?)?.sub(&a.roll(-2, axis)?.mul(&b.roll(-1, axis)?)?)
    }
}
