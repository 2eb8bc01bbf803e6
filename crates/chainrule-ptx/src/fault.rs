//! What a program did wrong, and where.
use std::fmt;

/// The kinds of mistakes that a run finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// An access outside every allocation.
    OutOfBounds,
    /// An access to memory that was given back.
    Freed,
    /// A read of a byte or a register that nobody wrote.
    Uninitialised,
    /// An address that is no multiple of the access's width.
    Misaligned,
    /// Two threads of a block touch the same shared memory, at least one writing, with nothing that orders them.
    SharedRace,
    /// Two blocks touch the same global memory in one launch, at least one writing, not both by atomics.
    GlobalRace,
    /// A block's barrier that some of its threads never reach.
    DivergentBarrier,
    /// A `.sync` instruction whose mask does not name the lanes that take part.
    WrongMask,
    /// The instruction bound was reached.
    Endless,
    /// A launch that a device would refuse.
    BadLaunch,
    /// Something that this machine does not do.
    Unsupported,
    /// The kernel executed `trap`.
    Trap,
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FaultKind::OutOfBounds => "out of bounds",
            FaultKind::Freed => "use of freed memory",
            FaultKind::Uninitialised => "uninitialised read",
            FaultKind::Misaligned => "misaligned access",
            FaultKind::SharedRace => "race in shared memory",
            FaultKind::GlobalRace => "race between blocks in global memory",
            FaultKind::DivergentBarrier => "divergent barrier",
            FaultKind::WrongMask => "wrong lane mask",
            FaultKind::Endless => "endless loop",
            FaultKind::BadLaunch => "bad launch",
            FaultKind::Unsupported => "unsupported",
            FaultKind::Trap => "trap",
        })
    }
}

/// A mistake with its place. Accesses by the host have no kernel, line or thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What went wrong.
    pub kind: FaultKind,
    /// Name of the kernel; empty for accesses by the host.
    pub kernel: String,
    /// Line of the PTX text; 0 where there is none.
    pub line: u32,
    /// That line.
    pub statement: String,
    /// `ctaid` of the block.
    pub block: [u32; 3],
    /// `tid` of the thread.
    pub thread: [u32; 3],
    /// The address, where the mistake has one. Addresses in shared, local and parameter space are offsets.
    pub address: Option<u64>,
    /// The particulars.
    pub detail: String,
}

impl std::error::Error for Fault {}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.detail)?;
        if let Some(address) = self.address {
            write!(f, " (address {address:#x})")?;
        }
        if self.kernel.is_empty() {
            return Ok(());
        }
        write!(f, "\n  in kernel {}", self.kernel)?;
        if self.line != 0 {
            let ([bx, by, bz], [tx, ty, tz]) = (self.block, self.thread);
            write!(f, ", block ({bx}, {by}, {bz}), thread ({tx}, {ty}, {tz})\n  at line {}: {}", self.line, self.statement)?;
        }
        Ok(())
    }
}

/// A mistake whose place is not known yet; the machine adds kernel, block and line.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub kind: FaultKind,
    pub lane: Option<u32>,
    pub address: Option<u64>,
    pub detail: String,
}

impl Problem {
    pub fn new(kind: FaultKind, detail: impl Into<String>) -> Problem {
        Problem { kind, lane: None, address: None, detail: detail.into() }
    }

    pub fn at(kind: FaultKind, address: u64, detail: impl Into<String>) -> Problem {
        Problem { address: Some(address), ..Problem::new(kind, detail) }
    }

    /// Says which lane it was, unless that is known.
    pub fn lane(mut self, lane: usize) -> Problem {
        self.lane.get_or_insert(lane as u32);
        self
    }
}

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Fault {
        Fault {
            kind: problem.kind,
            kernel: String::new(),
            line: 0,
            statement: String::new(),
            block: [0; 3],
            thread: [0; 3],
            address: problem.address,
            detail: problem.detail,
        }
    }
}

/// A PTX text that cannot be run: the line, the statement and what about it is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("PTX line {line}: {message}\n  {statement}")]
pub struct ParseError {
    /// Line of the text, from 1.
    pub line: u32,
    /// That line.
    pub statement: String,
    /// What was wrong.
    pub message: String,
}
