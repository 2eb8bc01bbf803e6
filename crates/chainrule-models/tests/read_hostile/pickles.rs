//! Pickles that would run a command, and such that would fill memory or never end.

use crate::{Folder, memory_stayed_small, zip};

/// As PyTorch's archive, and as its old format.
fn files(pickle: &[u8]) -> [Vec<u8>; 2] {
    let old = [
        b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}X\x0d\x00\x00\x00little_endian\x88s.",
        pickle,
        b"\x80\x02]X\x01\x00\x00\x000a.",
        &1u64.to_le_bytes(),
        &[0; 4],
    ];
    [zip(&[("x/data.pkl", pickle), ("x/data/0", &[0; 4])]), old.concat()]
}

/// `_rebuild_tensor_v2(storage of one number, offset, shape, strides, …)`.
fn tensor(offset: &str, shape: &str, strides: &str) -> Vec<u8> {
    let storage = "(S'storage'\nctorch\nFloatStorage\nS'0'\nS'cpu'\nI1\ntQ";
    format!("ctorch._utils\n_rebuild_tensor_v2\n({storage}I{offset}\n({shape}t({strides}tI00\nNtR").into_bytes()
}

#[test]
fn nothing_is_run() {
    let folder = Folder::new("run");
    let proof = folder.file("proof");
    let command = format!("touch {}", proof.display());
    let text = |text: &str| [&[0x8c, text.len() as u8], text.as_bytes()].concat();
    let line = |pickle: &str| pickle.replace("COMMAND", &command).into_bytes();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("os.system", line("cos\nsystem\n(S'COMMAND'\ntR.")),
        ("posix.system", [b"\x80\x04", &text("posix")[..], &text("system"), b"\x93", &text(&command), b"\x85R."].concat()),
        ("builtins.eval", line("\u{0}cbuiltins\neval\n(S'__import__(\"os\").system(\"COMMAND\")'\ntR.")[1..].to_vec()),
        ("__builtin__.exec", line("c__builtin__\nexec\n(S'import os; os.system(\"COMMAND\")'\ntR.")),
        ("os.system", line("(S'COMMAND'\nios\nsystem\n.")),
        ("os.system", line("(cos\nsystem\nS'COMMAND'\no.")),
        ("subprocess.Popen", line("csubprocess\nPopen\n((lS'touch'\naS'x'\nat\u{81}.")),
        ("builtins.getattr", line("cbuiltins\ngetattr\n(cos\nS'system'\ntR(S'COMMAND'\ntR.")),
        ("os.system", line("ccollections\nOrderedDict\n)R}S'__setstate__'\ncos\nsystem\nsbS'COMMAND'\nb.")),
        ("os.system", line("(S'storage'\ncos\nsystem\nS'0'\nS'cpu'\nI1\ntQ.")),
        // Names within names that are allowed, and others of the same modules.
        ("torch.FloatStorage.from_file", [b"\x80\x04", &text("torch")[..], &text("FloatStorage.from_file"), b"\x93."].concat()),
        ("torch.load", line("ctorch\nload\n(S'COMMAND'\ntR.")),
        ("torch.hub.load", line("ctorch.hub\nload\n(S'COMMAND'\ntR.")),
        ("torch._utils._rebuild_sparse_tensor", line("ctorch._utils\n_rebuild_sparse_tensor\n.")),
        ("collections.defaultdict", line("ccollections\ndefaultdict\n(cos\nsystem\ntR.")),
        ("__main__.Net", line("c__main__\nNet\n)\u{81}}b.")),
        // Calls of what is no function, extension codes, persistent ids of other kinds.
        ("calls a dict", line("ccollections\nOrderedDict\n)R(S'COMMAND'\ntR.")),
        ("calls the text", line("S'os.system'\n(S'COMMAND'\ntR.")),
        ("extension code", b"\x80\x02\x82\x01)R.".to_vec()),
        ("extension code", b"\x80\x02\x83\x01\x00)R.".to_vec()),
        ("extension code", b"\x80\x02\x84\x01\x00\x00\x00)R.".to_vec()),
        ("persistent id", line("Pos.system\n.")),
        ("persistent id", line("S'COMMAND'\nQ.")),
        ("persistent id", line("(S'module'\nctorch\nFloatStorage\nS'0'\nS'cpu'\nI1\ntQ.")),
        ("persistent id", line("(S'storage'\nccollections\nOrderedDict\nS'0'\nS'cpu'\nI1\ntQ.")),
        ("arguments that it does not take", line("ctorch\nFloatStorage\n(I5\ntR.")),
        ("arguments that it does not take", line("ctorch._utils\n_rebuild_parameter\n(S'COMMAND'\ntR.")),
        ("sets the state of", line("ctorch\nFloatStorage\n}S'__setstate__'\nS'COMMAND'\nsb.")),
        ("protocol 6", b"\x80\x06N.".to_vec()),
        ("instruction 0x98", b"\x80\x05N\x98.".to_vec()),
    ];
    for (named, pickle) in cases {
        for file in files(&pickle) {
            let error = folder.refusal(named, &file);
            assert!(error.contains(named), "{named}: {error}");
            assert!(!proof.exists(), "{named} was run");
        }
    }
    memory_stayed_small();
}

#[test]
fn tensors_stay_inside_their_storages() {
    let folder = Folder::new("inside");
    for file in files(&[&tensor("0", "I1\n", "I1\n")[..], b"."].concat()) {
        assert_eq!(folder.read(&file).unwrap()["tensor"].to_vec::<f32>().unwrap(), [0.0]);
    }
    // Without elements a tensor lies nowhere.
    for file in files(&[&tensor("9223372036854775807", "I0\n", "I1\n")[..], b"."].concat()) {
        assert_eq!(folder.read(&file).unwrap()["tensor"].dims(), [0]);
    }
    let huge = "I1000000000000000000\n";
    let cases = [
        ("1", "I1\n", "I1\n"),
        ("0", "I2\n", "I1\n"),
        ("9223372036854775807", "I1\n", "I1\n"),
        ("-1", "I1\n", "I1\n"),
        ("0", "I-1\n", "I1\n"),
        ("0", "I1\n", "I-1\n"),
        ("0", "I2\n", "I-1\n"),
        ("0", huge, "I1\n"),
        ("0", huge, "I0\n"),
        ("0", &format!("{huge}{huge}"), "I0\nI0\n"),
        ("0", &format!("{huge}I0\n{huge}"), "I0\n"),
        ("0", &format!("{huge}{huge}"), &format!("{huge}{huge}")),
        ("0", "I1\n", "I1\nI1\n"),
        ("0", "", "I1\n"),
        ("0", "NNN", "I1\nI1\nI1\n"),
        ("0", &"I1\n".repeat(65), &"I1\n".repeat(65)),
        // More dimensions than arrays have.
        ("0", &"I1\n".repeat(9), &"I1\n".repeat(9)),
    ];
    for (offset, shape, strides) in cases {
        for file in files(&[&tensor(offset, shape, strides)[..], b"."].concat()) {
            folder.refusal(&format!("{offset} {shape:?} {strides:?}"), &file);
        }
    }
    // Many tensors that each show one number a million times.
    let wide = tensor("0", "I1000000\n", "I0\n");
    let one = files(&[&wide[..], b"."].concat());
    assert_eq!(folder.read(&one[0]).unwrap()["tensor"].dims(), [1_000_000]);
    let many = [b"]", &[&wide[..], b"a"].concat().repeat(100)[..], b"."].concat();
    for file in files(&many) {
        assert!(folder.refusal("many views", &file).contains("many times over"));
    }
    // Many tensors of two numbers that stand far apart.
    let storage = "(S'storage'\nctorch\nFloatStorage\nS'0'\nS'cpu'\nI1000000\ntQ";
    let apart = format!("ctorch._utils\n_rebuild_tensor_v2\n({storage}I0\n(I2\ntNtR").replace("tNtR", "t(I999999\ntI00\nNtR").into_bytes();
    let many = [b"]", &[&apart[..], b"a"].concat().repeat(100)[..], b"."].concat();
    let numbers = vec![0; 4_000_000];
    assert!(folder.refusal("wide spans", &zip(&[("x/data.pkl", &many), ("x/data/0", &numbers)])).contains("show or span"));
    // An element count that the storage does not have, and one beyond all numbers.
    for count in ["2", "0", "-1", "4611686018427387904", "9223372036854775807"] {
        let pickle =
            [String::from_utf8(tensor("0", "I1\n", "I1\n")).unwrap().replace("'cpu'\nI1", &format!("'cpu'\nI{count}")).into_bytes(), b".".to_vec()].concat();
        files(&pickle).iter().for_each(|file| drop(folder.refusal(count, file)));
    }
    memory_stayed_small();
}

#[test]
fn texts_of_python_2() {
    let folder = Folder::new("python2");
    // Bytes that are no text are passed over, those that are may be names.
    let pickle = [&b"}(U\x03\xff\xfe.NU\x01a"[..], &tensor("0", "I1\n", "I1\n"), b"T\x01\x00\x00\x00b", &tensor("0", "I1\n", "I1\n"), b"u."].concat();
    for file in files(&pickle) {
        assert_eq!(folder.read(&file).unwrap().keys().collect::<Vec<_>>(), ["a", "b"]);
    }
}

#[test]
fn storages_that_contradict_each_other() {
    let folder = Folder::new("storages");
    let one = tensor("0", "I1\n", "I1\n");
    let with = |change: &str, to: &str| String::from_utf8(one.clone()).unwrap().replace(change, to).into_bytes();
    let pair = |other: &[u8]| [b"]", &one[..], b"a", other, b"a."].concat();
    for (what, other) in [
        ("another type", with("FloatStorage", "IntStorage")),
        ("another size", with("'cpu'\nI1", "'cpu'\nI2")),
        ("a storage that is not there", with("'0'", "'1'")),
        ("a key that leads elsewhere", with("'0'", "'../data.pkl'")),
        ("a part beyond its whole", with("'cpu'\nI1\n", "'cpu'\nI1\n(S'part'\nI1\nI1\nt")),
        ("a part by its whole's key", with("'cpu'\nI1\n", "'cpu'\nI1\n(S'0'\nI0\nI1\nt")),
    ] {
        files(&pair(&other)).iter().for_each(|file| drop(folder.refusal(what, file)));
    }
    // As PyTorch wrote before 0.4: a storage that is a part of another.
    for file in files(&pair(&with("'cpu'\nI1\n", "'cpu'\nI1\n(S'part'\nI0\nI1\nt"))) {
        assert_eq!(folder.read(&file).unwrap()["1"].to_vec::<f32>().unwrap(), [0.0]);
    }
}

#[test]
fn deep_wide_and_endless() {
    let folder = Folder::new("deep");
    let many = 100_000;
    // Tuples, lists and dicts within each other, a hundred thousand deep.
    let deep: Vec<Vec<u8>> = vec![
        [b"\x80\x02N", &b"\x85".repeat(many)[..], b"."].concat(),
        [&b"(".repeat(many)[..], b"N", &b"l".repeat(many), b"."].concat(),
        [&b"]".repeat(many)[..], &b"a".repeat(many - 1), b"."].concat(),
        [&b"(".repeat(many)[..], b"."].concat(),
        [b"\x80\x04]", &b"\x94".repeat(many)[..], b"."].concat(),
    ];
    for pickle in &deep {
        for file in files(pickle) {
            // Without tensors there is nothing to refuse but the depth.
            let _ = folder.read(&file);
        }
    }
    // A list of two of a list of two of …: 2^64 tensors.
    let laugh: Vec<u8> = (0..64).flat_map(|i| [&b"]q"[..], &[i + 1], b"(h", &[i], b"h", &[i], b"e"].concat()).collect();
    let laughs = [&tensor("0", "I1\n", "I1\n")[..], b"q\x00", &laugh, b"."].concat();
    for file in files(&laughs) {
        assert!(folder.refusal("laughs", &file).contains("no end of names"));
    }
    // A dict that holds itself; one long key by which tensors are called again and again.
    for file in files(&[b"]q\x00(h\x00", &tensor("0", "I1\n", "I1\n")[..], b"e."].concat()) {
        folder.refusal("itself", &file);
    }
    let key = [b"X", &(1u32 << 20).to_le_bytes()[..], &b"k".repeat(1 << 20), b"q\x01"].concat();
    let nested = [&b"}q\x02("[..], &key, &tensor("0", "I1\n", "I1\n"), b"u", &b"}(h\x01h\x02uq\x02".repeat(50), b"."].concat();
    for file in files(&nested) {
        folder.refusal("long names", &file);
    }
    // A list of a thousand pairs, made into dicts ten thousand times.
    let pairs = [&b"ccollections\nOrderedDict\nq\x01("[..], &b"(NNl".repeat(1000), b"lq\x02", &b"h\x01h\x02\x85R0".repeat(10_000), b"N."].concat();
    for file in files(&[b"\x80\x02", &pairs[..]].concat()) {
        assert!(folder.refusal("pairs", &file).contains("far more values"));
    }
    // The machine's facts, with one long key a hundred thousand times, before they say what they must.
    let key = [b"X", &(1u32 << 20).to_le_bytes()[..], &b"k".repeat(1 << 20), b"q\x01N"].concat();
    let facts = [b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.}(", &key[..], &b"h\x01N".repeat(100_000), b"u."].concat();
    assert!(folder.refusal("facts", &facts).contains("little-endian"));
    // Lengths beyond the file.
    for wrong in [
        &b"X\xff\xff\xff\xff"[..],
        b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff",
        b"B\xff\xff\xff\x7f",
        b"\x8b\xff\xff\xff\xff",
        b"\x96\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"cos",
    ] {
        files(&[wrong, b"."].concat()).iter().for_each(|file| drop(folder.refusal("length", file)));
    }
    // Instructions that lack their values.
    for opcode in 0..=255u8 {
        for before in [&b""[..], b"N", b"(", b"(N", b"](", b"}(N"] {
            let _ = folder.read(&files(&[before, &[opcode], b"."].concat())[0]);
        }
    }
    memory_stayed_small();
}

#[test]
fn one_instruction_without_end() {
    let folder = Folder::new("endless");
    for (before, again) in [(&b""[..], &b"N"[..]), (b"", b"]"), (b"", b"("), (b"", b")"), (b"N", b"\x85"), (b"N", b"\x94"), (b"", b"]\x94")] {
        let error = folder.refusal("without end", &files(&[b"\x80\x04", before, &again.repeat((1 << 20) + 1), b"."].concat())[0]);
        assert!(error.contains("far more than"), "{error}");
    }
    // One shape of many dimensions for tensors without end.
    let arguments = tensor("0", &"I1\n".repeat(64), &"I1\n".repeat(64));
    let arguments = arguments.strip_suffix(b"R").unwrap();
    let (function, arguments) = arguments.split_at(arguments.iter().position(|&c| c == b'(').unwrap());
    let tensors = [function, b"q\x01", arguments, b"q\x02", &b"h\x01h\x02R0".repeat(1 << 16)].concat();
    let error = folder.refusal("without end", &files(&[&tensors[..], b"N."].concat())[0]);
    assert!(error.contains("far more than"), "{error}");
    memory_stayed_small();
}
