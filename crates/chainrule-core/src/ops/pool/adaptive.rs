//! Adaptive pooling (PyTorch's `adaptive_avg_pool2d`, `adaptive_max_pool2d`): the windows follow from the size of the result.
//!
//! Window `o` of `n` over a dimension of size `s` holds the positions `floor(o s / n) .. ceil((o + 1) s / n)`; windows may overlap.

#[cfg(feature = "cuda")]
use super::cuda;
use super::{Planes, expect_gradient};
use crate::array::Array;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::float::Float;
use crate::float::with_float;
use crate::ops::{on_device, row};
use crate::parallel::Target;
use crate::simd::{Kernel, Simd};
use std::ops::Range;

/// The mean of each window: `[N, C, H, W]` or `[C, H, W]` to the height and width of `output`. `[1, 1]` is global average pooling.
///
/// # Errors
/// Another number of dimensions; a plane without positions; an element type other than f32 and f64.
pub fn adaptive_avg_pool2d(x: &Array, output: [usize; 2]) -> Result<Array> {
    const OP: &str = "adaptive_avg_pool2d";
    let (planes, shape) = Planes::new(OP, x.dims(), |input| filled(OP, input, output))?;
    on_device!(OP, [x], |gpu| cuda::adaptive_average(gpu, OP, x, &planes, shape));
    let x = x.contiguous()?;
    let mut y = Array::stale(shape, x.dtype())?;
    with_float!(OP, x.dtype(), T => {
        let (x, target) = (x.slice::<T>(), Target::new(y.slice_mut::<T>()));
        planes.spread(|start, end| {
            let (size, out) = (planes.input_size(), planes.output_size());
            // SAFETY: ranges of planes do not overlap.
            let y = unsafe { target.slice(start * out, end * out) };
            T::run(Means { planes, x: &x[start * size..end * size], y })
        });
        Ok(y)
    })
}

/// The gradient `dx` of shape `input_dims`: each `dy`, divided by the size of its window, goes to all of the window's positions.
///
/// # Errors
/// As for [`adaptive_avg_pool2d`]; a gradient of other leading dimensions.
pub fn adaptive_avg_pool2d_backward(dy: &Array, input_dims: &[usize]) -> Result<Array> {
    const OP: &str = "adaptive_avg_pool2d_backward";
    let planes = planes_of(OP, dy, input_dims)?;
    on_device!(OP, [dy], |gpu| cuda::adaptive_average_backward(gpu, OP, dy, &planes, input_dims));
    let dy = dy.contiguous()?;
    let mut dx = Array::stale(crate::Shape::new(input_dims)?, dy.dtype())?;
    with_float!(OP, dy.dtype(), T => {
        let (dy, target) = (dy.slice::<T>(), Target::new(dx.slice_mut::<T>()));
        planes.spread(|start, end| {
            let (size, out) = (planes.input_size(), planes.output_size());
            // SAFETY: ranges of planes do not overlap.
            let dx = unsafe { target.slice(start * size, end * size) };
            T::run(MeansBackward { planes, dy: &dy[start * out..end * out], dx })
        });
        Ok(dx)
    })
}

/// The maximum of each window, the first in row-major order where several are (NaN wins), and its position in the `H · W` plane as i64.
///
/// # Errors
/// As for [`adaptive_avg_pool2d`].
pub fn adaptive_max_pool2d(x: &Array, output: [usize; 2]) -> Result<(Array, Array)> {
    const OP: &str = "adaptive_max_pool2d";
    let (planes, shape) = Planes::new(OP, x.dims(), |input| filled(OP, input, output))?;
    on_device!(OP, [x], |gpu| cuda::adaptive_max(gpu, OP, x, &planes, shape));
    let x = x.contiguous()?;
    let (mut y, mut positions) = (Array::stale(shape, x.dtype())?, Array::stale(shape, DType::I64)?);
    with_float!(OP, x.dtype(), T => {
        let x = x.slice::<T>();
        let (ys, all) = (Target::new(y.slice_mut::<T>()), Target::new(positions.slice_mut::<i64>()));
        let ([height, width], [rows, columns]) = (planes.input, planes.output);
        planes.spread(|start, end| {
            for o in start * planes.output_size()..end * planes.output_size() {
                let (plane, o_row, o_column) = (&x[o / (rows * columns) * height * width..], o / columns % rows, o % columns);
                let across = window(o_column, columns, width);
                let (mut most, mut at) = (T::NEG_INFINITY, window(o_row, rows, height).start * width + across.start);
                for i in window(o_row, rows, height) {
                    for j in across.clone() {
                        let x = plane[i * width + j];
                        if x > most || x.is_nan() {
                            (most, at) = (x, i * width + j);
                        }
                    }
                }
                // SAFETY: each window is written by one task.
                unsafe {
                    ys.slice(o, o + 1)[0] = most;
                    all.slice(o, o + 1)[0] = at as i64;
                }
            }
        });
        Ok((y, positions))
    })
}

/// The gradient `dx` of shape `input_dims`: each `dy` is added at the position that [`adaptive_max_pool2d`] returned for it.
///
/// # Errors
/// As for [`adaptive_max_pool2d`]; positions that are not i64 of the gradient's shape, or lie outside the plane.
pub fn adaptive_max_pool2d_backward(dy: &Array, positions: &Array, input_dims: &[usize]) -> Result<Array> {
    const OP: &str = "adaptive_max_pool2d_backward";
    let planes = planes_of(OP, dy, input_dims)?;
    expect_positions(OP, positions, dy.dims())?;
    on_device!(OP, [dy, positions], |_gpu| cuda::put(dy, positions, [planes.count, planes.input_size()], input_dims, crate::ops::gather::Join::Sum));
    let (dy, positions) = (dy.contiguous()?, inside(OP, positions, &planes)?);
    let mut dx = Array::zeros(input_dims, dy.dtype())?;
    with_float!(OP, dy.dtype(), T => {
        let (dy, positions, target) = (dy.slice::<T>(), positions.slice::<i64>(), Target::new(dx.slice_mut::<T>()));
        planes.spread(|start, end| {
            let (size, out) = (planes.input_size(), planes.output_size());
            for plane in start..end {
                // SAFETY: planes do not overlap.
                let dx = unsafe { target.slice(plane * size, (plane + 1) * size) };
                for o in plane * out..(plane + 1) * out {
                    let at = positions[o] as usize;
                    dx[at] += dy[o];
                }
            }
        });
        Ok(dx)
    })
}

/// The numbers of `x` at the positions that [`adaptive_max_pool2d`] returned: the linear map whose transpose is [`adaptive_max_pool2d_backward`].
///
/// # Errors
/// As for [`adaptive_max_pool2d_backward`].
pub fn adaptive_max_pool2d_gather(x: &Array, positions: &Array) -> Result<Array> {
    const OP: &str = "adaptive_max_pool2d_gather";
    let output = positions.dims().last_chunk::<2>().copied().unwrap_or_default();
    let (planes, shape) = Planes::new(OP, x.dims(), |input| filled(OP, input, output))?;
    expect_positions(OP, positions, &shape)?;
    on_device!(OP, [x, positions], |_gpu| cuda::pick(x, positions, planes.count));
    let (x, positions) = (x.contiguous()?, inside(OP, positions, &planes)?);
    let mut y = Array::stale(shape, x.dtype())?;
    with_float!(OP, x.dtype(), T => {
        let (x, positions) = (x.slice::<T>(), positions.slice::<i64>());
        for (o, y) in y.slice_mut::<T>().iter_mut().enumerate() {
            *y = x[o / planes.output_size() * planes.input_size() + positions[o] as usize];
        }
        Ok(y)
    })
}

#[inline(always)]
fn window(o: usize, count: usize, size: usize) -> Range<usize> {
    o * size / count..((o + 1) * size).div_ceil(count)
}

fn filled(op: &'static str, input: [usize; 2], output: [usize; 2]) -> Result<[usize; 2]> {
    if input.contains(&0) && !output.contains(&0) {
        return Err(Error::shape(op, format!("planes of {input:?} have no positions to make {output:?} of")));
    }
    if output.iter().any(|&n| n > 1 << 30) {
        return Err(Error::value(op, format!("an output of {output:?} is too large")));
    }
    Ok(output)
}

fn planes_of(op: &'static str, dy: &Array, input_dims: &[usize]) -> Result<Planes> {
    let output = dy.dims().last_chunk::<2>().copied().unwrap_or_default();
    let (planes, shape) = Planes::new(op, input_dims, |input| filled(op, input, output))?;
    expect_gradient(op, dy, &shape)?;
    Ok(planes)
}

fn expect_positions(op: &'static str, positions: &Array, dims: &[usize]) -> Result<()> {
    if positions.dtype() != DType::I64 {
        return Err(Error::DType { op, got: positions.dtype(), expected: "i64 positions" });
    }
    crate::ops::expect_shape(op, "the array of positions", positions, dims)
}

fn inside(op: &'static str, positions: &Array, planes: &Planes) -> Result<Array> {
    let positions = positions.contiguous()?;
    match positions.slice::<i64>().iter().find(|&&p| !(0..planes.input_size() as i64).contains(&p)) {
        None => Ok(positions),
        Some(p) => Err(Error::value(op, format!("position {p} is outside a plane of {:?}", planes.input))),
    }
}

struct Means<'a, T> {
    planes: Planes,
    x: &'a [T],
    y: &'a mut [T],
}

impl<T: Float> Kernel for Means<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let Planes { input: [height, width], output: [rows, columns], .. } = self.planes;
        if self.y.is_empty() {
            return;
        }
        let mut sums = if columns > 1 { vec![T::zero(); width] } else { Vec::new() };
        for (row, y) in self.y.chunks_exact_mut(columns).enumerate() {
            let (plane, down) = (&self.x[row / rows * height * width..][..height * width], window(row % rows, rows, height));
            if columns == 1 {
                // SAFETY: the kernel runs inside `simd::run`.
                let sum = unsafe { row::sum::<S, T>(&plane[down.start * width..down.end * width]) };
                y[0] = T::from_f64(sum / (down.len() * width) as f64);
                continue;
            }
            sums.fill(T::zero());
            for x in plane[down.start * width..down.end * width].chunks_exact(width) {
                sums.iter_mut().zip(x).for_each(|(sum, x)| *sum = *sum + *x);
            }
            for (o, y) in y.iter_mut().enumerate() {
                let across = window(o, columns, width);
                let size = T::from_f64((down.len() * across.len()) as f64);
                *y = sums[across].iter().fold(T::zero(), |sum, x| sum + *x) / size;
            }
        }
    }
}

struct MeansBackward<'a, T> {
    planes: Planes,
    dy: &'a [T],
    dx: &'a mut [T],
}

impl<T: Float> Kernel for MeansBackward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let Planes { input: [height, width], output: [rows, columns], .. } = self.planes;
        if [rows, columns] == [1, 1] && height * width > 0 {
            let share = T::from_f64(1.0 / (height * width) as f64);
            return self.dx.chunks_exact_mut(height * width).zip(self.dy).for_each(|(dx, dy)| dx.fill(*dy * share));
        }
        self.dx.fill(T::zero());
        if self.dy.is_empty() || self.dx.is_empty() {
            return;
        }
        let mut sums = vec![T::zero(); width];
        for (row, dy) in self.dy.chunks_exact(columns).enumerate() {
            let (plane, down) = (&mut self.dx[row / rows * height * width..][..height * width], window(row % rows, rows, height));
            sums.fill(T::zero());
            for (o, dy) in dy.iter().enumerate() {
                let across = window(o, columns, width);
                let share = *dy / T::from_f64((down.len() * across.len()) as f64);
                sums[across].iter_mut().for_each(|sum| *sum = *sum + share);
            }
            for dx in plane[down.start * width..down.end * width].chunks_exact_mut(width) {
                dx.iter_mut().zip(&sums).for_each(|(dx, sum)| *dx = *dx + *sum);
            }
        }
    }
}
