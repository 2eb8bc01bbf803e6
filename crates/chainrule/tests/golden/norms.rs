//! Norms, losses and lookups of their family: PyTorch's names and arguments to ours.

use crate::case::Case;
use chainrule::options::{BagMode, Ctc, EmbeddingBag, MultiMargin, Triplet};
use chainrule::{Reduction, Result, Tensor};

type Made<T> = std::result::Result<T, chainrule::TensorError>;

/// The outputs of the case's operation; `None` when it is not of this family.
pub fn run(case: &Case, x: &[Tensor]) -> Option<Result<Vec<Tensor>>> {
    norm(case, x).or_else(|| loss(case, x)).or_else(|| elementwise(case, x)).map(|made| made.map(|y| vec![y]).map_err(Into::into))
}

fn norm(case: &Case, x: &[Tensor]) -> Option<Made<Tensor>> {
    let a = x.first()?;
    let (weight, bias) = (x.get(1), x.get(2));
    Some(match case.op.as_str() {
        "group_norm" => a.group_norm(case.size("groups"), weight, bias, case.float_or("eps", 1e-5)),
        "instance_norm" => a.instance_norm(weight, bias, case.float_or("eps", 1e-5)).map(|(y, ..)| y),
        "rms_norm" => a.rms_norm(case.sizes("dims").len(), weight, case.float_or("eps", f64::EPSILON)),
        "normalize" => {
            let axes = if case.has("dim") { case.ints("dim") } else { vec![1] };
            a.normalize(case.float_or("p", 2.0), &axes, case.float_or("eps", 1e-12))
        }
        "bilinear" => a.bilinear(&x[1], &x[2], x.get(3)),
        _ => return None,
    })
}

fn reduction(case: &Case) -> Reduction {
    match case.text("reduction") {
        "sum" => Reduction::Sum,
        "none" => Reduction::None,
        "batchmean" => Reduction::BatchMean,
        _ => Reduction::Mean,
    }
}

fn loss(case: &Case, x: &[Tensor]) -> Option<Made<Tensor>> {
    let a = x.first()?;
    // Weights and truths are constants in the cases.
    let (second, third) = (x.get(1).map(Tensor::detach), x.get(2).map(Tensor::detach));
    let fourth = x.get(3).map(Tensor::detach);
    let reduction = reduction(case);
    let margin = |default: f64| case.float_or("margin", default);
    let (eps, full) = (|default: f64| case.float_or("eps", default), case.flag("full"));
    Some(match case.op.as_str() {
        "ctc" => ctc(case, x, reduction),
        "gaussian_nll" => a.gaussian_nll_with(&x[1], &x[2], full, eps(1e-6), reduction),
        "poisson_nll" => a.poisson_nll_with(&x[1], !case.has("log_input") || case.flag("log_input"), full, eps(1e-8), reduction),
        "margin_ranking" => a.margin_ranking_with(&x[1], third.as_ref()?, margin(0.0), reduction),
        "soft_margin" => a.soft_margin_with(second.as_ref()?, reduction),
        "multilabel_margin" => a.multi_label_margin_with(&x[1], reduction),
        "multilabel_soft_margin" => a.multi_label_soft_margin_with(second.as_ref()?, third.as_ref(), reduction),
        "multi_margin" => a.multi_margin_with(&x[1], &MultiMargin { squared: case.float_or("p", 1.0) == 2.0, margin: margin(1.0), weight: third, reduction }),
        "cosine_embedding" => a.cosine_embedding_with(&x[1], third.as_ref()?, margin(0.0), reduction),
        "triplet_margin" => {
            let options = Triplet { margin: margin(1.0), p: case.float_or("p", 2.0), eps: eps(1e-6), swap: case.flag("swap"), reduction };
            a.triplet_margin_with(&x[1], &x[2], &options)
        }
        "kl_div_logs" => a.kl_div_of_logs_with(&x[1], reduction),
        "bce_weighted" => a.bce_with(second.as_ref()?, third.as_ref(), reduction),
        "bce_with_logits_weighted" => a.bce_with_logits_with(second.as_ref()?, third.as_ref(), fourth.as_ref(), reduction),
        _ => return None,
    })
}

/// Logits, labels, frames, lengths.
fn ctc(case: &Case, x: &[Tensor], reduction: Reduction) -> Made<Tensor> {
    let counts = |t: &Tensor| Ok::<_, chainrule::TensorError>(t.to_vec::<i64>()?.into_iter().map(|n| n as usize).collect::<Vec<_>>());
    let options = Ctc { blank: if case.has("blank") { case.size("blank") } else { 0 }, reduction, zero_infinity: case.flag("zero_infinity") };
    x[0].log_softmax(-1)?.ctc_with(&x[1], &counts(&x[2])?, &counts(&x[3])?, &options)
}

fn elementwise(case: &Case, x: &[Tensor]) -> Option<Made<Tensor>> {
    let a = x.first()?;
    macro_rules! plain {
        ($($name:ident)*) => {
            match case.op.as_str() {
                $(stringify!($name) => return Some(a.$name()),)*
                _ => {}
            }
        };
    }
    plain! { tan asin acos atan sinh cosh asinh acosh atanh exp2 log2 log10 ceil trunc frac erfc erfinv lgamma digamma sinc tanhshrink softsign }
    Some(match case.op.as_str() {
        "logit" => a.logit(case.float_or("eps", 0.0)),
        "celu" => a.celu(case.float_or("alpha", 1.0)),
        "hardshrink" => a.hardshrink(case.float_or("lambd", 0.5)),
        "softshrink" => a.softshrink(case.float_or("lambd", 0.5)),
        "threshold" => a.threshold(case.float("threshold"), case.float("value")),
        "softmin" => a.softmin(case.int("dim")),
        "glu" => a.glu(if case.has("dim") { case.int("dim") } else { -1 }),
        "rrelu" => a.inferring(|a| a.rrelu(case.float_or("lower", 0.125), case.float_or("upper", 1.0 / 3.0))),
        "prelu" => a.prelu(&x[1]),
        "atan2" => a.atan2(&x[1]),
        "hypot" => a.hypot(&x[1]),
        "fmod" => a.fmod(&x[1]),
        "remainder" => a.remainder(&x[1]),
        "logaddexp" => a.logaddexp(&x[1]),
        "xlogy" => a.xlogy(&x[1]),
        "embedding_bag" => {
            let mode = match case.text("mode") {
                "sum" => BagMode::Sum,
                "max" => BagMode::Max,
                _ => BagMode::Mean,
            };
            let options = EmbeddingBag { mode, padding: case.has("padding_idx").then(|| case.size("padding_idx")), weights: None };
            let offsets = x.get(2).map(|o| o.to_vec::<i64>()).transpose().ok()?.map(|o| o.into_iter().map(|n| n as usize).collect::<Vec<_>>());
            a.embedding_bag(&x[1], offsets.as_deref(), &options)
        }
        _ => return None,
    })
}
