//! What can go wrong in the core: one enum, whose messages name the operation, what it got, what it expected and, where there is one, a hint.

use crate::dtype::DType;
use thiserror::Error as ThisError;

/// An error of the tensor core.
#[derive(Debug, Clone, PartialEq, ThisError)]
#[non_exhaustive]
pub enum Error {
    /// Shapes that do not fit each other or the operation.
    #[error("{op}: {message}")]
    Shape {
        /// The operation.
        op: &'static str,
        /// What it got, what it expected, a hint.
        message: String,
    },
    /// An element type that the operation does not take.
    #[error("{op}: got {got}, expected {expected}; convert with cast")]
    DType {
        /// The operation.
        op: &'static str,
        /// The element type it got.
        got: DType,
        /// What it takes.
        expected: &'static str,
    },
    /// An argument or an element outside its range.
    #[error("{op}: {message}")]
    Value {
        /// The operation.
        op: &'static str,
        /// What it got, what it expected, a hint.
        message: String,
    },
    /// A device that is missing or fails, an operation that it has not, or arrays on several devices.
    #[error("{op}: {message}")]
    Device {
        /// The operation.
        op: &'static str,
        /// What is missing or failed, a hint.
        message: String,
    },
    /// Memory that the system or the limit of [`crate::memory::set_limit`] refuses.
    #[error("memory: {requested} bytes asked for with {live} in use; {reason}")]
    Memory {
        /// Bytes asked for.
        requested: usize,
        /// Bytes in use by arrays at that moment.
        live: usize,
        /// Who refused.
        reason: String,
    },
}

/// The result of an operation of the core.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A shape error.
    #[cold]
    pub fn shape(op: &'static str, message: impl Into<String>) -> Error {
        Error::Shape { op, message: message.into() }
    }
    /// A value error.
    #[cold]
    pub fn value(op: &'static str, message: impl Into<String>) -> Error {
        Error::Value { op, message: message.into() }
    }
    /// A device error.
    #[cold]
    pub fn device(op: &'static str, message: impl Into<String>) -> Error {
        Error::Device { op, message: message.into() }
    }
}
