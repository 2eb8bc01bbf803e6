//! What can go wrong when a model is adapted: one enum.

use thiserror::Error as ThisError;

/// An error of fine-tuning. The model is as it was before the call.
#[derive(Debug, Clone, PartialEq, ThisError)]
#[non_exhaustive]
pub enum Error {
    /// An error of the model, or of an operation in it.
    #[error(transparent)]
    Model(#[from] chainrule_nn::Error),
    /// An adapter's name that is not there, is taken, or cannot be used so.
    #[error("{op}: {message}")]
    Adapter {
        /// The operation.
        op: &'static str,
        /// What it got, what it expected, and what helps.
        message: String,
    },
    /// A merged model whose outputs differ from the adapted one's. Nothing was merged.
    #[error("merge: the merged model's outputs differ by {difference:e} from the adapted one's, expected at most {allowed:e}; nothing was merged")]
    Merge {
        /// The largest difference.
        difference: f64,
        /// What was allowed.
        allowed: f64,
    },
}

/// The result of fine-tuning.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error about an adapter.
    #[cold]
    pub fn adapter(op: &'static str, message: impl Into<String>) -> Error {
        Error::Adapter { op, message: message.into() }
    }
}

impl From<chainrule_autograd::Error> for Error {
    fn from(error: chainrule_autograd::Error) -> Error {
        Error::Model(error.into())
    }
}
