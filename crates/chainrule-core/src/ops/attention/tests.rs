//! Against the formula with the weights written out, in f64.

use super::*;
use crate::array::Array;
use crate::dtype::DType;
use crate::ops::testing::*;

/// What is attended to.
struct Case {
    /// Leading dimensions, those of keys and values, and L, S, E, V.
    query: &'static [usize],
    shared: &'static [usize],
    sizes: [usize; 4],
    /// Whether the mask is added, and its shape.
    mask: Option<(bool, Vec<usize>)>,
    options: Options,
}

/// Sizes below, at and beyond those of a tile; empty ones; several heads that share keys.
fn cases() -> Vec<Case> {
    let plain = Options::default();
    let causal = |past| Options { causal: Some(past), ..plain };
    let case = |query, shared, sizes, mask: Option<(bool, &[usize])>, options| Case {
        query,
        shared,
        sizes,
        mask: mask.map(|(additive, dims)| (additive, dims.to_vec())),
        options,
    };
    let mut cases = vec![
        case(&[], &[], [5, 7, 3, 2], None, plain),
        case(&[2], &[2], [1, 1, 1, 1], None, plain),
        case(&[2, 3], &[2, 3], [17, 33, 8, 5], None, Options { scale: Some(-0.7), ..plain }),
        case(&[1, 2], &[1, 2], [70, 131, 19, 16], None, plain),
        case(&[2], &[2], [64, 128, 16, 16], None, causal(0)),
        case(&[2], &[2], [65, 129, 4, 3], None, causal(64)),
        case(&[1], &[1], [1, 300, 8, 8], None, causal(299)),
        case(&[1], &[1], [130, 7, 8, 8], None, causal(0)),
        case(&[2, 4], &[2, 2], [19, 140, 8, 6], None, causal(3)),
        case(&[3], &[1], [9, 11, 4, 4], Some((true, &[3, 1, 11])), plain),
        case(&[2, 2], &[2, 2], [20, 30, 4, 4], Some((false, &[2, 1, 1, 30])), plain),
        case(&[2, 2], &[2, 2], [20, 150, 4, 4], Some((false, &[20, 150])), causal(130)),
        case(&[2, 2], &[2, 2], [67, 21, 4, 4], Some((true, &[2, 2, 67, 21])), plain),
        case(&[2, 2], &[2, 2], [67, 21, 4, 4], Some((true, &[1])), plain),
        case(&[1], &[1], [330, 530, 48, 80], None, causal(200)),
        case(&[2], &[2], [90, 270, 32, 128], Some((true, &[90, 270])), plain),
        case(&[2], &[1], [75, 260, 129, 17], None, plain),
        case(&[1, 1, 1, 1, 1, 2], &[1, 1, 1, 1, 1, 1], [4, 300, 8, 8], None, plain),
    ];
    for sizes in [[0, 3, 2, 2], [3, 0, 2, 2], [3, 4, 0, 2], [3, 4, 2, 0]] {
        cases.push(case(&[2], &[2], sizes, None, plain));
    }
    cases.push(case(&[0, 2], &[0, 2], [3, 4, 2, 2], None, plain));
    cases.push(case(&[2, 2], &[2, 1], [66, 140, 5, 5], Some((false, &[66, 1])), Options { dropout: Some((0.3, 17)), causal: Some(80), scale: None }));
    cases.push(case(&[2], &[2], [70, 9, 5, 5], None, Options { dropout: Some((1.0, 3)), ..plain }));
    cases
}

struct Inputs {
    query: Array,
    key: Array,
    value: Array,
    mask: Option<Array>,
    grad: Array,
}

impl Case {
    fn inputs(&self, dtype: DType) -> Inputs {
        let [l, s, e, v] = self.sizes;
        let array = |leading: &[usize], tail: [usize; 2], seed| noise(&[leading, &tail].concat(), seed, dtype);
        let mask = self.mask.as_ref().map(|(additive, dims)| {
            let mask = noise(dims, 5, dtype);
            if *additive { mask } else { Array::from_index(dims, DType::U8, |i| (doubles(&mask)[i] > -0.4) as u8 as f64).unwrap() }
        });
        Inputs {
            query: array(self.query, [l, e], 1),
            key: array(self.shared, [s, e], 2),
            value: array(self.shared, [s, v], 3),
            mask,
            grad: array(self.query, [l, v], 4),
        }
    }

    /// The output, log2_sum and the gradients of query, key and value, all weights written out.
    fn naive(&self, x: &Inputs) -> [Vec<f64>; 5] {
        let [l, s, e, v] = self.sizes;
        let (q, k, values, dout) = (doubles(&x.query), doubles(&x.key), doubles(&x.value), doubles(&x.grad));
        let heads: usize = self.query.iter().product();
        let group = self.query.last().map_or(1, |h| h / self.shared[self.shared.len() - 1]);
        let full = [self.query, &[l, s]].concat();
        let mask = x.mask.as_ref().map(|mask| doubles(&mask.broadcast_to(&full).unwrap().cast(DType::F64).unwrap()));
        let factors = self.options.dropout.map(|(rate, stream)| doubles(&drop_weights(&Array::ones(&full, DType::F64).unwrap(), rate, stream).unwrap()));
        let scale = self.options.scale.unwrap_or(1.0 / (e.max(1) as f64).sqrt());
        let mut out = [vec![0.0; heads * l * v], vec![0.0; heads * l], vec![0.0; q.len()], vec![0.0; k.len()], vec![0.0; values.len()]];
        for (head, i) in (0..heads).flat_map(|head| (0..l).map(move |i| (head, i))) {
            let (stack, row, at) = (head / group, head * l + i, (head * l + i) * s);
            let score = |j: usize| {
                let product: f64 = (0..e).map(|c| q[row * e + c] * k[(stack * s + j) * e + c]).sum();
                let hidden = self.options.causal.is_some_and(|past| j > past + i);
                match (&mask, x.mask.as_ref().map(Array::dtype)) {
                    _ if hidden => f64::NEG_INFINITY,
                    (Some(mask), Some(DType::U8)) if mask[at + j] == 0.0 => f64::NEG_INFINITY,
                    (Some(mask), Some(DType::F32 | DType::F64)) => product * scale + mask[at + j],
                    _ => product * scale,
                }
            };
            let scores: Vec<f64> = (0..s).map(score).collect();
            let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            if most == f64::NEG_INFINITY {
                out[1][row] = f64::INFINITY;
                continue;
            }
            let sum: f64 = scores.iter().map(|x| (x - most).exp()).sum();
            out[1][row] = (most + sum.ln()) * std::f64::consts::LOG2_E;
            let factor = |j: usize| factors.as_ref().map_or(1.0, |f| f[at + j]);
            let weights: Vec<f64> = scores.iter().map(|x| (x - most).exp() / sum).collect();
            let slope = |j: usize| factor(j) * (0..v).map(|c| dout[row * v + c] * values[(stack * s + j) * v + c]).sum::<f64>();
            let mean: f64 = (0..s).map(|j| weights[j] * slope(j)).sum();
            for j in 0..s {
                for c in 0..v {
                    out[0][row * v + c] += weights[j] * factor(j) * values[(stack * s + j) * v + c];
                    out[4][(stack * s + j) * v + c] += weights[j] * factor(j) * dout[row * v + c];
                }
                let by_product = weights[j] * (slope(j) - mean) * scale;
                for c in 0..e {
                    out[2][row * e + c] += by_product * k[(stack * s + j) * e + c];
                    out[3][(stack * s + j) * e + c] += by_product * q[row * e + c];
                }
            }
        }
        out
    }
}

fn compute(x: &Inputs, options: &Options) -> [Array; 5] {
    let Inputs { query, key, value, mask, grad } = x;
    let Attended { output, log2_sum } = attention(query, key, value, mask.as_ref(), options).unwrap();
    let gradients = attention_backward(grad, query, key, value, mask.as_ref(), &output, &log2_sum, options, [true; 3]).unwrap();
    let [dq, dk, dv] = gradients.map(Option::unwrap);
    [output, log2_sum, dq, dk, dv]
}

#[test]
fn agrees_with_the_formula() {
    at_every_level(|dtype, tolerance| {
        for case in cases() {
            let x = case.inputs(dtype);
            let what = format!("{dtype} {:?} {:?} {:?} {:?}", case.query, case.shared, case.sizes, case.options);
            for (got, want) in compute(&x, &case.options).iter().zip(case.naive(&x)) {
                assert_close(&what, got, &want, 4.0 * tolerance);
            }
        }
    });
}

/// The same numbers in memory with rows and columns, or heads and rows, exchanged, and gaps between them.
#[test]
fn strides_do_not_matter() {
    for case in cases().iter().filter(|case| case.query.len() == 2) {
        let x = case.inputs(DType::F64);
        let want = compute(&x, &case.options).map(|array| doubles(&array));
        let exchanged = |x: &Array, a, b| x.transpose(a, b).unwrap().contiguous().unwrap().transpose(a, b).unwrap();
        let spaced = |x: &Array| {
            let wide = crate::ops::join::concatenate(&[x, x], -1).unwrap();
            wide.narrow(-1, 0, *x.dims().last().unwrap()).unwrap()
        };
        let turned = Inputs {
            query: exchanged(&x.query, -2, -3),
            key: exchanged(&x.key, -1, -2),
            value: spaced(&x.value),
            mask: x.mask.as_ref().map(|m| if m.rank() > 1 { exchanged(m, -1, -2) } else { m.clone() }),
            grad: exchanged(&x.grad, -1, -3),
        };
        for (got, want) in compute(&turned, &case.options).iter().zip(want) {
            assert_close(&format!("{:?}", case.sizes), got, &want, 1e-13);
        }
    }
}

#[test]
fn heads_of_one_array_get_gradients_in_one() {
    for (batch, [heads, shared], rows) in [(20, [2, 2], 70), (10, [6, 2], 9)] {
        let all = noise(&[batch, rows, heads + 2 * shared, 5], 3, DType::F32).transpose(1, 2).unwrap();
        let part = |start, heads| all.narrow(1, start, heads).unwrap();
        let (query, key, value) = (part(0, heads), part(heads, shared), part(heads + shared, shared));
        let together = Inputs { query, key, value, mask: None, grad: noise(&[batch, heads, rows, 5], 4, DType::F32) };
        let apart = [&together.query, &together.key, &together.value].map(|x| x.contiguous().unwrap());
        let options = Options { causal: Some(1), ..Options::default() };
        let got = compute(&together, &options);
        let [query, key, value] = apart;
        let want = compute(&Inputs { query, key, value, mask: None, grad: together.grad.clone() }, &options);
        for (got, want) in got.iter().zip(&want) {
            assert_eq!(got.to_vec::<f32>().unwrap(), want.to_vec::<f32>().unwrap());
        }
        let joined = Array::spanning(&[&got[2], &got[3], &got[4]], 1).unwrap();
        assert!(joined.transpose(1, 2).unwrap().is_contiguous() && Array::spanning(&[&want[2], &want[3], &want[4]], 1).is_none());
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    for (leading, sizes) in [(&[3usize][..], [200, 300, 24, 16]), (&[1], [70, 1500, 8, 8])] {
        let case = Case { query: leading, shared: leading, sizes, mask: None, options: Options { dropout: Some((0.1, 5)), causal: Some(900), scale: None } };
        let x = case.inputs(DType::F32);
        assert_same_bits("attention", || compute(&x, &case.options).into());
    }
}

#[test]
fn a_query_without_keys_gets_zeros_and_gives_no_gradient() {
    let case = Case { query: &[1], shared: &[1], sizes: [3, 4, 2, 2], mask: None, options: Options::default() };
    let mut x = case.inputs(DType::F32);
    let (row, low) = (Array::from_slice(&[1u8, 0, 1], &[3, 1]).unwrap(), f32::NEG_INFINITY);
    for mask in [row, Array::from_slice(&[0.0, low, 0.0], &[3, 1]).unwrap()] {
        x.mask = Some(mask);
        let [y, _, dq, ..] = compute(&x, &case.options);
        for array in [y, dq] {
            let numbers = doubles(&array);
            assert!(numbers[2..4] == [0.0; 2] && numbers[..2] != [0.0; 2] && numbers[4..] != [0.0; 2], "{numbers:?}");
        }
    }
}

#[test]
fn weights_are_dropped_at_the_rate() {
    let ones = Array::ones(&[3, 130, 201], DType::F32).unwrap();
    let dropped = doubles(&drop_weights(&ones, 0.25, 9).unwrap());
    let share = dropped.iter().filter(|x| **x == 0.0).count() as f64 / dropped.len() as f64;
    assert!((share - 0.25).abs() < 0.01, "{share}");
    assert!(dropped.iter().all(|x| *x == 0.0 || (x - 4.0 / 3.0).abs() < 1e-6));
    assert_ne!(dropped, doubles(&drop_weights(&ones, 0.25, 10).unwrap()));
}

#[test]
fn the_lowest_number_in_a_mask_hides() {
    let f32s = |dims: &[usize], shift: usize| Array::from_index(dims, DType::F32, |i| ((i + shift) as f64 * 0.7).sin()).unwrap();
    let (query, key, value) = (f32s(&[1, 2, 4], 0), f32s(&[1, 3, 4], 5), f32s(&[1, 3, 2], 9));
    let attend = |low: f32| {
        // The first query sees the last key only, the second none.
        let mask = Array::from_slice(&[low, low, 0.0, low, low, low], &[2, 3]).unwrap();
        attention(&query, &key, &value, Some(&mask), &Options::default()).unwrap().output.to_vec::<f32>().unwrap()
    };
    let (lowest, infinite) = (attend(f32::MIN), attend(f32::NEG_INFINITY));
    assert_eq!(lowest[..2], infinite[..2]);
    // Scores beside such numbers are lost, so all keys weigh the same.
    let value = value.to_vec::<f32>().unwrap();
    for (column, got) in lowest[2..].iter().enumerate() {
        let mean = (0..3).map(|key| value[2 * key + column]).sum::<f32>() / 3.0;
        assert!((got - mean).abs() < 1e-6, "{got} {mean}");
    }
}

#[test]
fn misuse_is_an_error() {
    let [q, k, v] = [noise(&[2, 3, 4], 1, DType::F32), noise(&[2, 5, 4], 2, DType::F32), noise(&[2, 5, 6], 3, DType::F32)];
    let error = |q: &Array, k: &Array, v: &Array, mask: Option<&Array>, options: &Options| attention(q, k, v, mask, options).err().unwrap().to_string();
    let plain = Options::default();
    let narrow = |x: &Array| x.narrow(-1, 0, 3).unwrap();
    assert!(error(&narrow(&q), &k, &v, None, &plain).contains("[2, 3, 3]"));
    assert!(error(&q, &k, &v.narrow(1, 0, 4).unwrap(), None, &plain).contains("differ in more than their width"));
    assert!(error(&q, &k.narrow(0, 0, 1).unwrap(), &v, None, &plain).contains("differ"));
    assert!(error(&q.select(0, 0).unwrap(), &k, &v, None, &plain).contains("as many dimensions"));
    assert!(error(&q, &k, &v.cast(DType::F64).unwrap(), None, &plain).contains("f64"));
    assert!(error(&q, &k, &v, Some(&noise(&[3, 4], 1, DType::F32)), &plain).contains("[3, 4], which does not broadcast to [2, 3, 5]"));
    assert!(error(&q, &k, &v, Some(&noise(&[3, 5], 1, DType::F64)), &plain).contains("u8"));
    assert!(error(&q, &k, &v, None, &Options { dropout: Some((1.5, 0)), ..plain }).contains("1.5"));
    let i = Array::zeros(&[2, 3], DType::I64).unwrap();
    assert!(error(&i, &i, &i, None, &plain).contains("i64"));
    assert!(attention(&q.flattened().unwrap(), &k, &v, None, &plain).is_err());
    let three = noise(&[3, 5, 4], 4, DType::F32);
    assert!(attention(&three, &k, &k, None, &plain).is_err(), "three heads on two");
    let Attended { output, log2_sum } = attention(&q, &k, &v, None, &plain).unwrap();
    assert!(attention_backward(&q, &q, &k, &v, None, &output, &log2_sum, &plain, [true; 3]).is_err());
    assert!(drop_weights(&log2_sum.flattened().unwrap(), 0.1, 0).is_err());
    assert!(drop_weights(&log2_sum, -0.1, 0).is_err());
}
