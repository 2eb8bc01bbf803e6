//! [`Targets`]: which layers a method adapts, by PEFT's rules or by patterns of paths.

use chainrule_nn::{Operation, Pattern, Result};

/// Which layers are meant.
///
/// | from | means | PEFT's `target_modules` |
/// |---|---|---|
/// | `["query", "value"]` | layers with one of these paths, or whose path ends so after a dot | a list |
/// | `"*.{query,value}"` | layers whose whole path this [`Pattern`] matches | (saved as the list of what it matched) |
/// | `"all-linear"` | all linear layers outside of what is saved whole | `"all-linear"` |
/// ```
/// use chainrule_finetune::Targets;
/// use chainrule_nn::Operation;
/// let targets = Targets::from(["query", "self.value"]);
/// assert!(targets.match_path("layer.0.attention.self.value", Some(Operation::Linear))?);
/// assert!(!targets.match_path("layer.0.attention.self.my_query", Some(Operation::Linear))?);
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Targets {
    /// Whole paths, or their ends after a dot.
    Names(Vec<String>),
    /// A [`Pattern`] of whole paths.
    Paths(String),
    /// Every linear layer.
    AllLinear,
}

impl From<&str> for Targets {
    fn from(text: &str) -> Targets {
        if text == "all-linear" { Targets::AllLinear } else { Targets::Paths(text.to_string()) }
    }
}
impl<const N: usize> From<[&str; N]> for Targets {
    fn from(names: [&str; N]) -> Targets {
        Targets::Names(names.map(str::to_string).to_vec())
    }
}
impl From<Vec<String>> for Targets {
    fn from(names: Vec<String>) -> Targets {
        Targets::Names(names)
    }
}

/// Whether a module's path is this name, or ends with it after a dot.
pub(crate) fn ends_with(path: &str, name: &str) -> bool {
    path.strip_suffix(name).is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

impl Targets {
    /// Whether the module at this path is meant; `operation` is that of its slot, if it has one.
    ///
    /// # Errors
    /// A pattern that cannot be read.
    pub fn match_path(&self, path: &str, operation: Option<Operation>) -> Result<bool> {
        Ok(match self {
            Targets::Names(names) => names.iter().any(|name| ends_with(path, name)),
            Targets::Paths(pattern) => Pattern::new(pattern)?.matches(path),
            Targets::AllLinear => operation == Some(Operation::Linear),
        })
    }

    /// An error for the first name, or the pattern, that means none of these paths, with the nearest of them.
    ///
    /// # Errors
    /// Such a name or pattern; a pattern that cannot be read.
    pub fn check(&self, op: &'static str, what: &'static str, meant: &[String], all: &[String]) -> Result<()> {
        match self {
            Targets::Names(names) => match names.iter().find(|name| !meant.iter().any(|path| ends_with(path, name))) {
                Some(name) => Err(Pattern::new(&format!("*{name}"))?.no_match(op, what, all)),
                None => Ok(()),
            },
            Targets::Paths(pattern) if meant.is_empty() => Err(Pattern::new(pattern)?.no_match(op, what, all)),
            Targets::AllLinear if meant.is_empty() => Err(Pattern::new("all-linear")?.no_match(op, what, &[])),
            _ => Ok(()),
        }
    }
}
