//! Rehearsal and pseudo-labels.

use crate::*;
use chainrule_finetune::{PseudoLabels, Reservoir};

#[test]
fn a_reservoir_keeps_every_sample_with_the_same_chance() {
    let (capacity, stream, runs) = (5, 40, 2000);
    let mut kept = vec![0usize; stream];
    for seed in 0..runs {
        let mut memory = Reservoir::new(capacity, seed);
        assert_eq!((0..stream).filter_map(|sample| memory.offer(sample)).count(), stream - capacity);
        assert_eq!((memory.samples().len(), memory.seen()), (capacity, stream));
        memory.samples().iter().for_each(|&sample| kept[sample] += 1);
    }
    // Binomial with mean 250 and deviation 15.
    assert!(kept.iter().all(|&count| (175..325).contains(&count)), "{kept:?}");
}

#[test]
fn what_is_drawn_follows_the_seed() {
    let of = |seed: u64| {
        let mut memory = Reservoir::new(8, seed);
        let returned: Vec<Option<u32>> = (0..30).map(|sample| memory.offer(sample)).collect();
        (returned, memory.mixed(vec![100, 101], 3), memory.mixed(vec![], 50))
    };
    assert_eq!(of(1), of(1));
    assert_ne!(of(1).1, of(2).1);
    let (returned, mixed, all) = of(1);
    assert!(returned[..8].iter().all(Option::is_none) && returned[8..].iter().all(Option::is_some), "nothing is lost, nothing is kept twice");
    assert_eq!((mixed.len(), &mixed[..2], all.len()), (5, &[100, 101][..], 8));
    let mut old = mixed[2..].to_vec();
    old.dedup();
    assert_eq!(old.len(), 3);
    let mut none = Reservoir::new(0, 1);
    assert_eq!((none.offer(5), none.mixed(vec![1], 4)), (Some(5), vec![1]));
}

#[test]
fn pseudo_labels_are_sure_and_even() -> Result {
    // Probabilities by hand: the rows are logarithms of them.
    let rows = [[0.9, 0.05, 0.05], [0.4, 0.3, 0.3], [0.05, 0.9, 0.05], [0.95, 0.03, 0.02], [0.8, 0.1, 0.1], [0.1, 0.2, 0.7], [0.9, 0.05, 0.05]];
    let logits = Tensor::from_slice(&rows.concat().iter().map(|p: &f64| p.ln()).collect::<Vec<_>>(), &[7, 3])?;
    let select = |how: PseudoLabels| -> Result<(Vec<i64>, Vec<i64>)> {
        let chosen = how.select(&logits)?;
        for (row, confidence) in chosen.indices.to_vec::<i64>()?.iter().zip(&chosen.confidence) {
            assert_near(*confidence, rows[*row as usize].iter().fold(0.0, |a: f64, b| a.max(*b)), 1e-12);
        }
        Ok((chosen.indices.to_vec()?, chosen.labels.to_vec()?))
    };
    assert_eq!(select(PseudoLabels::above(0.75))?, (vec![0, 2, 3, 4, 6], vec![0, 1, 0, 0, 0]));
    assert_eq!(select(PseudoLabels::above(0.6).most_per_class(2))?, (vec![0, 2, 3, 5], vec![0, 1, 0, 2]), "of equals the earlier");
    assert_eq!(select(PseudoLabels::above(0.75).balanced())?, (vec![2, 3], vec![1, 0]));
    assert_eq!(select(PseudoLabels::above(0.99).balanced())?, (vec![], vec![]));
    assert_eq!(select(PseudoLabels::above(0.0).most_per_class(0))?.0, [0i64; 0]);
    let broken = Tensor::from_slice(&[f64::NAN, 1.0, 0.0, 9.0], &[2, 2])?;
    assert_eq!(PseudoLabels::above(0.5).select(&broken)?.indices.to_vec::<i64>()?, [1]);
    assert!(PseudoLabels::above(1.1).select(&logits).is_err() && PseudoLabels::above(f64::NAN).select(&logits).is_err());
    assert!(PseudoLabels::above(0.5).select(&labels(&[1])).is_err());
    assert_eq!(PseudoLabels::above(0.5).select(&noise(&[0, 3], 0))?.confidence.len(), 0);
    assert_eq!(PseudoLabels::above(0.5).select(&noise(&[3, 0], 0))?.confidence.len(), 0);
    Ok(())
}
