//! Layer normalisation (Ba, Kiros and Hinton, 2016; PyTorch's `layer_norm`): every row, the last dimensions taken together, by its own mean and variance.
//! RMS normalisation (Zhang and Sennrich, 2019; PyTorch's `rms_norm`) is the same about 0 instead of the mean: `y = x · rstd · weight` with `rstd = 1 / sqrt(mean(x²) + eps)`.
//!
//! Backward, with `z = (x - mean) rstd`, `g = dy weight` and means over the row: `dx = rstd (g - mean(g) - z mean(g z))`, `dweight = sum dy z`, `dbias = sum dy` over rows;
//! about 0, where `z = x rstd`, the term `mean(g)` is absent.

#[cfg(feature = "cuda")]
use super::cuda;
use super::{Moments, expect_eps, parameter};
use crate::array::Array;
use crate::error::{Error, Result};
use crate::float::Float;
use crate::float::with_float;
use crate::ops::{expect_shape, on_device, row, same_dtype};
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
    on_device!(op, [x; weight, bias], |gpu| {
        let kept = if centre == Centre::Mean { cuda::Kept::Mean } else { cuda::Kept::Rstd };
        cuda::layer_norm(gpu, op, x, extents, kept, [weight, bias], eps)
    });
    let (rows, size) = (outer.iter().product(), extents.iter().product());
    let (weight, bias) = (parameter(op, "the weight", weight, 1.0, x, extents)?, parameter(op, "the bias", bias, 0.0, x, extents)?);
    let x = x.contiguous()?;
    let vector = || Array::stale(Shape::trusted(&[rows]), x.dtype());
    let mut out = LayerNorm { y: Array::stale(*x.shape(), x.dtype())?, mean: vector()?, rstd: vector()? };
    with_float!(op, x.dtype(), T => {
        let (x, weight, bias) = (x.slice::<T>(), weight.slice::<T>(), bias.slice::<T>());
        let [y, mean, rstd] = [&mut out.y, &mut out.mean, &mut out.rstd].map(|a| Target::new(a.slice_mut::<T>()));
        parallel::items(rows, size, |start, end| {
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
    let (dx, dweight, _) = backward("rms_norm_backward", Centre::Zero, dy, x, rstd, rstd, weight)?;
    Ok((dx, dweight))
}

/// About 0, the mean is not looked at, and there is no gradient of a bias.
fn backward(op: &'static str, centre: Centre, dy: &Array, x: &Array, mean: &Array, rstd: &Array, weight: Option<&Array>) -> Result<(Array, Array, Array)> {
    same_dtype(op, x, dy)?;
    expect_shape(op, "the gradient", dy, x.dims())?;
    let rows = mean.count();
    let extents = match weight {
        Some(weight) => *weight.shape(),
        None if rows == 0 => Shape::trusted(&[x.dims().iter().rev().take_while(|d| **d > 0).product()]),
        None => Shape::trusted(&[x.count() / rows]),
    };
    let size: usize = extents.iter().product();
    if rows * size != x.count() {
        return Err(Error::shape(op, format!("{rows} means and a weight of {extents:?} do not fit an input of {:?}", x.shape())));
    }
    let (mean, rstd) = (parameter(op, "the mean", Some(mean), 0.0, x, &[rows])?, parameter(op, "rstd", Some(rstd), 0.0, x, &[rows])?);
    on_device!(op, [dy, x, mean, rstd; weight], |gpu| {
        crate::ops::expect_f32_on_device(op, x)?;
        let weight = weight.map(|weight| parameter(op, "the weight", Some(weight), 1.0, x, &extents)).transpose()?;
        cuda::layer_norm_backward(gpu, [dy, x], Some(&mean).filter(|_| centre == Centre::Mean), &rstd, weight.as_ref(), extents)
    });
    let weight = parameter(op, "the weight", weight, 1.0, x, &extents)?;
    let (dy, x) = (dy.contiguous()?, x.contiguous()?);
    let kinds = if centre == Centre::Mean { 2 } else { 1 };
    let (mut dx, mut dweight) = (Array::stale(*x.shape(), x.dtype())?, Array::stale(extents, x.dtype())?);
    let mut dbias = Array::stale(if kinds == 2 { extents } else { Shape::trusted(&[0]) }, x.dtype())?;
    // Each block of rows sums its share of the parameters' gradients; the shares are added in order.
    let height = rows.div_ceil(BLOCKS).clamp((parallel::GRAIN / size.max(1)).clamp(4, 64), HIGHEST);
    let blocks = rows.div_ceil(height);
    let mut shares = Array::stale(Shape::new(&[blocks, kinds, size])?, x.dtype())?;
    with_float!(op, x.dtype(), T => {
        let (dy, x, mean, rstd, weight) = (dy.slice::<T>(), x.slice::<T>(), mean.slice::<T>(), rstd.slice::<T>(), weight.slice::<T>());
        let (target, all) = (Target::new(dx.slice_mut::<T>()), Target::new(shares.slice_mut::<T>()));
        parallel::items(blocks, height * size, |start, end| {
            for block in start..end {
                let rows = block * height..((block + 1) * height).min(rows);
                let at = rows.start * size..rows.end * size;
                // SAFETY: blocks do not overlap.
                let (dx, shares) = unsafe { (target.slice(at.start, at.end), all.slice(block * kinds * size, (block + 1) * kinds * size)) };
                let (dweight, dbias) = shares.split_at_mut(size);
                T::run(Backward { centre, dy: &dy[at.clone()], x: &x[at], mean: &mean[rows.clone()], rstd: &rstd[rows], weight, dx, dweight, dbias });
            }
        });
        let shares = shares.slice::<T>();
        for (kind, out) in [&mut dweight, &mut dbias].into_iter().enumerate().take(kinds) {
            T::run(Total { shares, offset: kind * size, step: kinds * size.max(1), out: out.slice_mut() });
        }
        Ok((dx, dweight, dbias))
    })
}

/// Blocks of rows that long inputs fall into, and the most rows of a block, which are added in the element type.
const BLOCKS: usize = 32;
const HIGHEST: usize = 256;

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
struct Weighted<'a, T>(&'a [T], &'a [T], &'a [T], T);
impl<T: Float> row::Terms<T, 2> for Weighted<'_, T> {
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
        let size = self.weight.len();
        self.dweight.fill(T::zero());
        self.dbias.fill(T::zero());
        for (i, (mean, rstd)) in self.mean.iter().zip(self.rstd).enumerate() {
            let about_mean = self.centre == Centre::Mean;
            let mean = if about_mean { *mean } else { T::zero() };
            let at = i * size..(i + 1) * size;
            let (dy, x, dx) = (&self.dy[at.clone()], &self.x[at.clone()], &mut self.dx[at]);
            // SAFETY: the kernel runs inside `simd::run`; the rows have one length.
            unsafe {
                let [sum, along] = row::fold::<S, T, 2>(size, Weighted(dy, x, self.weight, mean));
                let scale = (*rstd).to_f64();
                let sum = if about_mean { sum } else { 0.0 };
                let splat = |value: f64| T::Vector::<S>::splat(T::from_f64(value));
                let (even, along) = (splat(-sum / size as f64), splat(-along * scale * scale / size as f64));
                let (mean, rstd) = (T::Vector::<S>::splat(-mean), T::Vector::<S>::splat(*rstd));
                for at in (0..size).step_by(T::Vector::<S>::LANES) {
                    let count = T::Vector::<S>::LANES.min(size - at);
                    let load = |x: &[T]| row::load::<S, T>(x, at, count);
                    let (dy, apart) = (load(dy), load(x).add(mean));
                    let slope = apart.mul_add(along, dy.mul_add(load(self.weight), even)).mul(rstd);
                    row::store::<S, T>(slope, dx, at, count);
                    row::store::<S, T>(dy.mul_add(apart.mul(rstd), load(self.dweight)), self.dweight, at, count);
                    if about_mean {
                        row::store::<S, T>(dy.add(load(self.dbias)), self.dbias, at, count);
                    }
                }
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
        for (strip, out) in self.out.chunks_mut(STRIP).enumerate() {
            let mut totals = [0f64; STRIP];
            for share in self.shares.chunks_exact(self.step) {
                let share = &share[self.offset + strip * STRIP..][..out.len()];
                totals.iter_mut().zip(share).for_each(|(total, share)| *total += (*share).to_f64());
            }
            out.iter_mut().zip(totals).for_each(|(out, total)| *out = T::from_f64(total));
        }
    }
}

/// Columns that are added up side by side.
const STRIP: usize = 64;
