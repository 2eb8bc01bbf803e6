//! The one place that splits work over threads.
//!
//! Work is cut into tasks by its size, never by the number of threads, and a task's result does not depend on who runs it: so results have the same bits for any number of threads.
//! The calling thread works too. Helpers are threads of a rayon pool that look for the next job for a short while before they sleep, because a training step hands out work every few microseconds.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

/// How long a helper without work looks for more before its thread sleeps.
const PATIENCE: Duration = Duration::from_micros(200);

static THREADS: AtomicUsize = AtomicUsize::new(0);
static PENDING: AtomicUsize = AtomicUsize::new(0);
static LOOKING: AtomicUsize = AtomicUsize::new(0);
static QUEUE: Mutex<Vec<Arc<Job>>> = Mutex::new(Vec::new());
static POOL: OnceLock<Option<rayon::ThreadPool>> = OnceLock::new();

thread_local! {
    /// Inside a task: work that it splits again runs on its own thread.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// The number of threads that work at once, the caller's included: the machine's cores, unless `RAYON_NUM_THREADS` or [`set_threads`] says otherwise.
pub fn threads() -> usize {
    match THREADS.load(Ordering::Relaxed) {
        0 => {
            let asked = std::env::var("RAYON_NUM_THREADS").ok().and_then(|n| n.parse().ok()).filter(|&n: &usize| n > 0);
            let found = asked.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, |n| n.get()));
            set_threads(found);
            threads()
        }
        n => n,
    }
}

/// Sets the number of threads, the caller's included, for the whole process (at least 1, at most 256). It changes speed, never results.
pub fn set_threads(count: usize) {
    THREADS.store(count.clamp(1, 256), Ordering::Relaxed);
}

/// One call of [`run`]: tasks are taken from a counter. A helper that comes late finds none left and never touches `body`.
struct Job {
    body: *const (dyn Fn(usize) + Sync),
    tasks: usize,
    next: AtomicUsize,
    done: AtomicUsize,
    panicked: AtomicBool,
}

// SAFETY: `body` is Sync, and is only called for a task index below `tasks`; `run` returns, and the closure dies, only after all those calls have ended.
unsafe impl Send for Job {}
// SAFETY: as above.
unsafe impl Sync for Job {}

impl Job {
    fn work(&self) {
        let was = INSIDE.replace(true);
        loop {
            let task = self.next.fetch_add(1, Ordering::Relaxed);
            if task >= self.tasks {
                break;
            }
            // SAFETY: this task is not done yet, so `run` is still waiting and the closure is alive.
            let body = unsafe { &*self.body };
            if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| body(task))).is_err() {
                self.panicked.store(true, Ordering::Relaxed);
            }
            self.done.fetch_add(1, Ordering::Release);
        }
        INSIDE.set(was);
    }
}

fn queue() -> MutexGuard<'static, Vec<Arc<Job>>> {
    QUEUE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn pool() -> Option<&'static rayon::ThreadPool> {
    let build = || rayon::ThreadPoolBuilder::new().num_threads(threads().max(4) - 1).thread_name(|i| format!("chainrule-{i}")).build().ok();
    POOL.get_or_init(build).as_ref()
}

/// A helper's life: jobs as long as they come, then back to the pool.
fn help() {
    let mut idle = Instant::now();
    let mut looks = 0u32;
    loop {
        if PENDING.load(Ordering::Acquire) > 0 {
            let job = {
                let mut queue = queue();
                let job = queue.pop();
                PENDING.store(queue.len(), Ordering::Release);
                job
            };
            if let Some(job) = job {
                LOOKING.fetch_sub(1, Ordering::AcqRel);
                job.work();
                LOOKING.fetch_add(1, Ordering::AcqRel);
                idle = Instant::now();
                looks = 0;
                continue;
            }
        }
        looks += 1;
        if looks.is_multiple_of(64) {
            if idle.elapsed() > PATIENCE {
                break;
            }
            std::thread::yield_now();
        }
        std::hint::spin_loop();
    }
    LOOKING.fetch_sub(1, Ordering::AcqRel);
}

/// Runs `body(0)` … `body(tasks - 1)`, each once, in any order, on any thread; returns when all have ended.
#[inline]
pub(crate) fn run(tasks: usize, body: impl Fn(usize) + Sync) {
    run_tasks(tasks, &body)
}

/// [`run`], compiled once.
fn run_tasks(tasks: usize, body: &(dyn Fn(usize) + Sync)) {
    let helpers = (threads() - 1).min(tasks.saturating_sub(1));
    if helpers == 0 || INSIDE.get() {
        return (0..tasks).for_each(body);
    }
    let Some(pool) = pool() else { return (0..tasks).for_each(body) };
    // SAFETY: only the lifetime is erased; the wait below outlasts every use, as `Job` explains.
    let body = unsafe { std::mem::transmute::<*const (dyn Fn(usize) + Sync + '_), *const (dyn Fn(usize) + Sync + 'static)>(body) };
    let job = Arc::new(Job { body, tasks, next: AtomicUsize::new(0), done: AtomicUsize::new(0), panicked: AtomicBool::new(false) });
    {
        let mut queue = queue();
        queue.extend(std::iter::repeat_n(&job, helpers).cloned());
        PENDING.store(queue.len(), Ordering::Release);
    }
    for _ in LOOKING.load(Ordering::Acquire)..helpers {
        LOOKING.fetch_add(1, Ordering::AcqRel);
        pool.spawn(help);
    }
    job.work();
    let mut looks = 0u32;
    while job.done.load(Ordering::Acquire) < tasks {
        looks += 1;
        if looks.is_multiple_of(256) {
            std::thread::yield_now();
        }
        std::hint::spin_loop();
    }
    if Arc::strong_count(&job) > 1 {
        let mut queue = queue();
        queue.retain(|other| !Arc::ptr_eq(other, &job));
        PENDING.store(queue.len(), Ordering::Release);
    }
    if job.panicked.load(Ordering::Relaxed) {
        panic!("a task of a parallel computation panicked");
    }
}

/// The number of elements that make a task of elementwise work.
pub(crate) const GRAIN: usize = 16 * 1024;

/// Cuts `count` elements into ranges of [`GRAIN`] (smaller work stays on the calling thread) and runs `body(start, end)` for each.
#[inline]
pub(crate) fn ranges(count: usize, grain: usize, body: impl Fn(usize, usize) + Sync) {
    run_ranges(count, grain, &body)
}

/// [`ranges`], compiled once.
fn run_ranges(count: usize, grain: usize, body: &(dyn Fn(usize, usize) + Sync)) {
    let grain = grain.max(1);
    if count <= 2 * grain {
        if count > 0 {
            body(0, count);
        }
        return;
    }
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
                    counts[i].fetch_add(1, Ordering::Relaxed);
                    run(3, |_| {});
                });
                assert!(counts.iter().all(|c| c.load(Ordering::Relaxed) == 1));
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
                            sum.fetch_add(i, Ordering::Relaxed);
                        });
                        assert_eq!(sum.into_inner(), round * (round - 1) / 2);
                    }
                });
            }
        });
    }

    #[test]
    fn a_panic_reaches_the_caller() {
        let result = std::panic::catch_unwind(|| run(8, |i| assert!(i != 5)));
        assert!(result.is_err());
        run(8, |_| {});
    }
}
