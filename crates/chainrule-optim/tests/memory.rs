//! A step that runs out of memory, at whatever point: half of it never happens. Alone in its program, because the limit holds for the whole process.

mod support;

use chainrule_autograd::DType;
use chainrule_core::memory::{set_limit, statistics};
use support::{bits, gradients, model, rules, state_bits};

#[test]
fn no_memory_means_no_step() {
    for (name, mut optimizer) in rules(0.1) {
        let mut model = model(DType::F32);
        for step in 0..3 {
            let gradients = gradients(&model, step);
            // Something else holds all numbers of the model and the optimizer, so that a step must copy them.
            let snapshot = model.clone();
            let state = optimizer.state(&model);
            let before = (bits(&model), state_bits(&*optimizer, &model));
            let live = statistics().live;
            let mut failures = 0;
            for more in (0..).step_by(64) {
                set_limit(Some(live + more));
                let result = optimizer.step(&mut model, &gradients);
                set_limit(None);
                match result {
                    Ok(_) => break,
                    Err(error) => assert!(error.to_string().contains("memory"), "{error}"),
                }
                failures += 1;
                assert!((bits(&model), state_bits(&*optimizer, &model)) == before, "{name}: half a step at {more} bytes");
            }
            assert!(failures > 3, "{name}: {failures} failures");
            assert_eq!(bits(&snapshot), before.0, "{name}");
            drop(state);
        }
    }
}
