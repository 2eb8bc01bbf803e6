//! The registers of a warp, 32 lanes at a time, with a mark for every lane that was written.
use crate::fault::{FaultKind, Problem};
use crate::program::{Program, Register, Slot};
use crate::types::{ALL, Bank, Doubles, LANES, Value, Words};

#[derive(Clone, Debug, Default)]
pub(crate) struct Registers {
    words: Vec<Words>,
    words_written: Vec<u32>,
    doubles: Vec<Doubles>,
    doubles_written: Vec<u32>,
    predicates: Vec<u32>,
    predicates_written: Vec<u32>,
}

/// The bits of a register's lane: a word or a double word.
pub(crate) trait Stored: Copy + Default {
    fn bank(registers: &Registers) -> (&[[Self; LANES]], &[u32]);
    fn bank_mut(registers: &mut Registers) -> (&mut [[Self; LANES]], &mut [u32]);
}

impl Stored for u32 {
    #[inline(always)]
    fn bank(registers: &Registers) -> (&[Words], &[u32]) {
        (&registers.words, &registers.words_written)
    }
    #[inline(always)]
    fn bank_mut(registers: &mut Registers) -> (&mut [Words], &mut [u32]) {
        (&mut registers.words, &mut registers.words_written)
    }
}

impl Stored for u64 {
    #[inline(always)]
    fn bank(registers: &Registers) -> (&[Doubles], &[u32]) {
        (&registers.doubles, &registers.doubles_written)
    }
    #[inline(always)]
    fn bank_mut(registers: &mut Registers) -> (&mut [Doubles], &mut [u32]) {
        (&mut registers.doubles, &mut registers.doubles_written)
    }
}

#[cold]
fn unwritten(missing: u32) -> Problem {
    Problem::new(FaultKind::Uninitialised, "a register that was never written is read").lane(missing.trailing_zeros() as usize)
}

pub(crate) type Result<T> = std::result::Result<T, Problem>;

impl Registers {
    pub fn new(program: &Program) -> Registers {
        Registers {
            words: vec![[0; LANES]; program.words],
            words_written: vec![0; program.words],
            doubles: vec![[0; LANES]; program.doubles],
            doubles_written: vec![0; program.doubles],
            predicates: vec![0; program.predicates],
            predicates_written: vec![0; program.predicates],
        }
    }

    /// Forgets every value, before constants and special values are set again.
    pub fn forget(&mut self) {
        self.words_written.fill(0);
        self.doubles_written.fill(0);
        self.predicates_written.fill(0);
    }

    /// Marks registers as unwritten in some lanes.
    pub fn forget_lanes(&mut self, slots: &[Slot], lanes: u32) {
        for slot in slots {
            let written = match slot.bank {
                Bank::Predicate => &mut self.predicates_written,
                Bank::Word => &mut self.words_written,
                Bank::Double => &mut self.doubles_written,
            };
            written[slot.index as usize] &= !lanes;
        }
    }

    /// The values of a register, all active lanes of which must be written.
    #[inline(always)]
    pub fn read<B: Stored>(&self, register: Register, active: u32) -> Result<&[B; LANES]> {
        let (values, written) = B::bank(self);
        let missing = active & !written[register as usize];
        if missing != 0 {
            return Err(unwritten(missing));
        }
        Ok(&values[register as usize])
    }

    /// The values of a register and which of its lanes are written.
    #[inline(always)]
    pub fn peek<B: Stored>(&self, register: Register) -> (&[B; LANES], u32) {
        let (values, written) = B::bank(self);
        (&values[register as usize], written[register as usize])
    }

    #[inline(always)]
    pub fn write<B: Stored>(&mut self, register: Register, active: u32, values: &[B; LANES]) {
        let (bank, written) = B::bank_mut(self);
        written[register as usize] |= active;
        let target = &mut bank[register as usize];
        if active == ALL {
            *target = *values;
        } else {
            for lane in 0..LANES {
                target[lane] = if active & (1 << lane) != 0 { values[lane] } else { target[lane] };
            }
        }
    }

    /// [`Registers::write`] where only the lanes `known` hold values; the other active ones become unwritten.
    #[inline(always)]
    pub fn write_known<B: Stored>(&mut self, register: Register, active: u32, values: &[B; LANES], known: u32) {
        self.write(register, active, values);
        let (_, written) = B::bank_mut(self);
        written[register as usize] &= !active | known;
    }

    #[inline]
    pub fn predicate(&self, register: Register, active: u32) -> Result<u32> {
        let missing = active & !self.predicates_written[register as usize];
        if missing != 0 {
            return Err(unwritten(missing));
        }
        Ok(self.predicates[register as usize])
    }

    /// A predicate and which of its lanes are written.
    pub fn peek_predicate(&self, register: Register) -> (u32, u32) {
        (self.predicates[register as usize], self.predicates_written[register as usize])
    }

    #[inline]
    pub fn set_predicate(&mut self, register: Register, active: u32, bits: u32) {
        self.set_known_predicate(register, active, bits, ALL);
    }

    pub fn set_known_predicate(&mut self, register: Register, active: u32, bits: u32, known: u32) {
        let target = &mut self.predicates[register as usize];
        *target = *target & !active | bits & active;
        let written = &mut self.predicates_written[register as usize];
        *written = *written & !active | known & active;
    }

    /// A register of either size, widened without sign.
    pub fn read_wide(&self, slot: Slot, active: u32) -> Result<Doubles> {
        match slot.bank {
            Bank::Double => self.read::<u64>(slot.index, active).copied(),
            _ => Ok(self.read::<u32>(slot.index, active)?.map(u64::from)),
        }
    }

    /// Writes the low part that the register holds.
    pub fn write_wide(&mut self, slot: Slot, active: u32, values: &Doubles) {
        match slot.bank {
            Bank::Double => self.write(slot.index, active, values),
            _ => self.write(slot.index, active, &values.map(|value| value as u32)),
        }
    }

    #[inline(always)]
    pub fn map1<A, R>(&mut self, active: u32, [to, a]: [Register; 2], f: impl Fn(A) -> R) -> Result<()>
    where
        A: Value<Bits: Stored>,
        R: Value<Bits: Stored>,
    {
        let a = self.read::<A::Bits>(a, active)?;
        let mut out = [R::Bits::default(); LANES];
        for lane in 0..LANES {
            out[lane] = f(A::from_bits(a[lane])).into_bits();
        }
        self.write(to, active, &out);
        Ok(())
    }

    #[inline(always)]
    pub fn map2<A, B, R>(&mut self, active: u32, [to, a, b]: [Register; 3], f: impl Fn(A, B) -> R) -> Result<()>
    where
        A: Value<Bits: Stored>,
        B: Value<Bits: Stored>,
        R: Value<Bits: Stored>,
    {
        let a = self.read::<A::Bits>(a, active)?;
        let b = self.read::<B::Bits>(b, active)?;
        let mut out = [R::Bits::default(); LANES];
        for lane in 0..LANES {
            out[lane] = f(A::from_bits(a[lane]), B::from_bits(b[lane])).into_bits();
        }
        self.write(to, active, &out);
        Ok(())
    }

    #[inline(always)]
    pub fn map3<A, B, C, R>(&mut self, active: u32, [to, a, b, c]: [Register; 4], f: impl Fn(A, B, C) -> R) -> Result<()>
    where
        A: Value<Bits: Stored>,
        B: Value<Bits: Stored>,
        C: Value<Bits: Stored>,
        R: Value<Bits: Stored>,
    {
        let a = self.read::<A::Bits>(a, active)?;
        let b = self.read::<B::Bits>(b, active)?;
        let c = self.read::<C::Bits>(c, active)?;
        let mut out = [R::Bits::default(); LANES];
        for lane in 0..LANES {
            out[lane] = f(A::from_bits(a[lane]), B::from_bits(b[lane]), C::from_bits(c[lane])).into_bits();
        }
        self.write(to, active, &out);
        Ok(())
    }
}
