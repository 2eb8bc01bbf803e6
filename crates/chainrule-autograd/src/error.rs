//! What can go wrong on the tape: one enum, whose messages name the operation and the fix.

use crate::ParamId;
use thiserror::Error as ThisError;

/// An error of the tape or of an operation.
#[derive(Debug, Clone, PartialEq, ThisError)]
#[non_exhaustive]
pub enum Error {
    /// Shapes, element types, values and memory: the core's errors.
    #[error(transparent)]
    Core(#[from] chainrule_core::Error),
    /// Operands that were recorded on different tapes.
    #[error("{op}: the operands lie on two tapes; bring one over as a constant with tape.input(&x)")]
    TwoTapes {
        /// The operation.
        op: &'static str,
    },
    /// Trainable parameters were used off the tape, and the result meets a tape.
    #[error(
        "{op}: one operand was computed from trainable parameters off the tape, so their gradient would be lost; wrap that model's input in tape.input(&x), or declare the operand a constant with tape.input(&operand)"
    )]
    OffTapeGradient {
        /// The operation.
        op: &'static str,
    },
    /// Nothing was recorded, because no input was on a tape.
    #[error("{op}: this tensor is not on a tape, so nothing was recorded; wrap the model's input: model.forward(&tape.input(&x))")]
    OffTape {
        /// The operation.
        op: &'static str,
    },
    /// A backward pass has already emptied the tape.
    #[error("{op}: an earlier backward released this tape's recording; use backward_keeping for all passes but the last")]
    Spent {
        /// The operation.
        op: &'static str,
    },
    /// The `Tape` is gone, and its recording with it.
    #[error("{op}: the Tape was dropped, and its recording with it; keep it in a variable until backward: let tape = Tape::training(&mut rng)")]
    Dropped {
        /// The operation.
        op: &'static str,
    },
    /// A pass over this tape runs inside another one, or on two threads at once.
    #[error("{op}: another backward pass over this tape is still running; finish it first")]
    Running {
        /// The operation.
        op: &'static str,
    },
    /// The tensor is a constant of its tape.
    #[error(
        "{op}: nothing that this tensor depends on needs a gradient; are all parameters frozen, or was it detached? To differentiate by an input use tape.watch(&x)"
    )]
    Constant {
        /// The operation.
        op: &'static str,
    },
    /// The differentiated tensor does not depend on this one.
    #[error("gradients_of: the result does not depend on tensor {position} of the list")]
    Unreached {
        /// Its place in the list.
        position: usize,
    },
    /// A parameter with two different values on one tape.
    #[error("{id} has two different values on one tape, as a model and its clone after training have; independent() gives a copy new identities")]
    TwoValues {
        /// The parameter.
        id: ParamId,
    },
    /// An operation that has no derivative, or none of the order asked for.
    #[error("{op}: no gradient passes here: {reason}")]
    NotDifferentiable {
        /// The operation.
        op: &'static str,
        /// Why, and what to do instead.
        reason: &'static str,
    },
    /// A rule returned a tensor that it had captured, or computed from one.
    #[error("{op}: its rule captured a tensor of the tape; list it in Keep and read it with pass.input(i) or pass.output()")]
    Captured {
        /// The operation.
        op: &'static str,
    },
    /// A rule asks for an array that was not kept for it.
    #[error("{op}: its rule reads {what}, which was not kept; list it in Keep when recording")]
    NotKept {
        /// The operation.
        op: &'static str,
        /// What it asked for.
        what: String,
    },
    /// A rule returned a gradient that does not fit.
    #[error("{op}: its rule returned a gradient for input {input} of {got}, expected {expected}")]
    Gradient {
        /// The operation.
        op: &'static str,
        /// The input's place.
        input: usize,
        /// Element type and shape of the gradient.
        got: String,
        /// Element type and shape of the input.
        expected: String,
    },
    /// Numerical and analytic derivative differ.
    #[error("gradcheck: {0}")]
    Mismatch(String),
    /// An error at a parameter, for the model to name by path.
    #[error("{id}: {source}")]
    At {
        /// The parameter.
        id: ParamId,
        /// What went wrong.
        source: Box<Error>,
    },
}

/// The result of an operation on tensors.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A shape error of an operation.
    #[cold]
    pub fn shape(op: &'static str, message: impl Into<String>) -> Error {
        Error::Core(chainrule_core::Error::shape(op, message))
    }
    /// A value error of an operation.
    #[cold]
    pub fn value(op: &'static str, message: impl Into<String>) -> Error {
        Error::Core(chainrule_core::Error::value(op, message))
    }
    /// The same error, placed at a parameter.
    #[cold]
    pub fn at(self, id: ParamId) -> Error {
        Error::At { id, source: Box::new(self) }
    }
}
