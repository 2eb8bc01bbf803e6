//! Convolution in one, two and three dimensions as operations on arrays; the kernels stand in `crate::convolution`.
//!
//! `y[n][o][i] = bias[o] + Σ_c Σ_k w[o][c][k] · x[n][c][i·stride + k·dilation - padding]`, where `i` and `k` have as many coordinates as there are dimensions.
//!
//! [`convolution`], [`convolution_input_gradient`] (with a bias the transposed convolution) and [`convolution_weight_gradient`] are linear in each operand and are each other's derivatives, so any order of gradient is made of them.
//! f32 kernels of 3×3 at stride 1, and of 4×4 at stride 2, of many channels take fewer multiplications than the sum has (Winograd's minimal filters): what is not finite then spreads over a tile of 4×4 results, as NaN.
//! All run on the kernels for images: a sequence is an image of one row; for a volume see `depth`. A GPU has kernels for sequences and images, which add up every product.

#[cfg(feature = "cuda")]
mod cuda;
mod depth;
#[cfg(test)]
mod tests;
mod transposed;

pub use transposed::{ConvTranspose1d, ConvTranspose2d, ConvTranspose3d, TransposedConvolution, transposed_convolution};

use crate::array::Array;
use crate::convolution::{self as kernels, Geometry};
use crate::error::{Error, Result};
use crate::float::with_float;
use crate::gemm::Activation;
use crate::ops::{expect_shape, on_cpu, on_device, same_dtype};
use crate::shape::{MAX_RANK, Shape};
use depth::Depth;

/// How the window of a convolution in N dimensions walks: depth before height before width.
///
/// ```
/// use chainrule_core::ops::convolution::Conv2d;
/// let strided = Conv2d { stride: [2, 2], padding: [1, 1], ..Conv2d::default() };
/// assert_eq!(strided.dilation, [1, 1]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Convolution<const N: usize> {
    /// Steps of the window (at least 1).
    pub stride: [usize; N],
    /// Zeros added on each side of the input.
    pub padding: [usize; N],
    /// Distance between the window's taps (at least 1).
    pub dilation: [usize; N],
    /// Independent parts that input and output channels are divided into.
    pub groups: usize,
}

/// The walk of a window over sequences `[N, C, L]`.
pub type Conv1d = Convolution<1>;
/// The walk of a window over images `[N, C, H, W]`.
pub type Conv2d = Convolution<2>;
/// The walk of a window over volumes `[N, C, D, H, W]`.
pub type Conv3d = Convolution<3>;

impl<const N: usize> Default for Convolution<N> {
    fn default() -> Convolution<N> {
        Convolution { stride: [1; N], padding: [0; N], dilation: [1; N], groups: 1 }
    }
}

/// What an operation is called in N dimensions, one to three.
const fn named<const N: usize>(names: [&'static str; 3]) -> &'static str {
    const { assert!(1 <= N && N <= 3, "convolution has one to three dimensions") };
    names[N - 1]
}

/// The letters of an input's shape.
const fn letters<const N: usize>() -> &'static str {
    named::<N>(["[N, C, L] or [C, L]", "[N, C, H, W] or [C, H, W]", "[N, C, D, H, W] or [C, D, H, W]"])
}

/// The sizes of a convolution, which fit.
#[derive(Clone, Copy)]
struct Sizes<const N: usize> {
    /// `None` for a single example, whose shapes lack the batch.
    batch: Option<usize>,
    in_channels: usize,
    input: [usize; N],
    out_channels: usize,
    kernel: [usize; N],
    output: [usize; N],
    window: Convolution<N>,
}

/// Batch, channels and extents of `[N, C, ..]` or `[C, ..]`.
fn split<const N: usize>(op: &'static str, x: &[usize]) -> Result<(Option<usize>, usize, [usize; N])> {
    match x.split_last_chunk::<N>() {
        Some((&[batch, channels], &input)) => Ok((Some(batch), channels, input)),
        Some((&[channels], &input)) => Ok((None, channels, input)),
        _ => Err(Error::shape(op, format!("the input has shape {x:?}, expected {}", letters::<N>()))),
    }
}

/// `[N, C, ..]` or `[C, ..]`.
fn shape<const N: usize>(batch: Option<usize>, channels: usize, extents: [usize; N]) -> Result<Shape> {
    let mut dims = [0; MAX_RANK];
    let mut rank = 0;
    for extent in batch.into_iter().chain([channels]).chain(extents) {
        dims[rank] = extent;
        rank += 1;
    }
    Shape::new(&dims[..rank])
}

impl<const N: usize> Convolution<N> {
    /// The sizes of the convolution of an input `[N, IC, ..]` or `[IC, ..]` with a weight `[OC, IC/groups, kernel..]`, when they fit.
    fn sizes(&self, op: &'static str, x: &[usize], w: &[usize]) -> Result<Sizes<N>> {
        let (batch, in_channels, input) = split::<N>(op, x)?;
        let Some((&[out_channels, group_channels], &kernel)) = w.split_last_chunk::<N>() else {
            return Err(Error::shape(op, format!("the weight has shape {w:?}, expected [out, in / groups] and {N} extents of the kernel")));
        };
        let Convolution { stride, padding, dilation, groups } = *self;
        if groups == 0 || !out_channels.is_multiple_of(groups) {
            return Err(Error::shape(op, format!("weight {w:?} has {out_channels} output channels, which groups = {groups} does not divide")));
        }
        if group_channels.checked_mul(groups) != Some(in_channels) {
            return Err(Error::shape(
                op,
                format!("input {x:?} has {in_channels} channels, weight {w:?} expects {} (groups = {groups})", group_channels.saturating_mul(groups)),
            ));
        }
        if stride.contains(&0) || dilation.contains(&0) {
            return Err(Error::value(op, format!("stride is {stride:?} and dilation {dilation:?}, expected at least 1")));
        }
        let mut output = [0; N];
        for at in 0..N {
            let window = kernel[at].checked_sub(1).and_then(|k| k.checked_mul(dilation[at])).and_then(|k| k.checked_add(1));
            let padded = padding[at].checked_mul(2).and_then(|p| p.checked_add(input[at]));
            output[at] = match (window, padded) {
                (Some(window), Some(padded)) if window <= padded => (padded - window) / stride[at] + 1,
                _ => {
                    let side = ["depth", "height", "width"][3 - N + at];
                    let message = format!(
                        "weight {w:?} with dilation {dilation:?} is larger than input {x:?} with padding {padding:?} ({side}); pad more or use a smaller kernel"
                    );
                    return Err(Error::shape(op, message));
                }
            };
        }
        let sizes = Sizes { batch, in_channels, input, out_channels, kernel, output, window: *self };
        sizes.output_shape()?;
        Ok(sizes)
    }
}

impl<const N: usize> Sizes<N> {
    fn input_shape(&self) -> Result<Shape> {
        shape(self.batch, self.in_channels, self.input)
    }
    fn output_shape(&self) -> Result<Shape> {
        shape(self.batch, self.out_channels, self.output)
    }

    /// The convolution of images that computes this one.
    fn geometry(&self) -> Geometry {
        // Height and width; what a sequence lacks is `missing`.
        let image = |of: [usize; N], missing: usize| [0, 1].map(|at| (N + at).checked_sub(2).map_or(missing, |at| of[at]));
        let ([height, width], [out_height, out_width]) = (image(self.input, 1), image(self.output, 1));
        let (planes, taps) = if N == 3 { (self.output[0], self.kernel[0]) } else { (1, 1) };
        Geometry {
            batch: self.batch.unwrap_or(1) * planes,
            in_channels: self.in_channels.saturating_mul(taps),
            height,
            width,
            out_channels: self.out_channels,
            kernel: image(self.kernel, 1),
            stride: image(self.window.stride, 1),
            padding: image(self.window.padding, 0),
            dilation: image(self.window.dilation, 1),
            groups: self.window.groups,
            out_height,
            out_width,
        }
    }

    fn depth(&self) -> Depth {
        let Convolution { stride, padding, dilation, .. } = self.window;
        Depth {
            batch: self.batch.unwrap_or(1),
            channels: self.in_channels,
            planes: self.input[0],
            outputs: self.output[0],
            taps: self.kernel[0],
            stride: stride[0],
            padding: padding[0],
            dilation: dilation[0],
            plane: self.input[1..].iter().product(),
        }
    }

    /// The input as the images that the kernels read.
    fn input_images(&self, x: &Array) -> Result<Array> {
        if N == 3 { self.depth().unfold(&x.contiguous()?) } else { x.contiguous() }
    }
    /// The gradient of the input from that of the images that the kernels read.
    fn input_from_images(&self, dx: Array) -> Result<Array> {
        let dx = if N == 3 { self.depth().fold(&dx)? } else { dx };
        dx.reshape(&self.input_shape()?)
    }
    /// The shape of the images that the kernels read.
    fn image_dims(&self) -> Result<Shape> {
        let g = self.geometry();
        Shape::new(&[g.batch, g.in_channels, g.height, g.width])
    }

    /// The output, or its gradient, as the images that the kernels write: with depth before channels.
    fn output_images(&self, dy: &Array) -> Result<Array> {
        if N < 3 {
            return dy.contiguous();
        }
        let plane = self.output[1..].iter().product();
        dy.reshape(&[self.batch.unwrap_or(1), self.out_channels, self.output[0], plane])?.transpose(1, 2)?.contiguous()
    }
    fn output_from_images(&self, y: Array) -> Result<Array> {
        if N < 3 {
            return y.reshape(&self.output_shape()?);
        }
        let plane = self.output[1..].iter().product();
        y.reshape(&[self.batch.unwrap_or(1), self.output[0], self.out_channels, plane])?.transpose(1, 2)?.reshape(&self.output_shape()?)
    }
}

/// The convolution (PyTorch's `conv1d`, `conv2d`, `conv3d`): `x [N, IC, ..], weight [OC, IC/groups, kernel..], bias [OC] -> [N, OC, ..]`, each extent `(size + 2 padding - dilation (kernel - 1) - 1) / stride + 1`; or without N. Every result goes through the activation.
///
/// # Errors
/// Sizes that do not fit; a slope that is not finite; element types other than f32 and f64, or different ones.
pub fn convolution<const N: usize>(x: &Array, weight: &Array, bias: Option<&Array>, activation: Activation, window: &Convolution<N>) -> Result<Array> {
    let op = named::<N>(["conv1d", "conv2d", "conv3d"]);
    let dtype = same_dtype(op, x, weight)?;
    let sizes = window.sizes(op, x.dims(), weight.dims())?;
    if let Some(bias) = bias {
        same_dtype(op, x, bias)?;
        expect_shape(op, "the bias", bias, &[sizes.out_channels])?;
    }
    activation.expect_finite(op)?;
    let g = sizes.geometry();
    if N == 3 {
        on_cpu!(op, [x, weight; bias]);
    }
    on_device!(op, [x, weight; bias], |gpu| cuda::forward(op, gpu, &g, [x, weight], bias, activation, sizes.output_shape()?));
    with_float!(op, dtype, T => {
        let (x, weight, bias) = (sizes.input_images(x)?, weight.contiguous()?, bias.map(|b| b.contiguous()).transpose()?);
        let mut y = Array::stale(Shape::new(&[g.batch, g.out_channels, g.out_height, g.out_width])?, dtype)?;
        kernels::forward::<T>(&g, x.slice(), weight.slice(), bias.as_ref().map(|b| b.slice()), activation, y.slice_mut());
        sizes.output_from_images(y)
    })
}

/// The gradient of [`convolution`] by its input, of shape `input`: `dy [N, OC, ..], weight -> [N, IC, ..]`.
///
/// # Errors
/// Sizes that do not fit; element types other than f32 and f64, or different ones.
pub fn convolution_input_gradient<const N: usize>(dy: &Array, weight: &Array, input: &[usize], window: &Convolution<N>) -> Result<Array> {
    let op = named::<N>(["conv1d_input_gradient", "conv2d_input_gradient", "conv3d_input_gradient"]);
    let sizes = window.sizes(op, input, weight.dims())?;
    expect_shape(op, "the gradient", dy, &sizes.output_shape()?)?;
    spread(op, dy, weight, None, &sizes)
}

/// `Σ w · dy + bias` in the input's shape.
fn spread<const N: usize>(op: &'static str, dy: &Array, weight: &Array, bias: Option<&Array>, sizes: &Sizes<N>) -> Result<Array> {
    let dtype = same_dtype(op, dy, weight)?;
    let g = sizes.geometry();
    if N == 3 {
        on_cpu!(op, [dy, weight; bias]);
    }
    on_device!(op, [dy, weight; bias], |gpu| cuda::input_gradient(op, gpu, &g, [dy, weight], bias, sizes.input_shape()?));
    with_float!(op, dtype, T => {
        let (dy, weight, bias) = (sizes.output_images(dy)?, weight.contiguous()?, bias.map(|b| b.contiguous()).transpose()?);
        let mut dx = Array::stale(sizes.image_dims()?, dtype)?;
        kernels::input_gradient::<T>(&g, dy.slice(), weight.slice(), bias.as_ref().map(|b| b.slice()), dx.slice_mut());
        sizes.input_from_images(dx)
    })
}

/// The gradient of [`convolution`] by its weight, of shape `weight`: `x [N, IC, ..], dy [N, OC, ..] -> [OC, IC/groups, kernel..]`.
///
/// # Errors
/// Sizes that do not fit; element types other than f32 and f64, or different ones.
pub fn convolution_weight_gradient<const N: usize>(x: &Array, dy: &Array, weight: &[usize], window: &Convolution<N>) -> Result<Array> {
    let op = named::<N>(["conv1d_weight_gradient", "conv2d_weight_gradient", "conv3d_weight_gradient"]);
    let dtype = same_dtype(op, x, dy)?;
    let sizes = window.sizes(op, x.dims(), weight)?;
    expect_shape(op, "the gradient", dy, &sizes.output_shape()?)?;
    let g = sizes.geometry();
    if N == 3 {
        on_cpu!(op, [x, dy]);
    }
    on_device!(op, [x, dy], |gpu| cuda::weight_gradient(op, gpu, &g, [x, dy], Shape::new(weight)?));
    with_float!(op, dtype, T => {
        let (x, dy) = (sizes.input_images(x)?, sizes.output_images(dy)?);
        let mut dw = Array::stale(Shape::new(weight)?, dtype)?;
        kernels::weight_gradient::<T>(&g, x.slice(), dy.slice(), dw.slice_mut());
        Ok(dw)
    })
}

/// The gradient of [`convolution`] in `dimensions` by its bias: `dy [N, OC, ..] -> [OC]`, or without N.
///
/// # Errors
/// A gradient of another rank; element types other than f32 and f64.
pub fn convolution_bias_gradient(dy: &Array, dimensions: usize) -> Result<Array> {
    let Some(channels) = dy.rank().checked_sub(dimensions + 1).filter(|&channels| channels < 2) else {
        return Err(Error::shape("conv_bias_gradient", format!("the gradient has shape {:?}, expected [N, C] or [C] and {dimensions} extents", dy.shape())));
    };
    let mut others = [0; MAX_RANK];
    let all = (0..dy.rank()).filter(|&axis| axis != channels);
    all.zip(&mut others).for_each(|(axis, other)| *other = axis);
    crate::ops::reduce::sum(dy, &others[..dy.rank() - 1], false)
}
