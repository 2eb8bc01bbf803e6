//! Norms, losses and lookups of their family: PyTorch's names and arguments to ours.

use crate::case::Case;
use chainrule::{Result, Tensor};

/// The outputs of the case's operation; `None` when it is not of this family.
pub fn run(case: &Case, x: &[Tensor]) -> Option<Result<Vec<Tensor>>> {
    let a = x.first()?;
    let (weight, bias) = (x.get(1), x.get(2));
    let made = match case.op.as_str() {
        "group_norm" => a.group_norm(case.size("groups"), weight, bias, case.float_or("eps", 1e-5)),
        "instance_norm" => a.instance_norm(weight, bias, case.float_or("eps", 1e-5)).map(|(y, ..)| y),
        "rms_norm" => a.rms_norm(case.sizes("dims").len(), weight, case.float_or("eps", f64::EPSILON)),
        "normalize" => {
            let axes = if case.has("dim") { case.ints("dim") } else { vec![1] };
            a.normalize(case.float_or("p", 2.0), &axes, case.float_or("eps", 1e-12))
        }
        "bilinear" => a.bilinear(&x[1], &x[2], x.get(3)),
        _ => return None,
    };
    Some(made.map(|y| vec![y]).map_err(Into::into))
}
