//! Pooling in one to three dimensions.
//!
//! Given the places of the maxima every pooling is linear, so each backward pass is an operation whose rule is the way forward.
//! The operations themselves pool planes: a sequence is a plane of one row, and a volume is pooled in its planes and then across them, which is exact: maxima of maxima (the first of equals stays the first), and means of means, as every plane of a window has as many positions.

use crate::{Array, Error, Keep, Result, Tensor};
use chainrule_core::ops::pool::{self, Pool, Pool2d};

macro_rules! pools {
    ($($max:ident $with_positions:ident $average:ident $lp:ident $adaptive_max:ident $adaptive_max_with_positions:ident $adaptive_average:ident $unpool:ident, $options:ident, $n:literal, $x:literal, $y:literal;)*) => {
        impl Tensor { $(
            #[doc = concat!("The maximum of each window, the first of equals: `", $x, " -> ", $y, "`, or without N (PyTorch's `", stringify!($max), "`). Only the places of the maxima are kept.")]
            #[doc = "```"]
            #[doc = concat!("# use chainrule_autograd::{DType, ", stringify!($options), ", Tensor};")]
            #[doc = concat!("let x = Tensor::arange(0.0, ", $n, "f64.exp2(), 1.0, DType::F32)?.reshape(&[&[1, 1][..], &[2; ", $n, "]].concat())?;")]
            #[doc = concat!("assert_eq!(x.", stringify!($max), "(&", stringify!($options), "::new([2; ", $n, "]))?.item()?, ", $n, "f64.exp2() - 1.0);")]
            #[doc = "# Ok::<(), chainrule_autograd::Error>(())"]
            #[doc = "```"]
            ///
            /// # Errors
            /// Another number of dimensions; windows that do not fit; an element type other than f32 and f64.
            pub fn $max(&self, windows: &pool::$options) -> Result<Tensor> {
                Ok(maxima(stringify!($max), self, windows, false)?.0)
            }

            #[doc = concat!("[`", stringify!($max), "`](Tensor::", stringify!($max), "), and the position of each maximum in its sequence, plane or volume, i64 (PyTorch's `return_indices`).")]
            ///
            /// # Errors
            #[doc = concat!("As for [`", stringify!($max), "`](Tensor::", stringify!($max), ").")]
            pub fn $with_positions(&self, windows: &pool::$options) -> Result<(Tensor, Tensor)> {
                let (y, positions) = maxima(stringify!($max), self, windows, true)?;
                positioned(self, y, positions)
            }

            #[doc = concat!("The mean of each window: `", $x, " -> ", $y, "`, or without N (PyTorch's `", stringify!($average), "`): its sum over `divisor` if given, else over the number of its positions, those in the padding with `count_include_pad` only (PyTorch counts them unless told).")]
            #[doc = "```"]
            #[doc = concat!("# use chainrule_autograd::{DType, ", stringify!($options), ", Tensor};")]
            #[doc = concat!("let x = Tensor::arange(0.0, ", $n, "f64.exp2(), 1.0, DType::F32)?.reshape(&[&[1, 1][..], &[2; ", $n, "]].concat())?;")]
            #[doc = concat!("assert_eq!(x.", stringify!($average), "(&", stringify!($options), "::new([2; ", $n, "]), true, None)?.item()?, (", $n, "f64.exp2() - 1.0) / 2.0);")]
            #[doc = "# Ok::<(), chainrule_autograd::Error>(())"]
            #[doc = "```"]
            ///
            /// # Errors
            #[doc = concat!("As for [`", stringify!($max), "`](Tensor::", stringify!($max), "); a divisor of zero.")]
            pub fn $average(&self, windows: &pool::$options, count_include_pad: bool, divisor: Option<usize>) -> Result<Tensor> {
                means(stringify!($average), self, windows, count_include_pad, divisor)
            }

            #[doc = concat!("`(Σ xᵖ)^(1/p)` over each window: `", $x, " -> ", $y, "`, or without N (PyTorch's `", stringify!($lp), "`); padding does not take part.")]
            ///
            /// # Errors
            #[doc = concat!("As for [`", stringify!($max), "`](Tensor::", stringify!($max), "); a padding.")]
            pub fn $lp(&self, p: f64, windows: &pool::$options) -> Result<Tensor> {
                powers(stringify!($lp), self, p, windows)
            }

            #[doc = concat!("The maximum of each of `output` windows that tile `", $x, "`, or without N (PyTorch's `", stringify!($adaptive_max), "`).")]
            ///
            /// # Errors
            #[doc = concat!("As for [`", stringify!($adaptive_average), "`](Tensor::", stringify!($adaptive_average), ").")]
            pub fn $adaptive_max(&self, output: [usize; $n]) -> Result<Tensor> {
                Ok(adaptive_maxima(stringify!($adaptive_max), self, output)?.0)
            }

            #[doc = concat!("[`", stringify!($adaptive_max), "`](Tensor::", stringify!($adaptive_max), "), and the position of each maximum, i64 (PyTorch's `return_indices`).")]
            ///
            /// # Errors
            #[doc = concat!("As for [`", stringify!($adaptive_average), "`](Tensor::", stringify!($adaptive_average), ").")]
            pub fn $adaptive_max_with_positions(&self, output: [usize; $n]) -> Result<(Tensor, Tensor)> {
                let (y, positions) = adaptive_maxima(stringify!($adaptive_max), self, output)?;
                positioned(self, y, positions)
            }

            #[doc = concat!("The mean of each of `output` windows that tile `", $x, "`, or without N (PyTorch's `", stringify!($adaptive_average), "`); `[1; ", $n, "]` is global average pooling.")]
            #[doc = "```"]
            #[doc = "# use chainrule_autograd::{DType, Tensor};"]
            #[doc = concat!("let x = Tensor::ones(&[&[2, 3][..], &[4; ", $n, "]].concat(), DType::F32)?;")]
            #[doc = concat!("assert_eq!(x.", stringify!($adaptive_average), "([1; ", $n, "])?.to_vec::<f32>()?, [1.0; 6]);")]
            #[doc = "# Ok::<(), chainrule_autograd::Error>(())"]
            #[doc = "```"]
            ///
            /// # Errors
            /// Another number of dimensions; nothing to pool; an element type other than f32 and f64.
            pub fn $adaptive_average(&self, output: [usize; $n]) -> Result<Tensor> {
                adaptive_means(stringify!($adaptive_average), self, output)
            }

            #[doc = concat!("These numbers at the positions that [`", stringify!($with_positions), "`](Tensor::", stringify!($with_positions), ") gave, 0 elsewhere, in the extents `output` (PyTorch's `", stringify!($unpool), "`, whose `output_size` is required here). Of numbers for one position the last stays.")]
            ///
            /// # Errors
            /// Positions of another shape or type, or outside `output`.
            pub fn $unpool(&self, positions: &Tensor, output: [usize; $n]) -> Result<Tensor> {
                spatial::<$n>(stringify!($unpool), self)?;
                unpooled(self, &positions.array, &output)
            }
        )* }
    };
}

pools! {
    max_pool1d max_pool1d_with_positions avg_pool1d lp_pool1d adaptive_max_pool1d adaptive_max_pool1d_with_positions adaptive_avg_pool1d max_unpool1d,
        Pool1d, 1, "[N, C, L]", "[N, C, OL]";
    max_pool2d max_pool2d_with_positions avg_pool2d lp_pool2d adaptive_max_pool2d adaptive_max_pool2d_with_positions adaptive_avg_pool2d max_unpool2d,
        Pool2d, 2, "[N, C, H, W]", "[N, C, OH, OW]";
    max_pool3d max_pool3d_with_positions avg_pool3d lp_pool3d adaptive_max_pool3d adaptive_max_pool3d_with_positions adaptive_avg_pool3d max_unpool3d,
        Pool3d, 3, "[N, C, D, H, W]", "[N, C, OD, OH, OW]";
}

/// The extents of `[N, C, ..]` or `[C, ..]` that are pooled, and those before.
fn spatial<'a, const N: usize>(op: &'static str, x: &'a Tensor) -> Result<(&'a [usize], [usize; N])> {
    match x.dims().split_last_chunk::<N>() {
        Some((outer, &inner)) if matches!(outer.len(), 1 | 2) => Ok((outer, inner)),
        _ => {
            let letters = ["[N, C, L] or [C, L]", "[N, C, H, W] or [C, H, W]", "[N, C, D, H, W] or [C, D, H, W]"][N - 1];
            Err(Error::shape(op, format!("the input has shape {:?}, expected {letters}", x.shape())))
        }
    }
}

/// The pooling of N dimensions as one or two of planes: calls `plane` with the planes and which of the N settings are for their height and width, and gives back the result's shape.
fn by_planes<const N: usize>(
    x: &Tensor,
    outer: &[usize],
    output: [usize; N],
    mut plane: impl FnMut(&Tensor, [Option<usize>; 2]) -> Result<Tensor>,
) -> Result<Tensor> {
    let count: usize = outer.iter().product();
    let dims = &x.dims()[outer.len()..];
    let result = || [outer, &output].concat();
    match *dims {
        [length] => plane(&x.reshape(&[count, 1, length])?, [None, Some(0)])?.reshape(&result()),
        [depth, height, width] => {
            let within = plane(&x.reshape(&[count, depth, height, width])?, [Some(1), Some(2)])?;
            let within = within.reshape(&[count, depth, output[1] * output[2]])?;
            plane(&within, [Some(0), None])?.reshape(&result())
        }
        _ => plane(x, [Some(0), Some(1)]),
    }
}

/// The part of the settings that is for height and width.
fn planar<const N: usize>(windows: &Pool<N>, axes: [Option<usize>; 2]) -> Pool2d {
    let pick = |of: [usize; N], missing: usize| axes.map(|axis| axis.map_or(missing, |axis| of[axis]));
    Pool2d {
        kernel: pick(windows.kernel, 1),
        stride: pick(windows.stride, 1),
        padding: pick(windows.padding, 0),
        dilation: pick(windows.dilation, 1),
        ceil_mode: windows.ceil_mode,
    }
}

/// The positions in the result's shape, from those of one pooling of planes or of two.
fn joined<const N: usize>(positions: &[Array], output: &Tensor, inner: [usize; N]) -> Result<Array> {
    let joined = match positions {
        [within, across] => {
            let (planes, depth) = (across.dims()[0], inner[0]);
            let within = within.reshape(&[planes, depth, within.count() / (planes * depth).max(1)])?;
            pool::volume_positions(&within, across, inner[1..].iter().product())?
        }
        _ => positions[0].clone(),
    };
    Ok(joined.reshape(output.dims())?)
}

/// The maxima and, where asked for, their positions.
fn maxima<const N: usize>(op: &'static str, x: &Tensor, windows: &Pool<N>, positions: bool) -> Result<(Tensor, Option<Array>)> {
    let (outer, inner) = spatial::<N>(op, x)?;
    let output = windows.output_size(op, inner)?;
    let mut found = vec![];
    let y = by_planes(x, outer, output, |x, axes| {
        let windows = planar(windows, axes);
        let (y, places) = pool::max_pool2d(&x.array, &windows)?;
        if positions {
            found.push(pool::max_pool2d_positions(&places, x.dims(), &windows)?);
        }
        Tensor::record("max_pool", [x], Keep::NONE, y, move |pass| Ok([Some(max_backward(pass.grad(), &places, pass.input_dims(0), windows)?)]))
    })?;
    let positions = if positions { Some(joined(&found, &y, inner)?) } else { None };
    Ok((y, positions))
}

fn adaptive_maxima<const N: usize>(op: &'static str, x: &Tensor, output: [usize; N]) -> Result<(Tensor, Option<Array>)> {
    let (outer, inner) = spatial::<N>(op, x)?;
    let mut found = vec![];
    let y = by_planes(x, outer, output, |x, axes| {
        let (y, positions) = pool::adaptive_max_pool2d(&x.array, adaptive_size(x, output, axes))?;
        found.push(positions.clone());
        Tensor::record("adaptive_max_pool", [x], Keep::NONE, y, move |pass| Ok([Some(adaptive_max_backward(pass.grad(), &positions, pass.input_dims(0))?)]))
    })?;
    let positions = joined(&found, &y, inner)?;
    Ok((y, Some(positions)))
}

/// Height and width of the planes' result; an axis that is not pooled keeps its extent.
fn adaptive_size<const N: usize>(x: &Tensor, output: [usize; N], axes: [Option<usize>; 2]) -> [usize; 2] {
    let dims = &x.dims()[x.rank() - 2..];
    [0, 1].map(|at| axes[at].map_or(dims[at], |axis| output[axis]))
}

fn positioned(x: &Tensor, y: Tensor, positions: Option<Array>) -> Result<(Tensor, Tensor)> {
    let positions = positions.ok_or_else(|| Error::value("max_pool", "no positions were found"))?;
    Ok((y, Tensor::record_without_rule("max_pool_positions", [x], positions)?))
}

fn means<const N: usize>(op: &'static str, x: &Tensor, windows: &Pool<N>, count_include_pad: bool, divisor: Option<usize>) -> Result<Tensor> {
    let (outer, inner) = spatial::<N>(op, x)?;
    if divisor == Some(0) {
        return Err(Error::value(op, "the divisor is 0, expected at least 1"));
    }
    let output = windows.output_size(op, inner)?;
    let mut divisor = divisor;
    by_planes(x, outer, output, |x, axes| {
        let windows = planar(windows, axes);
        // The first of two poolings divides by all of it.
        let own = divisor;
        divisor = divisor.map(|_| 1);
        average(x, windows, count_include_pad, own)
    })
}

fn average(x: &Tensor, windows: Pool2d, count_include_pad: bool, divisor: Option<usize>) -> Result<Tensor> {
    let y = pool::avg_pool2d(&x.array, &windows, count_include_pad, divisor)?;
    Tensor::record("avg_pool", [x], Keep::NONE, y, move |pass| {
        Ok([Some(average_backward(pass.grad(), pass.input_dims(0), windows, count_include_pad, divisor)?)])
    })
}

fn powers<const N: usize>(op: &'static str, x: &Tensor, p: f64, windows: &Pool<N>) -> Result<Tensor> {
    if windows.padding != [0; N] {
        return Err(Error::value(op, format!("padding {:?} is not supported, expected none", windows.padding)));
    }
    let count: f64 = windows.kernel.iter().map(|&extent| extent as f64).product();
    means(op, &x.powf(p)?, windows, true, None)?.mul_scalar(count)?.powf(1.0 / p)
}

fn adaptive_means<const N: usize>(op: &'static str, x: &Tensor, output: [usize; N]) -> Result<Tensor> {
    let (outer, _) = spatial::<N>(op, x)?;
    by_planes(x, outer, output, |x, axes| adaptive_average(x, adaptive_size(x, output, axes)))
}

fn adaptive_average(x: &Tensor, output: [usize; 2]) -> Result<Tensor> {
    let y = pool::adaptive_avg_pool2d(&x.array, output)?;
    Tensor::record("adaptive_avg_pool", [x], Keep::NONE, y, |pass| Ok([Some(adaptive_average_backward(pass.grad(), pass.input_dims(0))?)]))
}

fn max_backward(grad: &Tensor, places: &Array, input: &[usize], windows: Pool2d) -> Result<Tensor> {
    let y = pool::max_pool2d_backward(&grad.array, places, input, &windows)?;
    let places = places.clone();
    Tensor::record("max_pool_backward", [grad], Keep::NONE, y, move |pass| {
        let picked = pool::max_pool2d_gather(&pass.grad().array, &places, &windows)?;
        let places = places.clone();
        Ok([Some(Tensor::record("max_pool_gather", [pass.grad()], Keep::NONE, picked, move |pass| {
            Ok([Some(max_backward(pass.grad(), &places, pass.input_dims(0), windows)?)])
        })?)])
    })
}

fn average_backward(grad: &Tensor, input: &[usize], windows: Pool2d, count_include_pad: bool, divisor: Option<usize>) -> Result<Tensor> {
    let y = pool::avg_pool2d_backward(&grad.array, input, &windows, count_include_pad, divisor)?;
    Tensor::record("avg_pool_backward", [grad], Keep::NONE, y, move |pass| Ok([Some(average(pass.grad(), windows, count_include_pad, divisor)?)]))
}

fn adaptive_average_backward(grad: &Tensor, input: &[usize]) -> Result<Tensor> {
    let y = pool::adaptive_avg_pool2d_backward(&grad.array, input)?;
    let &[.., height, width] = grad.dims() else { return Ok(y.into()) };
    Tensor::record("adaptive_avg_pool_backward", [grad], Keep::NONE, y, move |pass| Ok([Some(adaptive_average(pass.grad(), [height, width])?)]))
}

fn adaptive_max_backward(grad: &Tensor, positions: &Array, input: &[usize]) -> Result<Tensor> {
    let y = pool::adaptive_max_pool2d_backward(&grad.array, positions, input)?;
    let positions = positions.clone();
    Tensor::record("adaptive_max_pool_backward", [grad], Keep::NONE, y, move |pass| {
        let picked = pool::adaptive_max_pool2d_gather(&pass.grad().array, &positions)?;
        let positions = positions.clone();
        Ok([Some(Tensor::record("adaptive_max_pool_gather", [pass.grad()], Keep::NONE, picked, move |pass| {
            Ok([Some(adaptive_max_backward(pass.grad(), &positions, pass.input_dims(0))?)])
        })?)])
    })
}

/// The numbers at `positions` of zeros.
fn unpooled(x: &Tensor, positions: &Array, output: &[usize]) -> Result<Tensor> {
    let y = pool::max_unpool(&x.array, positions, output)?;
    let (positions, dimensions) = (positions.clone(), output.len());
    Tensor::record("max_unpool", [x], Keep::NONE, y, move |pass| Ok([Some(at_positions(pass.grad(), &positions, dimensions)?)]))
}

/// What stands at `positions`; its gradient adds up there.
fn at_positions(x: &Tensor, positions: &Array, dimensions: usize) -> Result<Tensor> {
    let flat = |dims: &[usize]| {
        let (outer, inner) = dims.split_at(dims.len() - dimensions);
        [outer, &[inner.iter().product()]].concat()
    };
    let indices = Tensor::from(positions.reshape(&flat(positions.dims()))?);
    x.reshape(&flat(x.dims()))?.gather(-1, &indices)?.reshape(positions.dims())
}
