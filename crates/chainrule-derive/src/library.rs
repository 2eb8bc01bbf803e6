//! Under which name the library stands in the crate that is compiled.
//!
//! Its manifest says so: a dependency `chainrule-nn` or the facade `chainrule`, each perhaps renamed. A look at the lines is enough, and spares every user of the derive a TOML parser.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use std::collections::BTreeMap;
use std::path::Path;

const NN: &str = "chainrule-nn";
const FACADE: &str = "chainrule";

/// `::chainrule_nn` or `::chainrule::nn`.
pub fn path() -> TokenStream {
    let package = std::env::var("CARGO_PKG_NAME").unwrap_or_default();
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR").and_then(|folder| std::fs::read_to_string(Path::new(&folder).join("Cargo.toml")).ok());
    let (name, facade) = choose(&package, manifest.as_deref().unwrap_or_default());
    let name = format_ident!("{}", name.replace('-', "_"));
    if facade { quote!(::#name::nn) } else { quote!(::#name) }
}

/// The crate's name, and whether it is the facade. What all targets of a package see comes before what only its tests see.
fn choose(package: &str, manifest: &str) -> (String, bool) {
    if package == NN || package == FACADE {
        return (package.to_string(), package == FACADE);
    }
    let found = dependencies(manifest);
    for section in [Section::All, Section::Tests] {
        for wanted in [NN, FACADE] {
            if let Some(name) = found.get(&(section, wanted.to_string())) {
                return (name.clone(), wanted == FACADE);
            }
        }
    }
    (FACADE.to_string(), true)
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Section {
    All,
    Tests,
}

/// The names of dependencies, by section and package.
fn dependencies(manifest: &str) -> BTreeMap<(Section, String), String> {
    let mut found = BTreeMap::new();
    let (mut section, mut table) = (None, None);
    for line in manifest.lines().map(str::trim) {
        if let Some(header) = line.strip_prefix('[') {
            (section, table) = heading(header.split(']').next().unwrap_or_default());
            if let (Some(section), Some(name)) = (section, &table) {
                found.insert((section, String::clone(name)), String::clone(name));
            }
            continue;
        }
        let (Some(section), Some((key, value))) = (section, line.split_once('=')) else { continue };
        let key = unquoted(key.split('.').next().unwrap_or_default());
        let (name, package) = match &table {
            Some(name) if key == "package" => (name.clone(), unquoted(value)),
            Some(_) => continue,
            None => (key.clone(), renamed(value).unwrap_or(key)),
        };
        found.insert((section, package), name);
    }
    found
}

/// Which dependencies a heading begins; the name, where it is the table of one of them.
fn heading(header: &str) -> (Option<Section>, Option<String>) {
    let parts: Vec<String> = header.split('.').map(unquoted).collect();
    let Some(at) = parts.iter().position(|p| matches!(p.as_str(), "dependencies" | "dev-dependencies")) else { return (None, None) };
    if at > 0 && parts[0] != "target" {
        return (None, None);
    }
    let section = if parts[at] == "dependencies" { Section::All } else { Section::Tests };
    (Some(section), parts.get(at + 1).cloned())
}

/// The value of `package` in an inline table.
fn renamed(value: &str) -> Option<String> {
    let (_, after) = value.split_once("package")?;
    let quoted = after.trim_start().strip_prefix('=')?;
    quoted.split(['"', '\'']).nth(1).map(str::to_string)
}

fn unquoted(text: &str) -> String {
    text.trim().trim_matches(['"', '\'']).to_string()
}

#[cfg(test)]
mod tests {
    use super::choose;

    #[test]
    fn the_manifest_names_the_crate() {
        let cases = [
            ("mine", "[dependencies]\nchainrule = \"0.1\"", "chainrule", true),
            ("mine", "[dependencies]\nchainrule-nn.workspace = true", "chainrule-nn", false),
            ("mine", "[dependencies]\nserde = \"1\"\nlearn = { package = \"chainrule\", version = \"0.1\" }", "learn", true),
            ("mine", "[dependencies.learn]\nversion = \"0.1\"\npackage = 'chainrule-nn'", "learn", false),
            ("mine", "[dependencies.chainrule]\nversion = \"0.1\"", "chainrule", true),
            ("mine", "[dependencies]\nchainrule = \"0.1\"\n[dev-dependencies]\nchainrule-nn = \"0.1\"", "chainrule", true),
            ("mine", "[dev-dependencies]\nchainrule-nn = \"0.1\"", "chainrule-nn", false),
            ("mine", "[target.'cfg(unix)'.dependencies]\nchainrule-nn = \"0.1\"", "chainrule-nn", false),
            ("mine", "[workspace.dependencies]\nchainrule-nn = \"0.1\"\n[dependencies]\nchainrule.workspace = true", "chainrule", true),
            ("mine", "", "chainrule", true),
            ("chainrule", "[dependencies]\nchainrule-nn = \"0.1\"", "chainrule", true),
            ("chainrule-nn", "", "chainrule-nn", false),
        ];
        for (package, manifest, name, facade) in cases {
            assert_eq!(choose(package, manifest), (name.to_string(), facade), "{manifest}");
        }
    }
}
