//! Losses with all their settings.

use crate::{Cases, apart, integers, numbers, others, positive};
use chainrule_autograd::{Ctc, DType, MultiMargin, Reduction, Result, Tensor, Triplet};

const REDUCTIONS: [Reduction; 4] = [Reduction::Mean, Reduction::Sum, Reduction::None, Reduction::BatchMean];

/// 1 and -1 in turn, of the shape.
fn signs(dims: &[usize]) -> Tensor {
    let values: Vec<f64> = (0..dims.iter().product()).map(|i| if i % 3 == 1 { -1.0 } else { 1.0 }).collect();
    Tensor::from_slice(&values, dims).unwrap()
}

pub fn add(cases: &mut Cases) {
    for reduction in REDUCTIONS {
        let pair = || vec![numbers(&[3, 4]), others(&[3, 4])];
        let name = |loss: &str| format!("{loss} {reduction:?}");
        cases.add(name("margin_ranking"), pair(), move |x| x[0].margin_ranking_with(&x[1], &signs(&[3, 4]), 0.31, reduction));
        cases.add(name("soft_margin"), vec![numbers(&[3, 4])], move |x| x[0].soft_margin_with(&signs(&[3, 4]), reduction));
        cases.add(name("multi_label_soft_margin"), vec![numbers(&[3, 4]), positive(&[3, 4]), positive(&[4])], move |x| {
            x[0].multi_label_soft_margin_with(&x[1], Some(&x[2]), reduction)
        });
        let labels = || integers(&[3, 0, -1, 1, 2, -1, 0, 0, -1, -1, -1, -1], &[3, 4]);
        cases.add(name("multi_label_margin"), vec![apart(&[3, 4]), labels()], move |x| x[0].multi_label_margin_with(&x[1], reduction));
        for squared in [false, true] {
            let options = MultiMargin { squared, margin: 0.83, weight: Some(positive(&[4])), reduction };
            cases.add(name("multi_margin"), vec![apart(&[3, 4]), integers(&[3, 0, 2], &[3])], move |x| x[0].multi_margin_with(&x[1], &options));
        }
        for swap in [false, true] {
            let options = Triplet { margin: 0.7, p: 3.0, eps: 1e-3, swap, reduction };
            cases.add(name("triplet_margin"), vec![numbers(&[3, 4]), others(&[3, 4]), positive(&[3, 4])], move |x| {
                x[0].triplet_margin_with(&x[1], &x[2], &options)
            });
        }
        cases.add(name("cosine_embedding"), pair(), move |x| x[0].cosine_embedding_with(&x[1], &signs(&[3]), -0.9, reduction));
        let together = || Tensor::from_slice(&[1.0, 0.0, 0.0], &[3]).unwrap();
        cases.add(name("contrastive"), pair(), move |x| x[0].contrastive_with(&x[1], &together(), 2.1, reduction));
        cases.add(name("info_nce"), vec![numbers(&[3, 4]), others(&[5, 4])], move |x| x[0].info_nce_with(&x[1], 0.2, reduction));
        for full in [false, true] {
            cases.add(name("gaussian_nll"), vec![numbers(&[3, 4]), others(&[3, 4]), positive(&[3, 4])], move |x| {
                x[0].gaussian_nll_with(&x[1], &x[2], full, 1e-6, reduction)
            });
            let counts = || Tensor::from_slice(&[0.4, 3.0, 1.5, 0.0, 7.2, 2.0], &[2, 3]).unwrap();
            for logarithms in [false, true] {
                cases.add(name("poisson_nll"), vec![positive(&[2, 3]), counts()], move |x| x[0].poisson_nll_with(&x[1], logarithms, full, 1e-8, reduction));
            }
        }
        cases.add(name("binary_focal"), vec![numbers(&[3, 4]), positive(&[3, 4])], move |x| x[0].binary_focal_with(&x[1], Some(0.3), 2.5, reduction));
        cases.add(name("focal"), vec![numbers(&[2, 3, 2]), integers(&[2, 0, 1, 1], &[2, 2]), positive(&[3])], move |x| {
            x[0].focal_with(&x[1], Some(&x[2]), 1.5, reduction)
        });
        cases.add(name("dice"), vec![positive(&[2, 3, 4]), positive(&[2, 3, 4])], move |x| x[0].dice_with(&x[1].mul_scalar(0.5)?, 1.0, reduction));
        cases.add(name("dice of classes"), vec![positive(&[2, 3, 2, 1]), integers(&[2, 0, 1, 1], &[2, 2, 1])], move |x| x[0].dice_with(&x[1], 0.5, reduction));
        cases.add(name("kl_div_of_logs"), pair(), move |x| x[0].kl_div_of_logs_with(&x[1], reduction));
        cases.add(name("bce"), vec![positive(&[3, 4]), positive(&[3, 4]), positive(&[4])], move |x| {
            x[0].bce_with(&x[1].mul_scalar(0.9)?, Some(&x[2]), reduction)
        });
        cases.add(name("bce_with_logits"), vec![numbers(&[3, 4]), positive(&[3, 4]), positive(&[4]), positive(&[3, 1])], move |x| {
            x[0].bce_with_logits_with(&x[1], Some(&x[3]), Some(&x[2]), reduction)
        });
        let spelling = || integers(&[1, 1, 2, 3, 1, 0, 0, 0, 0], &[3, 3]);
        let options = Ctc { reduction, ..Ctc::default() };
        cases.add_first_order(name("ctc"), vec![numbers(&[6, 3, 4]), spelling()], move |x| x[0].ctc_with(&x[1], &[6, 4, 5], &[3, 2, 0], &options));
        let options = Ctc { blank: 2, zero_infinity: true, reduction };
        cases.add_first_order(name("ctc of joined labels, one impossible"), vec![numbers(&[4, 2, 3]), integers(&[1, 1, 0], &[3])], move |x| {
            x[0].ctc_with(&x[1], &[2, 4], &[2, 1], &options)
        });
    }
    cases.add_first_order("ctc of one", vec![numbers(&[4, 3]), integers(&[1, 2], &[2])], |x| x[0].ctc(&x[1], &[4], &[2]));
    cases.add("multi_margin of one", vec![apart(&[4]), integers(&[2], &[])], |x| x[0].multi_margin(&x[1]));
    cases.add("multi_label_margin of one", vec![apart(&[4]), integers(&[2, 0, -1, 3], &[4])], |x| x[0].multi_label_margin(&x[1]));
    cases.add("gaussian_nll of one variance a row", vec![numbers(&[3, 4]), others(&[3, 4]), positive(&[3])], |x| x[0].gaussian_nll(&x[1], &x[2], true, 1e-6));
    cases.add("losses of nothing", vec![numbers(&[0, 3]), others(&[0, 3])], |x| {
        let nothing = integers(&[], &[0]);
        let sums = [
            x[0].margin_ranking_with(&x[1], &x[1], 0.1, Reduction::Sum)?,
            x[0].multi_margin_with(&nothing, &MultiMargin { reduction: Reduction::Sum, ..MultiMargin::default() })?,
            x[0].contrastive_with(&x[1], &Tensor::zeros(&[0], DType::F64)?, 1.0, Reduction::Sum)?,
        ];
        sums[0].add(&sums[1])?.add(&sums[2])
    });
}

#[test]
fn what_does_not_fit_is_an_error() {
    let (x, y) = (numbers(&[3, 4]), numbers(&[4, 3]));
    let labels = integers(&[0, 1, 4], &[3]);
    let results: [(&str, Result<Tensor>, &str); 14] = [
        ("margin_ranking", x.margin_ranking(&y, &x, 0.0), "[3, 4]"),
        ("soft_margin", x.soft_margin(&y), "[4, 3]"),
        ("multi_label_margin", x.multi_label_margin(&integers(&[4; 12], &[3, 4])), "label 4"),
        ("multi_margin", x.multi_margin(&labels), "4"),
        ("multi_margin", x.multi_margin(&x), "i64 [3]"),
        ("cosine_embedding", x.cosine_embedding(&x, &x, 0.0), "[3]"),
        ("contrastive", x.contrastive(&x, &x, 1.0), "[3]"),
        ("info_nce", x.info_nce(&numbers(&[2, 4]), 0.1), "M at least N"),
        ("info_nce", x.info_nce(&x, 0.0), "above 0"),
        ("gaussian_nll", x.gaussian_nll(&x, &numbers(&[3, 4]), false, 1e-6), "below 0"),
        ("gaussian_nll", x.gaussian_nll(&x, &positive(&[3, 4]), false, 0.0), "above 0"),
        ("focal", x.focal(&x, None, 2.0), "[3, 4]"),
        ("dice", x.dice(&x, 1.0), "positions"),
        ("bce", x.bce(&x), "outside 0 to 1"),
    ];
    for (op, result, part) in results {
        let error = result.unwrap_err().to_string();
        assert!(error.starts_with(op) && error.contains(part), "{op}: {error}");
    }
}

#[test]
fn infinite_losses_count_as_nothing_when_asked() -> Result<()> {
    let log = numbers(&[2, 1, 3]).log_softmax(-1)?;
    let labels = integers(&[1, 1], &[1, 2]);
    assert_eq!(log.ctc(&labels, &[2], &[2])?.item()?, f64::INFINITY);
    assert_eq!(log.ctc_with(&labels, &[2], &[2], &Ctc { zero_infinity: true, ..Ctc::default() })?.item()?, 0.0);
    Ok(())
}
