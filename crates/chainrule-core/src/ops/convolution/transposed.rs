//! Transposed convolution (PyTorch's `conv_transpose1d` to `3d`; Zeiler et al. 2010): the gradient of a convolution by its input, as a layer.
//!
//! Every number of the input adds the kernel, times itself, to the output: `y[n][o][i·stride + k·dilation - padding] += w[c][o][k] · x[n][c][i]`.

use super::{Convolution, Sizes, named, split, spread};
use crate::array::Array;
use crate::error::{Error, Result};
use crate::ops::{expect_shape, same_dtype};

/// How a transposed convolution in N dimensions spreads its input: depth before height before width.
///
/// ```
/// use chainrule_core::ops::convolution::ConvTranspose2d;
/// // 4x4 kernels two steps apart, less the rim: twice the height and width.
/// let doubling = ConvTranspose2d { stride: [2, 2], padding: [1, 1], ..ConvTranspose2d::default() };
/// assert_eq!(doubling.output_size([7, 7], [4, 4]), Some([14, 14]));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TransposedConvolution<const N: usize> {
    /// Distance in the output between neighbours of the input (at least 1).
    pub stride: [usize; N],
    /// How much is cut from each side of the output.
    pub padding: [usize; N],
    /// How much is added at the end of the output (less than the stride or the dilation).
    pub output_padding: [usize; N],
    /// Distance between the kernel's taps (at least 1).
    pub dilation: [usize; N],
    /// Independent parts that input and output channels are divided into.
    pub groups: usize,
}

/// The spread over sequences `[N, C, L]`.
pub type ConvTranspose1d = TransposedConvolution<1>;
/// The spread over images `[N, C, H, W]`.
pub type ConvTranspose2d = TransposedConvolution<2>;
/// The spread over volumes `[N, C, D, H, W]`.
pub type ConvTranspose3d = TransposedConvolution<3>;

impl<const N: usize> Default for TransposedConvolution<N> {
    fn default() -> TransposedConvolution<N> {
        TransposedConvolution { stride: [1; N], padding: [0; N], output_padding: [0; N], dilation: [1; N], groups: 1 }
    }
}

impl<const N: usize> TransposedConvolution<N> {
    /// The convolution that this transposes.
    pub fn convolution(&self) -> Convolution<N> {
        Convolution { stride: self.stride, padding: self.padding, dilation: self.dilation, groups: self.groups }
    }

    /// `(input - 1) stride - 2 padding + dilation (kernel - 1) + output_padding + 1` along each dimension; `None` where that is less than 1.
    pub fn output_size(&self, input: [usize; N], kernel: [usize; N]) -> Option<[usize; N]> {
        let mut output = [0; N];
        for at in 0..N {
            let last = input[at].checked_sub(1)?.checked_mul(self.stride[at])?;
            let reach = kernel[at].checked_sub(1)?.checked_mul(self.dilation[at])?;
            let whole = last.checked_add(reach)?.checked_add(self.output_padding[at])?.checked_add(1)?;
            output[at] = whole.checked_sub(self.padding[at].checked_mul(2)?).filter(|&size| size > 0)?;
        }
        Some(output)
    }

    /// An error unless strides and dilations are at least 1, and the output padding is less than one of them.
    ///
    /// # Errors
    /// As said.
    pub fn expect_valid(&self, op: &'static str) -> Result<()> {
        let TransposedConvolution { stride, output_padding, dilation, .. } = *self;
        if stride.contains(&0) || dilation.contains(&0) {
            return Err(Error::value(op, format!("stride is {stride:?} and dilation {dilation:?}, expected at least 1")));
        }
        if (0..N).any(|at| output_padding[at] >= stride[at].max(dilation[at])) {
            let message = format!("output padding {output_padding:?} must be less than the stride {stride:?} or the dilation {dilation:?}");
            return Err(Error::value(op, message));
        }
        Ok(())
    }

    /// The sizes of the convolution whose input is the output here.
    fn sizes(&self, op: &'static str, x: &[usize], w: &[usize]) -> Result<Sizes<N>> {
        self.expect_valid(op)?;
        let (batch, channels, input) = split::<N>(op, x)?;
        let Some((&[in_channels, group_outputs], &kernel)) = w.split_last_chunk::<N>() else {
            return Err(Error::shape(op, format!("the weight has shape {w:?}, expected [in, out / groups] and {N} extents of the kernel")));
        };
        if channels != in_channels {
            return Err(Error::shape(op, format!("input {x:?} has {channels} channels, weight {w:?} expects {in_channels}")));
        }
        if self.groups == 0 || !in_channels.is_multiple_of(self.groups) {
            return Err(Error::shape(op, format!("weight {w:?} has {in_channels} input channels, which groups = {} does not divide", self.groups)));
        }
        let (Some(output), Some(out_channels)) = (self.output_size(input, kernel), group_outputs.checked_mul(self.groups)) else {
            return Err(Error::shape(op, format!("input {x:?} and weight {w:?} leave no output with padding {:?}; pad less", self.padding)));
        };
        let sizes = Sizes { batch, in_channels: out_channels, input: output, out_channels: in_channels, kernel, output: input, window: self.convolution() };
        sizes.input_shape()?;
        Ok(sizes)
    }
}

/// The transposed convolution: `x [N, IC, ..], weight [IC, OC/groups, kernel..], bias [OC] -> [N, OC, ..]` of the extents of [`TransposedConvolution::output_size`]; or without N.
///
/// # Errors
/// Sizes that do not fit; element types other than f32 and f64, or different ones.
pub fn transposed_convolution<const N: usize>(x: &Array, weight: &Array, bias: Option<&Array>, spreading: &TransposedConvolution<N>) -> Result<Array> {
    let op = named::<N>(["conv_transpose1d", "conv_transpose2d", "conv_transpose3d"]);
    let sizes = spreading.sizes(op, x.dims(), weight.dims())?;
    if let Some(bias) = bias {
        same_dtype(op, x, bias)?;
        expect_shape(op, "the bias", bias, &[sizes.in_channels])?;
    }
    // Volumes are added up after the kernels have run, so their bias comes last.
    match bias {
        Some(bias) if N == 3 => {
            let channels: Vec<usize> = std::iter::once(sizes.in_channels).chain([1; N]).collect();
            let y = spread(op, x, weight, None, &sizes)?;
            crate::ops::elementwise::binary(crate::ops::elementwise::Binary::Add, &y, &bias.reshape(&channels)?)
        }
        bias => spread(op, x, weight, bias, &sizes),
    }
}
