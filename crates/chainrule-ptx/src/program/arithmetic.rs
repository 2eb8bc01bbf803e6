//! What arithmetic instructions compute.
use super::{Register, Slot};
use crate::types::Type;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unary {
    Not,
    Negate,
    Absolute,
    CountOnes,
    LeadingZeros,
    Reverse,
    /// Position of the highest bit that differs from the sign; as a distance from the top if `true`.
    FindHigh(bool),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Binary {
    Add,
    AddSaturating,
    Subtract,
    SubtractSaturating,
    Multiply,
    MultiplyHigh,
    Multiply24,
    Multiply24High,
    Divide,
    Remainder,
    Minimum,
    Maximum,
    And,
    Or,
    Xor,
    ShiftLeft,
    ShiftRight,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Permute {
    Generic,
    Forward4,
    Backward4,
    Replicate8,
    EdgeLeft,
    EdgeRight,
    Replicate16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ternary {
    MultiplyAdd,
    MultiplyHighAdd,
    Multiply24Add,
    Multiply24HighAdd,
    AbsoluteDifference,
    ExtractBits,
    Logic(u8),
    /// Shift of a double word; the amount is clamped to 32 if `true`, taken modulo 32 otherwise.
    FunnelLeft(bool),
    FunnelRight(bool),
    Permute(Permute),
    /// Four products of bytes, signed or not on either side.
    Dot4 {
        a_signed: bool,
        b_signed: bool,
    },
}

/// Which part of a multiply-add with carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carried {
    Add,
    Subtract,
    MultiplyAddLow,
    MultiplyAddHigh,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rounding {
    Nearest,
    Zero,
    Down,
    Up,
}

/// How a floating-point operation treats its result, and subnormal numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FloatMode {
    pub rounding: Rounding,
    pub flush: bool,
    pub saturate: bool,
    /// `.relu` of fma in half precision.
    pub relu: bool,
}

impl FloatMode {
    /// Round to nearest and nothing else.
    pub const PLAIN: FloatMode = FloatMode { rounding: Rounding::Nearest, flush: false, saturate: false, relu: false };
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FloatUnary {
    Negate,
    Absolute,
    Reciprocal,
    SquareRoot,
    ReciprocalRoot,
    Exp2,
    Log2,
    Sine,
    Cosine,
    Tanh,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FloatBinary {
    Add,
    Subtract,
    Multiply,
    Divide,
    Minimum,
    Maximum,
    MinimumNan,
    MaximumNan,
    CopySign,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FloatTest {
    Finite,
    Infinite,
    Number,
    NotANumber,
    Normal,
    Subnormal,
}

/// A comparison; the second value says that it also holds between unordered numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Relation {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Ordered,
    Unordered,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Logic {
    And,
    Or,
    Xor,
}

/// `setp.relation.logic p, a, b, c`: the comparison joined with a predicate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Joined {
    pub logic: Logic,
    pub predicate: Register,
    pub negated: bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Comparison {
    pub relation: Relation,
    /// `.equ`, `.ltu` and so on: true if either number is NaN.
    pub or_unordered: bool,
    pub ty: Type,
    pub flush: bool,
    pub a: Register,
    pub b: Register,
    pub joined: Option<Joined>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConvertRounding {
    /// None is named, or the result is exact.
    Exact,
    Float(Rounding),
    /// To an integral value.
    Integer(Rounding),
    /// `.rna`: to nearest, ties away (tf32).
    NearestAway,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Conversion {
    pub to_type: Type,
    pub from_type: Type,
    pub rounding: ConvertRounding,
    pub flush: bool,
    pub saturate: bool,
    pub relu: bool,
    pub to: Slot,
    pub from: Slot,
}
