//! Max pooling (PyTorch's `max_pool2d`): the largest number of each window, the first in row-major order where several are; NaN wins.
//!
//! What is kept for the backward pass is the position in the window, not in the plane: a byte for windows of up to 256 positions, so that it costs a quarter of the output's memory and not twice as much.

#[cfg(feature = "cuda")]
use super::cuda;
use super::windows::{PIECE, Reduce, Tap, put, spaced, walk};
use super::{Planes, Pool2d, expect_gradient};
use crate::array::Array;
use crate::dtype::{DType, Element};
use crate::error::{Error, Result};
use crate::float::Float;
use crate::float::with_float;
use crate::ops::on_device;
use crate::parallel::Target;
use crate::simd::{Kernel, Simd};

/// The maxima `y` and their places in the windows: `kernel width · i + j`, u8 for windows of up to 256 positions, else i64. [`max_pool2d_positions`] turns places into positions in the plane.
///
/// # Errors
/// A shape other than `[N, C, H, W]` and `[C, H, W]`; what [`Pool2d::output_size`] refuses; an element type other than f32 and f64.
pub fn max_pool2d(x: &Array, pool: &Pool2d) -> Result<(Array, Array)> {
    const OP: &str = "max_pool2d";
    let (planes, shape) = Planes::new(OP, x.dims(), |input| pool.output_size(OP, input))?;
    on_device!(OP, [x], |gpu| cuda::max(gpu, OP, x, pool, &planes, shape, place_type(pool)));
    let x = x.contiguous()?;
    let (mut y, mut places) = (Array::stale(shape, x.dtype())?, Array::stale(shape, place_type(pool))?);
    with_float!(OP, x.dtype(), T => {
        match places.dtype() {
            DType::U8 => forward::<T, u8>(pool, planes, x.slice(), y.slice_mut(), places.slice_mut()),
            _ => forward::<T, i64>(pool, planes, x.slice(), y.slice_mut(), places.slice_mut()),
        }
        Ok((y, places))
    })
}

/// The gradient `dx` of shape `input_dims`: each `dy` goes to the place its maximum came from, and is added where windows overlap.
/// `places` is what [`max_pool2d`] returned; a place outside the plane passes nothing on.
///
/// # Errors
/// Shapes that do not belong together; an element type other than f32 and f64; places of another type.
pub fn max_pool2d_backward(dy: &Array, places: &Array, input_dims: &[usize], pool: &Pool2d) -> Result<Array> {
    const OP: &str = "max_pool2d_backward";
    let (planes, shape) = Planes::new(OP, input_dims, |input| pool.output_size(OP, input))?;
    expect_gradient(OP, dy, &shape)?;
    let places = checked(OP, places, &shape, pool)?;
    on_device!(OP, [dy, places], |gpu| cuda::max_backward(gpu, OP, dy, &places, pool, &planes, input_dims));
    let dy = dy.contiguous()?;
    let mut dx = Array::stale(crate::Shape::new(input_dims)?, dy.dtype())?;
    with_float!(OP, dy.dtype(), T => {
        match places.dtype() {
            DType::U8 => backward::<T, u8>(pool, planes, dy.slice(), places.slice(), dx.slice_mut()),
            _ => backward::<T, i64>(pool, planes, dy.slice(), places.slice(), dx.slice_mut()),
        }
        Ok(dx)
    })
}

/// The numbers of `x` at the places that [`max_pool2d`] returned: the linear map whose transpose is [`max_pool2d_backward`]; 0 for a place outside the plane.
///
/// # Errors
/// As for [`max_pool2d_backward`].
pub fn max_pool2d_gather(x: &Array, places: &Array, pool: &Pool2d) -> Result<Array> {
    const OP: &str = "max_pool2d_gather";
    let (planes, shape) = Planes::new(OP, x.dims(), |input| pool.output_size(OP, input))?;
    let places = checked(OP, places, &shape, pool)?;
    on_device!(OP, [x, places], |gpu| cuda::max_gather(gpu, OP, x, &places, pool, &planes));
    let x = x.contiguous()?;
    let mut y = Array::stale(shape, x.dtype())?;
    with_float!(OP, x.dtype(), T => {
        let pick = |x: &[T], at: Option<usize>| at.map_or(0.0 as T, |at| x[at]);
        match places.dtype() {
            DType::U8 => gather::<T, u8, T>(pool, planes, x.slice(), places.slice(), y.slice_mut(), pick),
            _ => gather::<T, i64, T>(pool, planes, x.slice(), places.slice(), y.slice_mut(), pick),
        }
        Ok(y)
    })
}

/// The places as positions in the `H · W` plane, i64 (PyTorch's `return_indices`); -1 for a place outside the plane.
///
/// # Errors
/// As for [`max_pool2d_backward`].
pub fn max_pool2d_positions(places: &Array, input_dims: &[usize], pool: &Pool2d) -> Result<Array> {
    const OP: &str = "max_pool2d_positions";
    let (planes, shape) = Planes::new(OP, input_dims, |input| pool.output_size(OP, input))?;
    let places = checked(OP, places, &shape, pool)?;
    on_device!(OP, [places], |gpu| cuda::max_positions(gpu, OP, &places, pool, &planes));
    let mut out = Array::stale(shape, DType::I64)?;
    let pick = |_: &[()], at: Option<usize>| at.map_or(-1, |at| at as i64);
    match places.dtype() {
        DType::U8 => gather::<(), u8, i64>(pool, planes, &[], places.slice(), out.slice_mut(), pick),
        _ => gather::<(), i64, i64>(pool, planes, &[], places.slice(), out.slice_mut(), pick),
    }
    Ok(out)
}

fn place_type(pool: &Pool2d) -> DType {
    if pool.kernel[0].saturating_mul(pool.kernel[1]) <= 256 { DType::U8 } else { DType::I64 }
}

fn checked(op: &'static str, places: &Array, shape: &[usize], pool: &Pool2d) -> Result<Array> {
    crate::ops::expect_shape(op, "the array of places", places, shape)?;
    if places.dtype() != place_type(pool) {
        return Err(Error::DType { op, got: places.dtype(), expected: "the places that max_pool2d returned for the same windows" });
    }
    places.contiguous()
}

/// A place in a window.
trait Place: Element {
    fn of(place: usize) -> Self;
    fn index(self) -> usize;
}
impl Place for u8 {
    #[inline(always)]
    fn of(place: usize) -> u8 {
        place as u8
    }
    #[inline(always)]
    fn index(self) -> usize {
        self as usize
    }
}
impl Place for i64 {
    #[inline(always)]
    fn of(place: usize) -> i64 {
        place as i64
    }
    #[inline(always)]
    fn index(self) -> usize {
        usize::try_from(self).unwrap_or(usize::MAX)
    }
}

/// Whether all windows are 2 x 2, side by side, and inside the plane.
pub(super) fn halves(pool: &Pool2d, planes: &Planes) -> bool {
    let Pool2d { kernel, stride, padding, dilation, .. } = *pool;
    let inside = (0..2).all(|d| 2 * planes.output[d] <= planes.input[d]);
    inside && (kernel, stride, padding, dilation) == ([2, 2], [2, 2], [0, 0], [1, 1])
}

fn forward<T: Float, P: Place>(pool: &Pool2d, planes: Planes, x: &[T], y: &mut [T], places: &mut [P]) {
    let (y, places) = (Target::new(y), Target::new(places));
    let (size, out) = (planes.input_size(), planes.output_size());
    let halves = halves(pool, &planes);
    planes.spread(|start, end| {
        // SAFETY: ranges of planes do not overlap.
        let (y, places) = unsafe { (y.slice(start * out, end * out), places.slice(start * out, end * out)) };
        let x = &x[start * size..end * size];
        match (halves, planes.output[1] <= 8) {
            (true, true) => T::run(Halves::<T, P, 8, 16> { planes, x, y, places }),
            (true, false) => T::run(Halves::<T, P, 16, 32> { planes, x, y, places }),
            _ => T::run(Windows { pool, planes, x, y, places }),
        }
    });
}

/// Maxima of 2 x 2 windows, in pieces of `N` windows and `M = 2 N` columns.
/// A piece may run beyond its row: what it writes there is written again, rightly, when that row's turn comes. So short rows fill a register too.
struct Halves<'a, T, P, const N: usize, const M: usize> {
    planes: Planes,
    x: &'a [T],
    y: &'a mut [T],
    places: &'a mut [P],
}

impl<T: Float, P: Place, const N: usize, const M: usize> Kernel for Halves<'_, T, P, N, M> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let Halves { planes: Planes { input: [height, width], output: [rows, columns], .. }, x, y, places } = self;
        for (row, at) in (0..y.len()).step_by(columns).enumerate() {
            let from = row / rows * height * width + row % rows * 2 * width;
            let mut j = 0;
            while j < columns {
                let (from, at) = (from + 2 * j, at + j);
                let below = x.get(from + width..).and_then(|x| x.first_chunk::<M>());
                if let (Some(below), Some(y), Some(places)) = (below, y[at..].first_chunk_mut::<N>(), places[at..].first_chunk_mut::<N>()) {
                    let mut above = [T::zero(); M];
                    above.copy_from_slice(&x[from..from + M]);
                    quads::<T, P, N, M>(&above, below, y, places);
                    j += N;
                } else {
                    let window = [x[from], x[from + 1], x[from + width], x[from + width + 1]];
                    (y[at], places[at]) = largest(window);
                    j += 1;
                }
            }
        }
    }
}

#[inline(always)]
fn largest<T: Float, P: Place>(window: [T; 4]) -> (T, P) {
    let (mut most, mut place) = (window[0], 0u8);
    for (k, x) in window.into_iter().enumerate().skip(1) {
        let better = (x > most) | x.is_nan();
        most = if better { x } else { most };
        place = if better { k as u8 } else { place };
    }
    (most, P::of(place as usize))
}

#[inline(always)]
fn quads<T: Float, P: Place, const N: usize, const M: usize>(above: &[T; M], below: &[T; M], y: &mut [T; N], places: &mut [P; N]) {
    for j in 0..N {
        (y[j], places[j]) = largest([above[2 * j], above[2 * j + 1], below[2 * j], below[2 * j + 1]]);
    }
}

/// Maxima of any windows.
struct Windows<'a, T, P> {
    pool: &'a Pool2d,
    planes: Planes,
    x: &'a [T],
    y: &'a mut [T],
    places: &'a mut [P],
}

impl<T: Float, P: Place> Kernel for Windows<'_, T, P> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(mut self) {
        walk(self.pool, self.planes, self.x, &mut self);
    }
}

impl<T: Float, P: Place> Reduce<T> for Windows<'_, T, P> {
    #[inline(always)]
    fn piece<const STRIDE: usize, const SPAN: usize>(&mut self, x: &[T], taps: &[Tap], at: usize, count: usize) -> bool {
        let (mut most, mut places) = ([T::neg_infinity(); PIECE], [P::of(taps.first().map_or(0, |tap| tap.1)); PIECE]);
        for &(tap, place) in taps {
            let (Some(x), place) = (spaced::<T, STRIDE, SPAN>(x, tap), P::of(place)) else { return false };
            for k in 0..PIECE {
                // Without short-circuits, which would keep the loop from becoming registers.
                let better = (x[k] > most[k]) | x[k].is_nan();
                most[k] = if better { x[k] } else { most[k] };
                places[k] = if better { place } else { places[k] };
            }
        }
        put(most, &mut self.y[at..], count);
        put(places, &mut self.places[at..], count);
        true
    }

    type State = (T, Option<usize>);
    #[inline(always)]
    fn start() -> Self::State {
        (T::neg_infinity(), None)
    }
    #[inline(always)]
    fn take((most, found): &mut Self::State, x: T, place: usize) {
        if found.is_none() | (x > *most) | x.is_nan() {
            (*most, *found) = (x, Some(place));
        }
    }
    #[inline(always)]
    fn end(&mut self, (most, found): Self::State, at: usize) {
        (self.y[at], self.places[at]) = (most, P::of(found.unwrap_or(0)));
    }
}

/// Finds the position in the plane that a place means.
struct Positions {
    pool: Pool2d,
    planes: Planes,
    /// Row and column of each place in a window, for the places that a byte holds.
    taps: [[u8; 2]; 256],
    /// How many there are; none where places are larger than a byte.
    count: usize,
}

impl Positions {
    fn new(pool: &Pool2d, planes: Planes) -> Positions {
        let count = if place_type(pool) == DType::U8 { pool.kernel[0] * pool.kernel[1] } else { 0 };
        let mut taps = [[0; 2]; 256];
        for (place, tap) in taps.iter_mut().enumerate().take(count) {
            *tap = [place / pool.kernel[1], place % pool.kernel[1]].map(|k| k as u8);
        }
        Positions { pool: *pool, planes, taps, count }
    }

    /// Calls `body` with each window of a plane, its number and position; the position is none when outside the plane.
    #[inline(always)]
    fn each<P: Place>(&self, places: &[P], mut body: impl FnMut(usize, Option<usize>)) {
        let columns = self.planes.output[1];
        for (row, places) in places.chunks_exact(columns).enumerate() {
            for (column, place) in places.iter().enumerate() {
                body(row * columns + column, self.find(row, column, place.index()));
            }
        }
    }

    #[inline(always)]
    fn find(&self, row: usize, column: usize, place: usize) -> Option<usize> {
        let [i, j] = match self.taps[..self.count].get(place) {
            Some(tap) => tap.map(usize::from),
            None if self.count == 0 => [place / self.pool.kernel[1], place % self.pool.kernel[1]],
            None => return None,
        };
        if i >= self.pool.kernel[0] {
            return None;
        }
        Some(self.pool.position(0, row, i, self.planes.input[0])? * self.planes.input[1] + self.pool.position(1, column, j, self.planes.input[1])?)
    }
}

fn backward<T: Float, P: Place>(pool: &Pool2d, planes: Planes, dy: &[T], places: &[P], dx: &mut [T]) {
    let dx = Target::new(dx);
    let (size, out) = (planes.input_size(), planes.output_size());
    let (halves, positions) = (halves(pool, &planes), Positions::new(pool, planes));
    planes.spread(|start, end| {
        // SAFETY: ranges of planes do not overlap.
        let dx = unsafe { dx.slice(start * size, end * size) };
        let (dy, places) = (&dy[start * out..end * out], &places[start * out..end * out]);
        match (halves, planes.output[1] <= 8) {
            (true, true) => T::run(HalvesBackward::<T, P, 8, 16> { planes, dy, places, dx }),
            (true, false) => T::run(HalvesBackward::<T, P, 16, 32> { planes, dy, places, dx }),
            _ => {
                dx.fill(T::zero());
                for ((dx, dy), places) in dx.chunks_exact_mut(size).zip(dy.chunks_exact(out)).zip(places.chunks_exact(out)) {
                    positions.each(places, |o, at| {
                        if let Some(at) = at {
                            dx[at] = dx[at] + dy[o];
                        }
                    });
                }
            }
        }
    });
}

/// The gradient of 2 x 2 windows, in pieces as in [`Halves`]; every number of `dx` is written, so nothing is cleared first.
struct HalvesBackward<'a, T, P, const N: usize, const M: usize> {
    planes: Planes,
    dy: &'a [T],
    places: &'a [P],
    dx: &'a mut [T],
}

impl<T: Float, P: Place, const N: usize, const M: usize> Kernel for HalvesBackward<'_, T, P, N, M> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let HalvesBackward { planes: Planes { input: [height, width], output: [rows, columns], .. }, dy, places, dx } = self;
        for (row, at) in (0..dy.len()).step_by(columns).enumerate() {
            let from = row / rows * height * width + row % rows * 2 * width;
            for half in 0..2 {
                let from = from + half * width;
                let mut j = 0;
                while j < columns {
                    let (at, from) = (at + j, from + 2 * j);
                    if let (Some(dx), Some(dy), Some(places)) =
                        (dx[from..].first_chunk_mut::<M>(), dy[at..].first_chunk::<N>(), places[at..].first_chunk::<N>())
                    {
                        spread::<T, P, N, M>(dy, places, 2 * half, dx);
                        j += N;
                    } else {
                        for k in 0..2 {
                            dx[from + k] = if places[at].index() == 2 * half + k { dy[at] } else { T::zero() };
                        }
                        j += 1;
                    }
                }
                if width > 2 * columns {
                    dx[from + width - 1] = T::zero();
                }
            }
            if row % rows == rows - 1 && height > 2 * rows {
                dx[from + 2 * width..from + (height - 2 * (rows - 1)) * width].fill(T::zero());
            }
        }
    }
}

#[inline(always)]
fn spread<T: Float, P: Place, const N: usize, const M: usize>(dy: &[T; N], places: &[P; N], first: usize, dx: &mut [T; M]) {
    // Copies, so that no store can touch what is still to be read: then the loops become registers.
    let (dy, places, zero) = (*dy, *places, T::zero());
    let (left, right) = (P::of(first), P::of(first + 1));
    let left: [T; N] = std::array::from_fn(|j| if places[j] == left { dy[j] } else { zero });
    let right: [T; N] = std::array::from_fn(|j| if places[j] == right { dy[j] } else { zero });
    *dx = std::array::from_fn(|j| if j % 2 == 0 { left[j / 2] } else { right[j / 2] });
}

fn gather<T: Copy + Sync, P: Place, O: Copy + Send + Sync>(
    pool: &Pool2d,
    planes: Planes,
    x: &[T],
    places: &[P],
    y: &mut [O],
    pick: impl Fn(&[T], Option<usize>) -> O + Sync,
) {
    let (y, positions) = (Target::new(y), Positions::new(pool, planes));
    let (size, out) = (planes.input_size(), planes.output_size());
    planes.spread(|start, end| {
        for plane in start..end {
            let x = x.get(plane * size..(plane + 1) * size).unwrap_or(&[]);
            // SAFETY: planes do not overlap.
            let y = unsafe { y.slice(plane * out, (plane + 1) * out) };
            positions.each(&places[plane * out..(plane + 1) * out], |o, at| y[o] = pick(x, at));
        }
    });
}
