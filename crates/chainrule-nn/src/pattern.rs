//! [`Pattern`]: which paths are meant.

use crate::expression::Expression;
use crate::{Error, Result};

/// A pattern of paths: `*` stands for any run of characters, dots among them, `{query,value}` for either of its alternatives; anything else for itself.
///
/// After `regex:` stands a regular expression that must match the whole path (Python's `re.fullmatch`), without references back.
/// ```
/// use chainrule_nn::Pattern;
/// let pattern = Pattern::new("encoder.*.{query,value}.weight")?;
/// assert!(pattern.matches("encoder.3.attention.value.weight"));
/// assert!(!pattern.matches("encoder.3.attention.key.weight"));
///
/// let upper = Pattern::new(r"regex:encoder\.layer\.([6-9]|1\d)\..*")?;
/// assert!(upper.matches("encoder.layer.11.bias") && !upper.matches("encoder.layer.1.bias"));
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    /// Without braces.
    Globs(Vec<String>),
    /// What a path begins with, every character of it for itself.
    Prefix(String),
    Regex(Expression),
}

/// What a pattern begins with that is a regular expression.
const REGEX: &str = "regex:";
const MOST_ALTERNATIVES: usize = 4096;

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// Braces that do not pair, or that stand in one another; a regular expression that cannot be read.
    pub fn new(text: &str) -> Result<Pattern> {
        let error = |reason| Error::Pattern { pattern: text.to_string(), reason };
        let kind = match text.strip_prefix(REGEX) {
            Some(expression) => {
                Kind::Regex(Expression::new(expression).map_err(|reason| error(format!("is no regular expression that is understood: {reason}")))?)
            }
            None => Kind::Globs(alternatives(text).map_err(|reason| error(reason.to_string()))?),
        };
        Ok(Pattern { text: text.to_string(), kind })
    }

    /// The pattern of this regular expression: `Pattern::regex(r)` is `Pattern::new("regex:r")`.
    ///
    /// # Errors
    /// A regular expression that cannot be read.
    pub fn regex(expression: &str) -> Result<Pattern> {
        Pattern::new(&format!("{REGEX}{expression}"))
    }

    /// The pattern of all paths that begin like this, in which no character stands for others.
    pub fn prefix(text: &str) -> Pattern {
        Pattern { text: format!("{text}*"), kind: Kind::Prefix(text.to_string()) }
    }

    /// Whether this path is meant.
    pub fn matches(&self, path: &str) -> bool {
        match &self.kind {
            Kind::Globs(globs) => globs.iter().any(|glob| matches(glob.as_bytes(), path.as_bytes())),
            Kind::Prefix(prefix) => path.starts_with(prefix),
            Kind::Regex(expression) => expression.matches(path),
        }
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

    /// The error that the pattern matches none of these paths, with the nearest of them. `what` says what they are of.
    pub fn no_match(&self, op: &'static str, what: &'static str, paths: &[String]) -> Error {
        let further = match self.text.strip_prefix(REGEX) {
            Some(expression) => format!("{REGEX}(?:{expression})\\..*"),
            None => format!("{}.*", self.text),
        };
        let within = Pattern::new(&further).is_ok_and(|p| paths.iter().any(|path| p.matches(path)));
        let near = if within { vec![further] } else { crate::nearest::paths(&self.globs(), paths) };
        Error::NoMatch { op, pattern: self.text.clone(), what, near }
    }

    /// Globs that mean about the same.
    fn globs(&self) -> Vec<String> {
        match &self.kind {
            Kind::Globs(globs) => globs.clone(),
            Kind::Prefix(_) => vec![self.text.clone()],
            Kind::Regex(_) => alternatives(&rough(self.text.strip_prefix(REGEX).unwrap_or_default())).unwrap_or_default(),
        }
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.text == other.text && std::mem::discriminant(&self.kind) == std::mem::discriminant(&other.kind)
    }
}

impl Eq for Pattern {}

/// The globs that a pattern with braces stands for.
fn alternatives(text: &str) -> Result<Vec<String>, &'static str> {
    let mut alternatives = vec![String::new()];
    let mut rest = text;
    while let Some(open) = rest.find(['{', '}']) {
        let (before, inside) = (&rest[..open], &rest[open + 1..]);
        if rest.as_bytes()[open] == b'}' {
            return Err("has a } without its {");
        }
        let close = inside.find('}').ok_or("has a { without its }")?;
        let choices: Vec<&str> = inside[..close].split(',').map(str::trim).collect();
        if inside[..close].contains('{') {
            return Err("has braces within braces, which are not understood");
        }
        if alternatives.len() * choices.len() > MOST_ALTERNATIVES {
            return Err("stands for too many alternatives");
        }
        alternatives = alternatives.iter().flat_map(|a| choices.iter().map(move |c| format!("{a}{before}{c}"))).collect();
        rest = &inside[close + 1..];
    }
    alternatives.iter_mut().for_each(|a| a.push_str(rest));
    Ok(alternatives)
}

/// A glob near the expression, to look for near misses with: what repeats or chooses among characters becomes `*`, a group a choice.
fn rough(expression: &str) -> String {
    let mut glob = String::new();
    let mut rest = expression.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\\' => match rest.next() {
                Some(escaped) if !escaped.is_alphanumeric() => glob.push(escaped),
                _ => glob.push('*'),
            },
            '[' => {
                rest.by_ref().find(|&c| c == ']');
                glob.push('*');
            }
            '{' => drop(rest.by_ref().find(|&c| c == '}')),
            '(' => {
                if rest.next_if_eq(&'?').is_some() {
                    rest.next();
                }
                glob.push('{');
            }
            '|' => glob.push(','),
            ')' => glob.push('}'),
            '.' => glob.push('*'),
            '*' | '+' | '?' | '^' | '$' => {}
            other => glob.push(other),
        }
    }
    glob
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
        let all = |text: &str| alternatives(text).unwrap();
        assert_eq!(all("{a,b}.{x, y}"), ["a.x", "a.y", "b.x", "b.y"]);
        assert_eq!(all("a{,.b}"), ["a", "a.b"]);
        for wrong in ["a{b", "a}b", "{a,{b}}"] {
            assert!(Pattern::new(wrong).unwrap_err().to_string().contains(wrong));
        }
        assert!(Pattern::new(&"{a,b}".repeat(13)).is_err());
    }

    #[test]
    fn in_prefixes_no_character_stands_for_others() {
        assert!(Pattern::prefix("a.").matches("a.b") && !Pattern::prefix("a.").matches("a"));
        for text in ["a*", "{a,b}", "regex:a"] {
            assert!(Pattern::prefix(text).matches(&format!("{text}.c")));
            assert!(!Pattern::prefix(text).matches("a.b"), "{text}");
        }
        assert_ne!(Pattern::prefix("a*"), Pattern::new("a**").unwrap());
    }

    #[test]
    fn regular_expressions_match_whole_paths() {
        let matches = |expression: &str, path: &str| Pattern::regex(expression).unwrap().matches(path);
        assert!(matches("a|ab", "ab") && matches(r"(?i)A\.b", "a.B"));
        assert!(!matches("a|b", "ab") && !matches("b", "a.b") && !matches("a", "a\n"));
        assert_eq!(Pattern::regex("a.*").unwrap(), Pattern::new("regex:a.*").unwrap());
        for wrong in ["a)(b", "(a", "[z-a]", "*", r"(x)\1"] {
            let error = Pattern::regex(wrong).unwrap_err().to_string();
            assert!(error.contains(wrong) && error.contains("regular expression"), "{error}");
        }
        // Such a machine would fill the memory.
        assert!(Pattern::regex("((a{99}){99}){99}").is_err());
    }

    #[test]
    fn near_misses_of_regular_expressions() {
        let paths = ["encoder.layer.0.query.weight", "encoder.layer.0.value.weight", "head.weight"].map(str::to_string);
        let near = |expression: &str| Pattern::regex(expression).unwrap().no_match("freeze", "parameter", &paths).to_string();
        let expected = "freeze: the pattern \"regex:encoder\\.layer\\.\\d+\\.(?:qurey|valeu)\\.weight\" matches no parameter; near it are \"encoder.layer.0.query.weight\", \"encoder.layer.0.value.weight\"";
        let got = near(r"encoder\.layer\.\d+\.(?:qurey|valeu)\.weight");
        assert!(got.starts_with(expected), "{got}");
        assert!(near("head").ends_with(r#"near it are "regex:(?:head)\..*""#));
    }
}
