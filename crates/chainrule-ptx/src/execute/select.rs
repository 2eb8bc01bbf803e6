//! Comparisons, predicates, selections and moves.
use half::{bf16, f16};

use super::rounding::flush;
use crate::program::{Comparison, Logic, Register, Relation, Slot};
use crate::registers::{Registers, Result, Stored};
use crate::types::{Bank, LANES, Type, Value};

/// A bit for every lane.
#[inline(always)]
pub(super) fn mask_of(holds: impl Fn(usize) -> bool) -> u32 {
    (0..LANES).fold(0, |mask, lane| mask | (holds(lane) as u32) << lane)
}

#[inline(always)]
fn relate<T: Value<Bits: Stored> + PartialOrd>(registers: &Registers, active: u32, comparison: &Comparison, prepare: impl Fn(T) -> T) -> Result<u32> {
    let a = registers.read::<T::Bits>(comparison.a, active)?;
    let b = registers.read::<T::Bits>(comparison.b, active)?;
    let pair = |lane: usize| (prepare(T::from_bits(a[lane])), prepare(T::from_bits(b[lane])));
    let ordered = || mask_of(|lane| pair(lane).0.partial_cmp(&pair(lane).1).is_some());
    let bits = match comparison.relation {
        Relation::Equal => mask_of(|lane| pair(lane).0 == pair(lane).1),
        // Not `!=`, which holds between unordered numbers.
        Relation::NotEqual => mask_of(|lane| pair(lane).0 < pair(lane).1 || pair(lane).0 > pair(lane).1),
        Relation::Less => mask_of(|lane| pair(lane).0 < pair(lane).1),
        Relation::LessEqual => mask_of(|lane| pair(lane).0 <= pair(lane).1),
        Relation::Greater => mask_of(|lane| pair(lane).0 > pair(lane).1),
        Relation::GreaterEqual => mask_of(|lane| pair(lane).0 >= pair(lane).1),
        Relation::Ordered => ordered(),
        Relation::Unordered => !ordered(),
    };
    Ok(if comparison.or_unordered { bits | !ordered() } else { bits })
}

fn holds(registers: &Registers, active: u32, comparison: &Comparison) -> Result<u32> {
    let bits = match comparison.ty {
        Type::S32 => relate(registers, active, comparison, |a: i32| a),
        Type::U32 | Type::B32 => relate(registers, active, comparison, |a: u32| a),
        Type::F32 if comparison.flush => relate(registers, active, comparison, flush),
        Type::F32 => relate(registers, active, comparison, |a: f32| a),
        Type::S64 => relate(registers, active, comparison, |a: i64| a),
        Type::U64 | Type::B64 => relate(registers, active, comparison, |a: u64| a),
        Type::F64 => relate(registers, active, comparison, |a: f64| a),
        Type::S16 => relate(registers, active, comparison, |a: i16| a),
        Type::F16 => relate(registers, active, comparison, |a: f16| a),
        Type::Bf16 => relate(registers, active, comparison, |a: bf16| a),
        _ => relate(registers, active, comparison, |a: u16| a),
    }?;
    match comparison.joined {
        None => Ok(bits),
        Some(joined) => {
            let other = registers.predicate(joined.predicate, active)?;
            Ok(combine(joined.logic, bits, if joined.negated { !other } else { other }))
        }
    }
}

fn combine(logic: Logic, a: u32, b: u32) -> u32 {
    match logic {
        Logic::And => a & b,
        Logic::Or => a | b,
        Logic::Xor => a ^ b,
    }
}

pub(super) fn compare(registers: &mut Registers, active: u32, comparison: &Comparison, to: Register, complement: Option<Register>) -> Result<()> {
    let bits = holds(registers, active, comparison)?;
    registers.set_predicate(to, active, bits);
    if let Some(complement) = complement {
        // The complement joins the negated comparison, not the negated whole.
        let inner = holds(registers, active, &Comparison { joined: None, ..*comparison })?;
        let bits = match comparison.joined {
            None => !inner,
            Some(joined) => {
                let other = registers.predicate(joined.predicate, active)?;
                combine(joined.logic, !inner, if joined.negated { !other } else { other })
            }
        };
        registers.set_predicate(complement, active, bits);
    }
    Ok(())
}

pub(super) fn set(registers: &mut Registers, active: u32, comparison: &Comparison, to: Register, float: bool) -> Result<()> {
    let bits = holds(registers, active, comparison)?;
    let one = if float { 1f32.to_bits() } else { u32::MAX };
    let values = std::array::from_fn(|lane| if bits >> lane & 1 != 0 { one } else { 0 });
    registers.write::<u32>(to, active, &values);
    Ok(())
}

fn blend<B: Stored>(registers: &mut Registers, active: u32, [to, a, b]: [Register; 3], choose_a: u32) {
    let ((a, a_known), (b, b_known)) = (registers.peek::<B>(a), registers.peek::<B>(b));
    let mut out = *b;
    for lane in 0..LANES {
        out[lane] = if choose_a & (1 << lane) != 0 { a[lane] } else { b[lane] };
    }
    registers.write_known(to, active, &out, choose_a & a_known | !choose_a & b_known);
}

pub(super) fn select(registers: &mut Registers, active: u32, wide: bool, at: [Register; 3], predicate: Register) -> Result<()> {
    let choose_a = registers.predicate(predicate, active)?;
    if wide {
        blend::<u64>(registers, active, at, choose_a)
    } else {
        blend::<u32>(registers, active, at, choose_a)
    }
    Ok(())
}

/// `slct`: a where c is not negative.
pub(super) fn select_sign(registers: &mut Registers, active: u32, wide: bool, float: bool, [to, a, b, c]: [Register; 4]) -> Result<()> {
    let c = registers.read::<u32>(c, active)?;
    let choose_a = mask_of(|lane| if float { f32::from_bits(c[lane]) >= 0.0 } else { c[lane] as i32 >= 0 });
    if wide {
        blend::<u64>(registers, active, [to, a, b], choose_a)
    } else {
        blend::<u32>(registers, active, [to, a, b], choose_a)
    }
    Ok(())
}

pub(super) fn predicate_logic(registers: &mut Registers, active: u32, logic: Logic, [to, a, b]: [Register; 3]) -> Result<()> {
    let bits = combine(logic, registers.predicate(a, active)?, registers.predicate(b, active)?);
    registers.set_predicate(to, active, bits);
    Ok(())
}

/// A move. Compilers move values that were never set around branches: a lane that was not written stays so.
pub(super) fn copy(registers: &mut Registers, active: u32, wide: bool, to: Register, a: Register) {
    if wide {
        let (&values, known) = registers.peek::<u64>(a);
        registers.write_known(to, active, &values, known);
    } else {
        let (&values, known) = registers.peek::<u32>(a);
        registers.write_known(to, active, &values, known);
    }
}

/// Small values side by side, the first in the lowest bits.
pub(super) fn pack(registers: &mut Registers, active: u32, part: Type, to: Slot, from: &[Register]) -> Result<()> {
    let (mut out, mut known) = ([0u64; LANES], active);
    let mask = (1u64 << part.bits()) - 1;
    for (place, &register) in from.iter().enumerate() {
        let (values, written) = registers.peek::<u32>(register);
        known &= written;
        for lane in 0..LANES {
            out[lane] |= (values[lane] as u64 & mask) << (place as u32 * part.bits());
        }
    }
    match to.bank {
        Bank::Double => registers.write_known(to.index, active, &out, known),
        _ => registers.write_known(to.index, active, &out.map(|value| value as u32), known),
    }
    Ok(())
}

pub(super) fn unpack(registers: &mut Registers, active: u32, part: Type, to: &[Option<Register>], from: Slot) -> Result<()> {
    let (values, known) = match from.bank {
        Bank::Double => {
            let (&values, known) = registers.peek::<u64>(from.index);
            (values, known)
        }
        _ => {
            let (values, known) = registers.peek::<u32>(from.index);
            (values.map(u64::from), known)
        }
    };
    let mask = (1u64 << part.bits()) - 1;
    for (place, register) in to.iter().enumerate() {
        if let Some(register) = register {
            registers.write_known(*register, active, &values.map(|value| (value >> (place as u32 * part.bits()) & mask) as u32), known);
        }
    }
    Ok(())
}
