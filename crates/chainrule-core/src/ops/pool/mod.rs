//! Pooling of images: the maximum or the mean of windows, forward and backward.
//!
//! `[N, C, H, W] -> [N, C, H', W']` or `[C, H, W] -> [C, H', W']`, each plane on its own. Window `o` of a dimension holds the positions `o stride - padding + k dilation` for `k` in `0..kernel`;
//! those outside the plane are padding: never a maximum, and zero in a mean.
//! `H' = floor((H + 2 padding - dilation (kernel - 1) - 1) / stride) + 1`, with `ceil` for `floor` in ceil mode, but no window starts beyond the plane and its left padding (PyTorch's rule).
//!
//! On a GPU nothing waits for positions that are given, so one that lies outside its plane is no error there: it picks NaN and puts nothing.

mod adaptive;
mod average;
#[cfg(feature = "cuda")]
mod cuda;
mod max;
mod unpool;
mod windows;

pub use adaptive::{adaptive_avg_pool2d, adaptive_avg_pool2d_backward, adaptive_max_pool2d, adaptive_max_pool2d_backward, adaptive_max_pool2d_gather};
pub use average::{avg_pool2d, avg_pool2d_backward};
pub use max::{max_pool2d, max_pool2d_backward, max_pool2d_gather, max_pool2d_positions};
pub use unpool::{max_unpool, volume_positions};

use crate::array::Array;
use crate::error::{Error, Result};
use crate::parallel;
use crate::shape::Shape;
use std::ops::Range;

/// The windows of a pooling in N dimensions: depth before height before width.
///
/// ```
/// use chainrule_core::ops::pool::Pool2d;
/// let overlapping = Pool2d { stride: [2, 2], padding: [1, 1], ..Pool2d::new([3, 3]) };
/// assert_eq!(overlapping.output_size("max_pool2d", [32, 28])?, [16, 14]);
/// # Ok::<(), chainrule_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool<const N: usize> {
    /// The extent of a window.
    pub kernel: [usize; N],
    /// The distance between windows.
    pub stride: [usize; N],
    /// Positions added on both sides, at most half the kernel.
    pub padding: [usize; N],
    /// The distance between the positions of a window.
    pub dilation: [usize; N],
    /// Whether the last window may reach beyond the padding.
    pub ceil_mode: bool,
}

/// The windows of sequences `[N, C, L]`.
pub type Pool1d = Pool<1>;
/// The windows of images `[N, C, H, W]`.
pub type Pool2d = Pool<2>;
/// The windows of volumes `[N, C, D, H, W]`.
pub type Pool3d = Pool<3>;

impl<const N: usize> Pool<N> {
    /// Windows side by side, without padding.
    pub const fn new(kernel: [usize; N]) -> Pool<N> {
        Pool { kernel, stride: kernel, padding: [0; N], dilation: [1; N], ceil_mode: false }
    }

    /// The number of windows along each dimension.
    ///
    /// # Errors
    /// A kernel, stride or dilation of zero; a padding of more than half the kernel; not a single window.
    pub fn output_size(&self, op: &'static str, input: [usize; N]) -> Result<[usize; N]> {
        const MOST: usize = 1 << 30;
        let mut out = [0; N];
        for (d, out) in out.iter_mut().enumerate() {
            let (kernel, stride, padding, dilation) = (self.kernel[d], self.stride[d], self.padding[d], self.dilation[d]);
            if [kernel, stride, dilation].iter().any(|n| !(1..=MOST).contains(n)) {
                return Err(Error::value(
                    op,
                    format!("kernel {:?}, stride {:?} and dilation {:?} must be at least 1", self.kernel, self.stride, self.dilation),
                ));
            }
            if padding > kernel / 2 {
                return Err(Error::value(op, format!("padding {:?} must be at most half the kernel {:?}", self.padding, self.kernel)));
            }
            let (reach, room) = (dilation * (kernel - 1) + 1, input[d] + 2 * padding + if self.ceil_mode { stride - 1 } else { 0 });
            *out = if room < reach { 0 } else { (room - reach) / stride + 1 };
            if self.ceil_mode && *out > 0 && (*out - 1) * stride >= input[d] + padding {
                *out -= 1;
            }
            if *out == 0 || input[d] == 0 {
                return Err(Error::shape(
                    op,
                    format!("no window of {:?} (dilation {:?}) fits an input of {input:?} with padding {:?}", self.kernel, self.dilation, self.padding),
                ));
            }
        }
        Ok(out)
    }
}

impl Pool2d {
    /// Where tap `k` of window `o` of dimension `d` lies, given that it is inside the plane.
    #[inline(always)]
    fn start(&self, d: usize, o: usize, k: usize) -> usize {
        o * self.stride[d] + k * self.dilation[d] - self.padding[d]
    }

    /// The same, unless it lies outside.
    #[inline(always)]
    fn position(&self, d: usize, o: usize, k: usize, size: usize) -> Option<usize> {
        let padded = o * self.stride[d] + k * self.dilation[d];
        (padded >= self.padding[d] && padded - self.padding[d] < size).then(|| padded - self.padding[d])
    }

    /// The taps of window `o` of dimension `d` that lie inside the plane.
    #[inline(always)]
    fn taps(&self, d: usize, o: usize, size: usize) -> Range<usize> {
        let (shift, dilation) = (o * self.stride[d], self.dilation[d]);
        let end = (size + self.padding[d]).saturating_sub(shift).div_ceil(dilation).min(self.kernel[d]);
        self.padding[d].saturating_sub(shift).div_ceil(dilation).min(end)..end
    }

    /// The windows of dimension `d`, of `count` in all, whose tap `k` lies inside the plane.
    #[inline(always)]
    fn windows(&self, d: usize, k: usize, size: usize, count: usize) -> Range<usize> {
        let (shift, stride) = (k * self.dilation[d], self.stride[d]);
        let end = (size + self.padding[d]).saturating_sub(shift).div_ceil(stride).min(count);
        self.padding[d].saturating_sub(shift).div_ceil(stride).min(end)..end
    }

    /// The windows, of `count` in a row of `width` positions, all of whose columns lie inside the plane.
    fn inside(&self, width: usize, count: usize) -> Range<usize> {
        let end = self.windows(1, self.kernel[1] - 1, width, count).end;
        self.windows(1, 0, width, count).start.min(end)..end
    }
}

/// Planes in, planes out.
#[derive(Clone, Copy)]
struct Planes {
    count: usize,
    input: [usize; 2],
    output: [usize; 2],
}

impl Planes {
    /// The planes of `[N, C, H, W]` or `[C, H, W]`, and the shape of the result.
    fn new(op: &'static str, dims: &[usize], output: impl FnOnce([usize; 2]) -> Result<[usize; 2]>) -> Result<(Planes, Shape)> {
        let Some((outer, &input)) = dims.split_last_chunk::<2>().filter(|(outer, _)| outer.len() == 1 || outer.len() == 2) else {
            return Err(Error::shape(op, format!("input has shape {dims:?}, expected [N, C, H, W] or [C, H, W]")));
        };
        let output = output(input)?;
        let shape = match *outer {
            [channels] => Shape::new(&[channels, output[0], output[1]])?,
            _ => Shape::new(&[outer[0], outer[1], output[0], output[1]])?,
        };
        Ok((Planes { count: outer.iter().product(), input, output }, shape))
    }

    fn input_size(&self) -> usize {
        self.input[0] * self.input[1]
    }
    fn output_size(&self) -> usize {
        self.output[0] * self.output[1]
    }

    /// Spreads the planes over threads: `body(first, last)`.
    fn spread(&self, body: impl Fn(usize, usize) + Sync) {
        parallel::ranges(self.count, (parallel::GRAIN / self.input_size().max(self.output_size()).max(1)).max(1), body)
    }
}

/// An error unless the gradient has the shape of the pooling's result.
fn expect_gradient(op: &'static str, dy: &Array, shape: &Shape) -> Result<()> {
    crate::ops::expect_shape(op, "the gradient", dy, shape)
}

#[cfg(test)]
mod tests;
