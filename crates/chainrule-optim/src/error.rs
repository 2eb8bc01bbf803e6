//! What can go wrong in a step: one enum, whose messages name parameters by path.

use chainrule_core::DType;
use thiserror::Error as ThisError;

/// An error of an optimizer. Neither the model nor the optimizer has changed.
#[derive(Debug, Clone, PartialEq, ThisError)]
#[non_exhaustive]
pub enum Error {
    /// A pattern that cannot be read or that matches nothing.
    #[error(transparent)]
    Model(#[from] chainrule_nn::Error),
    /// A trainable parameter without a gradient.
    #[error(
        "step: \"{path}\" is trainable and got no gradient ({missing} of {trainable} trainable parameters got none); was it used in the loss, and are these the gradients of this model? Freeze it, or allow it with missing_as_zero(\"{path}\")"
    )]
    NoGradient {
        /// The first such parameter.
        path: String,
        /// How many there are.
        missing: usize,
        /// Of how many.
        trainable: usize,
    },
    /// A gradient that does not fit its parameter.
    #[error("step: the gradient of \"{path}\" is {got}, expected {expected}")]
    Gradient {
        /// The parameter.
        path: String,
        /// Element type and shape of the gradient.
        got: String,
        /// Element type and shape of the parameter.
        expected: String,
    },
    /// A parameter whose numbers are too coarse, or too whole, for small steps.
    #[error("step: \"{path}\" is {got}, expected f32 or f64; cast the model, or freeze the parameter")]
    ElementType {
        /// The parameter.
        path: String,
        /// Its element type.
        got: DType,
    },
    /// A parameter or buffer that stands in the model twice.
    #[error(
        "step: \"{first}\" and \"{second}\" are the same {what}, stored twice, which one step would tear apart; store it once and use it twice, or give one of the two an identity of its own with independent()"
    )]
    Twice {
        /// Parameter or buffer.
        what: &'static str,
        /// Its first path.
        first: String,
        /// Its second path.
        second: String,
    },
    /// An infinity or NaN.
    #[error(
        "step: {what} of \"{path}\" is not finite; lower the learning rate, clip, or look for log(0) and division by 0 (skip_non_finite() passes over such steps)"
    )]
    NonFinite {
        /// The gradient or the buffer update.
        what: &'static str,
        /// The first parameter or buffer concerned.
        path: String,
    },
    /// Gradients that this optimizer has seen.
    #[error("step: the update of the buffer \"{path}\" has been applied before; take a step once with the gradients of a backward pass, or add them up first")]
    AppliedBefore {
        /// The buffer.
        path: String,
    },
    /// A hyper-parameter outside its range.
    #[error("{rule}: {message}")]
    Setting {
        /// The rule.
        rule: &'static str,
        /// What it got, what it expected.
        message: String,
    },
    /// A saved state that does not fit.
    #[error("state: {0}")]
    State(String),
    /// A model that an average cannot follow.
    #[error("average: \"{path}\" {message}")]
    Average {
        /// The parameter or buffer.
        path: String,
        /// What it got, what it expected.
        message: String,
    },
    /// No memory, or an error of the rule, at this parameter or buffer.
    #[error("step: \"{path}\": {source}")]
    At {
        /// The parameter or buffer.
        path: String,
        /// What went wrong.
        source: chainrule_core::Error,
    },
    /// An error of the tape's buffer updates at this buffer.
    #[error("step: \"{path}\": {source}")]
    Update {
        /// The buffer.
        path: String,
        /// What went wrong.
        source: chainrule_autograd::Error,
    },
    /// A device that fails, or has not what a step needs.
    #[error(transparent)]
    Device(#[from] chainrule_core::Error),
    /// An error of the function that computes a captured step's loss.
    #[error(transparent)]
    Function(chainrule_autograd::Error),
    /// A model that shows other parameters for writing than for reading.
    #[error("step: visit shows \"{path}\", visit_mut does not; both must walk the same parameters in the same way")]
    Hidden {
        /// The parameter.
        path: String,
    },
}

/// The result of an optimizer's operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;
