//! Element types.

use half::{bf16, f16};

/// The type of an array's elements.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum DType {
    /// 32-bit floating point: the type of training.
    F32,
    /// 64-bit floating point: the type of proofs.
    F64,
    /// 64-bit signed integer: indices and labels.
    I64,
    /// 8-bit unsigned integer: pixels, and truth values (0 is false).
    U8,
    /// 16-bit "brain" floating point (8 exponent bits): storage, converted by `cast`.
    BF16,
    /// 16-bit IEEE floating point: storage, converted by `cast`.
    F16,
}

impl DType {
    /// Bytes of one element.
    pub const fn size(self) -> usize {
        match self {
            DType::F64 | DType::I64 => 8,
            DType::F32 => 4,
            DType::BF16 | DType::F16 => 2,
            DType::U8 => 1,
        }
    }
    /// Whether elements are floating-point numbers.
    pub const fn is_float(self) -> bool {
        !matches!(self, DType::I64 | DType::U8)
    }
    /// The name in messages and files: `f32`, `bf16`, …
    pub const fn name(self) -> &'static str {
        match self {
            DType::F32 => "f32",
            DType::F64 => "f64",
            DType::I64 => "i64",
            DType::U8 => "u8",
            DType::BF16 => "bf16",
            DType::F16 => "f16",
        }
    }
}

impl std::fmt::Display for DType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

mod sealed {
    pub trait Sealed {}
}

/// A Rust type that arrays can hold. Any bit pattern is a valid value, which lets recycled memory be handed out as it is.
pub trait Element: sealed::Sealed + Copy + Send + Sync + PartialOrd + std::fmt::Debug + num_traits::Zero + num_traits::One + 'static {
    /// The matching run-time type.
    const DTYPE: DType;
    /// From a double, rounded; integers saturate, as `as` does.
    fn from_f64(x: f64) -> Self;
    /// To a double.
    fn to_f64(self) -> f64;
}

macro_rules! element {
    ($($t:ty, $dtype:ident, $from:expr, $to:expr;)*) => {
        $(impl sealed::Sealed for $t {}
        impl Element for $t {
            const DTYPE: DType = DType::$dtype;
            #[inline(always)]
            fn from_f64(x: f64) -> Self {
                $from(x)
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                $to(self)
            }
        })*
    };
}
element! {
    f32, F32, |x| x as f32, |x| x as f64;
    f64, F64, |x| x, |x| x;
    i64, I64, |x| x as i64, |x| x as f64;
    u8, U8, |x| x as u8, |x| x as f64;
    bf16, BF16, bf16::from_f64, bf16::to_f64;
    f16, F16, f16::from_f64, f16::to_f64;
}

/// Runs the body with `$t` standing for the Rust type of a run-time element type.
macro_rules! with_element {
    ($dtype:expr, $t:ident => $body:expr) => {
        match $dtype {
            $crate::dtype::DType::F32 => {
                type $t = f32;
                $body
            }
            $crate::dtype::DType::F64 => {
                type $t = f64;
                $body
            }
            $crate::dtype::DType::I64 => {
                type $t = i64;
                $body
            }
            $crate::dtype::DType::U8 => {
                type $t = u8;
                $body
            }
            $crate::dtype::DType::BF16 => {
                type $t = half::bf16;
                $body
            }
            $crate::dtype::DType::F16 => {
                type $t = half::f16;
                $body
            }
        }
    };
}

pub(crate) use with_element;
