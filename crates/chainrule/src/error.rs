//! The error of a whole program: any of the crates' own.

use thiserror::Error as ThisError;

/// Any error of the library, for programs that use several of its parts.
#[derive(Debug, ThisError)]
#[non_exhaustive]
pub enum Error {
    /// From operations and the tape.
    #[error(transparent)]
    Tensor(#[from] chainrule_autograd::Error),
    /// From models and their files.
    #[error(transparent)]
    Model(#[from] chainrule_nn::Error),
    /// From optimizers.
    #[error(transparent)]
    Optimizer(#[from] chainrule_optim::Error),
    /// From data sets.
    #[cfg(feature = "data")]
    #[error(transparent)]
    Data(#[from] chainrule_data::Error),
    /// From fine-tuning.
    #[cfg(feature = "finetune")]
    #[error(transparent)]
    Finetune(#[from] chainrule_finetune::Error),
    /// From training helpers.
    #[cfg(feature = "train")]
    #[error(transparent)]
    Train(#[from] chainrule_train::Error),
}

impl From<chainrule_core::Error> for Error {
    fn from(error: chainrule_core::Error) -> Error {
        Error::Tensor(error.into())
    }
}

/// The result of a program's part that uses the library.
pub type Result<T, E = Error> = std::result::Result<T, E>;
