//! Operations with indices.

use crate::{Cases, integers, numbers, others};
use chainrule_autograd::ScatterReduce;

pub fn add(cases: &mut Cases) {
    let picks = || integers(&[2, 0, 2, 3], &[4]);
    cases.add("index_select", vec![numbers(&[4, 3]), picks()], |x| x[0].index_select(0, &x[1]));
    cases.add("index_select of columns", vec![numbers(&[2, 4, 3]), picks()], |x| x[0].index_select(-2, &x[1]));
    cases.add("index_select by a matrix", vec![numbers(&[4, 3]), integers(&[2, 0, 2, 3], &[2, 2])], |x| x[0].index_select(0, &x[1]));
    cases.add("index_select of none", vec![numbers(&[4, 3]), integers(&[], &[0])], |x| x[0].index_select(0, &x[1]));
    cases.add("index_add", vec![numbers(&[4, 3]), integers(&[1, 1, 3], &[3]), others(&[3, 3])], |x| x[0].index_add(0, &x[1], &x[2]));
    let places = || integers(&[4, 0, 1, 1, 3, 3, 2, 0, 0, 0, 4, 4], &[3, 4]);
    cases.add("gather", vec![numbers(&[3, 5]), places()], |x| x[0].gather(1, &x[1]));
    cases.add("gather of rows", vec![numbers(&[5, 4]), places()], |x| x[0].gather(0, &x[1]));
    cases.add("scatter_add", vec![numbers(&[3, 5]), places(), others(&[3, 4])], |x| x[0].scatter_add(1, &x[1], &x[2]));
    // The second source row meets a place that the third one takes.
    cases.add("index_copy", vec![numbers(&[2, 4, 3]), integers(&[2, 1, 1], &[3]), others(&[2, 3, 3])], |x| x[0].index_copy(1, &x[1], &x[2]));
    cases.add("index_copy by a matrix", vec![numbers(&[4]), integers(&[3, 1, 0, 3], &[2, 2]), others(&[2, 2])], |x| x[0].index_copy(0, &x[1], &x[2]));
    cases.add("index_fill", vec![numbers(&[2, 4, 3]), integers(&[2, 0], &[2])], |x| x[0].index_fill(-2, &x[1], 0.7));
    cases.add("take_along_dim", vec![numbers(&[3, 4]), integers(&[2, 0], &[1, 2])], |x| x[0].take_along_dim(&x[1], 1));
    cases.add("take_along_dim of fewer rows", vec![numbers(&[1, 4]), integers(&[2, 0, 1, 1], &[2, 2])], |x| x[0].take_along_dim(&x[1], -1));
    for (dims, axis) in [(&[3usize, 5][..], 1isize), (&[5, 4], 0)] {
        let inputs = || vec![numbers(dims), places(), others(&[3, 4])];
        cases.add(format!("scatter {dims:?}"), inputs(), move |x| x[0].scatter(axis, &x[1], &x[2]));
        cases.add(format!("scatter of a larger source {dims:?}"), vec![numbers(dims), places(), others(&[4, 6])], move |x| x[0].scatter(axis, &x[1], &x[2]));
        cases.add(format!("scatter_scalar {dims:?}"), vec![numbers(dims), places()], move |x| x[0].scatter_scalar(axis, &x[1], 2.0));
        for reduce in [ScatterReduce::Sum, ScatterReduce::Product, ScatterReduce::Mean, ScatterReduce::Max, ScatterReduce::Min] {
            for own in [false, true] {
                cases.add(format!("scatter_reduce {reduce:?} {own} {dims:?}"), inputs(), move |x| x[0].scatter_reduce(axis, &x[1], &x[2], reduce, own));
            }
            let wide = vec![numbers(dims), places(), others(&[4, 6])];
            cases.add(format!("scatter_reduce {reduce:?} of a larger source {dims:?}"), wide, move |x| x[0].scatter_reduce(axis, &x[1], &x[2], reduce, true));
        }
    }
    cases.add("scatter of none", vec![numbers(&[3]), integers(&[], &[0]), numbers(&[0])], |x| x[0].scatter(0, &x[1], &x[2]));
    let rows = || integers(&[2, 0, -1], &[3]);
    let columns = || integers(&[1, 3], &[2, 1]);
    cases.add("index", vec![numbers(&[3, 4, 2]), rows(), columns()], |x| x[0].index(&[Some(&x[1]), Some(&x[2])]));
    cases.add("index of the middle", vec![numbers(&[2, 4, 3]), columns()], |x| x[0].index(&[None, Some(&x[1])]));
    cases.add("index with a gap", vec![numbers(&[3, 2, 4]), rows(), columns()], |x| x[0].index(&[Some(&x[1]), None, Some(&x[2])]));
    for accumulate in [false, true] {
        let name = |what: &str| format!("index_put {what} {accumulate}");
        cases.add(name("of elements"), vec![numbers(&[3, 4, 2]), rows(), columns(), others(&[2, 3, 2])], move |x| {
            x[0].index_put(&[Some(&x[1]), Some(&x[2])], &x[3], accumulate)
        });
        cases.add(name("with a gap"), vec![numbers(&[3, 2, 4]), rows(), columns(), others(&[2])], move |x| {
            x[0].index_put(&[Some(&x[1]), None, Some(&x[2])], &x[3], accumulate)
        });
        cases.add(name("of the middle"), vec![numbers(&[2, 4, 3]), columns(), others(&[2, 1, 3])], move |x| {
            x[0].index_put(&[None, Some(&x[1])], &x[2], accumulate)
        });
    }
    let mask = || integers(&[1, 0, 0, 1, 1, 0], &[2, 3]);
    cases.add("masked_select", vec![numbers(&[4, 2, 3]), mask()], |x| x[0].masked_select(&x[1].truth()?));
    cases.add("masked_select by a larger mask", vec![numbers(&[3]), mask()], |x| x[0].masked_select(&x[1].truth()?));
    cases.add("masked_select of none", vec![numbers(&[2, 3]), mask()], |x| x[0].masked_select(&x[1].greater_scalar(5.0)?));
    cases.add("masked_scatter", vec![numbers(&[2, 3]), mask(), others(&[5])], |x| x[0].masked_scatter(&x[1].truth()?, &x[2]));
    cases.add("bincount_weighted", vec![integers(&[1, 0, 1, 3], &[4]), numbers(&[4])], |x| x[0].bincount_weighted(&x[1], 6));
    cases.add("embedding", vec![numbers(&[5, 2]), integers(&[4, 0, 1, 1], &[2, 2])], |x| x[0].embedding(&x[1], None));
    // The padding row has no tokens here: its gradient is not the derivative where it has.
    cases.add("embedding with padding", vec![numbers(&[5, 2]), integers(&[4, 0, 1, 1], &[2, 2])], |x| x[0].embedding(&x[1], Some(3)));
    cases.add("one_hot", vec![numbers(&[2, 3]), integers(&[2, 0], &[2])], |x| x[1].one_hot(3, x[0].dtype())?.mul(&x[0]));
}

#[test]
fn the_padding_row_gets_no_gradient() {
    use chainrule_autograd::{Rng, Tape};
    let tape = Tape::inference(&mut Rng::seeded(0));
    let weight = tape.watch(numbers(&[4, 2]));
    let y = weight.embedding(&integers(&[1, 2, 1], &[3]), Some(1)).unwrap();
    let gradients = y.sum().unwrap().backward().unwrap();
    assert_eq!(gradients.wrt(&weight).unwrap().to_vec::<f64>().unwrap(), [0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0]);
}

#[test]
fn products_with_zeros_have_exact_slopes() {
    use chainrule_autograd::{GradCheck, Tensor};
    let x = Tensor::from_slice(&[2.0, 0.0, 3.0, 0.0], &[4]).unwrap();
    let source = Tensor::from_slice(&[0.0, 5.0, 0.0, 0.0, 7.0], &[5]).unwrap();
    let places = integers(&[0, 0, 1, 2, 2], &[5]);
    let product = move |x: &[Tensor]| x[0].scatter_reduce(0, &places, &x[1], ScatterReduce::Product, true);
    GradCheck::default().first(&[x, source], product).unwrap();
}
