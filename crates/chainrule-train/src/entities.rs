//! Entities in tagged sentences, counted whole (precision, recall and F1 as conlleval and Python's `seqeval` count them).

use std::ops::Range;

/// An entity: its kind, and the tokens it covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entity<'a> {
    /// What stands behind the dash of its tags.
    pub kind: &'a str,
    /// From its first token to behind its last.
    pub tokens: Range<usize>,
}

/// The entities of a sentence with tags like `B-person`, `I-person`, `O` (IOB; E and S of IOBES too).
///
/// An entity begins at B or S, at I or E where none goes on, and where the kind changes; it ends behind E and S, before B, S and O, and where the kind changes.
/// ```
/// use chainrule_train::entities;
/// let found = entities(&["B-person", "I-person", "O", "I-place"]);
/// assert_eq!((found[0].kind, found[0].tokens.clone()), ("person", 0..2));
/// assert_eq!((found[1].kind, found[1].tokens.clone()), ("place", 3..4));
/// ```
pub fn entities<'a>(tags: &[&'a str]) -> Vec<Entity<'a>> {
    let split = |tag: &'a str| (tag.chars().next().unwrap_or('O'), tag.split_once('-').map_or("", |(_, kind)| kind));
    let mut found: Vec<Entity> = Vec::new();
    // Whether the last entity found may go on.
    let mut open = false;
    for (i, tag) in tags.iter().enumerate() {
        let (place, kind) = split(tag);
        if !matches!(place, 'B' | 'I' | 'E' | 'S') {
            open = false;
            continue;
        }
        let goes_on = open && matches!(place, 'I' | 'E') && found.last().is_some_and(|entity| entity.kind == kind);
        match found.last_mut() {
            Some(entity) if goes_on => entity.tokens.end = i + 1,
            _ => found.push(Entity { kind, tokens: i..i + 1 }),
        }
        open = matches!(place, 'B' | 'I');
    }
    found
}

/// How many entities there were, were found, and were found right: kind and both ends. Sentences add up.
/// ```
/// let mut score = chainrule_train::EntityScore::default();
/// score.add(&["B-person", "I-person", "O"], &["B-person", "O", "B-place"]);
/// score.add(&["B-place"], &["B-place"]);
/// assert_eq!((score.precision(), score.recall(), score.f1()), (1.0 / 3.0, 0.5, 0.4));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EntityScore {
    /// Entities there were.
    pub expected: usize,
    /// Entities found.
    pub found: usize,
    /// Those of them that are right.
    pub right: usize,
}

impl EntityScore {
    /// Adds a sentence: its tags, and those that a model gave. A missing tag at the end counts as O.
    pub fn add(&mut self, expected: &[&str], given: &[&str]) {
        let (expected, given) = (entities(expected), entities(given));
        self.expected += expected.len();
        self.found += given.len();
        self.right += given.iter().filter(|entity| expected.contains(entity)).count();
    }
    /// The share of those found that are right; 0 if none was found.
    pub fn precision(&self) -> f64 {
        self.right as f64 / self.found.max(1) as f64
    }
    /// The share of those there were that were found; 0 if there was none.
    pub fn recall(&self) -> f64 {
        self.right as f64 / self.expected.max(1) as f64
    }
    /// `2 precision recall / (precision + recall)`, over all kinds together.
    pub fn f1(&self) -> f64 {
        2.0 * self.right as f64 / (self.expected + self.found).max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that seqeval 1.2.2 gave.
    #[test]
    fn as_seqeval_counts() {
        let expected = ["B-P I-L O I-P O B-L B-L B-L B-L B-P O B-L", "O B-L B-L I-L O B-L I-P B-P I-L O I-P O"];
        let given = ["B-P I-L O B-P O B-L B-L B-L B-L B-P I-P B-L", "I-L O B-L I-P O B-L I-L B-L I-L B-P I-P O"];
        let tags = |text: &'static str| text.split(' ').collect::<Vec<_>>();
        let places = |text| entities(&tags(text)).iter().map(|e| format!("{} {} {}", e.kind, e.tokens.start, e.tokens.end - 1)).collect::<Vec<_>>();
        assert_eq!(places(expected[0]), ["P 0 0", "L 1 1", "P 3 3", "L 5 5", "L 6 6", "L 7 7", "L 8 8", "P 9 9", "L 11 11"]);
        assert_eq!(places(expected[1]), ["L 1 1", "L 2 3", "L 5 5", "P 6 6", "P 7 7", "L 8 8", "P 10 10"]);
        let mut score = EntityScore::default();
        for (expected, given) in expected.into_iter().zip(given) {
            score.add(&tags(expected), &tags(given));
        }
        for (got, expected) in [(score.precision(), 0.5333333333333333), (score.recall(), 0.5), (score.f1(), 0.5161290322580646)] {
            assert!((got - expected).abs() < 1e-12, "{got} {expected}");
        }
        // E and S end what they close.
        assert_eq!(places("S-L E-P I-L I-L O B-L B-P I-P O B-P I-L E-P"), ["L 0 0", "P 1 1", "L 2 3", "L 5 5", "P 6 7", "P 9 9", "L 10 10", "P 11 11"]);
        assert_eq!(places("B-L E-L E-L I-L"), ["L 0 1", "L 2 2", "L 3 3"]);
    }
}
