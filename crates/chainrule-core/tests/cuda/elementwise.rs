//! Functions of one, two and three numbers.

use crate::support::*;
use chainrule_core::ops::elementwise::{Binary, Comparison, Unary, binary, compare, select, unary, unary_backward, unary_backward_by_kept};
use chainrule_core::{Array, DType};

/// Every row, and the range that its arguments are taken from.
fn rows() -> Vec<(Unary, [f64; 2])> {
    use Unary::*;
    let (all, positive, unit) = ([-6.0, 6.0], [0.05, 8.0], [-0.99, 0.99]);
    vec![
        (Affine { scale: 1.5, shift: 0.3 }, all),
        (Relu {}, all),
        (LeakyRelu { negative_slope: 0.1 }, all),
        (Elu { alpha: 1.3 }, all),
        (Selu {}, all),
        (Relu6 {}, [-3.0, 9.0]),
        (Gelu {}, all),
        (GeluTanh {}, all),
        (Silu {}, all),
        (Sigmoid {}, all),
        (LogSigmoid {}, all),
        (Tanh {}, all),
        (Softplus { beta: 1.2, threshold: 3.0 }, all),
        (Mish {}, all),
        (Hardswish {}, all),
        (Hardsigmoid {}, all),
        (Clamp { min: -0.5, max: 0.7 }, all),
        (Abs {}, all),
        (Sign {}, all),
        (Floor {}, all),
        (Round {}, all),
        (Exp {}, all),
        (ExpM1 {}, all),
        (Ln {}, positive),
        (Ln1p {}, positive),
        (Sqrt {}, positive),
        (Rsqrt {}, positive),
        (Reciprocal {}, positive),
        (Square {}, all),
        (Sin {}, [-400.0, 400.0]),
        (Cos {}, [-400.0, 400.0]),
        (Erf {}, all),
        (Powf { exponent: 2.5 }, positive),
        (Powf { exponent: 1.0 }, all),
        (Powf { exponent: 0.0 }, all),
        (Tan {}, [-1.3, 1.3]),
        (Asin {}, unit),
        (Acos {}, unit),
        (Atan {}, all),
        (Sinh {}, all),
        (Cosh {}, all),
        (Asinh {}, all),
        (Acosh {}, [1.1, 9.0]),
        (Atanh {}, unit),
        (Exp2 {}, all),
        (Log2 {}, positive),
        (Log10 {}, positive),
        (Ceil {}, all),
        (Trunc {}, all),
        (Frac {}, all),
        (Erfc {}, all),
        (Erfinv {}, [-0.9, 0.9]),
        (Lgamma {}, positive),
        (Digamma {}, positive),
        (Digamma {}, [-0.9, -0.1]),
        (Logit { eps: 0.0 }, [0.05, 0.95]),
        (Logit { eps: 0.1 }, [0.0, 1.0]),
        (Sinc {}, [-3.0, 3.0]),
        (Celu { alpha: 0.7 }, all),
        (Hardshrink { lambda: 0.5 }, all),
        (Softshrink { lambda: 0.5 }, all),
        (Tanhshrink {}, all),
        (Softsign {}, all),
        (Threshold { threshold: 0.1, value: 2.0 }, all),
        (NanToNum { nan: 1.0, highest: 2.0, lowest: -3.0 }, all),
    ]
}

/// Value, slope and bend are those of the CPU. A bend in f32 loses digits where terms cancel, on both sides.
#[test]
fn every_function_is_the_cpus() {
    for row in Unary::ROWS {
        assert!(rows().iter().any(|(op, _)| op.name() == row.name()), "{} is not compared", row.name());
    }
    for (op, [low, high]) in rows() {
        let (x, g, h) = (between(low, high, &[37], 1), noise(&[37], 2), noise(&[37], 3));
        let name = op.name();
        agree(&format!("{name} value"), 2e-6, [&x], |[x]| Ok(vec![unary(op, x)?]));
        agree(&format!("{name} slope"), 4e-6, [&x, &g], |[x, g]| Ok(vec![unary_backward(op, g, x)?]));
        agree(&format!("{name} bend"), 2e-5, [&x, &g, &h], |[x, g, h]| Ok(vec![unary_backward_by_kept(op, h, g, x)?]));
    }
}

#[test]
fn infinities_and_nan_are_the_cpus() {
    let edges = Array::from_slice(&[0.0, -0.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e-40, 1.0, -1.0, 30.0, -30.0, 200.0, -200.0], &[12]).unwrap();
    let ones = Array::ones(&[12], DType::F32).unwrap();
    for (op, _) in rows() {
        agree(op.name(), 4e-6, [&edges], |[x]| Ok(vec![unary(op, x)?]));
        agree(op.name(), 2e-5, [&edges, &ones], |[x, g]| Ok(vec![unary_backward(op, g, x)?]));
    }
}

/// The very numbers at which a function's pieces meet.
#[test]
fn where_pieces_meet() {
    use Unary::*;
    let x = Array::from_slice(&[-6.0f32, -3.0, -1.0, -0.5, 0.0, 0.5, 0.75, 1.0, 2.0, 3.0, 6.0, 20.0], &[12]).unwrap();
    let (g, h) = (noise(&[12], 1), noise(&[12], 2));
    let softplus = Softplus { beta: 1.0, threshold: 2.0 };
    for op in [softplus, Threshold { threshold: 0.5, value: 2.0 }, Clamp { min: -0.5, max: 0.75 }, Hardshrink { lambda: 0.5 }, Softshrink { lambda: 0.5 }]
        .into_iter()
        .chain([Relu {}, LeakyRelu { negative_slope: 0.1 }, Relu6 {}, Hardswish {}, Hardsigmoid {}, Elu { alpha: 1.3 }, Celu { alpha: 0.7 }, Selu {}])
    {
        agree(op.name(), 4e-6, [&x, &g, &h], |[x, g, h]| Ok(vec![unary(op, x)?, unary_backward(op, g, x)?, unary_backward_by_kept(op, h, g, x)?]));
    }
}

#[test]
fn any_of_the_arrays_may_begin_beside_16_bytes() {
    let op = Unary::Silu {};
    let whole = [noise(&[41], 1), noise(&[41], 2), noise(&[41], 3)];
    for beside in 0..8usize {
        agree(&format!("{beside:03b}"), 2e-5, [&whole[0], &whole[1], &whole[2]], |all| {
            let [h, g, x] = [0, 1, 2].map(|i| all[i].narrow(0, beside >> i & 1, 40));
            let (h, g, x) = (h?, g?, x?);
            Ok(vec![unary(op, &x)?, unary_backward(op, &g, &x)?, unary_backward_by_kept(op, &h, &g, &x)?])
        });
    }
}

#[test]
fn any_count_and_view() {
    let op = Unary::Silu {};
    for count in [0, 1, 3, 4, 5, 31, 1000, 1027] {
        let (x, g) = (noise(&[count], 4), noise(&[count], 5));
        agree("count", 1e-6, [&x, &g], |[x, g]| Ok(vec![unary(op, x)?, unary_backward(op, g, x)?]));
    }
    // A view that does not begin on 16 bytes, and one that is not dense.
    let (x, g) = (noise(&[6, 35], 6), noise(&[4, 35], 7));
    agree("views", 1e-6, [&x, &g], |[x, g]| {
        let part = x.narrow(0, 1, 4)?;
        Ok(vec![unary(op, &part)?, unary_backward(op, g, &part)?, unary(op, &x.transpose(0, 1)?)?, unary(op, &x.select(1, 3)?)?])
    });
    agree("empty", 0.0, [&Array::zeros(&[0, 3], DType::F32).unwrap()], |[x]| Ok(vec![unary(op, x)?]));
}

#[test]
fn other_element_types_are_refused() {
    let Some(gpu) = gpu() else { return };
    let x = Array::zeros(&[3], DType::F64).unwrap().to(&gpu).unwrap();
    let error = unary(Unary::Exp {}, &x).unwrap_err().to_string();
    assert!(error.contains("exp") && error.contains("f64") && error.contains("f32"), "{error}");
    let error = unary_backward(Unary::Exp {}, &noise(&[3], 1), &noise(&[3], 1).to(&gpu).unwrap()).unwrap_err().to_string();
    assert!(error.contains("different devices"), "{error}");
}

const BINARY: [Binary; 12] = [
    Binary::Add,
    Binary::Sub,
    Binary::Mul,
    Binary::Div,
    Binary::Maximum,
    Binary::Minimum,
    Binary::Pow,
    Binary::Atan2,
    Binary::Hypot,
    Binary::Fmod,
    Binary::Remainder,
    Binary::LogAddExp,
];
const COMPARISONS: [Comparison; 6] =
    [Comparison::Equal, Comparison::NotEqual, Comparison::Less, Comparison::LessEqual, Comparison::Greater, Comparison::GreaterEqual];

#[test]
fn every_function_of_two_is_the_cpus() {
    let edges: Vec<f32> = vec![0.0, -0.0, 1.0, -2.5, 3.0, 1e-40, f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
    let n = edges.len();
    let (x, y) = (Array::from_slice(&edges, &[n, 1]).unwrap(), Array::from_slice(&edges, &[n]).unwrap());
    let (a, b) = (between(0.2, 5.0, &[77], 1), between(-3.0, 3.0, &[77], 2));
    for op in BINARY {
        agree(op.name(), 2e-6, [&a, &b], |[a, b]| Ok(vec![binary(op, a, b)?]));
        agree(op.name(), 2e-6, [&x, &y], |[x, y]| Ok(vec![binary(op, x, y)?]));
    }
    for op in COMPARISONS {
        agree(op.name(), 0.0, [&x, &y], |[x, y]| Ok(vec![compare(op, x, y)?]));
    }
}

#[test]
fn integers_and_truth_values() {
    let (i, j) = (Array::from_slice(&[0i64, 1, -7, i64::MAX, i64::MIN], &[5, 1]).unwrap(), Array::from_slice(&[0i64, 3, -1, i64::MAX], &[4]).unwrap());
    for op in [Binary::Add, Binary::Sub, Binary::Mul, Binary::Maximum, Binary::Minimum] {
        agree(op.name(), 0.0, [&i, &j], |[i, j]| Ok(vec![binary(op, i, j)?]));
    }
    let (p, q) = (Array::from_slice(&[0u8, 1, 255], &[3, 1]).unwrap(), Array::from_slice(&[1u8, 0], &[2]).unwrap());
    for op in COMPARISONS {
        agree(op.name(), 0.0, [&i, &j, &p, &q], |[i, j, p, q]| Ok(vec![compare(op, i, j)?, compare(op, p, q)?]));
    }
}

#[test]
fn every_way_of_broadcasting() {
    let op = Binary::Sub;
    // Rows, columns, numbers, both ways; widths of four and not, counts of four and not.
    for (a, b) in [
        (&[3, 8][..], &[8][..]),
        (&[3, 7], &[7]),
        (&[8], &[5, 8]),
        (&[5, 3], &[5, 1]),
        (&[5, 1], &[5, 12]),
        (&[4, 1], &[1, 6]),
        (&[2, 3, 5], &[1]),
        (&[], &[13]),
        (&[], &[]),
        (&[1], &[1, 1]),
        (&[2, 3, 4, 5], &[3, 1, 1]),
        (&[2, 1, 4, 1], &[3, 1, 5]),
        (&[1030], &[1030]),
        (&[0, 3], &[3]),
        (&[700, 3], &[3]),
    ] {
        let (x, y) = (noise(a, 1), noise(b, 2));
        agree(&format!("{a:?} {b:?}"), 0.0, [&x, &y], |[x, y]| Ok(vec![binary(op, x, y)?, binary(Binary::Maximum, y, x)?]));
    }
    let (x, y) = (noise(&[9, 12], 3), noise(&[12, 9], 4));
    agree("views", 0.0, [&x, &y], |[x, y]| {
        let (part, row) = (x.narrow(1, 3, 8)?, y.narrow(0, 0, 8)?.select(1, 4)?);
        Ok(vec![
            binary(op, x, &y.transpose(0, 1)?)?,
            binary(op, &part, &part)?,
            binary(op, &part, &row)?,
            binary(op, &x.flip(&[0])?, &x.narrow(0, 1, 1)?)?,
            binary(op, &x.narrow(0, 1, 8)?, &x.narrow(0, 0, 8)?)?,
            binary(op, &x.select(0, 1)?, &x.select(0, 2)?)?,
        ])
    });
}

#[test]
fn choices() {
    let condition = Array::from_slice(&[1u8, 0, 0, 255, 1, 0], &[2, 3]).unwrap();
    let (a, b) = (noise(&[2, 3], 1), noise(&[3], 2));
    agree("where", 0.0, [&condition, &a, &b], |[c, a, b]| Ok(vec![select(c, a, b)?, select(&c.transpose(0, 1)?, &a.transpose(0, 1)?, &b.unsqueeze(1)?)?]));
    for dtype in [DType::F64, DType::I64, DType::U8, DType::BF16] {
        let (a, b) = (Array::from_index(&[4, 1, 3], dtype, |i| i as f64).unwrap(), Array::full(&[], 7.0, dtype).unwrap());
        agree("where", 0.0, [&condition, &a, &b], |[c, a, b]| Ok(vec![select(c, a, b)?, select(c, b, a)?]));
    }
}

#[test]
fn one_number_may_stand_on_the_cpu() {
    let Some(gpu) = gpu() else { return };
    let half = Array::scalar(0.5, DType::F32).unwrap();
    let three = Array::from_slice(&[3i64], &[1]).unwrap();
    let yes = Array::from_slice(&[1u8], &[1]).unwrap();
    let (x, i) = (noise(&[3, 5], 1), indices(6, &[7], 2));
    agree("one number", 0.0, [&x, &i], |[x, i]| {
        Ok(vec![
            binary(Binary::Mul, x, &half)?,
            binary(Binary::Sub, &half, &x.transpose(0, 1)?)?,
            binary(Binary::Add, i, &three)?,
            compare(Comparison::Less, x, &half)?,
            compare(Comparison::Greater, i, &three)?,
            select(&compare(Comparison::Less, x, &half)?, x, &half)?,
            select(&yes, x, &half)?,
            binary(Binary::Pow, &x.select(0, 0)?.select(0, 0)?, &half)?,
        ])
    });
    let error = binary(Binary::Add, &x.to(&gpu).unwrap(), &x).unwrap_err().to_string();
    assert!(error.contains("a [3, 5] on cuda:0") && error.contains("b [3, 5] on cpu"), "{error}");
}
