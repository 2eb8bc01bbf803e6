//! The rules of the house that a machine can hold: imports point down, files end at 600 lines, `unsafe` only in core (and in the driver made of software, which ships with nothing).

use std::path::{Path, PathBuf};

/// The crates, lowest first. The software GPU of the tests stands below core, as a GPU's driver does.
const CRATES: &[&str] = &["ptx", "softgpu", "core", "autograd", "derive", "nn", "optim", "data", "train", "models", "finetune", "chainrule", "bench"];

/// The modules of each crate, lowest first. Modules in one row may know each other (a tensor stands on a tape, a tape makes tensors); others import from rows above their own only.
const MODULES: &[(&str, &[&str])] = &[
    ("core", &["dtype", "error", "shape", "parallel", "device memory simd cuda", "float layout", "array", "gemm", "convolution", "random", "ops"]),
    ("autograd", &["error", "tensor tape recorder recording checkpoint pass scan backward gradients", "record", "create", "rules", "operators gradcheck"]),
    ("nn", &["error", "state"]),
    ("optim", &["error", "rule", "group", "optimizer", "step", "schedule plateau state optimize", "rules", "average loss_scale lbfgs"]),
    ("data", &["error", "dataset", "idx", "loader", "mnist"]),
    ("train", &["error", "memory", "metric", "plot progress"]),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn folder(name: &str) -> PathBuf {
    root().join("crates").join(if name == "chainrule" { name.to_string() } else { format!("chainrule-{name}") })
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|e| e.path()) {
        if path.is_dir() && !path.ends_with("target") {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    rust_files(folder, &mut found);
    assert!(!found.is_empty(), "{} holds no source", folder.display());
    found
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The lines of code above the unit tests.
fn code(path: &Path) -> Vec<String> {
    let text = read(path);
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).map(str::to_string).collect()
}

#[test]
fn crates_import_downward() {
    for (place, name) in CRATES.iter().enumerate().filter(|(_, name)| folder(name).exists()) {
        let manifest = read(&folder(name).join("Cargo.toml"));
        // What tests use does not count.
        let shipped = manifest.split("[dev-dependencies]").next().unwrap_or_default();
        for (other_place, other) in CRATES.iter().enumerate() {
            let package = if *other == "chainrule" { "chainrule".to_string() } else { format!("chainrule-{other}") };
            let imports = shipped.lines().any(|line| line.starts_with(&format!("{package}.")) || line.starts_with(&format!("{package} =")));
            assert!(!imports || other_place < place, "{name} imports {other}, which stands above it");
        }
    }
}

#[test]
fn modules_import_downward() {
    for (name, rows) in MODULES {
        let source = folder(name).join("src");
        let row_of = |module: &str| rows.iter().position(|row| row.split(' ').any(|m| m == module));
        for path in files(&source) {
            let inside = path.strip_prefix(&source).expect("a path below the source");
            let first = inside.iter().next().expect("a file").to_string_lossy().replace(".rs", "");
            let (Some(own), false) = (row_of(&first), path.ends_with("tests.rs") || path.ends_with("testing.rs")) else { continue };
            for line in code(&path) {
                for other in line.split("crate::").skip(1).map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default()) {
                    if let Some(row) = row_of(other) {
                        assert!(
                            row < own || rows[own].split(' ').any(|m| m == other),
                            "{}: `{first}` imports `{other}`, which does not stand below it",
                            path.display()
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn files_end_at_600_lines() {
    for part in ["crates", "examples", "benches"] {
        for path in files(&root().join(part)) {
            let lines = read(&path).lines().count();
            assert!(lines <= 600, "{} has {lines} lines; 600 is the end, find the second idea in it", path.display());
        }
    }
}

#[test]
fn unsafe_code_stands_in_core_only() {
    // A driver is an interface of C.
    for name in CRATES.iter().filter(|name| !["core", "softgpu"].contains(name) && folder(name).exists()) {
        let root = ["lib.rs", "main.rs"].map(|file| folder(name).join("src").join(file)).into_iter().find(|path| path.exists()).expect("a crate root");
        assert!(read(&root).contains("#![forbid(unsafe_code)]"), "{} lacks #![forbid(unsafe_code)]", root.display());
    }
}
