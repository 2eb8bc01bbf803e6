//! Matrix products.

use crate::{Cases, numbers, others};
use chainrule_autograd::Tensor;

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
    cases.add("outer", vec![numbers(&[3]), others(&[4])], |x| x[0].outer(&x[1]));
    cases.add("einsum of batches", vec![numbers(&[2, 3, 4]), others(&[2, 2, 4])], |x| Tensor::einsum("bik,bjk->bij", &[&x[0], &x[1]]));
    cases.add("einsum with sums", vec![numbers(&[2, 3]), others(&[3, 4])], |x| Tensor::einsum("ij,jk->k", &[&x[0], &x[1]]));
    cases.add("einsum of one", vec![numbers(&[2, 3, 2])], |x| Tensor::einsum("abc->ca", &[&x[0]]));
    cases.add("einsum of three", vec![numbers(&[2, 3]), others(&[3, 2]), numbers(&[2, 4])], |x| Tensor::einsum("ij, jk, kl -> li", &[&x[0], &x[1], &x[2]]));
    cases.add("einsum without an arrow", vec![numbers(&[2, 3]), others(&[3, 4])], |x| Tensor::einsum("ba,ac", &[&x[0], &x[1]]));
}
