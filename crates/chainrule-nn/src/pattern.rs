//! [`Pattern`]: which paths are meant.

use crate::{Error, Result};

/// A pattern of paths: `*` stands for any run of characters, dots among them, `{query,value}` for either of its alternatives; anything else for itself.
/// ```
/// use chainrule_nn::Pattern;
/// let pattern = Pattern::new("encoder.*.{query,value}.weight")?;
/// assert!(pattern.matches("encoder.3.attention.value.weight"));
/// assert!(!pattern.matches("encoder.3.attention.key.weight"));
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    /// Without braces.
    alternatives: Vec<String>,
}

const MOST_ALTERNATIVES: usize = 4096;

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// Braces that do not pair, or that stand in one another.
    pub fn new(text: &str) -> Result<Pattern> {
        let error = |reason| Error::Pattern { pattern: text.to_string(), reason };
        let mut alternatives = vec![String::new()];
        let mut rest = text;
        while let Some(open) = rest.find(['{', '}']) {
            let (before, inside) = (&rest[..open], &rest[open + 1..]);
            if rest.as_bytes()[open] == b'}' {
                return Err(error("has a } without its {"));
            }
            let close = inside.find('}').ok_or_else(|| error("has a { without its }"))?;
            let choices: Vec<&str> = inside[..close].split(',').map(str::trim).collect();
            if inside[..close].contains('{') {
                return Err(error("has braces within braces, which are not understood"));
            }
            if alternatives.len() * choices.len() > MOST_ALTERNATIVES {
                return Err(error("stands for too many alternatives"));
            }
            alternatives = alternatives.iter().flat_map(|a| choices.iter().map(move |c| format!("{a}{before}{c}"))).collect();
            rest = &inside[close + 1..];
        }
        alternatives.iter_mut().for_each(|a| a.push_str(rest));
        Ok(Pattern { text: text.to_string(), alternatives })
    }

    /// The pattern of all paths that begin like this, in which no character stands for others.
    pub fn prefix(text: &str) -> Pattern {
        Pattern { text: format!("{text}*"), alternatives: vec![format!("{text}*")] }
    }

    /// Whether this path is meant.
    pub fn matches(&self, path: &str) -> bool {
        self.alternatives.iter().any(|a| matches(a.as_bytes(), path.as_bytes()))
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Makes sure that the pattern matches one of these names at least; `op` and `what` stand in the message.
    ///
    /// # Errors
    /// [`Error::NoMatch`] with the nearest names.
    pub fn check_matches<'a>(&self, op: &'static str, what: &'static str, names: impl IntoIterator<Item = &'a String>) -> Result<()> {
        let names: Vec<String> = names.into_iter().cloned().collect();
        if names.iter().any(|name| self.matches(name)) { Ok(()) } else { Err(self.no_match(op, what, &names)) }
    }

    /// The error that the pattern matches none of these paths, with the nearest of them.
    pub fn no_match(&self, op: &'static str, what: &'static str, paths: &[String]) -> Error {
        let within = Pattern::new(&format!("{}.*", self.text)).is_ok_and(|p| paths.iter().any(|path| p.matches(path)));
        let near = if within { vec![format!("{}.*", self.text)] } else { crate::nearest::paths(&self.alternatives, paths) };
        Error::NoMatch { op, pattern: self.text.clone(), what, near }
    }
}

/// Greedy with one step back: the last star takes one character more whenever what follows it does not fit.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p, t));
            p += 1;
        } else if pattern.get(p) == Some(&text[t]) {
            (p, t) = (p + 1, t + 1);
        } else if let Some((at, from)) = star {
            (p, t) = (at + 1, from + 1);
            star = Some((at, from + 1));
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|&c| c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn naive(pattern: &str, text: &str) -> bool {
        match pattern.split_once('*') {
            None => pattern == text,
            Some((head, tail)) => text.strip_prefix(head).is_some_and(|rest| (0..=rest.len()).any(|i| naive(tail, &rest[i..]))),
        }
    }

    proptest::proptest! {
        #[test]
        fn stars_match_as_the_definition_says(pattern in "[ab.*]{0,7}", text in "[ab.]{0,9}") {
            proptest::prop_assert_eq!(Pattern::new(&pattern).unwrap().matches(&text), naive(&pattern, &text));
        }
    }

    #[test]
    fn braces() {
        let all = |text: &str| Pattern::new(text).unwrap().alternatives;
        assert_eq!(all("{a,b}.{x, y}"), ["a.x", "a.y", "b.x", "b.y"]);
        assert_eq!(all("a{,.b}"), ["a", "a.b"]);
        for wrong in ["a{b", "a}b", "{a,{b}}"] {
            assert!(Pattern::new(wrong).unwrap_err().to_string().contains(wrong));
        }
        assert!(Pattern::new(&"{a,b}".repeat(13)).is_err());
    }
}
