//! Batches live in recycled memory: however many are made, the system is asked only for those alive at once. Alone in its file, because the count is the process's.

use chainrule_autograd::{DType, Rng, Tape, Tensor};
use chainrule_core::memory::statistics;
use chainrule_data::{Loader, TensorDataset};

#[test]
fn epochs_ask_the_system_for_no_more_than_the_batches_alive_at_once() {
    let data = TensorDataset::new([Tensor::zeros(&[1000, 4000], DType::F32).unwrap()]).unwrap();
    let mut rng = Rng::seeded(0);
    for prefetch in [0, 3] {
        let loader = Loader::new(data.clone(), 10).unwrap().prefetch(prefetch);
        let before = statistics();
        for _ in 0..3 {
            for batch in loader.epoch(&mut rng) {
                let [images] = batch.unwrap();
                let tape = Tape::training(&mut rng);
                assert_eq!(tape.input(&images).dims(), [10, 4000]);
            }
        }
        // One with the caller, the others ahead; twice, since a batch also has a list of its indices.
        let most = 2 * (1 + prefetch);
        let after = statistics();
        assert!(after.system_allocations - before.system_allocations <= most, "{before:?} {after:?}");
        assert_eq!(after.live, before.live);
    }
}
