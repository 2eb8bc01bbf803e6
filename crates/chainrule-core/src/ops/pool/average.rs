//! Average pooling (PyTorch's `avg_pool2d`): `y_o = sum of window o / d_o`.
//!
//! The divisor `d_o` is `divisor` if given; else the number of the window's positions inside the plane and, with `count_include_pad`, its padding.

use super::{Planes, Pool2d, expect_gradient};
use crate::array::Array;
use crate::dtype::with_float;
use crate::error::{Error, Result};
use crate::ops::Float;
use crate::parallel::Target;
use crate::simd::{Kernel, Simd};

/// The means of windows.
///
/// # Errors
/// A shape other than `[N, C, H, W]` and `[C, H, W]`; what [`Pool2d::output_size`] refuses; a divisor of zero; an element type other than f32 and f64.
pub fn avg_pool2d(x: &Array, pool: &Pool2d, count_include_pad: bool, divisor: Option<usize>) -> Result<Array> {
    const OP: &str = "avg_pool2d";
    let (planes, shape) = Planes::new(OP, x.dims(), |input| pool.output_size(OP, input))?;
    let counts = Counts::new(OP, pool, &planes, count_include_pad, divisor)?;
    let x = x.contiguous()?;
    let mut y = Array::stale(shape, x.dtype())?;
    with_float!(OP, x.dtype(), T => {
        let (x, target) = (x.slice::<T>(), Target::new(y.slice_mut::<T>()));
        let (size, out) = (planes.input_size(), planes.output_size());
        planes.spread(|start, end| {
            // SAFETY: ranges of planes do not overlap.
            let y = unsafe { target.slice(start * out, end * out) };
            T::run(Forward { pool, planes, counts: &counts, x: &x[start * size..end * size], y })
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
    let counts = Counts::new(OP, pool, &planes, count_include_pad, divisor)?;
    let dy = dy.contiguous()?;
    let mut dx = Array::stale(crate::Shape::new(input_dims)?, dy.dtype())?;
    with_float!(OP, dy.dtype(), T => {
        let (dy, target) = (dy.slice::<T>(), Target::new(dx.slice_mut::<T>()));
        let (size, out) = (planes.input_size(), planes.output_size());
        planes.spread(|start, end| {
            // SAFETY: ranges of planes do not overlap.
            let dx = unsafe { target.slice(start * size, end * size) };
            T::run(Backward { pool, planes, counts: &counts, dy: &dy[start * out..end * out], dx })
        });
        Ok(dx)
    })
}

/// The divisor of window (i, j) is `rows[i] · columns[j]`.
struct Counts {
    rows: Vec<usize>,
    columns: Vec<usize>,
}

impl Counts {
    fn new(op: &'static str, pool: &Pool2d, planes: &Planes, count_include_pad: bool, divisor: Option<usize>) -> Result<Counts> {
        if divisor == Some(0) {
            return Err(Error::value(op, "the divisor is 0, expected at least 1"));
        }
        let [rows, columns] = [0, 1].map(|d| {
            let (size, padding) = (planes.input[d], pool.padding[d]);
            let counted = |padded: usize| padded < size + 2 * padding && (count_include_pad || (padding..size + padding).contains(&padded));
            let count = |o: usize| (0..pool.kernel[d]).filter(|k| counted(o * pool.stride[d] + k * pool.dilation[d])).count();
            (0..planes.output[d]).map(|o| if divisor.is_some() { 1 } else { count(o).max(1) }).collect::<Vec<_>>()
        });
        let divisor = divisor.unwrap_or(1);
        Ok(Counts { rows: rows.iter().map(|r| r * divisor).collect(), columns })
    }

    /// One over the divisors of a row of windows.
    #[inline(always)]
    fn scale<T: Float>(&self, row: usize, scale: &mut [T]) {
        for (scale, column) in scale.iter_mut().zip(&self.columns) {
            *scale = T::from_f64(1.0 / (self.rows[row] as f64 * *column as f64));
        }
    }
}

/// The sums of a row of windows: first down the columns, which are dense, then across.
struct Forward<'a, T> {
    pool: &'a Pool2d,
    planes: Planes,
    counts: &'a Counts,
    x: &'a [T],
    y: &'a mut [T],
}

impl<T: Float> Kernel for Forward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let Forward { pool, planes: Planes { input: [height, width], output: [rows, columns], .. }, counts, x, y } = self;
        let (mut sums, mut scale) = (vec![T::zero(); width], vec![T::zero(); columns]);
        for (row, y) in y.chunks_exact_mut(columns).enumerate() {
            let (plane, o) = (&x[row / rows * height * width..][..height * width], row % rows);
            sums.fill(T::zero());
            for at in (0..pool.kernel[0]).filter_map(|i| pool.position(0, o, i, height)) {
                sums.iter_mut().zip(&plane[at * width..(at + 1) * width]).for_each(|(sum, x)| *sum = *sum + *x);
            }
            y.fill(T::zero());
            for j in 0..pool.kernel[1] {
                let windows = pool.windows(1, j, width, columns);
                let Some(from) = pool.position(1, windows.start, j, width).filter(|_| !windows.is_empty()) else { continue };
                let taps = sums[from..].iter().step_by(pool.stride[1]);
                y[windows].iter_mut().zip(taps).for_each(|(y, x)| *y = *y + *x);
            }
            counts.scale(o, &mut scale);
            y.iter_mut().zip(&scale).for_each(|(y, scale)| *y = *y * *scale);
        }
    }
}

/// The same walk backward: across into one row, which all rows of the window then take.
struct Backward<'a, T> {
    pool: &'a Pool2d,
    planes: Planes,
    counts: &'a Counts,
    dy: &'a [T],
    dx: &'a mut [T],
}

impl<T: Float> Kernel for Backward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let Backward { pool, planes: Planes { input: [height, width], output: [rows, columns], .. }, counts, dy, dx } = self;
        let (mut sums, mut scale) = (vec![T::zero(); width], vec![T::zero(); columns]);
        dx.fill(T::zero());
        for (row, dy) in dy.chunks_exact(columns).enumerate() {
            let (plane, o) = (&mut dx[row / rows * height * width..][..height * width], row % rows);
            counts.scale(o, &mut scale);
            scale.iter_mut().zip(dy).for_each(|(scale, dy)| *scale = *scale * *dy);
            sums.fill(T::zero());
            for j in 0..pool.kernel[1] {
                let windows = pool.windows(1, j, width, columns);
                let Some(from) = pool.position(1, windows.start, j, width).filter(|_| !windows.is_empty()) else { continue };
                let taps = sums[from..].iter_mut().step_by(pool.stride[1]);
                taps.zip(&scale[windows]).for_each(|(sum, dy)| *sum = *sum + *dy);
            }
            for at in (0..pool.kernel[0]).filter_map(|i| pool.position(0, o, i, height)) {
                plane[at * width..(at + 1) * width].iter_mut().zip(&sums).for_each(|(dx, sum)| *dx = *dx + *sum);
            }
        }
    }
}
