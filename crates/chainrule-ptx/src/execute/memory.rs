//! Loads and stores of all spaces.
use super::{Context, LOCAL_WINDOW, PARAMETER_WINDOW, SHARED_WINDOW, WINDOW_SHIFT};
use crate::fault::{FaultKind, Problem};
use crate::memory::Access;
use crate::program::{Place, Slot, Space};
use crate::registers::Result;
use crate::shared::Actor;
use crate::types::{ALL, Bank, Doubles, LANES, Type, lanes};
use crate::warp::Warp;

/// The bytes of an access, for every lane.
pub(super) type Bytes<const N: usize> = [[u8; N]; LANES];

pub(super) fn window(space: Space) -> u64 {
    match space {
        Space::Shared => SHARED_WINDOW,
        Space::Local => LOCAL_WINDOW,
        Space::Parameter => PARAMETER_WINDOW,
        Space::Generic | Space::Global => 0,
    }
}

/// The space that a generic address lies in.
#[inline]
pub(super) fn space_of(address: u64) -> Space {
    match address >> WINDOW_SHIFT {
        1 => Space::Shared,
        2 => Space::Local,
        3 => Space::Parameter,
        _ => Space::Global,
    }
}

/// That all active addresses are multiples of the width.
#[inline]
pub(super) fn aligned(addresses: &Doubles, width: usize, active: u32) -> Result<()> {
    let low = width as u64 - 1;
    if active == ALL && addresses.iter().fold(0, |all, address| all | address) & low == 0 {
        return Ok(());
    }
    match lanes(active).find(|&lane| addresses[lane] & low != 0) {
        None => Ok(()),
        Some(lane) => Err(Problem::at(FaultKind::Misaligned, addresses[lane], format!("an access of {width} bytes")).lane(lane)),
    }
}

/// Whether the lanes access a row of memory in their order.
#[inline]
fn consecutive(addresses: &Doubles, width: usize) -> bool {
    let first = addresses[0];
    let mut same = true;
    for (lane, address) in addresses.iter().enumerate() {
        same &= *address == first.wrapping_add((lane * width) as u64);
    }
    same
}

/// The least and the greatest active address.
#[inline]
fn extremes(addresses: &Doubles, active: u32) -> (u64, u64) {
    if active == ALL {
        return addresses.iter().fold((u64::MAX, 0), |(low, high), &address| (low.min(address), high.max(address)));
    }
    lanes(active).fold((u64::MAX, 0), |(low, high), lane| (low.min(addresses[lane]), high.max(addresses[lane])))
}

/// Calls the method for the size of the access.
macro_rules! by_width {
    ($width:expr, $self:ident.$method:ident($($argument:expr),*)) => {
        match $width {
            1 => $self.$method::<1>($($argument),*),
            2 => $self.$method::<2>($($argument),*),
            4 => $self.$method::<4>($($argument),*),
            8 => $self.$method::<8>($($argument),*),
            _ => $self.$method::<16>($($argument),*),
        }
    };
}

/// One component of an access, extended to 64 bits.
#[inline(always)]
fn component<const N: usize>(bytes: &[u8; N], start: usize, ty: Type) -> u64 {
    let field = &bytes[start..start + ty.bytes()];
    match *field {
        [a] if ty.signed() => a as i8 as u64,
        [a] => a as u64,
        [a, b] if ty.signed() => i16::from_le_bytes([a, b]) as u64,
        [a, b] => u16::from_le_bytes([a, b]) as u64,
        [a, b, c, d] if ty.signed() => i32::from_le_bytes([a, b, c, d]) as u64,
        [a, b, c, d] => u32::from_le_bytes([a, b, c, d]) as u64,
        [a, b, c, d, e, f, g, h] => u64::from_le_bytes([a, b, c, d, e, f, g, h]),
        _ => 0,
    }
}

impl Warp {
    /// The addresses of an access.
    #[inline]
    pub(super) fn addresses(&self, place: &Place, active: u32) -> Result<Doubles> {
        let mut addresses = match place.base.bank {
            Bank::Double => *self.registers.read::<u64>(place.base.index, active)?,
            _ => {
                let words = self.registers.read::<u32>(place.base.index, active)?;
                return Ok(words.map(|word| word.wrapping_add(place.offset as u32) as u64));
            }
        };
        for address in &mut addresses {
            *address = address.wrapping_add(place.offset);
        }
        Ok(addresses)
    }

    pub(super) fn load(&mut self, context: &mut Context, place: &Place, ty: Type, to: &[Option<Slot>], strong: bool, active: u32) -> Result<()> {
        let addresses = self.addresses(place, active)?;
        by_width!(ty.bytes() * to.len(), self.load_wide(context, place.space, &addresses, ty, to, strong, active))
    }

    #[expect(clippy::too_many_arguments, reason = "the width is a constant of the function, the rest is one access")]
    fn load_wide<const N: usize>(
        &mut self,
        context: &mut Context,
        space: Space,
        addresses: &Doubles,
        ty: Type,
        to: &[Option<Slot>],
        strong: bool,
        active: u32,
    ) -> Result<()> {
        let bytes = self.gather::<N>(context, space, addresses, strong, active)?;
        for (number, slot) in to.iter().enumerate() {
            let Some(slot) = slot else { continue };
            let start = number * ty.bytes();
            if slot.bank == Bank::Double {
                let values: Doubles = std::array::from_fn(|lane| component(&bytes[lane], start, ty));
                self.registers.write(slot.index, active, &values);
            } else if ty.bytes() == 4 {
                let values = std::array::from_fn(|lane| {
                    u32::from_le_bytes([bytes[lane][start], bytes[lane][start + 1], bytes[lane][start + 2], bytes[lane][start + 3]])
                });
                self.registers.write::<u32>(slot.index, active, &values);
            } else {
                let values = std::array::from_fn(|lane| component(&bytes[lane], start, ty) as u32);
                self.registers.write::<u32>(slot.index, active, &values);
            }
        }
        Ok(())
    }

    /// Reads N bytes for each active lane.
    pub(super) fn gather<const N: usize>(&mut self, context: &mut Context, space: Space, addresses: &Doubles, strong: bool, active: u32) -> Result<Bytes<N>> {
        aligned(addresses, N, active)?;
        match space {
            Space::Global => self.gather_global::<N>(context, addresses, strong, active),
            Space::Shared => self.gather_shared::<N>(context, addresses, strong, active),
            Space::Local => self.gather_local::<N>(addresses, active),
            Space::Parameter => gather_parameters::<N>(context, addresses, active),
            Space::Generic => {
                let mut bytes = [[0; N]; LANES];
                for (space, part) in parts(addresses, active) {
                    let inner = addresses.map(|address| address.wrapping_sub(window(space)));
                    let found = self.gather::<N>(context, space, &inner, strong, part)?;
                    lanes(part).for_each(|lane| bytes[lane] = found[lane]);
                }
                Ok(bytes)
            }
        }
    }

    fn gather_global<const N: usize>(&mut self, context: &mut Context, addresses: &Doubles, strong: bool, active: u32) -> Result<Bytes<N>> {
        context.statistics.global_bytes_read += N as u64 * active.count_ones() as u64;
        let access = if strong { Access::StrongRead } else { Access::Read };
        let mut bytes = [[0; N]; LANES];
        let (low, high) = extremes(addresses, active);
        let span = (high - low) as usize + N;
        let toucher = context.toucher;
        let one = |memory: &mut crate::memory::Memory, lane: usize| -> Result<[u8; N]> {
            let allocation = memory.locate(addresses[lane], N)?;
            let bytes = allocation.lane_bytes(addresses[lane])?;
            allocation.touch(addresses[lane], N, access, toucher)?;
            Ok(bytes)
        };
        if low == high {
            let first = active.trailing_zeros() as usize;
            return one(context.memory, first).map(|bytes| [bytes; LANES]).map_err(|problem| problem.lane(first));
        }
        // One search serves all lanes if they meet in one allocation.
        if let Ok(allocation) = context.memory.locate(low, span)
            && active == ALL
            && consecutive(addresses, N)
            && allocation.initialised(low, span).is_ok()
            && allocation.touch(low, span, access, toucher).is_ok()
        {
            for (lane, row) in allocation.bytes(low, span).chunks_exact(N).enumerate() {
                bytes[lane].copy_from_slice(row);
            }
            return Ok(bytes);
        }
        for lane in lanes(active) {
            bytes[lane] = one(context.memory, lane).map_err(|problem| problem.lane(lane))?;
        }
        Ok(bytes)
    }

    fn gather_shared<const N: usize>(&mut self, context: &mut Context, addresses: &Doubles, strong: bool, active: u32) -> Result<Bytes<N>> {
        let mut bytes = [[0; N]; LANES];
        let first = active.trailing_zeros() as usize;
        let warp = self.number;
        if active == ALL && addresses.iter().all(|address| *address == addresses[0]) {
            let by = Actor { warp, lane: LANES };
            return context.shared.read::<N>(addresses[0], strong, by).map(|value| [value; LANES]).map_err(|problem| problem.lane(first));
        }
        for lane in lanes(active) {
            bytes[lane] = context.shared.read::<N>(addresses[lane], strong, Actor { warp, lane }).map_err(|problem| problem.lane(lane))?;
        }
        Ok(bytes)
    }

    fn local_offset(&self, address: u64, width: usize, lane: usize) -> Result<usize> {
        if address >= self.local_bytes as u64 || self.local_bytes as u64 - address < width as u64 {
            return Err(Problem::at(FaultKind::OutOfBounds, address, format!("{width} bytes of local memory of {} bytes", self.local_bytes)).lane(lane));
        }
        Ok(self.local_start(lane) + address as usize)
    }

    fn gather_local<const N: usize>(&mut self, addresses: &Doubles, active: u32) -> Result<Bytes<N>> {
        let mut bytes = [[0; N]; LANES];
        for lane in lanes(active) {
            let start = self.local_offset(addresses[lane], N, lane)?;
            if !self.local_written.all(start, N) {
                return Err(Problem::at(FaultKind::Uninitialised, addresses[lane], "local memory that was never written").lane(lane));
            }
            bytes[lane].copy_from_slice(&self.local[start..start + N]);
        }
        Ok(bytes)
    }

    pub(super) fn store(&mut self, context: &mut Context, place: &Place, ty: Type, from: &[Slot], strong: bool, active: u32) -> Result<()> {
        let addresses = self.addresses(place, active)?;
        by_width!(ty.bytes() * from.len(), self.store_wide(context, place.space, &addresses, ty, from, strong, active))
    }

    #[expect(clippy::too_many_arguments, reason = "the width is a constant of the function, the rest is one access")]
    fn store_wide<const N: usize>(
        &mut self,
        context: &mut Context,
        space: Space,
        addresses: &Doubles,
        ty: Type,
        from: &[Slot],
        strong: bool,
        active: u32,
    ) -> Result<()> {
        let mut bytes = [[0; N]; LANES];
        for (number, &slot) in from.iter().enumerate() {
            let start = number * ty.bytes();
            if slot.bank == Bank::Word && ty.bytes() == 4 {
                let values = self.registers.read::<u32>(slot.index, active)?;
                for lane in 0..LANES {
                    bytes[lane][start..start + 4].copy_from_slice(&values[lane].to_le_bytes());
                }
            } else {
                let values = self.registers.read_wide(slot, active)?;
                for lane in 0..LANES {
                    bytes[lane][start..start + ty.bytes()].copy_from_slice(&values[lane].to_le_bytes()[..ty.bytes()]);
                }
            }
        }
        self.scatter(context, space, addresses, &bytes, strong, active)
    }

    /// Writes N bytes for each active lane.
    fn scatter<const N: usize>(&mut self, context: &mut Context, space: Space, addresses: &Doubles, bytes: &Bytes<N>, strong: bool, active: u32) -> Result<()> {
        aligned(addresses, N, active)?;
        let access = if strong { Access::Atomic } else { Access::Write };
        match space {
            Space::Global => scatter_global(context, addresses, bytes, access, active),
            Space::Shared => {
                context.shared.begin_instruction();
                for lane in lanes(active) {
                    let by = Actor { warp: self.number, lane };
                    context.shared.write(addresses[lane], &bytes[lane], access, by).map_err(|problem| problem.lane(lane))?;
                }
                Ok(())
            }
            Space::Local => {
                for lane in lanes(active) {
                    let start = self.local_offset(addresses[lane], N, lane)?;
                    self.local[start..start + N].copy_from_slice(&bytes[lane]);
                    self.local_written.set(start, N, true);
                }
                Ok(())
            }
            Space::Parameter => Err(Problem::new(FaultKind::OutOfBounds, "write to the parameters of a kernel")),
            Space::Generic => {
                for (space, part) in parts(addresses, active) {
                    let inner = addresses.map(|address| address.wrapping_sub(window(space)));
                    self.scatter(context, space, &inner, bytes, strong, part)?;
                }
                Ok(())
            }
        }
    }
}

fn scatter_global<const N: usize>(context: &mut Context, addresses: &Doubles, bytes: &Bytes<N>, access: Access, active: u32) -> Result<()> {
    context.statistics.global_bytes_written += N as u64 * active.count_ones() as u64;
    let (low, high) = extremes(addresses, active);
    let span = (high - low) as usize + N;
    let toucher = context.toucher;
    if let Ok(allocation) = context.memory.locate(low, span)
        && active == ALL
        && consecutive(addresses, N)
        && allocation.touch(low, span, access, toucher).is_ok()
    {
        allocation.write(low, bytes.as_flattened());
        return Ok(());
    }
    for lane in lanes(active) {
        let mut one = || -> Result<()> {
            let allocation = context.memory.locate(addresses[lane], N)?;
            allocation.touch(addresses[lane], N, access, toucher)?;
            allocation.set_lane_bytes(addresses[lane], &bytes[lane]);
            Ok(())
        };
        one().map_err(|problem| problem.lane(lane))?;
    }
    Ok(())
}

fn gather_parameters<const N: usize>(context: &Context, addresses: &Doubles, active: u32) -> Result<Bytes<N>> {
    let mut bytes = [[0; N]; LANES];
    let length = context.parameters.len();
    let first = addresses[active.trailing_zeros() as usize];
    if extremes(addresses, active) == (first, first)
        && let Some(found) = context.parameters.get(first as usize..(first as usize).saturating_add(N))
    {
        bytes.iter_mut().for_each(|lane| lane.copy_from_slice(found));
        return Ok(bytes);
    }
    for lane in lanes(active) {
        let start = addresses[lane] as usize;
        match context.parameters.get(start..start.saturating_add(N)) {
            Some(found) => bytes[lane].copy_from_slice(found),
            None => return Err(Problem::at(FaultKind::OutOfBounds, addresses[lane], format!("{N} bytes of {length} bytes of parameters")).lane(lane)),
        }
    }
    Ok(bytes)
}

/// The spaces that generic addresses lie in, with the lanes of each.
pub(super) fn parts(addresses: &Doubles, active: u32) -> Vec<(Space, u32)> {
    let mut found: Vec<(Space, u32)> = Vec::with_capacity(1);
    for lane in lanes(active) {
        let space = space_of(addresses[lane]);
        match found.iter_mut().find(|(other, _)| *other == space) {
            Some((_, part)) => *part |= 1 << lane,
            None => found.push((space, 1 << lane)),
        }
    }
    found
}
