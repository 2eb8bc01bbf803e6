//! What a rule sees of its operation when the backward pass reaches it.

use crate::recorder::Recorder;
use crate::recording::{Node, NodeId, Recording};
use crate::{Array, DType, Error, Result, Tensor};
use std::sync::Arc;

/// Which arrays of an operation its rule needs later: inputs by place (the first 31), and the output.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Keep(pub(crate) u32);

impl Keep {
    /// Nothing.
    pub const NONE: Keep = Keep(0);
    /// The first input.
    pub const FIRST: Keep = Keep(1);
    /// The second input.
    pub const SECOND: Keep = Keep(2);
    /// All inputs (of an operation with at most 31).
    pub const INPUTS: Keep = Keep(OUTPUT - 1);
    /// The output.
    pub const OUTPUT: Keep = Keep(OUTPUT);

    /// Both what this and what the other keeps.
    pub const fn and(self, other: Keep) -> Keep {
        Keep(self.0 | other.0)
    }
    /// This, if the condition holds.
    pub const fn when(self, condition: bool) -> Keep {
        if condition { self } else { Keep::NONE }
    }
    /// Input `i`; nothing beyond the 31st.
    pub const fn input(i: usize) -> Keep {
        if i < 31 { Keep(1 << i) } else { Keep::NONE }
    }

    pub(crate) fn has_input(self, i: usize) -> bool {
        i < 31 && self.0 >> i & 1 == 1
    }
    pub(crate) fn has_output(self) -> bool {
        self.0 & OUTPUT != 0
    }
}

const OUTPUT: u32 = 1 << 31;

/// One operation in a backward pass: its gradient, and what was kept of it.
///
/// [`grad`](Pass::grad), [`input`](Pass::input) and [`output`](Pass::output) lie on the tape only when the pass is itself [`recorded`](Pass::recorded), for a second derivative.
/// So a rule written in operations on tensors serves both; a rule may use a fused kernel on arrays when the pass is not recorded.
pub struct Pass<'a> {
    pub(crate) grad: &'a Tensor,
    /// By each output, of an operation that has several.
    pub(crate) grads: &'a [Option<Tensor>],
    pub(crate) recording: &'a Recording,
    pub(crate) id: NodeId,
    /// The tape to record on.
    pub(crate) recorder: Option<&'a Arc<Recorder>>,
    /// Which nodes a partial pass leads to; all when there is no list.
    pub(crate) wanted: Option<&'a [bool]>,
}

impl<'a> Pass<'a> {
    fn node(&self) -> &'a Node {
        &self.recording.nodes[self.id.index()]
    }
    pub(crate) fn source(&self, i: usize) -> Option<NodeId> {
        let node = self.node();
        if i < node.inputs as usize { self.recording.sources[node.first_source + i] } else { None }
    }

    /// The operation's name.
    pub fn name(&self) -> &'static str {
        self.node().name
    }
    /// The gradient of the result by the operation's output, of the output's shape. A rule of [`record_outputs`](Tensor::record_outputs) gets those of all outputs as an argument.
    pub fn grad(&self) -> &'a Tensor {
        self.grad
    }
    /// Whether input `i` needs a gradient. What is returned for one that needs none is dropped.
    pub fn needs(&self, i: usize) -> bool {
        self.source(i).is_some_and(|n| self.wanted.is_none_or(|w| w[n.index()]))
    }
    /// `Some(f()?)` if input `i` needs a gradient.
    ///
    /// # Errors
    /// Those of `f`.
    pub fn when(&self, i: usize, f: impl FnOnce() -> Result<Tensor>) -> Result<Option<Tensor>> {
        if self.needs(i) { f().map(Some) } else { Ok(None) }
    }
    /// Whether this pass is recorded itself.
    pub fn recorded(&self) -> bool {
        self.recorder.is_some()
    }
    /// The extents of input `i`, which must be one that needs a gradient (others leave no trace: an empty slice).
    pub fn input_dims(&self, i: usize) -> &'a [usize] {
        self.source(i).map_or(&[], |n| self.recording.nodes[n.index()].shape.dims())
    }
    /// The element type of input `i`, which must be one that needs a gradient (that of the gradient otherwise).
    pub fn input_dtype(&self, i: usize) -> DType {
        self.source(i).map_or(self.grad.dtype(), |n| self.recording.nodes[n.index()].dtype)
    }

    /// The array of input `i`.
    ///
    /// # Errors
    /// It was not kept.
    pub fn input_array(&self, i: usize) -> Result<&'a Array> {
        let node = self.node();
        if !node.keep.has_input(i) || i >= node.inputs as usize {
            return Err(Error::NotKept { op: node.name, what: format!("input {i}") });
        }
        let before = (node.keep.0 & ((1 << i) - 1)).count_ones() as usize;
        Ok(&self.recording.kept[node.first_kept + before])
    }
    /// The array of the output.
    ///
    /// # Errors
    /// It was not kept.
    pub fn output_array(&self) -> Result<&'a Array> {
        let node = self.node();
        if !node.keep.has_output() {
            return Err(Error::NotKept { op: node.name, what: "the output".into() });
        }
        Ok(&self.recording.kept[node.first_kept + node.kept_inputs()])
    }
    /// Input `i`.
    ///
    /// # Errors
    /// It was not kept.
    pub fn input(&self, i: usize) -> Result<Tensor> {
        Ok(self.place(self.input_array(i)?, self.source(i)))
    }
    /// The output.
    ///
    /// # Errors
    /// It was not kept.
    pub fn output(&self) -> Result<Tensor> {
        Ok(self.place(self.output_array()?, Some(self.id)))
    }

    /// Numbers of the rule's own, where the pass's tensors stand.
    pub fn constant(&self, array: Array) -> Tensor {
        self.place(&array, None)
    }

    fn place(&self, array: &Array, node: Option<NodeId>) -> Tensor {
        match self.recorder {
            Some(recorder) => Tensor::on(array.clone(), recorder, node, recorder.training),
            None => Tensor::off(array.clone()),
        }
    }
}
