//! What can go wrong here.

use thiserror::Error as ThisError;

/// An error of the training helpers.
#[derive(Debug, ThisError)]
#[non_exhaustive]
pub enum Error {
    /// An operation on tensors.
    #[error(transparent)]
    Tensor(#[from] chainrule_autograd::Error),
    /// A file that could not be written.
    #[error("{path}: {message}")]
    File {
        /// The file.
        path: String,
        /// Why.
        message: String,
    },
}

/// The result of a training helper.
pub type Result<T, E = Error> = std::result::Result<T, E>;
