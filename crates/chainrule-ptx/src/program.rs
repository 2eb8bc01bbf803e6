//! Decoded kernels: what the machine executes.
//!
//! All operands are registers: constants and special values such as `%tid.x` are registers that are filled before a warp starts. The
//! instructions of a kernel and of all functions that it calls stand in one row; jumps are indices into it.
use crate::types::{Bank, Type};

/// An index into the bank that the operation's type names.
pub(crate) type Register = u32;

/// A register together with its bank, where the type does not say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Slot {
    pub bank: Bank,
    pub index: Register,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Guard {
    pub predicate: Register,
    pub negated: bool,
}

#[derive(Debug)]
pub(crate) struct Instruction {
    pub line: u32,
    pub guard: Option<Guard>,
    pub operation: Operation,
}

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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Space {
    Generic,
    Global,
    Shared,
    Local,
    Parameter,
}

/// An address of 32 lanes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub space: Space,
    pub base: Slot,
    pub offset: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AtomicKind {
    Add,
    Minimum,
    Maximum,
    And,
    Or,
    Xor,
    Exchange,
    CompareAndSwap,
    Increment,
    Decrement,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Atomic {
    pub kind: AtomicKind,
    pub ty: Type,
    pub place: Place,
    pub to: Option<Register>,
    pub b: Register,
    pub c: Option<Register>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BarrierKind {
    Sync,
    Arrive,
    /// With the count of true predicates, or their conjunction or disjunction, as the result.
    Count,
    All,
    Any,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Barrier {
    pub kind: BarrierKind,
    pub id: Register,
    pub count: Option<Register>,
    /// All lanes of a warp must come together.
    pub aligned: bool,
    /// The result and the predicate of a reduction.
    pub reduction: Option<(Slot, Register, bool)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ShuffleMode {
    Up,
    Down,
    Butterfly,
    Index,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VoteMode {
    All,
    Any,
    Uniform,
    Ballot,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MatrixType {
    F16,
    Bf16,
    Tf32,
}

#[derive(Debug)]
pub(crate) enum Collective {
    Barrier,
    Shuffle {
        mode: ShuffleMode,
        to: Register,
        valid: Option<Register>,
        a: Register,
        b: Register,
        c: Register,
    },
    Vote {
        mode: VoteMode,
        to: Slot,
        a: Register,
        negated: bool,
    },
    Match {
        all: bool,
        ty: Type,
        to: Register,
        valid: Option<Register>,
        a: Register,
    },
    Reduce {
        kind: AtomicKind,
        ty: Type,
        to: Register,
        a: Register,
    },
    Elect {
        to: Register,
        elected: Register,
    },
    LoadMatrix {
        to: Vec<Register>,
        place: Place,
        transposed: bool,
    },
    /// D = A B + C with m = 16, n = 8, fragments as the PTX manual lays them out.
    MultiplyMatrix {
        ty: MatrixType,
        k: usize,
        half_sum: bool,
        to: Vec<Register>,
        a: Vec<Register>,
        b: Vec<Register>,
        c: Vec<Register>,
    },
}

#[derive(Debug)]
pub(crate) enum Operation {
    Unary {
        op: Unary,
        ty: Type,
        to: Register,
        a: Register,
    },
    Binary {
        op: Binary,
        ty: Type,
        to: Register,
        a: Register,
        b: Register,
    },
    Ternary {
        op: Ternary,
        ty: Type,
        to: Register,
        a: Register,
        b: Register,
        c: Register,
    },
    InsertBits {
        ty: Type,
        to: Register,
        a: Register,
        b: Register,
        start: Register,
        length: Register,
    },
    /// `mul.wide` and `mad.wide`: the addend is as wide as the result.
    Widening {
        ty: Type,
        to: Slot,
        a: Register,
        b: Register,
        addend: Option<Register>,
    },
    Carry {
        op: Carried,
        ty: Type,
        to: Register,
        a: Register,
        b: Register,
        c: Option<Register>,
        carry_in: bool,
        carry_out: bool,
    },
    FloatUnary {
        op: FloatUnary,
        ty: Type,
        mode: FloatMode,
        to: Register,
        a: Register,
    },
    FloatBinary {
        op: FloatBinary,
        ty: Type,
        mode: FloatMode,
        to: Register,
        a: Register,
        b: Register,
    },
    Fma {
        ty: Type,
        mode: FloatMode,
        to: Register,
        a: Register,
        b: Register,
        c: Register,
    },
    Test {
        test: FloatTest,
        ty: Type,
        to: Register,
        a: Register,
    },
    Compare {
        comparison: Comparison,
        to: Register,
        complement: Option<Register>,
    },
    /// `set`: all ones or 1.0 where the comparison holds.
    Set {
        comparison: Comparison,
        to: Register,
        float: bool,
    },
    Select {
        wide: bool,
        to: Register,
        a: Register,
        b: Register,
        predicate: Register,
    },
    SelectSign {
        wide: bool,
        float: bool,
        to: Register,
        a: Register,
        b: Register,
        c: Register,
    },
    PredicateLogic {
        logic: Logic,
        to: Register,
        a: Register,
        b: Register,
    },
    PredicateNot {
        to: Register,
        a: Register,
    },
    PredicateMove {
        to: Register,
        a: Register,
    },
    Move {
        wide: bool,
        to: Register,
        a: Register,
    },
    Pack {
        part: Type,
        to: Slot,
        from: Vec<Register>,
    },
    Unpack {
        part: Type,
        to: Vec<Option<Register>>,
        from: Slot,
    },
    Convert(Conversion),
    /// Two f32 into the halves of a word, the first into the upper one.
    ConvertPair {
        ty: Type,
        rounding: Rounding,
        relu: bool,
        to: Register,
        high: Register,
        low: Register,
    },
    /// Between the generic window of a space and the space.
    ToGeneric {
        space: Space,
        to: Slot,
        a: Slot,
    },
    FromGeneric {
        space: Space,
        to: Slot,
        a: Slot,
    },
    /// Which space a generic address lies in.
    IsSpace {
        space: Space,
        to: Register,
        a: Register,
    },
    Clock {
        to: Slot,
    },
    Load {
        place: Place,
        ty: Type,
        to: Vec<Option<Slot>>,
        strong: bool,
    },
    Store {
        place: Place,
        ty: Type,
        from: Vec<Slot>,
        strong: bool,
    },
    Atomic(Atomic),
    CopyAsync {
        to: Place,
        from: Place,
        bytes: usize,
        source_bytes: Option<Register>,
        ignore: Option<Register>,
    },
    CommitCopies,
    /// Waits until at most so many of the lane's groups are pending; all copies if none is named.
    WaitCopies {
        pending: Option<usize>,
    },
    CopyLocal {
        to: usize,
        from: usize,
        bytes: usize,
    },
    Branch {
        target: usize,
        join: usize,
    },
    BranchTable {
        index: Register,
        targets: Vec<usize>,
        join: usize,
    },
    /// The callee's registers are unwritten again.
    Call {
        target: usize,
        function: usize,
    },
    Return,
    Exit,
    Barrier(Barrier),
    Collective {
        mask: Register,
        op: Collective,
    },
    ActiveMask {
        to: Register,
    },
    Trap,
    Nothing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Special {
    Thread(usize),
    BlockExtent(usize),
    Block(usize),
    GridExtent(usize),
    Lane,
    Warp,
    WarpCount,
    LaneMaskEqual,
    LaneMaskLess,
    LaneMaskLessEqual,
    LaneMaskGreater,
    LaneMaskGreaterEqual,
    DynamicShared,
    TotalShared,
    /// `%smid`, `%gridid` and others that are zero here.
    Zero,
    One,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Constant {
    Word(u32),
    Double(u64),
    /// The address of a module variable plus an offset.
    Variable(usize, u64),
}

/// A kernel's instructions with what they need.
#[derive(Debug, Default)]
pub(crate) struct Program {
    pub instructions: Vec<Instruction>,
    pub words: usize,
    pub doubles: usize,
    pub predicates: usize,
    pub constants: Vec<(Slot, Constant)>,
    pub specials: Vec<(Register, Special)>,
    /// The registers of every function, by number.
    pub function_registers: Vec<Vec<Slot>>,
    /// The module whose variables the constants name.
    pub module: u64,
    pub shared_bytes: usize,
    pub local_bytes: usize,
    pub max_threads: u32,
    /// Logarithm of the narrowest access to shared and to global memory: the granule of the race checks.
    pub shared_granule: u32,
    pub global_granule: u32,
    /// The text of the lines that the instructions stand on.
    pub lines: Vec<(u32, String)>,
}

/// Where lanes wait for each other when a branch has no common successor.
pub(crate) const NO_JOIN: usize = usize::MAX;
