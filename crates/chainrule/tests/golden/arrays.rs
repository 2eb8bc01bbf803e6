//! Sorting, scanning, selecting, indexing, shapes, products and statistics: PyTorch's names and arguments to ours.

use crate::case::Case;
use chainrule::{DType, Result, ScatterReduce, Tensor};

type Made<T> = std::result::Result<T, chainrule::TensorError>;

/// The outputs of the case's operation; `None` when it is not one of this family.
pub fn run(case: &Case, x: &[Tensor]) -> Option<Result<Vec<Tensor>>> {
    let single = scanned(case, x)
        .or_else(|| truth(case, x))
        .or_else(|| chosen(case, x))
        .or_else(|| indexed(case, x))
        .or_else(|| shaped(case, x))
        .or_else(|| created(case))
        .or_else(|| multiplied(case, x));
    single.map(|y| y.map(|y| vec![y])).or_else(|| several(case, x)).map(|outputs| outputs.map_err(Into::into))
}

/// `dim`, the last one unless given.
fn dim(case: &Case) -> isize {
    if case.has("dim") { case.int("dim") } else { -1 }
}

fn scanned(case: &Case, x: &[Tensor]) -> Option<Made<Tensor>> {
    let a = x.first()?;
    Some(match case.op.as_str() {
        "argsort" => a.argsort(dim(case), case.flag("descending")),
        "quantile" => a.quantile(case.float("q"), dim(case), case.flag("keepdim")),
        "cumprod" => a.cumprod(dim(case)),
        "logcumsumexp" => a.logcumsumexp(dim(case)),
        "diff" => a.diff(case.size("n"), dim(case)),
        "std" => a.std(&case.ints("dim"), case.size("correction"), case.flag("keepdim")),
        "amax" => a.max_over(&case.ints("dim"), case.flag("keepdim")),
        "amin" => a.min_over(&case.ints("dim"), case.flag("keepdim")),
        "cov" => a.cov(case.size("correction")),
        "corrcoef" => a.corrcoef().and_then(|r| r.triu(1)),
        "trapezoid" => a.trapezoid(case.float("dx"), dim(case)),
        "trapezoid_over" => a.trapezoid_over(&x[1], dim(case)),
        _ => return None,
    })
}

fn truth(case: &Case, x: &[Tensor]) -> Option<Made<Tensor>> {
    let a = x.first()?;
    let axes = || if case.has("dim") { case.ints("dim") } else { vec![] };
    Some(match case.op.as_str() {
        "eq" => a.equal(&x[1]),
        "ne" => a.not_equal(&x[1]),
        "lt" => a.less(&x[1]),
        "le" => a.less_equal(&x[1]),
        "gt" => a.greater(&x[1]),
        "ge" => a.greater_equal(&x[1]),
        "eq_scalar" => a.equal_scalar(case.float("other")),
        "ne_scalar" => a.not_equal_scalar(case.float("other")),
        "lt_scalar" => a.less_scalar(case.float("other")),
        "le_scalar" => a.less_equal_scalar(case.float("other")),
        "gt_scalar" => a.greater_scalar(case.float("other")),
        "ge_scalar" => a.greater_equal_scalar(case.float("other")),
        "logical_and" => a.logical_and(&x[1]),
        "logical_or" => a.logical_or(&x[1]),
        "logical_xor" => a.logical_xor(&x[1]),
        "logical_not" => a.logical_not(),
        "any" => a.any(&axes(), case.flag("keepdim")),
        "all" => a.all(&axes(), case.flag("keepdim")),
        "count_nonzero" => a.count_nonzero(&axes(), false),
        "isnan" | "isinf" | "isfinite" => a.select(0, 0).and_then(|top| top.div(&a.select(0, 1)?)).and_then(|y| match case.op.as_str() {
            "isnan" => y.is_nan(),
            "isinf" => y.is_infinite(),
            _ => y.is_finite(),
        }),
        "isclose" => a.is_close(&x[1], case.float("atol"), case.float("rtol")),
        "clamp_tensor" => a.clamp_between(Some(&x[1]), Some(&x[2])),
        "clamp_min_tensor" => a.clamp_between(Some(&x[1]), None),
        "clamp_max_tensor" => a.clamp_between(None, Some(&x[1])),
        _ => return None,
    })
}

fn chosen(case: &Case, x: &[Tensor]) -> Option<Made<Tensor>> {
    let a = x.first()?;
    let mask = || x[1].greater_scalar(0.0);
    Some(match case.op.as_str() {
        "masked_select" => mask().and_then(|m| a.masked_select(&m)),
        "masked_scatter" => mask().and_then(|m| a.masked_scatter(&m, &x[2])),
        "nonzero" => a.nonzero(),
        "searchsorted" => a.searchsorted(&x[1], case.flag("right")),
        "bucketize" => x[1].searchsorted(a, case.flag("right")),
        "bincount" => a.bincount(case.size("minlength")),
        "bincount_weighted" => a.bincount_weighted(&x[1], case.size("minlength")),
        "histc" => a.histogram(case.size("bins"), case.float("min"), case.float("max")),
        _ => return None,
    })
}

fn indexed(case: &Case, x: &[Tensor]) -> Option<Made<Tensor>> {
    let a = x.first()?;
    // The dimensions that the index tensors stand at.
    let picks = || -> Vec<Option<&Tensor>> {
        let places = case.sizes("where");
        (0..=places[places.len() - 1]).map(|axis| places.iter().position(|&p| p == axis).map(|k| &x[1 + k])).collect()
    };
    let reduce = || match case.text("reduce") {
        "sum" => ScatterReduce::Sum,
        "prod" => ScatterReduce::Product,
        "mean" => ScatterReduce::Mean,
        "amax" => ScatterReduce::Max,
        _ => ScatterReduce::Min,
    };
    Some(match case.op.as_str() {
        "scatter" => a.scatter(dim(case), &x[1], &x[2]),
        "scatter_value" => a.scatter_scalar(dim(case), &x[1], case.float("value")),
        "scatter_reduce" => a.scatter_reduce(dim(case), &x[1], &x[2], reduce(), !case.has("include_self") || case.flag("include_self")),
        "take_along_dim" => a.take_along_dim(&x[1], dim(case)),
        "index_copy" => a.index_copy(dim(case), &x[1], &x[2]),
        "index_fill" => a.index_fill(dim(case), &x[1], case.float("value")),
        "index" => a.index(&picks()),
        "index_put" => a.index_put(&picks(), &x[x.len() - 1], case.flag("accumulate")),
        _ => return None,
    })
}

fn shaped(case: &Case, x: &[Tensor]) -> Option<Made<Tensor>> {
    let a = x.first()?;
    Some(match case.op.as_str() {
        "select" => a.select(case.int("dim"), case.size("index")),
        "movedim" => a.movedim(&case.ints("source"), &case.ints("destination")),
        "squeeze" => a.squeeze_all(),
        "rot90" => a.rot90(case.int("k"), case.ints("dims")[0], case.ints("dims")[1]),
        "tile" => a.tile(&case.sizes("dims")),
        "repeat_interleave" => a.repeat_interleave(case.size("repeats"), dim(case)),
        "repeat_interleave_by" => a.repeat_interleave_by(&x[1], dim(case)),
        "diagonal" => a.diagonal(case.int("offset"), case.int("dim1"), case.int("dim2")),
        "diag_embed" => a.diag_embed(case.int("offset"), case.int("dim1"), case.int("dim2")),
        "diag" => a.diag(case.int("diagonal")),
        "trace" => a.trace(),
        "cartesian_prod" => Tensor::cartesian_product(&x.iter().collect::<Vec<_>>()),
        _ => return None,
    })
}

fn created(case: &Case) -> Option<Made<Tensor>> {
    let (start, end) = (|| case.float("start"), || case.float("end"));
    Some(match case.op.as_str() {
        "arange" => Tensor::arange(start(), end(), case.float("step"), DType::F64),
        "linspace" => Tensor::linspace(start(), end(), case.size("steps"), DType::F64),
        "logspace" => Tensor::logspace(start(), end(), case.size("steps"), case.float("base"), DType::F64),
        _ => return None,
    })
}

fn multiplied(case: &Case, x: &[Tensor]) -> Option<Made<Tensor>> {
    let a = x.first()?;
    let p = || if case.text("p") == "inf" { f64::INFINITY } else { case.float("p") };
    let lists =
        || [0, 1].map(|i| case.arguments["dims"][i].as_array().into_iter().flatten().filter_map(|v| v.as_i64()).map(|v| v as isize).collect::<Vec<_>>());
    Some(match case.op.as_str() {
        "dot" => a.dot(&x[1]),
        "addmm" | "baddbmm" => a.addmm(&x[1], &x[2], case.float_or("beta", 1.0), case.float_or("alpha", 1.0)),
        "tensordot" => a.tensordot(&x[1], &lists()[0], &lists()[1]),
        "kron" => a.kron(&x[1]),
        "cross" => a.cross(&x[1], dim(case)),
        "cdist" => a.cdist(&x[1], p()),
        "pairwise_distance" => a.pairwise_distance(&x[1], p(), case.float("eps")),
        _ => return None,
    })
}

/// Operations with several outputs.
fn several(case: &Case, x: &[Tensor]) -> Option<Made<Vec<Tensor>>> {
    let a = x.first()?;
    let all = || x.iter().collect::<Vec<_>>();
    let pair = |found: Made<(Tensor, Tensor)>| found.map(|(values, indices)| vec![values, indices]);
    let unique = |found: Made<chainrule::Unique>| found.map(|u| vec![u.values, u.inverse, u.counts]);
    let (keep, largest) = (case.flag("keepdim"), !case.has("largest") || case.flag("largest"));
    Some(match case.op.as_str() {
        "sort" => pair(a.sort(dim(case), case.flag("descending"))),
        "topk" => pair(a.topk(case.size("k"), dim(case), largest)),
        "kthvalue" => pair(a.kthvalue(case.size("k"), dim(case), keep)),
        "median" => pair(a.median(dim(case), keep)),
        "cummax" => pair(a.cummax(dim(case))),
        "cummin" => pair(a.cummin(dim(case))),
        "var_mean" => pair(a.var_mean(&case.ints("dim"), case.size("correction"), keep)),
        "std_mean" => pair(a.std_mean(&case.ints("dim"), case.size("correction"), keep)),
        "unique" => unique(a.unique()),
        "unique_consecutive" => unique(a.unique_consecutive()),
        "unbind" => a.unbind(dim(case)),
        "split_size" => a.split_every(case.size("size"), dim(case)),
        "tensor_split" => a.tensor_split(case.size("sections"), dim(case)),
        "meshgrid" if case.text("indexing") == "xy" => Tensor::meshgrid_xy(&all()),
        "meshgrid" => Tensor::meshgrid(&all()),
        "broadcast_tensors" => Tensor::broadcast_tensors(&all()),
        _ => return None,
    })
}
