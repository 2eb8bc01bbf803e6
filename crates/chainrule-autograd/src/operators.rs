//! `+ - * /` and negation as sugar for a program's own arithmetic. They panic on mismatch as slice indexing does, with the message of the named method and the caller's line.

use crate::{Result, Tensor};
use std::ops::{Add, Div, Mul, Neg, Sub};

#[track_caller]
fn unwrap(result: Result<Tensor>) -> Tensor {
    match result {
        Ok(tensor) => tensor,
        Err(error) => panic!("{error}"),
    }
}

macro_rules! operators {
    ($($trait:ident $method:ident, |$a:ident, $k:ident| $right:expr, |$b:ident, $l:ident| $left:expr;)*) => {
        $(operators!(@pair $trait $method, Tensor, Tensor);
        operators!(@pair $trait $method, Tensor, &Tensor);
        operators!(@pair $trait $method, &Tensor, Tensor);
        operators!(@pair $trait $method, &Tensor, &Tensor);
        operators!(@with $trait $method, Tensor, f64, |$a, $k| $right);
        operators!(@with $trait $method, &Tensor, f64, |$a, $k| $right);
        operators!(@with $trait $method, f64, Tensor, |$l, $b| $left);
        operators!(@with $trait $method, f64, &Tensor, |$l, $b| $left);)*
    };
    (@pair $trait:ident $method:ident, $left:ty, $right:ty) => {
        impl $trait<$right> for $left {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, other: $right) -> Tensor {
                unwrap(Tensor::$method(&self, &other))
            }
        }
    };
    (@with $trait:ident $method:ident, $left:ty, $right:ty, |$a:ident, $b:ident| $body:expr) => {
        impl $trait<$right> for $left {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, other: $right) -> Tensor {
                let ($a, $b) = (self, other);
                unwrap($body)
            }
        }
    };
}

operators! {
    Add add, |x, k| x.add_scalar(k), |x, k| x.add_scalar(k);
    Sub sub, |x, k| x.add_scalar(-k), |x, k| x.affine(-1.0, k);
    Mul mul, |x, k| x.mul_scalar(k), |x, k| x.mul_scalar(k);
    Div div, |x, k| x.mul_scalar(1.0 / k), |x, k| x.reciprocal().and_then(|y| y.mul_scalar(k));
}

impl Neg for &Tensor {
    type Output = Tensor;
    #[track_caller]
    fn neg(self) -> Tensor {
        unwrap(Tensor::neg(self))
    }
}
impl Neg for Tensor {
    type Output = Tensor;
    #[track_caller]
    fn neg(self) -> Tensor {
        unwrap(Tensor::neg(&self))
    }
}
