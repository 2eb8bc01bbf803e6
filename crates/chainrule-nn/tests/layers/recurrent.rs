//! Recurrent layers: lengths, directions, streams.

use chainrule_autograd::{DType, Gradients, Rng, Tape, Tensor};
use chainrule_nn::*;

fn numbers(dims: &[usize], seed: u64) -> Tensor {
    Tensor::uniform(dims, -1.0, 1.0, DType::F64, &mut Rng::seeded(seed)).unwrap()
}

fn assert_near(what: &str, got: &Tensor, expected: &Tensor) {
    assert_eq!(got.dims(), expected.dims(), "{what}");
    for (a, b) in got.to_vec::<f64>().unwrap().iter().zip(expected.to_vec::<f64>().unwrap()) {
        assert!((a - b).abs() < 1e-12, "{what}: {a} {b}");
    }
}

fn gradients_near(what: &str, model: &dyn Module, got: &Gradients, expected: &[Gradients]) {
    params(model, |path, param| {
        let sum = expected.iter().map(|g| Tensor::from(g.get(param.id).unwrap())).reduce(|a, b| a.add(&b).unwrap()).unwrap();
        assert_near(&format!("{what} {path}"), &got.get(param.id).unwrap().into(), &sum);
    });
}

/// The laws for a layer of each kind with `$n` states: two layers and both directions, and one direction.
macro_rules! laws {
    ($($name:ident: $layer:ident, $n:literal;)*) => { $(mod $name {
        use super::*;

        fn both() -> $layer {
            let mut layer = $layer::bidirectional(3, 4, 2, &mut Rng::seeded(1)).unwrap();
            to_dtype(&mut layer, DType::F64).unwrap();
            layer
        }
        fn single() -> $layer {
            let mut layer = $layer::new(3, 4, 2, &mut Rng::seeded(2)).unwrap();
            to_dtype(&mut layer, DType::F64).unwrap();
            layer
        }
        fn states(count: usize, batch: usize) -> [Tensor; $n] {
            let mut seed = 10;
            [(); $n].map(|()| {
                seed += 1;
                numbers(&[count, batch, 4], seed)
            })
        }

        #[test]
        fn each_sequence_is_as_if_alone() {
            let (layer, lengths) = (both(), [3usize, 6, 1, 5]);
            let (x, initial) = (numbers(&[4, 6, 3], 3), states(4, 4));
            let run = |x: &Tensor, state: &[Tensor; $n], lengths: Option<&[usize]>, weight: &Tensor| {
                let tape = Tape::training(&mut Rng::seeded(0));
                let x = tape.watch(x);
                let (y, last) = layer.sequence(&x, Some(state), lengths).unwrap();
                let loss = last.iter().fold(y.mul(weight).unwrap().sum().unwrap(), |sum, state| sum.add(&state.square().unwrap().sum().unwrap()).unwrap());
                let gradients = loss.backward().unwrap();
                (y.detach(), last.map(|state| state.detach()), Tensor::from(gradients.wrt(&x).unwrap()), gradients)
            };
            let weight = numbers(&[4, 6, 8], 4);
            // What stands in the padding must not matter, whatever it is.
            let mut padded = x.to_vec::<f64>().unwrap();
            for (i, value) in padded.iter_mut().enumerate() {
                if i / 3 % 6 >= lengths[i / 18] {
                    *value = f64::NAN;
                }
            }
            let padded = Tensor::from_slice(&padded, &[4, 6, 3]).unwrap();
            let (y, last, by_x, gradients) = run(&padded, &initial, Some(&lengths), &weight);
            let mut alone = vec![];
            for (b, &length) in lengths.iter().enumerate() {
                let own = |t: &Tensor| t.narrow(0, b, 1).unwrap().narrow(1, 0, length).unwrap();
                let state = initial.each_ref().map(|state| state.narrow(1, b, 1).unwrap());
                let (own_y, own_last, own_by_x, own_gradients) = run(&own(&x), &state, None, &own(&weight));
                assert_near("y", &own(&y), &own_y);
                assert_near("dx", &own(&by_x), &own_by_x);
                for rest in [&y, &by_x] {
                    let rest = rest.select(0, b).unwrap().narrow(0, length, 6 - length).unwrap();
                    assert!(rest.to_vec::<f64>().unwrap().iter().all(|&v| v == 0.0));
                }
                for (state, own_state) in last.iter().zip(&own_last) {
                    assert_near("last state", &state.narrow(1, b, 1).unwrap(), own_state);
                }
                alone.push(own_gradients);
            }
            gradients_near("ragged", &layer, &gradients, &alone);
        }

        #[test]
        fn both_directions_are_two_runs() {
            let mut layer = both();
            layer.cells.truncate(2);
            let (x, initial) = (numbers(&[2, 5, 3], 5), states(2, 2));
            let (y, last) = layer.sequence(&x, Some(&initial), None).unwrap();
            let own = |i: usize| initial.each_ref().map(|state| state.select(0, i).unwrap());
            let one_way = |cell: usize, x: &Tensor| {
                let layer = $layer { cells: vec![layer.cells[cell].clone()], bidirectional: false, dropout: 0.0 };
                let state = own(cell).map(|state| state.unsqueeze(0).unwrap());
                layer.sequence(x, Some(&state), None).unwrap()
            };
            let (forward, forward_last) = one_way(0, &x);
            let (backward, backward_last) = one_way(1, &x.flip(&[1]).unwrap());
            assert_near("y", &y, &Tensor::concatenate(&[&forward, &backward.flip(&[1]).unwrap()], -1).unwrap());
            for ((both, forward), backward) in last.iter().zip(&forward_last).zip(&backward_last) {
                assert_near("last state", both, &Tensor::concatenate(&[forward, backward], 0).unwrap());
            }
        }

        #[test]
        fn a_stream_gives_what_the_sequence_gives() {
            let (layer, x) = (single(), numbers(&[2, 5, 3], 6));
            let (expected, expected_last) = layer.sequence(&x, None, None).unwrap();
            let mut state = None;
            let mut cells: Vec<Option<[Tensor; $n]>> = vec![None, None];
            for t in 0..5 {
                let x = x.select(1, t).unwrap();
                let (y, next) = layer.step(&x, state.as_ref()).unwrap();
                assert_near("layer", &y, &expected.select(1, t).unwrap());
                state = Some(next);
                let mut y = x;
                for (cell, state) in layer.cells.iter().zip(&mut cells) {
                    let next = cell.step(&y, state.as_ref()).unwrap();
                    y = next[0].clone();
                    *state = Some(next);
                }
                assert_near("cells", &y, &expected.select(1, t).unwrap());
            }
            for (got, expected) in state.unwrap().iter().zip(&expected_last) {
                assert_near("last state", got, expected);
            }
        }

        #[test]
        fn without_a_batch() {
            let (layer, x, initial) = (both(), numbers(&[5, 3], 7), states(4, 1));
            let (expected, expected_last) = layer.sequence(&x.unsqueeze(0).unwrap(), Some(&initial), Some(&[3])).unwrap();
            let state = initial.each_ref().map(|state| state.squeeze(1).unwrap());
            let (y, last) = layer.sequence(&x, Some(&state), Some(&[3])).unwrap();
            assert_near("y", &y, &expected.squeeze(0).unwrap());
            for (got, expected) in last.iter().zip(&expected_last) {
                assert_near("last state", got, &expected.squeeze(1).unwrap());
            }
        }

        #[test]
        fn dropout_stands_between_layers_in_training() {
            let (layer, x) = (single(), numbers(&[2, 5, 3], 8));
            let expected = layer.forward(&x).unwrap();
            let train = |rate: f64, seed: u64| {
                let tape = Tape::training(&mut Rng::seeded(seed));
                layer.clone().dropout(rate).forward(&tape.input(&x)).unwrap().detach()
            };
            assert_near("no dropout", &train(0.0, 0), &expected);
            assert_near("off the tape", &layer.clone().dropout(0.5).forward(&x).unwrap(), &expected);
            assert_near("one seed", &train(0.5, 1), &train(0.5, 1));
            assert_ne!(train(0.5, 1).to_vec::<f64>().unwrap(), train(0.5, 2).to_vec::<f64>().unwrap());
            // All dropped: the second layer sees zeros, and the last layer's output is not dropped.
            let second = $layer { cells: vec![layer.cells[1].clone()], ..layer.clone() };
            assert_near("all dropped", &train(1.0, 3), &second.forward(&Tensor::zeros(&[2, 5, 4], DType::F64).unwrap()).unwrap());
        }

        #[test]
        fn misuse_is_an_error() {
            let (layer, x) = (both(), numbers(&[2, 5, 3], 9));
            let text = |result: chainrule_autograd::Result<(Tensor, [Tensor; $n])>| result.unwrap_err().to_string();
            assert!(text(layer.sequence(&x, Some(&states(3, 2)), None)).contains("expected [4, B, H]"));
            assert!(text(layer.sequence(&x, Some(&states(4, 3)), None)).contains("expected [2, 4]"));
            assert!(text(layer.sequence(&x, None, Some(&[5]))).contains("got 1 lengths"));
            assert!(text(layer.sequence(&x, None, Some(&[5, 6]))).contains("a length is 6"));
            assert!(text(layer.step(&x.select(1, 0).unwrap(), None)).contains("bidirectional"));
            assert!(text(single().step(&x, None)).contains("[B, D]"));
            assert!(layer.cells[0].step(&x, None).unwrap_err().to_string().contains("[B, D]"));
            let rng = &mut Rng::seeded(0);
            assert!($layer::new(3, 4, 0, rng).is_err() && $layer::new(3, 0, 1, rng).is_err() && $layer::new(usize::MAX / 2, 8, 1, rng).is_err());
        }
    })* };
}

laws! {
    rnn: Rnn, 1;
    lstm: Lstm, 2;
    gru: Gru, 1;
}
