//! [`Targets`]: which layers a method adapts, by PEFT's rules or by patterns of paths.

use chainrule_nn::{Error, Operation, Pattern, Result, nearest_name};
use std::collections::BTreeSet;

/// So much of a name stands in an error.
const SHOWN: usize = 256;

/// Which layers are meant.
///
/// | from | means | PEFT's `target_modules` |
/// |---|---|---|
/// | `["query", "value"]` | layers with one of these paths, or whose path ends so after a dot | a list |
/// | `"*.{query,value}"` | layers whose whole path this [`Pattern`] matches | (saved as the list of what it matched) |
/// | `"regex:.*\.(query\|value)"` | the same, for a regular expression | a string (saved as the list of what it matched) |
/// | `"all-linear"` | all linear layers outside of what is saved whole | `"all-linear"` (saved as the list of them) |
/// | `Targets::from(["query"]).in_layers([0, 1])` | of what a list means, what stands in these layers | with `layers_to_transform` |
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
    /// Whole paths; or their ends after a dot, in layers of these numbers.
    InLayers {
        /// Whole paths, or their ends after a dot.
        names: Vec<String>,
        /// The numbers (PEFT's `layers_to_transform`).
        layers: Vec<usize>,
        /// Regular expressions of the names before the number (PEFT's `layers_pattern`). Without any, the first part of a path that is a number counts, from the third on.
        lists: Vec<String>,
    },
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

/// The number of the layer in which a module stands, by PEFT's rule.
fn layer_of(path: &str, lists: &[String]) -> Result<Option<usize>> {
    if lists.is_empty() {
        let parts: Vec<&str> = path.split('.').collect();
        let inner = parts.get(2..parts.len().saturating_sub(1)).unwrap_or_default();
        return Ok(inner.iter().find(|part| !part.is_empty() && part.bytes().all(|c| c.is_ascii_digit())).and_then(|part| part.parse().ok()));
    }
    for list in lists {
        Pattern::regex(list)?;
        let before = Pattern::regex(&format!("(?:.*\\.)?(?:{list})"))?;
        let numbers = path.match_indices('.').filter_map(|(dot, _)| path[dot + 1..].split_once('.').map(|(part, _)| (&path[..dot], part)));
        let mut numbers = numbers.filter(|(_, part)| !part.is_empty() && part.bytes().all(|c| c.is_ascii_digit()));
        if let Some((_, number)) = numbers.find(|(list, _)| before.matches(list)) {
            return Ok(number.parse().ok());
        }
    }
    Ok(None)
}

impl Targets {
    /// Of what a list of names means, what stands in layers of these numbers. Whole paths are meant whatever their layer. A number that no layer has, and numbers for a pattern or for `"all-linear"`, are errors once the targets are used.
    /// ```
    /// use chainrule_finetune::Targets;
    /// let lower = Targets::from(["query", "value"]).in_layers([0, 1]);
    /// assert!(lower.match_path("bert.encoder.layer.1.query", None)? && !lower.match_path("bert.encoder.layer.2.query", None)?);
    /// # Ok::<(), chainrule_nn::Error>(())
    /// ```
    pub fn in_layers(self, layers: impl IntoIterator<Item = usize>) -> Targets {
        match self {
            Targets::Names(names) | Targets::InLayers { names, .. } => Targets::InLayers { names, layers: layers.into_iter().collect(), lists: Vec::new() },
            // Without names it means nothing, and says so when it is asked.
            Targets::Paths(_) | Targets::AllLinear => Targets::InLayers { names: Vec::new(), layers: layers.into_iter().collect(), lists: Vec::new() },
        }
    }

    /// Those of these numbers that no layer of these paths has.
    pub(crate) fn absent<'a>(layers: &[usize], lists: &[String], paths: impl IntoIterator<Item = &'a String>) -> Result<Vec<usize>> {
        let mut left: BTreeSet<usize> = layers.iter().copied().collect();
        for path in paths {
            if let Some(layer) = layer_of(path, lists)? {
                left.remove(&layer);
            }
        }
        Ok(left.into_iter().collect())
    }

    /// Whether the module at this path is meant; `operation` is that of its slot, if it has one.
    ///
    /// # Errors
    /// A pattern that cannot be read; numbers of layers without a list of names.
    pub fn match_path(&self, path: &str, operation: Option<Operation>) -> Result<bool> {
        Ok(match self {
            Targets::Names(names) => names.iter().any(|name| ends_with(path, name)),
            Targets::Paths(pattern) => Pattern::new(pattern)?.matches(path),
            Targets::AllLinear => operation == Some(Operation::Linear),
            Targets::InLayers { names, .. } if names.is_empty() => {
                let message = "got numbers of layers for no name, a pattern or \"all-linear\", expected a list of names such as [\"query\"]; a pattern can hold the numbers itself: \"*.layer.{0,1}.*.query\"";
                return Err(chainrule_autograd::Error::value("in_layers", message).into());
            }
            Targets::InLayers { names, layers, lists } => {
                let whole = names.iter().any(|name| name == path);
                whole || names.iter().any(|name| ends_with(path, name)) && layer_of(path, lists)?.is_some_and(|layer| layers.contains(&layer))
            }
        })
    }

    /// An error for the first name, or the pattern, that means none of these paths, with the nearest of them; then for the first number that no layer of theirs has.
    ///
    /// # Errors
    /// Such a name, pattern or number; a pattern that cannot be read.
    pub fn check(&self, op: &'static str, what: &'static str, meant: &[String], all: &[String]) -> Result<()> {
        match self {
            Targets::Names(names) | Targets::InLayers { names, .. } => {
                if let Some(name) = names.iter().find(|name| !meant.iter().any(|path| ends_with(path, name))) {
                    return Err(no_name(name, op, what, all));
                }
                let Targets::InLayers { layers, lists, .. } = self else { return Ok(()) };
                match Targets::absent(layers, lists, meant)?.first() {
                    Some(number) => {
                        let message = format!("got the layer {number}, which holds no {what} by one of these names");
                        Err(chainrule_autograd::Error::value(op, message).into())
                    }
                    None => Ok(()),
                }
            }
            Targets::Paths(pattern) if meant.is_empty() => Err(Pattern::new(pattern)?.no_match(op, what, all)),
            Targets::AllLinear if meant.is_empty() => Err(Pattern::new("all-linear")?.no_match(op, what, &[])),
            _ => Ok(()),
        }
    }
}

/// The error that no path ends with this name, in which no character stands for others.
fn no_name(name: &str, op: &'static str, what: &'static str, all: &[String]) -> Error {
    let shown = name.char_indices().nth(SHOWN).map_or(name.to_string(), |(cut, _)| format!("{} …", &name[..cut]));
    let mut places: Vec<&str> = all.iter().flat_map(|path| path.match_indices('.').map(|(dot, _)| &path[..dot]).chain([path.as_str()])).collect();
    places.sort_unstable();
    places.dedup();
    let near = match places.iter().any(|place| ends_with(place, name)) {
        true => Some(format!("*{shown}.*")),
        false => nearest_name(&format!("*{shown}"), places.into_iter()),
    };
    Error::NoMatch { op, pattern: format!("*{shown}"), what, near: near.into_iter().collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_by_number() -> Result<()> {
        let first = |path: &str| layer_of(path, &[]);
        assert_eq!(first("bert.encoder.layer.3.attention.query")?, Some(3));
        assert_eq!(first("model.layers.1.experts.7.up")?, Some(1));
        assert_eq!(first("layers.1.query")?, None); // PEFT wants two parts before the number
        assert_eq!(first("a.b.3")?, None);
        let by = |path: &str, list: &str| layer_of(path, &[list.to_string()]);
        assert_eq!(by("layers.1.query", "layers")?, Some(1));
        assert_eq!(by("bert.encoder.layer.3.experts.2.query", "experts")?, Some(2));
        assert_eq!(by("bert.encoder.layer.3.query", "lay")?, None);
        assert_eq!(by("a.h.2.h.3.q", "h|g")?, Some(2));
        assert!(by("a.b", "(").is_err());
        Ok(())
    }

    #[test]
    fn numbers_and_names_that_mean_nothing() -> Result<()> {
        let paths = ["a.layer.0.query", "a.layer.1.query"].map(str::to_string);
        let lower = Targets::from(["query"]).in_layers([0, 7]);
        let error = lower.check("lora", "layer", &paths[..1], &paths).unwrap_err().to_string();
        assert!(error.contains("got the layer 7"), "{error}");
        Targets::from(["query"]).in_layers([0]).check("lora", "layer", &paths[..1], &paths)?;
        for pattern in ["*.query", "all-linear"] {
            let error = Targets::from(pattern).in_layers([0]).match_path(&paths[0], None).unwrap_err().to_string();
            assert!(error.contains("expected a list of names"), "{error}");
        }
        let message = |name: &str| Targets::from([name]).check("lora", "layer", &[], &paths).unwrap_err().to_string();
        assert!(message("{q,").contains("\"*{q,\" matches no layer"));
        assert!(message(&"{a,b}".repeat(100_000)).len() < 1000);
        assert!(message("qurey").contains("near it are \"a.layer.0.query\""), "{}", message("qurey"));
        assert!(message("layer").contains("near it are \"*layer.*\""), "{}", message("layer"));
        Ok(())
    }
}
