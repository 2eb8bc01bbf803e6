//! What threads do together: barriers and the operations of a warp.
use super::{AtomicKind, Place, Register, Slot};
use crate::types::Type;

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
