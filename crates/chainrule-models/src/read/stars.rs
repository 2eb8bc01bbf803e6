//! Renaming by patterns: what the stars of one stand for is put where the stars of the other are.

use chainrule_nn::{Error, Pattern, Result};

/// A pattern for names, and what becomes of them.
pub(super) struct Stars {
    pub(super) from: Pattern,
    to: Vec<String>,
}

impl Stars {
    pub(super) fn new(from: &str, to: &str) -> Result<Stars> {
        let refuse = |reason: &str| Error::Pattern { pattern: format!("{from} -> {to}"), reason: reason.to_string() };
        if from.starts_with("regex:") {
            return Err(refuse("renames by a regular expression, which is not understood; use rename_with"));
        }
        if from.contains(['{', '}']) || to.contains(['{', '}']) {
            return Err(refuse("renames with braces, of which it is not clear which alternative becomes which; use one rename for each"));
        }
        if from.matches('*').count() != to.matches('*').count() {
            return Err(refuse("has stars on one side that the other lacks"));
        }
        Ok(Stars { from: Pattern::new(from)?, to: to.split('*').map(str::to_string).collect() })
    }

    /// The new name, if the pattern matches. Every star but the last stands for as little as it can.
    pub(super) fn apply(&self, name: &str) -> Option<String> {
        let mut renamed = self.to.first()?.clone();
        let Some((head, pattern)) = self.from.as_str().split_once('*') else { return (name == self.from.as_str()).then_some(renamed) };
        let mut rest = name.strip_prefix(head)?;
        let mut literals: Vec<&str> = pattern.split('*').collect();
        let tail = literals.pop()?;
        rest = rest.strip_suffix(tail)?;
        for (literal, to) in literals.iter().zip(&self.to[1..]) {
            let (star, after) = rest.split_once(literal)?;
            renamed.push_str(star);
            renamed.push_str(to);
            rest = after;
        }
        renamed.push_str(rest);
        renamed.push_str(self.to.last()?);
        Some(renamed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_keep_what_they_stand_for() {
        let renamed = |from: &str, to: &str, name: &str| Stars::new(from, to).unwrap().apply(name);
        let cases = [
            ("*.gamma", "*.weight", "a.b.gamma", Some("a.b.weight")),
            ("bert.*", "*", "bert.pooler", Some("pooler")),
            ("*", "model.*", "x", Some("model.x")),
            ("layer.*.attention.*", "blocks.*.mixer.*", "layer.3.attention.key.weight", Some("blocks.3.mixer.key.weight")),
            ("a.*.b.*.b", "*-*", "a.1.b.2.b.3.b", Some("1-2.b.3")),
            ("exact", "other", "exact", Some("other")),
            ("exact", "other", "exactly", None),
            ("ab*ba", "*", "aba", None),
            ("*.gamma", "*.weight", "gamma", None),
        ];
        for (from, to, name, expected) in cases {
            assert_eq!(renamed(from, to, name).as_deref(), expected, "{from} -> {to}: {name}");
        }
        assert!(Stars::new("a.*", "b").is_err() && Stars::new("{a,b}.*", "c.*").is_err() && Stars::new("regex:a.*", "b*").is_err());
    }
}
