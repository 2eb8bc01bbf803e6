//! Two-dimensional convolution as an operation on arrays; the kernels stand in `crate::convolution`.
//!
//! The three functions [`conv2d`], [`conv2d_input_gradient`] and [`conv2d_weight_gradient`] are linear in each operand and are each other's derivatives, so any order of gradient is made of them.

use crate::array::Array;
use crate::convolution::{self as kernels, Geometry};
use crate::error::{Error, Result};
use crate::float::with_float;
use crate::ops::{expect_shape, same_dtype};
use crate::shape::Shape;

/// How the window of a convolution walks: `[vertical, horizontal]`.
///
/// ```
/// use chainrule_core::ops::convolution::Conv2d;
/// let strided = Conv2d { stride: [2, 2], padding: [1, 1], ..Conv2d::default() };
/// assert_eq!(strided.dilation, [1, 1]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Conv2d {
    /// Steps of the window (at least 1).
    pub stride: [usize; 2],
    /// Zeros added on each side of the input.
    pub padding: [usize; 2],
    /// Distance between the window's taps (at least 1).
    pub dilation: [usize; 2],
    /// Independent parts that input and output channels are divided into.
    pub groups: usize,
}

impl Default for Conv2d {
    fn default() -> Conv2d {
        Conv2d { stride: [1, 1], padding: [0, 0], dilation: [1, 1], groups: 1 }
    }
}

impl Conv2d {
    /// The sizes of the convolution of an input `[N, IC, H, W]` with a weight `[OC, IC/groups, KH, KW]`, when they fit.
    fn geometry(&self, op: &'static str, x: &[usize], w: &[usize]) -> Result<Geometry> {
        let &[batch, in_channels, height, width] = x else {
            return Err(Error::shape(op, format!("the input has shape {x:?}, expected [N, C, H, W]")));
        };
        let &[out_channels, group_channels, kernel_height, kernel_width] = w else {
            return Err(Error::shape(op, format!("the weight has shape {w:?}, expected [out, in / groups, kernel height, kernel width]")));
        };
        let Conv2d { stride, padding, dilation, groups } = *self;
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
        let out = |side: &str, size: usize, kernel: usize, at: usize| -> Result<usize> {
            let window = kernel.checked_sub(1).and_then(|k| k.checked_mul(dilation[at])).and_then(|k| k.checked_add(1));
            let padded = padding[at].checked_mul(2).and_then(|p| p.checked_add(size));
            match (window, padded) {
                (Some(window), Some(padded)) if window <= padded => Ok((padded - window) / stride[at] + 1),
                _ => {
                    let message = format!(
                        "weight {w:?} with dilation {dilation:?} is larger than input {x:?} with padding {padding:?} ({side}); pad more or use a smaller kernel"
                    );
                    Err(Error::shape(op, message))
                }
            }
        };
        let (out_height, out_width) = (out("height", height, kernel_height, 0)?, out("width", width, kernel_width, 1)?);
        Shape::new(&[batch, out_channels, out_height, out_width])?;
        let kernel = [kernel_height, kernel_width];
        Ok(Geometry { batch, in_channels, height, width, out_channels, kernel, stride, padding, dilation, groups, out_height, out_width })
    }
}

fn output_dims(g: &Geometry) -> [usize; 4] {
    [g.batch, g.out_channels, g.out_height, g.out_width]
}

/// The convolution (PyTorch's `conv2d`): `x [N, IC, H, W], weight [OC, IC/groups, KH, KW], bias [OC] -> [N, OC, OH, OW]`, where `OH = (H + 2 padding - dilation (KH - 1) - 1) / stride + 1`.
///
/// # Errors
/// Sizes that do not fit; element types other than f32 and f64, or different ones.
pub fn conv2d(x: &Array, weight: &Array, bias: Option<&Array>, window: &Conv2d) -> Result<Array> {
    const OP: &str = "conv2d";
    let dtype = same_dtype(OP, x, weight)?;
    let g = window.geometry(OP, x.dims(), weight.dims())?;
    if let Some(bias) = bias {
        same_dtype(OP, x, bias)?;
        expect_shape(OP, "the bias", bias, &[g.out_channels])?;
    }
    let (x, weight, bias) = (x.contiguous()?, weight.contiguous()?, bias.map(|b| b.contiguous()).transpose()?);
    let mut y = Array::stale(Shape::trusted(&output_dims(&g)), dtype)?;
    with_float!(OP, dtype, T => {
        kernels::forward::<T>(&g, x.slice(), weight.slice(), bias.as_ref().map(|b| b.slice()), false, y.slice_mut());
        Ok(y)
    })
}

/// The gradient of [`conv2d`] by its input, of shape `input`: `dy [N, OC, OH, OW], weight -> [N, IC, H, W]`. The transposed convolution.
///
/// # Errors
/// Sizes that do not fit; element types other than f32 and f64, or different ones.
pub fn conv2d_input_gradient(dy: &Array, weight: &Array, input: &[usize], window: &Conv2d) -> Result<Array> {
    const OP: &str = "conv2d_input_gradient";
    let dtype = same_dtype(OP, dy, weight)?;
    let g = window.geometry(OP, input, weight.dims())?;
    expect_shape(OP, "the gradient", dy, &output_dims(&g))?;
    let (dy, weight) = (dy.contiguous()?, weight.contiguous()?);
    let mut dx = Array::stale(Shape::new(input)?, dtype)?;
    with_float!(OP, dtype, T => {
        kernels::input_gradient::<T>(&g, dy.slice(), weight.slice(), dx.slice_mut());
        Ok(dx)
    })
}

/// The gradient of [`conv2d`] by its weight, of shape `weight`: `x [N, IC, H, W], dy [N, OC, OH, OW] -> [OC, IC/groups, KH, KW]`.
///
/// # Errors
/// Sizes that do not fit; element types other than f32 and f64, or different ones.
pub fn conv2d_weight_gradient(x: &Array, dy: &Array, weight: &[usize], window: &Conv2d) -> Result<Array> {
    const OP: &str = "conv2d_weight_gradient";
    let dtype = same_dtype(OP, x, dy)?;
    let g = window.geometry(OP, x.dims(), weight)?;
    expect_shape(OP, "the gradient", dy, &output_dims(&g))?;
    let (x, dy) = (x.contiguous()?, dy.contiguous()?);
    let mut dw = Array::stale(Shape::new(weight)?, dtype)?;
    with_float!(OP, dtype, T => {
        kernels::weight_gradient::<T>(&g, x.slice(), dy.slice(), dw.slice_mut());
        Ok(dw)
    })
}

/// The gradient of [`conv2d`] by its bias: `dy [N, OC, OH, OW] -> [OC]`.
///
/// # Errors
/// A gradient of another rank; element types other than f32 and f64.
pub fn conv2d_bias_gradient(dy: &Array) -> Result<Array> {
    if dy.rank() != 4 {
        return Err(Error::shape("conv2d_bias_gradient", format!("the gradient has shape {:?}, expected [N, C, H, W]", dy.shape())));
    }
    crate::ops::reduce::sum(dy, &[0, 2, 3], false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::DType;

    #[test]
    fn sizes_that_do_not_fit_are_named() {
        let zeros = |dims: &[usize]| Array::zeros(dims, DType::F32).unwrap();
        let window = Conv2d::default();
        let message = |x: &[usize], w: &[usize], window: &Conv2d| conv2d(&zeros(x), &zeros(w), None, window).unwrap_err().to_string();
        let text = message(&[64, 3, 28, 28], &[6, 1, 5, 5], &window);
        assert_eq!(text, "conv2d: input [64, 3, 28, 28] has 3 channels, weight [6, 1, 5, 5] expects 1 (groups = 1)");
        assert!(message(&[3, 28, 28], &[6, 3, 5, 5], &window).contains("[N, C, H, W]"));
        assert!(message(&[1, 3, 4, 28], &[6, 3, 5, 5], &window).contains("pad more"));
        assert!(message(&[1, 4, 8, 8], &[6, 1, 5, 5], &Conv2d { groups: 4, ..window }).contains("does not divide"));
        assert!(message(&[1, 1, 8, 8], &[6, 1, 5, 5], &Conv2d { stride: [0, 1], ..window }).contains("at least 1"));
        assert!(message(&[1, 1, 8, 8], &[6, 1, 5, 5], &Conv2d { padding: [usize::MAX, 1], ..window }).contains("larger"));
        assert!(conv2d(&zeros(&[1, 1, 8, 8]), &zeros(&[2, 1, 3, 3]), Some(&zeros(&[3])), &window).is_err());
        assert!(conv2d_input_gradient(&zeros(&[1, 2, 5, 5]), &zeros(&[2, 1, 3, 3]), &[1, 1, 8, 8], &window).is_err());
    }

    #[test]
    fn a_kernel_of_ones_adds_up_its_window() {
        let x = Array::from_index(&[1, 1, 3, 3], DType::F64, |i| i as f64).unwrap();
        let w = Array::ones(&[1, 1, 2, 2], DType::F64).unwrap();
        let y = conv2d(&x.flip(&[3]).unwrap(), &w, None, &Conv2d::default()).unwrap();
        assert_eq!(y.to_vec::<f64>().unwrap(), [12.0, 8.0, 24.0, 20.0]);
    }
}
