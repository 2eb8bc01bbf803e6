//! How the steps of a layer are shared among threads: in rounds, one a step, with one hand-over to the threads for all of them.
//!
//! A round's tasks are blocks of units and groups of sequences, cut by size. A thread comes back to the tasks that it had in the round before, whose weights lie in its cache, and takes others' when its own are done.
//! Nobody waits for a thread that has not come, so that any number of threads, one included, gets through; and a task's result does not depend on who runs it.

use crate::parallel;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// The most sequences of a task: four of the highest tiles of a product, for which a panel of the weight stays in the nearest cache.
const SEQUENCES: usize = 48;
/// With fewer sequences than this the weight's way from the cache takes the time, and not the multiplications.
const FEWEST: usize = 6;
/// Multiplications that make a task, a microsecond of work.
const GRAIN: usize = 1 << 18;

/// The tasks of a round.
#[derive(Clone, Copy)]
pub(super) struct Schedule {
    /// Sequences of a group, and of all.
    height: usize,
    batch: usize,
    /// Blocks of units of a task, and of all.
    width: usize,
    blocks: usize,
}

/// A task: which sequences, by their place, and which blocks of units.
pub(super) struct Task {
    pub group: usize,
    pub places: Range<usize>,
    pub blocks: Range<usize>,
}

impl Schedule {
    /// For `batch` sequences and `blocks` of units; each sequence costs `work` multiplications a block.
    pub(super) fn new(batch: usize, blocks: usize, work: usize) -> Schedule {
        let height = batch.div_ceil(batch.div_ceil(SEQUENCES).max(1)).max(1);
        let width = (GRAIN / (height.max(FEWEST) * work).max(1)).clamp(1, blocks.max(1));
        Schedule { height, batch, width, blocks }
    }
    /// How many groups of sequences there are.
    pub(super) fn groups(&self) -> usize {
        self.batch.div_ceil(self.height)
    }
    fn task(&self, index: usize) -> Task {
        let (group, block) = (index % self.groups(), index / self.groups() * self.width);
        let place = group * self.height;
        Task { group, places: place..(place + self.height).min(self.batch), blocks: block..(block + self.width).min(self.blocks) }
    }
    /// Runs `body(round, task)` for all tasks of round 0, then of round 1, and so on.
    pub(super) fn run(&self, rounds: usize, body: impl Fn(usize, Task) + Sync) {
        run(rounds, self.groups() * self.blocks.div_ceil(self.width), &|round, index| body(round, self.task(index)))
    }
}

/// The most shares of a round's tasks; more threads than these start in each other's.
const SHARES: usize = 16;

/// How many tasks of a share were taken, in all rounds together.
#[derive(Default)]
#[repr(align(128))]
struct Share(AtomicUsize);

impl Share {
    /// Takes a task of this round, if one of the share's `size` is left.
    fn take(&self, round: usize, size: usize) -> Option<usize> {
        let more = |taken| (taken < (round + 1) * size).then_some(taken + 1);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok().map(|taken| taken - round * size)
    }
}

/// Tells the others when a task panics, lest they wait for it.
struct Alarm<'a>(&'a AtomicBool);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

fn run(rounds: usize, tasks: usize, body: &(dyn Fn(usize, usize) + Sync)) {
    let workers = parallel::threads().min(tasks);
    if workers <= 1 {
        return (0..rounds).for_each(|round| (0..tasks).for_each(|task| body(round, task)));
    }
    let shares: [Share; SHARES] = Default::default();
    let shares = &shares[..workers.min(SHARES)];
    let (done, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    parallel::run(workers, |worker| {
        let _alarm = Alarm(&failed);
        let mut round = 0;
        while round < rounds {
            for other in 0..shares.len() {
                let share = (worker + other) % shares.len();
                let first = tasks * share / shares.len();
                let size = tasks * (share + 1) / shares.len() - first;
                while let Some(index) = shares[share].take(round, size) {
                    body(round, first + index);
                    done.fetch_add(1, Ordering::Release);
                }
            }
            let mut looks = 0u32;
            while done.load(Ordering::Acquire) < (round + 1) * tasks {
                if failed.load(Ordering::Relaxed) {
                    return;
                }
                looks += 1;
                if looks.is_multiple_of(256) {
                    std::thread::yield_now();
                }
                std::hint::spin_loop();
            }
            round = done.load(Ordering::Acquire) / tasks;
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn rounds_come_one_after_the_other() {
        let _alone = crate::simd::alone();
        for threads in [1, 2, 3, 4, 20] {
            parallel::set_threads(threads);
            for (rounds, tasks) in [(0, 3), (3, 0), (1, 1), (5, 2), (40, 7), (3, 50)] {
                let log = Mutex::new(Vec::new());
                run(rounds, tasks, &|round, task| log.lock().unwrap().push((round, task)));
                let log = log.into_inner().unwrap();
                assert!(log.is_sorted_by_key(|&(round, _)| round));
                let mut sorted = log.clone();
                sorted.sort();
                assert_eq!(sorted, (0..rounds).flat_map(|round| (0..tasks).map(move |task| (round, task))).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn a_panic_ends_all() {
        let _alone = crate::simd::alone();
        for threads in [1, 2, 4] {
            parallel::set_threads(threads);
            let result = std::panic::catch_unwind(|| run(9, 8, &|round, task| assert!((round, task) != (3, 5))));
            assert!(result.is_err());
        }
    }

    #[test]
    fn tasks_cover_everything_once() {
        for batch in [0, 1, 5, 48, 49, 150] {
            for (blocks, work) in [(0, 1), (1, 1), (7, 1), (7, 1000), (9, 1 << 20)] {
                let schedule = Schedule::new(batch, blocks, work);
                let seen = Mutex::new(vec![0; batch * blocks]);
                schedule.run(1, |_, Task { group, places, blocks: own }| {
                    assert!(group < schedule.groups() && places.len() <= SEQUENCES);
                    for place in places {
                        own.clone().for_each(|block| seen.lock().unwrap()[place * blocks + block] += 1);
                    }
                });
                assert!(seen.into_inner().unwrap().iter().all(|&times| times == 1));
            }
        }
    }
}
