//! Matrix products and the linear layer, on the engine in `crate::gemm`.

use crate::array::Array;
use crate::error::{Error, Result};
use crate::float::with_float;
use crate::gemm::{Activation, Batch, Bias, Epilogue, Matrix, MatrixMut, Number, gemm, gemm_batched};
use crate::layout::Layout;
use crate::ops::{expect_shape, same_dtype};
use crate::parallel::Target;
use crate::shape::Shape;

/// The matrix product (PyTorch's `matmul`): `[.., m, k] · [.., k, n] -> [.., m, n]`. Leading dimensions broadcast; a vector on the left is a row, on the right a column, and its dimension is gone from the result.
///
/// # Errors
/// Inner sizes that differ; batches that do not broadcast; scalars; element types other than f32 and f64, or different ones.
pub fn matmul(a: &Array, b: &Array) -> Result<Array> {
    const OP: &str = "matmul";
    let dtype = same_dtype(OP, a, b)?;
    if a.rank() == 0 || b.rank() == 0 {
        return Err(Error::shape(OP, format!("shapes {:?} and {:?}: a scalar has no rows and columns; use mul", a.shape(), b.shape())));
    }
    let (row, column) = (a.rank() == 1, b.rank() == 1);
    let (left, right) = (if row { a.unsqueeze(0)? } else { a.clone() }, if column { b.unsqueeze(-1)? } else { b.clone() });
    let ([m, k], [inner, n]) = (last_two(&left), last_two(&right));
    if k != inner {
        return Err(Error::shape(OP, format!("shapes {:?} and {:?}: inner sizes differ, {k} columns against {inner} rows", a.shape(), b.shape())));
    }
    let batch_of = |x: &Array| Shape::trusted(&x.dims()[..x.rank() - 2]);
    let batch = Shape::broadcast(OP, &batch_of(&left), &batch_of(&right))?;
    // One matrix on the right: all rows on the left are one tall matrix.
    let (left, batch, m) = if right.rank() == 2 && batch.rank() > 0 && left.is_contiguous() {
        (left.reshape(&[batch.count() * m, k])?, Shape::scalar(), batch.count() * m)
    } else {
        (left, batch, m)
    };
    let left = left.broadcast_to(&[&batch[..], &[m, k]].concat())?;
    let right = right.broadcast_to(&[&batch[..], &[k, n]].concat())?;
    let mut out = Array::stale(Shape::new(&[&batch[..], &[m, n]].concat())?, dtype)?;
    with_float!(OP, dtype, T => {
        multiply::<T>(&left, &right, &batch, &mut out);
        Ok(())
    })?;
    let tail: &[usize] = match (row, column) {
        (true, true) => &[],
        (true, false) => &[n],
        (false, true) => &a.dims()[a.rank() - 2..a.rank() - 1],
        (false, false) => &[a.dims()[a.rank() - 2], n],
    };
    let batch = Shape::broadcast(OP, &Shape::trusted(&a.dims()[..a.rank().saturating_sub(2)]), &Shape::trusted(&b.dims()[..b.rank().saturating_sub(2)]))?;
    out.reshape(&[&batch[..], tail].concat())
}

fn last_two(x: &Array) -> [usize; 2] {
    [x.dims()[x.rank() - 2], x.dims()[x.rank() - 1]]
}

fn matrix<T>(x: &Array) -> Matrix<T> {
    let rank = x.rank();
    Matrix { start: x.pointer(), row: x.strides()[rank - 2], column: x.strides()[rank - 1] }
}

fn multiply<T: Number>(a: &Array, b: &Array, batch: &Shape, out: &mut Array) {
    let sizes = [last_two(a)[0], last_two(b)[1], last_two(a)[1]];
    let layout = Layout::new(batch, [a.all_strides(), b.all_strides(), out.all_strides()]);
    struct Operands<T>(Matrix<T>, Matrix<T>, MatrixMut<T>);
    // SAFETY: addresses only; the products of a batch write different matrices.
    unsafe impl<T> Sync for Operands<T> {}
    let operands = Operands(matrix::<T>(a), matrix::<T>(b), MatrixMut { start: out.pointer::<T>().cast_mut(), row: sizes[1] as isize, column: 1 });
    let count = if batch.count() == 0 { 0 } else { layout.inner() };
    let batch = Batch { count, a: layout.inner_stride(0), b: layout.inner_stride(1), c: layout.inner_stride(2) };
    let operands = &operands;
    layout.rows(|[at_a, at_b, at]| {
        let Operands(a, b, c) = operands;
        let a = Matrix { start: a.start.wrapping_offset(at_a), ..*a };
        let b = Matrix { start: b.start.wrapping_offset(at_b), ..*b };
        let c = MatrixMut { start: c.start.wrapping_offset(at), ..*c };
        // SAFETY: the layout's offsets stay inside the arrays, which the sizes and strides describe; the output is new and its matrices do not overlap.
        unsafe { gemm_batched(batch, sizes, a, b, T::zero(), c, &Epilogue::NONE) }
    });
}

/// The linear layer (PyTorch's `linear`), fused with its bias: `x [.., in], weight [out, in], bias [out] -> x · weightᵀ + bias [.., out]`.
///
/// # Errors
/// Sizes that do not fit; element types other than f32 and f64, or different ones.
pub fn linear(x: &Array, weight: &Array, bias: Option<&Array>) -> Result<Array> {
    const OP: &str = "linear";
    let dtype = same_dtype(OP, x, weight)?;
    if weight.rank() != 2 {
        return Err(Error::shape(OP, format!("the weight has shape {:?}, expected [out, in]", weight.shape())));
    }
    let [outputs, inputs] = last_two(weight);
    if x.dims().last() != Some(&inputs) {
        return Err(Error::shape(OP, format!("the input has shape {:?}, weight {:?} expects [.., {inputs}]", x.shape(), weight.shape())));
    }
    if let Some(bias) = bias {
        same_dtype(OP, x, bias)?;
        expect_shape(OP, "the bias", bias, &[outputs])?;
    }
    let leading = &x.dims()[..x.rank() - 1];
    let rows: usize = leading.iter().product();
    let x = if x.rank() == 2 { x.clone() } else { x.reshape(&[rows, inputs])? };
    let bias = bias.map(|b| b.contiguous()).transpose()?;
    let mut out = Array::stale(Shape::new(&[leading, &[outputs]].concat())?, dtype)?;
    with_float!(OP, dtype, T => {
        let target = Target::new(out.slice_mut::<T>());
        let epilogue = Epilogue { bias: bias.as_ref().map_or(Bias::None, |b| Bias::PerColumn(b.slice::<T>())), activation: Activation::None };
        let weight = matrix::<T>(weight);
        // SAFETY: sizes and strides describe the arrays; the output is new and dense.
        unsafe { gemm([rows, outputs, inputs], matrix(&x), weight.transposed(), 0.0, MatrixMut { start: target.pointer(), row: outputs as isize, column: 1 }, &epilogue) };
        Ok(out)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::DType;

    fn waves(dims: &[usize]) -> Array {
        Array::from_index(dims, DType::F64, |i| ((i * 7919 % 1013) as f64 * 0.37).sin()).unwrap()
    }

    /// Every element as a sum over k, with indices broadcast by hand.
    fn naive(a: &Array, b: &Array) -> Vec<f64> {
        let (a, b) = (if a.rank() == 1 { a.unsqueeze(0).unwrap() } else { a.clone() }, if b.rank() == 1 { b.unsqueeze(-1).unwrap() } else { b.clone() });
        let ([m, k], [_, n]) = (last_two(&a), last_two(&b));
        let batch = Shape::broadcast("", &Shape::trusted(&a.dims()[..a.rank() - 2]), &Shape::trusted(&b.dims()[..b.rank() - 2])).unwrap();
        let a = a.broadcast_to(&[&batch[..], &[m, k]].concat()).unwrap().to_vec::<f64>().unwrap();
        let b = b.broadcast_to(&[&batch[..], &[k, n]].concat()).unwrap().to_vec::<f64>().unwrap();
        let mut out = vec![];
        for s in 0..batch.count() {
            for i in 0..m {
                for j in 0..n {
                    out.push((0..k).map(|p| a[(s * m + i) * k + p] * b[(s * k + p) * n + j]).sum());
                }
            }
        }
        out
    }

    #[test]
    fn products_of_all_ranks_and_views() {
        for (a, b, shape) in [
            (&[3, 4][..], &[4, 5][..], &[3, 5][..]),
            (&[4], &[4], &[]),
            (&[3, 4], &[4], &[3]),
            (&[4], &[4, 5], &[5]),
            (&[2, 3, 4], &[2, 4, 5], &[2, 3, 5]),
            (&[2, 1, 3, 4], &[5, 4, 6], &[2, 5, 3, 6]),
            (&[2, 3, 4], &[4], &[2, 3]),
            (&[2, 3, 4], &[4, 5], &[2, 3, 5]),
            (&[4], &[3, 4, 2], &[3, 2]),
            (&[0, 4], &[4, 3], &[0, 3]),
            (&[3, 0], &[0, 2], &[3, 2]),
            (&[0, 3, 4], &[4, 2], &[0, 3, 2]),
            (&[33, 70], &[70, 49], &[33, 49]),
            (&[7, 1, 2, 3], &[1, 6, 3, 2], &[7, 6, 2, 2]),
        ] {
            let (x, y) = (waves(a), waves(b));
            let flipped = |z: &Array| if z.rank() < 2 { z.clone() } else { z.transpose(-1, -2).unwrap().contiguous().unwrap().transpose(-1, -2).unwrap() };
            for (x, y) in [(x.clone(), y.clone()), (flipped(&x), y.clone()), (x.clone(), flipped(&y))] {
                let out = matmul(&x, &y).unwrap();
                assert_eq!(out.dims(), shape);
                let (got, expected) = (out.to_vec::<f64>().unwrap(), naive(&x, &y));
                assert!(got.iter().zip(&expected).all(|(g, e)| (g - e).abs() < 1e-12), "{a:?} {b:?}");
                assert_eq!(got.len(), expected.len());
            }
        }
    }

    #[test]
    fn linear_is_a_product_and_a_bias() {
        let (x, w, b) = (waves(&[2, 3, 7]), waves(&[4, 7]), waves(&[4]));
        let got = linear(&x, &w, Some(&b)).unwrap();
        let product = matmul(&x, &w.transpose(0, 1).unwrap()).unwrap();
        let expected = crate::ops::elementwise::binary(crate::ops::elementwise::Binary::Add, &product, &b).unwrap();
        let (got, expected) = (got.to_vec::<f64>().unwrap(), expected.to_vec::<f64>().unwrap());
        assert!(got.iter().zip(&expected).all(|(g, e)| (g - e).abs() < 1e-12));
    }

    #[test]
    fn errors_name_both_shapes() {
        let error = matmul(&waves(&[2, 3]), &waves(&[4, 5])).unwrap_err().to_string();
        assert!(error.contains("[2, 3]") && error.contains("[4, 5]") && error.contains("3 columns against 4 rows"), "{error}");
        let error = linear(&waves(&[2, 3]), &waves(&[4, 5]), None).unwrap_err().to_string();
        assert!(error.contains("[2, 3]") && error.contains("[4, 5]"), "{error}");
        assert!(matmul(&waves(&[]), &waves(&[4])).is_err());
    }
}
