//! Attention and positions.

use crate::{Cases, numbers, others, positive};
use chainrule_autograd::{Attention, Rotary, Tensor};

/// Leading dimensions of queries and of keys; L, S, E, V; how they attend.
type Shapes = (&'static [usize], &'static [usize], [usize; 4], Attention);

pub fn add(cases: &mut Cases) {
    let plain = Attention::default;
    let causal = |past| Attention { causal: Some(past), ..Attention::default() };
    let shown = |dims: &[usize]| Tensor::from_slice(&(0..dims.iter().product::<usize>()).map(|i| (i % 3 != 1) as u8).collect::<Vec<_>>(), dims).unwrap();
    let shapes: [Shapes; 12] = [
        (&[], &[], [2, 3, 2, 3], plain()),
        (&[2], &[2], [1, 1, 1, 1], plain()),
        (&[2, 2], &[2, 2], [3, 4, 2, 3], Attention { scale: Some(-0.6), ..plain() }),
        (&[1, 2], &[1, 2], [3, 3, 2, 2], causal(0)),
        (&[2], &[2], [4, 2, 2, 2], causal(0)),
        (&[2], &[2], [2, 4, 2, 2], causal(1)),
        (&[2, 4], &[2, 2], [3, 4, 2, 3], causal(2)),
        (&[2, 2], &[2, 2], [3, 4, 2, 3], Attention { mask: Some(shown(&[2, 1, 1, 4])), ..plain() }),
        (&[2, 2], &[2, 2], [3, 4, 2, 3], Attention { mask: Some(shown(&[3, 1])), ..plain() }),
        (&[2], &[2], [0, 3, 2, 2], plain()),
        (&[2], &[2], [3, 0, 2, 2], plain()),
        (&[0, 2], &[0, 2], [3, 2, 2, 2], plain()),
    ];
    for (heads, shared, [l, s, e, v], how) in shapes {
        let inputs = || vec![numbers(&[heads, &[l, e]].concat()), others(&[shared, &[s, e]].concat()), positive(&[shared, &[s, v]].concat())];
        let name = |kind: &str| format!("attention {kind} {heads:?} {shared:?} [{l}, {s}, {e}, {v}], causal {:?}, masked {}", how.causal, how.mask.is_some());
        let dropping = Attention { dropout: 0.3, ..how.clone() };
        let (plain_name, dropping_name) = (name("plain"), name("dropping"));
        cases.add(plain_name, inputs(), move |x| x[0].scaled_dot_product_attention(&x[1], &x[2], &how));
        cases.add_training(dropping_name, inputs(), move |x| x[0].scaled_dot_product_attention(&x[1], &x[2], &dropping));
    }
    for mask in [&[2usize, 1, 1, 4][..], &[3, 1], &[2, 2, 3, 4]] {
        let inputs = vec![numbers(&[2, 2, 3, 2]), others(&[2, 2, 4, 2]), positive(&[2, 2, 4, 3]), others(mask)];
        cases.add(format!("attention with a mask {mask:?} that is added"), inputs, move |x| {
            x[0].scaled_dot_product_attention(&x[1], &x[2], &Attention { mask: Some(x[3].clone()), causal: Some(1), ..Attention::default() })
        });
    }
    cases.add("attention to itself", vec![numbers(&[2, 3, 4])], move |x| x[0].scaled_dot_product_attention(&x[0], &x[0], &causal(0)));

    for (dims, width) in [(&[2usize, 3, 4][..], 4), (&[3, 6], 2), (&[1, 2], 2), (&[2, 0, 4], 4)] {
        let halves = Rotary::new(5, width, 100.0).unwrap();
        let neighbours = halves.clone().interleaved();
        cases.add(format!("rope of halves {dims:?} {width}"), vec![numbers(dims)], move |x| x[0].rope(&halves, 2));
        cases.add(format!("rope of neighbours {dims:?} {width}"), vec![numbers(dims)], move |x| x[0].rope(&neighbours, 0));
    }
}
