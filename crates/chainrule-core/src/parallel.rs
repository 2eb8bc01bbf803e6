//! The one place that splits work over threads.
//!
//! Work is cut into tasks by its size, never by the number of threads, and a task's result does not depend on who runs it: so results have the same bits for any number of threads.
//! The calling thread works too. Helpers look for the next job for a short while before they sleep, because a training step hands out work every few microseconds.
//! A job lives on its caller's stack, so handing it out allocates nothing.

use std::cell::Cell;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// How long a helper without work looks for more before it sleeps.
const PATIENCE: Duration = Duration::from_micros(200);

static THREADS: AtomicUsize = AtomicUsize::new(0);
/// Seats that jobs offer: what helpers look at.
static OFFERED: AtomicUsize = AtomicUsize::new(0);
/// Helpers that are awake and have no job.
static LOOKING: AtomicUsize = AtomicUsize::new(0);
static TEAM: Mutex<Team> = Mutex::new(Team { jobs: Vec::new(), helpers: 0, asleep: 0, called: 0 });
static CALL: Condvar = Condvar::new();
static HANDED_OUT: AtomicUsize = AtomicUsize::new(0);
static WOKEN: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Inside a task: work that it splits again runs on its own thread.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// What splitting has cost so far, in the whole process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// How often work was handed to other threads.
    pub handed_out: usize,
    /// How often a sleeping thread was woken, or a new one started, for it.
    pub woken: usize,
}

/// The present figures.
/// ```
/// let before = chainrule_core::parallel::statistics();
/// assert!(before.woken <= chainrule_core::parallel::statistics().woken);
/// ```
pub fn statistics() -> Statistics {
    Statistics { handed_out: HANDED_OUT.load(Relaxed), woken: WOKEN.load(Relaxed) }
}

/// The number of threads that work at once, the caller's included: the machine's cores, unless `RAYON_NUM_THREADS` or [`set_threads`] says otherwise.
pub fn threads() -> usize {
    match THREADS.load(Relaxed) {
        0 => {
            let asked = std::env::var("RAYON_NUM_THREADS").ok().and_then(|n| n.parse().ok()).filter(|&n: &usize| n > 0);
            let found = asked.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, |n| n.get()));
            // Unless somebody has set it meanwhile.
            let _ = THREADS.compare_exchange(0, found.clamp(1, 256), Relaxed, Relaxed);
            THREADS.load(Relaxed)
        }
        n => n,
    }
}

/// Sets the number of threads, the caller's included, for the whole process (at least 1, at most 256). It changes speed, never results.
pub fn set_threads(count: usize) {
    THREADS.store(count.clamp(1, 256), Relaxed);
}

/// One call of [`run`]: tasks are taken from a counter, several in a row while many are left, so that a thread walks through memory that no other touches.
struct Job {
    body: *const (dyn Fn(usize) + Sync),
    tasks: usize,
    /// One of so many equal parts of what is left is taken at once.
    parts: usize,
    next: AtomicUsize,
    panicked: AtomicBool,
    /// How many helpers may still join.
    seats: AtomicUsize,
    /// Helpers that have joined and not left.
    inside: AtomicUsize,
}

impl Job {
    /// Runs tasks till none is left.
    ///
    /// # Safety
    /// The closure must be alive.
    unsafe fn work(&self) {
        let was = INSIDE.replace(true);
        let take = |next: usize| (next < self.tasks).then(|| next + ((self.tasks - next) / self.parts).max(1));
        while let Ok(first) = self.next.fetch_update(Relaxed, Relaxed, take) {
            for task in first..take(first).unwrap_or(first) {
                // SAFETY: the caller's promise.
                let body = unsafe { &*self.body };
                if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| body(task))).is_err() {
                    self.panicked.store(true, Relaxed);
                }
            }
        }
        INSIDE.set(was);
    }
}

/// What is under the lock.
struct Team {
    /// Those that offer seats. Their callers wait until they have left this list and all helpers have left them.
    jobs: Vec<*const Job>,
    helpers: usize,
    asleep: usize,
    /// Sleepers that have been called and are not awake yet.
    called: usize,
}

// SAFETY: jobs are shared between threads by atomics only, and alive as long as they stand in the list.
unsafe impl Send for Team {}

impl Team {
    /// A seat in the newest job, if one is offered.
    fn join(&mut self) -> Option<*const Job> {
        let &job = self.jobs.last()?;
        // SAFETY: a job in the list is alive, and stays so until the helpers inside have left.
        let seated = unsafe { &*job };
        seated.inside.fetch_add(1, Relaxed);
        OFFERED.fetch_sub(1, Relaxed);
        // Release: a caller that sees no seat left also sees who is inside.
        if seated.seats.fetch_sub(1, Release) == 1 {
            self.jobs.pop();
        }
        Some(job)
    }

    /// Offers `seats` in a job, and gets as many helpers on their feet.
    fn offer(&mut self, job: *const Job, seats: usize) {
        self.jobs.push(job);
        OFFERED.fetch_add(seats, Release);
        for _ in LOOKING.load(Acquire)..seats {
            if self.asleep > 0 {
                self.asleep -= 1;
                self.called += 1;
                CALL.notify_one();
            } else if self.helpers + 1 < threads() {
                let started = std::thread::Builder::new().name(format!("chainrule-{}", self.helpers)).spawn(help);
                if started.is_err() {
                    return;
                }
                self.helpers += 1;
            } else {
                return;
            }
            LOOKING.fetch_add(1, AcqRel);
            WOKEN.fetch_add(1, Relaxed);
        }
    }

    /// Withdraws the seats that nobody has taken.
    fn withdraw(&mut self, job: &Job) {
        self.jobs.retain(|&other| !std::ptr::eq(other, job));
        OFFERED.fetch_sub(job.seats.swap(0, Relaxed), Relaxed);
    }
}

fn team() -> MutexGuard<'static, Team> {
    // Nothing that holds the lock can panic half way.
    TEAM.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// A helper's life: jobs as long as they come, then sleep till it is called.
fn help() {
    loop {
        let mut idle = Instant::now();
        let mut looks = 0u32;
        let mut team_seen = loop {
            if OFFERED.load(Acquire) > 0 {
                let job = team().join();
                if let Some(job) = job {
                    LOOKING.fetch_sub(1, AcqRel);
                    // SAFETY: `join` has counted this thread in, so the job's caller waits for it.
                    unsafe {
                        (*job).work();
                        (*job).inside.fetch_sub(1, Release);
                    }
                    LOOKING.fetch_add(1, AcqRel);
                    idle = Instant::now();
                    looks = 0;
                    continue;
                }
            }
            looks += 1;
            if looks.is_multiple_of(64) {
                if idle.elapsed() > PATIENCE {
                    let team = team();
                    if team.jobs.is_empty() {
                        break team;
                    }
                }
                std::thread::yield_now();
            }
            std::hint::spin_loop();
        };
        LOOKING.fetch_sub(1, AcqRel);
        team_seen.asleep += 1;
        while team_seen.called == 0 {
            team_seen = CALL.wait(team_seen).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
        // Whoever called has counted this thread among those that look.
        team_seen.called -= 1;
    }
}

/// Runs `body(0)` … `body(tasks - 1)`, each once, in any order, on any thread; returns when all have ended.
#[inline]
pub(crate) fn run(tasks: usize, body: impl Fn(usize) + Sync) {
    run_tasks(tasks, &body)
}

/// [`run`], compiled once.
fn run_tasks(tasks: usize, body: &(dyn Fn(usize) + Sync)) {
    let seats = (threads() - 1).min(tasks.saturating_sub(1));
    if seats == 0 || INSIDE.get() {
        return (0..tasks).for_each(body);
    }
    // SAFETY: only the lifetime is erased; the waits below outlast every use.
    let body = unsafe { std::mem::transmute::<*const (dyn Fn(usize) + Sync + '_), *const (dyn Fn(usize) + Sync + 'static)>(body) };
    let zero = || AtomicUsize::new(0);
    let job = Job { body, tasks, parts: 2 * (seats + 1), next: zero(), panicked: AtomicBool::new(false), seats: AtomicUsize::new(seats), inside: zero() };
    HANDED_OUT.fetch_add(1, Relaxed);
    team().offer(&job, seats);
    // SAFETY: the closure is the caller's.
    unsafe { job.work() };
    if job.seats.load(Acquire) > 0 {
        team().withdraw(&job);
    }
    // No task is left and nobody can join any more: whoever is inside ends its last task.
    let mut looks = 0u32;
    while job.inside.load(Acquire) > 0 {
        looks += 1;
        if looks.is_multiple_of(256) {
            std::thread::yield_now();
        }
        std::hint::spin_loop();
    }
    if job.panicked.load(Relaxed) {
        panic!("a task of a parallel computation panicked");
    }
}

/// The number of elements that make a task of elementwise work.
pub(crate) const GRAIN: usize = 16 * 1024;

/// Cuts `count` elements into ranges of `grain` and runs `body(start, end)` for each. What makes no more than two ranges stays on the calling thread; elements that are each worth a range (a grain of 1) are shared from two on.
#[inline]
pub(crate) fn ranges(count: usize, grain: usize, body: impl Fn(usize, usize) + Sync) {
    run_ranges(count, grain, &body)
}

/// [`ranges`], compiled once.
fn run_ranges(count: usize, grain: usize, body: &(dyn Fn(usize, usize) + Sync)) {
    let grain = grain.max(1);
    if count <= if grain == 1 { 1 } else { 2 * grain } {
        if count > 0 {
            body(0, count);
        }
        return;
    }
    run_tasks(count.div_ceil(grain), &|task| body(task * grain, ((task + 1) * grain).min(count)));
}

/// [`ranges`] of items of `work` elements each: two large items are two tasks, many small ones are grouped.
#[inline]
pub(crate) fn items(count: usize, work: usize, body: impl Fn(usize, usize) + Sync) {
    let work = work.max(1);
    if count.saturating_mul(work) <= 2 * GRAIN {
        if count > 0 {
            body(0, count);
        }
        return;
    }
    let grain = (GRAIN / work).max(1);
    run_tasks(count.div_ceil(grain), &|task| body(task * grain, ((task + 1) * grain).min(count)));
}

/// A pointer that tasks share; each writes its own part.
#[derive(Clone, Copy)]
pub(crate) struct Target<T>(*mut T);

// SAFETY: a `Target` only carries an address to tasks; each `slice` call promises that parts do not overlap.
unsafe impl<T: Send> Send for Target<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Target<T> {}

impl<T> Target<T> {
    pub(crate) fn new(slice: &mut [T]) -> Target<T> {
        Target(slice.as_mut_ptr())
    }
    pub(crate) fn pointer(self) -> *mut T {
        self.0
    }
    /// The part `start..end`.
    ///
    /// # Safety
    /// It must lie inside the slice that the target was made of, which must be alive, and no other task may touch it meanwhile.
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn slice<'a>(self, start: usize, end: usize) -> &'a mut [T] {
        // SAFETY: the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(start), end - start) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_runs_once() {
        let _alone = crate::simd::alone();
        for threads in [1, 2, 3, 4] {
            set_threads(threads);
            for tasks in [0, 1, 2, 3, 17, 1000] {
                let counts: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
                run(tasks, |i| {
                    counts[i].fetch_add(1, Relaxed);
                    run(3, |_| {});
                });
                assert!(counts.iter().all(|c| c.load(Relaxed) == 1));
            }
        }
    }

    #[test]
    fn callers_on_many_threads() {
        let _alone = crate::simd::alone();
        set_threads(4);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for round in 1..200 {
                        let sum = AtomicUsize::new(0);
                        run(round, |i| {
                            sum.fetch_add(i, Relaxed);
                        });
                        assert_eq!(sum.into_inner(), round * (round - 1) / 2);
                    }
                });
            }
        });
    }

    #[test]
    fn a_panic_reaches_the_caller() {
        let _alone = crate::simd::alone();
        for threads in [1, 2, 4] {
            set_threads(threads);
            let result = std::panic::catch_unwind(|| run(8, |i| assert!(i != 5)));
            assert!(result.is_err());
            run(8, |_| {});
        }
    }
}
