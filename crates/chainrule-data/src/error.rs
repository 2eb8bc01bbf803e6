//! What can go wrong with data: one enum, whose messages name the file or the operation, what it got, what it expected and, where there is one, a hint.

use std::path::{Path, PathBuf};
use thiserror::Error as ThisError;

/// An error of a data set or its loader.
#[derive(Debug, ThisError)]
#[non_exhaustive]
pub enum Error {
    /// A file that the system does not let us read.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file whose contents are not what they should be.
    #[error("{}: {message}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What it holds, what was expected, a hint.
        message: String,
    },
    /// An argument outside its range.
    #[error("{op}: {message}")]
    Value {
        /// The operation.
        op: &'static str,
        /// What it got, what it expected, a hint.
        message: String,
    },
    /// A data set that panicked while it made a batch.
    #[error("data set: panicked while it made a batch: {message}")]
    Panic {
        /// What the panic said.
        message: String,
    },
    /// An error of an operation on tensors.
    #[error(transparent)]
    Tensor(#[from] chainrule_autograd::Error),
    /// An error of a user's own data set or transform; see [`Error::other`].
    #[error(transparent)]
    Other(Box<dyn std::error::Error + Send + Sync>),
}

/// The result of an operation on data.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Wraps the error of a user's own data set or transform.
    /// ```
    /// use chainrule_data::Error;
    /// assert_eq!(Error::other("record 7 has no label").to_string(), "record 7 has no label");
    /// ```
    #[cold]
    pub fn other(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        Error::Other(error.into())
    }
    #[cold]
    pub(crate) fn file(path: &Path, source: std::io::Error) -> Error {
        Error::File { path: path.into(), source }
    }
    #[cold]
    pub(crate) fn format(path: &Path, message: impl Into<String>) -> Error {
        Error::Format { path: path.into(), message: message.into() }
    }
    #[cold]
    pub(crate) fn value(op: &'static str, message: impl Into<String>) -> Error {
        Error::Value { op, message: message.into() }
    }
}

impl From<chainrule_core::Error> for Error {
    fn from(error: chainrule_core::Error) -> Error {
        Error::Tensor(error.into())
    }
}
