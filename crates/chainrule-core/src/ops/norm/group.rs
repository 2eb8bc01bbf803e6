//! Group normalisation (Wu and He, 2018; PyTorch's `group_norm`): the channels of `[N, C, *]` fall into G groups, and each group of a sample is normalised by the mean and variance of its `C/G · L` numbers.
//! With a channel a group it is instance normalisation (Ulyanov, Vedaldi and Lempitsky, 2016; PyTorch's `instance_norm`). Weight and bias are a number a channel.
//!
//! Backward, with `z = (x - mean) rstd`, `g = dy weight` and means over the group: `dx = rstd (g - mean(g) - z mean(g z))`, `dweight = sum dy z`, `dbias = sum dy` over samples and planes.
//! What is summed of `dy` and of `dy (x - mean)` over a plane serves all three.

use super::channels::Extents;
#[cfg(feature = "cuda")]
use super::cuda;
use super::{Moments, Products, expect_eps, parameter};
use crate::array::Array;
use crate::dtype::{DType, Element};
use crate::error::{Error, Result};
use crate::float::Float;
use crate::float::with_float;
use crate::ops::{expect_shape, on_device, row, same_dtype};
use crate::parallel::{self, Target};
use crate::shape::Shape;
use crate::simd::{Kernel, Real, Simd};

/// What [`group_norm`] computes.
#[derive(Clone, Debug)]
pub struct GroupNorm {
    /// The normalised input.
    pub y: Array,
    /// The mean of each group, `[N, G]`.
    pub mean: Array,
    /// `1 / sqrt(variance + eps)`, `[N, G]`.
    pub rstd: Array,
    /// The biased variance of each group, `[N, G]`.
    pub variance: Array,
}

/// `x` `[N, C, *]` normalised in `groups` groups of channels; `weight` and `bias` are `[C]`. A group without numbers has mean and variance 0.
///
/// # Errors
/// Fewer than two dimensions; channels that do not divide into the groups; parameters of another shape or element type; an `eps` below 0; an element type other than f32 and f64.
pub fn group_norm(x: &Array, groups: usize, weight: Option<&Array>, bias: Option<&Array>, eps: f64) -> Result<GroupNorm> {
    const OP: &str = "group_norm";
    let extents = Groups::of(OP, x, groups)?;
    expect_eps(OP, eps)?;
    on_device!(OP, [x; weight, bias], |gpu| cuda::group_norm(gpu, OP, x, groups, [weight, bias], eps));
    let channels = [extents.channels()];
    let (weight, bias) = (parameter(OP, "the weight", weight, 1.0, x, &channels)?, parameter(OP, "the bias", bias, 0.0, x, &channels)?);
    let x = x.contiguous()?;
    let each = || Array::stale(Shape::new(&[extents.batch, groups])?, x.dtype());
    let mut out = GroupNorm { y: Array::stale(*x.shape(), x.dtype())?, mean: each()?, rstd: each()?, variance: each()? };
    with_float!(OP, x.dtype(), T => {
        let (x, weight, bias) = (x.slice::<T>(), weight.slice::<T>(), bias.slice::<T>());
        let [y, mean, rstd, variance] = [&mut out.y, &mut out.mean, &mut out.rstd, &mut out.variance].map(|a| Target::new(a.slice_mut::<T>()));
        parallel::items(extents.rows(), extents.size(), |start, end| {
            // SAFETY: ranges of rows do not overlap.
            let [mean, rstd, variance] = [mean, rstd, variance].map(|t| unsafe { t.slice(start, end) });
            // SAFETY: as above.
            let y = unsafe { y.slice(start * extents.size(), end * extents.size()) };
            T::run(Forward { extents, start, x: &x[start * extents.size()..], weight, bias, eps, y, mean, rstd, variance })
        });
        Ok(out)
    })
}

/// The gradients `(dx, dweight, dbias)` of [`group_norm`]; `mean` and `rstd` are what it returned, and their shape tells the groups.
///
/// # Errors
/// As for [`group_norm`]; statistics that are not `[N, G]`; a gradient of another shape than `x`.
pub fn group_norm_backward(dy: &Array, x: &Array, mean: &Array, rstd: &Array, weight: Option<&Array>) -> Result<(Array, Array, Array)> {
    const OP: &str = "group_norm_backward";
    same_dtype(OP, x, dy)?;
    expect_shape(OP, "the gradient", dy, x.dims())?;
    let groups = mean.dims().last().copied().unwrap_or(0);
    let extents = Groups::of(OP, x, groups)?;
    let each = [extents.batch, groups];
    let (mean, rstd) = (parameter(OP, "the mean", Some(mean), 0.0, x, &each)?, parameter(OP, "rstd", Some(rstd), 0.0, x, &each)?);
    on_device!(OP, [dy, x, mean, rstd; weight], |gpu| cuda::group_norm_backward(gpu, OP, [dy, x], [&mean, &rstd], weight));
    let weight = parameter(OP, "the weight", weight, 1.0, x, &[extents.channels()])?;
    let (dy, x) = (dy.contiguous()?, x.contiguous()?);
    let vector = || Array::stale(Shape::trusted(&[extents.channels()]), x.dtype());
    let (mut dx, mut dweight, mut dbias) = (Array::stale(*x.shape(), x.dtype())?, vector()?, vector()?);
    // The share of each plane in the gradients of its channel's parameters.
    let mut shares = Array::stale(Shape::new(&[extents.batch, extents.channels(), 2])?, DType::F64)?;
    with_float!(OP, x.dtype(), T => {
        let (dy, x, mean, rstd, weight) = (dy.slice::<T>(), x.slice::<T>(), mean.slice::<T>(), rstd.slice::<T>(), weight.slice::<T>());
        let (target, all) = (Target::new(dx.slice_mut::<T>()), Target::new(shares.slice_mut::<f64>().as_chunks_mut::<2>().0));
        parallel::items(extents.rows(), extents.size(), |start, end| {
            let at = start * extents.size()..end * extents.size();
            // SAFETY: ranges of rows do not overlap.
            let (dx, shares) = unsafe { (target.slice(at.start, at.end), all.slice(start * extents.width, end * extents.width)) };
            T::run(Backward { extents, start, dy: &dy[at.clone()], x: &x[at], mean: &mean[start..end], rstd: &rstd[start..end], weight, dx, shares })
        });
        let shares = shares.slice::<f64>().as_chunks::<2>().0;
        for (c, (dweight, dbias)) in dweight.slice_mut::<T>().iter_mut().zip(dbias.slice_mut::<T>()).enumerate() {
            let own = shares.iter().skip(c).step_by(extents.channels());
            let [sum, along] = own.fold([0.0; 2], |total, share| [total[0] + share[0], total[1] + share[1]]);
            (*dweight, *dbias) = (T::from_f64(along), T::from_f64(sum));
        }
        Ok((dx, dweight, dbias))
    })
}

/// `[N, G, C/G, L]`: a row is a group of a sample.
#[derive(Clone, Copy)]
struct Groups {
    batch: usize,
    groups: usize,
    /// Channels of a group, C/G.
    width: usize,
    inner: usize,
}

impl Groups {
    fn of(op: &'static str, x: &Array, groups: usize) -> Result<Groups> {
        let Extents { batch, channels, inner } = Extents::of(op, x)?;
        if groups == 0 || !channels.is_multiple_of(groups) {
            return Err(Error::value(op, format!("{channels} channels of input {:?} do not divide into {groups} groups", x.shape())));
        }
        Ok(Groups { batch, groups, width: channels / groups, inner })
    }
    fn channels(&self) -> usize {
        self.groups * self.width
    }
    fn rows(&self) -> usize {
        self.batch * self.groups
    }
    /// Numbers of a row.
    fn size(&self) -> usize {
        self.width * self.inner
    }
    /// The first channel of a row.
    fn channel(&self, row: usize) -> usize {
        row % self.groups * self.width
    }
}

struct Forward<'a, T> {
    extents: Groups,
    start: usize,
    x: &'a [T],
    weight: &'a [T],
    bias: &'a [T],
    eps: f64,
    y: &'a mut [T],
    mean: &'a mut [T],
    rstd: &'a mut [T],
    variance: &'a mut [T],
}

impl<T: Float> Kernel for Forward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let real = T::Real::<S>::wrap;
        let Groups { width, inner, .. } = self.extents;
        let size = self.extents.size();
        for i in 0..self.mean.len() {
            let (x, y) = (&self.x[i * size..(i + 1) * size], &mut self.y[i * size..(i + 1) * size]);
            // SAFETY: the kernel runs inside `simd::run`.
            let moments = unsafe { Moments::of::<S, T>(x) };
            let deviation = 1.0 / (moments.variance() + self.eps).sqrt();
            (self.mean[i], self.rstd[i], self.variance[i]) = (T::from_f64(moments.mean), T::from_f64(deviation), T::from_f64(moments.variance()));
            let (mean, first) = (real(self.mean[i]), self.extents.channel(self.start + i));
            for c in 0..width {
                let (scale, shift) = (real(T::from_f64(deviation * self.weight[first + c].to_f64())), real(self.bias[first + c]));
                let plane = c * inner..(c + 1) * inner;
                for (y, x) in y[plane.clone()].iter_mut().zip(&x[plane]) {
                    *y = (real(*x) - mean).mul_add(scale, shift).number();
                }
            }
        }
    }
}

struct Backward<'a, T> {
    extents: Groups,
    start: usize,
    dy: &'a [T],
    x: &'a [T],
    mean: &'a [T],
    rstd: &'a [T],
    weight: &'a [T],
    dx: &'a mut [T],
    shares: &'a mut [[f64; 2]],
}

impl<T: Float> Kernel for Backward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let real = T::Real::<S>::wrap;
        let Groups { width, inner, .. } = self.extents;
        let size = self.extents.size();
        for (i, (mean, rstd)) in self.mean.iter().zip(self.rstd).enumerate() {
            let (first, deviation) = (i * size, (*rstd).to_f64());
            let weight = &self.weight[self.extents.channel(self.start + i)..][..width];
            let mut sums = [0f64; 2];
            for (c, (share, weight)) in self.shares[i * width..(i + 1) * width].iter_mut().zip(weight).enumerate() {
                let plane = first + c * inner..first + (c + 1) * inner;
                // SAFETY: the kernel runs inside `simd::run`; both planes have `inner` numbers.
                let [sum, along] = unsafe { row::fold::<S, T, 2>(inner, Products(&self.dy[plane.clone()], &self.x[plane], *mean)) };
                *share = [sum, along * deviation];
                sums = [sums[0] + sum * (*weight).to_f64(), sums[1] + along * (*weight).to_f64()];
            }
            let count = size as f64;
            let (even, along) = (real(T::from_f64(sums[0] / count * deviation)), real(T::from_f64(sums[1] / count * deviation.powi(3))));
            for (c, weight) in weight.iter().enumerate() {
                let (mean, scale) = (real(*mean), real(T::from_f64(deviation * (*weight).to_f64())));
                let plane = first + c * inner..first + (c + 1) * inner;
                for ((dx, dy), x) in self.dx[plane.clone()].iter_mut().zip(&self.dy[plane.clone()]).zip(&self.x[plane]) {
                    *dx = (mean - real(*x)).mul_add(along, real(*dy).mul_add(scale, -even)).number();
                }
            }
        }
    }
}
