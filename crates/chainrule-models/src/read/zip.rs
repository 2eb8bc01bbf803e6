//! The part of the zip format that archives of tensors use: entries that are stored or deflated, with 64-bit sizes where needed.
//!
//! The directory at the file's end says where each entry's header stands; the numbers follow the header.
//! Entries that overlap, that reach past the directory, are encrypted, or have one name, are refused: nothing is ever read twice.
//!
//! Source: PKWARE's APPNOTE.TXT, sections 4.3 to 4.5. A reader of our own, because the few records it needs take less time to compile than the crates that read all of the format.

use super::pickle::{Reason, shown};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Take};

/// A directory takes about a hundred bytes an entry.
const LARGEST_DIRECTORY: u64 = 32 << 20;
/// The record at the end, and the longest comment behind it.
const END: usize = 22;
const LONGEST_COMMENT: u64 = 0xffff;
/// What deflate makes of one byte at most.
const MOST_INFLATED: u64 = 1032;

/// The entries of an archive.
pub(super) struct Zip(BTreeMap<String, Packed>);

/// Where an entry stands, and how.
#[derive(Clone, Debug)]
pub(super) struct Packed {
    name: String,
    deflated: bool,
    checksum: u32,
    /// Where its header begins, and its contents.
    header: u64,
    start: u64,
    packed: u64,
    size: u64,
}

impl Packed {
    /// How many bytes its contents have.
    pub(super) fn size(&self) -> u64 {
        self.size
    }
    pub(super) fn is_deflated(&self) -> bool {
        self.deflated
    }
    /// The CRC-32 of its contents. PyTorch can be told to write none, so that its archives are not held to it.
    pub(super) fn checksum(&self) -> u32 {
        self.checksum
    }
    /// Its bytes as they stand in the file.
    pub(super) fn packed<'a>(&self, file: &'a mut File) -> Result<Take<&'a mut File>, Reason> {
        file.seek(SeekFrom::Start(self.start)).map_err(unreadable)?;
        Ok(file.take(self.packed))
    }
    /// The contents of an entry that is not compressed.
    pub(super) fn stored<'a>(&self, file: &'a mut File) -> Result<Take<&'a mut File>, Reason> {
        self.start_of_stored()?;
        self.packed(file)
    }
    /// Where the contents begin of an entry that is not compressed.
    pub(super) fn start_of_stored(&self) -> Result<u64, Reason> {
        if self.deflated { Err(format!("has \"{}\" compressed, which PyTorch does not do", shown(&self.name))) } else { Ok(self.start) }
    }
}

impl Zip {
    /// Reads the directory and every entry's header.
    pub(super) fn open(file: &mut File) -> Result<Zip, Reason> {
        let size = file.metadata().map_err(unreadable)?.len();
        let (directory, count) = directory(file, size)?;
        let (from, bytes) = directory;
        let records = read_at(file, from, bytes)?;
        let mut entries = Vec::new();
        let mut rest = &records[..];
        for _ in 0..count {
            entries.push(record(&mut rest)?);
        }
        if !rest.is_empty() {
            return Err("is damaged: its directory holds more than its entries".into());
        }
        // Read and compared in the order in which they stand in the file.
        entries.sort_by_key(|entry| entry.header);
        let mut free = 0;
        let mut by_name = BTreeMap::new();
        for mut entry in entries {
            let name = shown(&entry.name);
            entry.start = locate(file, &entry)?;
            let end = entry.start.checked_add(entry.packed);
            if entry.header < free || end.is_none_or(|end| end > from) {
                return Err(format!("is damaged: its entry \"{name}\" overlaps another or the directory"));
            }
            free = entry.start + entry.packed;
            if by_name.insert(entry.name.clone(), entry).is_some() {
                return Err(format!("has the entry \"{name}\" twice"));
            }
        }
        Ok(Zip(by_name))
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
    pub(super) fn get(&self, name: &str) -> Option<&Packed> {
        self.0.get(name)
    }
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Packed)> {
        self.0.iter().map(|(name, entry)| (name.as_str(), entry))
    }
}

/// Where the directory stands, how long it is, and how many entries it has.
fn directory(file: &mut File, size: u64) -> Result<((u64, u64), u64), Reason> {
    let tail_at = size.saturating_sub(END as u64 + LONGEST_COMMENT);
    let tail = read_at(file, tail_at, size - tail_at)?;
    // The record's last field is the length of the comment, which ends with the file.
    let is_end = |at: &usize| tail[*at] == b'P' && tail[*at..].starts_with(b"PK\x05\x06") && at + END + u16_at(&tail, at + 20) as usize == tail.len();
    let at = (0..(tail.len() + 1).saturating_sub(END)).rev().find(is_end).ok_or("is cut short: a zip archive without its directory")?;
    let end = &tail[at..];
    let (mut count, mut bytes, mut from) = (u16_at(end, 10) as u64, u32_at(end, 12) as u64, u32_at(end, 16) as u64);
    let disks = [u16_at(end, 4), u16_at(end, 6)];
    let mut limit = tail_at + at as u64;
    // Before it stands, where 16 or 32 bits are too few, the place of a wider record.
    if let Some(locator) = at.checked_sub(20).map(|from| &tail[from..at]).filter(|locator| locator.starts_with(b"PK\x06\x07")) {
        let wide_at = u64_at(locator, 8);
        if wide_at.checked_add(56).is_none_or(|end| end > limit - 20) {
            return Err("is damaged: its directory's record lies outside it".into());
        }
        let wide = read_at(file, wide_at, 56)?;
        if !wide.starts_with(b"PK\x06\x06") {
            return Err("is damaged: its directory's record is missing".into());
        }
        (count, bytes, from, limit) = (u64_at(&wide, 32), u64_at(&wide, 40), u64_at(&wide, 48), wide_at);
    }
    if disks != [0, 0] && disks != [0xffff, 0xffff] {
        return Err("is one part of an archive on several disks".into());
    }
    let inside = from.checked_add(bytes).is_some_and(|end| end <= limit);
    if !inside || bytes > LARGEST_DIRECTORY || count > bytes / 46 {
        return Err(format!(
            "is damaged: its directory of {count} entries in {bytes} bytes at byte {from} does not fit, expected at most {LARGEST_DIRECTORY} bytes before byte {limit}"
        ));
    }
    Ok(((from, bytes), count))
}

/// One entry of the directory.
fn record(rest: &mut &[u8]) -> Result<Packed, Reason> {
    let damaged = || "is damaged: its directory is cut short".to_string();
    let fixed = take(rest, 46).filter(|r| r.starts_with(b"PK\x01\x02")).ok_or_else(damaged)?;
    let (flags, method) = (u16_at(fixed, 8), u16_at(fixed, 10));
    let (mut packed, mut size, mut header) = (u32_at(fixed, 20) as u64, u32_at(fixed, 24) as u64, u32_at(fixed, 42) as u64);
    let name = take(rest, u16_at(fixed, 28) as usize).ok_or_else(damaged)?;
    let mut extra = take(rest, u16_at(fixed, 30) as usize).ok_or_else(damaged)?;
    take(rest, u16_at(fixed, 32) as usize).ok_or_else(damaged)?;
    let name = std::str::from_utf8(name).map_err(|_| "has an entry whose name is not UTF-8")?.to_string();
    // Fields that are too wide stand in an extra field, in this order.
    while let Some(head) = take(&mut extra, 4) {
        let mut field = take(&mut extra, u16_at(head, 2) as usize).ok_or_else(damaged)?;
        if u16_at(head, 0) == 1 {
            for value in [&mut size, &mut packed, &mut header] {
                if *value == u32::MAX as u64 {
                    *value = u64_at(take(&mut field, 8).ok_or_else(damaged)?, 0);
                }
            }
        }
    }
    if flags & 1 != 0 {
        return Err(format!("has the entry \"{}\" encrypted", shown(&name)));
    }
    let deflated = match method {
        0 => false,
        8 => true,
        other => return Err(format!("has the entry \"{}\" compressed by method {other}, expected none or deflate", shown(&name))),
    };
    let possible = if deflated { size <= packed.saturating_mul(MOST_INFLATED) } else { size == packed };
    if !possible {
        return Err(format!("is damaged: its entry \"{}\" has {packed} bytes, which cannot become {size}", shown(&name)));
    }
    Ok(Packed { name, deflated, checksum: u32_at(fixed, 16), header, start: 0, packed, size })
}

/// Where an entry's contents begin: after its own header, which repeats its name.
fn locate(file: &mut File, entry: &Packed) -> Result<u64, Reason> {
    let damaged = || format!("is damaged: its entry \"{}\" is not where the directory says", shown(&entry.name));
    let fixed = read_at(file, entry.header, 30).map_err(|_| damaged())?;
    let (name, extra) = (u16_at(&fixed, 26) as usize, u16_at(&fixed, 28) as u64);
    let method = if entry.deflated { 8 } else { 0 };
    if !fixed.starts_with(b"PK\x03\x04") || u16_at(&fixed, 8) != method || name != entry.name.len() {
        return Err(damaged());
    }
    let own = read_at(file, entry.header + 30, name as u64).map_err(|_| damaged())?;
    if own != entry.name.as_bytes() {
        return Err(damaged());
    }
    Ok(entry.header + 30 + name as u64 + extra)
}

/// Reads bytes that are known to be few.
fn read_at(file: &mut File, from: u64, count: u64) -> Result<Vec<u8>, Reason> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(from)).and_then(|_| file.take(count).read_to_end(&mut bytes)).map_err(unreadable)?;
    if bytes.len() as u64 == count { Ok(bytes) } else { Err(format!("is cut short: it ends before byte {}", from.saturating_add(count))) }
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(count)?;
    *rest = after;
    Some(taken)
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    // Beyond the end stand zeros, which no record takes for a size.
    bytes.get(at..at + N).and_then(|b| b.try_into().ok()).unwrap_or([0; N])
}
fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(array_at(bytes, at))
}
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}
fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}

fn unreadable(error: std::io::Error) -> Reason {
    format!("cannot be read: {error}")
}
