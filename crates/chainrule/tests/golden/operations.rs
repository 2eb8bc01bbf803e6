//! What each golden case calls: PyTorch's name and arguments to ours.

use crate::case::Case;
use chainrule::{CrossEntropy, DType, Reduction, Result, Tensor};

/// The outputs of the case's operation; `None` when there is no such operation here.
pub fn run(case: &Case, x: &[Tensor]) -> Option<Result<Vec<Tensor>>> {
    let single = elementwise(case, x).or_else(|| reduction(case, x)).or_else(|| shape(case, x)).or_else(|| norm(case, x)).or_else(|| loss(case, x));
    match single {
        Some(output) => Some(output.map(|t| vec![t]).map_err(Into::into)),
        None => several(case, x)
            .map(|outputs| outputs.map_err(Into::into))
            .or_else(|| crate::arrays::run(case, x))
            .or_else(|| crate::norms::run(case, x))
            .or_else(|| crate::recurrent::run(case, x))
            .or_else(|| crate::windows::run(case, x)),
    }
}

type Made<T> = std::result::Result<T, chainrule::TensorError>;

fn elementwise(case: &Case, x: &[Tensor]) -> Option<Made<Tensor>> {
    let a = &x[0];
    Some(match case.op.as_str() {
        "relu" => a.relu(),
        "leaky_relu" => a.leaky_relu(case.float("negative_slope")),
        "elu" => a.elu(case.float("alpha")),
        "selu" => a.selu(),
        "gelu" => a.gelu(),
        "gelu_tanh" => a.gelu_tanh(),
        "silu" => a.silu(),
        "sigmoid" => a.sigmoid(),
        "log_sigmoid" => a.log_sigmoid(),
        "tanh" => a.tanh(),
        "softplus" => a.softplus(1.0, 20.0),
        "mish" => a.mish(),
        "hardswish" => a.hardswish(),
        "hardsigmoid" => a.hardsigmoid(),
        "relu6" => a.relu6(),
        "exp" => a.exp(),
        "log" => a.ln(),
        "log1p" => a.ln_1p(),
        "sqrt" => a.sqrt(),
        "rsqrt" => a.rsqrt(),
        "abs" => a.abs(),
        "neg" => a.neg(),
        "reciprocal" => a.reciprocal(),
        "square" => a.square(),
        "sin" => a.sin(),
        "cos" => a.cos(),
        "erf" => a.erf(),
        "powf" => a.powf(case.float("exponent")),
        "clamp" => a.clamp(case.float("min"), case.float("max")),
        "add" => a.add(&x[1]),
        "sub" => a.sub(&x[1]),
        "mul" => a.mul(&x[1]),
        "div" => a.div(&x[1]),
        "maximum" => a.maximum(&x[1]),
        "minimum" => a.minimum(&x[1]),
        "pow" => a.pow(&x[1]),
        "where" => truth(a).and_then(|c| c.where_(&x[1], &x[2])),
        "masked_fill" => truth(&x[1]).and_then(|m| a.masked_fill(&m, case.float("value"))),
        "lerp" => a.lerp(&x[1], case.float("weight")),
        _ => return None,
    })
}

fn truth(x: &Tensor) -> Made<Tensor> {
    x.greater(&Tensor::scalar(0.0, x.dtype())?)
}

fn reduction(case: &Case, x: &[Tensor]) -> Option<Made<Tensor>> {
    let a = x.first()?;
    let keep = case.flag("keepdim");
    Some(match case.op.as_str() {
        "sum" => a.sum_over(&case.ints("dim"), keep),
        "mean" => a.mean_over(&case.ints("dim"), keep),
        "var" => a.var(&case.ints("dim"), case.size("correction"), keep),
        "logsumexp" => a.logsumexp(&case.ints("dim"), keep),
        "norm" => a.norm(case.float("p"), &case.ints("dim"), keep),
        "argmax" => a.argmax(case.int("dim"), false),
        "prod" => a.prod(case.int("dim"), false),
        "cumsum" => a.cumsum(case.int("dim")),
        "softmax" => a.softmax(case.int("dim")),
        "log_softmax" => a.log_softmax(case.int("dim")),
        _ => return None,
    })
}

fn shape(case: &Case, x: &[Tensor]) -> Option<Made<Tensor>> {
    let a = x.first()?;
    Some(match case.op.as_str() {
        "reshape" => {
            let dims = case.ints("shape");
            let known: isize = dims.iter().filter(|d| **d >= 0).product();
            a.reshape(&dims.iter().map(|&d| if d < 0 { a.count() / known as usize } else { d as usize }).collect::<Vec<_>>())
        }
        "permute" => a.permute(&case.ints("dims")),
        "transpose" => a.transpose(case.int("dim0"), case.int("dim1")),
        "narrow" => a.narrow(case.int("dim"), case.size("start"), case.size("length")),
        "slice" => a.slice(case.int("dim"), case.size("start"), case.size("end"), case.size("step")),
        "cat" => Tensor::concatenate(&x.iter().collect::<Vec<_>>(), case.int("dim")),
        "stack" => Tensor::stack(&x.iter().collect::<Vec<_>>(), case.int("dim")),
        "expand" => a.broadcast_to(&case.sizes("shape")),
        "repeat" => a.repeat(&case.sizes("repeats")),
        "flip" => a.flip(&case.ints("dims")),
        "roll" => a.roll(case.int("shift"), case.int("dim")),
        "tril" => a.tril(case.int("diagonal")),
        "triu" => a.triu(case.int("diagonal")),
        "gather" => a.gather(case.int("dim"), &x[1]),
        "index_select" => a.index_select(case.int("dim"), &x[1]),
        "scatter_add" => a.scatter_add(case.int("dim"), &x[1], &x[2]),
        "index_add" => a.index_add(case.int("dim"), &x[1], &x[2]),
        "one_hot" => a.one_hot(case.size("classes"), DType::I64),
        "matmul" => a.matmul(&x[1]),
        "linear" => a.linear(&x[1], x.get(2)),
        "outer" => a.outer(&x[1]),
        "einsum" => Tensor::einsum(case.text("eq"), &x.iter().collect::<Vec<_>>()),
        "embedding" => x[1].embedding(a, case.has("padding_idx").then(|| case.size("padding_idx"))),
        _ => return None,
    })
}

fn norm(case: &Case, x: &[Tensor]) -> Option<Made<Tensor>> {
    let a = x.first()?;
    Some(match case.op.as_str() {
        "batch_norm_eval" => a.batch_norm_inference(x[3].array(), x[4].array(), Some(&x[1]), Some(&x[2]), case.float("eps")),
        "layer_norm" => a.layer_norm(case.sizes("dims").len(), Some(&x[1]), Some(&x[2]), case.float("eps")),
        _ => return None,
    })
}

fn loss(case: &Case, x: &[Tensor]) -> Option<Made<Tensor>> {
    let a = x.first()?;
    let reduction = match case.text("reduction") {
        "sum" => Reduction::Sum,
        "none" => Reduction::None,
        "batchmean" => Reduction::BatchMean,
        _ => Reduction::Mean,
    };
    let float = |t: &Tensor| t.cast(a.dtype());
    Some(match case.op.as_str() {
        "cross_entropy" | "cross_entropy_dense" => {
            let ignore_index = case.has("ignore_index").then(|| case.int("ignore_index") as i64).or(Some(-100));
            let options =
                CrossEntropy { weight: x.get(2).map(Tensor::detach), ignore_index, label_smoothing: case.float_or("label_smoothing", 0.0), reduction };
            a.cross_entropy_with(&x[1], &options)
        }
        "cross_entropy_soft" => {
            let classes = if a.rank() == 1 { 0 } else { 1 };
            let options = CrossEntropy {
                weight: x.get(2).map(Tensor::detach),
                label_smoothing: case.float_or("label_smoothing", 0.0),
                reduction,
                ..CrossEntropy::default()
            };
            x[1].softmax(classes).and_then(|t| a.cross_entropy_with(&t.detach(), &options))
        }
        "nll" => {
            let ignore_index = case.has("ignore_index").then(|| case.int("ignore_index") as i64).or(Some(-100));
            let options = CrossEntropy { weight: x.get(2).map(Tensor::detach), ignore_index, reduction, ..CrossEntropy::default() };
            a.log_softmax(1).and_then(|l| l.nll_with(&x[1], &options))
        }
        "mse" => a.mse_with(&x[1], reduction),
        "l1" => a.l1_with(&x[1], reduction),
        "smooth_l1" => a.smooth_l1_with(&x[1], case.float_or("beta", 1.0), reduction),
        "huber" => a.huber_with(&x[1], case.float_or("delta", 1.0), reduction),
        "bce_with_logits" => float(&x[1]).and_then(|y| a.bce_with_logits_with(&y, None, x.get(2).map(Tensor::detach).as_ref(), reduction)),
        "bce" => float(&x[1]).and_then(|y| a.sigmoid()?.bce_with(&y, None, reduction)),
        "kl_div" => a.log_softmax(-1).and_then(|l| l.kl_div_with(&x[1].softmax(-1)?, reduction)),
        "cosine_similarity" => a.cosine_similarity(&x[1], case.int("dim"), case.float("eps")),
        "hinge_embedding" => float(&x[1]).and_then(|y| a.hinge_embedding_with(&y.affine(2.0, -1.0)?, case.float_or("margin", 1.0), reduction)),
        "gaussian_kl" => gaussian_kl(a, &x[1]),
        "distillation" => distillation(case, a, &x[1], &x[2]),
        _ => return None,
    })
}

/// -1/2 (1 + ln σ² - μ² - σ²), summed over the last dimension, the mean over the first.
fn gaussian_kl(mean: &Tensor, log_variance: &Tensor) -> Made<Tensor> {
    let terms = log_variance.add_scalar(1.0)?.sub(&mean.square()?)?.sub(&log_variance.exp()?)?;
    terms.sum_over(&[1], false)?.mean()?.mul_scalar(-0.5)
}

/// α T² KL(teacher at T, student at T) + (1 - α) cross-entropy (Hinton et al. 2015).
fn distillation(case: &Case, student: &Tensor, teacher: &Tensor, labels: &Tensor) -> Made<Tensor> {
    let (t, alpha) = (case.float("temperature"), case.float("alpha"));
    let soft = teacher.detach().mul_scalar(1.0 / t)?.softmax(-1)?;
    let divergence = student.mul_scalar(1.0 / t)?.log_softmax(-1)?.kl_div_with(&soft, Reduction::BatchMean)?;
    divergence.mul_scalar(alpha * t * t)?.add(&student.cross_entropy(labels)?.mul_scalar(1.0 - alpha)?)
}

/// Operations with several outputs.
fn several(case: &Case, x: &[Tensor]) -> Option<Made<Vec<Tensor>>> {
    let a = x.first()?;
    Some(match case.op.as_str() {
        "max" => a.max(case.int("dim"), false).map(|(v, i)| vec![v, i]),
        "min" => a.min(case.int("dim"), false).map(|(v, i)| vec![v, i]),
        "split" => a.split(&case.sizes("sizes"), case.int("dim")),
        "chunk" => a.chunk(case.size("chunks"), case.int("dim")),
        "batch_norm_train" => batch_norm(case, x),
        _ => return None,
    })
}

/// The output, and the running statistics after the step.
fn batch_norm(case: &Case, x: &[Tensor]) -> Made<Vec<Tensor>> {
    let (y, mean, variance) = x[0].batch_norm(Some(&x[1]), Some(&x[2]), case.float("eps"))?;
    let count = x[0].count() / x[0].dims()[1];
    let momentum = case.float("momentum");
    let running = |old: &Tensor, new: Tensor| old.detach().mul_scalar(1.0 - momentum)?.add(&new.mul_scalar(momentum)?);
    let unbiased = Tensor::from(variance).mul_scalar(count as f64 / (count as f64 - 1.0))?;
    let (mean, variance) = (running(&x[3], Tensor::from(mean))?, running(&x[4], unbiased)?);
    Ok(vec![y, mean, variance])
}
