//! A block: its warps, their shared memory and their barriers.
use crate::execute::Context;
use crate::fault::{FaultKind, Problem};
use crate::launch::{Launch, Statistics};
use crate::memory::{Memory, Toucher};
use crate::program::{BarrierKind, Constant, Operation, Program, Slot, Special};
use crate::random::Random;
use crate::shared::{Arrival, Shared};
use crate::types::{ALL, Bank, LANES};
use crate::warp::{BarrierArrival, Located, State, Warp};

/// A problem with its block and warp.
#[derive(Debug)]
pub(crate) struct BlockProblem {
    pub block: [u32; 3],
    pub warp: usize,
    pub located: Located,
}

#[derive(Clone, Debug, Default)]
struct Gate {
    arrived: Vec<(Arrival, BarrierArrival)>,
}

#[derive(Debug, Default)]
pub(crate) struct Block {
    /// `ctaid`.
    pub index: [u32; 3],
    number: u32,
    warps: Vec<Warp>,
    shared: Shared,
    gates: Vec<Gate>,
}

fn threads(launch: &Launch) -> usize {
    launch.block.iter().map(|&extent| extent as usize).product()
}

impl Block {
    pub fn new(launch: &Launch) -> Block {
        let warps = threads(launch).div_ceil(LANES);
        Block { warps: (0..warps).map(|_| Warp::new(&launch.kernel.program)).collect(), ..Block::default() }
    }

    /// Becomes the block of that number in the grid.
    pub fn restart(&mut self, launch: &Launch, number: u64, variables: &[u64]) {
        let program = &launch.kernel.program;
        let (x, y) = (launch.grid[0] as u64, launch.grid[1] as u64);
        self.number = number as u32;
        self.index = [(number % x) as u32, (number / x % y) as u32, (number / x / y) as u32];
        let threads = threads(launch);
        let warp_count = self.warps.len();
        for (warp_number, warp) in self.warps.iter_mut().enumerate() {
            let count = (threads - warp_number * LANES).min(LANES);
            warp.restart(warp_number, if count == LANES { ALL } else { (1 << count) - 1 });
            for &(slot, constant) in &program.constants {
                set_constant(warp, slot, constant, variables);
            }
            for &(register, special) in &program.specials {
                let values = std::array::from_fn(|lane| special_value(special, launch, self.index, warp_number, lane));
                warp.registers.write::<u32>(register, ALL, &values);
            }
        }
        self.shared.reset(program.shared_bytes + launch.dynamic_shared as usize, program.shared_granule, warp_count);
        self.gates.clear();
        self.gates.resize(16, Gate::default());
    }

    pub fn done(&self) -> bool {
        self.warps.iter().all(Warp::done)
    }

    /// Runs one of its warps for a while.
    pub fn run(
        &mut self,
        launch: &Launch,
        memory: &mut Memory,
        statistics: &mut Statistics,
        toucher: Option<Toucher>,
        random: &mut Random,
    ) -> Result<(), BlockProblem> {
        let toucher = toucher.map(|toucher| Toucher { block: self.number + 1, ..toucher });
        let candidates: Vec<usize> = (0..self.warps.len()).filter(|&number| self.warps[number].ready()).collect();
        if candidates.is_empty() {
            return Err(self.stuck(&launch.kernel.program));
        }
        let chosen = candidates[random.below(candidates.len())];
        let mut budget = random.quantum();
        let Block { warps, shared, .. } = self;
        let mut context = Context { program: &launch.kernel.program, parameters: launch.parameters, memory, shared, toucher, statistics };
        let (block, number) = (self.index, warps[chosen].number);
        let problem = |warp: usize| move |located: Located| BlockProblem { block, warp, located };
        let arrival = warps[chosen].run(&mut context, &mut budget, random).map_err(problem(number))?;
        if let Some(arrival) = arrival {
            let pc = arrival.pc;
            self.arrive(&launch.kernel.program, chosen, arrival, statistics).map_err(|fault| problem(number)(Located { pc, problem: fault }))?;
        }
        if !random.hostile() && budget == 0 {
            // Plain order takes turns between warps that do not come to an end.
            self.warps.rotate_left(1);
        }
        Ok(())
    }

    /// A warp comes to a barrier; the last one lets all go on.
    fn arrive(&mut self, program: &Program, chosen: usize, arrival: BarrierArrival, statistics: &mut Statistics) -> Result<(), Problem> {
        let waits = arrival.barrier.kind != BarrierKind::Arrive;
        let own = self.warps[chosen].number;
        let entry = self.shared.arrive(own, waits);
        let everyone: u32 = self.warps.iter().map(|warp| warp.exists.count_ones()).sum();
        let gate = &mut self.gates[arrival.id as usize];
        if let Some((other, first)) = gate.arrived.first() {
            // Without counts all threads must come to the same instruction.
            let differs = first.count != arrival.count || arrival.count.is_none() && first.pc != arrival.pc;
            if differs {
                let line = program.instructions[first.pc].line;
                let message = format!("warp {own} comes to this barrier while warp {} waits at the one in line {line}", other.warp);
                return Err(Problem::new(FaultKind::DivergentBarrier, message).lane(arrival.lanes.trailing_zeros() as usize));
            }
        }
        gate.arrived.push((entry, arrival));
        let wanted = arrival.count.unwrap_or(everyone);
        // A count is in whole warps, even if the last one is not full.
        let weight = |arrival: &BarrierArrival| if arrival.count.is_some() && arrival.barrier.aligned { LANES as u32 } else { arrival.lanes.count_ones() };
        let came: u32 = gate.arrived.iter().map(|(_, arrival)| weight(arrival)).sum();
        if came < wanted {
            return Ok(());
        }
        let arrived = std::mem::take(&mut gate.arrived);
        let arrivals: Vec<Arrival> = arrived.iter().map(|(entry, _)| *entry).collect();
        self.shared.complete(&arrivals);
        statistics.barriers += 1;
        self.reduce(&arrived)?;
        for warp in &mut self.warps {
            for group in warp.groups.iter_mut().filter(|group| group.state == State::AtBarrier(arrival.id)) {
                group.state = State::Ready;
                group.pc += 1;
            }
        }
        Ok(())
    }

    /// The result of `bar.red`, if the barrier has one.
    fn reduce(&mut self, arrived: &[(Arrival, BarrierArrival)]) -> Result<(), Problem> {
        let (mut votes, mut threads) = (0, 0);
        for (entry, arrival) in arrived {
            let Some((_, predicate, negated)) = arrival.barrier.reduction else { continue };
            let Some(warp) = self.warps.iter().find(|warp| warp.number == entry.warp) else { continue };
            let bits = warp.registers.predicate(predicate, arrival.lanes)?;
            votes += (if negated { !bits } else { bits } & arrival.lanes).count_ones();
            threads += arrival.lanes.count_ones();
        }
        for (entry, arrival) in arrived {
            let Some((to, ..)) = arrival.barrier.reduction else { continue };
            let Some(warp) = self.warps.iter_mut().find(|warp| warp.number == entry.warp) else { continue };
            let holds = match arrival.barrier.kind {
                BarrierKind::All => votes == threads,
                _ => votes != 0,
            };
            match to.bank {
                Bank::Predicate => warp.registers.set_predicate(to.index, arrival.lanes, if holds { u32::MAX } else { 0 }),
                _ => warp.registers.write::<u32>(to.index, arrival.lanes, &[votes; LANES]),
            }
        }
        Ok(())
    }

    /// Why no warp can run although some have not ended.
    fn stuck(&self, program: &Program) -> BlockProblem {
        let problem = |warp: &Warp, located| BlockProblem { block: self.index, warp: warp.number, located };
        for warp in &self.warps {
            if let Some(located) = warp.stuck() {
                return problem(warp, located);
            }
        }
        let waiting = self.warps.iter().find_map(|warp| Some((warp, warp.groups.first()?)));
        let Some((warp, group)) = waiting else {
            let located = Located { pc: 0, problem: Problem::new(FaultKind::Unsupported, "nothing waits and nothing runs") };
            return BlockProblem { block: self.index, warp: 0, located };
        };
        let elsewhere = self.warps.iter().find_map(|other| match other.groups.first() {
            None => Some(format!("warp {} has exited", other.number)),
            Some(at) if at.pc != group.pc => Some(format!("warp {} waits at line {}", other.number, program.instructions[at.pc].line)),
            Some(_) => None,
        });
        let message = format!("warp {} waits for threads that do not come: {}", warp.number, elsewhere.unwrap_or_else(|| "the count exceeds the block".into()));
        let lane = group.lanes.trailing_zeros() as usize;
        let is_barrier = matches!(program.instructions[group.pc].operation, Operation::Barrier(_));
        let kind = if is_barrier { FaultKind::DivergentBarrier } else { FaultKind::WrongMask };
        problem(warp, Located { pc: group.pc, problem: Problem::new(kind, message).lane(lane) })
    }
}

fn set_constant(warp: &mut Warp, slot: Slot, constant: Constant, variables: &[u64]) {
    match (slot.bank, constant) {
        (Bank::Predicate, Constant::Word(bits)) => warp.registers.set_predicate(slot.index, ALL, bits),
        (_, Constant::Word(value)) => warp.registers.write::<u32>(slot.index, ALL, &[value; LANES]),
        (_, Constant::Double(value)) => warp.registers.write::<u64>(slot.index, ALL, &[value; LANES]),
        (_, Constant::Variable(index, offset)) => {
            let address = variables.get(index).map_or(0, |address| address.wrapping_add(offset));
            warp.registers.write::<u64>(slot.index, ALL, &[address; LANES]);
        }
    }
}

fn special_value(special: Special, launch: &Launch, block: [u32; 3], warp: usize, lane: usize) -> u32 {
    let thread = (warp * LANES + lane) as u32;
    let shared = launch.kernel.program.shared_bytes as u32;
    match special {
        Special::Thread(axis) => thread_index(launch.block, thread)[axis],
        Special::BlockExtent(axis) => launch.block[axis],
        Special::Block(axis) => block[axis],
        Special::GridExtent(axis) => launch.grid[axis],
        Special::Lane => lane as u32,
        Special::Warp => warp as u32,
        Special::WarpCount => threads(launch).div_ceil(LANES) as u32,
        Special::LaneMaskEqual => 1 << lane,
        Special::LaneMaskLess => (1 << lane) - 1,
        Special::LaneMaskLessEqual => u32::MAX >> (31 - lane),
        Special::LaneMaskGreater => !(u32::MAX >> (31 - lane)),
        Special::LaneMaskGreaterEqual => u32::MAX << lane,
        Special::DynamicShared => launch.dynamic_shared,
        Special::TotalShared => shared + launch.dynamic_shared,
        Special::Zero => 0,
        Special::One => 1,
    }
}

/// `tid` of a thread by its number in the block.
pub(crate) fn thread_index(block: [u32; 3], thread: u32) -> [u32; 3] {
    [thread % block[0], thread / block[0] % block[1], thread / block[0] / block[1]]
}
