//! What the lanes of a mask do together.
use super::Context;
use super::atomic::combined;
use super::select::mask_of;
use crate::fault::{FaultKind, Problem};
use crate::program::{Collective, Register, ShuffleMode, Slot, VoteMode};
use crate::registers::Result;
use crate::types::{Bank, Doubles, LANES, Type, Words, lanes};
use crate::warp::Warp;

impl Warp {
    /// Executes a collective operation; the lanes are those that its mask names.
    pub(crate) fn execute_collective(&mut self, context: &mut Context, op: &Collective, active: u32) -> Result<()> {
        match op {
            Collective::Barrier => Ok(()),
            Collective::Shuffle { mode, to, valid, a, b, c } => self.shuffle(*mode, [*to, *a, *b, *c], *valid, active),
            Collective::Vote { mode, to, a, negated } => self.vote(*mode, *to, *a, *negated, active),
            Collective::Match { all, ty, to, valid, a } => self.matching(*all, *ty, [*to, *a], *valid, active),
            Collective::Reduce { kind, ty, to, a } => {
                let a = self.registers.read::<u32>(*a, active)?;
                let first = active.trailing_zeros() as usize;
                let rest = active & (active - 1);
                let total = lanes(rest).fold(a[first] as u64, |total, lane| combined(*kind, *ty, total, a[lane] as u64, 0));
                self.registers.write::<u32>(*to, active, &[total as u32; LANES]);
                Ok(())
            }
            Collective::Elect { to, elected } => {
                let first = active.trailing_zeros();
                self.registers.write::<u32>(*to, active, &[first; LANES]);
                self.registers.set_predicate(*elected, active, 1 << first);
                Ok(())
            }
            Collective::LoadMatrix { to, place, transposed } => self.load_matrix(context, to, place, *transposed, active),
            Collective::MultiplyMatrix { ty, k, half_sum, to, a, b, c } => self.multiply_matrix(*ty, *k, *half_sum, to, [a, b, c], active),
        }
    }

    fn shuffle(&mut self, mode: ShuffleMode, [to, a, b, c]: [Register; 4], valid: Option<Register>, active: u32) -> Result<()> {
        let b = self.registers.read::<u32>(b, active)?;
        let c = self.registers.read::<u32>(c, active)?;
        let (values, known) = self.registers.peek::<u32>(a);
        let (mut out, mut inside, mut filled): (Words, u32, u32) = ([0; LANES], 0, 0);
        for lane in lanes(active) {
            // The upper part of c splits the warp into segments, the lower part is the clamp.
            let (segment, clamp) = ((c[lane] >> 8 & 31) as usize, (c[lane] & 31) as usize);
            let last = lane & segment | clamp & !segment;
            let offset = (b[lane] & 31) as usize;
            let source = match mode {
                ShuffleMode::Up => lane.checked_sub(offset).filter(|&source| source >= last),
                ShuffleMode::Down => Some(lane + offset).filter(|&source| source <= last),
                ShuffleMode::Butterfly => Some(lane ^ offset).filter(|&source| source <= last),
                ShuffleMode::Index => Some(lane & segment | offset & !segment).filter(|&source| source <= last),
            };
            inside |= (source.is_some() as u32) << lane;
            let source = source.unwrap_or(lane);
            if active >> source & 1 == 0 {
                return Err(Problem::new(FaultKind::WrongMask, format!("lane {lane} takes the value of lane {source}, which does not take part")).lane(lane));
            }
            out[lane] = values[source];
            filled |= (known >> source & 1) << lane;
        }
        self.registers.write_known(to, active, &out, filled);
        if let Some(valid) = valid {
            self.registers.set_predicate(valid, active, inside);
        }
        Ok(())
    }

    fn vote(&mut self, mode: VoteMode, to: Slot, a: Register, negated: bool, active: u32) -> Result<()> {
        let bits = self.registers.predicate(a, active)?;
        let votes = if negated { !bits } else { bits } & active;
        let everyone = |holds: bool| if holds { u32::MAX } else { 0 };
        match mode {
            VoteMode::Ballot => self.registers.write::<u32>(to.index, active, &[votes; LANES]),
            VoteMode::All => self.registers.set_predicate(to.index, active, everyone(votes == active)),
            VoteMode::Any => self.registers.set_predicate(to.index, active, everyone(votes != 0)),
            VoteMode::Uniform => self.registers.set_predicate(to.index, active, everyone(votes == 0 || votes == active)),
        }
        Ok(())
    }

    fn matching(&mut self, all: bool, ty: Type, [to, a]: [Register; 2], valid: Option<Register>, active: u32) -> Result<()> {
        let bank = if ty.bytes() == 8 { Bank::Double } else { Bank::Word };
        let values: Doubles = self.registers.read_wide(Slot { bank, index: a }, active)?;
        let mut out = [0; LANES];
        for lane in lanes(active) {
            out[lane] = active & mask_of(|other| values[other] == values[lane]);
        }
        if all {
            let same = out[active.trailing_zeros() as usize] == active;
            out = [if same { active } else { 0 }; LANES];
            if let Some(valid) = valid {
                self.registers.set_predicate(valid, active, if same { u32::MAX } else { 0 });
            }
        }
        self.registers.write::<u32>(to, active, &out);
        Ok(())
    }
}
