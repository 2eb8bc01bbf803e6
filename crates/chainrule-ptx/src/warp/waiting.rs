//! Lanes that wait for others: of the block at barriers, of the warp at collective operations.
use super::{BarrierArrival, Group, Located, State, Warp};
use crate::execute::Context;
use crate::fault::{FaultKind, Problem};
use crate::program::{Barrier, BarrierKind, Collective, Operation};
use crate::registers::Result;
use crate::types::lanes;

impl Warp {
    /// That all lanes of the warp are in the mask.
    pub(super) fn whole(&self, mask: u32) -> Result<()> {
        let missing = self.exists & !mask;
        if missing == 0 {
            return Ok(());
        }
        let lane = missing.trailing_zeros();
        let why = if self.exited >> lane & 1 != 0 { "has exited" } else { "is elsewhere" };
        Err(Problem::new(FaultKind::DivergentBarrier, format!("lanes {mask:#010x} of warp {} come to the barrier, but lane {lane} {why}", self.number))
            .lane(mask.trailing_zeros() as usize))
    }

    pub(super) fn begin_barrier(&mut self, index: usize, barrier: &Barrier) -> Result<BarrierArrival> {
        let Group { pc, lanes: mask, .. } = self.groups[index];
        if barrier.aligned {
            self.whole(mask)?;
        }
        let first = mask.trailing_zeros() as usize;
        let uniform = |warp: &Warp, register| -> Result<u32> {
            let values = warp.registers.read::<u32>(register, mask)?;
            match lanes(mask).find(|&lane| values[lane] != values[first]) {
                None => Ok(values[first]),
                Some(lane) => Err(Problem::new(FaultKind::DivergentBarrier, "the lanes name different barriers or counts").lane(lane)),
            }
        };
        let id = uniform(self, barrier.id)?;
        let count = barrier.count.map(|count| uniform(self, count)).transpose()?;
        if id >= 16 || count.is_some_and(|count| count == 0 || count % 32 != 0) {
            return Err(Problem::new(
                FaultKind::DivergentBarrier,
                format!("barrier {id} with {count:?} threads: the number is below 16, the count a multiple of 32"),
            )
            .lane(first));
        }
        if barrier.kind == BarrierKind::Arrive {
            self.groups[index].pc += 1;
        } else {
            self.groups[index].state = State::AtBarrier(id);
        }
        Ok(BarrierArrival { pc, lanes: mask, id, count, barrier: *barrier })
    }

    /// Executes the group's collective operation if all lanes of its mask are there; otherwise the group waits or is split by masks.
    pub(super) fn begin_collective(&mut self, context: &mut Context, index: usize, register: u32, op: &Collective) -> Result<bool> {
        let Group { pc, lanes: here, .. } = self.groups[index];
        let masks = *self.registers.read::<u32>(register, here)?;
        let named = masks[here.trailing_zeros() as usize];
        let same = lanes(here).fold(0, |same, lane| if masks[lane] == named { same | 1 << lane } else { same });
        if same != here {
            self.split(index, &[(pc, same), (pc, here & !same)], pc + 1);
            return Ok(false);
        }
        if here & !named != 0 {
            let lane = (here & !named).trailing_zeros() as usize;
            return Err(Problem::new(FaultKind::WrongMask, format!("lane {lane} executes this with the mask {named:#010x}, which does not name it")).lane(lane));
        }
        let wanted = named & self.exists;
        if wanted & self.exited != 0 {
            return Err(self.absent(named, here));
        }
        if wanted != here {
            self.groups[index].state = State::Gathering(named);
            return Ok(false);
        }
        self.execute_collective(context, op, here)?;
        context.shared.sync_warp(self.number);
        Ok(true)
    }

    fn absent(&self, named: u32, here: u32) -> Problem {
        let missing = named & self.exists & !here;
        let lane = missing.trailing_zeros();
        let why = if self.exited >> lane & 1 != 0 { "has exited" } else { "does not come" };
        Problem::new(FaultKind::WrongMask, format!("the mask {named:#010x} names lane {lane}, which {why}; lanes {here:#010x} are here"))
            .lane(here.trailing_zeros() as usize)
    }

    /// When nothing can run: lets waiting groups that complete a mask together go on. Whether any did.
    pub(super) fn gather_waiting(&mut self, context: &mut Context) -> std::result::Result<bool, Located> {
        for index in 0..self.groups.len() {
            let Group { pc, state: State::Gathering(named), .. } = self.groups[index] else { continue };
            let Operation::Collective { op, .. } = &context.program.instructions[pc].operation else { continue };
            let is_barrier = |pc: usize| matches!(context.program.instructions[pc].operation, Operation::Collective { op: Collective::Barrier, .. });
            // Barriers of a warp meet wherever they stand, other operations only at the same instruction.
            let member = |group: &Group| group.state == State::Gathering(named) && (group.pc == pc || is_barrier(pc) && is_barrier(group.pc));
            let together = self.groups.iter().filter(|group| member(group)).fold(0, |all, group| all | group.lanes);
            let located = |problem| Located { pc, problem };
            if together != named & self.exists {
                if self.exited & named != 0 {
                    return Err(located(self.absent(named, together)));
                }
                continue;
            }
            for group in self.groups.iter_mut().filter(|group| member(group)) {
                group.state = State::Ready;
                group.pc += 1;
            }
            self.execute_collective(context, op, together).map_err(located)?;
            context.shared.sync_warp(self.number);
            return Ok(true);
        }
        Ok(false)
    }

    /// The problem of a group that waits for lanes of its warp that never come.
    pub fn stuck(&self) -> Option<Located> {
        self.groups.iter().find_map(|group| match group.state {
            State::Gathering(named) => Some(Located { pc: group.pc, problem: self.absent(named, group.lanes) }),
            _ => None,
        })
    }
}
