//! The committed kernels: PTX, sources, manifest and launches belong together, and the kernels fit every GPU. Needs no GPU. `scripts/ptx/build.py` mends what has grown old.

use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The architectures whose assembler has seen every kernel.
const ARCHITECTURES: [&str; 6] = ["sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120"];
/// What NVRTC 12.1 writes, and drivers from R530 on read.
const NEWEST_PTX: (u32, u32) = (8, 1);
const TARGET: &str = "sm_80";
/// Of a thread, by the instruction set; and of all threads of a multiprocessor together.
const MOST_REGISTERS: u64 = 255;
const REGISTER_FILE: u64 = 65536;
/// Shared memory that a block has without asking for more.
const MOST_SHARED: u64 = 48 << 10;
/// Threads of the largest block that is launched where the kernel does not say how many it takes, `Grid::THREADS`.
const THREADS: u64 = 256;

/// Kernels that may keep registers in memory, each with the reason.
const SPILLING: &[(&str, &str)] = &[];

/// Words in launching files that look like names of kernels and are operations, devices or fields.
const OTHER_WORDS: &[&str] = &["concatenate", "copy", "cuda", "item", "layer_norm_backward", "min", "overwrite", "rstd", "step", "sum_of_squares", "to"];

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../chainrule-core/src")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn collect(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    for path in std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())).flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            collect(&path, extension, found);
        } else if path.extension().is_some_and(|e| e == extension) {
            found.push(path);
        }
    }
}

/// All files of core that end so, in order.
fn files(extension: &str) -> Vec<PathBuf> {
    let mut found = vec![];
    collect(&source(), extension, &mut found);
    found.sort();
    assert!(!found.is_empty(), "core holds no .{extension} file");
    found
}

/// The path as the manifest names it.
fn name(path: &Path) -> String {
    path.strip_prefix(source()).expect("a file of core").to_string_lossy().replace('\\', "/")
}

fn stem(path: &Path) -> &str {
    path.file_stem().and_then(|stem| stem.to_str()).expect("a name of letters")
}

fn manifest() -> Map<String, Value> {
    serde_json::from_str(&read(&source().join("cuda/manifest.json"))).expect("the manifest is JSON")
}

/// FNV-1a, 64 bits, as `build.py` computes it.
fn hash<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let bytes = texts.into_iter().flat_map(str::bytes);
    format!("{:016x}", bytes.fold(0xcbf2_9ce4_8422_2325u64, |value, byte| (value ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)))
}

/// A kernel of a PTX file: what its header says of its block.
#[derive(Clone, Copy)]
struct Header {
    threads: u64,
    blocks: u64,
}

/// The kernels of a PTX text.
fn entries(ptx: &str) -> BTreeMap<String, Header> {
    let numbers = |line: &str| line.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse::<u64>().ok()).product::<u64>();
    let (mut found, mut current) = (BTreeMap::new(), None);
    for line in ptx.lines() {
        if let Some(rest) = line.split(".entry ").nth(1) {
            let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            found.insert(name.clone(), Header { threads: THREADS, blocks: 1 });
            current = Some(name);
        } else if let Some(header) = current.as_ref().and_then(|name| found.get_mut(name)) {
            match line.trim_start().split(' ').next() {
                Some(".maxntid" | ".reqntid") => header.threads = numbers(line),
                Some(".minnctapersm") => header.blocks = numbers(line),
                _ => {}
            }
        }
    }
    found
}

/// All kernels of all files.
fn all_entries() -> BTreeSet<String> {
    files("ptx").iter().flat_map(|path| entries(&read(path)).into_keys()).collect()
}

#[test]
fn the_manifest_describes_the_committed_files() {
    let manifest = manifest();
    let sources: BTreeSet<String> = files("cu").iter().map(|path| name(path)).collect();
    assert_eq!(sources, manifest.keys().cloned().collect(), "the files and the entries of the manifest; run scripts/ptx/build.py");
    let with_sources: BTreeSet<String> = files("ptx").iter().map(|path| name(&path.with_extension("cu"))).collect();
    assert_eq!(sources, with_sources, "every .cu has its .ptx and no .ptx stands alone");

    let headers = files("cuh");
    for path in &headers {
        assert!(path.parent().is_some_and(|folder| folder.ends_with("src/cuda")), "{}: headers stand in src/cuda, where hashes find them", path.display());
    }
    let headers: Vec<String> = headers.iter().map(|path| read(path)).collect();
    for path in files("cu") {
        let (entry, text) = (&manifest[&name(&path)], read(&path));
        let of_source = hash([text.as_str()].into_iter().chain(headers.iter().map(String::as_str)));
        assert_eq!(entry["source"], of_source, "{} or a header changed since its PTX was built; run scripts/ptx/build.py", name(&path));
        let ptx = read(&path.with_extension("ptx"));
        assert_eq!(entry["ptx"], hash([ptx.as_str()]), "the PTX of {} is not what was built; run scripts/ptx/build.py", name(&path));
        let kernels: BTreeSet<String> = entry["kernels"].as_object().expect("kernels").keys().cloned().collect();
        assert_eq!(kernels, entries(&ptx).into_keys().collect(), "kernels of {}", name(&path));
    }
}

#[test]
fn old_drivers_and_gpus_read_the_ptx() {
    for path in files("ptx") {
        let ptx = read(&path);
        let says = |what: &str| ptx.lines().find_map(|line| line.strip_prefix(what)).unwrap_or_else(|| panic!("{}: no {what}", path.display())).trim();
        let version = says(".version").split_once('.').and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
        assert!(version.is_some_and(|version| version <= NEWEST_PTX), "{}: PTX {}", path.display(), says(".version"));
        assert_eq!(says(".target"), TARGET, "{}", path.display());
        assert_eq!(manifest()[&name(&path.with_extension("cu"))]["version"], says(".version"), "{}", path.display());
    }
}

#[test]
fn no_kernel_spills_or_outgrows_a_multiprocessor() {
    let manifest = manifest();
    let mut spilled = BTreeSet::new();
    for path in files("ptx") {
        let headers = entries(&read(&path));
        for (kernel, measured) in manifest[&name(&path.with_extension("cu"))]["kernels"].as_object().expect("kernels") {
            for architecture in ARCHITECTURES {
                let [registers, spills, shared] = [0, 1, 2].map(|i| measured[architecture][i].as_u64().unwrap_or_else(|| panic!("{kernel} on {architecture}")));
                if spills > 0 {
                    spilled.insert(kernel.as_str());
                    assert!(SPILLING.iter().any(|(name, _)| name == kernel), "{kernel} spills {spills} bytes on {architecture}");
                }
                let Header { threads, blocks } = headers[kernel];
                // Registers are given out to a warp in steps of 8 a lane.
                let taken = registers.next_multiple_of(8) * threads * blocks;
                assert!(
                    registers <= MOST_REGISTERS && taken <= REGISTER_FILE,
                    "{kernel} on {architecture}: {registers} registers, {blocks} blocks of {threads} threads"
                );
                assert!(shared <= MOST_SHARED, "{kernel} on {architecture}: {shared} bytes of shared memory");
            }
        }
    }
    for (kernel, reason) in SPILLING {
        assert!(spilled.contains(kernel), "{kernel} no longer spills ({reason})");
    }
}

/// The text above the unit tests.
fn code(path: &Path) -> String {
    let text = read(path);
    text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default().to_string()
}

/// The words between quotation marks in a line that could name a kernel.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let is_word = |word: &&str| {
        word.starts_with(|c: char| c.is_ascii_lowercase() || c == '_') && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    text.lines().flat_map(|line| line.split('"').skip(1).step_by(2)).filter(is_word)
}

const DECLARED: &str = "Source::new(\"";

/// What stands before the next `end`.
fn until(text: &str, end: char) -> &str {
    text.split(end).next().unwrap_or_default()
}

#[test]
fn sources_are_named_as_their_files() {
    let mut embedded = BTreeSet::new();
    for path in files("rs") {
        let text = code(&path);
        for declared in text.split(DECLARED).skip(1) {
            let name = until(declared, '"');
            let file = until(declared.split_once("include_str!(\"").unwrap_or_else(|| panic!("{}: {name}", path.display())).1, '"');
            assert_eq!(stem(Path::new(file)), name, "{}: a folder of other PTX is searched by this name", path.display());
            assert!(embedded.insert(name.to_string()), "two sources are called {name}");
        }
    }
    let stems: BTreeSet<String> = files("ptx").iter().map(|path| stem(path).to_string()).collect();
    assert_eq!(embedded, stems, "embedded PTX and the files");
}

#[test]
fn what_is_launched_exists() {
    let entries = all_entries();
    for path in files("rs").iter().filter(|path| code(path).contains(DECLARED)) {
        let text = code(path);
        let sources: BTreeSet<&str> = text.split(DECLARED).skip(1).map(|declared| until(declared, '"')).collect();
        let joins = text.contains("concat!") || text.contains("names!");
        for word in words(&text) {
            let is_part = || joins && entries.iter().any(|entry| entry.contains(word));
            let known = entries.contains(word) || sources.contains(word) || OTHER_WORDS.contains(&word) || is_part();
            assert!(known, "{}: no PTX holds a kernel {word:?} (if it is the name of something else, OTHER_WORDS is the place for it)", path.display());
        }
    }
}

#[test]
fn every_kernel_is_launched() {
    let texts: Vec<String> = files("rs").iter().map(|path| code(path)).collect();
    let named: BTreeSet<&str> = texts.iter().flat_map(|text| words(text)).collect();
    // A name stands in a source as it is, or in two or three parts that `concat!` joins.
    fn is_joined(name: &str, named: &BTreeSet<&str>, parts: usize) -> bool {
        named.contains(name) || parts > 1 && (1..name.len()).any(|at| named.contains(&name[..at]) && is_joined(&name[at..], named, parts - 1))
    }
    for entry in all_entries() {
        assert!(is_joined(&entry, &named, 3), "no source names the kernel {entry}");
    }
}
