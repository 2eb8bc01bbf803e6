//! A tape takes over the memory of one that is gone, and nothing else of it.

use chainrule_autograd::{Array, Result, Rng, Tape};
use std::sync::{Arc, Mutex};

fn rng() -> Rng {
    Rng::seeded(7)
}
fn vector(values: &[f64]) -> Array {
    Array::from_slice(values, &[values.len()]).unwrap()
}

#[test]
fn a_tape_dropped_in_the_middle_of_a_pass_leaves_the_next_one_whole() -> Result<()> {
    for _ in 0..3 {
        let held = Arc::new(Mutex::new(None));
        let to_drop = held.clone();
        {
            let tape = Tape::training(&mut rng());
            let x = tape.watch(vector(&[1.0, 2.0]));
            let y = x.square()?.on_gradient(move |_| drop(to_drop.lock().unwrap().take()))?.sum()?;
            *held.lock().unwrap() = Some(tape);
            let _ = y.backward_keeping();
            assert!(held.lock().unwrap().is_none());
        }
        let tape = Tape::training(&mut rng());
        let x = tape.watch(vector(&[3.0]));
        assert_eq!(x.square()?.sum()?.backward()?.wrt(&x).unwrap().to_vec::<f64>()?, [6.0]);
    }
    Ok(())
}

#[test]
fn gradients_of_a_tape_are_not_those_of_the_tape_that_takes_over_its_memory() -> Result<()> {
    let tape = Tape::training(&mut rng());
    let x = tape.watch(vector(&[3.0]));
    let gradients = x.square()?.sum()?.backward()?;
    drop((x, tape));
    let tape = Tape::training(&mut rng());
    assert!(gradients.wrt(&tape.watch(vector(&[3.0]))).is_none());
    Ok(())
}
