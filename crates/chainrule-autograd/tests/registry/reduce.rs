//! Reductions.

use crate::{Cases, apart, numbers, positive};
use chainrule_autograd::{DType, Tensor};

pub fn add(cases: &mut Cases) {
    cases.add("sum", vec![numbers(&[2, 3])], |x| x[0].sum());
    cases.add("sum of a scalar", vec![numbers(&[])], |x| x[0].sum());
    cases.add("mean", vec![numbers(&[2, 3])], |x| x[0].mean());
    cases.add("sum_to", vec![numbers(&[4, 2, 3])], |x| x[0].sum_to(&[2, 1])?.mul(&x[0]));
    for axes in [&[0isize][..], &[1], &[-1], &[0, 2], &[2, 0, 1]] {
        for keep in [false, true] {
            let name = |op: &str| format!("{op} {axes:?} {keep}");
            let x = || vec![numbers(&[2, 3, 4])];
            cases.add(name("sum_over"), x(), move |x| x[0].sum_over(axes, keep));
            cases.add(name("mean_over"), x(), move |x| x[0].mean_over(axes, keep));
            cases.add(name("var"), x(), move |x| x[0].var(axes, 1, keep));
            cases.add(name("std"), x(), move |x| x[0].std(axes, 0, keep));
            cases.add(name("logsumexp"), x(), move |x| x[0].logsumexp(axes, keep));
            cases.add(name("norm"), x(), move |x| x[0].norm(2.0, axes, keep));
            cases.add(name("max_over"), vec![apart(&[2, 3, 4])], move |x| x[0].max_over(axes, keep));
            cases.add(name("min_over"), vec![apart(&[2, 3, 4])], move |x| x[0].min_over(axes, keep));
        }
    }
    for p in [0.0, 1.0, 1.7, 3.0, f64::INFINITY, f64::NEG_INFINITY] {
        cases.add(format!("norm of p = {p}"), vec![apart(&[3, 4])], move |x| x[0].norm(p, &[1], false));
    }
    cases.add("norm of nothing", vec![numbers(&[0, 3])], |x| x[0].norm(2.0, &[0], false));
    cases.add("norm of zeros is flat", vec![numbers(&[2]), Tensor::zeros(&[2], DType::F64).unwrap()], |x| {
        x[1].detach().norm(2.0, &[0], false)?.add(&x[0].norm(2.0, &[0], false)?)
    });
    for axis in [0isize, 1, -1] {
        for keep in [false, true] {
            let name = |op: &str| format!("{op} {axis} {keep}");
            cases.add(name("max"), vec![apart(&[2, 3, 4])], move |x| Ok(x[0].max(axis, keep)?.0));
            cases.add(name("min"), vec![apart(&[2, 3, 4])], move |x| Ok(x[0].min(axis, keep)?.0));
            cases.add(name("prod"), vec![numbers(&[2, 3, 4])], move |x| x[0].prod(axis, keep));
        }
        cases.add(format!("cumsum {axis}"), vec![numbers(&[2, 3, 4])], move |x| x[0].cumsum(axis));
        cases.add(format!("cumprod {axis}"), vec![numbers(&[2, 3, 4])], move |x| x[0].cumprod(axis));
        cases.add(format!("logcumsumexp {axis}"), vec![numbers(&[2, 3, 4])], move |x| x[0].mul_scalar(5.0)?.logcumsumexp(axis));
        cases.add(format!("recurrence {axis}"), vec![numbers(&[2, 3, 4]), positive(&[2, 3, 4])], move |x| x[0].recurrence(&x[1], axis));
        cases.add(format!("cummax {axis}"), vec![apart(&[2, 3, 4])], move |x| Ok(x[0].cummax(axis)?.0));
        cases.add(format!("cummin {axis}"), vec![apart(&[2, 3, 4])], move |x| Ok(x[0].cummin(axis)?.0));
        cases.add(format!("diff {axis}"), vec![numbers(&[4, 3, 5])], move |x| x[0].diff(2, axis));
        cases.add(format!("softmax {axis}"), vec![numbers(&[2, 3, 4])], move |x| x[0].mul_scalar(3.0)?.softmax(axis));
        cases.add(format!("log_softmax {axis}"), vec![numbers(&[2, 3, 4])], move |x| x[0].mul_scalar(3.0)?.log_softmax(axis));
    }
    let zeros = Tensor::from_slice(&[0.5, 0.0, 2.0, 0.0, 0.3, 0.0], &[2, 3]).unwrap();
    cases.add("prod with zeros", vec![zeros.clone()], |x| x[0].prod(1, false));
    cases.add("cumprod with zeros", vec![zeros], |x| x[0].cumprod(1));
    cases.add("cumprod of nothing", vec![numbers(&[2, 0])], |x| x[0].cumprod(1));
    cases.add("logcumsumexp of one", vec![numbers(&[2, 1])], |x| x[0].logcumsumexp(1));
    cases.add("recurrence of nothing", vec![numbers(&[0, 2]), numbers(&[0, 2])], |x| x[0].recurrence(&x[1], 0));
    cases.add("recurrence with its own decay", vec![numbers(&[4])], |x| x[0].recurrence(&x[0], 0));
    cases.add("sums of nothing", vec![numbers(&[0, 3])], |x| x[0].sum_over(&[0], false));
    cases.add("cumsum of nothing", vec![numbers(&[2, 0])], |x| x[0].cumsum(1));
    cases.add("softmax of one", vec![numbers(&[3, 1])], |x| x[0].softmax(-1));
    cases.add("softmax of nothing", vec![numbers(&[0, 3])], |x| x[0].softmax(-1));
    cases.add("var_mean", vec![numbers(&[2, 3])], |x| {
        let (variance, mean) = x[0].var_mean(&[1], 1, true)?;
        variance.mul(&mean)
    });
    cases.add("std_mean", vec![numbers(&[2, 3])], |x| {
        let (deviation, mean) = x[0].std_mean(&[0], 0, false)?;
        deviation.mul(&mean)
    });
    cases.add("mean of one", vec![positive(&[1])], |x| x[0].mean());
}
