//! Zip archives whose directory lies, arrays that promise what is not there, indices that reach elsewhere.

use crate::{Folder, memory_stayed_small, zip};

/// A `.npy` file with this header and these numbers.
fn npy(header: &str, numbers: &[u8]) -> Vec<u8> {
    [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), numbers].concat()
}

fn put(bytes: &mut [u8], at: usize, new: &[u8]) {
    bytes[at..at + new.len()].copy_from_slice(new);
}

fn find(bytes: &[u8], what: &[u8], nth: usize) -> usize {
    (0..bytes.len()).filter(|&at| bytes[at..].starts_with(what)).nth(nth).unwrap()
}

#[test]
fn directories_that_lie() {
    let folder = Folder::new("directory");
    let array = npy("{'descr': '|u1', 'fortran_order': False, 'shape': (3,)}", &[1, 2, 3]);
    let good = zip(&[("a.npy", &array), ("b.npy", &array)]);
    // Checksums are right, or it would not be read.
    let read = folder.read(&with_checksums(&good));
    assert_eq!(read.unwrap()["b"].to_vec::<u8>().unwrap(), [1, 2, 3]);
    assert!(folder.refusal("a wrong checksum", &good).contains("checksum"));
    let (first, second, end) = (find(&good, b"PK\x01\x02", 0), find(&good, b"PK\x01\x02", 1), find(&good, b"PK\x05\x06", 0));
    let changed = |at: usize, new: &[u8]| {
        let mut bytes = with_checksums(&good);
        put(&mut bytes, at, new);
        bytes
    };
    let max = u32::MAX.to_le_bytes();
    for (what, bytes, part) in [
        ("two entries of one place", changed(second + 42, &[0; 4]), "not where the directory says"),
        (
            "two entries of one place and name",
            {
                let mut b = changed(second + 42, &[0; 4]);
                put(&mut b, second + 46, b"a.npy");
                b
            },
            "overlaps",
        ),
        ("an entry far outside", changed(second + 42, &max), "not where the directory says"),
        ("sizes beyond the file", changed(first + 20, &[0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff, 0x7f]), "overlaps"),
        ("sizes that differ", changed(first + 24, &max), "cannot become"),
        ("an encrypted entry", changed(first + 8, &[1, 0]), "encrypted"),
        ("a method that is not known", changed(first + 10, &[14, 0]), "method 14"),
        ("another method than the header's", changed(first + 10, &[8, 0]), "not where the directory says"),
        ("more entries than there are", changed(end + 10, &[3, 0]), "does not fit"),
        ("fewer entries than there are", changed(end + 10, &[1, 0]), "more than its entries"),
        ("a directory outside", changed(end + 16, &max), "does not fit"),
        ("a directory of 4 GB", changed(end + 12, &max), "does not fit"),
        ("several disks", changed(end + 4, &[1, 0]), "disks"),
        ("a comment longer than the file", changed(end + 20, &[9, 0]), "cut short"),
        ("one name twice", zip(&[("a.npy", &array), ("a.npy", &array)]), "twice"),
        ("no archive of arrays", zip(&[("readme.txt", b"hello")]), "data.pkl"),
        ("TorchScript", zip(&[("x/data.pkl", b"N."), ("x/constants.pkl", b"N.")]), "TorchScript"),
        ("big-endian", zip(&[("x/data.pkl", b"N."), ("x/byteorder", b"big")]), "\"big\""),
    ] {
        let error = folder.refusal(what, &bytes);
        assert!(error.contains(part), "{what}: {error}");
    }
    memory_stayed_small();
}

/// An archive whose places and sizes stand in the wide records that archives of more than 4 GiB have.
fn wide(name: &str, contents: &[u8]) -> Vec<u8> {
    let narrow = with_checksums(&zip(&[(name, contents)]));
    let (entry, end) = (find(&narrow, b"PK\x01\x02", 0), find(&narrow, b"PK\x05\x06", 0));
    let size = (contents.len() as u64).to_le_bytes();
    let mut record = narrow[entry..end].to_vec();
    put(&mut record, 20, &[0xff; 8]);
    put(&mut record, 42, &[0xff; 4]);
    put(&mut record, 30, &[28, 0]);
    record.extend([&[1, 0, 24, 0], &size[..], &size, &0u64.to_le_bytes()].concat());
    let (from, length) = ((entry as u64).to_le_bytes(), (record.len() as u64).to_le_bytes());
    let one = 1u64.to_le_bytes();
    let directory = [b"PK\x06\x06", &44u64.to_le_bytes()[..], &[45, 0, 45, 0], &[0; 8], &one, &one, &length, &from].concat();
    let locator = [b"PK\x06\x07", &[0; 4][..], &((entry + record.len()) as u64).to_le_bytes(), &[1, 0, 0, 0]].concat();
    let end = [b"PK\x05\x06\0\0\0\0", &[0xff; 12][..], &[0, 0]].concat();
    [&narrow[..entry], &record, &directory, &locator, &end].concat()
}

#[test]
fn wide_directories() {
    let folder = Folder::new("wide");
    let good = wide("a.npy", &npy("{'descr': '|u1', 'fortran_order': False, 'shape': (3,)}", &[1, 2, 3]));
    assert_eq!(folder.read(&good).unwrap()["a"].to_vec::<u8>().unwrap(), [1, 2, 3]);
    let (record, directory, locator) = (find(&good, b"PK\x01\x02", 0), find(&good, b"PK\x06\x06", 0), find(&good, b"PK\x06\x07", 0));
    for at in [record + 55, record + 63, record + 71, directory + 24, directory + 32, directory + 40, directory + 48, locator + 8] {
        for wrong in [u64::MAX, u64::MAX / 2, 1 << 40] {
            let mut bytes = good.clone();
            put(&mut bytes, at, &wrong.to_le_bytes());
            // The count on this disk says nothing that the count in all does not.
            if at != directory + 24 {
                folder.refusal(&format!("{at} {wrong}"), &bytes);
            }
        }
    }
    memory_stayed_small();
}

/// The same archive with the checksums of its entries.
fn with_checksums(archive: &[u8]) -> Vec<u8> {
    let mut bytes = archive.to_vec();
    for nth in 0..(0..archive.len()).filter(|&at| archive[at..].starts_with(b"PK\x01\x02")).count() {
        let entry = find(archive, b"PK\x01\x02", nth);
        let field = |at: usize| u32::from_le_bytes(archive[at..at + 4].try_into().unwrap()) as usize;
        let (header, size) = (field(entry + 42), field(entry + 20));
        let start = header + 30 + u16::from_le_bytes([archive[header + 26], archive[header + 27]]) as usize;
        put(&mut bytes, entry + 16, &checksum(&archive[start..start + size]).to_le_bytes());
    }
    bytes
}

/// CRC-32, a bit at a time.
fn checksum(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, &byte| (0..8).fold(sum ^ u32::from(byte), |sum, _| (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg())))
}

/// An archive of one deflated entry.
fn deflated(name: &str, packed: &[u8], size: u32, checksum: u32) -> Vec<u8> {
    let mut bytes = zip(&[(name, packed)]);
    let entry = find(&bytes, b"PK\x01\x02", 0);
    put(&mut bytes, 8, &[8, 0]);
    put(&mut bytes, entry + 10, &[8, 0]);
    put(&mut bytes, entry + 16, &checksum.to_le_bytes());
    put(&mut bytes, entry + 24, &size.to_le_bytes());
    bytes
}

#[test]
fn bombs() {
    use std::io::Write;
    let folder = Folder::new("bombs");
    let deflate = |bytes: &[u8]| {
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let header = "{'descr': '|u1', 'fortran_order': False, 'shape': (3,)}";
    let good = npy(header, &[1, 2, 3]);
    assert!(folder.read(&deflated("a.npy", &deflate(&good), good.len() as u32, checksum(&good))).is_ok());
    // 32 MiB of zeros behind an array of three.
    let bomb = [&good[..], &vec![0; 32 << 20]].concat();
    let packed = deflate(&bomb);
    assert!(packed.len() < 40_000);
    let error = folder.refusal("more than promised", &deflated("a.npy", &packed, good.len() as u32, checksum(&good)));
    assert!(error.contains("inflates to more than"), "{error}");
    // The directory says all of it, the array's header does not; and more than deflate could make of it.
    assert!(folder.refusal("more than the array", &deflated("a.npy", &packed, bomb.len() as u32, 0)).contains("takes"));
    assert!(folder.refusal("too dense", &deflated("a.npy", &packed, u32::MAX, 0)).contains("cannot become"));
    // An array as large as the directory says, of which the stream has little.
    let promise = npy("{'descr': '|u1', 'fortran_order': False, 'shape': (30000000,)}", &[]);
    let stream = [deflate(&promise), vec![0; 40_000]].concat();
    folder.refusal("less than promised", &deflated("a.npy", &stream, promise.len() as u32 + 30_000_000, 0));
    folder.refusal("no deflate stream", &deflated("a.npy", &[0xff; 100], 100, 0));
    folder.refusal("PyTorch's entries are not compressed", &deflated("x/data.pkl", &deflate(b"N."), 2, 0));
    memory_stayed_small();
}

#[test]
fn arrays_that_promise_too_much() {
    let folder = Folder::new("arrays");
    for (what, header) in [
        ("a shape of 10^18", "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000000000,)}"),
        ("a product beyond numbers", "{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296, 4)}"),
        ("a negative shape", "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}"),
        ("nothing of much", "{'descr': '<f4', 'fortran_order': True, 'shape': (0, 9223372036854775807, 9223372036854775807)}"),
        ("objects", "{'descr': '|O', 'fortran_order': False, 'shape': (1,)}"),
        ("big-endian", "{'descr': '>f4', 'fortran_order': False, 'shape': (1,)}"),
        ("nine dimensions", "{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1)}"),
    ] {
        let numbers = if what == "nothing of much" { &[][..] } else { &[0; 4] };
        folder.refusal(what, &npy(header, numbers));
    }
    let mut wrong = npy("{'descr': '|u1', 'fortran_order': False, 'shape': ()}", &[1]);
    assert!(folder.read(&wrong).is_ok());
    wrong[6] = 4;
    assert!(folder.refusal("version", &wrong).contains("version 4.0"));
    folder.refusal("a header of 4 GB", b"\x93NUMPY\x02\x00\xff\xff\xff\xff{");
    memory_stayed_small();
}

#[test]
fn indices_that_reach_elsewhere() {
    let folder = Folder::new("index");
    let shard = |name: &str, value: u8| std::fs::write(folder.file(name), npy("{'descr': '|u1', 'fortran_order': False, 'shape': (1,)}", &[value])).unwrap();
    shard("one.npy", 1);
    let index = |map: &str| format!("{{\"metadata\": {{}}, \"weight_map\": {{{map}}}}}").into_bytes();
    assert_eq!(folder.read(&index(r#""array": "one.npy""#)).unwrap()["array"].to_vec::<u8>().unwrap(), [1]);
    for (map, part) in [
        (r#""array": "../one.npy""#, "beside it"),
        (r#""array": "/etc/passwd""#, "beside it"),
        (r#""array": "..""#, "beside it"),
        (r#""array": "weights""#, "no known format"),
        (r#""array": "index.json""#, "beside it"),
        (r#""array": 1"#, "no file"),
        (r#""other": "one.npy""#, "which lacks it"),
    ] {
        let error = folder.refusal(map, &index(map));
        assert!(error.contains(part), "{map}: {error}");
    }
    std::fs::write(folder.file("weights"), index(r#""array": "two.npy""#)).unwrap();
    assert!(crate::read(&folder.file("weights")).unwrap_err().contains("two.npy cannot be read"));
}
