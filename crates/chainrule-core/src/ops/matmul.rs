//! Matrix products and the linear layer, on the engine in `crate::gemm`.

#[cfg(feature = "cuda")]
mod cuda;

pub use crate::gemm::Activation;

use crate::array::Array;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::float::with_float;
use crate::gemm::{Batch, Bias, Epilogue, Matrix, MatrixMut, Number, gemm_batched, narrowed, paired};
use crate::layout::Layout;
use crate::ops::{expect_shape, on_cpu, on_device, same_dtype};
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
    /// One matrix on the right: all rows on the left are one tall matrix, where they are dense.
    fn tall(self, right: &Side, batch: Shape) -> (Side<'a>, Shape) {
        if right.batch > 0 || self.batch == 0 || !self.array.is_contiguous() {
            return (self, batch);
        }
        (Side { rows: batch.count() * self.rows, row: self.columns as isize, column: 1, batch: 0, ..self }, Shape::scalar())
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
    on_cpu!(OP, [a, b]);
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
    let shape = Shape::new(&dims[..rank])?;
    on_device!(op, [a, b], |gpu| cuda::product(op, gpu, a, b, batch, shape));
    let mut out = Array::stale(shape, dtype)?;
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
fn multiply<T: Number>(left: Side, right: &Side, batch: Shape, out: &mut Array, adds: bool, epilogue: &Epilogue<T>, pairs: bool) {
    let (left, batch) = left.tall(right, batch);
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
/// On a GPU with cuBLASLt, a ReLU may make 0 of NaN.
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
    on_cpu!("linear", [x, weight; bias]);
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
    let dims = x.shape().with(x.rank() - 1, outputs);
    if let Some(onto) = &onto {
        same_dtype(OP, x, onto)?;
        expect_shape(OP, "what the product is added to", onto, &dims)?;
    }
    on_device!(OP, [x, weight; bias, onto], |gpu| cuda::layer(OP, gpu, [x, weight], bias, activation, onto));
    let dense_bias;
    let bias = match bias {
        Some(bias) if !bias.is_contiguous() => {
            dense_bias = bias.contiguous()?;
            Some(&dense_bias)
        }
        other => other,
    };
    let (mut out, adds) = match onto {
        None => (Array::stale(Shape::new(&dims)?, dtype)?, false),
        Some(mut onto) => {
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
mod tests;
