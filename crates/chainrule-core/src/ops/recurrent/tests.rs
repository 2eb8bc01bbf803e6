//! Recurrent layers against their definition, a sequence and a unit at a time.

use super::*;
use crate::dtype::DType;
use crate::ops::testing::*;

const CELLS: [Cell; 4] = [Cell::RnnTanh, Cell::RnnRelu, Cell::Lstm, Cell::Gru];

type Sizes = (usize, usize, usize, usize, Option<&'static [usize]>);

/// Batch, steps, features, units, lengths: one of each; whole and ragged pieces and panels; more rows than a tile and a task; few steps and none; sequences of one length, of several, and without steps; extents of 0.
const CASES: [Sizes; 14] = [
    (1, 1, 1, 1, None),
    (2, 5, 3, 4, None),
    (3, 2, 5, 33, None),
    (13, 4, 7, 40, None),
    (50, 3, 2, 35, None),
    (1, 6, 2, 70, None),
    (4, 6, 3, 5, Some(&[2, 6, 1, 4])),
    (3, 5, 4, 17, Some(&[3, 3, 3])),
    (3, 4, 2, 3, Some(&[0, 4, 2])),
    (2, 3, 2, 3, Some(&[0, 0])),
    (2, 0, 3, 4, None),
    (0, 3, 2, 2, None),
    (2, 3, 0, 2, None),
    (2, 3, 2, 0, None),
];

/// All inputs of a layer, in the order in which `recurrent_backward` gives gradients.
struct Inputs {
    cell: Cell,
    arrays: Vec<Array>,
    lengths: Option<Vec<usize>>,
    reverse: bool,
}

impl Inputs {
    fn new(cell: Cell, (batch, steps, features, hidden, lengths): (usize, usize, usize, usize, Option<&[usize]>), reverse: bool, dtype: DType) -> Inputs {
        let rows = cell.gates() * hidden;
        let shapes: [&[usize]; 7] = [&[batch, steps, features], &[rows, features], &[rows, hidden], &[rows], &[rows], &[batch, hidden], &[batch, hidden]];
        let arrays = shapes[..5 + cell.states()].iter().zip(1..).map(|(dims, seed)| noise(dims, seed, dtype)).collect();
        Inputs { cell, arrays, lengths: lengths.map(<[usize]>::to_vec), reverse }
    }
    fn run(&self) -> Recurrent {
        self.run_with(&self.arrays)
    }
    fn run_with(&self, arrays: &[Array]) -> Recurrent {
        let initial: Vec<&Array> = arrays[5..].iter().collect();
        recurrent(self.cell, &arrays[0], &initial, &weights_of(arrays), self.lengths.as_deref(), self.reverse).unwrap()
    }
    fn backward(&self, saved: &Saved, dy: Option<&Array>, last: [Option<&Array>; 2], needs: [bool; 7]) -> Result<[Option<Array>; 7]> {
        let initial: Vec<&Array> = self.arrays[5..].iter().collect();
        recurrent_backward(saved, &self.arrays[0], &initial, &weights_of(&self.arrays), dy, last, needs)
    }
    /// Gradients by the results, and all gradients by the inputs.
    fn gradients(&self, out: &Recurrent) -> (Vec<Array>, Vec<Array>) {
        let upstream: Vec<Array> = [&out.y].into_iter().chain(&out.last).zip(20..).map(|(array, seed)| noise(array.dims(), seed, array.dtype())).collect();
        let gradients = self.backward(&out.saved, Some(&upstream[0]), [upstream.get(1), upstream.get(2)], [true; 7]).unwrap();
        (upstream, gradients.into_iter().flatten().collect())
    }
    fn naive(&self) -> (Vec<f64>, Vec<Vec<f64>>) {
        naive(self.cell, &self.arrays, self.lengths.as_deref(), self.reverse)
    }
}

fn weights_of(arrays: &[Array]) -> Weights<'_> {
    Weights { input: &arrays[1], hidden: &arrays[2], input_bias: Some(&arrays[3]), hidden_bias: Some(&arrays[4]) }
}

fn naive(cell: Cell, arrays: &[Array], lengths: Option<&[usize]>, reverse: bool) -> (Vec<f64>, Vec<Vec<f64>>) {
    let [batch, steps, features] = arrays[0].dims()[..] else { panic!() };
    let hidden = arrays[2].dims()[1];
    let values: Vec<Vec<f64>> = arrays.iter().map(doubles).collect();
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let mut y = vec![0.0; batch * steps * hidden];
    let mut last: Vec<Vec<f64>> = values[5..].to_vec();
    for b in 0..batch {
        let length = lengths.map_or(steps, |lengths| lengths[b]);
        for index in 0..length {
            let t = if reverse { length - 1 - index } else { index };
            let before: Vec<Vec<f64>> = last.iter().map(|state| state[b * hidden..(b + 1) * hidden].to_vec()).collect();
            for u in 0..hidden {
                let input = |g: usize| {
                    let row = g * hidden + u;
                    (0..features).map(|d| values[1][row * features + d] * values[0][(b * steps + t) * features + d]).sum::<f64>() + values[3][row]
                };
                let state = |g: usize| {
                    let row = g * hidden + u;
                    (0..hidden).map(|v| values[2][row * hidden + v] * before[0][v]).sum::<f64>() + values[4][row]
                };
                let gate = |g: usize| input(g) + state(g);
                let h = match cell {
                    Cell::RnnTanh => gate(0).tanh(),
                    Cell::RnnRelu => gate(0).max(0.0),
                    Cell::Lstm => {
                        let c = sigmoid(gate(1)) * before[1][u] + sigmoid(gate(0)) * gate(2).tanh();
                        last[1][b * hidden + u] = c;
                        sigmoid(gate(3)) * c.tanh()
                    }
                    Cell::Gru => {
                        let n = (input(2) + sigmoid(gate(0)) * state(2)).tanh();
                        let z = sigmoid(gate(1));
                        (1.0 - z) * n + z * before[0][u]
                    }
                };
                last[0][b * hidden + u] = h;
                y[(b * steps + t) * hidden + u] = h;
            }
        }
    }
    (y, last)
}

#[test]
fn results_agree_with_the_definition() {
    at_every_level(|dtype, tolerance| {
        for cell in CELLS {
            for case in CASES {
                for reverse in [false, true] {
                    let inputs = Inputs::new(cell, case, reverse, dtype);
                    let what = format!("{cell:?} {case:?} {reverse} {dtype}");
                    let (out, (y, last)) = (inputs.run(), inputs.naive());
                    assert_eq!(out.y.dims(), [case.0, case.1, case.3], "{what}");
                    // States of the ReLU grow from step to step.
                    let tolerance = tolerance * if cell == Cell::RnnRelu { 1e3 } else { 20.0 };
                    assert_close(&what, &out.y, &y, tolerance);
                    for (got, want) in out.last.iter().zip(&last) {
                        assert_close(&what, got, want, tolerance);
                    }
                }
            }
        }
    });
}

#[test]
fn gradients_are_slopes() {
    for cell in CELLS {
        for case in CASES.into_iter().filter(|case| case.3 <= 17) {
            for reverse in [false, true] {
                let inputs = Inputs::new(cell, case, reverse, DType::F64);
                let out = inputs.run();
                let (upstream, gradients) = inputs.gradients(&out);
                assert_eq!(gradients.len(), inputs.arrays.len());
                for (i, gradient) in gradients.iter().enumerate() {
                    assert_eq!(gradient.dims(), inputs.arrays[i].dims());
                    let gradient = gradient.contiguous().unwrap();
                    assert_gradient(&format!("{cell:?} {case:?} {reverse} input {i}"), &inputs.arrays[i], &gradient, |array| {
                        let mut arrays = inputs.arrays.clone();
                        arrays[i] = array.clone();
                        let out = inputs.run_with(&arrays);
                        [&out.y].into_iter().chain(&out.last).zip(&upstream).map(|(out, upstream)| weighted(out, upstream)).sum()
                    });
                }
            }
        }
    }
}

/// More rows than are multiplied at once, forward and backward.
#[test]
fn gradients_of_long_sequences_are_slopes() {
    for (cell, reverse, lengths) in
        [(Cell::Lstm, false, None), (Cell::Gru, true, None), (Cell::Lstm, true, Some(&[300, 371, 390][..])), (Cell::Gru, false, Some(&[371, 380, 2]))]
    {
        let inputs = Inputs::new(cell, (3, 390, 1, 2, lengths), reverse, DType::F64);
        let out = inputs.run();
        let (y, last) = inputs.naive();
        assert_close("y", &out.y, &y, 1e-12);
        last.iter().zip(&out.last).for_each(|(want, got)| assert_close("a last state", got, want, 1e-12));
        let (upstream, gradients) = inputs.gradients(&out);
        for (i, gradient) in gradients.iter().enumerate() {
            let gradient = gradient.contiguous().unwrap();
            assert_gradient(&format!("{cell:?} {reverse} input {i}"), &inputs.arrays[i], &gradient, |array| {
                let mut arrays = inputs.arrays.clone();
                arrays[i] = array.clone();
                let out = inputs.run_with(&arrays);
                [&out.y].into_iter().chain(&out.last).zip(&upstream).map(|(out, upstream)| weighted(out, upstream)).sum()
            });
        }
    }
}

/// f32 at every level against f64, whose gradients are slopes as shown above.
#[test]
fn gradients_at_every_level() {
    at_every_level(|dtype, tolerance| {
        for cell in [Cell::RnnTanh, Cell::Lstm, Cell::Gru] {
            for case in CASES {
                let inputs = Inputs::new(cell, case, true, DType::F64);
                let (_, expected) = inputs.gradients(&inputs.run());
                let inputs = Inputs::new(cell, case, true, dtype);
                let (_, gradients) = inputs.gradients(&inputs.run());
                for (got, want) in gradients.iter().zip(&expected) {
                    assert_close(&format!("{cell:?} {case:?} {dtype}"), got, &doubles(want), 100.0 * tolerance);
                }
            }
        }
    });
}

#[test]
fn only_what_is_asked_for() {
    for cell in [Cell::Lstm, Cell::Gru] {
        let inputs = Inputs::new(cell, CASES[6], false, DType::F64);
        let out = inputs.run();
        let (upstream, all) = inputs.gradients(&out);
        for wanted in 0..all.len() {
            let needs = std::array::from_fn(|i| i == wanted);
            let some = inputs.backward(&out.saved, Some(&upstream[0]), [upstream.get(1), upstream.get(2)], needs).unwrap();
            assert_eq!(doubles(some[wanted].as_ref().unwrap()), doubles(&all[wanted]));
            // The two biases come together.
            assert!(some.iter().enumerate().all(|(i, gradient)| gradient.is_none() || i == wanted || [i, wanted] == [3, 4] || [i, wanted] == [4, 3]));
        }
        // A result without a gradient counts as one of zeros.
        let zeros = |i: usize| Array::zeros(upstream[i].dims(), DType::F64).unwrap();
        let none = inputs.backward(&out.saved, None, [Some(&upstream[1]), None], [true; 7]).unwrap();
        let cells = (cell == Cell::Lstm).then(|| zeros(2));
        let zero = inputs.backward(&out.saved, Some(&zeros(0)), [Some(&upstream[1]), cells.as_ref()], [true; 7]).unwrap();
        for (a, b) in none.iter().flatten().zip(zero.iter().flatten()) {
            assert_eq!(doubles(a), doubles(b));
        }
    }
}

#[test]
fn without_biases_and_of_views() {
    for cell in CELLS {
        let inputs = Inputs::new(cell, CASES[6], false, DType::F32);
        let mut arrays = inputs.arrays.clone();
        for bias in &mut arrays[3..5] {
            *bias = Array::zeros(bias.dims(), DType::F32).unwrap();
        }
        let expected = inputs.run_with(&arrays);
        let view = |x: &Array| x.transpose(0, 1).unwrap().contiguous().unwrap().transpose(0, 1).unwrap();
        let weights = Weights { input: &view(&arrays[1]), hidden: &view(&arrays[2]), input_bias: None, hidden_bias: None };
        let initial: Vec<Array> = arrays[5..].iter().map(view).collect();
        let out = recurrent(cell, &view(&arrays[0]), &initial.iter().collect::<Vec<_>>(), &weights, inputs.lengths.as_deref(), false).unwrap();
        assert_eq!(doubles(&out.y), doubles(&expected.y));
        assert_eq!(doubles(&out.last[0]), doubles(&expected.last[0]));
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let lengths: Vec<usize> = (0..24).map(|b| 3 + b * 7 % 13).collect();
    for cell in [Cell::Lstm, Cell::Gru] {
        for (lengths, reverse) in [(None, false), (Some(&lengths[..]), true)] {
            let inputs = Inputs::new(cell, (24, 15, 60, 150, lengths), reverse, DType::F32);
            assert_same_bits("recurrent", || {
                let out = inputs.run();
                let (_, gradients) = inputs.gradients(&out);
                [vec![out.y], out.last, gradients].concat()
            });
        }
    }
}

#[test]
fn misuse_is_an_error() {
    let inputs = Inputs::new(Cell::Gru, CASES[1], false, DType::F32);
    let [x, input, hidden, bias, _, h] = &inputs.arrays[..] else { panic!() };
    let run = |x: &Array, weights: Weights, initial: &[&Array], lengths: Option<&[usize]>| {
        recurrent(Cell::Gru, x, initial, &weights, lengths, false).unwrap_err().to_string()
    };
    let weights = Weights { input, hidden, input_bias: Some(bias), hidden_bias: None };
    let error = run(&noise(&[2, 3], 1, DType::F32), weights, &[h], None);
    assert!(error.starts_with("gru: ") && error.contains("[2, 3]") && error.contains("[B, T, D]"), "{error}");
    let error = run(&noise(&[2, 5, 4], 1, DType::F32), weights, &[h], None);
    assert!(error.contains("[2, 5, 4]") && error.contains("[12, 3]"), "{error}");
    assert!(run(x, Weights { hidden: input, ..weights }, &[h], None).contains("[3 H, H]"));
    assert!(run(x, Weights { input_bias: Some(x), ..weights }, &[h], None).contains("the bias of the input"));
    assert!(run(x, weights, &[], None).contains("got 0 initial states, expected 1"));
    assert!(run(x, weights, &[bias], None).contains("an initial state has shape [12], expected [2, 4]"));
    assert!(run(x, weights, &[h], Some(&[5])).contains("got 1 lengths"));
    assert!(run(x, weights, &[h], Some(&[5, 6])).contains("a length is 6"));
    assert!(run(&x.cast(DType::F64).unwrap(), weights, &[h], None).contains("element type"));
    let out = inputs.run();
    let backward = |dy: &Array, last: [Option<&Array>; 2]| inputs.backward(&out.saved, Some(dy), last, [true; 7]);
    assert!(backward(&x.cast(DType::F64).unwrap(), [None; 2]).is_err());
    assert!(backward(x, [None; 2]).unwrap_err().to_string().contains("expected [2, 5, 4]"));
    assert!(backward(&out.y, [Some(bias), None]).is_err());
    let smaller = [noise(&[6, 3], 1, DType::F32), noise(&[6, 2], 2, DType::F32)];
    let weights = Weights { input: &smaller[0], hidden: &smaller[1], input_bias: None, hidden_bias: None };
    let error = recurrent_backward(&out.saved, x, &[h], &weights, Some(&out.y), [None; 2], [true; 7]).map(drop).unwrap_err().to_string();
    assert!(error.contains("[6, 2]") && error.contains("forward pass"), "{error}");
    assert!(backward(&out.y, [None, Some(h)]).unwrap_err().to_string().contains("cell state"));
}
