//! Rims around sequences, images and volumes (PyTorch's `ZeroPad2d`, `ReflectionPad2d`, …).

use crate::{Layer, Module, observed};
use chainrule_autograd::{PadMode, Result, Tensor};

/// The pads of N dimensions, `(before, after)` for each in order: `2` for all, `(1, 3)` for before and after all, `[(1, 3), (0, 2)]` for each. Negative numbers cut.
/// ```
/// use chainrule_nn::Rim;
/// assert_eq!(Rim::<2>::from(1).0, [(1, 1), (1, 1)]);
/// assert_eq!(Rim::<2>::from((1, 0)).0, [(1, 0), (1, 0)]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rim<const N: usize>(pub [(isize, isize); N]);

impl<const N: usize> From<isize> for Rim<N> {
    fn from(all: isize) -> Rim<N> {
        Rim([(all, all); N])
    }
}
impl<const N: usize> From<(isize, isize)> for Rim<N> {
    fn from(each: (isize, isize)) -> Rim<N> {
        Rim([each; N])
    }
}
impl<const N: usize> From<[(isize, isize); N]> for Rim<N> {
    fn from(pads: [(isize, isize); N]) -> Rim<N> {
        Rim(pads)
    }
}

/// A layer a line: dimensions, kind of rim, and what it is of.
macro_rules! pads {
    ($($layer:ident $n:literal $mode:expr, $what:literal;)*) => { $(
        #[doc = concat!("A rim of ", $what, " around the last ", $n, " dimensions: `[.., size] -> [.., before + size + after]` each (PyTorch's `", stringify!($layer), "`, which names the pads of the last dimension first).")]
        #[doc = "```"]
        #[doc = "# use chainrule_autograd::{DType, Tensor};"]
        #[doc = concat!("# use chainrule_nn::{", stringify!($layer), ", Layer};")]
        #[doc = concat!("let x = Tensor::ones(&[&[1, 2][..], &[4; ", $n, "]].concat(), DType::F32)?;")]
        #[doc = concat!("assert_eq!(", stringify!($layer), "::new((1, 2)).run(&x)?.dims(), [&[1, 2][..], &[7; ", $n, "]].concat());")]
        #[doc = "# Ok::<(), chainrule_nn::Error>(())"]
        #[doc = "```"]
        #[derive(Module, Clone, Copy, Debug, PartialEq)]
        pub struct $layer {
            /// Before and after each dimension.
            #[module(skip)]
            pub pads: [(isize, isize); $n],
        }

        impl $layer {
            /// With these pads.
            pub fn new(pads: impl Into<Rim<$n>>) -> $layer {
                $layer { pads: pads.into().0 }
            }
        }

        impl Layer for $layer {
            fn forward(&self, x: &Tensor) -> Result<Tensor> {
                Ok(observed(self, x.pad_with(&self.pads, $mode)?))
            }
        }
    )* };
}

pads! {
    ZeroPad1d 1 PadMode::default(), "zeros";
    ZeroPad2d 2 PadMode::default(), "zeros";
    ZeroPad3d 3 PadMode::default(), "zeros";
    ReflectionPad1d 1 PadMode::Reflect, "the elements at the edges, mirrored";
    ReflectionPad2d 2 PadMode::Reflect, "the elements at the edges, mirrored";
    ReflectionPad3d 3 PadMode::Reflect, "the elements at the edges, mirrored";
    ReplicationPad1d 1 PadMode::Replicate, "the last elements at the edges";
    ReplicationPad2d 2 PadMode::Replicate, "the last elements at the edges";
    ReplicationPad3d 3 PadMode::Replicate, "the last elements at the edges";
    CircularPad1d 1 PadMode::Circular, "the elements at the other end";
    CircularPad2d 2 PadMode::Circular, "the elements at the other end";
    CircularPad3d 3 PadMode::Circular, "the elements at the other end";
}

/// The same, of a number.
macro_rules! constant_pads {
    ($($layer:ident $n:literal, $what:literal;)*) => { $(
        #[doc = concat!("A rim of ", $what, " around the last ", $n, " dimensions: `[.., size] -> [.., before + size + after]` each (PyTorch's `", stringify!($layer), "`, which names the pads of the last dimension first).")]
        #[doc = "```"]
        #[doc = "# use chainrule_autograd::{DType, Tensor};"]
        #[doc = concat!("# use chainrule_nn::{", stringify!($layer), ", Layer};")]
        #[doc = concat!("let y = ", stringify!($layer), "::new(1, 7.0).run(&Tensor::zeros(&[2; ", $n, "], DType::F32)?)?;")]
        #[doc = "assert_eq!(y.to_vec::<f32>()?[0], 7.0);"]
        #[doc = "# Ok::<(), chainrule_nn::Error>(())"]
        #[doc = "```"]
        #[derive(Module, Clone, Copy, Debug, PartialEq)]
        pub struct $layer {
            /// Before and after each dimension.
            #[module(skip)]
            pub pads: [(isize, isize); $n],
            /// What the rim consists of.
            pub value: f64,
        }

        impl $layer {
            /// With these pads, of this number.
            pub fn new(pads: impl Into<Rim<$n>>, value: f64) -> $layer {
                $layer { pads: pads.into().0, value }
            }
        }

        impl Layer for $layer {
            fn forward(&self, x: &Tensor) -> Result<Tensor> {
                Ok(observed(self, x.pad(&self.pads, self.value)?))
            }
        }
    )* };
}

constant_pads! {
    ConstantPad1d 1, "one number";
    ConstantPad2d 2, "one number";
    ConstantPad3d 3, "one number";
}
