//! The product of few rows with panels: the weight is read once for all of them, several panels at a time, at the pace of the cache.

use crate::gemm::{Number, Panels};
use crate::simd::{Kernel, Simd, Vector};

/// So many rows are few.
pub(super) const ROWS: usize = 3;

/// Registers of a panel at a time.
const VECTORS: usize = 2;

/// `C = A · panel + plus` for each of several panels `[k, columns]`. Where nothing is added, `plus` is null.
///
/// Whoever makes one vouches that each row of A has k numbers, each panel k rows of [`Panels::WIDTH`], each row of C and of what is added `columns`, and that C is the maker's alone.
#[derive(Clone, Copy)]
pub(super) struct Few<T, const PANELS: usize> {
    pub k: usize,
    pub columns: usize,
    pub rows: usize,
    pub a: [*const T; ROWS],
    pub panels: [*const T; PANELS],
    pub c: [[*mut T; PANELS]; ROWS],
    pub plus: [[*const T; PANELS]; ROWS],
}

impl<T: Number, const PANELS: usize> Few<T, PANELS> {
    pub(super) fn new(k: usize, columns: usize, rows: usize) -> Self {
        let null = std::ptr::null();
        Few { k, columns, rows, a: [null; ROWS], panels: [null; PANELS], c: [[std::ptr::null_mut(); PANELS]; ROWS], plus: [[null; PANELS]; ROWS] }
    }
}

impl<T: Number, const PANELS: usize> Kernel for Few<T, PANELS> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        // SAFETY: the maker's promise; `simd::run` has checked the level. Levels with few registers take one row at a time.
        unsafe {
            match self.rows {
                2 if T::Vector::<S>::LANES == 16 => product::<S, T, PANELS, 2>(&self, 0),
                3 if T::Vector::<S>::LANES == 16 => product::<S, T, PANELS, 3>(&self, 0),
                rows => (0..rows).for_each(|row| product::<S, T, PANELS, 1>(&self, row)),
            }
        }
    }
}

/// `N` rows from `first` on. A single panel's sum is made in four parts, so that additions need not wait for each other.
///
/// # Safety
/// The promises of [`Few`]; the level is checked.
#[inline(always)]
unsafe fn product<S: Simd, T: Number, const PANELS: usize, const N: usize>(few: &Few<T, PANELS>, first: usize) {
    // SAFETY: the caller's promise.
    unsafe { if PANELS == 1 { parts::<T::Vector<S>, T, PANELS, N, 4>(few, first) } else { parts::<T::Vector<S>, T, PANELS, N, 1>(few, first) } }
}

/// # Safety
/// As for [`product`].
#[inline(always)]
#[allow(clippy::needless_range_loop)] // several arrays by the same indices
unsafe fn parts<V: Vector<Element = T>, T: Number, const PANELS: usize, const N: usize, const PARTS: usize>(few: &Few<T, PANELS>, first: usize) {
    let width = Panels::<T>::WIDTH;
    for left in (0..few.columns).step_by(VECTORS * V::LANES) {
        // SAFETY: the caller's promise; panels have whole registers in every row.
        unsafe {
            let mut sums = [[[[V::splat(T::zero()); VECTORS]; PANELS]; PARTS]; N];
            let whole = few.k - few.k % PARTS;
            let mut add = |p: usize, part: usize| {
                let mut rows = [V::splat(T::zero()); N];
                for (i, row) in rows.iter_mut().enumerate() {
                    *row = V::splat(*few.a[first + i].add(p));
                }
                for panel in 0..PANELS {
                    for v in 0..VECTORS {
                        let right = V::load(few.panels[panel].add(p * width + left + v * V::LANES));
                        for i in 0..N {
                            sums[i][part][panel][v] = rows[i].mul_add(right, sums[i][part][panel][v]);
                        }
                    }
                }
            };
            let mut p = 0;
            while p < whole {
                for part in 0..PARTS {
                    add(p + part, part);
                }
                p += PARTS;
            }
            for p in whole..few.k {
                add(p, 0);
            }
            for i in 0..N {
                for panel in 0..PANELS {
                    for v in 0..VECTORS {
                        let mut sum = sums[i][0][panel][v];
                        if PARTS == 4 {
                            sum = sum.add(sums[i][1][panel][v]).add(sums[i][2][panel][v].add(sums[i][3][panel][v]));
                        }
                        let (start, plus) = (left + v * V::LANES, few.plus[first + i][panel]);
                        let count = few.columns.saturating_sub(start).min(V::LANES);
                        if !plus.is_null() {
                            sum = sum.add(V::load_first(plus.wrapping_add(start), count));
                        }
                        sum.store_first(few.c[first + i][panel].wrapping_add(start), count);
                    }
                }
            }
        }
    }
}
