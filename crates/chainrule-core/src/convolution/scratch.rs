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
        let mut lines = FREE.with_borrow_mut(|free| free.pop()).unwrap_or_default();
        let needed = (count * size_of::<T>()).div_ceil(size_of::<Line>());
        if lines.len() < needed {
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
