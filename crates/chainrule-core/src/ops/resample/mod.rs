//! Interpolation (PyTorch's `interpolate`): signals, images and volumes at another size, one axis after the other.
//!
//! Along an axis every number of the result is a weighted sum of a few neighbours, `y[.., o, ..] = Σ_t w[o][t] · x[.., i[o][t], ..]`; what `i` and `w` are is the [`Filter`]'s.
//! A map of several axes is the product of the maps of each, so bilinear, trilinear and bicubic interpolation need nothing of their own, and the transposed map is the gradient.

#[cfg(test)]
mod tests;

use crate::array::Array;
use crate::error::{Error, Result};
use crate::float::{Float, with_float};
use crate::ops::on_cpu;
use crate::parallel::{self, Target};
use crate::shape::Shape;
use crate::simd::{Kernel, Simd};

/// How numbers between the given ones are found (PyTorch's `mode`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Filter {
    /// The number at `floor(o · scale)`: `nearest`.
    #[default]
    Nearest,
    /// The number at `floor((o + 1/2) · scale)`: `nearest-exact`.
    NearestExact,
    /// On the line between two neighbours: `linear`, `bilinear`, `trilinear`.
    Linear,
    /// On a cubic curve near four neighbours, with a = -3/4 (Keys 1981): `bicubic`.
    Cubic,
}

/// The size that an interpolation leads to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scaling<const N: usize> {
    /// These extents.
    Size([usize; N]),
    /// `floor(extent · factor)`; the factor itself, not the quotient of the extents, is the scale.
    Factor([f64; N]),
}

/// An interpolation in N dimensions: depth before height before width.
///
/// ```
/// use chainrule_core::ops::resample::{Filter, Interpolation};
/// let doubled = Interpolation::factor([2.0, 2.0]);
/// assert_eq!(doubled.filter, Filter::Nearest);
/// let bilinear = Interpolation { filter: Filter::Linear, align_corners: true, ..Interpolation::size([7, 6]) };
/// assert_eq!(bilinear.output_size("interpolate", [3, 4])?, [7, 6]);
/// # Ok::<(), chainrule_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interpolation<const N: usize> {
    /// To which size.
    pub scaling: Scaling<N>,
    /// How numbers in between are found.
    pub filter: Filter,
    /// Whether the first and last numbers of both grids lie upon each other, instead of their outer edges (linear and cubic).
    pub align_corners: bool,
    /// Whether a smaller result takes all numbers into account that it stands for, instead of a few neighbours (linear and cubic).
    pub antialias: bool,
}

impl<const N: usize> Interpolation<N> {
    /// To these extents, nearest neighbours.
    pub const fn size(size: [usize; N]) -> Interpolation<N> {
        Interpolation { scaling: Scaling::Size(size), filter: Filter::Nearest, align_corners: false, antialias: false }
    }
    /// By these factors, nearest neighbours.
    pub const fn factor(factor: [f64; N]) -> Interpolation<N> {
        Interpolation { scaling: Scaling::Factor(factor), filter: Filter::Nearest, align_corners: false, antialias: false }
    }

    /// The extents of the result.
    ///
    /// # Errors
    /// Extents of 0; a factor that is not a positive number; `align_corners` or `antialias` for nearest neighbours.
    pub fn output_size(&self, op: &'static str, input: [usize; N]) -> Result<[usize; N]> {
        if (self.align_corners || self.antialias) && matches!(self.filter, Filter::Nearest | Filter::NearestExact) {
            return Err(Error::value(op, "align_corners and antialias have no meaning for nearest neighbours, only for linear and cubic interpolation"));
        }
        let output = match self.scaling {
            Scaling::Size(size) => size,
            Scaling::Factor(factor) => {
                if factor.iter().any(|f| !(f.is_finite() && *f > 0.0)) {
                    return Err(Error::value(op, format!("factors {factor:?} must be positive numbers")));
                }
                std::array::from_fn(|at| (input[at] as f64 * factor[at]).floor() as usize)
            }
        };
        if input.contains(&0) || output.contains(&0) || output.iter().any(|&n| n > 1 << 30) {
            return Err(Error::shape(op, format!("cannot go from size {input:?} to {output:?}: extents of at least 1 are expected")));
        }
        Ok(output)
    }

    fn taps(&self, at: usize, input: usize, output: usize) -> Taps {
        let scale = match self.scaling {
            _ if self.align_corners && output == 1 => 0.0,
            _ if self.align_corners => (input - 1) as f64 / (output - 1) as f64,
            Scaling::Factor(factor) => 1.0 / factor[at],
            Scaling::Size(_) => input as f64 / output as f64,
        };
        let mut taps = Taps { starts: Vec::with_capacity(output + 1), sources: Vec::new(), weights: Vec::new() };
        taps.starts.push(0);
        for o in 0..output {
            if self.antialias {
                taps.average(self.filter, scale, o, input);
            } else {
                taps.interpolate(self.filter, scale, self.align_corners, o, [input, output]);
            }
            taps.starts.push(taps.sources.len());
        }
        taps
    }
}

/// Which neighbours each number of an axis is made of, and their weights.
struct Taps {
    /// Where the neighbours of each number begin, and the end.
    starts: Vec<usize>,
    sources: Vec<usize>,
    weights: Vec<f64>,
}

impl Taps {
    fn add(&mut self, source: usize, weight: f64) {
        self.sources.push(source);
        self.weights.push(weight);
    }

    /// The neighbours of number `o` of the result.
    fn interpolate(&mut self, filter: Filter, scale: f64, align_corners: bool, o: usize, [input, output]: [usize; 2]) {
        // Where it lies among the given numbers.
        let place = if align_corners { scale * o as f64 } else { scale * (o as f64 + 0.5) - 0.5 };
        match filter {
            // PyTorch takes these in single precision, and whole scales of 1 and 2 exactly.
            Filter::Nearest if output == input => self.add(o, 1.0),
            Filter::Nearest if output == 2 * input => self.add(o / 2, 1.0),
            Filter::Nearest => self.add(((o as f32 * scale as f32).floor() as usize).min(input - 1), 1.0),
            Filter::NearestExact => self.add((((o as f32 + 0.5) * scale as f32).floor() as usize).min(input - 1), 1.0),
            Filter::Linear => {
                let left = (place.max(0.0).floor() as usize).min(input - 1);
                let share = (place - left as f64).clamp(0.0, 1.0);
                self.add(left, 1.0 - share);
                self.add((left + 1).min(input - 1), share);
            }
            Filter::Cubic => {
                let left = place.floor();
                for neighbour in [-1.0, 0.0, 1.0, 2.0] {
                    let source = (left + neighbour).clamp(0.0, (input - 1) as f64) as usize;
                    self.add(source, cubic(-0.75, place - left - neighbour));
                }
            }
        }
    }

    /// The weighted mean over all numbers that number `o` of a smaller result stands for: the filter, as wide as the step (PyTorch's `antialias`).
    fn average(&mut self, filter: Filter, scale: f64, o: usize, input: usize) {
        let (width, center) = (scale.max(1.0), scale * (o as f64 + 0.5));
        let reach = if filter == Filter::Cubic { 2.0 * width } else { width };
        let first = ((center - reach + 0.5).max(0.0) as usize).min(input - 1);
        let end = ((center + reach + 0.5) as usize).clamp(first + 1, input);
        let weight = |source: usize| {
            let distance = (source as f64 - center + 0.5) / width;
            if filter == Filter::Cubic { cubic(-0.5, distance) } else { (1.0 - distance.abs()).max(0.0) }
        };
        let total: f64 = (first..end).map(weight).sum();
        for source in first..end {
            self.add(source, if total == 0.0 { 0.0 } else { weight(source) / total });
        }
    }

    /// Whether every number stays where it is.
    fn is_identity(&self, input: usize) -> bool {
        let stays = |o: usize| (self.starts[o]..self.starts[o + 1]).all(|k| self.weights[k] == 0.0 || (self.weights[k], self.sources[k]) == (1.0, o));
        self.starts.len() == input + 1 && (0..input).all(stays)
    }
}

/// The piecewise cubic kernel with slope `a` at distance 1 (Keys 1981).
fn cubic(a: f64, distance: f64) -> f64 {
    match distance.abs() {
        t if t <= 1.0 => ((a + 2.0) * t - (a + 3.0)) * t * t + 1.0,
        t if t < 2.0 => ((a * t - 5.0 * a) * t + 8.0 * a) * t - 4.0 * a,
        _ => 0.0,
    }
}

/// Leading dimensions, and the last N extents.
fn split<const N: usize>(op: &'static str, dims: &[usize]) -> Result<(usize, [usize; N])> {
    match dims.split_last_chunk::<N>() {
        Some((outer, &inner)) => Ok((outer.iter().product(), inner)),
        None => Err(Error::shape(op, format!("the input has shape {dims:?}, expected {N} extents to interpolate, after any others"))),
    }
}

/// The last N dimensions at another size: `[.., sizes] -> [.., sizes']`.
///
/// # Errors
/// Fewer than N dimensions; what [`Interpolation::output_size`] refuses; element types other than f32 and f64.
pub fn interpolate<const N: usize>(x: &Array, how: &Interpolation<N>) -> Result<Array> {
    const OP: &str = "interpolate";
    on_cpu!(OP, [x]);
    let (leading, mut dims) = split::<N>(OP, x.dims())?;
    let output = how.output_size(OP, dims)?;
    let shape = Shape::new(&[&x.dims()[..x.rank() - N], &output].concat())?;
    let mut y = x.contiguous()?;
    // The last axis first, so that the others work on whole rows.
    for at in (0..N).rev() {
        let taps = how.taps(at, dims[at], output[at]);
        let (outer, inner) = (leading * dims[..at].iter().product::<usize>(), dims[at + 1..].iter().product());
        if !taps.is_identity(dims[at]) {
            y = gather(&y, &taps, [outer, dims[at], output[at], inner])?;
        }
        dims[at] = output[at];
    }
    y.reshape(shape.dims())
}

/// The gradient of [`interpolate`] by its input, of shape `input`: its transpose.
///
/// # Errors
/// As for [`interpolate`]; a gradient of another shape.
pub fn interpolate_backward<const N: usize>(dy: &Array, input: &[usize], how: &Interpolation<N>) -> Result<Array> {
    const OP: &str = "interpolate_backward";
    on_cpu!(OP, [dy]);
    let (leading, extents) = split::<N>(OP, input)?;
    let output = how.output_size(OP, extents)?;
    crate::ops::expect_shape(OP, "the gradient", dy, &[&input[..input.len() - N], &output].concat())?;
    let (mut dx, mut dims) = (dy.contiguous()?, output);
    for at in 0..N {
        let taps = how.taps(at, extents[at], output[at]);
        let (outer, inner) = (leading * dims[..at].iter().product::<usize>(), dims[at + 1..].iter().product());
        if !taps.is_identity(extents[at]) {
            dx = scatter(&dx, &taps, [outer, extents[at], output[at], inner])?;
        }
        dims[at] = extents[at];
    }
    dx.reshape(input)
}

/// `[outer, from, inner] -> [outer, to, inner]`.
fn gather(x: &Array, taps: &Taps, [outer, from, to, inner]: [usize; 4]) -> Result<Array> {
    const OP: &str = "interpolate";
    let mut y = Array::stale(Shape::new(&[outer, to, inner])?, x.dtype())?;
    with_float!(OP, x.dtype(), T => {
        let (x, target) = (x.slice::<T>(), Target::new(y.slice_mut::<T>()));
        parallel::ranges(outer, (parallel::GRAIN / (to * inner).max(1)).max(1), |start, end| {
            // SAFETY: ranges of the outer dimensions do not overlap.
            let y = unsafe { target.slice(start * to * inner, end * to * inner) };
            T::run(Gather { taps, x: &x[start * from * inner..end * from * inner], y, extents: [from, to, inner] });
        });
        Ok(y)
    })
}

/// The transpose: `[outer, to, inner] -> [outer, from, inner]`.
fn scatter(dy: &Array, taps: &Taps, [outer, from, to, inner]: [usize; 4]) -> Result<Array> {
    const OP: &str = "interpolate_backward";
    let mut dx = Array::zeros(&[outer, from, inner], dy.dtype())?;
    with_float!(OP, dy.dtype(), T => {
        let (dy, target) = (dy.slice::<T>(), Target::new(dx.slice_mut::<T>()));
        parallel::ranges(outer, (parallel::GRAIN / (to * inner).max(1)).max(1), |start, end| {
            // SAFETY: ranges of the outer dimensions do not overlap.
            let dx = unsafe { target.slice(start * from * inner, end * from * inner) };
            T::run(Scatter { taps, dy: &dy[start * to * inner..end * to * inner], dx, extents: [from, to, inner] });
        });
        Ok(dx)
    })
}

struct Gather<'a, T> {
    taps: &'a Taps,
    x: &'a [T],
    y: &'a mut [T],
    extents: [usize; 3],
}

impl<T: Float> Kernel for Gather<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let Gather { taps: Taps { starts, sources, weights }, x, y, extents: [from, to, inner] } = self;
        if y.is_empty() {
            return;
        }
        for (row, y) in y.chunks_exact_mut(inner).enumerate() {
            let (plane, first) = (&x[row / to * from * inner..], starts[row % to]);
            for k in first..starts[row % to + 1] {
                let (x, weight) = (&plane[sources[k] * inner..][..inner], T::from_f64(weights[k]));
                if k == first {
                    y.iter_mut().zip(x).for_each(|(y, x)| *y = *x * weight);
                } else {
                    y.iter_mut().zip(x).for_each(|(y, x)| *y = *y + *x * weight);
                }
            }
        }
    }
}

struct Scatter<'a, T> {
    taps: &'a Taps,
    dy: &'a [T],
    dx: &'a mut [T],
    extents: [usize; 3],
}

impl<T: Float> Kernel for Scatter<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let Scatter { taps: Taps { starts, sources, weights }, dy, dx, extents: [from, to, inner] } = self;
        if dy.is_empty() {
            return;
        }
        for (row, dy) in dy.chunks_exact(inner).enumerate() {
            let plane = &mut dx[row / to * from * inner..];
            for k in starts[row % to]..starts[row % to + 1] {
                let (dx, weight) = (&mut plane[sources[k] * inner..][..inner], T::from_f64(weights[k]));
                dx.iter_mut().zip(dy).for_each(|(dx, dy)| *dx = *dx + *dy * weight);
            }
        }
    }
}
