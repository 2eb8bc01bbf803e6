//! Shared memory of a block, with the races between its threads.
//!
//! Time passes at every synchronisation. For each pair of warps the block remembers up to which time the accesses of the one happen before
//! what the other does now (vector clocks as in FastTrack, Flanagan and Freund 2009, over one common clock); for a warp with itself it is
//! the time of its last `.sync`. Every granule of memory remembers its last write and the reads since: an access that meets an unordered
//! one of another thread is a race, whichever of the two the schedule ran first.
use crate::fault::{FaultKind, Problem};
use crate::memory::{Access, Bits};
use crate::types::lanes;

/// Several lanes.
const SEVERAL: u8 = 32;

/// Some accesses to a granule: the warps that made them, the lane if it was one, and the time of the last.
#[derive(Clone, Copy, Debug, Default)]
struct Touch {
    warps: u32,
    time: u32,
    lane: u8,
}

#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    written: Touch,
    read: Touch,
    /// The instruction that wrote last.
    instruction: u32,
    atomic: bool,
}

/// A thread within its block. The lane may stand for several.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Actor {
    pub warp: usize,
    pub lane: usize,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Shared {
    bytes: Vec<u8>,
    written: Bits,
    marks: Vec<Mark>,
    shift: u32,
    warps: usize,
    time: u32,
    /// `ordered[w * warps + v]`: accesses of `v` up to that time happen before what `w` does now.
    ordered: Vec<u32>,
    /// The least of a warp's row.
    floor: Vec<u32>,
    instruction: u32,
}

/// A warp at a barrier: when it came, and whether it waits for the others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub warp: usize,
    pub time: u32,
    pub waits: bool,
}

impl Shared {
    /// Forgets everything; the bytes are poisoned.
    pub fn reset(&mut self, bytes: usize, granule_shift: u32, warps: usize) {
        self.bytes.clear();
        self.bytes.resize(bytes, 0xA5);
        self.written = Bits::new(bytes);
        self.marks.clear();
        self.marks.resize(bytes.div_ceil(1 << granule_shift), Mark::default());
        self.shift = granule_shift;
        self.warps = warps;
        self.time = 1;
        self.ordered.clear();
        self.ordered.resize(warps * warps, 0);
        self.floor.clear();
        self.floor.resize(warps, 0);
        self.instruction = 0;
    }

    /// A new instruction begins: its lanes are told from those of earlier ones.
    pub fn begin_instruction(&mut self) {
        self.instruction = self.instruction.wrapping_add(1);
    }

    /// All lanes of the warp see what its lanes did before.
    pub fn sync_warp(&mut self, warp: usize) {
        self.ordered[warp * self.warps + warp] = self.time;
        self.time += 1;
        self.set_floor(warp);
    }

    fn set_floor(&mut self, warp: usize) {
        self.floor[warp] = self.ordered[warp * self.warps..(warp + 1) * self.warps].iter().copied().min().unwrap_or(0);
    }

    /// A warp comes to a barrier.
    pub fn arrive(&mut self, warp: usize, waits: bool) -> Arrival {
        self.sync_warp(warp);
        Arrival { warp, time: self.time - 1, waits }
    }

    /// All have come: those that waited see what all did before they came.
    pub fn complete(&mut self, arrivals: &[Arrival]) {
        let now = self.time;
        self.time += 1;
        let mut seen = vec![0; self.warps];
        for arrival in arrivals {
            let row = &self.ordered[arrival.warp * self.warps..(arrival.warp + 1) * self.warps];
            for (warp, (seen, &own)) in seen.iter_mut().zip(row).enumerate() {
                // A warp that waited did nothing since it came; one that only arrived may have gone on.
                let own = match warp == arrival.warp {
                    true if arrival.waits => now,
                    true => arrival.time,
                    false => own,
                };
                *seen = own.max(*seen);
            }
        }
        for arrival in arrivals.iter().filter(|arrival| arrival.waits) {
            let row = &mut self.ordered[arrival.warp * self.warps..(arrival.warp + 1) * self.warps];
            for (own, &seen) in row.iter_mut().zip(&seen) {
                *own = seen.max(*own);
            }
            self.set_floor(arrival.warp);
        }
    }

    /// Whether the accesses may still be going on, as far as the actor can know.
    #[inline(always)]
    fn unordered(&self, touch: &Touch, by: Actor) -> bool {
        touch.time > self.floor[by.warp] && self.unordered_since_floor(touch, by)
    }

    fn unordered_since_floor(&self, touch: &Touch, by: Actor) -> bool {
        let own = 1 << by.warp;
        let row = &self.ordered[by.warp * self.warps..];
        if touch.warps == own {
            return touch.lane as usize != by.lane && touch.time > row[by.warp];
        }
        lanes(touch.warps & !own).any(|warp| touch.time > row[warp]) || touch.warps & own != 0 && touch.time > row[by.warp]
    }

    /// The accesses to remember when one more is made: earlier ones that happen before it need no remembering.
    #[inline]
    fn joined(&self, touch: &Touch, by: Actor) -> Touch {
        let own = 1 << by.warp;
        if touch.warps == own && touch.time == self.time {
            Touch { lane: if touch.lane as usize == by.lane { touch.lane } else { SEVERAL }, ..*touch }
        } else if self.unordered(touch, by) {
            Touch { warps: touch.warps | own, time: self.time, lane: SEVERAL }
        } else {
            Touch { warps: own, time: self.time, lane: by.lane as u8 }
        }
    }

    #[cold]
    fn race(&self, granule: usize, what: &str, earlier: Touch, by: Actor) -> Problem {
        let warps: Vec<String> = lanes(earlier.warps).map(|warp| warp.to_string()).collect();
        let lane = if earlier.lane == SEVERAL { "several lanes".to_string() } else { format!("lane {}", earlier.lane) };
        let message = format!("{what} warp {}, {lane}, with nothing that orders it before warp {}, lane {}", warps.join(", "), by.warp, by.lane.min(31));
        Problem::at(FaultKind::SharedRace, (granule as u64) << self.shift, message)
    }

    /// Bounds of an access.
    #[inline]
    pub fn check(&self, offset: u64, length: usize) -> Result<usize, Problem> {
        if offset >= self.bytes.len() as u64 || self.bytes.len() as u64 - offset < length as u64 {
            return Err(Problem::at(FaultKind::OutOfBounds, offset, format!("{length} bytes of shared memory of {} bytes", self.bytes.len())));
        }
        Ok(offset as usize)
    }

    /// A read by one lane, or by several of a warp at once.
    #[inline]
    pub fn read<const N: usize>(&mut self, offset: u64, strong: bool, by: Actor) -> Result<[u8; N], Problem> {
        let start = self.check(offset, N)?;
        if !self.written.all_within(start, N) {
            let at = self.written.first_clear(start, N).unwrap_or(start);
            return Err(Problem::at(
                FaultKind::Uninitialised,
                at as u64,
                "shared memory that was never written, or whose asynchronous copy was not waited for",
            ));
        }
        for granule in start >> self.shift..=(start + N - 1) >> self.shift {
            let Mark { written, read, atomic, .. } = &self.marks[granule];
            if self.unordered(written, by) && !(strong && *atomic) {
                return Err(self.race(granule, "read of what was written by", *written, by));
            }
            // Most reads are among several of the same instruction: those are known already.
            let known = read.time == self.time && read.warps >> by.warp & 1 != 0 && (read.lane == SEVERAL || read.lane as usize == by.lane);
            if !strong && !known {
                self.marks[granule].read = self.joined(read, by);
            }
        }
        let mut bytes = [0; N];
        bytes.copy_from_slice(&self.bytes[start..start + N]);
        Ok(bytes)
    }

    /// Notes that bytes are about to be written, and finds races.
    #[inline]
    fn claim(&mut self, start: usize, bytes: &[u8], access: Access, by: Actor) -> Result<(), Problem> {
        let atomic = access == Access::Atomic;
        for granule in start >> self.shift..=(start + bytes.len() - 1) >> self.shift {
            let mut mark = self.marks[granule];
            if self.unordered(&mark.written, by) && !(atomic && mark.atomic) {
                let together = mark.instruction == self.instruction && mark.written.warps == 1 << by.warp;
                if !together || self.bytes[start..start + bytes.len()] != *bytes {
                    return Err(self.race(granule, "write of what was written by", mark.written, by));
                }
            }
            if self.unordered(&mark.read, by) {
                return Err(self.race(granule, "write of what was read by", mark.read, by));
            }
            if atomic && mark.atomic {
                mark.written = self.joined(&mark.written, by);
            } else {
                let lane = if mark.written.time == self.time && mark.instruction == self.instruction && mark.written.lane as usize != by.lane {
                    SEVERAL
                } else {
                    by.lane as u8
                };
                mark.written = Touch { warps: 1 << by.warp, time: self.time, lane };
            }
            mark.atomic = atomic;
            mark.instruction = self.instruction;
            self.marks[granule] = mark;
        }
        Ok(())
    }

    #[inline]
    pub fn write<const N: usize>(&mut self, offset: u64, bytes: &[u8; N], access: Access, by: Actor) -> Result<(), Problem> {
        let start = self.check(offset, N)?;
        self.claim(start, bytes, access, by)?;
        self.bytes[start..start + N].copy_from_slice(bytes);
        self.written.set_within(start, N);
        Ok(())
    }

    /// The target of an asynchronous copy: written as of now, but not to be read before the copy is waited for.
    pub fn reserve(&mut self, offset: u64, length: usize, by: Actor) -> Result<(), Problem> {
        let start = self.check(offset, length)?;
        self.claim(start, &vec![0xA5; length], Access::Write, by)?;
        self.bytes[start..start + length].fill(0xA5);
        self.written.set(start, length, false);
        Ok(())
    }

    /// The bytes of an asynchronous copy arrive.
    pub fn deliver(&mut self, offset: u64, bytes: &[u8], by: Actor) -> Result<(), Problem> {
        let start = self.check(offset, bytes.len())?;
        self.claim(start, bytes, Access::Write, by)?;
        self.bytes[start..start + bytes.len()].copy_from_slice(bytes);
        self.written.set(start, bytes.len(), true);
        Ok(())
    }

    /// Replaces a value by what `change` makes of it, for atomics.
    pub fn update<const N: usize>(&mut self, offset: u64, by: Actor, change: impl FnOnce([u8; N]) -> [u8; N]) -> Result<[u8; N], Problem> {
        let old = self.read::<N>(offset, true, by)?;
        self.write(offset, &change(old), Access::Atomic, by)?;
        Ok(old)
    }
}
