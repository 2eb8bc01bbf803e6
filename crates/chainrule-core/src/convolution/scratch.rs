//! Working memory of the kernels: aligned to cache lines, kept by the thread that used it, never given back.

use std::cell::RefCell;

/// One cache line. Any bits are valid numbers of every element type.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u64; 8]);

thread_local! {
    static FREE: RefCell<Vec<Vec<Line>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer of the thread, returned when dropped.
pub(super) struct Scratch(Vec<Line>);

impl Scratch {
    /// Room for `count` numbers, of any value.
    pub fn new<T>(count: usize) -> Scratch {
        let needed = (count * size_of::<T>()).div_ceil(size_of::<Line>());
        let mut lines = FREE.with_borrow_mut(|free| {
            // The smallest that is large enough, or else the largest.
            let waste = |i: &usize| if free[*i].len() >= needed { (false, free[*i].len()) } else { (true, usize::MAX - free[*i].len()) };
            let best = (0..free.len()).min_by_key(waste);
            best.map(|i| free.swap_remove(i)).unwrap_or_default()
        });
        if lines.len() < needed {
            // The old contents are not worth a copy.
            lines.clear();
            lines.resize(needed, Line([0; 8]));
        }
        // Tests must notice whoever reads what nobody wrote.
        #[cfg(test)]
        lines.fill(Line([u64::MAX; 8]));
        Scratch(lines)
    }

    /// The first number; aligned to 64 bytes.
    pub fn start<T>(&mut self) -> *mut T {
        self.0.as_mut_ptr().cast()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let lines = std::mem::take(&mut self.0);
        FREE.with_borrow_mut(|free| free.push(lines));
    }
}
