//! Average pooling (PyTorch's `avg_pool2d`): `y_o = sum of window o / d_o`.
//!
//! The divisor `d_o` is `divisor` if given; else the number of the window's positions inside the plane and, with `count_include_pad`, its padding.

#[cfg(feature = "cuda")]
use super::cuda;
use super::windows::{PIECE, Reduce, Tap, put, spaced, walk};
use super::{Planes, Pool2d, expect_gradient};
use crate::array::Array;
use crate::error::{Error, Result};
use crate::float::Float;
use crate::float::with_float;
use crate::ops::on_device;
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
    on_device!(OP, [x], |gpu| cuda::average(gpu, OP, x, pool, &planes, shape, cuda::Means { count_include_pad, divisor, backward: false }));
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
    on_device!(OP, [dy], |gpu| {
        let shape = crate::Shape::new(input_dims)?;
        cuda::average(gpu, OP, dy, pool, &planes, shape, cuda::Means { count_include_pad, divisor, backward: true })
    });
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
            // With its padding the plane is a larger one without.
            let padded = Pool2d { padding: [0; 2], ..*pool };
            let taps = |o: usize| if count_include_pad { padded.taps(d, o, size + 2 * padding) } else { pool.taps(d, o, size) };
            let count = |o: usize| taps(o).len().max(1);
            (0..planes.output[d]).map(|o| T::from_f64(1.0 / if divisor.is_some() { factor } else { count(o) } as f64)).collect()
        };
        Shares { rows: shares(0, divisor.unwrap_or(1)), columns: shares(1, 1) }
    }
}

fn expect_divisor(op: &'static str, divisor: Option<usize>) -> Result<()> {
    if divisor == Some(0) { Err(Error::value(op, "the divisor is 0, expected at least 1")) } else { Ok(()) }
}

/// The means of windows.
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
    fn run<S: Simd>(mut self) {
        walk(self.pool, self.planes, self.x, &mut self);
        let [rows, columns] = self.planes.output;
        for (row, y) in self.y.chunks_exact_mut(columns).enumerate() {
            let share = self.shares.rows[row % rows];
            y.iter_mut().zip(&self.shares.columns).for_each(|(y, column)| *y = *y * (share * *column));
        }
    }
}

impl<T: Float> Reduce<T> for Forward<'_, T> {
    #[inline(always)]
    fn piece<const STRIDE: usize, const SPAN: usize>(&mut self, x: &[T], taps: &[Tap], at: usize, count: usize) -> bool {
        let mut sums = [T::zero(); PIECE];
        for &(tap, _) in taps {
            let Some(x) = spaced::<T, STRIDE, SPAN>(x, tap) else { return false };
            for k in 0..PIECE {
                sums[k] = sums[k] + x[k];
            }
        }
        put(sums, &mut self.y[at..], count);
        true
    }

    type State = T;
    #[inline(always)]
    fn start() -> T {
        T::zero()
    }
    #[inline(always)]
    fn take(sum: &mut T, x: T, _: usize) {
        *sum = *sum + x;
    }
    #[inline(always)]
    fn end(&mut self, sum: T, at: usize) {
        self.y[at] = sum;
    }
}

/// The gradient of a row of windows: first across into one row, which all rows of the windows then take.
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
                    let (sums, scaled) = (&mut sums[from..], &scaled[windows]);
                    match pool.stride[1] {
                        1 => sums.iter_mut().zip(scaled).for_each(|(sum, dy)| *sum = *sum + *dy),
                        stride => sums.iter_mut().step_by(stride).zip(scaled).for_each(|(sum, dy)| *sum = *sum + *dy),
                    }
                }
            }
            for at in pool.taps(0, o, height).map(|i| pool.start(0, o, i)) {
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
