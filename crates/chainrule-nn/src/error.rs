//! What can go wrong with a model as a whole: one enum, whose messages name paths.

use crate::LoadReport;
use thiserror::Error as ThisError;

/// An error of a model.
#[derive(Debug, Clone, PartialEq, ThisError)]
#[non_exhaustive]
pub enum Error {
    /// An error of an operation or of the tape.
    #[error(transparent)]
    Autograd(#[from] chainrule_autograd::Error),
    /// An error of an operation, inside the layer at this path.
    #[error("{path}: {source}")]
    Located {
        /// The layer's path in the model.
        path: String,
        /// What went wrong.
        source: chainrule_autograd::Error,
    },
    /// A pattern that selects nothing, which a spelling mistake would pass over in silence.
    #[error("{op}: the pattern \"{pattern}\" matches no {what}{}", suggestion(near))]
    NoMatch {
        /// The operation.
        op: &'static str,
        /// The pattern.
        pattern: String,
        /// What it was to match.
        what: &'static str,
        /// The nearest there is.
        near: Vec<String>,
    },
    /// A pattern that cannot be read.
    #[error("the pattern \"{pattern}\" {reason}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Two parameters or buffers that a walk shows at one path.
    #[error("two parameters or buffers stand at the path \"{path}\"; give one another name with #[module(name = \"…\")]")]
    TwoAtOnePath {
        /// The path.
        path: String,
    },
    /// A state dict or file that does not fit the model. Nothing was changed.
    #[error("load: the names or shapes do not fit the model, and nothing was changed: {0}")]
    Load(Box<LoadReport>),
    /// A file that cannot be read or written, or is damaged.
    #[error("{path} {reason}")]
    File {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
}

/// The result of an operation on a model.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error about a file.
    #[cold]
    pub fn file(path: &std::path::Path, reason: impl Into<String>) -> Error {
        Error::File { path: path.display().to_string(), reason: reason.into() }
    }
}

impl From<chainrule_core::Error> for Error {
    fn from(error: chainrule_core::Error) -> Error {
        Error::Autograd(error.into())
    }
}

fn suggestion(near: &[String]) -> String {
    match near {
        [] => String::new(),
        names => format!("; near it are \"{}\"", names.join("\", \"")),
    }
}
