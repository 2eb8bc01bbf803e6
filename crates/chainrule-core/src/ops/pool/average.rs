//! Average pooling (PyTorch's `avg_pool2d`): `y_o = sum of window o / d_o`.
//!
//! The divisor `d_o` is `divisor` if given; else the number of the window's positions inside the plane and, with `count_include_pad`, its padding.

use super::{Planes, Pool2d, expect_gradient};
use crate::array::Array;
use crate::error::{Error, Result};
use crate::float::Float;
use crate::float::with_float;
use crate::parallel::Target;
use crate::simd::{Kernel, Simd};

/// The means of windows.
///
/// # Errors
/// A shape other than `[N, C, H, W]` and `[C, H, W]`; what [`Pool2d::output_size`] refuses; a divisor of zero; an element type other than f32 and f64.
pub fn avg_pool2d(x: &Array, pool: &Pool2d, count_include_pad: bool, divisor: Option<usize>) -> Result<Array> {
    const OP: &str = "avg_pool2d";
    let (planes, shape) = Planes::new(OP, x.dims(), |input| pool.output_size(OP, input))?;
    expect_divisor(OP, divisor)?;
    let x = x.contiguous()?;
    let mut y = Array::stale(shape, x.dtype())?;
    with_float!(OP, x.dtype(), T => {
        let shares = Shares::new(pool, &planes, count_include_pad, divisor);
        let (x, target) = (x.slice::<T>(), Target::new(y.slice_mut::<T>()));
        let (size, out) = (planes.input_size(), planes.output_size());
        planes.spread(|start, end| {
            // SAFETY: ranges of planes do not overlap.
            let y = unsafe { target.slice(start * out, end * out) };
            T::run(Forward { pool, planes, shares: &shares, x: &x[start * size..end * size], y })
        });
        Ok(y)
    })
}

/// The gradient `dx` of shape `input_dims`: each `dy / d` goes to all positions of its window, added where windows overlap.
///
/// # Errors
/// As for [`avg_pool2d`]; a gradient of another shape than its result.
pub fn avg_pool2d_backward(dy: &Array, input_dims: &[usize], pool: &Pool2d, count_include_pad: bool, divisor: Option<usize>) -> Result<Array> {
    const OP: &str = "avg_pool2d_backward";
    let (planes, shape) = Planes::new(OP, input_dims, |input| pool.output_size(OP, input))?;
    expect_gradient(OP, dy, &shape)?;
    expect_divisor(OP, divisor)?;
    let dy = dy.contiguous()?;
    let mut dx = Array::stale(crate::Shape::new(input_dims)?, dy.dtype())?;
    with_float!(OP, dy.dtype(), T => {
        let shares = Shares::new(pool, &planes, count_include_pad, divisor);
        let (dy, target) = (dy.slice::<T>(), Target::new(dx.slice_mut::<T>()));
        let (size, out) = (planes.input_size(), planes.output_size());
        planes.spread(|start, end| {
            // SAFETY: ranges of planes do not overlap.
            let dx = unsafe { target.slice(start * size, end * size) };
            T::run(Backward { pool, planes, shares: &shares, dy: &dy[start * out..end * out], dx })
        });
        Ok(dx)
    })
}

/// The window (i, j) is divided by the counts of row i and column j; kept are one over each.
struct Shares<T> {
    rows: Vec<T>,
    columns: Vec<T>,
}

impl<T: Float> Shares<T> {
    fn new(pool: &Pool2d, planes: &Planes, count_include_pad: bool, divisor: Option<usize>) -> Shares<T> {
        let shares = |d: usize, factor: usize| {
            let (size, padding) = (planes.input[d], pool.padding[d]);
            let counted = |padded: usize| padded < size + 2 * padding && (count_include_pad || (padding..size + padding).contains(&padded));
            let count = |o: usize| (0..pool.kernel[d]).filter(|k| counted(o * pool.stride[d] + k * pool.dilation[d])).count().max(1);
            (0..planes.output[d]).map(|o| T::from_f64(1.0 / if divisor.is_some() { factor } else { count(o) } as f64)).collect()
        };
        Shares { rows: shares(0, divisor.unwrap_or(1)), columns: shares(1, 1) }
    }
}

fn expect_divisor(op: &'static str, divisor: Option<usize>) -> Result<()> {
    if divisor == Some(0) { Err(Error::value(op, "the divisor is 0, expected at least 1")) } else { Ok(()) }
}

/// Windows that are summed side by side.
const PIECE: usize = 16;

/// The means of a row of windows: first down the columns, which are dense, then across.
struct Forward<'a, T> {
    pool: &'a Pool2d,
    planes: Planes,
    shares: &'a Shares<T>,
    x: &'a [T],
    y: &'a mut [T],
}

impl<T: Float> Kernel for Forward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let Forward { pool, planes: Planes { input: [height, width], output: [rows, columns], .. }, shares, x, y } = self;
        // Beyond the row stand zeros, which let the last piece read whole registers.
        let mut sums = vec![T::zero(); width + pool.stride[1].min(2) * PIECE];
        let inside = pool.inside(width, columns);
        for (row, y) in y.chunks_exact_mut(columns).enumerate() {
            let (plane, o) = (&x[row / rows * height * width..][..height * width], row % rows);
            sums[..width].fill(T::zero());
            for at in (0..pool.kernel[0]).filter_map(|i| pool.position(0, o, i, height)) {
                sums.iter_mut().zip(&plane[at * width..(at + 1) * width]).for_each(|(sum, x)| *sum = *sum + *x);
            }
            let mut at = inside.start;
            while at < inside.end && pool.stride[1] <= 2 {
                let piece = match pool.stride[1] {
                    1 => across::<T, 1>(pool, &sums, at),
                    _ => across::<T, 2>(pool, &sums, at),
                };
                let count = PIECE.min(inside.end - at);
                y[at..at + count].copy_from_slice(&piece[..count]);
                at += count;
            }
            for o in (0..inside.start).chain(at..columns) {
                y[o] = (0..pool.kernel[1]).filter_map(|j| pool.position(1, o, j, width)).fold(T::zero(), |sum, at| sum + sums[at]);
            }
            let share = shares.rows[o];
            y.iter_mut().zip(&shares.columns).for_each(|(y, column)| *y = *y * (share * *column));
        }
    }
}

/// The sums of the windows from `at` on; those beyond the row are of no account.
#[inline(always)]
fn across<T: Float, const STRIDE: usize>(pool: &Pool2d, sums: &[T], at: usize) -> [T; PIECE] {
    let mut total = [T::zero(); PIECE];
    for j in 0..pool.kernel[1] {
        let taps = &sums[at * STRIDE + j * pool.dilation[1] - pool.padding[1]..];
        let taps = &taps[..STRIDE * PIECE];
        for k in 0..PIECE {
            total[k] = total[k] + taps[k * STRIDE];
        }
    }
    total
}

/// The same walk backward: across into one row, which all rows of the window then take.
struct Backward<'a, T> {
    pool: &'a Pool2d,
    planes: Planes,
    shares: &'a Shares<T>,
    dy: &'a [T],
    dx: &'a mut [T],
}

impl<T: Float> Kernel for Backward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let Backward { pool, planes: Planes { input: [height, width], output: [rows, columns], .. }, shares, dy, dx } = self;
        let (mut sums, mut scaled) = (vec![T::zero(); width], vec![T::zero(); columns]);
        let pairs = (pool.kernel[1], pool.stride[1], pool.padding[1], pool.dilation[1]) == (2, 2, 0, 1) && 2 * columns <= width;
        // Rows that no other window touches are written once, instead of cleared and added to.
        let apart = pool.stride[0] == pool.kernel[0] && pool.dilation[0] == 1;
        if !(apart && pool.padding[0] == 0 && rows * pool.kernel[0] == height) {
            dx.fill(T::zero());
        }
        for (row, dy) in dy.chunks_exact(columns).enumerate() {
            let (plane, o) = (&mut dx[row / rows * height * width..][..height * width], row % rows);
            let share = shares.rows[o];
            scaled.iter_mut().zip(dy).zip(&shares.columns).for_each(|((scaled, dy), column)| *scaled = *dy * (share * *column));
            if pairs {
                sums.as_chunks_mut::<2>().0.iter_mut().zip(&scaled).for_each(|(sums, dy)| *sums = [*dy; 2]);
            } else {
                sums.fill(T::zero());
                for j in 0..pool.kernel[1] {
                    let windows = pool.windows(1, j, width, columns);
                    let Some(from) = pool.position(1, windows.start, j, width).filter(|_| !windows.is_empty()) else { continue };
                    let taps = sums[from..].iter_mut().step_by(pool.stride[1]);
                    taps.zip(&scaled[windows]).for_each(|(sum, dy)| *sum = *sum + *dy);
                }
            }
            for at in (0..pool.kernel[0]).filter_map(|i| pool.position(0, o, i, height)) {
                let dx = &mut plane[at * width..(at + 1) * width];
                if apart {
                    dx.copy_from_slice(&sums);
                } else {
                    dx.iter_mut().zip(&sums).for_each(|(dx, sum)| *dx = *dx + *sum);
                }
            }
        }
    }
}
