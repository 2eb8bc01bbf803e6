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
        affine(-1.7, 0.4) of numbers; add_scalar(2.0) of numbers; mul_scalar(3.0) of numbers; neg() of numbers;
    }
    binary! { cases,
        add of numbers, others; sub of numbers, others; mul of numbers, others; div of numbers, positive; maximum of numbers, others; minimum of numbers, others;
        pow of positive, others;
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
