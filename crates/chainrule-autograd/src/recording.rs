//! The Wengert list: operations in order of creation, and what their rules keep.

use crate::checkpoint::Replay;
use crate::pass::{Keep, Pass};
use crate::scan::Slots;
use crate::{Array, DType, Result, Shape, Tensor};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The identity of a parameter or buffer: clones share it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ParamId(u64);

impl ParamId {
    /// An identity that no other parameter of this process has.
    pub fn fresh() -> ParamId {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        ParamId(NEXT.fetch_add(1, Relaxed))
    }
}

impl std::fmt::Display for ParamId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "parameter #{}", self.0)
    }
}

/// A node's place on its tape.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct NodeId(NonZeroU32);

impl NodeId {
    pub(crate) fn new(index: usize) -> Option<NodeId> {
        u32::try_from(index + 1).ok().and_then(NonZeroU32::new).map(NodeId)
    }
    pub(crate) fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// Writes the gradients of an operation's inputs into the slots.
pub(crate) type Rule = Box<dyn Fn(&Pass, &mut [Option<Tensor>]) -> Result<()> + Send + Sync>;

pub(crate) enum Kind {
    Parameter(ParamId),
    Watched,
    Operation(Rule),
    /// An operation of several outputs, which stand behind it as this many [`Output`](Kind::Output)s.
    Several(Rule, u32),
    /// One of several outputs; its gradient waits for the operation.
    Output,
    /// A part that is run again in the backward pass, with so many [`Output`](Kind::Output)s behind it.
    Checkpoint(Box<Replay>, u32),
    /// In such a run, what comes from outside; its gradient stays in its slot.
    Input,
}

/// An entry of the recording. What it reads stands in the recording's other lists, one after the other.
pub(crate) struct Node {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// Of the output.
    pub(crate) shape: Shape,
    pub(crate) dtype: DType,
    /// Whether inputs were broadcast, so that their gradients are summed to their shapes.
    pub(crate) broadcasts: bool,
    pub(crate) keep: Keep,
    pub(crate) inputs: u32,
    pub(crate) first_source: usize,
    pub(crate) first_kept: usize,
}

impl Node {
    pub(crate) fn kept_inputs(&self) -> usize {
        (self.keep.0 & Keep::INPUTS.0).count_ones() as usize
    }
}

/// The Wengert list.
#[derive(Default)]
pub(crate) struct Recording {
    pub(crate) nodes: Vec<Node>,
    /// The nodes that inputs come from; constants come from none.
    pub(crate) sources: Vec<Option<NodeId>>,
    pub(crate) kept: Vec<Array>,
    /// What a pass works with; empty between passes.
    pub(crate) slots: Slots,
    pub(crate) out: Vec<Option<Tensor>>,
}

/// Longer lists are not kept for another tape.
const LARGEST_SPARE: usize = 1 << 14;

impl Recording {
    /// Frees what it holds, and keeps its lists unless they are very long.
    pub(crate) fn clear(&mut self) {
        if self.nodes.capacity().max(self.sources.capacity()).max(self.kept.capacity()) > LARGEST_SPARE {
            *self = Recording::default();
        }
        self.nodes.clear();
        self.sources.clear();
        self.kept.clear();
    }

    /// Frees all from node `index` on.
    pub(crate) fn truncate(&mut self, index: usize) {
        if let Some(node) = self.nodes.get(index) {
            let (sources, kept) = (node.first_source, node.first_kept);
            self.nodes.truncate(index);
            self.sources.truncate(sources);
            self.kept.truncate(kept);
        }
    }
}
