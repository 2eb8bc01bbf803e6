//! Batch normalisation (Ioffe and Szegedy, 2015; PyTorch's `batch_norm`): every channel of `[N, C, *]` by the mean and variance of its `N · L` numbers, or by given ones.
//!
//! Backward, with `z = (x - mean) rstd` and means over the channel: `dx = weight rstd (dy - mean(dy) - z mean(dy z))`, `dweight = sum dy z`, `dbias = sum dy`; with given statistics `dx = weight rstd dy`.

use super::channels::{COLUMNS, Extents, Passes, Sums};
#[cfg(feature = "cuda")]
use super::cuda;
use super::{Moments, Products, expect_eps, parameter};
use crate::array::Array;
use crate::dtype::Element;
use crate::error::Result;
use crate::float::Float;
use crate::float::with_float;
use crate::ops::{expect_shape, on_device, row, same_dtype};
use crate::parallel::Target;
use crate::shape::Shape;
use crate::simd::{Real, Simd};
use std::ops::Range;

/// What [`batch_norm`] computes.
#[derive(Clone, Debug)]
pub struct BatchNorm {
    /// The normalised input.
    pub y: Array,
    /// The mean of each channel, `[C]`.
    pub mean: Array,
    /// `1 / sqrt(variance + eps)`, `[C]`.
    pub rstd: Array,
    /// The biased variance of each channel, `[C]`.
    pub variance: Array,
}

/// `x` `[N, C, *]` normalised by its own statistics; `weight` and `bias` are `[C]`. A channel without numbers has mean and variance 0.
///
/// # Errors
/// Fewer than two dimensions; parameters of another shape or element type; an `eps` below 0; an element type other than f32 and f64.
pub fn batch_norm(x: &Array, weight: Option<&Array>, bias: Option<&Array>, eps: f64) -> Result<BatchNorm> {
    const OP: &str = "batch_norm";
    let extents = Extents::of(OP, x)?;
    expect_eps(OP, eps)?;
    on_device!(OP, [x; weight, bias], |gpu| cuda::batch_norm(gpu, OP, x, weight, bias, eps));
    let (weight, bias) = (parameter(OP, "the weight", weight, 1.0, x, &[extents.channels])?, parameter(OP, "the bias", bias, 0.0, x, &[extents.channels])?);
    let x = x.contiguous()?;
    let vector = || Array::stale(Shape::trusted(&[extents.channels]), x.dtype());
    let mut out = BatchNorm { y: Array::stale(*x.shape(), x.dtype())?, mean: vector()?, rstd: vector()?, variance: vector()? };
    with_float!(OP, x.dtype(), T => {
        let (weight, bias) = (weight.slice::<T>(), bias.slice::<T>());
        let kept = [&mut out.mean, &mut out.rstd, &mut out.variance].map(|a| Target::new(a.slice_mut::<T>()));
        let finish = |c: usize, moments: Moments| {
            let rstd = 1.0 / (moments.variance() + eps).sqrt();
            for (target, value) in kept.iter().zip([moments.mean, rstd, moments.variance()]) {
                // SAFETY: each channel is finished once.
                unsafe { target.slice(c, c + 1)[0] = T::from_f64(value) };
            }
            [T::from_f64(moments.mean), T::from_f64(rstd * weight[c].to_f64()), bias[c], 0.0]
        };
        extents.walk(&Forward { x: x.slice(), y: Target::new(out.y.slice_mut()), given: false, finish })?;
        Ok(out)
    })
}

/// The gradients `(dx, dweight, dbias)` of [`batch_norm`]; `mean` and `rstd` are what it returned.
///
/// # Errors
/// As for [`batch_norm`]; a gradient of another shape than `x`.
pub fn batch_norm_backward(dy: &Array, x: &Array, mean: &Array, rstd: &Array, weight: Option<&Array>) -> Result<(Array, Array, Array)> {
    const OP: &str = "batch_norm_backward";
    expect_alike(OP, dy, x)?;
    on_device!(OP, [dy, x, mean, rstd; weight], |gpu| {
        cuda::batch_norm_backward(gpu, OP, dy, x, cuda::Statistics { mean: Some(mean), rstd: Some(rstd), weight, given: None })
    });
    backward(OP, dy, x, mean, rstd, weight, true)
}

/// `x` `[N, C, *]` normalised by given statistics `[C]`, as a trained network infers.
///
/// # Errors
/// As for [`batch_norm`].
pub fn batch_norm_inference(x: &Array, mean: &Array, variance: &Array, weight: Option<&Array>, bias: Option<&Array>, eps: f64) -> Result<Array> {
    const OP: &str = "batch_norm_inference";
    let extents = Extents::of(OP, x)?;
    expect_eps(OP, eps)?;
    on_device!(OP, [x, mean, variance; weight, bias], |gpu| {
        cuda::batch_norm_inference(gpu, OP, x, cuda::Given { mean: Some(mean), variance: Some(variance), weight, bias, eps })
    });
    let rstd = rstd_of(OP, x, variance, extents.channels, eps)?;
    let mean = parameter(OP, "the mean", Some(mean), 0.0, x, &[extents.channels])?;
    let (weight, bias) = (parameter(OP, "the weight", weight, 1.0, x, &[extents.channels])?, parameter(OP, "the bias", bias, 0.0, x, &[extents.channels])?);
    let x = x.contiguous()?;
    let mut y = Array::stale(*x.shape(), x.dtype())?;
    with_float!(OP, x.dtype(), T => {
        let (mean, rstd, weight, bias) = (mean.slice::<T>(), rstd.slice::<T>(), weight.slice::<T>(), bias.slice::<T>());
        let finish = |c: usize, _: Moments| [mean[c], rstd[c] * weight[c], bias[c], 0.0];
        extents.walk(&Forward { x: x.slice(), y: Target::new(y.slice_mut()), given: true, finish })?;
        Ok(y)
    })
}

/// The gradients `(dx, dweight, dbias)` of [`batch_norm_inference`]; the statistics are constants.
///
/// # Errors
/// As for [`batch_norm_backward`].
pub fn batch_norm_inference_backward(dy: &Array, x: &Array, mean: &Array, variance: &Array, weight: Option<&Array>, eps: f64) -> Result<(Array, Array, Array)> {
    const OP: &str = "batch_norm_inference_backward";
    expect_alike(OP, dy, x)?;
    expect_eps(OP, eps)?;
    on_device!(OP, [dy, x, mean, variance; weight], |gpu| {
        cuda::batch_norm_backward(gpu, OP, dy, x, cuda::Statistics { mean: Some(mean), rstd: Some(variance), weight, given: Some(eps) })
    });
    let rstd = rstd_of(OP, x, variance, Extents::of(OP, x)?.channels, eps)?;
    backward(OP, dy, x, mean, &rstd, weight, false)
}

fn rstd_of(op: &'static str, x: &Array, variance: &Array, channels: usize, eps: f64) -> Result<Array> {
    let mut rstd = parameter(op, "the variance", Some(variance), 0.0, x, &[channels])?;
    with_float!(op, x.dtype(), T => {
        rstd.as_mut_slice::<T>()?.iter_mut().for_each(|v| *v = T::from_f64(1.0 / (v.to_f64() + eps).sqrt()));
        Ok(rstd)
    })
}

fn expect_alike(op: &'static str, dy: &Array, x: &Array) -> Result<()> {
    same_dtype(op, x, dy)?;
    expect_shape(op, "the gradient", dy, x.dims())
}

fn backward(
    op: &'static str,
    dy: &Array,
    x: &Array,
    mean: &Array,
    rstd: &Array,
    weight: Option<&Array>,
    own_statistics: bool,
) -> Result<(Array, Array, Array)> {
    let extents = Extents::of(op, x)?;
    let (mean, rstd) = (parameter(op, "the mean", Some(mean), 0.0, x, &[extents.channels])?, parameter(op, "rstd", Some(rstd), 0.0, x, &[extents.channels])?);
    let weight = parameter(op, "the weight", weight, 1.0, x, &[extents.channels])?;
    let (dy, x) = (dy.contiguous()?, x.contiguous()?);
    let vector = || Array::stale(Shape::trusted(&[extents.channels]), x.dtype());
    let (mut dx, mut dweight, mut dbias) = (Array::stale(*x.shape(), x.dtype())?, vector()?, vector()?);
    with_float!(op, x.dtype(), T => {
        let (mean, rstd, weight) = (mean.slice::<T>(), rstd.slice::<T>(), weight.slice::<T>());
        let kept = [Target::new(dbias.slice_mut::<T>()), Target::new(dweight.slice_mut::<T>())];
        let finish = |c: usize, [sum, along]: [f64; 2]| {
            let (rstd, count) = (rstd[c].to_f64(), (extents.batch * extents.inner) as f64);
            for (target, value) in kept.iter().zip([sum, along * rstd]) {
                // SAFETY: each channel is finished once.
                unsafe { target.slice(c, c + 1)[0] = T::from_f64(value) };
            }
            let scale = T::from_f64(rstd * weight[c].to_f64());
            [mean[c], scale, T::from_f64(sum / count), T::from_f64(along * rstd * rstd / count)]
        };
        extents.walk(&Backward { dy: dy.slice(), x: x.slice(), mean, dx: Target::new(dx.slice_mut()), own_statistics, finish })?;
        Ok((dx, dweight, dbias))
    })
}

/// Statistics, unless they are given, and `y = (x - centre) scale + shift`; the coefficients are these three.
struct Forward<'a, T, F> {
    x: &'a [T],
    y: Target<T>,
    given: bool,
    finish: F,
}

impl<T: Float, F: Fn(usize, Moments) -> [T; 4] + Sync> Passes for Forward<'_, T, F> {
    type Number = T;

    #[inline(always)]
    fn merge(a: Sums, b: Sums) -> Sums {
        Moments::from(a).merge(b.into()).into()
    }
    #[inline(always)]
    fn reduce<S: Simd>(&self, at: Range<usize>, _: usize) -> Sums {
        if self.given {
            return Sums::default();
        }
        // SAFETY: kernels call this inside `simd::run`.
        unsafe { Moments::of::<S, T>(&self.x[at]) }.into()
    }
    #[inline(always)]
    fn reduce_columns<S: Simd>(&self, extents: Extents, rows: Range<usize>, first: usize, sums: &mut [Sums]) {
        if self.given {
            return;
        }
        let (inner, width, count) = (extents.inner, sums.len() * extents.inner, rows.len() * extents.inner);
        let row = |n: usize| &self.x[n * extents.columns() + first * inner..][..width];
        let channel = |values: &[T; COLUMNS], c: usize| values[c * inner..(c + 1) * inner].iter().map(|x| (*x).to_f64()).sum::<f64>();
        let (mut centres, mut distances, mut squares) = ([T::zero(); COLUMNS], [T::zero(); COLUMNS], [T::zero(); COLUMNS]);
        for n in rows.clone() {
            distances.iter_mut().zip(row(n)).for_each(|(sum, x)| *sum = *sum + *x);
        }
        for c in 0..sums.len() {
            let mean = channel(&distances, c) / count as f64;
            centres[c * inner..(c + 1) * inner].fill(T::from_f64(mean));
        }
        distances = [T::zero(); COLUMNS];
        for n in rows {
            for (((distance, square), centre), x) in distances.iter_mut().zip(&mut squares).zip(&centres).zip(row(n)) {
                let apart = *x - *centre;
                *distance = *distance + apart;
                *square = *square + apart * apart;
            }
        }
        for (c, sums) in sums.iter_mut().enumerate() {
            *sums = Moments::about(centres[c * inner].to_f64(), count, [channel(&distances, c), channel(&squares, c)]).into();
        }
    }
    #[inline(always)]
    fn finish(&self, c: usize, sums: Sums) -> [T; 4] {
        (self.finish)(c, sums.into())
    }
    #[inline(always)]
    fn write<S: Simd>(&self, at: Range<usize>, [centre, scale, shift, _]: [T; 4]) {
        let [centre, scale, shift] = [centre, scale, shift].map(T::Real::<S>::wrap);
        // SAFETY: the walk passes over every number once, inside the arrays.
        let y = unsafe { self.y.slice(at.start, at.end) };
        for (y, x) in y.iter_mut().zip(&self.x[at]) {
            *y = (T::Real::<S>::wrap(*x) - centre).mul_add(scale, shift).number();
        }
    }
    #[inline(always)]
    fn write_row<S: Simd>(&self, at: Range<usize>, [centre, scale, shift, _]: [&[T]; 4]) {
        let real = T::Real::<S>::wrap;
        // SAFETY: as in `write`.
        let y = unsafe { self.y.slice(at.start, at.end) };
        for ((((y, x), centre), scale), shift) in y.iter_mut().zip(&self.x[at]).zip(centre).zip(scale).zip(shift) {
            *y = (real(*x) - real(*centre)).mul_add(real(*scale), real(*shift)).number();
        }
    }
}

/// The sums of `dy` and of `dy (x - mean)`, and `dx = scale (dy - even - (x - mean) along)`; the coefficients are mean, scale, even, along.
struct Backward<'a, T, F> {
    dy: &'a [T],
    x: &'a [T],
    mean: &'a [T],
    dx: Target<T>,
    /// Whether the statistics depend on x; else `dx = scale dy`.
    own_statistics: bool,
    finish: F,
}

impl<T: Float, F: Fn(usize, [f64; 2]) -> [T; 4] + Sync> Passes for Backward<'_, T, F> {
    type Number = T;

    #[inline(always)]
    fn merge(a: Sums, b: Sums) -> Sums {
        [a[0] + b[0], a[1] + b[1], 0.0]
    }
    #[inline(always)]
    fn reduce<S: Simd>(&self, at: Range<usize>, c: usize) -> Sums {
        // SAFETY: kernels call this inside `simd::run`; both ranges have one length.
        let [sum, along] = unsafe { row::fold::<S, T, 2>(at.len(), Products(&self.dy[at.clone()], &self.x[at], self.mean[c])) };
        [sum, along, 0.0]
    }
    #[inline(always)]
    fn reduce_columns<S: Simd>(&self, extents: Extents, rows: Range<usize>, first: usize, sums: &mut [Sums]) {
        let (inner, width) = (extents.inner, sums.len() * extents.inner);
        let (mut sum, mut along, mut mean) = ([T::zero(); COLUMNS], [T::zero(); COLUMNS], [T::zero(); COLUMNS]);
        for c in 0..sums.len() {
            mean[c * inner..(c + 1) * inner].fill(self.mean[first + c]);
        }
        for n in rows {
            let at = n * extents.columns() + first * inner;
            for ((((sum, along), mean), dy), x) in sum.iter_mut().zip(&mut along).zip(&mean).zip(&self.dy[at..at + width]).zip(&self.x[at..at + width]) {
                *sum = *sum + *dy;
                *along = *along + *dy * (*x - *mean);
            }
        }
        for (c, sums) in sums.iter_mut().enumerate() {
            let total = |values: &[T; COLUMNS]| values[c * inner..(c + 1) * inner].iter().map(|x| (*x).to_f64()).sum();
            *sums = [total(&sum), total(&along), 0.0];
        }
    }
    #[inline(always)]
    fn finish(&self, c: usize, [sum, along, _]: Sums) -> [T; 4] {
        (self.finish)(c, [sum, along])
    }
    #[inline(always)]
    fn write<S: Simd>(&self, at: Range<usize>, coefficients: [T; 4]) {
        let real = T::Real::<S>::wrap;
        let [mean, scale, even, along] = coefficients.map(real);
        // SAFETY: the walk passes over every number once, inside the arrays.
        let dx = unsafe { self.dx.slice(at.start, at.end) };
        if !self.own_statistics {
            return dx.iter_mut().zip(&self.dy[at]).for_each(|(dx, dy)| *dx = (real(*dy) * scale).number());
        }
        for ((dx, dy), x) in dx.iter_mut().zip(&self.dy[at.clone()]).zip(&self.x[at]) {
            *dx = ((mean - real(*x)).mul_add(along, real(*dy) - even) * scale).number();
        }
    }
    #[inline(always)]
    fn write_row<S: Simd>(&self, at: Range<usize>, [mean, scale, even, along]: [&[T]; 4]) {
        let real = T::Real::<S>::wrap;
        // SAFETY: as in `write`.
        let dx = unsafe { self.dx.slice(at.start, at.end) };
        if !self.own_statistics {
            return dx.iter_mut().zip(&self.dy[at]).zip(scale).for_each(|((dx, dy), scale)| *dx = *dy * *scale);
        }
        for (((dx, dy), x), (((mean, scale), even), along)) in
            dx.iter_mut().zip(&self.dy[at.clone()]).zip(&self.x[at]).zip(mean.iter().zip(scale).zip(even).zip(along))
        {
            *dx = ((real(*mean) - real(*x)).mul_add(real(*along), real(*dy) - real(*even)) * real(*scale)).number();
        }
    }
}
