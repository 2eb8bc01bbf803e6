//! Asynchronous copies (`cp.async`), and copies within a thread's local memory.
//!
//! The data arrive only when the thread waits for them; until then the target counts as written but must not be read.
use super::Context;
use super::memory::{aligned, parts, window};
use crate::memory::Access;
use crate::program::{Place, Register, Space};
use crate::registers::Result;
use crate::shared::Actor;
use crate::types::{Doubles, LANES, lanes};
use crate::warp::Warp;

#[derive(Clone, Copy, Debug)]
pub(crate) struct AsyncCopy {
    lane: usize,
    /// The lane's group that it belongs to.
    group: u32,
    to: u64,
    from: u64,
    bytes: usize,
    /// The rest is filled with zeros.
    source_bytes: usize,
}

impl Warp {
    pub(super) fn copy_async(
        &mut self,
        context: &mut Context,
        [to, from]: [&Place; 2],
        bytes: usize,
        source_bytes: Option<Register>,
        ignore: Option<Register>,
        active: u32,
    ) -> Result<()> {
        let targets = self.addresses(to, active)?;
        let sources = self.addresses(from, active)?;
        aligned(&targets, bytes, active)?;
        aligned(&sources, bytes, active)?;
        let sizes = match source_bytes {
            Some(register) => *self.registers.read::<u32>(register, active)?,
            None => [bytes as u32; LANES],
        };
        let ignored = ignore.map_or(Ok(0), |register| self.registers.predicate(register, active))?;
        context.shared.begin_instruction();
        for lane in lanes(active) {
            let source_bytes = if ignored >> lane & 1 != 0 { 0 } else { (sizes[lane] as usize).min(bytes) };
            let by = Actor { warp: self.number, lane };
            if source_bytes > 0 {
                context.memory.locate(sources[lane], source_bytes).map_err(|problem| problem.lane(lane))?;
            }
            context.shared.reserve(targets[lane], bytes, by).map_err(|problem| problem.lane(lane))?;
            self.copies.push(AsyncCopy { lane, group: self.committed[lane], to: targets[lane], from: sources[lane], bytes, source_bytes });
        }
        Ok(())
    }

    pub(super) fn commit_copies(&mut self, active: u32) {
        lanes(active).for_each(|lane| self.committed[lane] += 1);
    }

    /// Lets all copies arrive but those of the last `pending` groups, or all if none is named.
    pub(super) fn wait_copies(&mut self, context: &mut Context, pending: Option<usize>, active: u32) -> Result<()> {
        let committed = self.committed;
        let due = |copy: &AsyncCopy| match pending {
            None => true,
            Some(pending) => copy.group < committed[copy.lane] && (committed[copy.lane] - copy.group) as usize > pending,
        };
        let (arriving, rest): (Vec<AsyncCopy>, _) = self.copies.drain(..).partition(|copy| active >> copy.lane & 1 != 0 && due(copy));
        self.copies = rest;
        context.shared.begin_instruction();
        for copy in arriving {
            self.deliver(context, &copy).map_err(|problem| problem.lane(copy.lane))?;
        }
        Ok(())
    }

    fn deliver(&self, context: &mut Context, copy: &AsyncCopy) -> Result<()> {
        let mut bytes = [0; 16];
        if copy.source_bytes > 0 {
            let allocation = context.memory.locate(copy.from, copy.source_bytes)?;
            allocation.initialised(copy.from, copy.source_bytes)?;
            allocation.touch(copy.from, copy.source_bytes, Access::Read, context.toucher)?;
            bytes[..copy.source_bytes].copy_from_slice(allocation.bytes(copy.from, copy.source_bytes));
            context.statistics.global_bytes_read += copy.source_bytes as u64;
        }
        context.shared.deliver(copy.to, &bytes[..copy.bytes], Actor { warp: self.number, lane: copy.lane })
    }

    /// Copies parameters or results of a call; what was not written stays so.
    pub(super) fn copy_local(&mut self, to: usize, from: usize, bytes: usize, active: u32) {
        for lane in lanes(active) {
            let start = self.local_start(lane);
            self.local.copy_within(start + from..start + from + bytes, start + to);
            for byte in 0..bytes {
                let written = self.local_written.get(start + from + byte);
                self.local_written.set(start + to + byte, 1, written);
            }
        }
    }

    /// Shared addresses of a place that may be generic.
    pub(super) fn shared_addresses(&self, place: &Place, active: u32) -> Result<Doubles> {
        let addresses = self.addresses(place, active)?;
        if place.space != Space::Generic {
            return Ok(addresses);
        }
        match parts(&addresses, active)[..] {
            [(Space::Shared, _)] => Ok(addresses.map(|address| address.wrapping_sub(window(Space::Shared)))),
            _ => Err(crate::fault::Problem::new(crate::fault::FaultKind::OutOfBounds, "the addresses do not lie in shared memory")),
        }
    }
}
