//! [`Outcome`]: what personalising came to, with its figures.

use crate::Adapted;
use std::fmt;
use std::time::Duration;

/// What [`Personalise::run`](crate::Personalise::run) came to.
#[derive(Clone)]
pub enum Outcome<M> {
    /// It is better.
    Accepted {
        /// The model that was given with the new adapter beside its others, active and no longer trained. The base's numbers are shared.
        model: Adapted<M>,
        /// What it cost and brought.
        figures: Figures,
    },
    /// It is not, or the budget did not suffice. There is nothing to undo.
    Rejected {
        /// Why.
        reason: Reason,
        /// What it cost and brought.
        figures: Figures,
    },
}

/// Why an adapter was not kept.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Reason {
    /// No epoch's score was above the one before by the margin.
    NotBetter {
        /// The margin.
        margin: f64,
    },
    /// The time ran out before one epoch was trained and scored.
    OutOfTime {
        /// The budget.
        budget: Duration,
    },
    /// Training took more memory than allowed.
    OverMemory {
        /// The bytes that were live beside those at the start.
        used: usize,
        /// The budget.
        budget: usize,
    },
    /// A loss, gradient or score that is no number, before any epoch was better.
    NotFinite {
        /// Of which of them.
        what: &'static str,
    },
}

/// What an attempt cost and brought.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    /// The score on the held-out samples of the model that was given.
    pub before: f64,
    /// The best score that an epoch came to; that of before, where none was scored.
    pub after: f64,
    /// How many epochs were scored.
    pub epochs: usize,
    /// How many steps were taken.
    pub steps: usize,
    /// How long it took, scoring included.
    pub time: Duration,
    /// The most bytes found live beside those at the start.
    pub memory: usize,
    /// The bytes of the adapter's own numbers.
    pub bytes: usize,
}

impl<M> Outcome<M> {
    /// The adapted model, if it was accepted.
    pub fn accepted(self) -> Option<Adapted<M>> {
        match self {
            Outcome::Accepted { model, .. } => Some(model),
            Outcome::Rejected { .. } => None,
        }
    }
    /// Why it was rejected, if it was.
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Outcome::Accepted { .. } => None,
            Outcome::Rejected { reason, .. } => Some(*reason),
        }
    }
    /// What it cost and brought.
    pub fn figures(&self) -> &Figures {
        match self {
            Outcome::Accepted { figures, .. } | Outcome::Rejected { figures, .. } => figures,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::NotBetter { margin } if *margin > 0.0 => write!(f, "the score did not rise by {margin}"),
            Reason::NotBetter { .. } => f.write_str("the score did not rise"),
            Reason::OutOfTime { budget } => write!(f, "{budget:?} did not suffice for one epoch and its score"),
            Reason::OverMemory { used, budget } => write!(f, "training took {used} bytes, allowed were {budget}"),
            Reason::NotFinite { what } => write!(f, "{what} was not finite"),
        }
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Figures { before, after, epochs, steps, time, memory, bytes } = self;
        write!(f, "score {before} before, {after} after; {epochs} epochs, {steps} steps in {time:.1?}, {memory} bytes; an adapter of {bytes} bytes")
    }
}

impl<M> fmt::Display for Outcome<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Accepted { figures, .. } => write!(f, "accepted: {figures}"),
            Outcome::Rejected { reason, figures } => write!(f, "rejected, as {reason}: {figures}"),
        }
    }
}
