//! Convolutions, pools, interpolation, patches and rims: PyTorch's names and arguments to ours.

use crate::case::Case;
use chainrule::options::*;
use chainrule::{Result, Tensor};
use serde_json::Value;

type Made<T> = std::result::Result<T, chainrule::TensorError>;

/// The outputs of the case's operation; `None` when it is not of this family.
pub fn run(case: &Case, x: &[Tensor]) -> Option<Result<Vec<Tensor>>> {
    let single = convolution(case, x).or_else(|| mean_pool(case, x)).or_else(|| resampling(case, x)).or_else(|| other(case, x));
    let made = single.map(|y| y.map(|y| vec![y])).or_else(|| max_pool(case, x))?;
    Some(made.map_err(Into::into))
}

/// An argument for each of N dimensions; a single number stands for all; `default` where it is missing.
fn each<const N: usize>(case: &Case, key: &str, default: [usize; N]) -> [usize; N] {
    if !case.has(key) {
        return default;
    }
    match case.sizes(key)[..] {
        [] => default,
        [all] => [all; N],
        ref several => several.try_into().unwrap_or_else(|_| panic!("{}: {key}", case.name)),
    }
}

fn flag_or(case: &Case, key: &str, default: bool) -> bool {
    case.arguments[key].as_bool().unwrap_or(default)
}

fn count_or(case: &Case, key: &str, default: usize) -> usize {
    if case.has(key) { case.size(key) } else { default }
}

/// Windows over the input; the padding may be the word `same` or `valid`.
fn convolve<const N: usize>(case: &Case, x: &[Tensor], f: impl Fn(&Tensor, &Convolution<N>) -> Made<Tensor>) -> Made<Tensor> {
    let (stride, dilation) = (each(case, "stride", [1; N]), each(case, "dilation", [1; N]));
    let mut window = Convolution { stride, dilation, groups: count_or(case, "groups", 1), ..Default::default() };
    match case.text("padding") {
        "same" => {
            let kernel = &x[1].dims()[2..];
            let total: [usize; N] = std::array::from_fn(|at| dilation[at] * (kernel[at] - 1));
            f(&x[0].pad(&total.map(|all| ((all / 2) as isize, (all - all / 2) as isize)), 0.0)?, &window)
        }
        "valid" => f(&x[0], &window),
        _ => {
            window.padding = each(case, "padding", [0; N]);
            f(&x[0], &window)
        }
    }
}

fn spreading<const N: usize>(case: &Case) -> TransposedConvolution<N> {
    TransposedConvolution {
        stride: each(case, "stride", [1; N]),
        padding: each(case, "padding", [0; N]),
        output_padding: each(case, "output_padding", [0; N]),
        dilation: each(case, "dilation", [1; N]),
        groups: count_or(case, "groups", 1),
    }
}

fn convolution(case: &Case, x: &[Tensor]) -> Option<Made<Tensor>> {
    let (a, b) = (x.first()?, x.get(2));
    Some(match case.op.as_str() {
        "conv1d" => convolve::<1>(case, x, |a, window| a.conv1d(&x[1], b, window)),
        "conv2d" => convolve::<2>(case, x, |a, window| a.conv2d(&x[1], b, window)),
        "conv3d" => convolve::<3>(case, x, |a, window| a.conv3d(&x[1], b, window)),
        "conv_transpose1d" => a.conv_transpose1d(&x[1], b, &spreading(case)),
        "conv_transpose2d" => a.conv_transpose2d(&x[1], b, &spreading(case)),
        "conv_transpose3d" => a.conv_transpose3d(&x[1], b, &spreading(case)),
        _ => return None,
    })
}

fn pool<const N: usize>(case: &Case) -> Pool<N> {
    let kernel = each(case, "kernel_size", [1; N]);
    Pool {
        kernel,
        stride: each(case, "stride", kernel),
        padding: each(case, "padding", [0; N]),
        dilation: each(case, "dilation", [1; N]),
        ceil_mode: case.flag("ceil_mode"),
    }
}

fn mean_pool(case: &Case, x: &[Tensor]) -> Option<Made<Tensor>> {
    let a = x.first()?;
    let counts = flag_or(case, "count_include_pad", true);
    let divisor = case.has("divisor_override").then(|| case.size("divisor_override"));
    let p = case.float_or("norm_type", 2.0);
    Some(match case.op.as_str() {
        "avg_pool1d" => a.avg_pool1d(&pool(case), counts, divisor),
        "avg_pool2d" => a.avg_pool2d(&pool(case), counts, divisor),
        "avg_pool3d" => a.avg_pool3d(&pool(case), counts, divisor),
        "lp_pool1d" => a.lp_pool1d(p, &pool(case)),
        "lp_pool2d" => a.lp_pool2d(p, &pool(case)),
        "lp_pool3d" => a.lp_pool3d(p, &pool(case)),
        "adaptive_avg_pool1d" => a.adaptive_avg_pool1d(output(case, a)),
        "adaptive_avg_pool2d" => a.adaptive_avg_pool2d(output(case, a)),
        "adaptive_avg_pool3d" => a.adaptive_avg_pool3d(output(case, a)),
        "max_unpool1d" => a.max_unpool1d(&x[1], each(case, "output_size", [1])),
        "max_unpool2d" => a.max_unpool2d(&x[1], each(case, "output_size", [1; 2])),
        "max_unpool3d" => a.max_unpool3d(&x[1], each(case, "output_size", [1; 3])),
        _ => return None,
    })
}

/// The size of an adaptive pooling; `None` in it keeps the input's extent.
fn output<const N: usize>(case: &Case, x: &Tensor) -> [usize; N] {
    let Value::Array(sizes) = &case.arguments["output_size"] else { return each(case, "output_size", [1; N]) };
    let dims = &x.dims()[x.rank() - N..];
    std::array::from_fn(|at| sizes[at % sizes.len()].as_u64().map_or(dims[at], |size| size as usize))
}

/// With positions where they are asked for.
fn max_pool(case: &Case, x: &[Tensor]) -> Option<Made<Vec<Tensor>>> {
    let a = x.first()?;
    let made = match case.op.as_str() {
        "max_pool1d" => a.max_pool1d_with_positions(&pool(case)),
        "max_pool2d" => a.max_pool2d_with_positions(&pool(case)),
        "max_pool3d" => a.max_pool3d_with_positions(&pool(case)),
        "adaptive_max_pool1d" => a.adaptive_max_pool1d_with_positions(output(case, a)),
        "adaptive_max_pool2d" => a.adaptive_max_pool2d_with_positions(output(case, a)),
        "adaptive_max_pool3d" => a.adaptive_max_pool3d_with_positions(output(case, a)),
        _ => return None,
    };
    let positions = case.flag("return_indices") || case.numbered("out").len() == 2;
    Some(made.map(|(y, at)| if positions { vec![y, at] } else { vec![y] }))
}

/// By `size`, or by `scale` or `scale_factor`.
fn interpolate<const N: usize>(case: &Case, x: &Tensor, filter: Filter) -> Made<Tensor> {
    let key = if case.has("scale_factor") { "scale_factor" } else { "scale" };
    let scaling = match &case.arguments[key] {
        Value::Null => Scaling::Size(each(case, "size", [1; N])),
        Value::Array(factors) => Scaling::Factor(std::array::from_fn(|at| factors[at % factors.len()].as_f64().expect("a factor"))),
        factor => Scaling::Factor([factor.as_f64().expect("a factor"); N]),
    };
    let mut how = Interpolation { scaling, filter, align_corners: case.flag("align_corners"), antialias: case.flag("antialias") };
    if case.flag("recompute_scale_factor") {
        let input = std::array::from_fn(|at| x.dims()[x.rank() - N + at]);
        how.scaling = Scaling::Size(how.output_size("interpolate", input).expect("a size"));
    }
    x.interpolate(&how)
}

fn resampling(case: &Case, x: &[Tensor]) -> Option<Made<Tensor>> {
    let a = x.first()?;
    let filter = match (case.op.as_str(), case.text("mode")) {
        ("upsample_nearest", _) | ("interpolate", "nearest" | "") => Filter::Nearest,
        ("upsample_nearest_exact", _) | ("interpolate", "nearest-exact") => Filter::NearestExact,
        ("upsample_linear" | "upsample_bilinear" | "upsample_trilinear", _) | ("interpolate", "linear" | "bilinear" | "trilinear") => Filter::Linear,
        ("upsample_bicubic", _) | ("interpolate", "bicubic") => Filter::Cubic,
        _ => return None,
    };
    Some(match a.rank() {
        3 => interpolate::<1>(case, a, filter),
        5 => interpolate::<3>(case, a, filter),
        _ => interpolate::<2>(case, a, filter),
    })
}

/// PyTorch's pads run from the last dimension on; ours name all dimensions in order.
fn pads(case: &Case, rank: usize) -> Vec<(isize, isize)> {
    let mut pads: Vec<(isize, isize)> = case.ints("pads").chunks(2).map(|pair| (pair[0], pair[1])).collect();
    pads.truncate(rank);
    pads.reverse();
    pads
}

fn other(case: &Case, x: &[Tensor]) -> Option<Made<Tensor>> {
    let a = x.first()?;
    let patches = || {
        let kernel = if case.has("kernel") { "kernel" } else { "kernel_size" };
        let [dilation, padding, stride] = [("dilation", 1), ("padding", 0), ("stride", 1)].map(|(key, default)| each(case, key, [default; 2]));
        Patches { kernel: each(case, kernel, [1; 2]), dilation, padding, stride }
    };
    Some(match case.op.as_str() {
        "unfold" => a.unfold(&patches()),
        "fold" => a.fold(each(case, if case.has("output_size") { "output_size" } else { "size" }, [1; 2]), &patches()),
        "pad" => {
            let mode = match case.text("mode") {
                "reflect" => PadMode::Reflect,
                "replicate" => PadMode::Replicate,
                "circular" => PadMode::Circular,
                _ => PadMode::Constant(case.float_or("value", 0.0)),
            };
            a.pad_with(&pads(case, a.rank()), mode)
        }
        "pad_reflect" => a.pad_reflect(&pads(case, a.rank())),
        "pad_replicate" => a.pad_replicate(&pads(case, a.rank())),
        "pad_circular" => a.pad_circular(&pads(case, a.rank())),
        "pixel_shuffle" => a.pixel_shuffle(case.size("factor")),
        "pixel_unshuffle" => a.pixel_unshuffle(case.size("factor")),
        "channel_shuffle" => a.channel_shuffle(case.size("groups")),
        "local_response_norm" => a.local_response_norm(case.size("size"), case.float_or("alpha", 1e-4), case.float_or("beta", 0.75), case.float_or("k", 1.0)),
        _ => return None,
    })
}
