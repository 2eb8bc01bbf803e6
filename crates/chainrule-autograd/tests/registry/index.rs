//! Operations with indices.

use crate::{Cases, integers, numbers, others};

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
