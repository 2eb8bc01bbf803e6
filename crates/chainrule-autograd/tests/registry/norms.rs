//! Norms over groups, instances and mean squares; what is divided by its own length; the bilinear map.

use crate::{Cases, numbers, others, positive};
use chainrule_autograd::{DType, Tensor};

pub fn add(cases: &mut Cases) {
    for (groups, dims) in [(2, &[3usize, 4][..]), (1, &[2, 3, 4]), (3, &[2, 6, 2, 3]), (4, &[1, 4, 3]), (2, &[0, 4, 3]), (2, &[2, 4, 0])] {
        let parameters = || vec![numbers(dims), positive(&[dims[1]]), others(&[dims[1]])];
        cases.add(format!("group_norm {groups} {dims:?}"), parameters(), move |x| x[0].group_norm(groups, Some(&x[1]), Some(&x[2]), 1e-2));
        cases.add(format!("group_norm without parameters {groups} {dims:?}"), parameters(), move |x| x[0].group_norm(groups, None, None, 1e-2));
        cases.add(format!("group_norm with bias only {groups} {dims:?}"), parameters(), move |x| x[0].group_norm(groups, None, Some(&x[2]), 1e-2));
    }
    for dims in [&[2usize, 3, 5][..], &[1, 2, 3, 2], &[2, 0, 3]] {
        let parameters = || vec![numbers(dims), positive(&[dims[1]]), others(&[dims[1]])];
        cases.add(format!("instance_norm {dims:?}"), parameters(), |x| Ok(x[0].instance_norm(Some(&x[1]), Some(&x[2]), 1e-2)?.0));
        cases.add(format!("instance_norm without parameters {dims:?}"), parameters(), |x| Ok(x[0].instance_norm(None, None, 1e-2)?.0));
    }
    for (dimensions, shape) in [(1, &[6usize][..]), (2, &[4, 6]), (3, &[2, 4, 6])] {
        let parameters = || vec![numbers(&[2, 4, 6]), positive(shape)];
        cases.add(format!("rms_norm {dimensions}"), parameters(), move |x| x[0].rms_norm(dimensions, Some(&x[1]), 1e-3));
        cases.add(format!("rms_norm without a weight {dimensions}"), parameters(), move |x| x[0].rms_norm(dimensions, None, 1e-3));
    }
    cases.add("rms_norm of no rows", vec![numbers(&[0, 3]), positive(&[3])], |x| x[0].rms_norm(1, Some(&x[1]), 1e-3));
    cases.add("rms_norm with a frozen weight", vec![numbers(&[2, 3])], |x| x[0].rms_norm(1, Some(&positive(&[3])), 1e-3));
    for (p, axes) in [(2.0, &[1isize][..]), (1.0, &[0]), (3.0, &[-1, 0]), (2.0, &[])] {
        cases.add(format!("normalize {p} {axes:?}"), vec![positive(&[3, 4])], move |x| x[0].normalize(p, axes, 1e-12));
    }
    for (p, axis) in [(2.0, 0isize), (1.0, -1), (3.0, 1)] {
        cases.add(format!("renorm {p} {axis}"), vec![positive(&[3, 4, 2])], move |x| x[0].renorm(p, axis, 1.4));
    }
    cases.add("normalize shorter than eps", vec![numbers(&[2, 3])], |x| x[0].normalize(2.0, &[1], 20.0));
    cases.add("normalize nothing", vec![numbers(&[0, 3])], |x| x[0].normalize(2.0, &[1], 1e-12));
    for (axis, magnitude) in [(Some(0), &[3usize, 1, 1][..]), (Some(-1), &[1, 1, 4]), (None, &[])] {
        cases.add(format!("weight_norm {axis:?}"), vec![numbers(&[3, 2, 4]), positive(magnitude)], move |x| x[0].weight_norm(&x[1], axis));
    }
    for (a, b, weight) in
        [(&[3usize, 4][..], &[3usize, 2][..], [2usize, 4, 2]), (&[2], &[3], [2, 2, 3]), (&[2, 1, 3], &[2, 1, 1], [1, 3, 1]), (&[0, 2], &[0, 2], [2, 2, 2])]
    {
        cases.add(format!("bilinear {a:?} {b:?}"), vec![numbers(a), others(b), numbers(&weight), others(&weight[..1])], |x| {
            x[0].bilinear(&x[1], &x[2], Some(&x[3]))
        });
        cases.add(format!("bilinear without bias {a:?} {b:?}"), vec![numbers(a), others(b), numbers(&weight)], |x| x[0].bilinear(&x[1], &x[2], None));
    }
    cases.add("weight_norm of a vector", vec![numbers(&[3]), positive(&[3])], |x| x[0].weight_norm(&x[1], Some(0)));
}

#[test]
fn zeros_normalise_to_zeros() {
    let zeros = Tensor::zeros(&[2, 3], DType::F64).unwrap();
    assert_eq!(zeros.normalize(2.0, &[1], 1e-12).unwrap().to_vec::<f64>().unwrap(), [0.0; 6]);
    assert_eq!(zeros.rms_norm(1, None, 1e-5).unwrap().to_vec::<f64>().unwrap(), [0.0; 6]);
}

#[test]
fn misuse() {
    let (a, b, weight) = (numbers(&[3, 4]), numbers(&[2, 2]), numbers(&[2, 4, 2]));
    let error = |result: chainrule_autograd::Result<Tensor>| result.unwrap_err().to_string();
    assert!(error(a.bilinear(&b, &weight, None)).contains("[3, 4] and [2, 2], expected the same dimensions but the last"));
    assert!(error(a.bilinear(&numbers(&[3, 3]), &weight, None)).contains("expected [O, 4, 3]"));
    assert!(error(a.group_norm(3, None, None, 1e-5)).contains("4 channels of input [3, 4] do not divide into 3 groups"));
    assert!(numbers(&[3]).instance_norm(None, None, 1e-5).is_err() && numbers(&[]).bilinear(&b, &weight, None).is_err());
    assert!(a.renorm(2.0, 2, 1.0).is_err() && a.renorm(2.0, 0, -1.0).is_err() && numbers(&[3]).renorm(2.0, 0, 1.0).is_err());
    assert!(a.rms_norm(3, None, 1e-5).is_err() && a.normalize(2.0, &[2], 1e-12).is_err() && a.weight_norm(&b, Some(2)).is_err());
}
