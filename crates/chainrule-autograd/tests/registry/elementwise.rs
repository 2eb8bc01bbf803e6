//! Functions of one and two numbers.

use crate::{Cases, apart, integers, numbers, others, positive};
use chainrule_autograd::{DType, Tensor};

/// The rows of the core's table that are operations here.
pub const TABLE: &[&str] = &[
    "relu",
    "leaky_relu",
    "elu",
    "selu",
    "relu6",
    "gelu",
    "gelu_tanh",
    "silu",
    "sigmoid",
    "log_sigmoid",
    "tanh",
    "softplus",
    "mish",
    "hardswish",
    "hardsigmoid",
    "clamp",
    "abs",
    "sign",
    "floor",
    "round",
    "exp",
    "exp_m1",
    "ln",
    "ln_1p",
    "sqrt",
    "rsqrt",
    "reciprocal",
    "square",
    "sin",
    "cos",
    "erf",
    "powf",
    "tan",
    "asin",
    "acos",
    "atan",
    "sinh",
    "cosh",
    "asinh",
    "acosh",
    "atanh",
    "exp2",
    "log2",
    "log10",
    "ceil",
    "trunc",
    "frac",
    "erfc",
    "erfinv",
    "lgamma",
    "digamma",
    "logit",
    "sinc",
    "celu",
    "hardshrink",
    "softshrink",
    "tanhshrink",
    "softsign",
    "threshold",
    "nan_to_num",
];

macro_rules! unary {
    ($cases:ident, $($name:ident($($argument:expr),*) of $draw:ident;)*) => {
        $(for dims in [&[7usize][..], &[2, 3], &[], &[1], &[0, 3]] {
            $cases.add(format!("{} {dims:?}", stringify!($name)), vec![$draw(dims)], |x| x[0].$name($($argument),*));
        })*
    };
}

macro_rules! binary {
    ($cases:ident, $($name:ident of $left:ident, $right:ident;)*) => {
        $(for (a, b) in [(&[2usize, 3][..], &[2usize, 3][..]), (&[2, 3], &[3]), (&[3], &[2, 3]), (&[2, 1, 3], &[4, 1]), (&[], &[2]), (&[0, 3], &[1, 3]), (&[1], &[1])] {
            $cases.add(format!("{} {a:?} {b:?}", stringify!($name)), vec![$left(a), $right(b)], |x| x[0].$name(&x[1]));
        }
        $cases.add(concat!(stringify!($name), " of one tensor"), vec![positive(&[3])], |x| x[0].$name(&x[0].mul_scalar(2.0)?));)*
    };
}

pub fn add(cases: &mut Cases) {
    unary! { cases,
        relu() of apart; leaky_relu(0.2) of apart; elu(1.3) of apart; selu() of apart; relu6() of apart; gelu() of numbers; gelu_tanh() of numbers; silu() of numbers;
        sigmoid() of numbers; log_sigmoid() of numbers; tanh() of numbers; softplus(0.7, 20.0) of numbers; mish() of numbers; hardswish() of apart; hardsigmoid() of apart;
        clamp(-0.71, 0.93) of apart; abs() of apart; sign() of apart; floor() of positive; round() of apart; exp() of numbers; exp_m1() of numbers; ln() of positive; ln_1p() of positive;
        sqrt() of positive; rsqrt() of positive; reciprocal() of positive; square() of numbers; sin() of numbers; cos() of numbers; erf() of numbers; powf(2.5) of positive;
        tan() of numbers; asin() of positive; acos() of positive; atan() of numbers; sinh() of numbers; cosh() of numbers; asinh() of numbers; atanh() of positive; exp2() of numbers;
        log2() of positive; log10() of positive; ceil() of positive; trunc() of apart; frac() of apart; erfc() of numbers; erfinv() of positive; lgamma() of positive; digamma() of positive;
        logit(0.0) of positive; sinc() of numbers; celu(1.3) of apart; hardshrink(0.41) of apart; softshrink(0.41) of apart; tanhshrink() of numbers; softsign() of apart;
        threshold(0.41, 7.0) of apart; nan_to_num(0.0, None, Some(-1.0)) of numbers; prelu(&Tensor::full(&[1], 0.3, DType::F64)?) of apart; rrelu(0.1, 0.4) of apart;
        affine(-1.7, 0.4) of numbers; add_scalar(2.0) of numbers; mul_scalar(3.0) of numbers; neg() of numbers;
    }
    binary! { cases,
        add of numbers, others; sub of numbers, others; mul of numbers, others; div of numbers, positive; maximum of numbers, others; minimum of numbers, others;
        pow of positive, others; atan2 of numbers, others; hypot of numbers, others; fmod of numbers, positive; remainder of numbers, positive; logaddexp of numbers, others;
        xlogy of numbers, positive;
    }
    cases.add("acosh", vec![positive(&[2, 3])], |x| x[0].add_scalar(1.0)?.acosh());
    cases.add("logit held off its ends", vec![positive(&[2, 3])], |x| x[0].logit(0.3333));
    cases.add("lgamma and digamma below 0", vec![apart(&[7])], |x| x[0].lgamma()?.add(&x[0].digamma()?));
    cases.add("sinc near 0", vec![numbers(&[5])], |x| x[0].mul_scalar(0.05)?.sinc());
    cases.add("xlogy of zeros", vec![others(&[2]), positive(&[2])], |x| x[0].mul_scalar(0.0)?.xlogy(&x[1]));
    cases.add("heaviside", vec![numbers(&[4])], |x| Tensor::from_slice(&[-1.0, 0.0, 2.0, 0.0], &[4])?.heaviside(&x[0]));
    for (dims, axis) in [(&[6usize][..], 0isize), (&[2, 4], -1), (&[4, 0, 3], 0), (&[2, 2, 3], 1)] {
        let half = || vec![apart(dims)];
        cases.add(format!("glu {dims:?} {axis}"), half(), move |x| x[0].glu(axis));
        cases.add(format!("swiglu {dims:?} {axis}"), half(), move |x| x[0].swiglu(axis));
        cases.add(format!("geglu {dims:?} {axis}"), half(), move |x| x[0].geglu(axis));
        cases.add(format!("reglu {dims:?} {axis}"), half(), move |x| x[0].reglu(axis));
        cases.add(format!("softmin {dims:?} {axis}"), half(), move |x| x[0].softmin(axis));
    }
    for dims in [&[2usize, 3][..], &[2, 3, 2], &[0, 3]] {
        cases.add(format!("prelu of channels {dims:?}"), vec![apart(dims), numbers(&[3])], |x| x[0].prelu(&x[1]));
    }
    cases.add_training("rrelu in training", vec![apart(&[3, 4])], |x| x[0].rrelu(0.1, 0.4));
    for dims in [&[4usize, 5][..], &[3, 4, 2], &[0, 2]] {
        cases.add_training(format!("dropout_channels {dims:?}"), vec![numbers(dims)], |x| x[0].dropout_channels(0.4));
        cases.add_training(format!("drop_path {dims:?}"), vec![numbers(dims)], |x| x[0].drop_path(0.4));
        cases.add_training(format!("alpha_dropout {dims:?}"), vec![numbers(dims)], |x| x[0].alpha_dropout(0.4));
    }
    cases.add("softplus above its threshold", vec![apart(&[6])], |x| x[0].softplus(2.0, 1.0));
    cases.add("powf of a negative number", vec![numbers(&[5])], |x| x[0].powf(3.0));
    let condition = || Tensor::from_slice(&[0u8, 1, 2, 0, 1, 0], &[2, 3]).unwrap();
    cases.add("where", vec![condition(), numbers(&[2, 3]), others(&[3])], |x| x[0].where_(&x[1], &x[2]));
    cases.add("where: a condition that broadcasts", vec![integers(&[1, 0], &[2, 1]), numbers(&[3]), others(&[])], |x| x[0].truth()?.where_(&x[1], &x[2]));
    cases.add("masked_fill", vec![numbers(&[4, 2, 3]), condition()], |x| x[0].masked_fill(&x[1], -2.5));
    cases.add("lerp", vec![numbers(&[4, 3]), others(&[4, 3])], |x| x[0].lerp(&x[1], 0.3));
    cases.add_training("dropout", vec![numbers(&[4, 5])], |x| x[0].dropout(0.4));
    cases.add("dropout infers", vec![numbers(&[4, 5])], |x| x[0].dropout(0.4));
}

#[test]
fn casts_pass_gradients_on() -> chainrule_autograd::Result<()> {
    // Through f32, whose rounding drowns differences of 1e-5; these are exact.
    let exact = chainrule_autograd::GradCheck { step: 0.25, ..Default::default() };
    let x = Tensor::from_slice(&[0.5, -1.5, 3.0], &[3])?;
    let through = |x: &[Tensor]| x[0].cast(DType::F32)?.mul_scalar(-3.0)?.cast(DType::F64);
    exact.first(std::slice::from_ref(&x), through)?;
    exact.second(&[x], through)
}

#[test]
fn the_ends_of_functions() -> chainrule_autograd::Result<()> {
    let (inf, nan) = (f64::INFINITY, f64::NAN);
    let number = |x: f64| Tensor::from_slice(&[x], &[1]);
    assert_eq!(number(-inf)?.logaddexp(&number(1.0)?)?.item()?, 1.0);
    assert_eq!(number(-inf)?.logaddexp(&number(-inf)?)?.item()?, -inf);
    assert_eq!(number(inf)?.logaddexp(&number(inf)?)?.item()?, inf);
    assert_eq!(number(0.0)?.xlogy(&number(-2.0)?)?.item()?, 0.0);
    assert!(number(0.0)?.xlogy(&number(nan)?)?.item()?.is_nan() && number(1.5)?.logit(0.0)?.item()?.is_nan());
    assert!(
        number(nan)?.hardshrink(0.5)?.item()?.is_nan() && number(nan)?.threshold(0.5, 1.0)?.item()?.is_nan() && number(nan)?.softshrink(0.5)?.item()?.is_nan()
    );
    assert_eq!(Tensor::from_slice(&[f32::NEG_INFINITY, f32::NAN], &[2])?.nan_to_num(0.0, None, None)?.to_vec::<f32>()?, [f32::MIN, 0.0]);
    assert!(Tensor::ones(&[3], DType::F64)?.glu(0).unwrap_err().to_string().contains("even count"));
    assert!(number(1.0)?.rrelu(0.3, 0.2).is_err() && number(1.0)?.prelu(&Tensor::ones(&[2], DType::F64)?).is_err());
    Ok(())
}

#[test]
fn masks_drop_whole_channels_and_samples() -> chainrule_autograd::Result<()> {
    use chainrule_autograd::{Rng, Tape};
    let tape = Tape::training(&mut Rng::seeded(1));
    let x = tape.input(Tensor::ones(&[40, 50, 3], DType::F64)?);
    let share = |rows: &[f64], size: usize| {
        assert!(rows.chunks(size).all(|row| row.iter().all(|v| *v == row[0]) && (row[0] == 0.0 || (row[0] - 1.25).abs() < 1e-12)));
        rows.chunks(size).filter(|row| row[0] == 0.0).count() as f64 / (rows.len() / size) as f64
    };
    assert!((share(&x.dropout_channels(0.2)?.to_vec::<f64>()?, 3) - 0.2).abs() < 0.03);
    assert!((share(&x.drop_path(0.2)?.to_vec::<f64>()?, 150) - 0.2).abs() < 0.15);
    // Mean and variance of normal numbers stay.
    let x = tape.input(Tensor::normal(&[100_000], 0.0, 1.0, DType::F64, &mut Rng::seeded(2))?);
    let y = x.alpha_dropout(0.3)?;
    assert!(y.mean()?.item()?.abs() < 0.02 && (y.var(&[], 0, false)?.item()? - 1.0).abs() < 0.02);
    for rate in [0.0, 1.0] {
        assert!(x.alpha_dropout(rate)?.to_vec::<f64>()?.iter().all(|v| v.is_finite()));
    }
    assert!(x.dropout_channels(1.5).is_err() && x.drop_path(-0.1).is_err() && x.alpha_dropout(f64::NAN).is_err());
    assert!(x.inferring(|x| x.alpha_dropout(0.5))?.array().is_same(x.array()));
    Ok(())
}
