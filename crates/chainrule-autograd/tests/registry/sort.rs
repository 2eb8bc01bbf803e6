//! Numbers in order.

use crate::{Cases, apart, integers, numbers};
use chainrule_autograd::Tensor;

pub fn add(cases: &mut Cases) {
    for axis in [0isize, 1, -1] {
        for up in [false, true] {
            let name = |op: &str| format!("{op} {axis} {up}");
            cases.add(name("sort"), vec![apart(&[2, 3, 4])], move |x| Ok(x[0].sort(axis, up)?.0));
            cases.add(name("topk"), vec![apart(&[2, 3, 4])], move |x| Ok(x[0].topk(2, axis, up)?.0));
            cases.add(name("kthvalue"), vec![apart(&[2, 3, 4])], move |x| Ok(x[0].kthvalue(2, axis, up)?.0));
            cases.add(name("median"), vec![apart(&[2, 3, 4])], move |x| Ok(x[0].median(axis, up)?.0));
            cases.add(name("quantile"), vec![apart(&[2, 3, 4])], move |x| x[0].quantile(0.3, axis, up));
        }
    }
    cases.add("argsort", vec![numbers(&[4]), apart(&[4])], |x| x[0].index_select(0, &x[1].argsort(0, false)?));
    cases.add("sort of nothing", vec![numbers(&[2, 0])], |x| Ok(x[0].sort(1, true)?.0));
    cases.add("sort of one", vec![numbers(&[1])], |x| Ok(x[0].sort(0, true)?.0));
    cases.add("topk of none", vec![numbers(&[3])], |x| Ok(x[0].topk(0, 0, true)?.0));
    cases.add("unique", vec![numbers(&[2, 2]), integers(&[5, 3, 5, 4], &[2, 2])], |x| {
        x[0].index_select(0, &x[1].unique()?.inverse.reshape(&[4])?.narrow(0, 1, 1)?)
    });
}

#[test]
fn ties_and_nan_follow_pytorch() {
    let x = Tensor::from_slice(&[2f64, 1.0, 2.0, 1.0], &[4]).unwrap();
    assert_eq!(x.argsort(0, false).unwrap().to_vec::<i64>().unwrap(), [1, 3, 0, 2]);
    assert_eq!(x.argsort(0, true).unwrap().to_vec::<i64>().unwrap(), [0, 2, 1, 3]);
    assert_eq!(x.cummax(0).unwrap().1.to_vec::<i64>().unwrap(), [0, 0, 2, 2]);
    let x = Tensor::from_slice(&[2f64, f64::NAN, 1.0, f64::NAN], &[4]).unwrap();
    let (value, index) = x.median(0, false).unwrap();
    assert!(value.item().unwrap().is_nan() && index.item().unwrap() == 1.0);
    assert!(x.quantile(0.0, 0, false).unwrap().item().unwrap().is_nan());
    assert_eq!(x.narrow(0, 2, 1).unwrap().quantile(0.7, 0, false).unwrap().item().unwrap(), 1.0);
}
