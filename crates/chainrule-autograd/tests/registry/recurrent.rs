//! Recurrent layers: each result, each input, both directions, lengths, one and no step.

use crate::{Cases, numbers, others};
use chainrule_autograd::{Recurrence, RecurrentWeights, Result, Tensor};

/// The output and the last states, as one row.
fn run(name: &str, x: &[Tensor], biased: bool, started: bool, recurrence: Recurrence) -> Result<Tensor> {
    let weights = RecurrentWeights { weight_ih: &x[1], weight_hh: &x[2], bias_ih: biased.then(|| &x[3]), bias_hh: biased.then(|| &x[4]) };
    let initial = started.then(|| [&x[5]]);
    let (y, states) = match name {
        "rnn_tanh" => x[0].rnn_tanh(initial, &weights, recurrence).map(|(y, [h])| (y, vec![h]))?,
        "rnn_relu" => x[0].rnn_relu(initial, &weights, recurrence).map(|(y, [h])| (y, vec![h]))?,
        "gru" => x[0].gru(initial, &weights, recurrence).map(|(y, [h])| (y, vec![h]))?,
        _ => x[0].lstm(started.then(|| [&x[5], &x[6]]), &weights, recurrence).map(|(y, states)| (y, states.to_vec()))?,
    };
    let all: Vec<Tensor> = [vec![y], states].concat().iter().map(|part| part.reshape(&[part.count()])).collect::<Result<_>>()?;
    Tensor::concatenate(&all.iter().collect::<Vec<_>>(), 0)
}

pub fn add(cases: &mut Cases) {
    for (name, gates, states) in [("rnn_tanh", 1, 1), ("rnn_relu", 1, 1), ("lstm", 4, 2), ("gru", 3, 1)] {
        let inputs = move |batch: usize, steps: usize, features: usize, hidden: usize| {
            let rows = gates * hidden;
            let mut inputs = vec![numbers(&[batch, steps, features]), others(&[rows, features]), numbers(&[rows, hidden]), others(&[rows]), numbers(&[rows])];
            inputs.extend([numbers(&[batch, hidden]), others(&[batch, hidden])].into_iter().take(states));
            inputs
        };
        for reverse in [false, true] {
            let plain = Recurrence { reverse, ..Recurrence::default() };
            cases.add(format!("{name} reverse {reverse}"), inputs(2, 3, 2, 3), move |x| run(name, x, true, true, plain));
            for lengths in [&[2usize, 4, 1][..], &[3, 0, 3]] {
                let ragged = Recurrence { lengths: Some(lengths), reverse };
                cases.add(format!("{name} of {lengths:?} reverse {reverse}"), inputs(3, 4, 2, 2), move |x| run(name, x, true, true, ragged));
            }
        }
        let plain = Recurrence::default();
        cases.add(format!("{name} of one step"), inputs(1, 1, 1, 1), move |x| run(name, x, true, true, plain));
        cases.add(format!("{name} of no step"), inputs(2, 0, 2, 1), move |x| run(name, x, true, true, plain));
        cases.add(format!("{name} of no sequence"), inputs(0, 2, 2, 1), move |x| run(name, x, true, true, plain));
        cases.add(format!("{name} from zero without biases"), inputs(2, 3, 2, 2), move |x| run(name, x, false, false, plain));
        cases.add(format!("{name}, its last state only"), inputs(2, 3, 2, 2), move |x| run(name, x, true, true, plain)?.narrow(0, 12, 4));
        cases.add(format!("{name}, the output only"), inputs(2, 3, 2, 2), move |x| run(name, x, true, true, plain)?.narrow(0, 0, 12));
    }
}
