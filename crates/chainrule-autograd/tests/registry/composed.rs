//! Losses and norms.

use crate::{Cases, apart, integers, numbers, others, positive};
use chainrule_autograd::{CrossEntropy, Reduction};

pub fn add(cases: &mut Cases) {
    cases.add("on_gradient", vec![numbers(&[3])], |x| x[0].on_gradient(|_| ())?.square());
    let labels = || integers(&[2, 0, -100, 1], &[4]);
    for reduction in [Reduction::Mean, Reduction::Sum, Reduction::None, Reduction::BatchMean] {
        let plain = CrossEntropy { reduction, ..CrossEntropy::default() };
        let full = CrossEntropy { weight: Some(positive(&[3])), label_smoothing: 0.1, ..plain.clone() };
        for (name, options) in [("plain", plain.clone()), ("weighted and smoothed", full)] {
            let soft = options.clone();
            cases.add(format!("cross_entropy {name} {reduction:?}"), vec![numbers(&[4, 3]), labels()], move |x| x[0].cross_entropy_with(&x[1], &options));
            cases.add(format!("soft cross_entropy {name} {reduction:?}"), vec![numbers(&[4, 3]), positive(&[4, 3])], move |x| {
                x[0].cross_entropy_with(&x[1], &soft)
            });
        }
        cases.add(format!("nll {reduction:?}"), vec![numbers(&[4, 3]), labels()], move |x| x[0].nll_with(&x[1], &plain));
        cases.add(format!("mse {reduction:?}"), vec![numbers(&[2, 3]), others(&[2, 3])], move |x| x[0].mse_with(&x[1], reduction));
        cases.add(format!("kl_div {reduction:?}"), vec![numbers(&[2, 3]), positive(&[2, 3])], move |x| x[0].kl_div_with(&x[1], reduction));
    }
    cases.add("cross_entropy of images", vec![numbers(&[2, 3, 2, 2]), integers(&[2, 0, 1, 1, 2, 2, 0, 1], &[2, 2, 2])], |x| x[0].cross_entropy(&x[1]));
    cases.add("cross_entropy of one", vec![numbers(&[3]), integers(&[2], &[])], |x| x[0].cross_entropy(&x[1]));
    cases.add("nll of images", vec![numbers(&[1, 3, 2]), integers(&[2, 0], &[1, 2])], |x| x[0].nll(&x[1]));
    let weighted = CrossEntropy { weight: Some(positive(&[3])), ..CrossEntropy::default() };
    cases.add("nll weighted", vec![numbers(&[4, 3]), labels()], move |x| x[0].nll_with(&x[1], &weighted));
    cases.add("l1", vec![numbers(&[2, 3]), others(&[2, 3])], |x| x[0].l1(&x[1]));
    for beta in [0.0, 0.3, 0.7] {
        cases.add(format!("smooth_l1 {beta}"), vec![numbers(&[2, 3]), others(&[2, 3])], move |x| x[0].smooth_l1(&x[1], beta));
    }
    cases.add("huber", vec![numbers(&[2, 3]), others(&[2, 3])], |x| x[0].huber(&x[1], 0.4));
    cases.add("bce", vec![positive(&[2, 3]), positive(&[2, 3])], |x| x[0].bce(&x[1].mul_scalar(0.9)?));
    cases.add("bce_with_logits", vec![numbers(&[2, 3]), positive(&[2, 3])], |x| x[0].mul_scalar(5.0)?.bce_with_logits(&x[1], None));
    cases.add("bce_with_logits weighted", vec![numbers(&[2, 3]), positive(&[2, 3]), positive(&[3])], |x| x[0].bce_with_logits(&x[1], Some(&x[2])));
    cases.add("cosine_similarity", vec![numbers(&[2, 3]), others(&[2, 3])], |x| x[0].cosine_similarity(&x[1], 1, 1e-8));
    cases.add("triplet_margin", vec![numbers(&[2, 3]), others(&[2, 3]), positive(&[2, 3])], |x| x[0].triplet_margin(&x[1], &x[2], 1.0));
    cases.add("hinge_embedding", vec![apart(&[4]), integers(&[1, -1, -1, 1], &[4])], |x| x[0].hinge_embedding(&x[1].cast(x[0].dtype())?, 1.1));
    for dims in [&[4usize, 3][..], &[2, 3, 2, 2], &[3, 3, 4]] {
        let parameters = || vec![numbers(dims), positive(&[3]), others(&[3])];
        cases.add(format!("batch_norm {dims:?}"), parameters(), |x| Ok(x[0].batch_norm(Some(&x[1]), Some(&x[2]), 1e-3)?.0));
        cases.add(format!("batch_norm without parameters {dims:?}"), parameters(), |x| Ok(x[0].batch_norm(None, None, 1e-3)?.0));
        cases.add(format!("batch_norm with bias only {dims:?}"), parameters(), |x| Ok(x[0].batch_norm(None, Some(&x[2]), 1e-3)?.0));
        let (mean, variance) = (numbers(&[3]).into_array(), positive(&[3]).into_array());
        let (m, v) = (mean.clone(), variance.clone());
        cases.add(format!("batch_norm_inference {dims:?}"), parameters(), move |x| x[0].batch_norm_inference(&mean, &variance, Some(&x[1]), Some(&x[2]), 1e-3));
        cases.add(format!("batch_norm_inference without parameters {dims:?}"), parameters(), move |x| x[0].batch_norm_inference(&m, &v, None, None, 1e-3));
    }
    let (mean, variance) = (numbers(&[3]).into_array(), positive(&[3]).into_array());
    cases.add("batch_norm_inference with a frozen weight", vec![numbers(&[4, 3]), others(&[3])], move |x| {
        x[0].batch_norm_inference(&mean, &variance, Some(&positive(&[3])), Some(&x[1]), 1e-3)
    });
    for (dimensions, shape) in [(1, &[6usize][..]), (2, &[4, 6]), (3, &[2, 4, 6])] {
        let parameters = || vec![numbers(&[2, 4, 6]), positive(shape), others(shape)];
        cases.add(format!("layer_norm {dimensions}"), parameters(), move |x| x[0].layer_norm(dimensions, Some(&x[1]), Some(&x[2]), 1e-3));
        cases.add(format!("layer_norm without parameters {dimensions}"), parameters(), move |x| x[0].layer_norm(dimensions, None, None, 1e-3));
        cases.add(format!("layer_norm with bias only {dimensions}"), parameters(), move |x| x[0].layer_norm(dimensions, None, Some(&x[2]), 1e-3));
    }
    cases.add("layer_norm of no rows", vec![numbers(&[0, 3]), positive(&[3])], |x| x[0].layer_norm(1, Some(&x[1]), None, 1e-3));
}
