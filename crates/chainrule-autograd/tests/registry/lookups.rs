//! Bags of embeddings.

use crate::{Cases, apart, integers, numbers};
use chainrule_autograd::{BagMode, EmbeddingBag, Tensor};

pub fn add(cases: &mut Cases) {
    let picks = || integers(&[4, 0, 1, 1, 3, 0], &[6]);
    for mode in [BagMode::Sum, BagMode::Mean, BagMode::Max] {
        for padding in [None, Some(2)] {
            let options = EmbeddingBag { mode, padding, ..EmbeddingBag::default() };
            let (flat, table) = (options.clone(), options);
            cases.add(format!("embedding_bag {mode:?} {padding:?}"), vec![apart(&[5, 2]), picks()], move |x| {
                x[0].embedding_bag(&x[1], Some(&[0, 0, 3, 4, 6]), &flat)
            });
            cases.add(format!("embedding_bag of a table {mode:?} {padding:?}"), vec![apart(&[5, 2]), integers(&[4, 0, 1, 1], &[2, 2])], move |x| {
                x[0].embedding_bag(&x[1], None, &table)
            });
        }
        let options = EmbeddingBag { mode, ..EmbeddingBag::default() };
        cases.add(format!("embedding_bag of nothing {mode:?}"), vec![apart(&[5, 2]), integers(&[], &[0])], move |x| {
            x[0].embedding_bag(&x[1], Some(&[0, 0]), &options)
        });
    }
    cases.add("embedding_bag with factors", vec![numbers(&[5, 2]), picks(), numbers(&[6])], |x| {
        let options = EmbeddingBag { mode: BagMode::Sum, weights: Some(x[2].clone()), padding: Some(2) };
        x[0].embedding_bag(&x[1], Some(&[0, 2]), &options)
    });
}

#[test]
fn bags_reduce_as_pytorch_does() -> chainrule_autograd::Result<()> {
    let weight = Tensor::from_slice(&[1.0, 8.0, 5.0, -3.0], &[4, 1])?;
    let of = |mode, padding| {
        let options = EmbeddingBag { mode, padding, ..EmbeddingBag::default() };
        weight.embedding_bag(&integers(&[0, 1, 3, 3], &[4]), Some(&[0, 2, 2, 3]), &options)?.to_vec::<f64>()
    };
    assert_eq!(of(BagMode::Sum, None)?, [9.0, 0.0, -3.0, -3.0]);
    assert_eq!(of(BagMode::Mean, Some(1))?, [1.0, 0.0, -3.0, -3.0]);
    assert_eq!(of(BagMode::Max, Some(3))?, [8.0, 0.0, 0.0, 0.0]);
    Ok(())
}

#[test]
fn misuse() {
    let (weight, flat, table) = (numbers(&[5, 2]), integers(&[4, 0, 1], &[3]), integers(&[4, 0], &[1, 2]));
    let error = |indices: &Tensor, offsets: Option<&[usize]>, options: EmbeddingBag| weight.embedding_bag(indices, offsets, &options).unwrap_err().to_string();
    let plain = EmbeddingBag::default;
    assert!(error(&flat, None, plain()).contains("[3] without offsets"));
    assert!(error(&table, Some(&[0]), plain()).contains("[1, 2] with offsets"));
    for wrong in [&[1usize][..], &[0, 2, 1], &[0, 4]] {
        assert!(error(&flat, Some(wrong), plain()).contains("the offsets are"));
    }
    assert!(error(&integers(&[5], &[1]), Some(&[0]), plain()).contains("an index is 5"));
    let factors = |mode| EmbeddingBag { mode, weights: Some(numbers(&[2])), padding: None };
    assert!(error(&flat, Some(&[0]), factors(BagMode::Mean)).contains("sums only"));
    assert!(error(&flat, Some(&[0]), factors(BagMode::Sum)).contains("the factors have shape [2]"));
    assert!(numbers(&[5]).embedding_bag(&table, None, &plain()).is_err());
}
