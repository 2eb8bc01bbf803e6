//! A step length that meets the strong Wolfe conditions (Nocedal and Wright, 2006, algorithms 3.5 and 3.6, with the safeguards of Schmidt's minFunc; PyTorch's `strong_wolfe`).
//!
//! `f(t) <= f(0) + c1 t f'(0)` and `|f'(t)| <= c2 |f'(0)|`, f being the loss along the direction.

use crate::Result;

const C1: f64 = 1e-4;
const C2: f64 = 0.9;
/// The longest change of a parameter that is not worth another evaluation.
const TOLERANCE: f64 = 1e-9;

/// A point along the direction.
#[derive(Clone)]
pub(super) struct Trial {
    pub(super) t: f64,
    pub(super) loss: f64,
    pub(super) gradient: Vec<f64>,
    /// The loss's derivative along the direction.
    pub(super) slope: f64,
}

/// Searches from `start` at t = 0, first at `first`, with at most `most` evaluations after that one. `reach` is the direction's largest component.
pub(super) fn strong_wolfe(evaluate: &mut dyn FnMut(f64) -> Result<Trial>, start: Trial, first: f64, reach: f64, most: usize) -> Result<Trial> {
    let too_high = |trial: &Trial| trial.loss > start.loss + C1 * trial.t * start.slope;
    let flat = |trial: &Trial| trial.slope.abs() <= -C2 * start.slope;

    // Goes on until a good length lies between two trials.
    let (mut before, mut trial, mut count) = (start.clone(), evaluate(first)?, 0);
    let mut bracket = loop {
        if count >= most {
            break [start.clone(), trial];
        }
        if too_high(&trial) || (count > 1 && trial.loss >= before.loss) {
            break [before, trial];
        }
        if flat(&trial) {
            return Ok(trial);
        }
        if trial.slope >= 0.0 {
            break [before, trial];
        }
        let next = lowest(&before, &trial, (trial.t + 0.01 * (trial.t - before.t), 10.0 * trial.t));
        (before, trial) = (trial, evaluate(next)?);
        count += 1;
    };

    // Narrows the bracket.
    let order = |bracket: &[Trial; 2]| if bracket[0].loss <= bracket[1].loss { (0, 1) } else { (1, 0) };
    let (mut low, mut high) = order(&bracket);
    let mut slow = false;
    while count < most && (bracket[1].t - bracket[0].t).abs() * reach >= TOLERANCE {
        let (least, largest) = (bracket[0].t.min(bracket[1].t), bracket[0].t.max(bracket[1].t));
        let mut t = lowest(&bracket[0], &bracket[1], (least, largest));
        // Near an end twice in a row, or on it: a tenth of the way inside.
        let margin = 0.1 * (largest - least);
        let near = (largest - t).min(t - least) < margin;
        let inside = near && (slow || t >= largest || t <= least);
        if inside {
            t = if (t - largest).abs() < (t - least).abs() { largest - margin } else { least + margin };
        }
        slow = near && !inside;

        let trial = evaluate(t)?;
        count += 1;
        if too_high(&trial) || trial.loss >= bracket[low].loss {
            bracket[high] = trial;
            (low, high) = order(&bracket);
            continue;
        }
        let done = flat(&trial);
        if !done && trial.slope * (bracket[high].t - bracket[low].t) >= 0.0 {
            bracket[high] = bracket[low].clone();
        }
        bracket[low] = trial;
        if done {
            break;
        }
    }
    let [first, second] = bracket;
    Ok(if low == 0 { first } else { second })
}

/// Where the cubic through both losses and slopes is lowest, within the bounds; their middle where it has no lowest point.
fn lowest(a: &Trial, b: &Trial, (least, largest): (f64, f64)) -> f64 {
    let d1 = a.slope + b.slope - 3.0 * (a.loss - b.loss) / (a.t - b.t);
    let square = d1 * d1 - a.slope * b.slope;
    if square < 0.0 || square.is_nan() {
        return (least + largest) / 2.0;
    }
    let d2 = square.sqrt();
    let t = if a.t <= b.t {
        b.t - (b.t - a.t) * ((b.slope + d2 - d1) / (b.slope - a.slope + 2.0 * d2))
    } else {
        a.t - (a.t - b.t) * ((a.slope + d2 - d1) / (a.slope - b.slope + 2.0 * d2))
    };
    t.max(least).min(largest)
}
