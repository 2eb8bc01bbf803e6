//! Indexing by several index tensors at once, as `x[i, :, j]` in PyTorch: they broadcast against each other, and their common shape takes the place of the dimensions they index.

use crate::{Error, Result, Tensor};
use chainrule_core::ops::index::flat_positions;

/// A tensor seen as rows: indexed dimensions in front as one, the others behind.
struct Address {
    /// The dimensions of the tensor, indexed ones first.
    order: Vec<isize>,
    indexed: usize,
    /// The rows that the indices name.
    positions: Tensor,
    /// Where the indices' shape stands in the result.
    place: usize,
}

impl Address {
    fn new(op: &'static str, x: &Tensor, indices: &[Option<&Tensor>]) -> Result<Address> {
        if indices.len() > x.rank() {
            return Err(Error::shape(op, format!("{} indices for the {} dimensions of {:?}", indices.len(), x.rank(), x.shape())));
        }
        let is_indexed = |axis: &usize| indices.get(*axis).is_some_and(Option::is_some);
        let (first, rest): (Vec<usize>, Vec<usize>) = (0..x.rank()).partition(is_indexed);
        let extents: Vec<usize> = first.iter().map(|&axis| x.dims()[axis]).collect();
        let arrays: Vec<_> = indices.iter().flatten().map(|i| i.array()).collect();
        let positions = flat_positions(op, &extents, &arrays)?.into();
        // Neighbours keep their place; indices with a gap between them come to the front, as in PyTorch and NumPy.
        let together = first.windows(2).all(|pair| pair[1] == pair[0] + 1);
        let place = if together { first[0] } else { 0 };
        Ok(Address { indexed: first.len(), order: first.into_iter().chain(rest).map(|axis| axis as isize).collect(), positions, place })
    }

    /// `[n, ..]`: the indexed dimensions as one, in front.
    fn rows(&self, x: &Tensor) -> Result<Tensor> {
        let x = x.permute(&self.order)?;
        let (indexed, rest) = x.dims().split_at(self.indexed);
        x.reshape(&[&[indexed.iter().product()], rest].concat())
    }

    /// From the order of rows, the shape of the indices first, to that of the result.
    fn result_order(&self, rank: usize) -> Vec<isize> {
        let shape = self.positions.rank();
        let (indices, rest) = (0..shape as isize, shape as isize..rank as isize);
        rest.clone().take(self.place).chain(indices).chain(rest.skip(self.place)).collect()
    }
}

fn inverse(order: &[isize]) -> Vec<isize> {
    let mut inverse = vec![0; order.len()];
    order.iter().enumerate().for_each(|(i, &axis)| inverse[axis as usize] = i as isize);
    inverse
}

impl Tensor {
    /// The elements that index tensors (i64) name together, one for each dimension, `None` for all of a dimension: `x[i, :, j]` is `index(&[Some(&i), None, Some(&j)])` (PyTorch's indexing by tensors).
    /// The index tensors broadcast, negative ones count from the end, and their common shape replaces their dimensions; it comes first when a `None` stands between them.
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let x = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0], &[2, 2])?;
    /// let (i, j) = (Tensor::from_slice(&[0i64, 1, 1], &[3])?, Tensor::from_slice(&[1i64, 0, -1], &[3])?);
    /// assert_eq!(x.index(&[Some(&i), Some(&j)])?.to_vec::<f32>()?, [2.0, 3.0, 4.0]);
    /// assert_eq!(x.index(&[None, Some(&i)])?.dims(), [2, 3]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// No index tensor, or more than dimensions; tensors that are not i64 or do not broadcast; an index outside its dimension.
    pub fn index(&self, indices: &[Option<&Tensor>]) -> Result<Tensor> {
        let address = Address::new("index", self, indices)?;
        let y = address.rows(self)?.index_select(0, &address.positions)?;
        let order = address.result_order(y.rank());
        if order.is_sorted() { Ok(y) } else { y.permute(&order) }
    }

    /// This tensor with `values` at the places that [`index`](Tensor::index) reads; `values` broadcasts to the result of that. With `accumulate` they are added (PyTorch's `index_put`).
    /// ```
    /// # use chainrule_autograd::{DType, Tensor};
    /// let i = Tensor::from_slice(&[0i64, 1, 1], &[3])?;
    /// let one = Tensor::scalar(1.0, DType::F32)?;
    /// let y = Tensor::zeros(&[2, 2], DType::F32)?.index_put(&[Some(&i), Some(&i)], &one, true)?;
    /// assert_eq!(y.to_vec::<f32>()?, [1.0, 0.0, 0.0, 2.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`index`](Tensor::index); values that do not broadcast, or of another element type.
    pub fn index_put(&self, indices: &[Option<&Tensor>], values: &Tensor, accumulate: bool) -> Result<Tensor> {
        let address = Address::new("index_put", self, indices)?;
        let rows = address.rows(self)?;
        let dims = [address.positions.dims(), &rows.dims()[1..]].concat();
        let order = address.result_order(dims.len());
        let result: Vec<usize> = order.iter().map(|&axis| dims[axis as usize]).collect();
        let values = values.broadcast_to(&result)?.permute(&inverse(&order))?;
        let y = if accumulate { rows.index_add(0, &address.positions, &values)? } else { rows.index_copy(0, &address.positions, &values)? };
        let ordered: Vec<usize> = address.order.iter().map(|&axis| self.dims()[axis as usize]).collect();
        y.reshape(&ordered)?.permute(&inverse(&address.order))
    }
}
