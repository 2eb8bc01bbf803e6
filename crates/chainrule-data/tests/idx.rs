//! The IDX reader: every element type, and every way in which a file can be wrong.

use chainrule_autograd::{DType, Tensor};
use chainrule_data::{Error, read_idx, read_idx_from};
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use std::io::{Read, Write};
use std::path::PathBuf;

fn idx(code: u8, dims: &[u32], elements: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, code, dims.len() as u8];
    dims.iter().for_each(|d| bytes.extend(d.to_be_bytes()));
    bytes.extend(elements);
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn read(bytes: &[u8]) -> Result<Tensor, Error> {
    read_idx_from(bytes, "digits.idx")
}

/// The message of the error that these bytes must give.
fn refusal(bytes: &[u8]) -> String {
    let error = read(bytes).expect_err("expected an error");
    assert!(matches!(error, Error::Format { .. }), "{error:?}");
    let message = error.to_string();
    assert!(message.starts_with("digits.idx: "), "{message}");
    message
}

fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn every_element_type_is_read() {
    let dims = [2, 3];
    let bytes = |width: usize, f: &dyn Fn(usize) -> Vec<u8>| (0..6).flat_map(|i| f(i)[..width].to_vec()).collect::<Vec<u8>>();
    let wanted = [-3i64, -2, -1, 0, 1, 2];

    let array = read(&idx(0x08, &dims, &[0, 1, 2, 253, 254, 255])).unwrap();
    assert_eq!((array.dims(), array.dtype(), array.to_vec::<u8>().unwrap()), (&[2, 3][..], DType::U8, vec![0, 1, 2, 253, 254, 255]));
    let array = read(&idx(0x09, &dims, &bytes(1, &|i| (wanted[i] as i8).to_be_bytes().to_vec()))).unwrap();
    assert_eq!((array.dtype(), array.to_vec::<i64>().unwrap()), (DType::I64, wanted.to_vec()));
    let array = read(&idx(0x0B, &dims, &bytes(2, &|i| (wanted[i] as i16 * 300).to_be_bytes().to_vec()))).unwrap();
    assert_eq!(array.to_vec::<i64>().unwrap(), wanted.map(|x| x * 300));
    let array = read(&idx(0x0C, &dims, &bytes(4, &|i| (wanted[i] as i32 * 70_000).to_be_bytes().to_vec()))).unwrap();
    assert_eq!(array.to_vec::<i64>().unwrap(), wanted.map(|x| x * 70_000));
    let array = read(&idx(0x0D, &dims, &bytes(4, &|i| (wanted[i] as f32 / 3.0).to_be_bytes().to_vec()))).unwrap();
    assert_eq!((array.dtype(), array.to_vec::<f32>().unwrap()), (DType::F32, wanted.map(|x| x as f32 / 3.0).to_vec()));
    let array = read(&idx(0x0E, &dims, &bytes(8, &|i| (wanted[i] as f64 / 3.0).to_be_bytes().to_vec()))).unwrap();
    assert_eq!((array.dtype(), array.to_vec::<f64>().unwrap()), (DType::F64, wanted.map(|x| x as f64 / 3.0).to_vec()));
}

#[test]
fn shapes_of_all_ranks_are_read() {
    assert_eq!(read(&idx(0x08, &[], &[7])).unwrap().item().unwrap(), 7.0);
    assert_eq!(read(&idx(0x08, &[0, 4_000_000_000], &[])).unwrap().dims(), [0, 4_000_000_000]);
    assert_eq!(read(&idx(0x08, &[1; 8], &[7])).unwrap().rank(), 8);
    assert!(refusal(&idx(0x08, &[1; 9], &[7])).contains("at most 8"));
    assert!(refusal(&idx(0x08, &[1; 255], &[7])).contains("at most 8"));
}

#[test]
fn gzip_is_found_by_content_and_may_have_members() {
    let plain = idx(0x08, &[300], &[5; 300]);
    let whole = read(&gzip(&plain)).unwrap().to_vec::<u8>().unwrap();
    assert_eq!(whole, [5; 300]);
    let members = [gzip(&plain[..100]), gzip(&plain[100..])].concat();
    assert_eq!(read(&members).unwrap().to_vec::<u8>().unwrap(), whole);

    // The name says nothing.
    let (misnamed, named) = (file("misnamed.idx", &gzip(&plain)), file("plain.gz", &plain));
    assert_eq!(read_idx(misnamed).unwrap().to_vec::<u8>().unwrap(), whole);
    assert_eq!(read_idx(named).unwrap().to_vec::<u8>().unwrap(), whole);
}

#[test]
fn a_source_may_give_a_byte_at_a_time() {
    struct Drip<'a>(&'a [u8]);
    impl Read for Drip<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let n = buffer.len().min(1);
            self.0.read(&mut buffer[..n])
        }
    }
    for bytes in [idx(0x0B, &[2], &[0, 1, 0, 2]), gzip(&idx(0x0B, &[2], &[0, 1, 0, 2]))] {
        assert_eq!(read_idx_from(Drip(&bytes), "drip").unwrap().to_vec::<i64>().unwrap(), [1, 2]);
    }
}

#[test]
fn a_file_cut_anywhere_is_an_error() {
    let plain = idx(0x0B, &[3, 5, 2], &[9; 60]);
    let packed = gzip(&plain);
    for whole in [&plain, &packed] {
        assert!(read(whole).is_ok());
        for length in 0..whole.len() {
            refusal(&whole[..length]);
        }
    }
    assert!(refusal(&plain[..3]).contains("ends after 3 bytes"));
    assert!(refusal(&plain[..9]).contains("header ends after 9 bytes, expected 16"));
    let message = refusal(&plain[..70]);
    assert!(message.contains("[3, 5, 2]") && message.contains("60 bytes") && message.contains("holds 54"), "{message}");
    assert!(refusal(&packed[..packed.len() - 1]).contains("cut short"));
}

#[test]
fn a_file_too_long_is_an_error() {
    let mut plain = idx(0x08, &[4], &[1; 4]);
    plain.push(0);
    assert!(refusal(&plain).contains("too long"));
    assert!(refusal(&gzip(&plain)).contains("too long"));
    let mut packed = gzip(&plain[..plain.len() - 1]);
    packed.extend(b"more");
    refusal(&packed);
}

#[test]
fn a_flipped_bit_in_gzip_never_changes_the_numbers() {
    let noise: Vec<u8> = (0..=255).map(|i: u8| i.wrapping_mul(73)).collect();
    let regular: Vec<u8> = (0..=255).map(|i: u8| i / 50).collect();
    for elements in [noise, regular] {
        let packed = gzip(&idx(0x08, &[16, 16], &elements));
        let mut refused = 0;
        for at in 0..packed.len() {
            for bit in 0..8 {
                let mut bad = packed.clone();
                bad[at] ^= 1 << bit;
                // Padding bits and the header's date mean nothing; all else is an error.
                match read(&bad) {
                    Ok(array) => assert_eq!(array.to_vec::<u8>().unwrap(), elements, "byte {at}, bit {bit}"),
                    Err(_) => refused += 1,
                }
            }
        }
        assert!(refused > (packed.len() - 10) * 8 - 16, "{refused} of {}", packed.len() * 8);
        let mut bad = packed;
        let checksum = bad.len() - 8;
        bad[checksum] ^= 1;
        assert!(refusal(&bad).contains("corrupt"));
    }
}

#[test]
fn other_files_are_told_apart() {
    for bytes in [&b"\x89PNG\r\n"[..], b"PK\x03\x04....", b"\0\0\x0A\x01....", b"\0\x01\x08\x01....", b"%PDF"] {
        let message = refusal(bytes);
        assert!(message.contains("not an IDX file") && message.contains("expected 00 00"), "{message}");
    }
    assert!(refusal(b"\x1F\x8B no gzip at all").contains("gzip"));
}

#[test]
fn a_promise_is_not_believed() {
    // Exabytes promised, eight bytes held: neither an attempt to reserve them nor an overflow.
    for dims in [&[u32::MAX][..], &[u32::MAX; 2], &[u32::MAX; 8], &[1 << 16, 1 << 16, 1 << 12]] {
        for code in [0x08, 0x0E] {
            let plain = idx(code, dims, &[1; 8]);
            refusal(&plain);
            refusal(&gzip(&plain));
        }
    }
    assert!(refusal(&idx(0x08, &[u32::MAX], &[1; 8])).contains("promises"));
}

#[test]
fn a_missing_file_is_named() {
    let error = read_idx("no/such/file.idx").unwrap_err();
    assert!(matches!(error, Error::File { .. }) && error.to_string().contains("no/such/file.idx"), "{error}");
    let error = read_idx(env!("CARGO_TARGET_TMPDIR")).unwrap_err();
    assert!(matches!(error, Error::File { .. }), "{error}");
}

proptest! {
    #[test]
    fn whatever_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&bytes);
    }

    #[test]
    fn whatever_follows_a_good_magic_never_panics(code in 8u8..15, rank in 0u8..10, rest in proptest::collection::vec(prop_oneof![Just(0u8), any::<u8>()], 0..80)) {
        let mut bytes = vec![0, 0, code, rank];
        bytes.extend(rest);
        let _ = read(&bytes);
        let _ = read(&gzip(&bytes));
    }

    #[test]
    fn what_is_written_is_read(dims in proptest::collection::vec(0u32..5, 0..5), seed in any::<u8>()) {
        let count: u32 = dims.iter().product();
        let elements: Vec<u8> = (0..count).map(|i| (i as u8).wrapping_mul(31).wrapping_add(seed)).collect();
        for bytes in [idx(0x08, &dims, &elements), gzip(&idx(0x08, &dims, &elements))] {
            let array = read(&bytes).unwrap();
            prop_assert_eq!(array.dims(), dims.iter().map(|&d| d as usize).collect::<Vec<_>>());
            prop_assert_eq!(array.to_vec::<u8>().unwrap(), elements.clone());
        }
    }
}
