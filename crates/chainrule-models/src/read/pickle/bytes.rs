//! The bytes of a pickle, fetched as the machine comes to them: where it ends is known only when it has been read.

use super::{Reason, Span, shown};
use std::io::Read;

/// Real pickles describe tensors in some hundred bytes each.
const LARGEST: usize = 16 << 20;
const PIECE: usize = 1 << 16;

pub(in crate::read) struct Bytes<'a> {
    from: &'a mut dyn Read,
    read: Vec<u8>,
    at: usize,
}

impl<'a> Bytes<'a> {
    pub(in crate::read) fn new(from: &'a mut dyn Read) -> Bytes<'a> {
        Bytes { from, read: Vec::new(), at: 0 }
    }

    /// How many bytes were taken.
    pub(in crate::read) fn taken(&self) -> usize {
        self.at
    }

    /// Takes so many bytes.
    pub(super) fn take(&mut self, count: usize) -> Result<&[u8], Reason> {
        let from = self.at;
        let end = self.reach(count)?;
        self.at = end;
        Ok(&self.read[from..end])
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Reason> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// Takes a text of so many bytes, or nothing if they are none.
    pub(super) fn text(&mut self, length: u64) -> Result<Span, Reason> {
        let (from, length) = (self.at, usize::try_from(length).unwrap_or(usize::MAX));
        let is_text = std::str::from_utf8(self.take(length)?).is_ok();
        if !is_text {
            self.at = from;
            return Err(format!("holds a text at byte {from} of its pickle that is not UTF-8"));
        }
        Ok(Span { from: from as u32, length: length as u32 })
    }

    /// Takes a line, without its end.
    pub(super) fn line(&mut self) -> Result<Span, Reason> {
        let mut length = 0;
        loop {
            let end = self.reach(length + 1)?;
            if self.read[end - 1] == b'\n' {
                let line = self.text(length as u64)?;
                self.at = end;
                return Ok(line);
            }
            length += 1;
        }
    }

    /// A text that was taken. It costs its length each time.
    pub(in crate::read) fn of(&self, span: Span) -> &str {
        std::str::from_utf8(self.raw(span)).unwrap_or_default()
    }

    /// Whether a text that was taken is this one.
    pub(in crate::read) fn is(&self, span: Span, text: &str) -> bool {
        self.raw(span) == text.as_bytes()
    }

    fn raw(&self, span: Span) -> &[u8] {
        self.read.get(span.from as usize..(span.from as usize).saturating_add(span.length as usize)).unwrap_or_default()
    }

    /// The same for a message.
    pub(super) fn shown(&self, span: Span) -> String {
        shown(self.of(span))
    }

    /// Fetches so many bytes from here on, and says where they end.
    fn reach(&mut self, count: usize) -> Result<usize, Reason> {
        let end = self.at.checked_add(count).filter(|&end| end <= LARGEST).ok_or_else(|| {
            format!(
                "is cut short, damaged or no file of tensors: its pickle goes on for {count} bytes from byte {} on, expected at most {LARGEST} in all",
                self.at
            )
        })?;
        while self.read.len() < end {
            let before = self.read.len();
            self.from.take(PIECE as u64).read_to_end(&mut self.read).map_err(|error| format!("cannot be read: {error}"))?;
            if self.read.len() == before {
                return Err(format!("is cut short: its pickle ends at byte {before}, expected {count} bytes from byte {} on", self.at));
            }
        }
        Ok(end)
    }
}
