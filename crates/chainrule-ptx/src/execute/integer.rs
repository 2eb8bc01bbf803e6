//! Integer arithmetic and bits.
use crate::program::{Binary, Carried, Permute, Register, Slot, Ternary, Unary};
use crate::registers::{Registers, Result, Stored};
use crate::types::{Bank, LANES, Type, Value};

/// What the integer types share; literals and rare operations go through 128 bits.
trait Integer: Value<Bits: Stored> + Ord {
    const BITS: u32;
    fn narrow(wide: i128) -> Self;
    fn unsigned(self) -> u64;
    fn add(self, other: Self) -> Self;
    fn subtract(self, other: Self) -> Self;
    fn multiply(self, other: Self) -> Self;
    fn multiply_high(self, other: Self) -> Self;
    fn divide(self, other: Self) -> Self;
    fn remainder(self, other: Self) -> Self;
    fn and(self, other: Self) -> Self;
    fn or(self, other: Self) -> Self;
    fn xor(self, other: Self) -> Self;
    fn shift_left(self, amount: u32) -> Self;
    fn shift_right(self, amount: u32) -> Self;
    fn absolute_difference(self, other: Self) -> Self;
}

macro_rules! integers {
    ($($ty:ty, $unsigned:ty, $double:ty;)*) => {$(
        impl Integer for $ty {
            const BITS: u32 = <$ty>::BITS;
            #[inline(always)]
            fn narrow(wide: i128) -> $ty { wide as $ty }
            #[inline(always)]
            fn unsigned(self) -> u64 { self as $unsigned as u64 }
            #[inline(always)]
            fn add(self, other: $ty) -> $ty { self.wrapping_add(other) }
            #[inline(always)]
            fn subtract(self, other: $ty) -> $ty { self.wrapping_sub(other) }
            #[inline(always)]
            fn multiply(self, other: $ty) -> $ty { self.wrapping_mul(other) }
            #[inline(always)]
            fn multiply_high(self, other: $ty) -> $ty { ((self as $double * other as $double) >> <$ty>::BITS) as $ty }
            // Division by zero gives all ones, as the devices do; the overflow of the least value wraps.
            #[inline(always)]
            fn divide(self, other: $ty) -> $ty { if other == 0 { !0 } else { self.wrapping_div(other) } }
            #[inline(always)]
            fn remainder(self, other: $ty) -> $ty { if other == 0 { self } else { self.wrapping_rem(other) } }
            #[inline(always)]
            fn and(self, other: $ty) -> $ty { self & other }
            #[inline(always)]
            fn or(self, other: $ty) -> $ty { self | other }
            #[inline(always)]
            fn xor(self, other: $ty) -> $ty { self ^ other }
            #[inline(always)]
            fn shift_left(self, amount: u32) -> $ty { if amount < <$ty>::BITS { self << amount } else { 0 } }
            #[inline(always)]
            fn shift_right(self, amount: u32) -> $ty {
                // Amounts beyond the width leave copies of the sign bit, or zero.
                if amount >= <$ty>::BITS && <$ty>::MIN == 0 { 0 } else { self >> amount.min(<$ty>::BITS - 1) }
            }
            #[inline(always)]
            fn absolute_difference(self, other: $ty) -> $ty { self.abs_diff(other) as $ty }
        }
    )*};
}

integers! {
    u16, u16, u32;
    i16, u16, i32;
    u32, u32, u64;
    i32, u32, i64;
    u64, u64, u128;
    i64, u64, i128;
}

/// Calls the function for the Rust type of `$ty`; bits count as unsigned.
macro_rules! by_type {
    ($ty:expr, $function:ident($($argument:expr),*)) => {
        match $ty {
            Type::U16 | Type::B16 => $function::<u16>($($argument),*),
            Type::S16 => $function::<i16>($($argument),*),
            Type::S32 => $function::<i32>($($argument),*),
            Type::U64 | Type::B64 => $function::<u64>($($argument),*),
            Type::S64 => $function::<i64>($($argument),*),
            _ => $function::<u32>($($argument),*),
        }
    };
}

pub(super) fn unary(registers: &mut Registers, active: u32, op: Unary, ty: Type, at: [Register; 2]) -> Result<()> {
    by_type!(ty, unary_of(registers, active, op, at))
}

fn unary_of<T: Integer>(registers: &mut Registers, active: u32, op: Unary, at: [Register; 2]) -> Result<()> {
    let zero = T::narrow(0);
    match op {
        Unary::Not => registers.map1(active, at, |a: T| a.xor(T::narrow(-1))),
        Unary::Negate => registers.map1(active, at, |a: T| zero.subtract(a)),
        Unary::Absolute => registers.map1(active, at, |a: T| if a < zero { zero.subtract(a) } else { a }),
        Unary::CountOnes => registers.map1(active, at, |a: T| a.unsigned().count_ones()),
        Unary::LeadingZeros => registers.map1(active, at, |a: T| a.unsigned().leading_zeros() - (64 - T::BITS)),
        Unary::Reverse => registers.map1(active, at, |a: T| T::narrow((a.unsigned().reverse_bits() >> (64 - T::BITS)) as i128)),
        Unary::FindHigh(distance) => registers.map1(active, at, |a: T| {
            let differing = if a < zero { a.xor(T::narrow(-1)) } else { a }.unsigned();
            match differing.checked_ilog2() {
                None => u32::MAX,
                Some(position) if distance => T::BITS - 1 - position,
                Some(position) => position,
            }
        }),
    }
}

pub(super) fn binary(registers: &mut Registers, active: u32, op: Binary, ty: Type, at: [Register; 3]) -> Result<()> {
    by_type!(ty, binary_of(registers, active, op, at))
}

/// The low 24 bits, with their sign if the type has one.
fn low24<T: Integer>(a: T) -> i128 {
    let value = (a.unsigned() << 40) as i64;
    if T::narrow(-1) < T::narrow(0) { (value >> 40) as i128 } else { (value as u64 >> 40) as i128 }
}

fn saturated(value: i64) -> i32 {
    value.clamp(i32::MIN as i64, i32::MAX as i64) as i32
}

fn binary_of<T: Integer>(registers: &mut Registers, active: u32, op: Binary, at: [Register; 3]) -> Result<()> {
    match op {
        Binary::Add => registers.map2(active, at, |a: T, b: T| a.add(b)),
        Binary::Subtract => registers.map2(active, at, |a: T, b: T| a.subtract(b)),
        Binary::AddSaturating => registers.map2(active, at, |a: i32, b: i32| saturated(a as i64 + b as i64)),
        Binary::SubtractSaturating => registers.map2(active, at, |a: i32, b: i32| saturated(a as i64 - b as i64)),
        Binary::Multiply => registers.map2(active, at, |a: T, b: T| a.multiply(b)),
        Binary::MultiplyHigh => registers.map2(active, at, |a: T, b: T| a.multiply_high(b)),
        Binary::Multiply24 => registers.map2(active, at, |a: T, b: T| T::narrow(low24(a) * low24(b))),
        Binary::Multiply24High => registers.map2(active, at, |a: T, b: T| T::narrow((low24(a) * low24(b)) >> 16)),
        Binary::Divide => registers.map2(active, at, |a: T, b: T| a.divide(b)),
        Binary::Remainder => registers.map2(active, at, |a: T, b: T| a.remainder(b)),
        Binary::Minimum => registers.map2(active, at, |a: T, b: T| a.min(b)),
        Binary::Maximum => registers.map2(active, at, |a: T, b: T| a.max(b)),
        Binary::And => registers.map2(active, at, |a: T, b: T| a.and(b)),
        Binary::Or => registers.map2(active, at, |a: T, b: T| a.or(b)),
        Binary::Xor => registers.map2(active, at, |a: T, b: T| a.xor(b)),
        Binary::ShiftLeft => registers.map2(active, at, |a: T, amount: u32| a.shift_left(amount)),
        Binary::ShiftRight => registers.map2(active, at, |a: T, amount: u32| a.shift_right(amount)),
    }
}

pub(super) fn ternary(registers: &mut Registers, active: u32, op: Ternary, ty: Type, at: [Register; 4]) -> Result<()> {
    match op {
        Ternary::FunnelLeft(clamp) => registers.map3(active, at, |low: u32, high: u32, amount: u32| {
            let amount = if clamp { amount.min(32) } else { amount & 31 };
            ((((high as u64) << 32 | low as u64) << amount) >> 32) as u32
        }),
        Ternary::FunnelRight(clamp) => registers.map3(active, at, |low: u32, high: u32, amount: u32| {
            let amount = if clamp { amount.min(32) } else { amount & 31 };
            (((high as u64) << 32 | low as u64) >> amount) as u32
        }),
        Ternary::Permute(mode) => registers.map3(active, at, |a: u32, b: u32, selector: u32| permute(mode, a, b, selector)),
        Ternary::Dot4 { a_signed, b_signed } => registers.map3(active, at, |a: u32, b: u32, c: u32| {
            let byte =
                |value: u32, signed: bool, index: usize| if signed { value.to_le_bytes()[index] as i8 as i32 } else { value.to_le_bytes()[index] as i32 };
            (0..4).fold(c, |sum, index| sum.wrapping_add((byte(a, a_signed, index) * byte(b, b_signed, index)) as u32))
        }),
        _ => by_type!(ty, ternary_of(registers, active, op, at)),
    }
}

fn ternary_of<T: Integer>(registers: &mut Registers, active: u32, op: Ternary, at: [Register; 4]) -> Result<()> {
    match op {
        Ternary::MultiplyAdd => registers.map3(active, at, |a: T, b: T, c: T| a.multiply(b).add(c)),
        Ternary::MultiplyHighAdd => registers.map3(active, at, |a: T, b: T, c: T| a.multiply_high(b).add(c)),
        Ternary::Multiply24Add => registers.map3(active, at, |a: T, b: T, c: T| T::narrow(low24(a) * low24(b)).add(c)),
        Ternary::Multiply24HighAdd => registers.map3(active, at, |a: T, b: T, c: T| T::narrow((low24(a) * low24(b)) >> 16).add(c)),
        Ternary::AbsoluteDifference => registers.map3(active, at, |a: T, b: T, c: T| a.absolute_difference(b).add(c)),
        Ternary::ExtractBits => registers.map3(active, at, |a: T, start: u32, length: u32| extract(a, start & 255, length & 255)),
        Ternary::Logic(table) => registers.map3(active, at, |a: T, b: T, c: T| T::narrow(logic(table, a.unsigned(), b.unsigned(), c.unsigned()) as i128)),
        Ternary::FunnelLeft(_) | Ternary::FunnelRight(_) | Ternary::Permute(_) | Ternary::Dot4 { .. } => ternary(registers, active, op, Type::U32, at),
    }
}

/// `bfe`: bits from `start` on; signed types repeat the field's highest bit, or the value's where the field runs over its end.
fn extract<T: Integer>(a: T, start: u32, length: u32) -> T {
    if length == 0 {
        return T::narrow(0);
    }
    let signed = T::narrow(-1) < T::narrow(0);
    let last = (start + length - 1).min(T::BITS - 1);
    let sign = signed && a.unsigned() >> last & 1 != 0;
    let field = if start >= T::BITS { 0 } else { a.unsigned() >> start };
    let kept = length.min(T::BITS.saturating_sub(start));
    let mask = if kept >= 64 { u64::MAX } else { (1 << kept) - 1 };
    T::narrow(if sign { field & mask | !mask } else { field & mask } as i128)
}

/// Every bit of the result is the entry of the table that the bits of a, b and c number.
fn logic(table: u8, a: u64, b: u64, c: u64) -> u64 {
    (0..8).filter(|entry| table >> entry & 1 != 0).fold(0, |result, entry| {
        let side = |value: u64, bit: u32| if entry >> bit & 1 != 0 { value } else { !value };
        result | side(a, 2) & side(b, 1) & side(c, 0)
    })
}

fn permute(mode: Permute, a: u32, b: u32, selector: u32) -> u32 {
    let bytes = (b as u64) << 32 | a as u64;
    let byte = |index: u32| (bytes >> (8 * (index & 7))) as u32 & 255;
    let start = selector & 3;
    let from = |choose: &dyn Fn(u32) -> u32| (0..4).fold(0, |word, place| word | byte(choose(place)) << (8 * place));
    match mode {
        Permute::Generic => (0..4).fold(0, |word, place| {
            let choice = selector >> (4 * place) & 15;
            let value = byte(choice);
            // The fourth bit of the choice repeats the byte's sign.
            let value = if choice & 8 == 0 {
                value
            } else if value & 128 != 0 {
                255
            } else {
                0
            };
            word | value << (8 * place)
        }),
        Permute::Forward4 => from(&|place| start + place),
        Permute::Backward4 => from(&|place| start.wrapping_sub(place) & 7),
        Permute::Replicate8 => from(&|_| start),
        Permute::EdgeLeft => from(&|place| start.max(place)),
        Permute::EdgeRight => from(&|place| start.min(place)),
        Permute::Replicate16 => from(&|place| (start & 1) * 2 + place % 2),
    }
}

/// `bfi`: the low bits of a are put into b.
pub(super) fn insert_bits(registers: &mut Registers, active: u32, ty: Type, [to, a, b, start, length]: [Register; 5]) -> Result<()> {
    let start = *registers.read::<u32>(start, active)?;
    let length = *registers.read::<u32>(length, active)?;
    let (a, b) = if ty.bank() == Bank::Double {
        (*registers.read::<u64>(a, active)?, *registers.read::<u64>(b, active)?)
    } else {
        (registers.read::<u32>(a, active)?.map(u64::from), registers.read::<u32>(b, active)?.map(u64::from))
    };
    let mut out = [0u64; LANES];
    for lane in 0..LANES {
        let (start, length) = (start[lane] & 255, length[lane] & 255);
        let field = if length >= 64 { u64::MAX } else { (1 << length) - 1 };
        let mask = field.checked_shl(start).unwrap_or(0);
        out[lane] = a[lane].checked_shl(start).unwrap_or(0) & mask | b[lane] & !mask;
    }
    registers.write_wide(Slot { bank: ty.bank(), index: to }, active, &out);
    Ok(())
}

pub(super) fn widening(registers: &mut Registers, active: u32, ty: Type, to: Slot, [a, b]: [Register; 2], addend: Option<Register>) -> Result<()> {
    let to = to.index;
    match (ty, addend) {
        (Type::U16, None) => registers.map2(active, [to, a, b], |a: u16, b: u16| a as u32 * b as u32),
        (Type::S16, None) => registers.map2(active, [to, a, b], |a: i16, b: i16| a as i32 * b as i32),
        (Type::S32, None) => registers.map2(active, [to, a, b], |a: i32, b: i32| a as i64 * b as i64),
        (_, None) => registers.map2(active, [to, a, b], |a: u32, b: u32| a as u64 * b as u64),
        (Type::U16, Some(c)) => registers.map3(active, [to, a, b, c], |a: u16, b: u16, c: u32| (a as u32 * b as u32).wrapping_add(c)),
        (Type::S16, Some(c)) => registers.map3(active, [to, a, b, c], |a: i16, b: i16, c: i32| (a as i32 * b as i32).wrapping_add(c)),
        (Type::S32, Some(c)) => registers.map3(active, [to, a, b, c], |a: i32, b: i32, c: i64| (a as i64 * b as i64).wrapping_add(c)),
        (_, Some(c)) => registers.map3(active, [to, a, b, c], |a: u32, b: u32, c: u64| (a as u64 * b as u64).wrapping_add(c)),
    }
}

/// An operation with the carry flag.
#[derive(Clone, Copy)]
pub(super) struct Carry {
    pub op: Carried,
    pub ty: Type,
    pub reads: bool,
    pub writes: bool,
}

pub(super) fn carry(registers: &mut Registers, active: u32, what: Carry, flags: &mut u32, at: [Register; 3], c: Option<Register>) -> Result<()> {
    by_type!(what.ty, carry_of(registers, active, what, flags, at, c))
}

fn carry_of<T: Integer>(registers: &mut Registers, active: u32, what: Carry, flags: &mut u32, [to, a, b]: [Register; 3], c: Option<Register>) -> Result<()> {
    let a = *registers.read::<T::Bits>(a, active)?;
    let b = *registers.read::<T::Bits>(b, active)?;
    let c = *registers.read::<T::Bits>(c.unwrap_or(to), if c.is_some() { active } else { 0 })?;
    let mut out = a;
    let mut carries = 0;
    for lane in 0..LANES {
        let (a, b, c) = (T::from_bits(a[lane]), T::from_bits(b[lane]), T::from_bits(c[lane]));
        let flag = (what.reads && *flags >> lane & 1 != 0) as u128;
        let unsigned = |value: T| value.unsigned() as u128;
        // All in one 128-bit sum whose bit `BITS` is the carry; for a difference it is the borrow.
        let sum = match what.op {
            Carried::Add => unsigned(a) + unsigned(b) + flag,
            Carried::Subtract => unsigned(a).wrapping_sub(unsigned(b)).wrapping_sub(flag),
            Carried::MultiplyAddLow => unsigned(a.multiply(b)) + unsigned(c) + flag,
            Carried::MultiplyAddHigh => unsigned(a.multiply_high(b)) + unsigned(c) + flag,
        };
        out[lane] = T::narrow(sum as i128).into_bits();
        carries |= ((sum >> T::BITS & 1) as u32) << lane;
    }
    if what.writes {
        *flags = *flags & !active | carries & active;
    }
    registers.write(to, active, &out);
    Ok(())
}
