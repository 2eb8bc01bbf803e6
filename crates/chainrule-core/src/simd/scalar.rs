//! The level that every target has: arrays of numbers, which the compiler maps to SSE2 or NEON.

use super::Vector;
use num_traits::Float;

#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Lanes<T, const N: usize>([T; N]);

impl<T: Float, const N: usize> Vector for Lanes<T, N> {
    type Element = T;
    const LANES: usize = N;
    const TILE_ROWS: usize = 4;
    const TILE_VECTORS: usize = 2;

    #[inline(always)]
    unsafe fn splat(value: T) -> Self {
        Lanes([value; N])
    }
    #[inline(always)]
    unsafe fn load(at: *const T) -> Self {
        // SAFETY: the caller's pointer is valid for N lanes.
        Lanes(unsafe { at.cast::<[T; N]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn load_first(at: *const T, count: usize) -> Self {
        let mut lanes = [T::zero(); N];
        for (i, lane) in lanes.iter_mut().enumerate().take(count) {
            // SAFETY: the caller's pointer is valid for `count` lanes.
            *lane = unsafe { at.add(i).read() };
        }
        Lanes(lanes)
    }
    #[inline(always)]
    unsafe fn store(self, at: *mut T) {
        // SAFETY: the caller's pointer is valid for N lanes.
        unsafe { at.cast::<[T; N]>().write_unaligned(self.0) }
    }
    #[inline(always)]
    unsafe fn store_first(self, at: *mut T, count: usize) {
        for (i, lane) in self.0.iter().enumerate().take(count) {
            // SAFETY: the caller's pointer is valid for `count` lanes.
            unsafe { at.add(i).write(*lane) };
        }
    }
    #[inline(always)]
    unsafe fn add(mut self, other: Self) -> Self {
        for i in 0..N {
            self.0[i] = self.0[i] + other.0[i];
        }
        self
    }
    #[inline(always)]
    unsafe fn mul(mut self, other: Self) -> Self {
        for i in 0..N {
            self.0[i] = self.0[i] * other.0[i];
        }
        self
    }
    #[inline(always)]
    unsafe fn mul_add(mut self, factor: Self, addend: Self) -> Self {
        for i in 0..N {
            self.0[i] = self.0[i] * factor.0[i] + addend.0[i];
        }
        self
    }
    #[inline(always)]
    unsafe fn max(mut self, other: Self) -> Self {
        for i in 0..N {
            self.0[i] = if self.0[i] > other.0[i] { self.0[i] } else { other.0[i] };
        }
        self
    }
    #[inline(always)]
    unsafe fn zip(self, other: Self) -> (Self, Self) {
        let lane = |i: usize| if i.is_multiple_of(2) { self.0[i / 2] } else { other.0[i / 2] };
        (Lanes(std::array::from_fn(lane)), Lanes(std::array::from_fn(|i| lane(N + i))))
    }
    #[inline(always)]
    unsafe fn sum(mut self) -> T {
        let mut width = N / 2;
        while width > 0 {
            for i in 0..width {
                self.0[i] = self.0[i] + self.0[i + width];
            }
            width /= 2;
        }
        self.0[0]
    }
}
