//! Files that are cut short, damaged or made to do harm: errors, and nothing is changed.

use crate::Folder;
use chainrule_autograd::Rng;
use chainrule_nn::*;

fn model() -> Linear {
    Linear::new(3, 2, &mut Rng::seeded(1)).unwrap()
}

fn numbers(model: &Linear) -> Vec<Vec<f32>> {
    state_dict(model).unwrap().values().map(|a| a.to_vec().unwrap()).collect()
}

#[test]
fn cut_short_at_every_byte() {
    let folder = Folder::new("short");
    let file = folder.file("model");
    save(&Linear::new(3, 2, &mut Rng::seeded(2)).unwrap(), &file).unwrap();
    let bytes = std::fs::read(&file).unwrap();
    let mut model = model();
    let before = numbers(&model);
    for length in 0..bytes.len() {
        std::fs::write(&file, &bytes[..length]).unwrap();
        let error = load(&mut model, &file).unwrap_err();
        assert!(matches!(error, Error::File { .. }) && error.to_string().contains("model"), "{length}: {error}");
        assert!(load_partly(&mut model, &file).is_err() && safetensors::read(&file).is_err());
        assert_eq!(numbers(&model), before);
    }
    // Longer is as wrong as shorter.
    std::fs::write(&file, [&bytes[..], &[0]].concat()).unwrap();
    assert!(load(&mut model, &file).unwrap_err().to_string().contains("promises"));
    std::fs::write(&file, &bytes).unwrap();
    assert!(load(&mut model, &file).unwrap().is_complete());
    assert_ne!(numbers(&model), before);
}

#[test]
fn any_byte_changed() {
    let folder = Folder::new("changed");
    let file = folder.file("model");
    save(&Linear::new(3, 2, &mut Rng::seeded(2)).unwrap(), &file).unwrap();
    let bytes = std::fs::read(&file).unwrap();
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut model = model();
    let before = numbers(&model);
    let mut accepted = 0;
    for at in 0..header {
        for flip in [0x01, 0x20, 0x80] {
            let mut damaged = bytes.clone();
            damaged[at] ^= flip;
            std::fs::write(&file, &damaged).unwrap();
            match load(&mut model, &file) {
                Err(_) => assert_eq!(numbers(&model), before),
                // A padding space may become another character that JSON skips, F32 another type of that size.
                Ok(_) => {
                    accepted += 1;
                    model = self::model();
                }
            }
        }
    }
    assert!(accepted < header / 4, "{accepted} of {}", 3 * header);
}

#[test]
fn made_to_do_harm() {
    let folder = Folder::new("harm");
    let file = folder.file("model");
    let with = |header: &str, data: &[u8]| {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(data);
        bytes
    };
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("a header of 2 GB", (2u64 << 30).to_le_bytes().to_vec()),
        ("a header of 2^64 - 1", u64::MAX.to_le_bytes().to_vec()),
        ("a header that is no JSON", with("{{{{", &[])),
        ("a header that is no text", [&4u64.to_le_bytes()[..], &[0xff; 4]].concat()),
        ("a header that is a list", with("[1, 2]", &[])),
        ("nested without end", with(&deep, &[])),
        ("offsets past the end", with(r#"{"weight":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}"#, &[0; 8])),
        ("offsets backwards", with(r#"{"weight":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}"#, &[0; 8])),
        ("negative offsets", with(r#"{"weight":{"dtype":"F32","shape":[2],"data_offsets":[-8,0]}}"#, &[0; 8])),
        ("negative shape", with(r#"{"weight":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}"#, &[0; 8])),
        ("overlap", with(r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#, &[0; 12])),
        (
            "the same numbers twice",
            with(r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#, &[0; 8]),
        ),
        ("a gap", with(r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}}"#, &[0; 12])),
        ("a shape that overflows", with(r#"{"weight":{"dtype":"F32","shape":[4611686018427387904,4611686018427387904],"data_offsets":[0,0]}}"#, &[])),
        ("a shape that does not fit", with(r#"{"weight":{"dtype":"F32","shape":[5],"data_offsets":[0,8]}}"#, &[0; 8])),
        ("an unknown type", with(r#"{"weight":{"dtype":"F31","shape":[2],"data_offsets":[0,8]}}"#, &[0; 8])),
        ("one name twice", with(r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#, &[0; 8])),
        (
            "one name twice, alike",
            with(r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, &[0; 4]),
        ),
        ("texts twice", with(r#"{"__metadata__":{},"__metadata__":{}}"#, &[])),
        ("a shape of 10^18", with(r#"{"weight":{"dtype":"F32","shape":[1000000000000000000],"data_offsets":[0,4]}}"#, &[0; 4])),
        ("an endless dimension", with(r#"{"weight":{"dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,4]}}"#, &[0; 4])),
        ("metadata that is no text", with(r#"{"__metadata__":{"a":1}}"#, &[])),
        ("no header", with("", &[])),
        ("nothing", vec![]),
    ];
    let mut model = model();
    let before = numbers(&model);
    for (what, bytes) in cases {
        std::fs::write(&file, bytes).unwrap();
        let error = load_partly(&mut model, &file).map(|r| panic!("{what} was accepted: {r}")).unwrap_err();
        assert!(error.to_string().len() < 600, "{what}: {error}");
        assert!(safetensors::read(&file).is_err(), "{what}");
        assert_eq!(numbers(&model), before, "{what}");
    }
    for missing in [folder.file("not there"), folder.0.clone()] {
        assert!(load(&mut model, &missing).is_err());
    }
}

#[test]
fn types_and_shapes_that_the_library_lacks_are_named() {
    let folder = Folder::new("types");
    let file = folder.file("model");
    let write = |header: &str, data: &[u8]| {
        let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat();
        std::fs::write(&file, bytes).unwrap();
    };
    write(r#"{"weight":{"dtype":"F8_E4M3","shape":[2,3],"data_offsets":[0,6]}}"#, &[0; 6]);
    assert!(safetensors::read(&file).unwrap_err().to_string().contains("F8_E4M3"));
    assert!(load(&mut model(), &file).unwrap_err().to_string().contains("wrong shape: weight: got F8_E4M3 [2, 3], expected f32 [2, 3]"));
    write(r#"{"x":{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,4]}}"#, &[0; 4]);
    assert!(safetensors::read(&file).is_err());
    // Small integers and truth values are widened.
    write(r#"{"b":{"dtype":"BOOL","shape":[2],"data_offsets":[0,2]},"i":{"dtype":"I16","shape":[1],"data_offsets":[2,4]}}"#, &[0, 1, 0xfe, 0xff]);
    let read = safetensors::read(&file).unwrap();
    assert_eq!((read["b"].to_vec::<u8>().unwrap(), read["i"].to_vec::<i64>().unwrap()), (vec![0, 1], vec![-2]));
}
