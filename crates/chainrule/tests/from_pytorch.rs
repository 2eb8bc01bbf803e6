//! Every name on the right of docs/from-pytorch.md is in the sources.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// All source text of a crate.
fn sources(name: &str) -> String {
    let (mut folders, mut text) = (vec![root().join("crates").join(name).join("src")], String::new());
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())).flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                text += &std::fs::read_to_string(&path).expect("a source");
            }
        }
    }
    text
}

/// The names that source text defines: after `fn`, `struct` and the like, and at the head of a row of a macro's table (`relu() Relu, …`), which is indented once.
fn names(text: &str) -> BTreeSet<&str> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut found = BTreeSet::new();
    for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
        let words: Vec<&str> = line.split(|c: char| !is_word(c)).filter(|word| !word.is_empty()).collect();
        found.extend(words.windows(2).filter(|pair| ["fn", "struct", "enum", "type", "trait"].contains(&pair[0])).map(|pair| pair[1]));
        if let Some(row) = line.strip_prefix("    ").filter(|row| row.starts_with(is_word) && !row.starts_with("let ")) {
            let end = row.find(|c: char| !is_word(c) && !" ,/".contains(c)).unwrap_or(row.len());
            let mut head: Vec<&str> = row[..end].split(|c: char| !is_word(c)).collect();
            // A name before a colon is a field or part of a path.
            if row[end..].starts_with(':') {
                head.pop();
            }
            found.extend(head);
        }
    }
    found
}

/// The crate, or the type, in which a name's first part is at home.
fn home(first: &str) -> &str {
    match first {
        "Tensor" => "autograd",
        "Array" | "Device" | "Rng" => "core",
        "Module" => "nn",
        "Optimizer" | "Schedule" => "optim",
        other => other,
    }
}

#[test]
fn names_of_the_migration_table_exist() {
    let page = std::fs::read_to_string(root().join("docs/from-pytorch.md")).expect("the page");
    let texts = ["core", "autograd", "nn", "optim", "data", "train"].map(|name| (name, sources(&format!("chainrule-{name}"))));
    let file = |path: &str| std::fs::read_to_string(root().join("crates").join(path)).expect("a source");
    let (facade, tape, gradients) = (file("chainrule/src/lib.rs"), file("chainrule-autograd/src/tape.rs"), file("chainrule-autograd/src/gradients.rs"));
    let mut known: BTreeMap<_, _> = texts.iter().map(|(name, text)| (*name, names(text))).collect();
    known.insert("Tape", names(&tape));
    known.insert("Gradients", names(&gradients));
    // What the facade offers at its root, it has from elsewhere.
    known.insert("chainrule", facade.split(|c: char| !c.is_alphanumeric() && c != '_').collect());
    let (mut seen, mut missing) = (0, vec![]);
    for row in page.lines().filter(|line| line.starts_with('|') && !line.starts_with("|---") && !line.starts_with("| PyTorch")) {
        let ours = row.split('|').nth(2).unwrap_or_default();
        assert!(ours.contains('`') || ours.trim() == "–", "a row without an answer: {row}");
        for name in ours.split('`').skip(1).step_by(2) {
            let parts: Vec<&str> = name.split("::").collect();
            let names = known.get(home(parts[0])).unwrap_or_else(|| panic!("`{name}` does not say where it is: {row}"));
            seen += 1;
            if !names.contains(parts[parts.len() - 1]) {
                missing.push(name);
            }
        }
    }
    assert!(seen > 300, "only {seen} names were read");
    assert!(missing.is_empty(), "not in the sources: {missing:?}");
}
