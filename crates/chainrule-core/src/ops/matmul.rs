//! Matrix products and the linear layer, on the engine in `crate::gemm`.

pub use crate::gemm::Activation;

use crate::array::Array;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::float::with_float;
use crate::gemm::{Batch, Bias, Epilogue, Matrix, MatrixMut, Number, gemm_batched, narrowed, paired};
use crate::layout::Layout;
use crate::ops::{expect_shape, same_dtype};
use crate::shape::{MAX_RANK, Shape, Strides};
use crate::simd;

/// The matrices of an operand: its last two dimensions, with those in front counted.
struct Side<'a> {
    array: &'a Array,
    rows: usize,
    columns: usize,
    row: isize,
    column: isize,
    batch: usize,
}

impl<'a> Side<'a> {
    /// A vector is a row.
    fn left(array: &'a Array) -> Side<'a> {
        if array.rank() == 1 {
            return Side { array, rows: 1, columns: array.dims()[0], row: 0, column: array.strides()[0], batch: 0 };
        }
        Side::matrices(array)
    }
    /// A vector is a column.
    fn right(array: &'a Array) -> Side<'a> {
        if array.rank() == 1 {
            return Side { array, rows: array.dims()[0], columns: 1, row: array.strides()[0], column: 0, batch: 0 };
        }
        Side::matrices(array)
    }
    fn matrices(array: &'a Array) -> Side<'a> {
        let at = array.rank() - 2;
        let (dims, strides) = (array.dims(), array.strides());
        Side { array, rows: dims[at], columns: dims[at + 1], row: strides[at], column: strides[at + 1], batch: at }
    }
    /// Of two dimensions.
    fn transposed(self) -> Side<'a> {
        Side { rows: self.columns, columns: self.rows, row: self.column, column: self.row, ..self }
    }
    fn batch(&self) -> Shape {
        Shape::trusted(&self.array.dims()[..self.batch])
    }
    /// The steps from matrix to matrix of a batch that this one broadcasts to.
    fn batch_strides(&self, batch: &Shape) -> Strides {
        let mut strides = [0; MAX_RANK];
        let added = batch.rank() - self.batch;
        for i in 0..self.batch {
            strides[i + added] = if self.array.dims()[i] == 1 { 0 } else { self.array.strides()[i] };
        }
        strides
    }
    fn matrix<T>(&self) -> Matrix<T> {
        Matrix { start: self.array.pointer(), row: self.row, column: self.column }
    }
}

/// The matrix product (PyTorch's `matmul`): `[.., m, k] · [.., k, n] -> [.., m, n]`. Leading dimensions broadcast; a vector on the left is a row, on the right a column, and its dimension is gone from the result.
/// bf16 is multiplied as it is, added up in f32, and the sum rounded.
///
/// # Errors
/// Inner sizes that differ; batches that do not broadcast; scalars; element types other than f32, f64 and bf16, or different ones.
pub fn matmul(a: &Array, b: &Array) -> Result<Array> {
    const OP: &str = "matmul";
    match same_dtype(OP, a, b)? {
        DType::BF16 => matmul_bf16(a, b)?.cast(DType::BF16),
        _ => product(OP, a, b, false),
    }
}

/// [`matmul`] of numbers that are rounded to bf16 first, added up in f32, and the sum rounded to bf16 (what PyTorch's `autocast` computes); the result is f32.
///
/// # Errors
/// As for [`matmul`]; f64.
pub fn matmul_bf16(a: &Array, b: &Array) -> Result<Array> {
    const OP: &str = "matmul";
    let dtype = same_dtype(OP, a, b)?;
    if !matches!(dtype, DType::F32 | DType::BF16) {
        return Err(Error::DType { op: OP, got: dtype, expected: "f32 or bf16" });
    }
    let mut out = if simd::has_pairs() { product(OP, a, b, true)? } else { product(OP, &rounded(a)?, &rounded(b)?, false)? };
    narrowed(out.slice_mut());
    Ok(out)
}

/// Rounded to bf16, as f32.
fn rounded(x: &Array) -> Result<Array> {
    x.cast(DType::BF16)?.cast(DType::F32)
}

/// The product of what the arrays hold, or (f32 and bf16) of pairs made of it.
fn product(op: &'static str, a: &Array, b: &Array, pairs: bool) -> Result<Array> {
    if a.rank() == 0 || b.rank() == 0 {
        return Err(Error::shape(op, format!("shapes {:?} and {:?}: a scalar has no rows and columns; use mul", a.shape(), b.shape())));
    }
    let (left, right) = (Side::left(a), Side::right(b));
    let (k, inner) = (left.columns, right.rows);
    if k != inner {
        return Err(Error::shape(op, format!("shapes {:?} and {:?}: inner sizes differ, {k} columns against {inner} rows", a.shape(), b.shape())));
    }
    let batch = if left.batch + right.batch == 0 { Shape::scalar() } else { Shape::broadcast(op, &left.batch(), &right.batch())? };
    let mut dims = [0; MAX_RANK];
    let mut rank = batch.rank();
    dims[..rank].copy_from_slice(&batch);
    for (size, there) in [(left.rows, a.rank() > 1), (right.columns, b.rank() > 1)] {
        if there {
            dims[rank] = size;
            rank += 1;
        }
    }
    let dtype = if pairs { DType::F32 } else { a.dtype() };
    let mut out = Array::stale(Shape::new(&dims[..rank])?, dtype)?;
    if pairs {
        let a = if a.rank() == 1 { paired(&a.unsqueeze(0)?, true)? } else { paired(a, true)? };
        let b = if b.rank() == 1 { paired(&b.unsqueeze(1)?, false)? } else { paired(b, false)? };
        multiply::<f32>(Side::matrices(&a), &Side::matrices(&b), batch, &mut out, false, &Epilogue::NONE, true);
        return Ok(out);
    }
    with_float!(op, dtype, T => {
        multiply::<T>(left, &right, batch, &mut out, false, &Epilogue::NONE, false);
        Ok(())
    })?;
    Ok(out)
}

/// `out` ← the products of a batch, or what they make if they are added to it. It is dense, and nobody else looks at its memory.
fn multiply<T: Number>(mut left: Side, right: &Side, mut batch: Shape, out: &mut Array, adds: bool, epilogue: &Epilogue<T>, pairs: bool) {
    // One matrix on the right: all rows on the left are one tall matrix.
    if right.batch == 0 && left.batch > 0 && left.array.is_contiguous() {
        left = Side { rows: batch.count() * left.rows, row: left.columns as isize, column: 1, batch: 0, ..left };
        batch = Shape::scalar();
    }
    let sizes @ [m, n, _] = [left.rows, right.columns, left.columns];
    struct Operands<T>(Matrix<T>, Matrix<T>, MatrixMut<T>);
    // SAFETY: addresses only; the products of a batch write different matrices.
    unsafe impl<T> Sync for Operands<T> {}
    let c = MatrixMut { start: out.pointer::<T>().cast_mut(), row: n as isize, column: 1 };
    let operands = &Operands(left.matrix::<T>(), right.matrix::<T>(), c);
    let run = |batch: Batch, [at_a, at_b, at]: [isize; 3]| {
        let Operands(a, b, c) = operands;
        let a = Matrix { start: a.start.wrapping_offset(at_a), ..*a };
        let b = Matrix { start: b.start.wrapping_offset(at_b), ..*b };
        let c = MatrixMut { start: c.start.wrapping_offset(at), ..*c };
        // SAFETY: sizes and strides describe the arrays, in which a layout's offsets stay; the output is the only one that looks at its memory, and its matrices do not overlap.
        unsafe { gemm_batched(batch, sizes, a, b, if adds { T::one() } else { T::zero() }, c, epilogue) }
    };
    if batch.rank() == 0 {
        return run(Batch { pairs, ..Batch::ONE }, [0; 3]);
    }
    let dense = batch.pushed(m * n).dense_strides();
    let layout = Layout::new(&batch, [&left.batch_strides(&batch), &right.batch_strides(&batch), &dense]);
    let count = if batch.count() == 0 { 0 } else { layout.inner() };
    let batch = Batch { count, a: layout.inner_stride(0), b: layout.inner_stride(1), c: layout.inner_stride(2), pairs };
    layout.rows(|offsets| run(batch, offsets));
}

/// The linear layer (PyTorch's `linear`), fused with its bias and what follows: `x [.., in], weight [out, in], bias [out] -> activation(x · weightᵀ + bias) [.., out]`.
///
/// # Errors
/// Sizes that do not fit; a slope that is not finite; element types other than f32 and f64, or different ones.
pub fn linear(x: &Array, weight: &Array, bias: Option<&Array>, activation: Activation) -> Result<Array> {
    layer(x, weight, bias, activation, false, None)
}

/// `onto + x · weightᵀ` for `onto [.., out]`, in the memory of `onto` unless another array shares it.
///
/// # Errors
/// Sizes that do not fit; element types other than f32 and f64, or different ones; no memory for a copy.
pub fn linear_onto(onto: Array, x: &Array, weight: &Array) -> Result<Array> {
    layer(x, weight, None, Activation::None, false, Some(onto))
}

/// [`linear`] of f32 rounded to bf16, added up in f32, and the result rounded to bf16 (what PyTorch's `autocast` computes).
///
/// # Errors
/// As for [`linear`]; other element types than f32.
pub fn linear_bf16(x: &Array, weight: &Array, bias: Option<&Array>, activation: Activation) -> Result<Array> {
    if x.dtype() != DType::F32 {
        return Err(Error::DType { op: "linear", got: x.dtype(), expected: "f32" });
    }
    for other in [Some(weight), bias].into_iter().flatten() {
        same_dtype("linear", x, other)?;
    }
    let bias = bias.map(rounded).transpose()?;
    let mut out = if simd::has_pairs() {
        layer(x, weight, bias.as_ref(), activation, true, None)?
    } else {
        layer(&rounded(x)?, &rounded(weight)?, bias.as_ref(), activation, false, None)?
    };
    narrowed(out.slice_mut());
    Ok(out)
}

fn layer(x: &Array, weight: &Array, bias: Option<&Array>, activation: Activation, pairs: bool, onto: Option<Array>) -> Result<Array> {
    const OP: &str = "linear";
    let dtype = same_dtype(OP, x, weight)?;
    if weight.rank() != 2 {
        return Err(Error::shape(OP, format!("the weight has shape {:?}, expected [out, in]", weight.shape())));
    }
    let [outputs, inputs] = [weight.dims()[0], weight.dims()[1]];
    if x.dims().last() != Some(&inputs) {
        return Err(Error::shape(OP, format!("the input has shape {:?}, weight {:?} expects [.., {inputs}]", x.shape(), weight.shape())));
    }
    if let Some(bias) = bias {
        same_dtype(OP, x, bias)?;
        expect_shape(OP, "the bias", bias, &[outputs])?;
    }
    activation.expect_finite(OP)?;
    let dense_bias;
    let bias = match bias {
        Some(bias) if !bias.is_contiguous() => {
            dense_bias = bias.contiguous()?;
            Some(&dense_bias)
        }
        other => other,
    };
    let dims = x.shape().with(x.rank() - 1, outputs);
    let (mut out, adds) = match onto {
        None => (Array::stale(Shape::new(&dims)?, dtype)?, false),
        Some(mut onto) => {
            same_dtype(OP, x, &onto)?;
            expect_shape(OP, "what the product is added to", &onto, &dims)?;
            onto.own()?;
            (onto, true)
        }
    };
    let dense_x;
    let x = match x.rank() {
        1 | 2 if !pairs => x,
        2 => x,
        _ if x.is_contiguous() && !pairs => x,
        rank => {
            dense_x = x.reshape(&[x.dims()[..rank - 1].iter().product(), inputs])?;
            &dense_x
        }
    };
    if pairs {
        let (x, weight) = (paired(x, true)?, paired(weight, true)?);
        let right = Side::matrices(&weight).transposed();
        let epilogue = Epilogue { bias: bias.map_or(Bias::None, |b| Bias::PerColumn(b.slice())), activation };
        multiply::<f32>(Side::matrices(&x), &right, Shape::scalar(), &mut out, false, &epilogue, true);
        return Ok(out);
    }
    with_float!(OP, dtype, T => {
        let epilogue = Epilogue { bias: bias.map_or(Bias::None, |b| Bias::PerColumn(b.slice::<T>())), activation };
        let left = Side::left(x);
        let batch = left.batch();
        multiply::<T>(left, &Side::matrices(weight).transposed(), batch, &mut out, adds, &epilogue, false);
        Ok(())
    })?;
    Ok(out)
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
        let (left, right) = (Side::left(&a), Side::right(&b));
        let (m, k, n) = (left.rows, left.columns, right.columns);
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
    fn linear_is_a_product_a_bias_and_an_activation() {
        let (w, b) = (waves(&[4, 7]), waves(&[8]).stepped(0, 0, 8, 2).unwrap());
        let bias = b.to_vec::<f64>().unwrap();
        for x in [waves(&[2, 3, 7]), waves(&[7]), waves(&[5, 7]), waves(&[7, 5]).transpose(0, 1).unwrap(), waves(&[2, 7, 3]).transpose(1, 2).unwrap()] {
            for activation in [Activation::None, Activation::Relu, Activation::LeakyRelu(0.1), Activation::LeakyRelu(-2.0)] {
                let got = linear(&x, &w, Some(&b), activation).unwrap();
                let product = matmul(&x, &w.transpose(0, 1).unwrap()).unwrap();
                assert_eq!(got.dims(), product.dims());
                let expected: Vec<f64> = product.to_vec::<f64>().unwrap().iter().enumerate().map(|(i, p)| activation.of(p + bias[i % 4])).collect();
                assert!(got.to_vec::<f64>().unwrap().iter().zip(&expected).all(|(g, e)| (g - e).abs() < 1e-12), "{:?} {activation:?}", x.shape());
            }
        }
        assert!(linear(&waves(&[7]), &w, None, Activation::LeakyRelu(f64::INFINITY)).is_err());
    }

    #[test]
    fn a_product_is_added_to_what_is_there() {
        let w = waves(&[4, 7]);
        for x in [
            waves(&[2, 3, 7]),
            waves(&[7]),
            waves(&[5, 7]),
            waves(&[7, 5]).transpose(0, 1).unwrap(),
            waves(&[2, 7, 3]).transpose(1, 2).unwrap(),
            waves(&[0, 7]),
        ] {
            let product = linear(&x, &w, None, Activation::None).unwrap();
            let onto = waves(product.dims());
            let (shared, before) = (onto.clone(), onto.to_vec::<f64>().unwrap());
            let got = linear_onto(onto, &x, &w).unwrap();
            assert_eq!(shared.to_vec::<f64>().unwrap(), before);
            let at = shared.pointer::<f64>();
            let again = linear_onto(shared, &x, &w).unwrap();
            assert!(again.count() == 0 || again.pointer::<f64>() == at, "memory that nobody shares is used");
            for (i, (got, again)) in got.to_vec::<f64>().unwrap().iter().zip(again.to_vec::<f64>().unwrap()).enumerate() {
                let expected = before[i] + product.to_vec::<f64>().unwrap()[i];
                assert!(*got == again && (got - expected).abs() < 1e-12);
            }
        }
        assert!(linear_onto(waves(&[2, 4]), &waves(&[3, 7]), &w).is_err() && linear_onto(waves(&[4]).cast(DType::F32).unwrap(), &waves(&[7]), &w).is_err());
    }

    /// Products of rounded numbers in f64, rounded, up to what another order of summation makes of them.
    #[test]
    fn bf16_is_rounded_products_added_in_f32() {
        let _alone = simd::alone();
        let narrow = |x: &Array| rounded(x).unwrap().cast(DType::F64).unwrap();
        let close = |got: &Array, expected: &Array, size: f64| {
            assert_eq!(got.dims(), expected.dims());
            let (got, expected) = (got.cast(DType::F64).unwrap().to_vec::<f64>().unwrap(), expected.to_vec::<f64>().unwrap());
            for (g, e) in got.iter().zip(&expected) {
                assert!((g - e).abs() <= e.abs() / 256.0 + size * 1e-6, "{g} against {e}");
            }
        };
        for level in simd::Level::available() {
            simd::set_level(level);
            for (a, b) in [
                (&[3, 4][..], &[4, 5][..]),
                (&[4], &[4]),
                (&[5], &[5, 3]),
                (&[2, 3, 7], &[7]),
                (&[2, 1, 3, 9], &[5, 9, 6]),
                (&[2, 3, 8], &[8, 5]),
                (&[70, 301], &[301, 49]),
                (&[1, 333], &[333, 40]),
                (&[0, 3], &[3, 2]),
                (&[3, 0], &[0, 2]),
                (&[3, 1], &[1, 2]),
            ] {
                let (x, y) = (waves(a).cast(DType::F32).unwrap(), waves(b).cast(DType::F32).unwrap());
                let flipped = |z: &Array| if z.rank() < 2 { z.clone() } else { z.transpose(-1, -2).unwrap().contiguous().unwrap().transpose(-1, -2).unwrap() };
                let spread = |z: &Array| {
                    z.broadcast_to(&[&[2], z.dims()].concat()).unwrap().permute(&(1..=z.rank()).chain([0]).collect::<Vec<_>>()).unwrap().contiguous().unwrap()
                };
                for (x, y) in [(x.clone(), y.clone()), (flipped(&x), y.clone()), (x.clone(), flipped(&y)), (flipped(&x), flipped(&y))] {
                    let expected = matmul(&narrow(&x), &narrow(&y)).unwrap();
                    let k = *x.dims().last().unwrap() as f64;
                    close(&matmul_bf16(&x, &y).unwrap(), &expected, k);
                    let half = |z: &Array| z.cast(DType::BF16).unwrap();
                    close(&matmul(&half(&x), &half(&y)).unwrap(), &expected, k);
                }
                // Every second number of memory.
                let wide = spread(&x);
                let view = wide.narrow(-1, 0, 1).unwrap().reshape(x.dims()).unwrap();
                close(&matmul_bf16(&view, &y).unwrap(), &matmul(&narrow(&x), &narrow(&y)).unwrap(), *x.dims().last().unwrap() as f64);
            }
            let (x, w, b) = (waves(&[6, 33]).cast(DType::F32).unwrap(), waves(&[40, 33]).cast(DType::F32).unwrap(), waves(&[40]).cast(DType::F32).unwrap());
            let expected = linear(&narrow(&x), &narrow(&w), Some(&narrow(&b)), Activation::Relu).unwrap();
            close(&linear_bf16(&x, &w, Some(&b), Activation::Relu).unwrap(), &expected, 33.0);
            close(&linear_bf16(&x.reshape(&[2, 3, 33]).unwrap(), &w, Some(&b), Activation::Relu).unwrap(), &expected.reshape(&[2, 3, 40]).unwrap(), 33.0);
        }
        assert!(matmul_bf16(&waves(&[2, 2]), &waves(&[2, 2])).is_err());
    }

    #[test]
    fn bf16_keeps_what_is_not_finite() {
        let _alone = simd::alone();
        for level in simd::Level::available() {
            simd::set_level(level);
            let x = Array::from_slice(&[f32::NAN, f32::INFINITY, -f32::INFINITY, 3.4e38, 1.0, 0.0], &[6, 1]).unwrap();
            let one = Array::ones(&[1, 1], DType::F32).unwrap();
            let y = matmul_bf16(&x, &one).unwrap().to_vec::<f32>().unwrap();
            assert!(y[0].is_nan(), "{level:?}");
            assert_eq!(y[1..], [f32::INFINITY, -f32::INFINITY, f32::INFINITY, 1.0, 0.0], "{level:?}");
        }
    }

    #[test]
    fn errors_name_both_shapes() {
        let error = matmul(&waves(&[2, 3]), &waves(&[4, 5])).unwrap_err().to_string();
        assert!(error.contains("[2, 3]") && error.contains("[4, 5]") && error.contains("3 columns against 4 rows"), "{error}");
        let error = linear(&waves(&[2, 3]), &waves(&[4, 5]), None, Activation::None).unwrap_err().to_string();
        assert!(error.contains("[2, 3]") && error.contains("[4, 5]"), "{error}");
        assert!(matmul(&waves(&[]), &waves(&[4])).is_err());
    }
}
