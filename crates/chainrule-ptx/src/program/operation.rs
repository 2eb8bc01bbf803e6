//! The instructions of the machine.
use super::*;
use crate::types::Type;

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
