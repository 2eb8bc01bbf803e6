//! The choices of the schedule: plain for seed 0, hostile for others.

/// splitmix64.
#[derive(Clone, Debug)]
pub(crate) struct Random {
    state: u64,
    hostile: bool,
}

/// How long something runs in plain order before others get their turn.
const PLAIN_QUANTUM: u64 = 20_000;

impl Random {
    pub fn new(seed: u64) -> Random {
        Random { state: seed, hostile: seed != 0 }
    }

    pub fn hostile(&self) -> bool {
        self.hostile
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below `bound` (not 0); the first in plain order.
    pub fn below(&mut self, bound: usize) -> usize {
        if self.hostile { (self.next() % bound as u64) as usize } else { 0 }
    }

    /// How many instructions to run before choosing again: often few, sometimes many.
    pub fn quantum(&mut self) -> u64 {
        if !self.hostile {
            return PLAIN_QUANTUM;
        }
        let bits = self.next();
        1 + (bits >> 8) % (1 << (2 + bits % 9))
    }
}
