//! Tensors stretched against each other.

use crate::{Error, Result, Shape, Tensor};

impl Tensor {
    /// The tensors broadcast to their common shape, without a copy (PyTorch's `broadcast_tensors`).
    /// ```
    /// # use chainrule_autograd::{DType, Tensor};
    /// let (a, b) = (Tensor::zeros(&[2, 1], DType::F32)?, Tensor::zeros(&[3], DType::F32)?);
    /// assert_eq!(Tensor::broadcast_tensors(&[&a, &b])?[1].dims(), [2, 3]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Shapes that do not broadcast.
    pub fn broadcast_tensors(tensors: &[&Tensor]) -> Result<Vec<Tensor>> {
        let common = tensors.iter().try_fold(Shape::scalar(), |shape, t| Shape::broadcast("broadcast_tensors", &shape, t.shape()))?;
        tensors.iter().map(|t| t.broadcast_to(&common)).collect()
    }

    /// A grid of vectors: result `k` has the shape of all extents in order, and varies along dimension `k` alone (PyTorch's `meshgrid(indexing='ij')`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let (a, b) = (Tensor::from_slice(&[1f32, 2.0], &[2])?, Tensor::from_slice(&[3f32, 4.0], &[2])?);
    /// let grid = Tensor::meshgrid(&[&a, &b])?;
    /// assert_eq!(grid[0].to_vec::<f32>()?, [1.0, 1.0, 2.0, 2.0]);
    /// assert_eq!(grid[1].to_vec::<f32>()?, [3.0, 4.0, 3.0, 4.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// A tensor of more than one dimension; more than 8 tensors.
    pub fn meshgrid(vectors: &[&Tensor]) -> Result<Vec<Tensor>> {
        if let Some(other) = vectors.iter().find(|v| v.rank() > 1) {
            return Err(Error::shape("meshgrid", format!("got shape {:?}, expected vectors", other.shape())));
        }
        let dims: Vec<usize> = vectors.iter().map(|v| v.count()).collect();
        let along = |(k, v): (usize, &&Tensor)| {
            let mut shape = vec![1; dims.len()];
            shape[k] = dims[k];
            v.reshape(&shape)?.broadcast_to(&dims)
        };
        vectors.iter().enumerate().map(along).collect()
    }

    /// The same with the first two dimensions exchanged, as coordinates x and y of an image are (PyTorch's `meshgrid(indexing='xy')`).
    /// ```
    /// # use chainrule_autograd::{DType, Tensor};
    /// let (x, y) = (Tensor::zeros(&[4], DType::F32)?, Tensor::zeros(&[3], DType::F32)?);
    /// assert_eq!(Tensor::meshgrid_xy(&[&x, &y])?[0].dims(), [3, 4]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`meshgrid`](Tensor::meshgrid).
    pub fn meshgrid_xy(vectors: &[&Tensor]) -> Result<Vec<Tensor>> {
        let grid = Tensor::meshgrid(vectors)?;
        if vectors.len() < 2 { Ok(grid) } else { grid.iter().map(|g| g.transpose(0, 1)).collect() }
    }

    /// Every choice of one element from each vector, a row each: `[n1], [n2], .. -> [n1 n2 .., vectors]` (PyTorch's `cartesian_prod`).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let (a, b) = (Tensor::from_slice(&[1f32, 2.0], &[2])?, Tensor::from_slice(&[3f32, 4.0], &[2])?);
    /// assert_eq!(Tensor::cartesian_product(&[&a, &b])?.to_vec::<f32>()?, [1.0, 3.0, 1.0, 4.0, 2.0, 3.0, 2.0, 4.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`meshgrid`](Tensor::meshgrid); no vector.
    pub fn cartesian_product(vectors: &[&Tensor]) -> Result<Tensor> {
        let columns = Tensor::meshgrid(vectors)?.iter().map(|g| g.reshape(&[g.count()])).collect::<Result<Vec<_>>>()?;
        Tensor::stack(&columns.iter().collect::<Vec<_>>(), -1)
    }
}
