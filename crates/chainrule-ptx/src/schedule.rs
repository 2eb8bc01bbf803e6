//! Which block runs next: a few are resident at a time and take turns.
use crate::block::{Block, BlockProblem, thread_index};
use crate::fault::{Fault, FaultKind, Problem};
use crate::launch::{Launch, Statistics};
use crate::memory::{Memory, Toucher};
use crate::random::Random;

const MAX_THREADS: u64 = 1024;
/// The most shared memory that a block can opt in to.
const MAX_SHARED: usize = 227 << 10;
const DEFAULT_SHARED: usize = 48 << 10;

pub(crate) fn run(launch: &Launch, memory: &mut Memory) -> Result<Statistics, Fault> {
    let named = |problem: Problem| Fault { kernel: launch.kernel.name.clone(), ..Fault::from(problem) };
    check(launch).map_err(|message| named(Problem::new(FaultKind::BadLaunch, message)))?;
    let variables = match memory.variables(launch.kernel.program.module) {
        Some(addresses) => addresses.to_vec(),
        None if launch.kernel.names_variables() => {
            return Err(named(Problem::new(FaultKind::BadLaunch, "the module of the kernel was not loaded into this memory")));
        }
        None => Vec::new(),
    };
    let blocks: u64 = launch.grid.iter().map(|&extent| extent as u64).product();
    let mut random = Random::new(launch.seed);
    let serial = memory.next_launch();
    let toucher = (blocks > 1).then_some(Toucher { launch: serial, granule_shift: launch.kernel.program.global_granule, block: 0 });
    let order = Order::new(blocks, &mut random);
    let mut statistics = Statistics::default();
    let residents = if random.hostile() { (2 + random.below(3) as u64).min(blocks) } else { 1 };
    let mut next = 0;
    let mut resident: Vec<Block> = Vec::new();
    for _ in 0..residents {
        let mut block = Block::new(launch);
        block.restart(launch, order.block(next), &variables);
        next += 1;
        resident.push(block);
    }
    while !resident.is_empty() {
        let turn = random.below(resident.len());
        let block = &mut resident[turn];
        block.run(launch, memory, &mut statistics, toucher, &mut random).map_err(|problem| locate(launch, problem))?;
        if block.done() {
            if next < blocks {
                block.restart(launch, order.block(next), &variables);
                next += 1;
            } else {
                resident.swap_remove(turn);
            }
        }
        if statistics.instructions > launch.instruction_bound {
            return Err(named(Problem::new(FaultKind::Endless, format!("more than {} instructions", launch.instruction_bound))));
        }
    }
    Ok(statistics)
}

/// What a device would refuse.
fn check(launch: &Launch) -> Result<(), String> {
    let Launch { kernel, grid, block, .. } = launch;
    if grid.contains(&0) || block.contains(&0) {
        return Err(format!("a grid of {grid:?} blocks of {block:?} threads: no extent may be 0"));
    }
    if grid[1] > 65535 || grid[2] > 65535 || grid[0] > i32::MAX as u32 {
        return Err(format!("a grid of {grid:?} blocks: at most 2147483647 in x and 65535 in y and z"));
    }
    // One number in 32 bits names every block in the race checks.
    let blocks: u64 = grid.iter().map(|&extent| extent as u64).product();
    if blocks >= (u32::MAX >> 1) as u64 {
        return Err(format!("a grid of {blocks} blocks is more than this machine counts"));
    }
    let threads = block.iter().fold(1u64, |product, &extent| product.saturating_mul(extent as u64));
    if threads > MAX_THREADS.min(kernel.max_threads() as u64) || block[2] > 64 {
        return Err(format!("blocks of {block:?} threads: at most {} in all and 64 in z", kernel.max_threads()));
    }
    let shared = kernel.shared_bytes() + launch.dynamic_shared as usize;
    let limit = (launch.shared_limit as usize).clamp(DEFAULT_SHARED, MAX_SHARED);
    if shared > limit {
        return Err(format!("{} + {} bytes of shared memory: {limit} are allowed", kernel.shared_bytes(), launch.dynamic_shared));
    }
    if launch.parameters.len() != kernel.parameter_bytes() {
        return Err(format!("{} bytes of parameters instead of {}", launch.parameters.len(), kernel.parameter_bytes()));
    }
    Ok(())
}

fn locate(launch: &Launch, problem: BlockProblem) -> Fault {
    let program = &launch.kernel.program;
    let line = program.instructions.get(problem.located.pc).map_or(0, |instruction| instruction.line);
    let text = program.lines.binary_search_by_key(&line, |entry| entry.0).ok().map(|index| program.lines[index].1.clone());
    let lane = problem.located.problem.lane.unwrap_or(0);
    Fault {
        kernel: launch.kernel.name.clone(),
        line,
        statement: text.unwrap_or_default(),
        block: problem.block,
        thread: thread_index(launch.block, problem.warp as u32 * 32 + lane),
        ..Fault::from(problem.located.problem)
    }
}

/// The order of blocks: from the first to the last, or the multiples of a number without common divisor, from somewhere on.
struct Order {
    blocks: u64,
    start: u64,
    stride: u64,
}

impl Order {
    fn new(blocks: u64, random: &mut Random) -> Order {
        let start = random.below(blocks as usize) as u64;
        let mut stride = 1 + random.below(blocks as usize) as u64;
        while common_divisor(stride, blocks) != 1 {
            stride += 1;
        }
        Order { blocks, start, stride }
    }

    fn block(&self, turn: u64) -> u64 {
        ((self.start as u128 + turn as u128 * self.stride as u128) % self.blocks as u128) as u64
    }
}

fn common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_block_once() {
        for seed in 0..20 {
            for blocks in [1, 2, 6, 64, 97] {
                let order = Order::new(blocks, &mut Random::new(seed));
                let mut seen: Vec<u64> = (0..blocks).map(|turn| order.block(turn)).collect();
                seen.sort_unstable();
                assert_eq!(seen, (0..blocks).collect::<Vec<_>>(), "seed {seed}");
            }
        }
    }
}
