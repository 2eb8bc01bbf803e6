//! The median of many timed steps.

use crate::workload::Step;
use chainrule::Result;
use std::hint::black_box;
use std::time::Instant;

const WARM_UP: usize = 3;
const LEAST: usize = 5;
const MOST: usize = 400;

/// The median milliseconds of a step: after 3 steps that do not count, at least 5 and at most 400 while the budget lasts.
///
/// # Errors
/// Those of the step.
pub fn median_ms(step: &mut Step, budget_seconds: f64) -> Result<f64> {
    let show = &mut |result: &_| {
        black_box(result);
    };
    for _ in 0..WARM_UP {
        step(show)?;
    }
    let mut times = Vec::with_capacity(MOST);
    let start = Instant::now();
    while times.len() < LEAST || (start.elapsed().as_secs_f64() < budget_seconds && times.len() < MOST) {
        let clock = Instant::now();
        step(show)?;
        times.push(clock.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2] * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::rc::Rc;

    fn steps_within(budget: f64) -> usize {
        let steps = Rc::new(Cell::new(0));
        let counted = steps.clone();
        let mut step: Step = Box::new(move |_| {
            counted.set(counted.get() + 1);
            Ok(())
        });
        median_ms(&mut step, budget).unwrap();
        steps.get()
    }

    #[test]
    fn steps_are_bounded_below_and_above() {
        assert_eq!(steps_within(0.0), WARM_UP + LEAST);
        assert_eq!(steps_within(1e9), WARM_UP + MOST);
    }

    #[test]
    fn the_median_passes_over_slow_steps() {
        let mut steps = 0;
        let mut step: Step = Box::new(move |_| {
            steps += 1;
            if steps % 4 == 0 {
                std::thread::sleep(std::time::Duration::from_millis(200));
            }
            Ok(())
        });
        assert!(median_ms(&mut step, 0.0).unwrap() < 200.0);
    }
}
