//! The nearest names, for messages about a name that is not there.

/// Beyond these a message gains nothing and a hostile file would cost time.
const MOST_NAMES: usize = 4096;
const LONGEST: usize = 256;

/// The name nearest to this one, if it is near at all: for messages about a name that is not there.
pub fn name<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    closest(&[wanted.to_string()], names, 1).pop()
}

/// Up to three paths, or places in them, that the patterns nearly match.
pub(crate) fn paths(patterns: &[String], paths: &[String]) -> Vec<String> {
    let mut places: Vec<&str> = Vec::new();
    for path in paths {
        places.push(path);
        places.extend(path.match_indices('.').map(|(dot, _)| &path[..dot]));
    }
    places.sort_unstable();
    places.dedup();
    closest(patterns, places.into_iter(), 3)
}

fn closest<'a>(wanted: &[String], names: impl Iterator<Item = &'a str>, most: usize) -> Vec<String> {
    let mut found: Vec<(usize, &str)> = Vec::new();
    for name in names.take(MOST_NAMES).filter(|n| n.len() <= LONGEST) {
        let by = |w: &String| distance(w.as_bytes(), name.as_bytes()).filter(|d| *d <= w.len().div_ceil(3));
        if let Some(d) = wanted.iter().take(8).filter(|w| w.len() <= LONGEST).filter_map(by).min() {
            found.push((d, name));
        }
    }
    found.sort();
    found.into_iter().take(most).map(|(_, name)| name.to_string()).collect()
}

/// Levenshtein's distance, where a `*` of the pattern stands for any run at no cost.
fn distance(pattern: &[u8], name: &[u8]) -> Option<usize> {
    let mut row: Vec<usize> = (0..=name.len()).collect();
    for &p in pattern {
        let mut diagonal = row[0];
        if p != b'*' {
            row[0] += 1;
        }
        for j in 1..row.len() {
            let above = row[j];
            row[j] = if p == b'*' { above.min(row[j - 1]) } else { (diagonal + (p != name[j - 1]) as usize).min(above + 1).min(row[j - 1] + 1) };
            diagonal = above;
        }
    }
    row.last().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (pattern, name, expected) in [("kitten", "sitting", 3), ("", "abc", 3), ("*", "abc", 0), ("*.qurey", "a.b.query", 2), ("enc.*.key", "enc.0.kez", 1)]
        {
            assert_eq!(distance(pattern.as_bytes(), name.as_bytes()), Some(expected), "{pattern} {name}");
        }
        assert_eq!(name("fc1.wieght", ["fc1.weight", "fc2.bias"].into_iter()), Some("fc1.weight".to_string()));
        assert_eq!(name("fc1.weight", ["something.else"].into_iter()), None);
    }
}
