//! Sorting, selecting, indexing and putting together: PyTorch's names and arguments to ours.

use crate::case::Case;
use chainrule::{Result, Tensor};

type Made<T> = std::result::Result<T, chainrule::TensorError>;

/// The outputs of the case's operation; `None` when it is not one of this family.
pub fn run(case: &Case, x: &[Tensor]) -> Option<Result<Vec<Tensor>>> {
    ordered(case, x).map(|outputs| outputs.map_err(Into::into))
}

/// `dim`, the last one unless given.
fn dim(case: &Case) -> isize {
    if case.has("dim") { case.int("dim") } else { -1 }
}

fn pair(found: Made<(Tensor, Tensor)>) -> Made<Vec<Tensor>> {
    found.map(|(values, indices)| vec![values, indices])
}

fn ordered(case: &Case, x: &[Tensor]) -> Option<Made<Vec<Tensor>>> {
    let a = x.first()?;
    let largest = !case.has("largest") || case.flag("largest");
    Some(match case.op.as_str() {
        "sort" => pair(a.sort(dim(case), case.flag("descending"))),
        "topk" => pair(a.topk(case.size("k"), dim(case), largest)),
        _ => return None,
    })
}
