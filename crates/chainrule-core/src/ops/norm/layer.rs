//! Layer normalisation (Ba, Kiros and Hinton, 2016; PyTorch's `layer_norm`): every row, the last dimensions taken together, by its own mean and variance.
//! RMS normalisation (Zhang and Sennrich, 2019; PyTorch's `rms_norm`) is the same about 0 instead of the mean: `y = x · rstd · weight` with `rstd = 1 / sqrt(mean(x²) + eps)`.
//!
//! Backward, with `z = (x - mean) rstd`, `g = dy weight` and means over the row: `dx = rstd (g - mean(g) - z mean(g z))`, `dweight = sum dy z`, `dbias = sum dy` over rows;
//! about 0, where `z = x rstd`, the term `mean(g)` is absent.

use super::{Moments, expect_eps, parameter};
use crate::array::Array;
use crate::error::{Error, Result};
use crate::float::Float;
use crate::float::with_float;
use crate::ops::{expect_shape, row, same_dtype};
use crate::parallel::{self, Target};
use crate::shape::Shape;
use crate::simd::{Kernel, Real, Simd, Vector};

/// What [`layer_norm`] computes.
#[derive(Clone, Debug)]
pub struct LayerNorm {
    /// The normalised input.
    pub y: Array,
    /// The mean of each row, `[rows]`.
    pub mean: Array,
    /// `1 / sqrt(variance + eps)` of each row, `[rows]`.
    pub rstd: Array,
}

/// What [`rms_norm`] computes.
#[derive(Clone, Debug)]
pub struct RmsNorm {
    /// The normalised input.
    pub y: Array,
    /// `1 / sqrt(mean(x²) + eps)` of each row, `[rows]`.
    pub rstd: Array,
}

/// What distances are taken from.
#[derive(Clone, Copy, PartialEq)]
enum Centre {
    Mean,
    Zero,
}

/// `x` normalised over its last `normalized` dimensions, whose extents `weight` and `bias` have; `rows` is the product of the others.
///
/// # Errors
/// More dimensions than `x` has, or none; parameters of another shape or element type; an `eps` below 0; an element type other than f32 and f64.
pub fn layer_norm(x: &Array, normalized: usize, weight: Option<&Array>, bias: Option<&Array>, eps: f64) -> Result<LayerNorm> {
    forward("layer_norm", Centre::Mean, x, normalized, weight, bias, eps)
}

/// `x` over the root of its mean square, taken over the last `normalized` dimensions, whose extents `weight` has.
///
/// # Errors
/// As for [`layer_norm`].
pub fn rms_norm(x: &Array, normalized: usize, weight: Option<&Array>, eps: f64) -> Result<RmsNorm> {
    let LayerNorm { y, rstd, .. } = forward("rms_norm", Centre::Zero, x, normalized, weight, None, eps)?;
    Ok(RmsNorm { y, rstd })
}

fn forward(op: &'static str, centre: Centre, x: &Array, normalized: usize, weight: Option<&Array>, bias: Option<&Array>, eps: f64) -> Result<LayerNorm> {
    if normalized == 0 || normalized > x.rank() {
        return Err(Error::shape(op, format!("got {normalized} dimensions to normalise, expected 1 to {} for shape {:?}", x.rank(), x.shape())));
    }
    expect_eps(op, eps)?;
    let (outer, extents) = x.dims().split_at(x.rank() - normalized);
    let (rows, size) = (outer.iter().product(), extents.iter().product());
    let (weight, bias) = (parameter(op, "the weight", weight, 1.0, x, extents)?, parameter(op, "the bias", bias, 0.0, x, extents)?);
    let x = x.contiguous()?;
    let vector = || Array::stale(Shape::trusted(&[rows]), x.dtype());
    let mut out = LayerNorm { y: Array::stale(*x.shape(), x.dtype())?, mean: vector()?, rstd: vector()? };
    with_float!(op, x.dtype(), T => {
        let (x, weight, bias) = (x.slice::<T>(), weight.slice::<T>(), bias.slice::<T>());
        let [y, mean, rstd] = [&mut out.y, &mut out.mean, &mut out.rstd].map(|a| Target::new(a.slice_mut::<T>()));
        parallel::ranges(rows, grain(size), |start, end| {
            // SAFETY: ranges of rows do not overlap.
            let (y, mean, rstd) = unsafe { (y.slice(start * size, end * size), mean.slice(start, end), rstd.slice(start, end)) };
            T::run(Forward { centre, x: &x[start * size..end * size], weight, bias, eps, y, mean, rstd })
        });
        Ok(out)
    })
}

/// The gradients `(dx, dweight, dbias)` of [`layer_norm`]; `mean` and `rstd` are what it returned, and their length tells the rows.
/// Without a weight, `dweight` and `dbias` are flat.
///
/// # Errors
/// Shapes that do not belong together; different element types, or one other than f32 and f64.
pub fn layer_norm_backward(dy: &Array, x: &Array, mean: &Array, rstd: &Array, weight: Option<&Array>) -> Result<(Array, Array, Array)> {
    backward("layer_norm_backward", Centre::Mean, dy, x, mean, rstd, weight)
}

/// The gradients `(dx, dweight)` of [`rms_norm`]; `rstd` is what it returned, and its length tells the rows. Without a weight, `dweight` is flat.
///
/// # Errors
/// As for [`layer_norm_backward`].
pub fn rms_norm_backward(dy: &Array, x: &Array, rstd: &Array, weight: Option<&Array>) -> Result<(Array, Array)> {
    let zeros = Array::zeros(rstd.dims(), rstd.dtype())?;
    let (dx, dweight, _) = backward("rms_norm_backward", Centre::Zero, dy, x, &zeros, rstd, weight)?;
    Ok((dx, dweight))
}

fn backward(op: &'static str, centre: Centre, dy: &Array, x: &Array, mean: &Array, rstd: &Array, weight: Option<&Array>) -> Result<(Array, Array, Array)> {
    same_dtype(op, x, dy)?;
    expect_shape(op, "the gradient", dy, x.dims())?;
    let rows = mean.count();
    let extents = match weight {
        Some(weight) => weight.dims().to_vec(),
        None if rows == 0 => vec![x.dims().iter().rev().take_while(|d| **d > 0).product()],
        None => vec![x.count() / rows],
    };
    let size: usize = extents.iter().product();
    if rows * size != x.count() {
        return Err(Error::shape(op, format!("{rows} means and a weight of {extents:?} do not fit an input of {:?}", x.shape())));
    }
    let (mean, rstd) = (parameter(op, "the mean", Some(mean), 0.0, x, &[rows])?, parameter(op, "rstd", Some(rstd), 0.0, x, &[rows])?);
    let weight = parameter(op, "the weight", weight, 1.0, x, &extents)?;
    let (dy, x) = (dy.contiguous()?, x.contiguous()?);
    let parameters = || Array::stale(Shape::new(&extents)?, x.dtype());
    let (mut dx, mut dweight, mut dbias) = (Array::stale(*x.shape(), x.dtype())?, parameters()?, parameters()?);
    // Each block of rows sums its share of the parameters' gradients; the shares are added in order.
    let (height, wide) = (grain(size).clamp(4, 64), size.max(1));
    let mut shares = Array::stale(Shape::new(&[rows.div_ceil(height), 2, size])?, x.dtype())?;
    with_float!(op, x.dtype(), T => {
        let (dy, x, mean, rstd, weight) = (dy.slice::<T>(), x.slice::<T>(), mean.slice::<T>(), rstd.slice::<T>(), weight.slice::<T>());
        let (target, all) = (Target::new(dx.slice_mut::<T>()), Target::new(shares.slice_mut::<T>()));
        parallel::ranges(rows.div_ceil(height), (parallel::GRAIN / (height * wide)).max(1), |start, end| {
            for block in start..end {
                let rows = block * height..((block + 1) * height).min(rows);
                let at = rows.start * size..rows.end * size;
                // SAFETY: blocks do not overlap.
                let (dx, shares) = unsafe { (target.slice(at.start, at.end), all.slice(block * 2 * size, (block + 1) * 2 * size)) };
                let (dweight, dbias) = shares.split_at_mut(size);
                T::run(Backward { centre, dy: &dy[at.clone()], x: &x[at], mean: &mean[rows.clone()], rstd: &rstd[rows], weight, dx, dweight, dbias });
            }
        });
        let shares = shares.slice::<T>();
        for (kind, out) in [&mut dweight, &mut dbias].into_iter().enumerate() {
            let out = Target::new(out.slice_mut::<T>());
            parallel::ranges(size, 256, |start, end| {
                // SAFETY: ranges do not overlap.
                let out = unsafe { out.slice(start, end) };
                T::run(Total { shares, offset: kind * size + start, step: 2 * wide, out });
            });
        }
        Ok((dx, dweight, dbias))
    })
}

/// Rows that make a task.
fn grain(size: usize) -> usize {
    (parallel::GRAIN / size.max(1)).max(1)
}

struct Forward<'a, T> {
    centre: Centre,
    x: &'a [T],
    weight: &'a [T],
    bias: &'a [T],
    eps: f64,
    y: &'a mut [T],
    mean: &'a mut [T],
    rstd: &'a mut [T],
}

impl<T: Float> Kernel for Forward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let real = T::Real::<S>::wrap;
        let size = self.weight.len();
        for (i, (mean, rstd)) in self.mean.iter_mut().zip(self.rstd).enumerate() {
            let (x, y) = (&self.x[i * size..(i + 1) * size], &mut self.y[i * size..(i + 1) * size]);
            // SAFETY: the kernel runs inside `simd::run`.
            let (centre, spread) = unsafe {
                match self.centre {
                    Centre::Mean => {
                        let moments = Moments::of::<S, T>(x);
                        (moments.mean, moments.variance())
                    }
                    Centre::Zero => (0.0, row::dot::<S, T>(x, x) / size.max(1) as f64),
                }
            };
            (*mean, *rstd) = (T::from_f64(centre), T::from_f64(1.0 / (spread + self.eps).sqrt()));
            let (mean, rstd) = (real(*mean), real(*rstd));
            for (((y, x), weight), bias) in y.iter_mut().zip(x).zip(self.weight).zip(self.bias) {
                *y = ((real(*x) - mean) * rstd).mul_add(real(*weight), real(*bias)).number();
            }
        }
    }
}

/// g = dy weight, and g (x - mean)
struct Products<'a, T>(&'a [T], &'a [T], &'a [T], T);
impl<T: Float> row::Terms<T, 2> for Products<'_, T> {
    #[inline(always)]
    unsafe fn add<S: Simd>(&self, [sum, along]: [T::Vector<S>; 2], at: usize, count: usize) -> [T::Vector<S>; 2] {
        // SAFETY: the caller's promise. Lanes beyond `count` are zero in dy, and so in the products.
        unsafe {
            let g = row::load::<S, T>(self.0, at, count).mul(row::load::<S, T>(self.2, at, count));
            let distance = row::load::<S, T>(self.1, at, count).add(T::Vector::<S>::splat(-self.3));
            [sum.add(g), g.mul_add(distance, along)]
        }
    }
}

struct Backward<'a, T> {
    centre: Centre,
    dy: &'a [T],
    x: &'a [T],
    mean: &'a [T],
    rstd: &'a [T],
    weight: &'a [T],
    dx: &'a mut [T],
    dweight: &'a mut [T],
    dbias: &'a mut [T],
}

impl<T: Float> Kernel for Backward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let real = T::Real::<S>::wrap;
        let size = self.weight.len();
        self.dweight.fill(T::zero());
        self.dbias.fill(T::zero());
        for (i, (mean, rstd)) in self.mean.iter().zip(self.rstd).enumerate() {
            let at = i * size..(i + 1) * size;
            let (dy, x, dx) = (&self.dy[at.clone()], &self.x[at.clone()], &mut self.dx[at]);
            // SAFETY: the kernel runs inside `simd::run`; the three rows have one length.
            let [sum, along] = unsafe { row::fold::<S, T, 2>(size, Products(dy, x, self.weight, *mean)) };
            let scale = (*rstd).to_f64();
            let sum = if self.centre == Centre::Mean { sum } else { 0.0 };
            let (even, along) = (real(T::from_f64(sum / size as f64)), real(T::from_f64(along * scale * scale / size as f64)));
            let (mean, rstd) = (real(*mean), real(*rstd));
            for (((dx, dy), x), weight) in dx.iter_mut().zip(dy).zip(x).zip(self.weight) {
                *dx = ((mean - real(*x)).mul_add(along, real(*dy).mul_add(real(*weight), -even)) * rstd).number();
            }
            for (((dweight, dbias), dy), x) in self.dweight.iter_mut().zip(&mut *self.dbias).zip(dy).zip(x) {
                *dweight = real(*dy).mul_add((real(*x) - mean) * rstd, real(*dweight)).number();
                *dbias = *dbias + *dy;
            }
        }
    }
}

/// The sums down some columns of the shares.
struct Total<'a, T> {
    shares: &'a [T],
    offset: usize,
    step: usize,
    out: &'a mut [T],
}

impl<T: Float> Kernel for Total<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let mut totals = vec![0f64; self.out.len()];
        for share in self.shares.chunks_exact(self.step) {
            totals.iter_mut().zip(&share[self.offset..]).for_each(|(total, share)| *total += (*share).to_f64());
        }
        self.out.iter_mut().zip(totals).for_each(|(out, total)| *out = T::from_f64(total));
    }
}
