//! One allocation: its bytes, which of them were written, and who touched them in the running launch.
use super::bits::Bits;
use super::touches::{Access, Toucher, Touches};
use crate::fault::{FaultKind, Problem};

const POISON: u8 = 0xA5;

#[derive(Clone, Debug)]
pub(crate) struct Allocation {
    base: u64,
    length: usize,
    live: bool,
    bytes: Vec<u8>,
    written: Bits,
    touches: Touches,
}

impl Allocation {
    /// None if the host lacks the memory. The bytes are zero, so that the host lends pages only where something is written; nobody can
    /// read them before that.
    pub fn new(base: u64, length: usize) -> Option<Allocation> {
        Vec::<u8>::new().try_reserve_exact(length).ok()?;
        Some(Allocation { base, length, live: true, bytes: vec![0; length], written: Bits::new(length), touches: Touches::default() })
    }

    pub fn base(&self) -> u64 {
        self.base
    }

    pub fn len(&self) -> usize {
        self.length
    }

    /// Keeps the place and drops the contents.
    pub fn free(&mut self) {
        self.live = false;
        self.bytes = Vec::new();
        self.written = Bits::default();
        self.touches = Touches::default();
    }

    #[inline]
    pub fn holds(&self, address: u64, bytes: usize) -> bool {
        let offset = address.wrapping_sub(self.base);
        self.live && offset < self.length as u64 && bytes as u64 <= self.length as u64 - offset
    }

    /// That the range lies in here, or what is wrong with it; `address` is not below the allocation.
    pub fn check(&self, address: u64, bytes: usize) -> Result<(), Problem> {
        if self.holds(address, bytes) {
            return Ok(());
        }
        let offset = address - self.base;
        let (length, base) = (self.length, self.base);
        if self.live || offset >= self.length as u64 {
            let what = if self.live { "allocation" } else { "freed allocation" };
            return Err(Problem::at(FaultKind::OutOfBounds, address, format!("{bytes} bytes at offset {offset} of the {what} of {length} bytes at {base:#x}")));
        }
        Err(Problem::at(FaultKind::Freed, address, format!("{bytes} bytes at offset {offset} of {length} bytes at {base:#x}, which were freed")))
    }

    fn offset(&self, address: u64) -> usize {
        (address - self.base) as usize
    }

    #[inline]
    pub fn bytes(&self, address: u64, length: usize) -> &[u8] {
        let offset = self.offset(address);
        &self.bytes[offset..offset + length]
    }

    pub fn initialised(&self, address: u64, length: usize) -> Result<(), Problem> {
        match self.written.first_clear(self.offset(address), length) {
            None => Ok(()),
            Some(at) => Err(Problem::at(
                FaultKind::Uninitialised,
                self.base + at as u64,
                format!("offset {at} of {} bytes at {:#x} was never written", self.length, self.base),
            )),
        }
    }

    /// One lane's aligned read.
    #[inline]
    pub fn lane_bytes<const N: usize>(&self, address: u64) -> Result<[u8; N], Problem> {
        let offset = self.offset(address);
        if !self.written.all_within(offset, N) {
            self.initialised(address, N)?;
        }
        let mut bytes = [0; N];
        bytes.copy_from_slice(&self.bytes[offset..offset + N]);
        Ok(bytes)
    }

    /// One lane's aligned write.
    #[inline]
    pub fn set_lane_bytes<const N: usize>(&mut self, address: u64, bytes: &[u8; N]) {
        let offset = self.offset(address);
        self.bytes[offset..offset + N].copy_from_slice(bytes);
        self.written.set_within(offset, N);
    }

    #[inline]
    pub fn write(&mut self, address: u64, bytes: &[u8]) {
        let offset = self.offset(address);
        self.bytes[offset..offset + bytes.len()].copy_from_slice(bytes);
        self.written.set(offset, bytes.len(), true);
    }

    pub fn poison(&mut self, address: u64, length: usize) {
        let offset = self.offset(address);
        self.bytes[offset..offset + length].fill(POISON);
        self.written.set(offset, length, false);
    }

    /// Bytes and their marks; no marks if all are written.
    pub fn cut(&self, address: u64, length: usize) -> (Vec<u8>, Option<Vec<bool>>) {
        let offset = self.offset(address);
        let marks = || (offset..offset + length).map(|at| self.written.get(at)).collect();
        (self.bytes(address, length).to_vec(), if self.written.all(offset, length) { None } else { Some(marks()) })
    }

    /// Puts bytes with their marks.
    pub fn paste(&mut self, address: u64, bytes: &[u8], marks: Option<&[bool]>) {
        self.write(address, bytes);
        let mut start = self.offset(address);
        for run in marks.unwrap_or_default().chunk_by(|a, b| a == b) {
            self.written.set(start, run.len(), run[0]);
            start += run.len();
        }
    }

    /// Notes an access of a block and finds races with those of others.
    #[inline]
    pub fn touch(&mut self, address: u64, length: usize, access: Access, by: Option<Toucher>) -> Result<(), Problem> {
        let Some(by) = by else { return Ok(()) };
        let offset = self.offset(address);
        self.touches.touch(offset, length, access, by).map_err(|conflict| {
            let others = conflict.other.map_or("several other blocks".to_string(), |block| format!("block number {block}"));
            Problem::at(FaultKind::GlobalRace, self.base + conflict.offset as u64, format!("{}: {others}, with nothing that orders the two", conflict.detail))
        })
    }
}
