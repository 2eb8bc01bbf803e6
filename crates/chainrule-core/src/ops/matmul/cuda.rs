//! Matrix products of arrays on the GPU.

use super::{Activation, Side};
use crate::array::Array;
use crate::cuda::Gpu;
use crate::cuda::blas::{BiasSide, Finish, Operand, Product};
use crate::error::Result;
use crate::layout::Layout;
use crate::ops::expect_f32_on_device;
use crate::shape::Shape;

/// `a · b` of the shape that the batch and the operands make.
pub(super) fn product(op: &'static str, gpu: &'static Gpu, a: &Array, b: &Array, batch: Shape, shape: Shape) -> Result<Array> {
    expect_f32_on_device(op, a)?;
    let (a, b) = (plain(a)?, plain(b)?);
    let out = Array::stale_on(gpu, shape, a.dtype())?;
    multiply(op, gpu, Side::left(&a), &Side::right(&b), batch, &out, Finish::NONE)?;
    Ok(out)
}

/// `activation(x · weightᵀ + bias)`, or added to `onto`.
pub(super) fn layer(
    op: &'static str,
    gpu: &'static Gpu,
    [x, weight]: [&Array; 2],
    bias: Option<&Array>,
    activation: Activation,
    onto: Option<Array>,
) -> Result<Array> {
    expect_f32_on_device(op, x)?;
    let (outputs, inputs) = (weight.dims()[0], weight.dims()[1]);
    let bias = bias.map(|bias| bias.contiguous()).transpose()?;
    let adds = onto.is_some();
    let out = match onto {
        None => Array::stale_on(gpu, Shape::new(&x.shape().with(x.rank() - 1, outputs))?, x.dtype())?,
        Some(mut onto) => {
            onto.own()?;
            onto
        }
    };
    let weight = plain(weight)?;
    let x = match x.rank() {
        1 | 2 => plain(x)?,
        rank => x.reshape(&[x.dims()[..rank - 1].iter().product(), inputs])?,
    };
    let finish = activation.after(Finish::NONE.added(adds).biased(BiasSide::PerColumn, bias.as_ref().map(Array::address)));
    multiply(op, gpu, Side::left(&x), &Side::matrices(&weight).transposed(), Shape::scalar(), &out, finish)?;
    Ok(out)
}

impl Side<'_> {
    fn operand(&self, batch: isize) -> Operand {
        Operand { address: self.array.address(), row: self.row, column: self.column, batch }
    }
}

/// The array, or a dense copy where no side of its matrices has neighbouring elements.
fn plain(x: &Array) -> Result<Array> {
    let side = Side::left(x);
    if side.operand(0).is_plain(side.rows, side.columns) { Ok(x.clone()) } else { x.contiguous() }
}

/// `out` ← the products of a batch; it is dense, and nobody else looks at its memory.
fn multiply(op: &'static str, gpu: &'static Gpu, left: Side, right: &Side, batch: Shape, out: &Array, finish: Finish) -> Result<()> {
    let (left, batch) = left.tall(right, batch);
    let sizes @ [m, n, _] = [left.rows, right.columns, left.columns];
    if out.count() == 0 {
        return Ok(());
    }
    let dense = batch.pushed(m * n).dense_strides();
    let layout = Layout::new(&batch, [&left.batch_strides(&batch), &right.batch_strides(&batch), &dense]);
    let c = Operand { address: out.address(), row: n as isize, column: 1, batch: layout.inner_stride(2) };
    let first = Product { sizes, count: layout.inner(), a: left.operand(layout.inner_stride(0)), b: right.operand(layout.inner_stride(1)), c, finish };
    // What is no row of matrices at even steps takes a call for each row.
    let rows = &layout.dims()[..layout.dims().len().saturating_sub(1)];
    for row in 0..rows.iter().product() {
        let (mut at, mut rest) = ([0; 3], row);
        for (axis, extent) in rows.iter().enumerate().rev() {
            let index = (rest % extent) as isize;
            rest /= extent;
            at.iter_mut().enumerate().for_each(|(k, at)| *at += index * layout.strides(k)[axis]);
        }
        let moved = |x: Operand, by: isize| Operand { address: x.address.wrapping_add_signed(4 * by as i64), ..x };
        Product { a: moved(first.a, at[0]), b: moved(first.b, at[1]), c: moved(first.c, at[2]), ..first }.run(op, gpu)?;
    }
    Ok(())
}
