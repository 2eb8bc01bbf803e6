//! Matrix products.

use crate::{Cases, apart, numbers, others, positive};
use chainrule_autograd::{Activation, Tensor};

pub fn add(cases: &mut Cases) {
    let shapes: [(&[usize], &[usize]); 13] = [
        (&[2, 3], &[3, 4]),
        (&[3], &[3]),
        (&[3], &[3, 4]),
        (&[2, 3], &[3]),
        (&[2, 2, 3], &[3, 4]),
        (&[2, 3], &[2, 3, 4]),
        (&[2, 1, 2, 3], &[3, 3, 2]),
        (&[3], &[2, 3, 2]),
        (&[2, 2, 3], &[3]),
        (&[0, 3], &[3, 2]),
        (&[2, 0], &[0, 2]),
        (&[1, 1], &[1, 1]),
        (&[2, 2, 3], &[2, 3, 1]),
    ];
    for (a, b) in shapes {
        cases.add(format!("matmul {a:?} {b:?}"), vec![numbers(a), others(b)], |x| x[0].matmul(&x[1]));
    }
    cases.add("matmul with itself", vec![numbers(&[3, 3])], |x| x[0].matmul(&x[0]));
    cases.add("linear", vec![numbers(&[2, 2, 3]), others(&[4, 3])], |x| x[0].linear(&x[1], None));
    for dims in [&[2usize, 2, 3][..], &[2, 3], &[3], &[0, 3]] {
        cases.add(format!("linear with bias {dims:?}"), vec![numbers(dims), others(&[4, 3]), numbers(&[4])], |x| x[0].linear(&x[1], Some(&x[2])));
    }
    for dims in [&[2usize, 2, 3][..], &[2, 3], &[3], &[0, 3]] {
        let onto = [&dims[..dims.len() - 1], &[4]].concat();
        cases.add(format!("add_linear {dims:?}"), vec![numbers(&onto), others(dims), numbers(&[4, 3])], |x| x[0].clone().add_linear(&x[1], &x[2]));
    }
    for activation in [Activation::Relu, Activation::LeakyRelu(0.1), Activation::LeakyRelu(0.0), Activation::LeakyRelu(-0.5)] {
        for dims in [&[2usize, 2, 3][..], &[3], &[0, 3]] {
            let name = format!("linear with bias and {activation:?} {dims:?}");
            cases.add(name, vec![numbers(dims), others(&[4, 3]), numbers(&[4])], move |x| x[0].linear_activated(&x[1], Some(&x[2]), activation));
        }
        let name = format!("linear with {activation:?}");
        cases.add(name, vec![numbers(&[3, 2]), others(&[4, 2])], move |x| x[0].linear_activated(&x[1], None, activation));
    }
    cases.add("outer", vec![numbers(&[3]), others(&[4])], |x| x[0].outer(&x[1]));
    cases.add("einsum of batches", vec![numbers(&[2, 3, 4]), others(&[2, 2, 4])], |x| Tensor::einsum("bik,bjk->bij", &[&x[0], &x[1]]));
    cases.add("einsum with sums", vec![numbers(&[2, 3]), others(&[3, 4])], |x| Tensor::einsum("ij,jk->k", &[&x[0], &x[1]]));
    cases.add("einsum of one", vec![numbers(&[2, 3, 2])], |x| Tensor::einsum("abc->ca", &[&x[0]]));
    cases.add("einsum of three", vec![numbers(&[2, 3]), others(&[3, 2]), numbers(&[2, 4])], |x| Tensor::einsum("ij, jk, kl -> li", &[&x[0], &x[1], &x[2]]));
    cases.add("einsum without an arrow", vec![numbers(&[2, 3]), others(&[3, 4])], |x| Tensor::einsum("ba,ac", &[&x[0], &x[1]]));
    let ellipses: [(&str, &[usize], &[usize]); 6] = [
        ("...ij, ...jk -> ...ik", &[2, 1, 2, 3], &[4, 3, 2]),
        ("b...d, c...d", &[2, 3, 2], &[3, 3, 2]),
        ("...i->i", &[2, 3, 2], &[1]),
        ("ii,jk->ik", &[3, 3], &[2, 2]),
        ("iji,i", &[2, 3, 2], &[2]),
        ("ij,jk->ik", &[2, 1], &[3, 2]),
    ];
    for (equation, a, b) in ellipses {
        let one = !equation.contains(',');
        cases.add(format!("einsum {equation}"), vec![numbers(a), others(b)], move |x| {
            if one { Tensor::einsum(equation, &[&x[0]]) } else { Tensor::einsum(equation, &[&x[0], &x[1]]) }
        });
    }
    cases.add("dot", vec![numbers(&[3]), others(&[3])], |x| x[0].dot(&x[1]));
    cases.add("addmm", vec![numbers(&[4]), others(&[2, 3]), numbers(&[3, 4])], |x| x[0].addmm(&x[1], &x[2], 0.5, -2.0));
    cases.add("tensordot", vec![numbers(&[2, 3, 4]), others(&[4, 3, 2])], |x| x[0].tensordot(&x[1], &[-1, 1], &[0, 1]));
    cases.add("tensordot over none", vec![numbers(&[2]), others(&[3])], |x| x[0].tensordot(&x[1], &[], &[]));
    cases.add("kron", vec![numbers(&[2, 3]), others(&[3, 1, 2])], |x| x[0].kron(&x[1]));
    cases.add("cross", vec![numbers(&[2, 3]), others(&[1, 3])], |x| x[0].cross(&x[1], -1));
    for p in [0.0, 1.0, 2.0, 3.0, f64::INFINITY] {
        cases.add(format!("cdist {p}"), vec![apart(&[2, 3, 2]), positive(&[4, 2])], move |x| x[0].cdist(&x[1], p));
        cases.add(format!("pairwise_distance {p}"), vec![apart(&[3, 2]), positive(&[2])], move |x| x[0].pairwise_distance(&x[1], p, 1e-3));
    }
    cases.add("cdist of many rows", vec![numbers(&[26, 2]), others(&[3, 2])], |x| x[0].cdist(&x[1], 2.0));
    cases.add("cdist of none", vec![numbers(&[0, 2]), others(&[3, 2])], |x| x[0].cdist(&x[1], 2.0));
    cases.add("cov", vec![numbers(&[3, 4])], |x| x[0].cov(1));
    cases.add("cov of one", vec![numbers(&[4])], |x| x[0].cov(0));
    // The diagonal is 1 with a slope of rounding errors.
    cases.add("corrcoef", vec![numbers(&[3, 4])], |x| x[0].corrcoef()?.triu(1));
    cases.add("trapezoid", vec![numbers(&[3, 4])], |x| x[0].trapezoid(0.3, 0));
    cases.add("trapezoid_over not the last", vec![numbers(&[3, 3]), others(&[3])], |x| x[0].trapezoid_over(&x[1], 0));
    cases.add("trapezoid_over", vec![numbers(&[3, 4]), others(&[4])], |x| x[0].trapezoid_over(&x[1], 1));
    cases.add("trapezoid of one", vec![numbers(&[1, 4])], |x| x[0].trapezoid(0.3, 0));
}
