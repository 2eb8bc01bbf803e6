//! Atomic operations: lanes take their turns in order.
use half::{bf16, f16};

use super::Context;
use super::memory::{aligned, parts, window};
use super::rounding::{Target, sum};
use crate::fault::{FaultKind, Problem};
use crate::memory::Access;
use crate::program::{Atomic, AtomicKind, Slot, Space};
use crate::registers::Result;
use crate::shared::Actor;
use crate::types::{Doubles, LANES, Type, lanes};
use crate::warp::Warp;

fn add_halves<T: Target>(old: u64, b: u64, from: impl Fn(u16) -> T, into: impl Fn(T) -> u16) -> u64 {
    let half = |shift: u32| {
        let total = sum(from((old >> shift) as u16).widened(), from((b >> shift) as u16).widened());
        (into(T::nearest(total.value)) as u64) << shift
    };
    half(0) | half(16)
}

/// What the memory holds after an atomic operation, as far as the type's bits reach.
pub(super) fn combined(kind: AtomicKind, ty: Type, old: u64, b: u64, c: u64) -> u64 {
    let signed = |value: u64| if ty.bytes() == 4 { value as i32 as i64 } else { value as i64 };
    let mask = if ty.bytes() == 8 { u64::MAX } else { (1 << ty.bits()) - 1 };
    let value = match (kind, ty) {
        (AtomicKind::Add, Type::F32) => (f32::from_bits(old as u32) + f32::from_bits(b as u32)).to_bits() as u64,
        (AtomicKind::Add, Type::F64) => (f64::from_bits(old) + f64::from_bits(b)).to_bits(),
        (AtomicKind::Add, Type::F16 | Type::F16x2) => add_halves(old, b, f16::from_bits, f16::to_bits),
        (AtomicKind::Add, Type::Bf16 | Type::Bf16x2) => add_halves(old, b, bf16::from_bits, bf16::to_bits),
        (AtomicKind::Add, _) => old.wrapping_add(b),
        (AtomicKind::Minimum, _) if ty.signed() => signed(old).min(signed(b)) as u64,
        (AtomicKind::Maximum, _) if ty.signed() => signed(old).max(signed(b)) as u64,
        (AtomicKind::Minimum, _) => old.min(b),
        (AtomicKind::Maximum, _) => old.max(b),
        (AtomicKind::And, _) => old & b,
        (AtomicKind::Or, _) => old | b,
        (AtomicKind::Xor, _) => old ^ b,
        (AtomicKind::Exchange, _) => b,
        (AtomicKind::CompareAndSwap, _) => {
            if old == b {
                c
            } else {
                old
            }
        }
        (AtomicKind::Increment, _) => {
            if old >= b {
                0
            } else {
                old + 1
            }
        }
        (AtomicKind::Decrement, _) => {
            if old == 0 || old > b {
                b
            } else {
                old - 1
            }
        }
    };
    value & mask
}

fn widen<const N: usize>(bytes: [u8; N]) -> u64 {
    bytes.iter().rev().fold(0, |value, &byte| value << 8 | byte as u64)
}

fn narrow<const N: usize>(value: u64) -> [u8; N] {
    std::array::from_fn(|index| (value >> (8 * index)) as u8)
}

impl Warp {
    pub(super) fn atomic(&mut self, context: &mut Context, atomic: &Atomic, active: u32) -> Result<()> {
        let addresses = self.addresses(&atomic.place, active)?;
        let slot = |index| Slot { bank: atomic.ty.bank(), index };
        let b = self.registers.read_wide(slot(atomic.b), active)?;
        let c = match atomic.c {
            Some(c) => self.registers.read_wide(slot(c), active)?,
            None => [0; LANES],
        };
        context.shared.begin_instruction();
        let mut old = [0; LANES];
        for (space, part) in if atomic.place.space == Space::Generic { parts(&addresses, active) } else { vec![(atomic.place.space, active)] } {
            let base = if atomic.place.space == Space::Generic { window(space) } else { 0 };
            let addresses = addresses.map(|address| address.wrapping_sub(base));
            aligned(&addresses, atomic.ty.bytes(), part)?;
            match atomic.ty.bytes() {
                2 => self.atomic_in::<2>(context, atomic, space, &addresses, [&b, &c], &mut old, part)?,
                4 => self.atomic_in::<4>(context, atomic, space, &addresses, [&b, &c], &mut old, part)?,
                _ => self.atomic_in::<8>(context, atomic, space, &addresses, [&b, &c], &mut old, part)?,
            }
        }
        if let Some(to) = atomic.to {
            self.registers.write_wide(slot(to), active, &old);
        }
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "the width is a constant of the function, the rest is one access")]
    fn atomic_in<const N: usize>(
        &mut self,
        context: &mut Context,
        atomic: &Atomic,
        space: Space,
        addresses: &Doubles,
        [b, c]: [&Doubles; 2],
        old: &mut Doubles,
        active: u32,
    ) -> Result<()> {
        let toucher = context.toucher;
        for lane in lanes(active) {
            let change = |old: u64| combined(atomic.kind, atomic.ty, old, b[lane], c[lane]);
            let mut one = || -> Result<u64> {
                match space {
                    Space::Shared => {
                        let by = Actor { warp: self.number, lane };
                        context.shared.update::<N>(addresses[lane], by, |old| narrow(change(widen(old)))).map(widen)
                    }
                    Space::Global => {
                        context.statistics.global_bytes_read += N as u64;
                        context.statistics.global_bytes_written += N as u64;
                        let allocation = context.memory.locate(addresses[lane], N)?;
                        let value = widen(allocation.lane_bytes::<N>(addresses[lane])?);
                        allocation.touch(addresses[lane], N, Access::Atomic, toucher)?;
                        allocation.set_lane_bytes::<N>(addresses[lane], &narrow(change(value)));
                        Ok(value)
                    }
                    _ => Err(Problem::at(FaultKind::Unsupported, addresses[lane], "an atomic operation on local memory")),
                }
            };
            old[lane] = one().map_err(|problem| problem.lane(lane))?;
        }
        Ok(())
    }
}
