//! [`LoadReport`]: what came of loading.

use chainrule_autograd::DType;
use std::fmt;

/// What loading found. In a strict load `missing`, `unexpected` and `mismatched` are empty, or nothing was changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct LoadReport {
    /// The paths whose numbers were loaded.
    pub loaded: Vec<String>,
    /// Paths of the model that the file lacks.
    pub missing: Vec<Unmatched>,
    /// Paths of the model that the file lacks, and was allowed to; they kept their numbers.
    pub kept: Vec<String>,
    /// Names in the file that were to be left out.
    pub ignored: Vec<String>,
    /// Names in the file that the model lacks.
    pub unexpected: Vec<Unmatched>,
    /// Paths that both have, with other shapes, or with types that do not convert.
    pub mismatched: Vec<Mismatch>,
}

/// A name without its partner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmatched {
    /// The name.
    pub name: String,
    /// The most similar of the names without partner on the other side.
    pub nearest: Option<String>,
}

/// A path whose numbers do not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The path.
    pub path: String,
    /// What the file has.
    pub got: (String, Vec<usize>),
    /// What the model has.
    pub expected: (DType, Vec<usize>),
}

impl LoadReport {
    /// Whether every path of the model was loaded or allowed to be kept, and nothing else was there but what was to be ignored.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty() && self.mismatched.is_empty()
    }
}

/// So long a list is understood as well as a longer one.
const MOST_LINES: usize = 20;

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} loaded, {} missing, {} unexpected, {} of the wrong shape",
            self.loaded.len(),
            self.missing.len(),
            self.unexpected.len(),
            self.mismatched.len()
        )?;
        for (title, names) in [("kept", &self.kept), ("ignored", &self.ignored)] {
            if !names.is_empty() {
                write!(f, ", {} {title}", names.len())?;
            }
        }
        for (title, names) in [("missing", &self.missing), ("unexpected", &self.unexpected)] {
            for Unmatched { name, nearest } in names.iter().take(MOST_LINES) {
                write!(f, "\n  {title}: {name}")?;
                if let Some(nearest) = nearest {
                    write!(f, " (near it: {nearest})")?;
                }
            }
            more(f, title, names.len())?;
        }
        for Mismatch { path, got, expected } in self.mismatched.iter().take(MOST_LINES) {
            write!(f, "\n  wrong shape: {path}: got {} {:?}, expected {} {:?}", got.0, got.1, expected.0, expected.1)?;
        }
        more(f, "wrong shape", self.mismatched.len())
    }
}

fn more(f: &mut fmt::Formatter<'_>, title: &str, length: usize) -> fmt::Result {
    if length > MOST_LINES { write!(f, "\n  {title}: and {} more", length - MOST_LINES) } else { Ok(()) }
}
