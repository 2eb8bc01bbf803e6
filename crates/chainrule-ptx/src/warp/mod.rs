//! A warp: 32 lanes in groups that run together, split at branches and join again at their post-dominators.
mod groups;
mod waiting;

use crate::execute::{AsyncCopy, Context};
use crate::fault::{FaultKind, Problem};
use crate::memory::Bits;
use crate::program::{Barrier, NO_JOIN, Operation, Program};
use crate::random::Random;
use crate::registers::Registers;
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
}
