//! A warp: 32 lanes in groups that run together, split at branches and join again at their post-dominators.
use crate::execute::{AsyncCopy, Context};
use crate::fault::{FaultKind, Problem};
use crate::memory::Bits;
use crate::program::{Barrier, BarrierKind, Collective, NO_JOIN, Operation, Program};
use crate::random::Random;
use crate::registers::{Registers, Result};
use crate::types::{LANES, lanes};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Ready,
    /// At a collective operation, until the lanes of the mask are there.
    Gathering(u32),
    /// At the block's barrier of that number.
    AtBarrier(u32),
}

/// Lanes that execute the same instruction.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub pc: usize,
    pub lanes: u32,
    pub state: State,
    /// The joins that the lanes have ahead of them, innermost last.
    joins: Vec<usize>,
    returns: Vec<usize>,
}

/// A place where the lanes of a split wait for each other.
#[derive(Clone, Copy, Debug, Default)]
struct Join {
    pc: usize,
    expected: u32,
    arrived: u32,
}

/// Lanes that come to a barrier of the block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BarrierArrival {
    pub pc: usize,
    pub lanes: u32,
    pub id: u32,
    /// Threads that the barrier waits for; all of the block if none is named.
    pub count: Option<u32>,
    pub barrier: Barrier,
}

/// A problem with the instruction it belongs to.
#[derive(Debug)]
pub(crate) struct Located {
    pub pc: usize,
    pub problem: Problem,
}

#[derive(Debug, Default)]
pub(crate) struct Warp {
    /// Within the block.
    pub number: usize,
    pub registers: Registers,
    /// Lanes that hold a thread.
    pub exists: u32,
    pub exited: u32,
    pub groups: Vec<Group>,
    joins: Vec<Join>,
    free_joins: Vec<usize>,
    /// The carry flag of each lane.
    pub carry: u32,
    pub local: Vec<u8>,
    pub local_written: Bits,
    pub local_bytes: usize,
    pub copies: Vec<AsyncCopy>,
    pub committed: [u32; LANES],
}

impl Warp {
    pub fn new(program: &Program) -> Warp {
        let frame = program.local_bytes.next_multiple_of(16);
        Warp {
            registers: Registers::new(program),
            local: vec![0xA5; frame * LANES],
            local_written: Bits::new(frame * LANES),
            local_bytes: program.local_bytes,
            ..Warp::default()
        }
    }

    /// Makes the warp ready for a new block.
    pub fn restart(&mut self, number: usize, exists: u32) {
        self.number = number;
        self.exists = exists;
        self.exited = 0;
        self.registers.forget();
        self.local_written.clear_all();
        self.joins.clear();
        self.free_joins.clear();
        self.groups.clear();
        self.groups.push(Group { pc: 0, lanes: exists, state: State::Ready, joins: Vec::new(), returns: Vec::new() });
        self.copies.clear();
        self.committed = [0; LANES];
    }

    pub fn local_start(&self, lane: usize) -> usize {
        lane * self.local_bytes.next_multiple_of(16)
    }

    pub fn done(&self) -> bool {
        self.exited == self.exists
    }

    pub fn ready(&self) -> bool {
        self.groups.iter().any(|group| group.state == State::Ready)
    }

    /// Runs until the budget of instructions is spent, nothing can run, or a barrier of the block is reached.
    pub fn run(&mut self, context: &mut Context, budget: &mut u64, random: &mut Random) -> std::result::Result<Option<BarrierArrival>, Located> {
        while *budget > 0 {
            let ready = self.groups.iter().filter(|group| group.state == State::Ready).count();
            if ready == 0 {
                if self.gather_waiting(context)? {
                    continue;
                }
                return Ok(None);
            }
            let choice = if ready > 1 { random.below(ready) } else { 0 };
            let Some(index) = (0..self.groups.len()).filter(|&index| self.groups[index].state == State::Ready).nth(choice) else { return Ok(None) };
            // With several groups ready, none may keep the others waiting forever.
            let mut share = if ready > 1 { random.quantum().min(*budget) } else { *budget };
            let before = share;
            let arrival = self.run_group(context, index, &mut share)?;
            *budget -= before - share;
            if arrival.is_some() {
                return Ok(arrival);
            }
            if ready > 1 && !random.hostile() {
                // Plain order takes turns.
                self.groups.rotate_left(1);
            }
        }
        Ok(None)
    }

    fn run_group(&mut self, context: &mut Context, index: usize, budget: &mut u64) -> std::result::Result<Option<BarrierArrival>, Located> {
        let program = context.program;
        let Group { mut pc, lanes: mask, ref joins, .. } = self.groups[index];
        let join = joins.last().map_or(NO_JOIN, |&join| self.joins[join].pc);
        let located = |pc: usize| move |problem: Problem| Located { pc, problem };
        loop {
            if pc == join {
                self.arrive(index);
                return Ok(None);
            }
            if *budget == 0 {
                self.groups[index].pc = pc;
                return Ok(None);
            }
            let Some(instruction) = program.instructions.get(pc) else {
                return Err(Located { pc, problem: Problem::new(FaultKind::Unsupported, "the program counter left the program") });
            };
            let active = match instruction.guard {
                None => mask,
                Some(guard) => {
                    let bits = self.registers.predicate(guard.predicate, mask).map_err(located(pc))?;
                    mask & if guard.negated { !bits } else { bits }
                }
            };
            *budget -= 1;
            context.statistics.instructions += mask.count_ones() as u64;
            match &instruction.operation {
                Operation::Branch { target, .. } if active == mask => pc = *target,
                Operation::Branch { .. } if active == 0 => pc += 1,
                Operation::Branch { target, join } => {
                    self.split(index, &[(pc + 1, mask & !active), (*target, active)], *join);
                    return Ok(None);
                }
                Operation::BranchTable { index: register, targets, join } => {
                    let choices = *self.registers.read::<u32>(*register, active).map_err(located(pc))?;
                    let mut parts: Vec<(usize, u32)> = Vec::new();
                    for lane in lanes(mask) {
                        let next = if active >> lane & 1 == 0 {
                            pc + 1
                        } else {
                            let out_of_table = || Located {
                                pc,
                                problem: Problem::new(FaultKind::OutOfBounds, format!("branch number {} of {}", choices[lane], targets.len())).lane(lane),
                            };
                            *targets.get(choices[lane] as usize).ok_or_else(out_of_table)?
                        };
                        match parts.iter_mut().find(|part| part.0 == next) {
                            Some(part) => part.1 |= 1 << lane,
                            None => parts.push((next, 1 << lane)),
                        }
                    }
                    if let [(next, _)] = parts[..] {
                        pc = next;
                    } else {
                        self.split(index, &parts, *join);
                        return Ok(None);
                    }
                }
                Operation::Exit => {
                    self.groups[index].pc = pc + 1;
                    self.exit(index, active);
                    if active != 0 {
                        return Ok(None);
                    }
                    pc += 1;
                }
                Operation::Call { .. } | Operation::Return | Operation::Barrier(_) | Operation::Collective { .. } if active == 0 => pc += 1,
                Operation::Call { .. } | Operation::Barrier(_) | Operation::Collective { .. } if active != mask => {
                    // Lanes that do not take part wait behind the instruction.
                    if let Operation::Barrier(Barrier { aligned: true, .. }) = instruction.operation {
                        self.whole(active).map_err(located(pc))?;
                    }
                    self.split(index, &[(pc, active), (pc + 1, mask & !active)], pc + 1);
                    return Ok(None);
                }
                Operation::Call { target, function } => {
                    self.registers.forget_lanes(&program.function_registers[*function], active);
                    self.groups[index].returns.push(pc + 1);
                    pc = *target;
                }
                Operation::Return => match self.groups[index].returns.pop() {
                    Some(next) => pc = next,
                    None => return Err(Located { pc, problem: Problem::new(FaultKind::Unsupported, "a return without a call") }),
                },
                Operation::Collective { mask: register, op } => {
                    self.groups[index].pc = pc;
                    if !self.begin_collective(context, index, *register, op).map_err(located(pc))? {
                        return Ok(None);
                    }
                    pc += 1;
                }
                Operation::Barrier(barrier) => {
                    self.groups[index].pc = pc;
                    return self.begin_barrier(index, barrier).map(Some).map_err(located(pc));
                }
                operation => {
                    if active != 0 {
                        self.execute(context, operation, active).map_err(located(pc))?;
                    }
                    pc += 1;
                }
            }
        }
    }

    /// Replaces a group by several, which meet again at `join`.
    fn split(&mut self, index: usize, parts: &[(usize, u32)], join: usize) {
        let mut group = self.groups.swap_remove(index);
        let innermost = group.joins.last().map(|&join| self.joins[join].pc);
        if join != NO_JOIN && innermost != Some(join) {
            let entry = Join { pc: join, expected: group.lanes, arrived: 0 };
            let slot = match self.free_joins.pop() {
                Some(slot) => {
                    self.joins[slot] = entry;
                    slot
                }
                None => {
                    self.joins.push(entry);
                    self.joins.len() - 1
                }
            };
            group.joins.push(slot);
        }
        for &(pc, lanes) in parts {
            self.groups.push(Group { pc, lanes, state: State::Ready, ..group.clone() });
        }
    }

    /// A group comes to its innermost join.
    fn arrive(&mut self, index: usize) {
        let group = self.groups.swap_remove(index);
        if let Some(&join) = group.joins.last() {
            self.joins[join].arrived |= group.lanes;
            self.release(join, group);
        }
    }

    /// Lets the lanes of a join go on if none is missing any more. `like` is a group that has the join in its list.
    fn release(&mut self, join: usize, like: Group) {
        let Join { pc, expected, arrived } = self.joins[join];
        if expected != arrived {
            return;
        }
        self.free_joins.push(join);
        self.joins[join] = Join::default();
        if expected != 0 {
            let depth = like.joins.iter().position(|&other| other == join).unwrap_or(0);
            self.groups.push(Group { pc, lanes: arrived, state: State::Ready, joins: like.joins[..depth].to_vec(), returns: like.returns });
        }
    }

    /// Lanes of a group end; the joins ahead of them wait for them no longer.
    fn exit(&mut self, index: usize, leaving: u32) {
        self.exited |= leaving;
        let mut group = self.groups[index].clone();
        group.lanes &= !leaving;
        if group.lanes == 0 {
            self.groups.swap_remove(index);
        } else {
            self.groups[index].lanes = group.lanes;
        }
        for &join in group.joins.iter().rev() {
            self.joins[join].expected &= !leaving;
            self.release(join, group.clone());
        }
    }

    /// That all lanes of the warp are in the mask.
    fn whole(&self, mask: u32) -> Result<()> {
        let missing = self.exists & !mask;
        if missing == 0 {
            return Ok(());
        }
        let lane = missing.trailing_zeros();
        let why = if self.exited >> lane & 1 != 0 { "has exited" } else { "is elsewhere" };
        Err(Problem::new(FaultKind::DivergentBarrier, format!("lanes {mask:#010x} of warp {} come to the barrier, but lane {lane} {why}", self.number))
            .lane(mask.trailing_zeros() as usize))
    }

    fn begin_barrier(&mut self, index: usize, barrier: &Barrier) -> Result<BarrierArrival> {
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
    fn begin_collective(&mut self, context: &mut Context, index: usize, register: u32, op: &Collective) -> Result<bool> {
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
    fn gather_waiting(&mut self, context: &mut Context) -> std::result::Result<bool, Located> {
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
