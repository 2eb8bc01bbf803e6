//! Sound files of each format, cut short at every byte, and with bytes changed.

use crate::{Folder, memory_stayed_small};
use chainrule_models::read::Checkpoint;

const FILES: &[&str] = &["old.pth", "new.pth", "stored.npz", "deflated.npz", "column_major.npy", "half.npy", "small.safetensors"];

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/files").join(name)).unwrap()
}

#[test]
fn cut_short_at_every_byte() {
    let folder = Folder::new("short");
    for name in FILES {
        let bytes = fixture(name);
        assert!(folder.read(&bytes).is_ok(), "{name}");
        for length in 0..bytes.len() {
            folder.refusal(&format!("{name} cut to {length} bytes"), &bytes[..length]);
        }
        // A zip archive may have anything before its end but not behind it; the others end with their last number.
        folder.refusal(&format!("{name} and a byte"), &[&bytes[..], &[0]].concat());
    }
    memory_stayed_small();
}

#[test]
fn a_byte_changed() {
    let folder = Folder::new("changed");
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let mut random = |below: usize| {
        // xorshift64.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    for name in FILES {
        let bytes = fixture(name);
        let whole: usize = folder.read(&bytes).unwrap().values().map(|a| a.count()).sum();
        let mut refused = 0;
        const TRIALS: usize = 700;
        for _ in 0..TRIALS {
            let mut damaged = bytes.clone();
            for _ in 0..=random(2) {
                damaged[random(bytes.len())] = random(256) as u8;
            }
            match folder.read(&damaged) {
                Err(error) => {
                    assert!(error.len() < 1000, "{name}: {error}");
                    refused += 1;
                }
                Ok(state) => assert!(state.values().map(|a| a.count()).sum::<usize>() <= 16 * whole + 100, "{name}"),
            }
        }
        // Numbers and padding may change unseen, where the format has no checksum; the rest may not.
        assert!(refused * 5 > TRIALS, "{name}: {refused} of {TRIALS}");
    }
    memory_stayed_small();
}

#[test]
fn a_file_that_shrinks_while_it_is_open() {
    let folder = Folder::new("shrinks");
    for name in FILES {
        let (bytes, file) = (fixture(name), folder.file("weights"));
        std::fs::write(&file, &bytes).unwrap();
        let mut checkpoint = Checkpoint::open(&file).unwrap();
        std::fs::write(&file, &bytes[..bytes.len() / 4]).unwrap();
        assert!(checkpoint.state_dict().is_err(), "{name}");
    }
}

#[test]
fn what_is_no_file_of_weights_is_named() {
    let folder = Folder::new("others");
    let tar = [&[b'a'; 257][..], b"ustar", &[0; 250]].concat();
    for (what, bytes) in [
        ("empty", &b""[..]),
        ("no known format", b"hello"),
        ("GGUF", b"GGUF\x03\0\0\0"),
        ("HDF5", b"\x89HDF\r\n\x1a\n"),
        ("tar", &tar),
        ("not of PyTorch's", b"\x80\x04K\x01."),
        ("weight_map", b"{}"),
        ("expected at most", &[&(2u64 << 30).to_le_bytes()[..], b"{"].concat()),
    ] {
        assert!(folder.refusal(what, bytes).contains(what), "{what}");
    }
    assert!(Checkpoint::open(folder.file("not there")).unwrap_err().to_string().contains("not there"));
    assert!(Checkpoint::open(&folder.0).is_err());
}
